"""The outlines of the mini world's objects, as polygons in the square [-1, 1] x [-1, 1], y down."""

from __future__ import annotations

from functools import cache
from math import cos, pi, sin

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


def _radial(points: int, inner: float, outer: float = 1.0) -> tuple[Point, ...]:
    """A star: ``points`` tips at radius ``outer``, notches at ``inner``, one tip up."""
    corners = []
    for i in range(2 * points):
        radius = outer if i % 2 == 0 else inner
        angle = -pi / 2 + i * pi / points
        corners.append((radius * cos(angle), radius * sin(angle)))
    return tuple(corners)


def _box(left: float, top: float, right: float, bottom: float) -> tuple[Point, ...]:
    return ((left, top), (right, top), (right, bottom), (left, bottom))


def _heart() -> tuple[Point, ...]:
    turn = [2 * pi * i / 40 for i in range(40)]
    return tuple(
        (
            sin(t) ** 3,
            -(13 * cos(t) - 5 * cos(2 * t) - 2 * cos(3 * t) - cos(4 * t)) / 16.5,
        )
        for t in turn
    )


@cache
def silhouettes() -> dict[str, tuple[Part, ...]]:
    """Canonical shape name -> parts."""
    fill, cut = True, False
    petals = tuple(
        (fill, ellipse(0.62 * cos(a), 0.62 * sin(a), 0.38, 0.38))
        for a in (-pi / 2 + 2 * pi * i / 5 for i in range(5))
    )
    return {
        "circle": ((fill, ellipse(0, 0, 0.92, 0.92)),),
        "square": ((fill, _box(-0.82, -0.82, 0.82, 0.82)),),
        "triangle": ((fill, ((0, -0.95), (0.98, 0.8), (-0.98, 0.8))),),
        "star": ((fill, _radial(5, 0.4)),),
        "heart": ((fill, _heart()),),
        "moon": ((fill, ellipse(0, 0, 0.98, 0.98)), (cut, ellipse(0.45, -0.12, 0.8, 0.8))),
        "cross": ((fill, _box(-0.32, -0.95, 0.32, 0.95)), (fill, _box(-0.95, -0.32, 0.95, 0.32))),
        "ring": ((fill, ellipse(0, 0, 1, 1)), (cut, ellipse(0, 0, 0.55, 0.55))),
        "arrow": (
            (fill, _box(-1, -0.28, 0.2, 0.28)),
            (fill, ((0.1, -0.8), (1, 0), (0.1, 0.8))),
        ),
        "house": (
            (fill, _box(-0.7, -0.1, 0.7, 0.95)),
            (fill, ((-1, -0.05), (0, -1), (1, -0.05))),
            (cut, _box(-0.2, 0.4, 0.2, 0.95)),
        ),
        "tree": (
            (fill, ((0, -1), (0.6, -0.25), (-0.6, -0.25))),
            (fill, ((0, -0.6), (0.8, 0.6), (-0.8, 0.6))),
            (fill, _box(-0.16, 0.6, 0.16, 1)),
        ),
        "fish": (
            (fill, ellipse(-0.2, 0, 0.78, 0.5)),
            (fill, ((0.35, 0), (1, -0.55), (1, 0.55))),
            (cut, ellipse(-0.6, -0.12, 0.11, 0.11)),
        ),
        "car": (
            (fill, _box(-1, -0.05, 1, 0.42)),
            (fill, ((-0.62, 0), (-0.4, -0.55), (0.35, -0.55), (0.65, 0))),
            (fill, ellipse(-0.52, 0.45, 0.27, 0.27)),
            (fill, ellipse(0.52, 0.45, 0.27, 0.27)),
        ),
        "boat": (
            (fill, ((-1, 0.35), (1, 0.35), (0.6, 0.95), (-0.6, 0.95))),
            (fill, ((-0.05, -1), (-0.05, 0.2), (-0.8, 0.2))),
            (fill, ((0.1, -0.8), (0.8, 0.2), (0.1, 0.2))),
        ),
        "mushroom": (
            (fill, ellipse(0, 0, 1, 0.95, 180, 360)),
            (fill, ((-0.28, -0.05), (0.28, -0.05), (0.36, 0.95), (-0.36, 0.95))),
        ),
        "umbrella": (
            (fill, ellipse(0, -0.1, 1, 0.85, 180, 360)),
            (cut, ellipse(-0.5, -0.06, 0.32, 0.2)),
            (cut, ellipse(0.5, -0.06, 0.32, 0.2)),
            (fill, _box(-0.09, -0.3, 0.09, 0.9)),
            (fill, _box(-0.09, 0.75, 0.45, 0.93)),
        ),
        "key": (
            (fill, ellipse(-0.55, 0, 0.45, 0.45)),
            (cut, ellipse(-0.55, 0, 0.2, 0.2)),
            (fill, _box(-0.2, -0.13, 1, 0.13)),
            (fill, _box(0.42, 0, 0.6, 0.48)),
            (fill, _box(0.8, 0, 1, 0.55)),
        ),
        "cup": (
            (fill, ellipse(0.52, 0, 0.48, 0.5)),
            (cut, ellipse(0.52, 0, 0.25, 0.27)),
            (fill, ((-0.9, -0.8), (0.5, -0.8), (0.4, 0.85), (-0.8, 0.85))),
        ),
        "bottle": (
            (fill, _box(-0.18, -1, 0.18, -0.3)),
            (fill, ((-0.18, -0.45), (0.18, -0.45), (0.5, 0), (0.5, 1), (-0.5, 1), (-0.5, 0))),
        ),
        "flower": (*petals, (cut, ellipse(0, 0, 0.24, 0.24))),
        "cloud": (
            (fill, ellipse(-0.5, 0.15, 0.48, 0.42)),
            (fill, ellipse(0.02, -0.2, 0.52, 0.52)),
            (fill, ellipse(0.55, 0.15, 0.44, 0.4)),
            (fill, _box(-0.5, 0.1, 0.55, 0.56)),
        ),
        "bolt": (
            (
                fill,
                ((0.25, -1), (-0.65, 0.15), (-0.08, 0.15), (-0.3, 1), (0.65, -0.25), (0.05, -0.25)),
            ),
        ),
        "hourglass": (
            (fill, ((-0.75, -0.95), (0.75, -0.95), (0.08, 0), (-0.08, 0))),
            (fill, ((-0.75, 0.95), (0.75, 0.95), (0.08, 0), (-0.08, 0))),
        ),
        "shirt": (
            (fill, _box(-0.55, -0.75, 0.55, 0.9)),
            (fill, ((-0.5, -0.75), (-1, -0.15), (-0.72, 0.12), (-0.4, -0.2))),
            (fill, ((0.5, -0.75), (1, -0.15), (0.72, 0.12), (0.4, -0.2))),
            (cut, ellipse(0, -0.78, 0.24, 0.22)),
        ),
        "boot": (
            (fill, _box(-0.65, -0.95, 0.1, 0.5)),
            (fill, ((-0.65, 0.3), (0.1, 0.3), (0.9, 0.6), (0.9, 0.95), (-0.65, 0.95))),
        ),
        "hat": (
            (fill, _box(-0.52, -0.75, 0.52, 0.35)),
            (fill, ellipse(0, 0.42, 1, 0.26)),
        ),
        "bag": (
            (fill, ellipse(0, -0.2, 0.5, 0.75, 180, 360)),
            (cut, ellipse(0, -0.2, 0.3, 0.52, 180, 360)),
            (fill, ((-0.75, -0.2), (0.75, -0.2), (0.92, 0.85), (-0.92, 0.85))),
        ),
        "person": (
            (fill, ellipse(0, -0.72, 0.27, 0.27)),
            (fill, _box(-0.3, -0.42, 0.3, 0.3)),
            (fill, _box(-0.75, -0.42, 0.75, -0.2)),
            (fill, _box(-0.3, 0.25, -0.06, 1)),
            (fill, _box(0.06, 0.25, 0.3, 1)),
        ),
    }
