"""Contrast, saturation, pixelation, batched and equal to ``shifts.image.digital`` to the byte."""

from __future__ import annotations

import torch
from torch import Tensor

from shifts.image.digital import saturated
from shifts.tensor.batch import Batch, to_levels, to_unit
from shifts.tensor.filters import resize


def contrast(batch: Batch) -> Tensor:
    """clip((x - mean) c + mean), mean per item and channel."""
    height, width = batch.size
    total = batch.levels.sum(dim=(2, 3), dtype=torch.int64)
    mean = (total.double() / (255.0 * height * width))[..., None]
    every = torch.arange(256, dtype=torch.float64, device=batch.levels.device) / 255.0
    table = to_levels((every - mean) * batch.constants + mean)
    return table.gather(2, batch.levels.flatten(2).long()).view_as(batch.levels)


def saturate(batch: Batch) -> Tensor:
    """HSV with S' = clip(S a + b)."""
    device = batch.levels.device
    chroma, reach = (torch.tensor(table, device=device) for table in saturated(*batch.constants))
    largest = batch.levels.amax(dim=1, keepdim=True)
    smallest = batch.levels.amin(dim=1, keepdim=True)
    pairs = largest.long() * 256 + smallest
    value = to_unit(largest, torch.float64)
    shortfall = (value - to_unit(batch.levels, torch.float64)) / chroma[pairs]
    # A grey pixel has no hue; it is called red.
    red = torch.tensor((0.0, 1.0, 1.0), dtype=torch.float64, device=device).view(1, 3, 1, 1)
    shortfall = torch.where(largest == smallest, red, shortfall)
    return to_levels(value - shortfall * reach[pairs])


def pixelate(batch: Batch) -> Tensor:
    """Shrinks with area averaging and grows back."""
    height, width = batch.size
    if batch.variant == "mm":
        small = (int(224 * batch.constants),) * 2
    else:
        small = (max(1, int(height * batch.constants)), max(1, int(width * batch.constants)))
    grown = resize(resize(batch.levels, *small, "box"), height, width, "box")
    return grown.clone() if grown is batch.levels else grown
