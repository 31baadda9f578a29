"""Pixel noise: Gaussian, shot, impulse and speckle."""

from __future__ import annotations

import numpy as np

from shifts.base import ShiftCard
from shifts.image.base import Bytes, ImageShift, to_bytes, to_unit
from shifts.image.constants import IMAGENET_C


def _card(name: str, summary: str) -> ShiftCard:
    return ShiftCard(name, "image", (1, 2, 3, 4, 5), summary, IMAGENET_C)


class GaussianNoise(ImageShift):
    """clip(x + N(0, c)), independent per pixel and channel; constant: c, in units of full scale."""

    card = _card("gaussian_noise", "additive Gaussian noise, per pixel and channel")

    def distort(self, image: Bytes, constants: float, rng: np.random.Generator) -> Bytes:
        noise = rng.standard_normal(image.shape)
        noise *= constants
        noise += to_unit(image)
        return to_bytes(noise)


class ShotNoise(ImageShift):
    """clip(Poisson(x c) / c); constant: c, the photons that full scale stands for."""

    card = _card("shot_noise", "Poisson noise of few photons")

    def distort(self, image: Bytes, constants: float, rng: np.random.Generator) -> Bytes:
        return to_bytes(rng.poisson(to_unit(image) * constants) / constants)


class ImpulseNoise(ImageShift):
    """Salt and pepper: a share c of the array's elements becomes 0 or 1 with equal chance.

    Elements, not pixels: each channel is hit on its own, hence coloured specks.
    """

    card = _card("impulse_noise", "salt and pepper, per channel")

    def distort(self, image: Bytes, constants: float, rng: np.random.Generator) -> Bytes:
        draw = rng.random(image.shape)
        result = image.copy()
        result[draw < constants] = 255
        result[draw < constants / 2] = 0
        return result


class SpeckleNoise(ImageShift):
    """clip(x + x N(0, c)); constant: c."""

    card = _card("speckle_noise", "multiplicative Gaussian noise")

    def distort(self, image: Bytes, constants: float, rng: np.random.Generator) -> Bytes:
        noise = rng.standard_normal(image.shape)
        noise *= constants
        noise += 1.0
        noise *= to_unit(image)
        return to_bytes(noise)
