"""Weather: brightness, fog and snow. Frost has its own file."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

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
    round_to_bytes,
    to_bytes,
    to_planes,
)
from shifts.image.filters import centre_zoom, line_blur, line_taps

GREY = np.array((0.299, 0.587, 0.114))
"""ITU-R BT.601 luma weights of R, G, B."""


class Brightness(ImageShift):
    """HSV with V' = clip(V + c); constant: c.

    With hue and saturation kept, all three channels scale with V; black becomes grey.
    """

    card = image_card("brightness", "brightness increased", randomised=False)

    def distort(self, image: Bytes, constants: float, rng: np.random.Generator) -> Bytes:
        value, _ = extremes(image)
        pairs = value[..., None].astype(np.intp) * 256 + image
        return np.take(brightened(constants), pairs)


@lru_cache(maxsize=16)
def brightened(amount: float) -> NDArray[np.uint8]:
    """New level of a channel for each (largest channel, channel): (256 * 256,) uint8."""
    level = np.arange(256) / 255.0
    value, x = level[:, None], level[None, :]
    target = np.clip(value + amount, 0.0, 1.0)
    share = np.divide(x, value, out=np.ones((256, 256)), where=value > 0)
    table = to_bytes(share * target).ravel()
    table.setflags(write=False)
    return table


class Fog(ImageShift):
    """clip((x + a P) m / (m + a)), m = max of x, P a plasma map; constants: (a, decay).

    ``imagenet-c``: the map's side is the next power of two from the long side on (256 at 224 px, as
    in the original). ``mm``: 512, or 1024 for a long side above 512 (MM_Robustness takes 512 for
    Flickr30K and 1024 for COCO whatever the image's size).
    """

    Options = VariantOptions
    card = image_card("fog", "fog banks")

    def distort(
        self, image: Bytes, constants: tuple[float, float], rng: np.random.Generator
    ) -> Bytes:
        amount, decay = constants
        height, width = image.shape[:2]
        least = 512 if self._variant == "mm" else 2
        side = max(least, 1 << (max(height, width) - 1).bit_length())
        fog = amount * plasma(side, decay, rng)[:height, :width]
        peak = float(image.max()) / 255.0
        share = peak / (peak + amount)
        return pixels(to_bytes((each / 255.0 + fog) * share) for each in channels(image))


def plasma(side: int, decay: float, rng: np.random.Generator) -> Floats:
    """Diamond-square height map on a torus, shifted and scaled to [0, 1].

    Args:
        side: a power of two, at least 2.
        decay: the amplitude w starts at 100 and is divided by this at each step; a new point is
            the mean of its four neighbours plus w U(-w, w).
        rng: draws the noise.

    Returns:
        (side, side) float64.
    """
    heights = np.zeros((side, side))
    step, amplitude = side, 100.0
    while step >= 2:
        half = step // 2
        shape = (side // step, side // step)
        spread = amplitude**2
        corners = heights[::step, ::step]
        pairs = corners + np.roll(corners, -1, axis=0)
        centres = (pairs + np.roll(pairs, -1, axis=1)) / 4
        centres += rng.uniform(-spread, spread, shape)
        heights[half::step, half::step] = centres
        beside = centres + np.roll(centres, 1, axis=0) + corners + np.roll(corners, -1, axis=1)
        heights[::step, half::step] = beside / 4 + rng.uniform(-spread, spread, shape)
        below = centres + np.roll(centres, 1, axis=1) + corners + np.roll(corners, -1, axis=0)
        heights[half::step, ::step] = below / 4 + rng.uniform(-spread, spread, shape)
        step = half
        amplitude /= decay
    heights -= heights.min()
    return np.asarray(heights / heights.max())


class Snow(ImageShift):
    """Falling flakes; constants: (mean, deviation, zoom, threshold, radius, sigma, mix).

    A normal noise layer is zoomed, thresholded, clipped, cut to 8 bit and motion-blurred at
    U(-135, -45) degrees (8 bit again, rounded). The image is whitened to
    mix x + (1 - mix) max(x, 1.5 grey + .5), then the layer and its half turn are added.
    """

    card = image_card("snow", "falling snow")

    def distort(
        self, image: Bytes, constants: tuple[float, ...], rng: np.random.Generator
    ) -> Bytes:
        mean, deviation, zoom, threshold, radius, sigma, mix = constants
        layer = rng.normal(mean, deviation, image.shape[:2])
        layer = centre_zoom(layer[None], zoom)[0]
        layer[layer < threshold] = 0.0
        layer = to_bytes(layer) / 255.0
        layer = line_blur(layer, line_taps(radius, sigma, rng.uniform(-135, -45)))
        layer = round_to_bytes(layer) / 255.0
        flakes = layer + layer[::-1, ::-1]
        planes = to_planes(image)
        white = np.tensordot(GREY, planes, axes=1)
        white *= 1.5
        white += 0.5
        for plane in planes:
            bright = np.maximum(plane, white)
            bright *= 1 - mix
            plane *= mix
            plane += bright
            plane += flakes
        return planes_to_bytes(planes)
