"""The words of the mini worlds and what they look like: ``vocabulary.json`` and ``outlines/``.

Each entry of a table maps a canonical name to the words that captions use for it; the first is the
commonest. Outlines are polygons in the square [-1, 1] x [-1, 1], y down.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import cache
from math import cos, pi, sin
from pathlib import Path
from typing import Any

_TABLES: dict[str, dict[str, Any]] = json.loads(
    Path(__file__).with_suffix(".json").read_text(encoding="utf-8")
)


def words(table: str) -> dict[str, tuple[str, ...]]:
    """The names of a table in their order, each with its words."""
    return {name: tuple(found) for name, found in _TABLES[table].items()}


SHAPES = words("shapes")
NOVEL = words("novel")
"""Things that no encoder has seen in training; mini-nocaps shows them."""
NOUNS = SHAPES | NOVEL
COLOURS: dict[str, tuple[int, int, int]] = {
    name: (red, green, blue) for name, (red, green, blue) in _TABLES["colours"].items()
}
"""sRGB, 0..255."""
COLOUR_WORDS = {name: (name,) for name in COLOURS} | words("colour words")
TEXTURES: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    name: (tuple(before), tuple(after)) for name, (before, after) in _TABLES["textures"].items()
}
"""Adjectives before the noun, phrases after it."""
SIZES = words("sizes")
"""A medium object is never called by its size."""
BACKGROUNDS = words("backgrounds")


Point = tuple[float, float]
Part = tuple[bool, tuple[Point, ...]]
"""(True to fill or False to cut out, corners); parts are applied in order."""


def ellipse(
    x: float, y: float, rx: float, ry: float, start: float = 0.0, end: float = 360.0
) -> tuple[Point, ...]:
    """An ellipse or, from ``start`` to ``end`` degrees, a segment of one."""
    steps = 28
    angles = [start + (end - start) * i / steps for i in range(steps + 1)]
    return tuple((x + rx * cos(a * pi / 180), y + ry * sin(a * pi / 180)) for a in angles)


def box(left: float, top: float, right: float, bottom: float) -> tuple[Point, ...]:
    """A rectangle."""
    return ((left, top), (right, top), (right, bottom), (left, bottom))


def _polygon(*numbers: float) -> tuple[Point, ...]:
    return tuple(zip(numbers[::2], numbers[1::2], strict=True))


def _star(points: float, inner: float) -> tuple[Point, ...]:
    """``points`` tips at radius 1, notches at ``inner``, one tip up."""
    turns = [
        (1.0 if i % 2 == 0 else inner, -pi / 2 + i * pi / points) for i in range(2 * int(points))
    ]
    return tuple((radius * cos(angle), radius * sin(angle)) for radius, angle in turns)


def _heart() -> tuple[Point, ...]:
    turn = [2 * pi * i / 40 for i in range(40)]
    return tuple(
        (sin(t) ** 3, -(13 * cos(t) - 5 * cos(2 * t) - 2 * cos(3 * t) - cos(4 * t)) / 16.5)
        for t in turn
    )


_KINDS: dict[str, Callable[..., tuple[Point, ...]]] = {
    "oval": ellipse,
    "box": box,
    "poly": _polygon,
    "star": _star,
    "heart": _heart,
}


@cache
def outlines(name: str) -> dict[str, tuple[Part, ...]]:
    """Shape -> parts, from ``outlines/NAME.txt``.

    A line is such as ``ring: +oval 0 0 1 1, -oval 0 0 0.55 0.55``. A part begins with "+" where it
    is filled or "-" where it is cut out, then says its kind and numbers: ``oval`` x y rx ry (and
    degrees from, to), ``box`` left top right bottom, ``poly`` x y of each corner. An indented line
    continues the one above.
    """
    found: dict[str, tuple[Part, ...]] = {}
    drawing = (Path(__file__).parent / "outlines" / f"{name}.txt").read_text(encoding="utf-8")
    for line in drawing.strip().replace("\n ", " ").splitlines():
        shape, _, parts = line.partition(":")
        words = [part.split() for part in parts.split(",")]
        found[shape] = tuple((w[0][0] == "+", _KINDS[w[0][1:]](*map(float, w[1:]))) for w in words)
    return found


@cache
def silhouettes() -> dict[str, tuple[Part, ...]]:
    """Canonical shape name (``vocabulary.SHAPES``) -> parts."""
    turns: Any = (-pi / 2 + 2 * pi * i / 5 for i in range(5))
    petals = tuple((True, ellipse(0.62 * cos(a), 0.62 * sin(a), 0.38, 0.38)) for a in turns)
    known = outlines("known")
    return known | {"flower": petals + known["flower"]}


def novel_silhouettes() -> dict[str, tuple[Part, ...]]:
    """The same of the things that no encoder has seen in training (``vocabulary.NOVEL``)."""
    return outlines("novel")
