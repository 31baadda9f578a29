"""Blurs: Gaussian and defocus."""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from shifts.base import ShiftCard
from shifts.image.base import Bytes, Floats, ImageShift, planes_to_bytes, to_planes
from shifts.image.constants import IMAGENET_C
from shifts.image.filters import border_index, correlate, gaussian, gaussian_weights

_SEVERITIES = (1, 2, 3, 4, 5)


class GaussianBlur(ImageShift):
    """Gaussian filter, edge pixels repeated, cut at four sigma; constant: sigma in pixels."""

    card = ShiftCard(
        "gaussian_blur", "image", _SEVERITIES, "Gaussian blur", IMAGENET_C, randomised=False
    )

    def distort(self, image: Bytes, constants: float, rng: np.random.Generator) -> Bytes:
        return planes_to_bytes(gaussian(to_planes(image), constants))


class DefocusBlur(ImageShift):
    """Correlation with a smoothed disc, border reflected; constants: (radius, sigma), in pixels."""

    card = ShiftCard(
        "defocus_blur", "image", _SEVERITIES, "disc blur", IMAGENET_C, randomised=False
    )

    def distort(
        self, image: Bytes, constants: tuple[float, float], rng: np.random.Generator
    ) -> Bytes:
        return planes_to_bytes(correlate(to_planes(image), disc(*constants)))


@lru_cache(maxsize=32)
def disc(radius: float, sigma: float) -> Floats:
    """A disc that sums to one, then smoothed; (2 n + 1, 2 n + 1) float64.

    ImageNet-C's grid: n = 8 and a 3 x 3 smoothing window for radii up to 8, else n = radius and
    5 x 5. The window reflects at the grid's border, which a disc of radius 10 touches.
    """
    reach, half = (8, 1) if radius <= 8 else (int(np.ceil(radius)), 2)
    grid = np.arange(-reach, reach + 1)
    kernel = (grid[:, None] ** 2 + grid[None, :] ** 2 <= radius**2).astype(np.float64)
    kernel /= kernel.sum()
    weights = gaussian_weights(sigma, half)
    size = len(grid)
    taps = border_index(grid[:, None] + reach + np.arange(-half, half + 1), size, "reflect")
    kernel = np.einsum("ikj,k->ij", kernel[taps], weights)
    kernel = np.einsum("jik,k->ji", kernel[:, taps], weights)
    kernel.setflags(write=False)
    return kernel
