"""Blurs: Gaussian, defocus, glass, motion and zoom."""

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
    image_card,
    pixels,
    round_to_bytes,
    to_bytes,
)
from shifts.image.filters import (
    border_index,
    centre_zooms,
    correlate,
    gaussian,
    gaussian_taps,
    line_blur,
    line_taps,
)


class GaussianBlur(ImageShift):
    """Gaussian filter, edge pixels repeated, cut at four sigma; constant: sigma in pixels."""

    card = image_card("gaussian_blur", "Gaussian blur", randomised=False)

    def distort(self, image: Bytes, constants: float, rng: np.random.Generator) -> Bytes:
        return smoothed(image, constants)


def smoothed(image: Bytes, sigma: float) -> Bytes:
    """Gaussian filter of (H, W, 3) uint8, cut to 8 bit."""
    return pixels(to_bytes(gaussian(each / 255.0, sigma)) for each in channels(image))


class DefocusBlur(ImageShift):
    """Correlation with a smoothed disc, border reflected; constants: (radius, sigma), in pixels."""

    card = image_card("defocus_blur", "disc blur", randomised=False)

    def distort(
        self, image: Bytes, constants: tuple[float, float], rng: np.random.Generator
    ) -> Bytes:
        kernel = disc(*constants)
        return pixels(to_bytes(correlate(each / 255.0, kernel)) for each in channels(image))


@lru_cache(maxsize=32)
def disc(radius: float, sigma: float) -> Floats:
    """A disc that sums to one, then smoothed; (2 n + 1, 2 n + 1) float64.

    ImageNet-C's grid: n = 8 and a 3 x 3 smoothing window for radii up to 8, else n = radius and
    5 x 5. The window reflects at the grid's border, which discs of radius 8 and 10 touch: they end
    up summing to 1.013 and 1.011, so that the original brightens a little there, and so does this.
    """
    reach, half = (8, 1) if radius <= 8 else (int(np.ceil(radius)), 2)
    grid = np.arange(-reach, reach + 1)
    kernel = (grid[:, None] ** 2 + grid[None, :] ** 2 <= radius**2).astype(np.float64)
    kernel /= kernel.sum()
    offsets, weights = gaussian_taps(sigma, half)
    taps = border_index(grid[:, None] + reach + offsets, len(grid), "reflect")
    kernel = np.einsum("ikj,k->ij", kernel[taps], weights)
    kernel = np.einsum("jik,k->ji", kernel[:, taps], weights)
    kernel.setflags(write=False)
    return kernel


class GlassBlur(ImageShift):
    """Blur, local shuffling, blur; constants: (sigma, distance, passes).

    The image is blurred and cut to 8 bit, then each pass moves pixels about (see ``shuffle``), then
    it is blurred again. ``mm`` leaves the passes out: MM_Robustness reuses a loop variable, so that
    all but one row stay as they are, and what it publishes as glass is a blur applied twice.
    """

    Options = VariantOptions
    card = image_card(
        "glass_blur", "frosted glass: pixels shuffled between two blurs", monotone=False
    )

    def distort(
        self, image: Bytes, constants: tuple[float, int, int], rng: np.random.Generator
    ) -> Bytes:
        sigma, distance, passes = constants
        result = smoothed(image, sigma)
        if self._variant == "imagenet-c":
            for _ in range(passes):
                result = shuffle(result, distance, rng)
        return smoothed(result, sigma)


def shuffle(image: Bytes, distance: int, rng: np.random.Generator) -> Bytes:
    """One pass of ImageNet-C's glass: every inner pixel takes the value of a random neighbour.

    Pixels are visited from the bottom right to the top left; offsets are drawn from
    -distance .. distance - 1 in each axis. The original writes an exchange, but on array views
    that copies the neighbour into both places; the published images carry this, so it is a copy
    here too. A neighbour visited earlier already holds its new value: all chains of such pixels are
    followed at once, a step at a time, which gives the sequential loop's result exactly.

    Args:
        image: (H, W, 3) uint8.
        distance: largest offset, in pixels.
        rng: draws (2, H - 2 distance, W - 2 distance) offsets, rows first.
    """
    height, width = image.shape[:2]
    rows, columns = height - 2 * distance, width - 2 * distance
    if rows <= 0 or columns <= 0:
        return image
    inner = np.s_[distance + 1 : height - distance + 1, distance + 1 : width - distance + 1]
    down, across = rng.integers(-distance, distance, size=(2, rows, columns))
    moves = down * width + across
    neighbours = np.arange(height * width, dtype=np.int32).reshape(height, width)
    neighbours[inner] += moves
    visited, later = np.zeros((2, height, width), dtype=bool)
    visited[inner], later[inner] = True, moves > 0
    neighbour = neighbours.ravel()
    chained = later.ravel() & visited.ravel()[neighbour]
    source, unfinished = neighbour.copy(), np.flatnonzero(chained)
    while len(unfinished):
        place = source[unfinished]
        source[unfinished] = neighbour[place]
        unfinished = unfinished[chained[place]]
    return np.take(image.reshape(-1, 3), source, axis=0).reshape(image.shape)


class MotionBlur(ImageShift):
    """One-sided line blur at an angle of U(-45, 45) degrees; constants: (radius, sigma).

    After ImageMagick's operator, whose 8-bit output is rounded, not truncated.
    """

    card = image_card("motion_blur", "camera shake")

    def distort(
        self, image: Bytes, constants: tuple[float, float], rng: np.random.Generator
    ) -> Bytes:
        radius, sigma = constants
        taps = line_taps(radius, sigma, rng.uniform(-45, 45))
        return pixels(round_to_bytes(line_blur(each / 255.0, taps)) for each in channels(image))


class ZoomBlur(ImageShift):
    """Mean of the image and its centre zooms; constant: the list of zoom factors.

    Factor 1 is in the list, so the image itself counts twice. ``mm`` differs at severity 5, where
    a floating-point step adds a twelfth factor.
    """

    Options = VariantOptions
    card = image_card("zoom_blur", "zooming during exposure", randomised=False)

    def distort(
        self, image: Bytes, constants: tuple[float, ...], rng: np.random.Generator
    ) -> Bytes:
        return pixels(self._blurred(each / 255.0, tuple(constants)) for each in channels(image))

    def _blurred(self, plane: Floats, factors: tuple[float, ...]) -> NDArray[np.uint8]:
        total = centre_zooms(plane, factors)
        total += plane
        total /= len(factors) + 1
        return to_bytes(total)
