"""The outlines of the mini worlds' objects, as polygons in the square [-1, 1] x [-1, 1], y down."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from math import cos, pi, sin
from typing import Any

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


def outlines(drawing: str) -> dict[str, tuple[Part, ...]]:
    """Name -> parts, from lines such as ``ring: +oval 0 0 1 1, -oval 0 0 0.55 0.55``.

    A part begins with "+" where it is filled or "-" where it is cut out, then says its kind and
    numbers: ``oval`` x y rx ry (and degrees from, to), ``box`` left top right bottom, ``poly``
    x y of each corner. An indented line continues the one above.
    """
    found: dict[str, tuple[Part, ...]] = {}
    for line in drawing.strip().replace("\n ", " ").splitlines():
        name, _, parts = line.partition(":")
        words = [part.split() for part in parts.split(",")]
        found[name] = tuple((w[0][0] == "+", _KINDS[w[0][1:]](*map(float, w[1:]))) for w in words)
    return found


@cache
def silhouettes() -> dict[str, tuple[Part, ...]]:
    """Canonical shape name (``vocabulary.SHAPES``) -> parts."""
    turns: Any = (-pi / 2 + 2 * pi * i / 5 for i in range(5))
    petals = tuple((True, ellipse(0.62 * cos(a), 0.62 * sin(a), 0.38, 0.38)) for a in turns)
    known = outlines(_KNOWN)
    return known | {"flower": petals + known["flower"]}


@cache
def novel_silhouettes() -> dict[str, tuple[Part, ...]]:
    """The same of the things that no encoder has seen in training (``vocabulary.NOVEL``)."""
    return outlines(_NOVEL)


_KNOWN = """
circle: +oval 0 0 0.92 0.92
square: +box -0.82 -0.82 0.82 0.82
triangle: +poly 0 -0.95  0.98 0.8  -0.98 0.8
star: +star 5 0.4
heart: +heart
moon: +oval 0 0 0.98 0.98, -oval 0.45 -0.12 0.8 0.8
cross: +box -0.32 -0.95 0.32 0.95, +box -0.95 -0.32 0.95 0.32
ring: +oval 0 0 1 1, -oval 0 0 0.55 0.55
arrow: +box -1 -0.28 0.2 0.28, +poly 0.1 -0.8  1 0  0.1 0.8
house: +box -0.7 -0.1 0.7 0.95, +poly -1 -0.05  0 -1  1 -0.05, -box -0.2 0.4 0.2 0.95
tree: +poly 0 -1  0.6 -0.25  -0.6 -0.25, +poly 0 -0.6  0.8 0.6  -0.8 0.6, +box -0.16 0.6 0.16 1
fish: +oval -0.2 0 0.78 0.5, +poly 0.35 0  1 -0.55  1 0.55, -oval -0.6 -0.12 0.11 0.11
car: +box -1 -0.05 1 0.42, +poly -0.62 0  -0.4 -0.55  0.35 -0.55  0.65 0,
    +oval -0.52 0.45 0.27 0.27, +oval 0.52 0.45 0.27 0.27
boat: +poly -1 0.35  1 0.35  0.6 0.95  -0.6 0.95, +poly -0.05 -1  -0.05 0.2  -0.8 0.2,
    +poly 0.1 -0.8  0.8 0.2  0.1 0.2
mushroom: +oval 0 0 1 0.95 180 360, +poly -0.28 -0.05  0.28 -0.05  0.36 0.95  -0.36 0.95
umbrella: +oval 0 -0.1 1 0.85 180 360, -oval -0.5 -0.06 0.32 0.2, -oval 0.5 -0.06 0.32 0.2,
    +box -0.09 -0.3 0.09 0.9, +box -0.09 0.75 0.45 0.93
key: +oval -0.55 0 0.45 0.45, -oval -0.55 0 0.2 0.2, +box -0.2 -0.13 1 0.13, +box 0.42 0 0.6 0.48,
    +box 0.8 0 1 0.55
cup: +oval 0.52 0 0.48 0.5, -oval 0.52 0 0.25 0.27, +poly -0.9 -0.8  0.5 -0.8  0.4 0.85  -0.8 0.85
bottle: +box -0.18 -1 0.18 -0.3, +poly -0.18 -0.45  0.18 -0.45  0.5 0  0.5 1  -0.5 1  -0.5 0
flower: -oval 0 0 0.24 0.24
cloud: +oval -0.5 0.15 0.48 0.42, +oval 0.02 -0.2 0.52 0.52, +oval 0.55 0.15 0.44 0.4,
    +box -0.5 0.1 0.55 0.56
bolt: +poly 0.25 -1  -0.65 0.15  -0.08 0.15  -0.3 1  0.65 -0.25  0.05 -0.25
hourglass: +poly -0.75 -0.95  0.75 -0.95  0.08 0  -0.08 0,
    +poly -0.75 0.95  0.75 0.95  0.08 0 -0.08 0
shirt: +box -0.55 -0.75 0.55 0.9, +poly -0.5 -0.75  -1 -0.15  -0.72 0.12  -0.4 -0.2,
    +poly 0.5 -0.75  1 -0.15  0.72 0.12  0.4 -0.2, -oval 0 -0.78 0.24 0.22
boot: +box -0.65 -0.95 0.1 0.5, +poly -0.65 0.3  0.1 0.3  0.9 0.6  0.9 0.95  -0.65 0.95
hat: +box -0.52 -0.75 0.52 0.35, +oval 0 0.42 1 0.26
bag: +oval 0 -0.2 0.5 0.75 180 360, -oval 0 -0.2 0.3 0.52 180 360,
    +poly -0.75 -0.2  0.75 -0.2 0.92 0.85  -0.92 0.85
person: +oval 0 -0.72 0.27 0.27, +box -0.3 -0.42 0.3 0.3, +box -0.75 -0.42 0.75 -0.2,
    +box -0.3 0.25 -0.06 1, +box 0.06 0.25 0.3 1
"""

_NOVEL = """
lamp: +poly -0.35 -0.95  0.35 -0.95  0.75 0.05  -0.75 0.05, +box -0.09 0.0 0.09 0.8,
    +box -0.45 0.76 0.45 0.95
snail: +oval 0.2 -0.15 0.65 0.65, -oval 0.2 -0.15 0.26 0.26, +box -0.95 0.4 0.95 0.7,
    +box -0.95 -0.3 -0.75 0.5
cat: +oval 0 0.15 0.85 0.75, +poly -0.85 0.1  -0.8 -0.95  -0.15 -0.45,
    +poly 0.85 0.1  0.8 -0.95 0.15 -0.45, -oval -0.33 0.05 0.13 0.16, -oval 0.33 0.05 0.13 0.16
rocket: +oval 0 -0.1 0.36 0.9, +poly -0.3 0.1  -0.75 0.85  -0.2 0.6,
    +poly 0.3 0.1  0.75 0.85 0.2 0.6, -oval 0 -0.3 0.15 0.15
bird: +oval 0.0 0.15 0.6 0.42, +oval -0.55 -0.3 0.28 0.28,
    +poly -0.8 -0.4  -1.0 -0.2  -0.78 -0.15, +poly 0.4 0.1  1.0 -0.25  0.95 0.25,
    +poly -0.1 0.0  0.45 -0.7  0.4 0.1
crown: +poly -0.9 0.75  -0.95 -0.6  -0.45 0.0  0 -0.85  0.45 0.0  0.95 -0.6  0.9 0.75
anchor: +oval 0 0.15 0.85 0.8 0 180, -oval 0 0.1 0.58 0.52 0 180, +box -0.12 -0.6 0.12 0.9,
    +box -0.45 -0.45 0.45 -0.25, +oval 0 -0.75 0.24 0.24
bell: +oval 0 -0.1 0.6 0.8 180 360, +poly -0.6 -0.1  0.6 -0.1  0.9 0.6  -0.9 0.6,
    +oval 0 0.72 0.22 0.22
pear: +oval 0 0.35 0.65 0.6, +oval 0 -0.25 0.36 0.5, +box -0.05 -0.98 0.07 -0.6
tent: +poly 0 -0.85  1 0.8  -1 0.8, -poly 0 -0.05  0.34 0.8  -0.34 0.8
ladder: +box -0.55 -0.98 -0.33 0.98, +box 0.33 -0.98 0.55 0.98, +box -0.4 -0.75 0.4 -0.61,
    +box -0.4 -0.35 0.4 -0.21, +box -0.4 0.05 0.4 0.19, +box -0.4 0.45 0.4 0.59
spoon: +oval 0 -0.55 0.36 0.45, +box -0.1 -0.2 0.1 1.0
duck: +oval 0.1 0.4 0.8 0.45, +oval -0.45 -0.35 0.36 0.36,
    +poly -0.75 -0.45  -1.0 -0.25  -0.75 -0.15, +box -0.62 -0.2 -0.28 0.4
guitar: +oval 0 0.55 0.52 0.42, +oval 0 0.05 0.38 0.34, -oval 0 0.3 0.15 0.15,
    +box -0.09 -0.95 0.09 0.1
"""
