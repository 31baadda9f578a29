"""Digital corruptions: contrast, saturation, pixelation and JPEG."""

from __future__ import annotations

import io

import numpy as np
from PIL import Image

from shifts.base import ShiftCard
from shifts.image.base import Bytes, ImageShift, VariantOptions, to_bytes, to_unit
from shifts.image.constants import IMAGENET_C

_SEVERITIES = (1, 2, 3, 4, 5)


class Contrast(ImageShift):
    """clip((x - mean) c + mean) with the mean of each channel over the image; constant: c."""

    card = ShiftCard(
        "contrast",
        "image",
        _SEVERITIES,
        "values drawn towards each channel's mean",
        IMAGENET_C,
        randomised=False,
    )

    def distort(self, image: Bytes, constants: float, rng: np.random.Generator) -> Bytes:
        # The mean of integers is exact, so that it cannot depend on the order of summation.
        total = image.sum(axis=(0, 1), dtype=np.int64)
        mean = total / (255.0 * image.shape[0] * image.shape[1])
        return to_bytes((to_unit(image) - mean) * constants + mean)


class Saturate(ImageShift):
    """HSV with S' = clip(S a + b); constants: (a, b).

    With hue and value kept, every channel is V - S k, so changing S scales V - channel. A grey
    pixel has no hue; the usual conversion calls it red, so b > 0 tints greys red, as in ImageNet-C.
    """

    card = ShiftCard(
        "saturate",
        "image",
        _SEVERITIES,
        "colour drained (1, 2) or boosted (3 to 5)",
        IMAGENET_C,
        randomised=False,
        monotone=False,
    )

    def distort(
        self, image: Bytes, constants: tuple[float, float], rng: np.random.Generator
    ) -> Bytes:
        gain, offset = constants
        x = to_unit(image)
        value = x.max(axis=2, keepdims=True)
        chroma = value - x.min(axis=2, keepdims=True)
        saturation = np.divide(chroma, value, out=np.zeros_like(value), where=value > 0)
        target = np.clip(saturation * gain + offset, 0.0, 1.0)
        shortfall = np.divide(value - x, chroma, out=np.zeros_like(x), where=chroma > 0)
        grey = (chroma == 0)[..., 0]
        shortfall[grey] = (0.0, 1.0, 1.0)
        return to_bytes(value - value * target * shortfall)


class Pixelate(ImageShift):
    """Shrinks with area averaging and grows back; constant: c, the share of each side left.

    ``imagenet-c``: to int(side c) on each side and back, box filter both ways; at 224 px this is
    the original to the byte. ``mm``: to an absolute square of int(224 c) whatever the image's
    size, so that an image smaller than the square is hardly corrupted. MM_Robustness grows back
    with height and width exchanged; here the result keeps the image's sides.
    """

    Options = VariantOptions
    card = ShiftCard(
        "pixelate", "image", _SEVERITIES, "coarse square cells", IMAGENET_C, randomised=False
    )

    def distort(self, image: Bytes, constants: float, rng: np.random.Generator) -> Bytes:
        height, width = image.shape[:2]
        if self._variant == "mm":
            side = int(224 * constants)
            small = (side, side)
        else:
            small = (max(1, int(width * constants)), max(1, int(height * constants)))
        shrunk = Image.fromarray(image).resize(small, Image.Resampling.BOX)
        return np.array(shrunk.resize((width, height), Image.Resampling.BOX))


class JpegCompression(ImageShift):
    """Encodes and decodes as JPEG; constant: the quality (Pillow's defaults, 4:2:0 chroma)."""

    card = ShiftCard(
        "jpeg_compression",
        "image",
        _SEVERITIES,
        "JPEG artefacts",
        IMAGENET_C,
        randomised=False,
    )

    def distort(self, image: Bytes, constants: int, rng: np.random.Generator) -> Bytes:
        buffer = io.BytesIO()
        Image.fromarray(image).save(buffer, "JPEG", quality=constants)
        with Image.open(buffer) as decoded:
            return np.array(decoded.convert("RGB"))
