"""Linear filters in float64 on (C, H, W) arrays, with the border rules that the operators need.

Gaussians are applied as banded matrices that have the border rule folded in, so that any image
size works, down to one pixel. Larger kernels go through transforms. All are exact to about 1e-13.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from shifts.image.base import Floats

if TYPE_CHECKING:
    from scipy.sparse import csr_array

Taps = tuple[NDArray[np.int64], NDArray[np.int64], Floats]
"""Offsets down and across in pixels, and weights; one of each per tap of a filter."""
WIDE = 128
"""Gaussians of a larger radius in pixels are faster by a cosine transform."""


def border_index(index: np.ndarray, size: int, border: str) -> np.ndarray:
    """Maps out-of-range indices of an axis of length ``size`` back into it.

    Args:
        index: integers, any value.
        size: length of the axis.
        border: "edge" (a a a | a b c), "symmetric" (c b a | a b c), "reflect" (c b | a b c) or
            "wrap" (a b c | a b c).
    """
    if border == "wrap":
        return np.mod(index, size)
    if border == "edge" or size == 1:
        return np.clip(index, 0, size - 1)
    if border in ("symmetric", "reflect"):
        period, end = (2 * size, 2 * size - 1) if border == "symmetric" else (2 * size - 2,) * 2
        folded = np.mod(index, period)
        return np.minimum(folded, end - folded)
    raise ValueError(f"unknown border rule {border!r}")


def gaussian_taps(sigma: float, radius: int) -> tuple[NDArray[np.int64], Floats]:
    """2 * radius + 1 offsets and samples of a Gaussian there, summing to one."""
    offsets = np.arange(-radius, radius + 1)
    weights = np.exp(-0.5 * (offsets / sigma) ** 2)
    return offsets, weights / weights.sum()


def gaussian(
    planes: Floats, sigma: float, *, truncate: float = 4.0, border: str = "edge"
) -> Floats:
    """Gaussian filter over the last two axes.

    Args:
        planes: (..., H, W) float64.
        sigma: standard deviation in pixels, above 0.
        truncate: the kernel is cut at this many standard deviations.
        border: see ``border_index``.
    """
    radius = int(truncate * sigma + 0.5)
    if border == "symmetric" and radius > WIDE:
        return _wide_gaussian(planes, sigma, radius)
    height, width = planes.shape[-2:]
    down, result = np.empty((height, width)), np.empty(planes.shape)
    for place in np.ndindex(planes.shape[:-2]):  # one plane fits into the processor's cache
        plane, across = planes[place], result[place]
        for own, reach, weights in _gaussian_blocks(height, sigma, radius, border):
            np.matmul(weights, plane[reach], out=down[own])
        for own, reach, weights in _gaussian_blocks(width, sigma, radius, border):
            np.matmul(down[:, reach], weights.T, out=across[:, own])
    return result


@lru_cache(maxsize=128)
def _gaussian_blocks(
    size: int, sigma: float, radius: int, border: str, length: int = 24
) -> list[tuple[slice, slice, Floats]]:
    """The filter's matrix by blocks of rows: (outputs, inputs that these depend on, weights).

    It is zero off its band, so blocks skip most of it; folding at a border moves a tap to within
    the radius of that border, where a block's inputs end anyway. Wrapping does not.
    """
    taps, weights = gaussian_taps(sigma, radius)
    reach = size if border == "wrap" else radius
    blocks: list[tuple[slice, slice, Floats]] = []
    for start in range(0, size, length):
        stop = min(size, start + length)
        first, end = max(0, start - reach), min(size, stop + reach)
        rows, matrix = np.arange(stop - start)[:, None], np.zeros((stop - start, end - first))
        columns = border_index(start + rows + taps, size, border) - first
        np.add.at(matrix, (rows, columns), weights)
        blocks.append((slice(start, stop), slice(first, end), matrix))
    return blocks


def _wide_gaussian(planes: Floats, sigma: float, radius: int) -> Floats:
    """``gaussian`` with border "symmetric", which the cosine transform makes a product."""
    from scipy import fft

    taps, weights = gaussian_taps(sigma, radius)
    height, width = (
        np.fft.rfft(np.bincount(taps % (2 * size), weights, 2 * size)).real[:size]
        for size in planes.shape[-2:]
    )
    spectrum = fft.dctn(planes, axes=(-2, -1)) * (height[:, None] * width)
    filtered: Floats = fft.idctn(spectrum, axes=(-2, -1), overwrite_x=True)
    return filtered


def correlate(plane: Floats, kernel: Floats, border: str = "reflect") -> Floats:
    """2-D correlation of a plane with an odd-sided kernel, through the FFT.

    Args:
        plane: (H, W) float64. Planes go one by one: one and its spectrum fit into the cache.
        kernel: (2 a + 1, 2 b + 1) float64, anchored at its centre.
        border: see ``border_index``.
    """
    from scipy import fft

    height, width = plane.shape
    down, right = kernel.shape[0] // 2, kernel.shape[1] // 2
    rows = border_index(np.arange(-down, height + down), height, border)
    columns = border_index(np.arange(-right, width + right), width, border)
    # Only wrap-free positions are kept, so the FFT needs no room beyond the padded image.
    size = (fft.next_fast_len(len(rows), True), fft.next_fast_len(len(columns), True))
    spectrum = fft.rfft2(plane.take(rows, axis=0).take(columns, axis=1), s=size)
    spectrum *= _response(kernel.tobytes(), kernel.shape, size)
    full: Floats = fft.irfft2(spectrum, s=size, overwrite_x=True)
    return full[2 * down : 2 * down + height, 2 * right : 2 * right + width]


@lru_cache(maxsize=16)
def _response(
    kernel: bytes, shape: tuple[int, int], size: tuple[int, int]
) -> NDArray[np.complex128]:
    """Spectrum of a float64 kernel turned by half, padded to ``size``."""
    from scipy import fft

    weights = np.frombuffer(kernel).reshape(shape)
    return np.asarray(fft.rfft2(weights[::-1, ::-1], s=size))


def line_blur(plane: Floats, taps: Taps) -> Floats:
    """ImageMagick's motion blur: a one-sided line of Gaussian weights, edge pixels repeated.

    Args:
        plane: (H, W) float64.
        taps: see ``line_taps``.
    """
    import torch

    height, width = plane.shape
    down, across, weights = taps
    rows = border_index(np.arange(down.min(), height + down.max()), height, "edge")
    columns = border_index(np.arange(across.min(), width + across.max()), width, "edge")
    padded = plane.take(rows, axis=0).take(columns, axis=1)
    # In the flat array a tap is one offset; what runs over a row's end lands in the padding.
    offsets = (down - down.min()) * len(columns) + (across - across.min())
    flat = torch.from_numpy(padded).view(-1)
    length = len(flat) - int(offsets.max())
    result = torch.zeros(padded.shape, dtype=torch.float64)
    total = result.view(-1)[:length]
    for offset, weight in zip(offsets.tolist(), weights.tolist(), strict=True):
        total.add_(flat[offset : offset + length], alpha=weight)
    return np.asarray(result.numpy()[:height, :width])


def line_taps(radius: float, sigma: float, angle: float) -> Taps:
    """A one-sided line of Gaussian weights that starts at the centre and sums to one.

    Args:
        radius: half the number of taps, in pixels; taps i = 0 .. 2 ceil(radius).
        sigma: tap i weighs exp(-i^2 / (2 sigma^2)).
        angle: degrees, clockwise from the x axis (rows grow downwards).

    Returns:
        2 ceil(radius) + 1 taps.
    """
    steps = np.arange(2 * int(np.ceil(radius)) + 1)
    weights = np.exp(-0.5 * (steps / sigma) ** 2)
    weights /= weights.sum()
    across = np.ceil(steps * np.cos(np.deg2rad(angle)) - 0.5).astype(np.int64)
    down = np.ceil(steps * np.sin(np.deg2rad(angle)) - 0.5).astype(np.int64)
    return down, across, weights


def centre_zooms(plane: Floats, factors: tuple[float, ...]) -> Floats:
    """Sum of centre zooms: centre crop by 1 / factor, linear upscale (corners aligned), trim.

    A row of a zoom mixes two rows of the crop, and a column two columns, so that each direction is
    a product with a sparse matrix.

    Args:
        plane: (H, W) float64.
        factors: each at least 1.

    Returns:
        (H, W) float64.
    """
    height, width = plane.shape
    down, source = _zooms_down(height, factors), np.ascontiguousarray(plane.T)
    result = np.empty(plane.shape)
    for own, across in _zooms_across(width, factors):
        zooms = (across @ source).reshape(len(factors), -1, height).transpose(0, 2, 1)
        result[:, own] = down @ zooms.reshape(len(factors) * height, -1)
    return result


@lru_cache(maxsize=128)  # pictures of real data have about as many heights and widths
def _zooms_down(size: int, factors: tuple[float, ...]) -> csr_array:
    """The matrices of all zooms side by side, which adds what they give."""
    from scipy import sparse

    return sparse.hstack([_zoom_of_axis(size, factor) for factor in factors], "csr")


@lru_cache(maxsize=128)
def _zooms_across(
    size: int, factors: tuple[float, ...], length: int = 32
) -> list[tuple[slice, csr_array]]:
    """The matrices of all zooms one below the other, by blocks of results.

    The zooms of a block fit into the processor's cache.
    """
    from scipy import sparse

    zooms = [_zoom_of_axis(size, factor) for factor in factors]
    blocks = [slice(start, min(size, start + length)) for start in range(0, size, length)]
    return [(own, sparse.vstack([zoom[own] for zoom in zooms], "csr")) for own in blocks]


def _zoom_of_axis(size: int, factor: float) -> csr_array:
    """(size, size): two weights in each row."""
    from scipy.sparse import csr_array

    crop = int(np.ceil(size / factor))
    grown = round(crop * factor)
    places = ((grown - size) // 2 + np.arange(size)) * ((crop - 1) / max(grown - 1, 1))
    low = np.minimum(places.astype(np.int64), crop - 1)
    columns = (size - crop) // 2 + np.stack((low, np.minimum(low + 1, crop - 1)), axis=1)
    weights = np.stack((1.0 - (places - low), places - low), axis=1)
    return csr_array(
        (weights.ravel(), columns.ravel(), np.arange(0, 2 * size + 1, 2)), (size, size)
    )


def sample(planes: Floats, places: Floats, border: str) -> Floats:
    """Bilinear samples of every plane.

    Args:
        planes: (C, H, W) float64, contiguous.
        places: (2, H', W') float64, x and y in pixels; pixel centres are whole numbers. They are
            overwritten: fewer arrays stay in the processor's cache.
        border: "symmetric" or "reflect", see ``border_index``.

    Returns:
        (C, H', W') float64.
    """
    import torch

    corners = border == "reflect"
    for along, size in zip(places, planes.shape[:0:-1], strict=True):  # to -1 .. 1
        along *= 2
        if not corners:
            along += 1
        along /= max(size - 1, 1) if corners else size
        along -= 1
    sampled = torch.nn.functional.grid_sample(
        torch.from_numpy(planes)[None],
        torch.from_numpy(places).permute(1, 2, 0)[None],
        mode="bilinear",
        padding_mode="reflection",
        align_corners=corners,
    )
    return np.asarray(sampled[0].numpy())
