"""The contact sheet of the composed twins: reference, target and text of some queries."""

from __future__ import annotations

import textwrap
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

from benchmark.data.datasets.base import ComposedQueries
from benchmark.mini.composed.data import load_cirr, load_fiq
from benchmark.mini.worlds.drawn import SIDE

COLUMNS, ROWS = 3, 2
"""Of each of the two sets."""
_CELL = (3 * SIDE + 60, 2 * SIDE + 32)
_ZOOM = 2 * SIDE - 16


def _cell(data: ComposedQueries, query: int) -> Image.Image:
    """Reference, target and text of one query."""
    cell = Image.new("RGB", _CELL, "white")
    for place, index in enumerate((data.references[query], data.targets[query][0])):
        picture = Image.fromarray(data.images[int(index)]).resize((_ZOOM, _ZOOM))
        cell.paste(picture, (6 + place * (_ZOOM + 8), 4))
    draw, font = ImageDraw.Draw(cell), ImageFont.load_default(12)
    for line, text in enumerate(textwrap.wrap(data.texts[query], 42)[:2]):
        draw.text((6, _ZOOM + 9 + 15 * line), text, fill="black", font=font)
    return cell


def sheet() -> Image.Image:
    """General scenes above, garments below; validation queries at even distances."""
    columns, rows = _CELL[0] * COLUMNS, _CELL[1] * ROWS
    page = Image.new("RGB", (columns, 2 * rows + 8), "white")
    for half, data in enumerate((load_cirr(split="val"), load_fiq(split="val"))):
        step = len(data.texts) // (COLUMNS * ROWS)
        for place in range(COLUMNS * ROWS):
            row, column = divmod(place, COLUMNS)
            at = (column * _CELL[0], half * (rows + 8) + row * _CELL[1])
            page.paste(_cell(data, place * step), at)
    return page


def write(path: Path) -> None:
    """Writes the sheet, sixteen levels a channel: sensor noise would make it four times larger."""
    sheet().point(lambda level: level // 16 * 17).save(path, optimize=True)
