"""Linear filters on (..., H, W) tensors: ``shifts.image.filters`` and Pillow's resize, batched."""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from shifts.image.base import Floats
from shifts.image.filters import border_index, fast_length, gaussian_matrix

_FIXED_POINT = 2**22
"""Pillow's resize rounds its weights to this fixed-point precision."""


def product(left: Tensor, right: Tensor) -> Tensor:
    """Matrix product in float64, in the type of the input that is not float64 if there is one.

    A float32 product may run in TF32 on a GPU, with ten bits of mantissa: too few for 255 levels.
    """
    dtype = right.dtype if left.dtype == torch.float64 else left.dtype
    return torch.matmul(left.double(), right.double()).to(dtype)


def gaussian(
    planes: Tensor, sigma: float, *, truncate: float = 4.0, border: str = "edge"
) -> Tensor:
    """Gaussian filter over the last two axes; see ``shifts.image.filters.gaussian``."""
    height, width = planes.shape[-2:]
    rows = torch.tensor(gaussian_matrix(height, sigma, truncate, border), device=planes.device)
    columns = torch.tensor(gaussian_matrix(width, sigma, truncate, border), device=planes.device)
    return product(product(rows, planes), columns.T)


def padded(planes: Tensor, down: int, right: int, border: str) -> Tensor:
    """Adds ``down`` rows above and below and ``right`` columns at either side."""
    height, width = planes.shape[-2:]
    rows = border_index(np.arange(-down, height + down), height, border)
    columns = border_index(np.arange(-right, width + right), width, border)
    taller = planes.index_select(-2, torch.from_numpy(rows).to(planes.device))
    return taller.index_select(-1, torch.from_numpy(columns).to(planes.device))


def correlate(planes: Tensor, kernel: Tensor, border: str = "reflect") -> Tensor:
    """2-D correlation through the FFT.

    Args:
        planes: (B, C, H, W).
        kernel: (2 a + 1, 2 b + 1), or (B, 1, 2 a + 1, 2 b + 1) for one per item; type of planes.
        border: see ``shifts.image.filters.border_index``.
    """
    height, width = planes.shape[-2:]
    down, right = kernel.shape[-2] // 2, kernel.shape[-1] // 2
    wide = padded(planes, down, right, border)
    size = (fast_length(wide.shape[-2]), fast_length(wide.shape[-1]))
    spectrum = torch.fft.rfft2(wide, s=size) * torch.fft.rfft2(kernel.flip(-2, -1), s=size)
    full = torch.fft.irfft2(spectrum, s=size)
    return full[..., 2 * down : 2 * down + height, 2 * right : 2 * right + width]


def centre_zoom(planes: Tensor, factor: float) -> Tensor:
    """Centre crop and linear upscale; see ``shifts.image.filters.centre_zoom``."""
    height, width = planes.shape[-2:]
    rows, columns = math.ceil(height / factor), math.ceil(width / factor)
    top, left = (height - rows) // 2, (width - columns) // 2
    crop = planes[..., top : top + rows, left : left + columns]
    size = (round(rows * factor), round(columns * factor))
    zoomed = functional.interpolate(crop, size=size, mode="bilinear", align_corners=True)
    top, left = (size[0] - height) // 2, (size[1] - width) // 2
    return zoomed[..., top : top + height, left : left + width]


def sample(planes: Tensor, rows: Tensor, columns: Tensor, border: str) -> Tensor:
    """Bilinear samples at (B, H', W') coordinates; see ``shifts.image.filters.sample``."""
    height, width = planes.shape[-2:]
    corners = border == "reflect"
    if corners:
        y, x = 2 * rows / max(height - 1, 1) - 1, 2 * columns / max(width - 1, 1) - 1
    else:
        y, x = (2 * rows + 1) / height - 1, (2 * columns + 1) / width - 1
    grid = torch.stack((x, y), dim=-1).to(planes.dtype)
    return functional.grid_sample(
        planes, grid, mode="bilinear", padding_mode="reflection", align_corners=corners
    )


def resize(levels: Tensor, height: int, width: int, kernel: str) -> Tensor:
    """Pillow's 8-bit resize: across, rounded to 8 bit, then down, rounded to 8 bit.

    Equal to Pillow's bytes, except that recent versions take some tall images down first, which
    can round a value to the neighbouring level.

    Args:
        levels: (..., H, W) uint8.
        height, width: new size.
        kernel: "box" or "bilinear" (antialiased).
    """
    for axis, size in ((-1, width), (-2, height)):
        if levels.shape[axis] == size:
            continue
        matrix = torch.tensor(_resize_matrix(levels.shape[axis], size, kernel))
        matrix = matrix.to(levels.device)
        lines = levels.double()
        # Whole numbers below 2^31: exact in float64 whatever the order of summation.
        total = lines @ matrix.T if axis == -1 else matrix @ lines
        levels = torch.floor(total / _FIXED_POINT + 0.5).clamp_(0, 255).to(torch.uint8)
    return levels


@lru_cache(maxsize=32)
def _resize_matrix(large: int, small: int, kernel: str) -> Floats:
    """(small, large) fixed-point weights; ``small`` may be the larger one."""
    scale = large / small
    stretch = max(scale, 1.0)
    support = (0.5 if kernel == "box" else 1.0) * stretch
    matrix = np.zeros((small, large))
    for row in range(small):
        centre = (row + 0.5) * scale
        first = max(0, int(centre - support + 0.5))
        last = min(large, int(centre + support + 0.5))
        offsets = (np.arange(first, last) - centre + 0.5) / stretch
        if kernel == "box":
            weights = ((offsets > -0.5) & (offsets <= 0.5)).astype(np.float64)
        else:
            weights = np.clip(1.0 - np.abs(offsets), 0.0, None)
        matrix[row, first:last] = np.floor(weights / weights.sum() * _FIXED_POINT + 0.5)
    matrix.setflags(write=False)  # shared between callers through the cache
    return matrix
