"""Frozen bytes of the audio, video and composed shifts, severities 1, 3 and 5, on fixed items.

A change here is a change of results: raise the shift's ``card.version``, then rewrite the table:
``python tests/shifts/test_audio_video_checksums.py``. The image shifts behind ``video_*`` have a
table of their own; three of them stand here for the wrapper. JPEG's bytes come from Pillow's
libjpeg.
"""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from shifts import BUILTINS
from shifts.base import Audio, Composed, item_generator
from shifts.builtin import builtin_class
from tests.shifts.common import offline

TABLE = Path(__file__).parent / "data" / "audio_video_checksums.json"
WRAPPED = ("video_gaussian_noise", "video_fog", "video_contrast")


def variants() -> dict[str, tuple[str, dict[str, Any]]]:
    """Label -> (name, options)."""
    found: dict[str, tuple[str, dict[str, Any]]] = {}
    for name, target in BUILTINS.items():
        modality = builtin_class(name).card.modality
        if modality == "audio" and name in offline("audio"):
            found |= {f"{name}/{mode}": (name, {"mode": mode}) for mode in ("read", "snr")}
        elif name in WRAPPED or (modality == "video" and "per_frame" not in target):
            found[name] = (name, {})
        elif modality == "composed":
            found |= {
                f"{name}/{part}": (name, {"part": part}) for part in ("image", "text", "both")
            }
    for name in ("video_fog", "temporal_sequence"):
        found[f"{name}/shared"] = (name, {"temporal": "shared"})
    return found


def item_for(modality: str) -> Any:
    """From integers and exact fractions alone, so that every machine has the same item."""
    if modality == "audio":
        steps = np.arange(1500) * 523 % 4096 - 2048
        return Audio((steps / 32768).astype(np.float32), 16_000)
    rows, columns = np.mgrid[0:24, 0:32]
    image = np.stack((40 + 8 * rows, 30 + 6 * columns, 220 - 4 * rows - 3 * columns), axis=-1)
    image[(rows - 10) ** 2 + (columns - 12) ** 2 < 40] = 225, 45, 30
    if modality == "composed":
        return Composed(image.astype(np.uint8), "the same, but 2 of them on a black-and-white mat")
    return np.stack([np.roll(image, t, axis=1) for t in range(14)]).astype(np.uint8)


def checksum(item: Any) -> str:
    parts = {
        Audio: lambda: [item.samples.tobytes()],
        Composed: lambda: [item.image.tobytes(), item.text.encode()],
        np.ndarray: lambda: [item.tobytes()],
    }[type(item)]()
    return hashlib.sha256(b"\x1f".join(parts)).hexdigest()[:16]


def checksums(name: str, options: dict[str, Any]) -> list[str]:
    kind = builtin_class(name)
    shift = kind(kind.Options(**options)) if options else kind()
    item = item_for(kind.card.modality)
    return [checksum(shift.apply(item, s, item_generator(0, name, s, "item"))) for s in (1, 3, 5)]


def table() -> dict[str, list[str]]:
    return {label: checksums(*variant) for label, variant in variants().items()}


@pytest.mark.parametrize("label", variants())
def test_bytes_are_the_frozen_ones(label: str) -> None:
    frozen = json.loads(TABLE.read_text(encoding="utf-8"))
    assert checksums(*variants()[label]) == frozen[label]


def test_table_lists_nothing_else() -> None:
    assert sorted(json.loads(TABLE.read_text(encoding="utf-8"))) == sorted(variants())


def test_another_process_gives_the_same_bytes() -> None:
    """These and those of pictures, in another order than here."""
    labels = ["composed/both", "temporal_sequence", "wind_procedural/snr"]
    names = ["glass_blur", "elastic_transform", "frost_procedural", "snow", "gaussian_noise"]
    script = (
        "import json, sys\n"
        "import tests.shifts.test_audio_video_checksums as own\n"
        "import tests.shifts.test_image_checksums as image\n"
        "labels, names = map(json.loads, sys.argv[1:])\n"
        "found = {n: own.checksums(*own.variants()[n]) for n in labels}\n"
        "print(json.dumps(found | {f'{n}/reference': image.checksums(n, {}) for n in names}))"
    )
    command = [sys.executable, "-c", script, json.dumps(labels), json.dumps(names)]
    root = Path(__file__).parents[2]
    done = subprocess.run(command, cwd=root, capture_output=True, text=True, check=True, timeout=60)
    tables = (TABLE, TABLE.with_name("image_checksums.json"))
    frozen = {k: v for table in tables for k, v in json.loads(table.read_text("utf-8")).items()}
    keys = [*labels, *(f"{name}/reference" for name in names)]
    assert json.loads(done.stdout) == {key: frozen[key] for key in keys}


if __name__ == "__main__":
    TABLE.write_text(json.dumps(table(), indent=1) + "\n", encoding="utf-8")
