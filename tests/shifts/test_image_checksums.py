"""Frozen bytes: one checksum per image shift, severity and table, on one synthetic picture.

A change here is a change of results: raise the shift's ``card.version``, then rewrite the table:
``python tests/shifts/test_image_checksums.py``. JPEG's bytes come from Pillow's libjpeg.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from shifts.base import item_generator
from shifts.builtin import builtin_class
from tests.shifts.common import offline

TABLE = Path(__file__).parent / "data" / "image_checksums.json"
MM = ("glass_blur", "pixelate", "zoom_blur", "fog")


def picture() -> np.ndarray:
    """48 x 56, from integers alone: ramps, an ellipse, a checkerboard and a black corner."""
    rows, columns = np.mgrid[0:48, 0:56]
    image = np.stack((40 + 4 * rows, 30 + 3 * columns, 210 - 2 * rows - columns), axis=-1)
    image[(rows - 20) ** 2 + 2 * (columns - 24) ** 2 < 150] = 225, 45, 30
    image[(rows > 36) & ((rows // 3 + columns // 5) % 2 == 0)] = 240, 240, 235
    image[:6, :6] = 0
    return image.astype(np.uint8)


def variants() -> Iterator[tuple[str, str, dict[str, Any]]]:
    for name in offline("image"):
        yield f"{name}/reference", name, {}
        yield f"{name}/mini64", name, {"constants": "mini64"}
    for name in MM:
        yield f"{name}/mm", name, {"variant": "mm"}


def checksums(name: str, options: dict[str, Any]) -> list[str]:
    kind, image = builtin_class(name), picture()
    shift = kind(kind.Options(**options))
    results = (
        shift.apply(image, severity, item_generator(0, name, severity, "picture"))
        for severity in shift.card.severities
    )
    return [hashlib.sha256(result.tobytes()).hexdigest()[:16] for result in results]


def rewrite() -> None:
    """Computes the whole table anew and writes it."""
    table = {key: checksums(name, options) for key, name, options in variants()}
    TABLE.write_text(json.dumps(table, indent=1) + "\n", encoding="utf-8")


@pytest.mark.parametrize(
    ("key", "name", "options"), [*variants()], ids=[key for key, _, _ in variants()]
)
def test_bytes_are_the_frozen_ones(key: str, name: str, options: dict[str, Any]) -> None:
    frozen = json.loads(TABLE.read_text(encoding="utf-8"))
    assert checksums(name, options) == frozen[key]


def test_table_lists_nothing_else() -> None:
    frozen = json.loads(TABLE.read_text(encoding="utf-8"))
    assert sorted(frozen) == sorted(key for key, _, _ in variants())


if __name__ == "__main__":
    rewrite()
