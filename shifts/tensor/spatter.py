"""Spatter, batched; operator and constants are those of ``shifts.image.spatter``.

The liquid is one plane with thresholds, cuts to 8 bit and a histogram: float64 throughout, so that
each of these falls as on the CPU.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from shifts.image.base import GUARD
from shifts.image.spatter import EMBOSS, MUD, REACH, WATER
from shifts.tensor.batch import Batch, to_levels
from shifts.tensor.filters import gaussian, padded


def spatter(batch: Batch) -> Tensor:
    """Water (severities 1 to 3) or mud (4 and 5) on the lens."""
    kind, mean, deviation, sigma, threshold, p = batch.constants
    noise = batch.draws.normal(batch.size, torch.float64) * deviation + mean
    layer = gaussian(noise, sigma)
    layer = layer.masked_fill(layer < threshold, 0.0)
    x = batch.unit
    if kind == "water":
        return to_levels(x + _colour(WATER, x) * (p * _water_shade(layer))[:, None].to(x.dtype))
    mask = gaussian((layer > threshold).double(), p)
    mask = mask.masked_fill(mask < 0.8, 0.0)[:, None].to(x.dtype)
    return to_levels(x * (1 - mask) + mask * _colour(MUD, x))


def _colour(rgb: object, like: Tensor) -> Tensor:
    return torch.tensor(rgb, dtype=like.dtype, device=like.device).view(1, 3, 1, 1)


def _water_shade(layer: Tensor) -> Tensor:
    """Brightness of drops in [0, 1], (B, H, W); see ``shifts.image.spatter.water_shade``."""
    level = to_levels(layer)
    mean = [[1 / 9] * 3] * 3
    blurred = (_window(_rim_distance(level > 0), mean) + GUARD).to(torch.uint8)
    embossed = _window(_equalise(blurred), EMBOSS.tolist()).clamp(0, 255)
    shade = level.double() * torch.round(_window(embossed, mean))
    peak = shade.amax(dim=(1, 2), keepdim=True)
    # No drop at all, which small images can draw: nothing to add.
    return shade / torch.where(peak > 0, peak, 1.0)


def _rim_distance(wet: Tensor) -> Tensor:
    """Distance to the nearest rim of a drop, cut at ``REACH``; (B, H, W) float64."""
    wide = padded(wet, 1, 1, "edge")
    inner = wide[:, :-2, 1:-1] & wide[:, 2:, 1:-1] & wide[:, 1:-1, :-2] & wide[:, 1:-1, 2:]
    squares = torch.where(wet & ~inner, 0.0, float(REACH**2)).double()
    # Squared distances add over the axes, so that each axis takes the least on its own.
    for axis in (-1, -2):
        room = (REACH, REACH, 0, 0) if axis == -1 else (0, 0, REACH, REACH)
        wide = functional.pad(squares, room, value=float(REACH**2))
        size = squares.shape[axis]
        for shift in range(-REACH, REACH + 1):
            beside = wide.narrow(axis, REACH + shift, size) + shift**2
            squares = torch.minimum(squares, beside)
    return squares.sqrt()


def _equalise(levels: Tensor) -> Tensor:
    """Histogram equalisation per item, (B, H, W) uint8; see ``shifts.image.spatter.equalise``."""
    flat = levels.flatten(1).long()
    items, pixels = flat.shape
    counts = torch.zeros((items, 256), dtype=torch.int64, device=levels.device)
    counts.scatter_add_(1, flat, torch.ones_like(flat))
    first = counts.gather(1, flat.amin(dim=1, keepdim=True))
    rest = pixels - first
    scale = 255.0 / rest.clamp(min=1).double()
    table = torch.round((counts.cumsum(1) - first) * scale).clamp_(0, 255)
    mapped = table.gather(1, flat)
    # An item of a single level stays as it is.
    return torch.where(rest > 0, mapped, flat.double()).to(torch.uint8).view_as(levels)


def _window(planes: Tensor, kernel: list[list[float]]) -> Tensor:
    """Correlation of (B, H, W) with a 3 x 3 kernel, border reflected."""
    height, width = planes.shape[-2:]
    wide = padded(planes.double(), 1, 1, "reflect")
    result = torch.zeros_like(planes, dtype=torch.float64)
    for row, weights in enumerate(kernel):
        for column, weight in enumerate(weights):
            if weight:
                result += weight * wide[:, row : row + height, column : column + width]
    return result
