"""Pixel noise, batched; operators and constants are those of ``shifts.image.noise``."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from shifts.tensor.batch import Batch, to_levels, to_unit


def gaussian_noise(batch: Batch) -> Tensor:
    """clip(x + N(0, c))."""
    return to_levels(_normal(batch).mul_(batch.constants).add_(batch.unit))


def shot_noise(batch: Batch) -> Tensor:
    """clip(Poisson(x c) / c)."""
    if not batch.draws.on_device:
        # The CPU shift looks its draws up in a table; there is no field to send over.
        images = batch.levels.permute(0, 2, 3, 1).cpu().numpy()
        pairs = zip(images, batch.draws.own, strict=True)
        results = np.stack([batch.shift.distort(each, batch.constants, rng) for each, rng in pairs])
        return _channel_first(torch.from_numpy(results).to(batch.levels.device))
    rate = to_unit(batch.levels, torch.float64) * batch.constants
    return to_levels(batch.draws.poisson(rate) / batch.constants)


def impulse_noise(batch: Batch) -> Tensor:
    """A share c of the elements becomes 0 or 255."""
    height, width = batch.size
    # float64: a draw that rounding moves across the threshold would change by 255 levels.
    draw = _channel_first(batch.draws.uniform(0.0, 1.0, (height, width, 3), torch.float64))
    salted = batch.levels.masked_fill(draw < batch.constants, 255)
    return salted.masked_fill_(draw < batch.constants / 2, 0)


def speckle_noise(batch: Batch) -> Tensor:
    """clip(x + x N(0, c))."""
    return to_levels(_normal(batch).mul_(batch.constants).add_(1.0).mul_(batch.unit))


def _normal(batch: Batch) -> Tensor:
    height, width = batch.size
    return _channel_first(batch.draws.normal((height, width, 3), batch.dtype))


def _channel_first(field: Tensor) -> Tensor:
    """(B, H, W, 3), the order in which the CPU shifts draw, to (B, 3, H, W)."""
    return field.permute(0, 3, 1, 2).contiguous()
