"""Digital corruptions: contrast, saturation, pixelation, JPEG and the elastic transform."""

from __future__ import annotations

import io
import math
from functools import lru_cache

import numpy as np
from PIL import Image

from shifts.image.base import (
    Bytes,
    Floats,
    ImageShift,
    VariantOptions,
    channels,
    extremes,
    image_card,
    pixels,
    planes_to_bytes,
    to_bytes,
    to_planes,
)
from shifts.image.filters import gaussian, sample


class Contrast(ImageShift):
    """clip((x - mean) c + mean) with the mean of each channel over the image; constant: c."""

    card = image_card("contrast", "contrast reduced towards each channel's mean", randomised=False)

    def distort(self, image: Bytes, constants: float, rng: np.random.Generator) -> Bytes:
        picture = Image.fromarray(image)
        counts = np.array(picture.histogram(), dtype=np.int64).reshape(3, 256)
        # The mean of integers is exact, so that it cannot depend on the order of summation.
        total = counts @ np.arange(256)
        mean = (total / (255.0 * image.shape[0] * image.shape[1]))[:, None]
        # A channel has 256 levels: each is computed once and looked up.
        table = to_bytes((np.arange(256) / 255.0 - mean) * constants + mean)
        return np.array(picture.point(table.ravel().tolist()))


class Saturate(ImageShift):
    """HSV with S' = clip(S a + b); constants: (a, b).

    With hue and value kept, every channel is V - S k, so changing S scales V - channel. A grey
    pixel has no hue; the usual conversion calls it red, so b > 0 tints greys red, as in ImageNet-C.
    """

    card = image_card(
        "saturate", "colours faded (1, 2) or boosted (3 to 5)", randomised=False, monotone=False
    )

    def distort(
        self, image: Bytes, constants: tuple[float, float], rng: np.random.Generator
    ) -> Bytes:
        chroma, reach = saturated(*constants)
        largest, smallest = extremes(image)
        pairs = largest.astype(np.intp) * 256 + smallest
        value, grey = largest / 255.0, largest == smallest
        before, after = chroma.take(pairs), reach.take(pairs)
        result = []
        for plane, of_grey in zip(channels(image), (0.0, 1.0, 1.0), strict=True):
            shortfall = value - plane / 255.0
            shortfall /= before
            shortfall[grey] = of_grey
            shortfall *= after
            result.append(to_bytes(np.subtract(value, shortfall, out=shortfall)))
        return pixels(result)


@lru_cache(maxsize=16)
def saturated(gain: float, offset: float) -> tuple[Floats, Floats]:
    """Chroma and new chroma for each (largest, smallest channel), both (256 * 256,) float64.

    Greys have a chroma of 1 here, so that one can divide by it.
    """
    level = np.arange(256) / 255.0
    value = level[:, None]
    chroma = value - level[None, :]
    saturation = np.divide(chroma, value, out=np.zeros((256, 256)), where=value > 0)
    reach = value * np.clip(saturation * gain + offset, 0.0, 1.0)
    chroma[chroma == 0] = 1.0
    for table in (chroma, reach):
        table.setflags(write=False)
    return chroma.ravel(), reach.ravel()


class Pixelate(ImageShift):
    """Shrinks with area averaging and grows back; constant: c, the share of each side left.

    ``imagenet-c``: to int(side c) on each side and back, box filter both ways; at 224 px this is
    the original to the byte. ``mm``: to an absolute square of int(224 c) whatever the image's
    size, so that an image smaller than the square is hardly corrupted. MM_Robustness grows back
    with height and width exchanged; here the result keeps the image's sides.
    """

    Options = VariantOptions
    card = image_card("pixelate", "coarse square cells", randomised=False)

    def distort(self, image: Bytes, constants: float, rng: np.random.Generator) -> Bytes:
        height, width = image.shape[:2]
        if self._variant == "mm":
            side = int(224 * constants)
            small = (side, side)
        else:
            small = (max(1, int(width * constants)), max(1, int(height * constants)))
        shrunk = shrink(Image.fromarray(image), *small)
        grown = Image.Resampling.BOX
        if nearest_is_box(small[0], width) and nearest_is_box(small[1], height):
            grown = Image.Resampling.NEAREST  # the same, and faster
        return np.array(shrunk.resize((width, height), grown))


def shrink(picture: Image.Image, width: int, height: int) -> Image.Image:
    """Pillow's resize with the box filter; by halves and quarters the same to the byte, but faster.

    Pillow rounds to 8 bit after each axis and goes across first, unless the picture is more than
    twice as tall as it is wide.
    """
    factor = picture.width // width
    whole = (width * factor, height * factor) == picture.size
    if whole and factor in (2, 4) and picture.height <= 2 * picture.width:
        return picture.reduce((factor, 1)).reduce((1, factor))
    return picture.resize((width, height), Image.Resampling.BOX)


def nearest_is_box(small: int, large: int) -> bool:
    """Whether no pixel centre of the larger grid lies on a border between two smaller cells.

    The box filter would mix the two cells there. Centre x is at (2 x + 1) small / (2 large), which
    is never whole where small / large has an odd numerator in lowest terms.
    """
    return small <= large and small // math.gcd(small, large) % 2 == 1


class JpegCompression(ImageShift):
    """Encodes and decodes as JPEG; constant: the quality (Pillow's defaults, 4:2:0 chroma)."""

    card = image_card("jpeg_compression", "JPEG artefacts", randomised=False)

    def distort(self, image: Bytes, constants: int, rng: np.random.Generator) -> Bytes:
        buffer = io.BytesIO()
        picture = Image.fromarray(image)
        picture.save(buffer, "JPEG", quality=constants)
        # Straight to the decoder: ``Image.open`` would parse the header that was just written.
        return np.array(Image.frombytes("RGB", picture.size, buffer.getvalue(), "jpeg", "RGB", ""))


class ElasticTransform(ImageShift):
    """Local stretching; constants: (amplitude, sigma, jitter), in pixels.

    Severities 1 and 2 are large smooth warps, 3 to 5 small rough ones, so a higher severity need
    not change more. Samples are bilinear with exact weights (OpenCV's affine warp, which the
    original uses, rounds coordinates to 1/32 px).
    """

    card = image_card("elastic_transform", "local stretching and squeezing", monotone=False)

    def distort(
        self, image: Bytes, constants: tuple[float, float, float], rng: np.random.Generator
    ) -> Bytes:
        amplitude, sigma, jitter = constants
        height, width = image.shape[:2]
        rows, columns = np.arange(float(height))[:, None], np.arange(float(width))[None, :]
        places = np.empty((2, height, width))
        for along, (of_x, of_y, shift) in zip(
            places, inverse_affine(height, width, jitter, rng), strict=True
        ):
            np.add(of_x * columns, of_y * rows, out=along)
            along += shift
        warped = sample(to_planes(image), places, "reflect")
        field = rng.uniform(-1.0, 1.0, places.shape)
        places = gaussian(field, sigma, truncate=3.0, border="symmetric")
        places *= amplitude
        places[0] += columns
        places[1] += rows
        return planes_to_bytes(sample(warped, places, "symmetric"))


def inverse_affine(height: int, width: int, jitter: float, rng: np.random.Generator) -> Floats:
    """(2, 3) map from result to source coordinates (x, y, 1).

    Three points around the centre, a third of the short side away, are moved by U(-jitter, jitter)
    in each coordinate. As in the original the points are built as (row, column) and used as (x, y),
    so that on images that are not square they lie around the transposed centre.
    """
    centre = np.array((height // 2, width // 2), dtype=np.float64)
    reach = max(1, min(height, width) // 3)
    before = centre + reach * np.array(((1, 1), (1, -1), (-1, -1)))
    after = before + rng.uniform(-jitter, jitter, before.shape)
    homogeneous = np.column_stack((after, np.ones(3)))
    return np.asarray(np.linalg.solve(homogeneous, before).T)
