"""What all image shifts share: options, severity tables, 8-bit conversion, the crop policy.

``REFERENCE`` holds the published constants of ImageNet-C (Hendrycks and Dietterich, ICLR 2019),
which were chosen for 224 px images; lengths are in pixels. ``MINI64`` is this project's own ladder
for the embedded 64 px worlds and their small encoders; nothing in it comes from a paper.
``REFERENCE_MM`` lists where the MM_Robustness generator (Qiu et al., 2024) departs from ImageNet-C.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from shifts.base import Shift, ShiftCard, ShiftOptions

Bytes = NDArray[np.uint8]
"""(H, W, 3) uint8 RGB."""
Floats = NDArray[np.float64]

IMAGENET_C = "ImageNet-C (Hendrycks and Dietterich, ICLR 2019)"

Ladder = tuple[Any, ...]
"""Five entries, severity 1 to 5; each a number or a tuple as the shift's docstring says."""

GUARD = 1e-6
"""Added, in units of one 8-bit level, before truncation (see ``to_bytes``)."""


@dataclass(frozen=True)
class ImageOptions(ShiftOptions):
    """Options of every image shift."""

    constants: str = field(
        default="reference",
        metadata={
            "help": "severity table: published constants, or the ladder for 64 px worlds",
            "choices": ("reference", "mini64"),
        },
    )
    resolution_policy: str = field(
        default="native",
        metadata={
            "help": "native: corrupt at the image's own size; imagenet224: shorter side to 256, "
            "centre crop 224, then corrupt (the result is 224 x 224)",
            "choices": ("native", "imagenet224"),
        },
    )


@dataclass(frozen=True)
class VariantOptions(ImageOptions):
    """Options of the shifts on which the two published generators disagree."""

    variant: str = field(
        default="imagenet-c",
        metadata={
            "help": "imagenet-c: the original operator; mm: that of MM_Robustness (COCO-C)",
            "choices": ("imagenet-c", "mm"),
        },
    )


def image_card(name: str, summary: str, source: str = IMAGENET_C, **more: Any) -> ShiftCard:
    """The card of an image shift of five severities."""
    return ShiftCard(name, "image", (1, 2, 3, 4, 5), summary, source, **more)


class ImageShift(Shift):
    """An image corruption. Subclasses write ``distort``; constants come from the tables."""

    Options = ImageOptions

    def constants(self, severity: int) -> Any:
        """The severity's entry in the table that the options name."""
        name = self.card.name
        ladder = TABLES[self.options.constants][name]
        if self.options.constants == "reference" and self._variant == "mm":
            ladder = REFERENCE_MM.get(name, ladder)
        return ladder[severity - 1]

    @property
    def _variant(self) -> str:
        return getattr(self.options, "variant", "imagenet-c")

    def corrupt(self, item: Bytes, severity: int, rng: np.random.Generator) -> Bytes:
        """Applies the resolution policy, then the operator with the severity's constants.

        Args:
            item: (H, W, 3) uint8 RGB.
            severity: 1 to 5.
            rng: the item's own generator.

        Returns:
            A new uint8 image: (H, W, 3), or (224, 224, 3) under ``imagenet224``.
        """
        if self.options.resolution_policy == "imagenet224":
            item = imagenet_crop(item)
        return self.distort(item, self.constants(severity), rng)

    @abstractmethod
    def distort(self, image: Bytes, constants: Any, rng: np.random.Generator) -> Bytes:
        """The operator: (H, W, 3) uint8 in, a new array of the same shape and dtype out."""


def to_unit(image: Bytes) -> Floats:
    """Levels 0..255 to 0..1, (H, W, 3) float64."""
    return image / 255.0


def channels(image: Bytes) -> NDArray[np.uint8]:
    """Channel first, (3, H, W) uint8, contiguous; ``pixels`` is the way back.

    Operators that treat channels alike go through these one by one: a plane and what is computed
    from it fit into the processor's cache, and no array operation runs over an axis of length 3.
    """
    return np.ascontiguousarray(image.transpose(2, 0, 1))


def to_planes(image: Bytes) -> Floats:
    """Levels 0..255 to 0..1 and channel first, (3, H, W) float64: the filters' layout."""
    return channels(image) / 255.0


def to_bytes(unit: Floats) -> NDArray[np.uint8]:
    """Clips to [0, 1], scales to 0..255 and cuts to 8 bit by truncation, as ImageNet-C does.

    A value that is a whole level up to rounding error would fall one level on some machines and not
    on others; a millionth of a level is added first so that such values stay where they belong.
    ``unit`` is overwritten: a fresh array of this size costs more than the arithmetic.
    """
    np.clip(unit, 0.0, 1.0, out=unit)
    unit *= 255.0
    unit += GUARD
    return unit.astype(np.uint8)


def extremes(image: Bytes) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Largest and smallest channel of every pixel, each (H, W) uint8."""
    red, green, blue = image[..., 0], image[..., 1], image[..., 2]
    return (
        np.maximum(np.maximum(red, green), blue),
        np.minimum(np.minimum(red, green), blue),
    )


def round_to_bytes(unit: Floats) -> NDArray[np.uint8]:
    """Clips to [0, 1] and rounds to the nearest level, as ImageMagick's 8-bit output does.

    ``unit`` is overwritten, as by ``to_bytes``.
    """
    np.clip(unit, 0.0, 1.0, out=unit)
    unit *= 255.0
    unit += 0.5
    return unit.astype(np.uint8)


def planes_to_bytes(planes: Floats) -> Bytes:
    """(3, H, W) in 0..1 to (H, W, 3) uint8, by ``to_bytes``; ``planes`` is overwritten."""
    return pixels(to_bytes(planes))


def pixels(planes: Iterable[NDArray[np.uint8]]) -> Bytes:
    """Three (H, W) planes to (H, W, 3)."""
    return np.stack(tuple(planes), axis=-1)


def imagenet_crop(image: Bytes, resize: int = 256, crop: int = 224) -> Bytes:
    """Shorter side to ``resize`` (bilinear, antialiased), then the central ``crop`` square."""
    height, width = image.shape[:2]
    scale = resize / min(height, width)
    size = (max(resize, round(width * scale)), max(resize, round(height * scale)))
    resized = Image.fromarray(image).resize(size, Image.Resampling.BILINEAR)
    left, top = (size[0] - crop) // 2, (size[1] - crop) // 2
    return np.array(resized.crop((left, top, left + crop, top + crop)))


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
