"""Pixel noise: Gaussian, shot, impulse and speckle."""

from __future__ import annotations

import math
from abc import abstractmethod
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from shifts.image.base import Bytes, ImageShift, image_card, to_bytes, to_unit

BAND = 32
"""Rows that are corrupted at a time."""


class _PixelNoise(ImageShift):
    """Noise that is independent from one array element to the next."""

    def distort(self, image: Bytes, constants: Any, rng: np.random.Generator) -> Bytes:
        """Works through bands of rows, whose arrays fit into the processor's cache.

        Elements are drawn in the image's order, so that the bands do not show in the numbers.
        """
        result = np.empty_like(image)
        for top in range(0, len(image), BAND):
            band = slice(top, top + BAND)
            result[band] = self.noisy(image[band], constants, rng)
        return result

    @abstractmethod
    def noisy(self, band: Bytes, constants: Any, rng: np.random.Generator) -> Bytes:
        """The operator on some rows of the image."""


class GaussianNoise(_PixelNoise):
    """clip(x + N(0, c)), independent per pixel and channel; constant: c, in units of full scale."""

    card = image_card("gaussian_noise", "additive Gaussian noise, per pixel and channel")

    def noisy(self, band: Bytes, constants: float, rng: np.random.Generator) -> Bytes:
        noise = rng.standard_normal(band.shape)
        noise *= constants
        noise += to_unit(band)
        return to_bytes(noise)


class ShotNoise(_PixelNoise):
    """clip(Poisson(x c) / c); constant: c, the photons that full scale stands for.

    There are 256 rates and c + 1 results, so that the draw is a look-up (see ``photon_table``).
    """

    card = image_card("shot_noise", "Poisson noise, as with few photons", version=2)

    def noisy(self, band: Bytes, constants: int, rng: np.random.Generator) -> Bytes:
        bits, accept, outcome = photon_table(constants)
        draw = rng.integers(0, 1 << 32, size=band.shape, dtype=np.uint32)
        cell = draw >> np.uint32(32 - bits)
        cell += band.astype(np.uint32) << np.uint32(bits)
        draw &= np.uint32((1 << (32 - bits)) - 1)
        cell = cell.astype(np.intp)
        other = draw >= accept.take(cell)
        cell *= 2
        cell += other
        return outcome.take(cell)


@lru_cache(maxsize=16)
def photon_table(photons: int) -> tuple[int, NDArray[np.uint32], NDArray[np.uint8]]:
    """Walker's alias table of min(Poisson(x c), c) for each level x: one draw, no search.

    The first bits of a 32-bit draw choose a column of the level's row. The rest, below ``accept``,
    gives the column's own result and otherwise that of its alias. Probabilities are rounded to
    2^-32, after which all is whole numbers.

    Args:
        photons: c, at least 1.

    Returns:
        Number of bits that choose; ``accept``, (256 * columns,); results as levels, (256 *
        columns * 2,): own, alias.
    """
    bits = photons.bit_length()
    columns, full = 1 << bits, 1 << (32 - bits)
    shares = _photon_shares(photons, columns)
    accept = np.full_like(shares, full)
    alias = np.tile(np.arange(columns), (256, 1))
    rows = np.flatnonzero(shares.min(axis=1) < full)
    while len(rows):  # each round, the column with least is filled up by the one with most
        least, most = shares[rows].argmin(axis=1), shares[rows].argmax(axis=1)
        accept[rows, least] = shares[rows, least]
        alias[rows, least] = most
        shares[rows, most] -= full - shares[rows, least]
        shares[rows, least] = full
        rows = rows[shares[rows].min(axis=1) < full]
    levels = to_bytes(np.arange(columns) / photons)
    outcome = np.stack((np.tile(levels, (256, 1)), levels[alias]), axis=-1)
    tables = accept.astype(np.uint32).ravel(), outcome.ravel()
    for table in tables:
        table.setflags(write=False)
    return bits, *tables


def _photon_shares(photons: int, columns: int) -> NDArray[np.int64]:
    """P(min(Poisson(x c), c) = k) for each level x in units of 2^-32, (256, columns)."""
    rate = np.arange(256) / 255.0 * photons
    chance = np.zeros((256, columns))
    chance[:, 0] = [math.exp(-each) for each in rate]
    for count in range(1, photons):
        chance[:, count] = chance[:, count - 1] * rate / count
    chance[:, photons] = np.clip(1.0 - chance[:, :photons].sum(axis=1), 0.0, None)
    shares = np.rint(chance * 2.0**32).astype(np.int64)
    # What rounding leaves goes to the likeliest count, so that a row is exactly one.
    shares[np.arange(256), shares.argmax(axis=1)] += 2**32 - shares.sum(axis=1)
    return shares


class ImpulseNoise(_PixelNoise):
    """Salt and pepper: a share c of the array's elements becomes 0 or 1 with equal chance.

    Elements, not pixels: each channel is hit on its own, hence coloured specks.
    """

    card = image_card("impulse_noise", "salt and pepper, per channel")

    def noisy(self, band: Bytes, constants: float, rng: np.random.Generator) -> Bytes:
        draw = rng.random(band.shape)
        result = np.where(draw < constants, np.uint8(255), band)
        result *= draw >= constants / 2
        return result


class SpeckleNoise(_PixelNoise):
    """clip(x + x N(0, c)); constant: c."""

    card = image_card("speckle_noise", "multiplicative Gaussian noise")

    def noisy(self, band: Bytes, constants: float, rng: np.random.Generator) -> Bytes:
        noise = rng.standard_normal(band.shape)
        noise *= constants
        noise += 1.0
        noise *= to_unit(band)
        return to_bytes(noise)
