"""Elastic transform, batched; operator and constants are those of ``shifts.image.elastic``."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from shifts.image.elastic import inverse_affine
from shifts.tensor.batch import Batch, to_levels
from shifts.tensor.filters import gaussian, sample


def elastic_transform(batch: Batch) -> Tensor:
    """A random affine map, then a smooth random displacement, both per item."""
    amplitude, sigma, jitter = batch.constants
    height, width = batch.size
    device = batch.levels.device
    affine = np.stack([inverse_affine(height, width, jitter, rng) for rng in batch.draws.own])
    inverse = torch.from_numpy(affine).to(device)[:, :, :, None, None]
    rows = torch.arange(height, dtype=torch.float64, device=device)[:, None].expand(-1, width)
    columns = torch.arange(width, dtype=torch.float64, device=device)[None].expand(height, -1)
    x, y = (inverse[:, :, 0] * columns + inverse[:, :, 1] * rows + inverse[:, :, 2]).unbind(1)
    warped = sample(batch.unit, y, x, "reflect")
    field = batch.draws.uniform(-1.0, 1.0, (2, height, width), batch.dtype)
    smooth = gaussian(field, sigma, truncate=3.0, border="symmetric").double()
    across, down = (amplitude * smooth).unbind(1)
    return to_levels(sample(warped, rows + down, columns + across, "symmetric"))
