"""Blurs, batched; operators and constants are those of ``shifts.image.blur``."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from shifts.image.blur import disc
from shifts.image.filters import line_kernel
from shifts.tensor.batch import Batch, round_to_levels, to_levels, to_unit
from shifts.tensor.filters import centre_zoom, correlate, gaussian


def gaussian_blur(batch: Batch) -> Tensor:
    """Gaussian filter, sigma in pixels."""
    return to_levels(gaussian(batch.unit, batch.constants))


def defocus_blur(batch: Batch) -> Tensor:
    """Correlation with a smoothed disc."""
    kernel = torch.tensor(disc(*batch.constants), dtype=batch.dtype, device=batch.levels.device)
    return to_levels(correlate(batch.unit, kernel))


def glass_blur(batch: Batch) -> Tensor:
    """Blur, local shuffling (not in variant ``mm``), blur."""
    sigma, distance, passes = batch.constants
    # float64: the cut to 8 bit in between then falls as on the CPU.
    result = to_levels(gaussian(to_unit(batch.levels, torch.float64), sigma))
    if batch.variant == "imagenet-c":
        for _ in range(passes):
            result = _shuffle(batch, result, distance)
    return to_levels(gaussian(to_unit(result, batch.dtype), sigma))


def _shuffle(batch: Batch, levels: Tensor, distance: int) -> Tensor:
    """One pass of glass, the sequential order kept; see ``shifts.image.blur.shuffle``."""
    items, _, height, width = levels.shape
    rows, columns = height - 2 * distance, width - 2 * distance
    if rows <= 0 or columns <= 0:
        return levels
    moves = batch.draws.integers(-distance, distance, (2, rows, columns))
    inner = (
        slice(None),
        slice(distance + 1, height - distance + 1),
        slice(distance + 1, width - distance + 1),
    )
    moved = torch.zeros((items, height, width), dtype=torch.int64, device=levels.device)
    moved[inner] = moves[:, 0] * width + moves[:, 1]
    visited = torch.zeros_like(moved, dtype=torch.bool)
    visited[inner] = True
    own = torch.arange(height * width, device=levels.device).expand(items, -1)
    target = own + moved.flatten(1)
    chained = (target > own) & visited.flatten(1).gather(1, target)
    last = torch.where(chained, target, own)
    while True:
        further = last.gather(1, last)
        if torch.equal(further, last):
            break
        last = further
    source = target.gather(1, last)[:, None].expand(-1, 3, -1)
    return levels.flatten(2).gather(2, source).view_as(levels)


def motion_blur(batch: Batch) -> Tensor:
    """One-sided line blur, one angle per item."""
    radius, sigma = batch.constants
    return round_to_levels(line_blur(batch.unit, radius, sigma, batch.draws.numbers(-45, 45)))


def line_blur(planes: Tensor, radius: float, sigma: float, angles: Sequence[float]) -> Tensor:
    """``shifts.image.filters.line_blur`` of (B, C, H, W) with one angle per item.

    The kernel array has room for any angle, so that an item's result cannot hang on the others'.
    """
    reach = 2 * math.ceil(radius)
    kernels = np.zeros((len(angles), 1, 2 * reach + 1, 2 * reach + 1))
    for kernel, angle in zip(kernels[:, 0], angles, strict=True):
        line = line_kernel(radius, sigma, angle)
        down, right = line.shape[0] // 2, line.shape[1] // 2
        kernel[reach - down : reach + down + 1, reach - right : reach + right + 1] = line
    lines = torch.from_numpy(kernels).to(planes.dtype).to(planes.device)
    return correlate(planes, lines, border="edge")


def zoom_blur(batch: Batch) -> Tensor:
    """Mean of the image and its centre zooms."""
    planes = batch.unit
    total = planes.clone()
    for factor in batch.constants:
        total += centre_zoom(planes, factor)
    return to_levels(total / (len(batch.constants) + 1))
