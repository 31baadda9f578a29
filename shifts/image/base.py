"""What all image shifts share: options, the severity table, 8-bit conversion, the crop policy."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from shifts.base import Shift, ShiftCard, ShiftOptions
from shifts.image.constants import IMAGENET_C, REFERENCE_MM, TABLES

Bytes = NDArray[np.uint8]
"""(H, W, 3) uint8 RGB."""
Floats = NDArray[np.float64]

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
