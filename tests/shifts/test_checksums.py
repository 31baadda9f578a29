"""Frozen bytes of every shift but those of text, on made-up items.

A change here is a change of results: raise the shift's ``card.version``, then rewrite the table:
``python -m tests.shifts.test_checksums``. Of the image shifts behind ``video_*`` three stand here
for the wrapper. JPEG's bytes come from Pillow's libjpeg.
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

TABLE = Path(__file__).parent / "data" / "checksums.json"
WRAPPED = ("video_gaussian_noise", "video_fog", "video_contrast")
OPTIONS = {
    "image": [("reference", {}), ("mini64", {"constants": "mini64"})],
    "audio": [(mode, {"mode": mode}) for mode in ("read", "snr")],
    "composed": [(part, {"part": part}) for part in ("image", "text", "both")],
}
MORE = {f"{name}/mm": {"variant": "mm"} for name in ("glass_blur", "pixelate", "zoom_blur", "fog")}
MORE |= {f"{name}/shared": {"temporal": "shared"} for name in ("video_fog", "temporal_sequence")}


def variants() -> dict[str, dict[str, Any]]:
    """Label, which begins with the shift's name -> options."""
    found: dict[str, dict[str, Any]] = {}
    for kind, each in OPTIONS.items():
        found |= {f"{name}/{label}": given for name in offline(kind) for label, given in each}
    for name in offline("video"):
        if name in WRAPPED or "per_frame" not in BUILTINS[name]:
            found[name] = {}
    return found | MORE


def picture() -> np.ndarray:
    """48 x 56, from integers alone: ramps, an ellipse, a checkerboard and a black corner."""
    rows, columns = np.mgrid[0:48, 0:56]
    image = np.stack((40 + 4 * rows, 30 + 3 * columns, 210 - 2 * rows - columns), axis=-1)
    image[(rows - 20) ** 2 + 2 * (columns - 24) ** 2 < 150] = 225, 45, 30
    image[(rows > 36) & ((rows // 3 + columns // 5) % 2 == 0)] = 240, 240, 235
    image[:6, :6] = 0
    return image.astype(np.uint8)


def item_for(modality: str) -> Any:
    """From integers and exact fractions alone, so that every machine has the same item."""
    if modality == "image":
        return picture()
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


def checksums(label: str) -> list[str]:
    """Of an image at every severity, of other items at 1, 3 and 5."""
    name = label.partition("/")[0]
    kind = builtin_class(name)
    shift, modality = kind(kind.Options(**variants()[label])), kind.card.modality
    item_id, severities = ("picture", range(1, 6)) if modality == "image" else ("item", (1, 3, 5))
    item = item_for(modality)
    return [checksum(shift.apply(item, s, item_generator(0, name, s, item_id))) for s in severities]


def frozen() -> dict[str, list[str]]:
    return json.loads(TABLE.read_text(encoding="utf-8"))


@pytest.mark.parametrize("label", variants())
def test_bytes_are_the_frozen_ones(label: str) -> None:
    assert checksums(label) == frozen()[label]


def test_table_lists_nothing_else() -> None:
    assert sorted(frozen()) == sorted(variants())


def test_another_process_gives_the_same_bytes() -> None:
    """In another order than here."""
    labels = ["composed/both", "temporal_sequence", "wind_procedural/snr"] + [
        f"{name}/reference"
        for name in ("glass_blur", "elastic_transform", "frost_procedural", "snow")
    ]
    script = (
        "import json, sys\n"
        "from tests.shifts.test_checksums import checksums\n"
        "print(json.dumps({label: checksums(label) for label in sys.argv[1:]}))"
    )
    command, root = [sys.executable, "-c", script, *labels], Path(__file__).parents[2]
    done = subprocess.run(command, cwd=root, capture_output=True, text=True, check=True, timeout=60)
    assert json.loads(done.stdout) == {label: frozen()[label] for label in labels}


if __name__ == "__main__":
    made = {label: checksums(label) for label in variants()}
    TABLE.write_text(json.dumps(made, indent=1) + "\n", encoding="utf-8")
