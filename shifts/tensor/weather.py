"""Weather and spatter, batched; operators and constants are those of ``shifts.image``."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from shifts.image.frost import Frost, FrostProcedural
from shifts.image.weather import GREY, brightened
from shifts.tensor.batch import Batch, Draws, round_to_levels, to_levels, to_unit
from shifts.tensor.blur import line_blur
from shifts.tensor.filters import centre_zoom


def brightness(batch: Batch) -> Tensor:
    """HSV with V' = clip(V + c); equal to the CPU's to the byte."""
    table = torch.tensor(brightened(batch.constants), device=batch.levels.device)
    value = batch.levels.amax(dim=1, keepdim=True).long()
    return table[value * 256 + batch.levels]


def fog(batch: Batch) -> Tensor:
    """clip((x + a P) m / (m + a)), one plasma map per item."""
    amount, decay = batch.constants
    height, width = batch.size
    least = 512 if batch.variant == "mm" else 2
    side = max(least, 1 << (max(height, width) - 1).bit_length())
    haze = plasma(side, decay, batch.draws)[:, None, :height, :width].to(batch.dtype)
    x = batch.unit
    peak = x.amax(dim=(1, 2, 3), keepdim=True)
    return to_levels((x + amount * haze) * (peak / (peak + amount)))


def plasma(side: int, decay: float, draws: Draws) -> Tensor:
    """One map of ``shifts.image.weather.plasma`` per item, (B, side, side) float64."""

    def noise(cells: int, amplitude: float) -> Tensor:
        spread = amplitude**2
        return draws.uniform(-spread, spread, (cells, cells), torch.float64)

    heights = torch.zeros((len(draws.own), side, side), dtype=torch.float64, device=draws.device)
    step, amplitude = side, 100.0
    while step >= 2:
        half, cells = step // 2, side // step
        corners = heights[:, ::step, ::step]
        pairs = corners + corners.roll(-1, dims=1)
        centres = (pairs + pairs.roll(-1, dims=2)) / 4 + noise(cells, amplitude)
        beside = centres + centres.roll(1, dims=1) + corners + corners.roll(-1, dims=2)
        below = centres + centres.roll(1, dims=2) + corners + corners.roll(-1, dims=1)
        heights[:, half::step, half::step] = centres
        heights[:, ::step, half::step] = beside / 4 + noise(cells, amplitude)
        heights[:, half::step, ::step] = below / 4 + noise(cells, amplitude)
        step = half
        amplitude /= decay
    heights -= heights.amin(dim=(1, 2), keepdim=True)
    return heights / heights.amax(dim=(1, 2), keepdim=True)


def snow(batch: Batch) -> Tensor:
    """A motion-blurred layer of flakes and its half turn, added to the whitened image."""
    mean, deviation, zoom, threshold, radius, sigma, mix = batch.constants
    # The layer is one plane that passes a threshold and two cuts to 8 bit: float64 throughout.
    layer = batch.draws.normal(batch.size, torch.float64)[:, None] * deviation + mean
    layer = centre_zoom(layer, zoom)
    layer = layer.masked_fill(layer < threshold, 0.0)
    layer = to_unit(to_levels(layer), torch.float64)
    layer = line_blur(layer, radius, sigma, batch.draws.numbers(-135, -45))
    layer = to_unit(round_to_levels(layer), batch.dtype)
    x = batch.unit
    weights = torch.tensor(GREY, dtype=batch.dtype, device=x.device).view(1, 3, 1, 1)
    white = torch.maximum(x, (x * weights).sum(dim=1, keepdim=True) * 1.5 + 0.5)
    return to_levels(mix * x + (1 - mix) * white + layer + layer.flip(-2, -1))


def frost(batch: Batch) -> Tensor:
    """clip(a x + b frost), one crop per item, taken on the host."""
    shift = batch.shift
    assert isinstance(shift, Frost | FrostProcedural)
    keep, add = batch.constants
    crops = np.stack([shift.crop(*batch.size, rng) for rng in batch.draws.own])
    ice = torch.from_numpy(crops).to(batch.levels.device).permute(0, 3, 1, 2)
    return to_levels(keep * batch.unit + add * to_unit(ice, batch.dtype))
