"""Severity constants of every image shift: two labelled tables.

``REFERENCE`` holds the published constants of ImageNet-C (Hendrycks and Dietterich, ICLR 2019),
which were chosen for 224 px images; lengths are in pixels. ``MINI64`` is this project's own ladder
for the embedded 64 px worlds and their small encoders; nothing in it comes from a paper.
``REFERENCE_MM`` lists where the MM_Robustness generator (Qiu et al., 2024) departs from ImageNet-C.
"""

from __future__ import annotations

from typing import Any

IMAGENET_C = "ImageNet-C (Hendrycks and Dietterich, ICLR 2019)"

Ladder = tuple[Any, ...]
"""Five entries, severity 1 to 5; each a number or a tuple as the shift's docstring says."""


def factors(last: int, step: int) -> tuple[float, ...]:
    """Zoom factors 1.00 to last/100; from integers, since float steps lose or add a last entry."""
    return tuple(percent / 100 for percent in range(100, last + 1, step))


REFERENCE: dict[str, Ladder] = {
    "gaussian_noise": (0.08, 0.12, 0.18, 0.26, 0.38),
    "shot_noise": (60, 25, 12, 5, 3),
    "impulse_noise": (0.03, 0.06, 0.09, 0.17, 0.27),
    "speckle_noise": (0.15, 0.20, 0.35, 0.45, 0.60),
    "gaussian_blur": (1.0, 2.0, 3.0, 4.0, 6.0),
    "defocus_blur": ((3, 0.1), (4, 0.5), (6, 0.5), (8, 0.5), (10, 0.5)),
    "glass_blur": ((0.7, 1, 2), (0.9, 2, 1), (1.0, 2, 3), (1.1, 3, 2), (1.5, 4, 2)),
    "motion_blur": ((10, 3), (15, 5), (15, 8), (15, 12), (20, 15)),
    "zoom_blur": tuple(
        factors(*ends) for ends in ((111, 1), (115, 1), (120, 2), (124, 2), (130, 3))
    ),
    "snow": (
        (0.1, 0.3, 3.0, 0.5, 10, 4, 0.8),
        (0.2, 0.3, 2.0, 0.5, 12, 4, 0.7),
        (0.55, 0.3, 4.0, 0.9, 12, 8, 0.7),
        (0.55, 0.3, 4.5, 0.85, 12, 8, 0.65),
        (0.55, 0.3, 2.5, 0.85, 12, 12, 0.55),
    ),
    "frost": ((1.0, 0.4), (0.8, 0.6), (0.7, 0.7), (0.65, 0.7), (0.6, 0.75)),
    "fog": ((1.5, 2.0), (2.0, 2.0), (2.5, 1.7), (2.5, 1.5), (3.0, 1.4)),
    "brightness": (0.1, 0.2, 0.3, 0.4, 0.5),
    "contrast": (0.4, 0.3, 0.2, 0.1, 0.05),
    "elastic_transform": (
        (488.0, 170.8, 24.4),
        (488.0, 19.52, 48.8),
        (12.2, 2.44, 4.88),
        (17.08, 2.44, 4.88),
        (29.28, 2.44, 4.88),
    ),
    "pixelate": (0.6, 0.5, 0.4, 0.3, 0.25),
    "jpeg_compression": (25, 18, 15, 10, 7),
    "saturate": ((0.3, 0.0), (0.1, 0.0), (2.0, 0.0), (5.0, 0.1), (20.0, 0.2)),
    "spatter": (
        ("water", 0.65, 0.3, 4.0, 0.69, 0.6),
        ("water", 0.65, 0.3, 3.0, 0.68, 0.6),
        ("water", 0.65, 0.3, 2.0, 0.68, 0.5),
        ("mud", 0.65, 0.3, 1.0, 0.65, 1.5),
        ("mud", 0.67, 0.4, 1.0, 0.65, 1.5),
    ),
}

REFERENCE_MM: dict[str, Ladder] = {
    # A float step of .03 from 1 to 1.33 yields twelve factors there, not eleven.
    "zoom_blur": (*REFERENCE["zoom_blur"][:4], factors(133, 3)),
}

MINI64: dict[str, Ladder] = {
    "gaussian_noise": (0.05, 0.08, 0.12, 0.17, 0.23),
    "shot_noise": (200, 85, 40, 17, 10),
    "impulse_noise": (0.01, 0.02, 0.04, 0.07, 0.12),
    "speckle_noise": (0.08, 0.12, 0.20, 0.28, 0.38),
    "gaussian_blur": (0.6, 0.9, 1.2, 1.6, 2.0),
    "defocus_blur": ((1.0, 0.5), (1.5, 0.5), (2.0, 0.5), (2.5, 0.5), (3.2, 0.5)),
    "glass_blur": ((0.3, 1, 1), (0.4, 1, 2), (0.5, 2, 1), (0.6, 2, 2), (0.7, 3, 2)),
    "motion_blur": ((3, 1), (4, 1.5), (5, 2.5), (6, 3.5), (7, 5)),
    "zoom_blur": tuple(
        factors(*ends) for ends in ((106, 1), (110, 1), (114, 2), (120, 2), (130, 3))
    ),
    "snow": (
        (0.1, 0.3, 1.5, 0.6, 3, 1.5, 0.85),
        (0.2, 0.3, 1.3, 0.6, 3, 1.5, 0.8),
        (0.4, 0.3, 2.0, 0.85, 4, 2.5, 0.75),
        (0.45, 0.3, 2.0, 0.8, 4, 2.5, 0.7),
        (0.5, 0.3, 1.5, 0.8, 4, 3.5, 0.6),
    ),
    "frost": ((1.0, 0.25), (0.9, 0.4), (0.8, 0.5), (0.75, 0.55), (0.7, 0.6)),
    "fog": ((0.6, 2.0), (0.9, 2.0), (1.2, 1.7), (1.5, 1.6), (2.0, 1.5)),
    "brightness": (0.1, 0.2, 0.3, 0.4, 0.5),
    "contrast": (0.8, 0.7, 0.6, 0.5, 0.42),
    "elastic_transform": (
        (139.0, 48.8, 5.0),
        (70.0, 5.6, 6.0),
        (4.0, 0.9, 1.4),
        (6.0, 0.9, 1.4),
        (9.0, 0.9, 1.4),
    ),
    "pixelate": (0.75, 0.6, 0.5, 0.4, 0.3),
    "jpeg_compression": (30, 20, 14, 9, 6),
    "saturate": ((0.5, 0.0), (0.2, 0.0), (2.0, 0.0), (4.0, 0.1), (10.0, 0.15)),
    "spatter": (
        ("water", 0.65, 0.3, 1.4, 0.69, 0.5),
        ("water", 0.65, 0.3, 1.2, 0.69, 0.5),
        ("water", 0.65, 0.3, 1.0, 0.68, 0.5),
        ("mud", 0.62, 0.3, 0.6, 0.72, 0.6),
        ("mud", 0.64, 0.3, 0.6, 0.70, 0.6),
    ),
}

for _table in (REFERENCE, MINI64):
    _table["frost_procedural"] = _table["frost"]

TABLES: dict[str, dict[str, Ladder]] = {"reference": REFERENCE, "mini64": MINI64}
"""Option value ``constants`` -> shift name -> ladder."""
