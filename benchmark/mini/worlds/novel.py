"""Outlines of the things that no encoder has seen in training (``vocabulary.NOVEL``)."""

from __future__ import annotations

from functools import cache

from benchmark.mini.pictures.silhouettes import Part, ellipse


def _box(left: float, top: float, right: float, bottom: float) -> Part:
    return True, ((left, top), (right, top), (right, bottom), (left, bottom))


@cache
def outlines() -> dict[str, tuple[Part, ...]]:
    """Canonical name -> parts, as in ``benchmark.mini.pictures.silhouettes``."""
    fill, cut = True, False
    rungs = tuple(_box(-0.4, y, 0.4, y + 0.14) for y in (-0.75, -0.35, 0.05, 0.45))
    return {
        "lamp": (
            (fill, ((-0.35, -0.95), (0.35, -0.95), (0.75, 0.05), (-0.75, 0.05))),
            _box(-0.09, 0.0, 0.09, 0.8),
            _box(-0.45, 0.76, 0.45, 0.95),
        ),
        "snail": (
            (fill, ellipse(0.2, -0.15, 0.65, 0.65)),
            (cut, ellipse(0.2, -0.15, 0.26, 0.26)),
            _box(-0.95, 0.4, 0.95, 0.7),
            _box(-0.95, -0.3, -0.75, 0.5),
        ),
        "cat": (
            (fill, ellipse(0, 0.15, 0.85, 0.75)),
            (fill, ((-0.85, 0.1), (-0.8, -0.95), (-0.15, -0.45))),
            (fill, ((0.85, 0.1), (0.8, -0.95), (0.15, -0.45))),
            (cut, ellipse(-0.33, 0.05, 0.13, 0.16)),
            (cut, ellipse(0.33, 0.05, 0.13, 0.16)),
        ),
        "rocket": (
            (fill, ellipse(0, -0.1, 0.36, 0.9)),
            (fill, ((-0.3, 0.1), (-0.75, 0.85), (-0.2, 0.6))),
            (fill, ((0.3, 0.1), (0.75, 0.85), (0.2, 0.6))),
            (cut, ellipse(0, -0.3, 0.15, 0.15)),
        ),
        "bird": (
            (fill, ellipse(0.0, 0.15, 0.6, 0.42)),
            (fill, ellipse(-0.55, -0.3, 0.28, 0.28)),
            (fill, ((-0.8, -0.4), (-1.0, -0.2), (-0.78, -0.15))),
            (fill, ((0.4, 0.1), (1.0, -0.25), (0.95, 0.25))),
            (fill, ((-0.1, 0.0), (0.45, -0.7), (0.4, 0.1))),
        ),
        "crown": (
            (
                fill,
                (
                    (-0.9, 0.75),
                    (-0.95, -0.6),
                    (-0.45, 0.0),
                    (0, -0.85),
                    (0.45, 0.0),
                    (0.95, -0.6),
                    (0.9, 0.75),
                ),
            ),
        ),
        "anchor": (
            (fill, ellipse(0, 0.15, 0.85, 0.8, 0, 180)),
            (cut, ellipse(0, 0.1, 0.58, 0.52, 0, 180)),
            _box(-0.12, -0.6, 0.12, 0.9),
            _box(-0.45, -0.45, 0.45, -0.25),
            (fill, ellipse(0, -0.75, 0.24, 0.24)),
        ),
        "bell": (
            (fill, ellipse(0, -0.1, 0.6, 0.8, 180, 360)),
            (fill, ((-0.6, -0.1), (0.6, -0.1), (0.9, 0.6), (-0.9, 0.6))),
            (fill, ellipse(0, 0.72, 0.22, 0.22)),
        ),
        "pear": (
            (fill, ellipse(0, 0.35, 0.65, 0.6)),
            (fill, ellipse(0, -0.25, 0.36, 0.5)),
            _box(-0.05, -0.98, 0.07, -0.6),
        ),
        "tent": (
            (fill, ((0, -0.85), (1, 0.8), (-1, 0.8))),
            (cut, ((0, -0.05), (0.34, 0.8), (-0.34, 0.8))),
        ),
        "ladder": (_box(-0.55, -0.98, -0.33, 0.98), _box(0.33, -0.98, 0.55, 0.98), *rungs),
        "spoon": (
            (fill, ellipse(0, -0.55, 0.36, 0.45)),
            _box(-0.1, -0.2, 0.1, 1.0),
        ),
        "duck": (
            (fill, ellipse(0.1, 0.4, 0.8, 0.45)),
            (fill, ellipse(-0.45, -0.35, 0.36, 0.36)),
            (fill, ((-0.75, -0.45), (-1.0, -0.25), (-0.75, -0.15))),
            _box(-0.62, -0.2, -0.28, 0.4),
        ),
        "guitar": (
            (fill, ellipse(0, 0.55, 0.52, 0.42)),
            (fill, ellipse(0, 0.05, 0.38, 0.34)),
            (cut, ellipse(0, 0.3, 0.15, 0.15)),
            _box(-0.09, -0.95, 0.09, 0.1),
        ),
    }
