"""JPEG at 4:2:0 on tensors: what libjpeg computes between encoder and decoder, to the integer.

Entropy coding loses nothing and is left out. Every other step is integer arithmetic in libjpeg's
default settings: fixed-point colour conversion (16 bits), chroma averaged over 2 x 2 with
alternating rounding, the "islow" cosine transform of Loeffler, Ligtenberg and Moschytz (ICASSP
1989) with 13-bit constants and one rounding per axis, quantisation with the example tables of
ITU-T T.81 Annex K, and triangle ("fancy") upsampling of the chroma. Whole numbers stay below 2^53
and are held in float64, for which GPUs have matrix products.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import torch
from torch import Tensor

from shifts.image.base import Floats
from shifts.tensor.batch import Batch

_BITS = 13
"""Fixed-point bits of the transform's constants."""
_EXTRA = 2
"""Bits that the values between the two axes of a transform carry in addition."""

_LUMA = (
    (16, 11, 10, 16, 24, 40, 51, 61),
    (12, 12, 14, 19, 26, 58, 60, 55),
    (14, 13, 16, 24, 40, 57, 69, 56),
    (14, 17, 22, 29, 51, 87, 80, 62),
    (18, 22, 37, 56, 68, 109, 103, 77),
    (24, 35, 55, 64, 81, 104, 113, 92),
    (49, 64, 78, 87, 103, 121, 120, 101),
    (72, 92, 95, 98, 112, 100, 103, 99),
)
"""T.81, table K.1."""
_CHROMA = (
    (17, 18, 24, 47, 99, 99, 99, 99),
    (18, 21, 26, 66, 99, 99, 99, 99),
    (24, 26, 56, 99, 99, 99, 99, 99),
    (47, 66, 99, 99, 99, 99, 99, 99),
    *((99,) * 8,) * 4,
)
"""T.81, table K.2."""


def jpeg_compression(batch: Batch) -> Tensor:
    """Encodes and decodes at a quality, 4:2:0 chroma."""
    height, width = batch.size
    luma, blue, red = _to_ycc(batch.levels.double()).unbind(1)
    luma = _coded(_extended(luma, 8, 8), _quantiser(_LUMA, batch.constants))
    chroma = torch.stack((blue, red), dim=1)
    chroma = _halved(_extended(_extended(chroma, 2, 1), 1, 16))
    chroma = _coded(_extended(chroma, 8, 8), _quantiser(_CHROMA, batch.constants))
    rows, columns = (height + 1) // 2, (width + 1) // 2
    chroma = _doubled(chroma[..., :rows, :columns])[..., :height, :width]
    return _to_rgb(luma[..., :height, :width], chroma[:, 0], chroma[:, 1])


def _fixed(value: float, bits: int) -> int:
    return int(value * 2**bits + 0.5)


def _shifted(total: Tensor, bits: int) -> Tensor:
    """Division by a power of two, rounded to nearest, halves up."""
    return torch.floor(total / 2**bits + 0.5)


def _to_ycc(rgb: Tensor) -> Tensor:
    """(B, 3, H, W) whole numbers to Y, Cb, Cr."""
    red, green, blue = rgb.unbind(1)
    half, offset = 2**15, 128 * 2**16
    y = (_fixed(0.299, 16) * red + _fixed(0.587, 16) * green + _fixed(0.114, 16) * blue) + half
    # Weights of a chroma sum to 0; the rounding term is one short of a half, so that 255.5 fits.
    cb = -_fixed(0.168735892, 16) * red - _fixed(0.331264108, 16) * green + 2**15 * blue
    cr = 2**15 * red - _fixed(0.418687589, 16) * green - _fixed(0.081312411, 16) * blue
    planes = torch.stack((y, cb + offset + half - 1, cr + offset + half - 1), dim=1)
    return torch.floor(planes / 2**16)


def _to_rgb(y: Tensor, cb: Tensor, cr: Tensor) -> Tensor:
    """Whole numbers to (B, 3, H, W) uint8."""
    cb, cr = cb - 128, cr - 128
    green = -_fixed(0.34414, 16) * cb - _fixed(0.71414, 16) * cr
    red, blue = _fixed(1.402, 16) * cr, _fixed(1.772, 16) * cb
    added = _shifted(torch.stack((red, green, blue), dim=1), 16)
    return (y[:, None] + added).clamp_(0, 255).to(torch.uint8)


def _extended(planes: Tensor, down: int, right: int) -> Tensor:
    """Repeats the last row and column up to multiples of ``down`` and ``right``."""
    for axis, multiple in ((-2, down), (-1, right)):
        size = planes.shape[axis]
        index = torch.arange(-(-size // multiple) * multiple, device=planes.device)
        planes = planes.index_select(axis, index.clamp_(max=size - 1))
    return planes


def _halved(planes: Tensor) -> Tensor:
    """Sums of 2 x 2 over four; the rounding term is 1 in even columns and 2 in odd ones."""
    pairs = planes[..., ::2, :] + planes[..., 1::2, :]
    total = pairs[..., ::2] + pairs[..., 1::2]
    bias = torch.arange(total.shape[-1], device=planes.device) % 2 + 1
    return torch.floor((total + bias) / 4)


def _doubled(planes: Tensor) -> Tensor:
    """Twice the size: each new sample is 9, 3, 3 and 1 sixteenths of its four nearest."""
    if planes.shape[-1] <= 2:
        # libjpeg repeats samples of planes as narrow as this.
        return planes.repeat_interleave(2, dim=-2).repeat_interleave(2, dim=-1)
    before, after = _beside(planes, -2)
    rows = torch.stack((3 * planes + before, 3 * planes + after), dim=-2).flatten(-3, -2)
    before, after = _beside(rows, -1)
    left, right = 3 * rows + before + 8, 3 * rows + after + 7
    return torch.floor(torch.stack((left, right), dim=-1).flatten(-2) / 16)


def _beside(planes: Tensor, axis: int) -> tuple[Tensor, Tensor]:
    """The neighbours before and after along an axis, the border repeated."""
    size = planes.shape[axis]
    index = torch.arange(size, device=planes.device)
    before = planes.index_select(axis, (index - 1).clamp_(min=0))
    return before, planes.index_select(axis, (index + 1).clamp_(max=size - 1))


def _quantiser(table: tuple[tuple[int, ...], ...], quality: int) -> Floats:
    """(8, 8) steps for a quality of 1 to 100, at most 255 (baseline JPEG)."""
    percent = 5000 // quality if quality < 50 else 200 - 2 * quality
    return np.clip((np.array(table) * percent + 50) // 100, 1, 255).astype(np.float64)


def _coded(planes: Tensor, steps: Floats) -> Tensor:
    """Every 8 x 8 block transformed, quantised and transformed back; sides multiples of 8."""
    *lead, height, width = planes.shape
    blocks = planes.reshape(*lead, height // 8, 8, width // 8, 8).transpose(-3, -2) - 128
    basis = torch.tensor(_basis(), device=planes.device)
    across = _shifted(blocks @ basis.T, _BITS - _EXTRA)
    coefficients = _shifted(basis @ across, _BITS + _EXTRA)
    step = torch.tensor(steps, device=planes.device)
    # The forward transform is scaled by 8. Halves are rounded away from zero.
    size = torch.floor((coefficients.abs() + 4 * step) / (8 * step))
    restored = size * coefficients.sign() * step
    down = _shifted(basis.T @ restored, _BITS - _EXTRA)
    values = _shifted(down @ basis, _BITS + _EXTRA + 3) + 128
    return values.clamp_(0, 255).transpose(-3, -2).reshape(planes.shape)


@lru_cache(maxsize=1)
def _basis() -> Floats:
    """(8, 8) forward transform, one row per frequency, as whole numbers scaled by 2^13.

    The flow graph's constants are rounded one by one and then summed, so an entry is not simply
    the rounded cosine. With w(k) = sqrt(2) cos(k pi / 16), the inputs paired as sums (even rows)
    or differences (odd rows) of samples i and 7 - i.
    """

    def fixed(value: float) -> int:
        return _fixed(value, _BITS)

    one = 2**_BITS
    w = {k: float(np.sqrt(2) * np.cos(k * np.pi / 16)) for k in range(1, 8)}
    turn = fixed(w[6])
    even2 = (turn + fixed(w[2] - w[6]), turn)
    even6 = (turn, turn - fixed(w[2] + w[6]))
    # Odd rows: common, pairwise and own terms of the differences of samples (3, 4) to (0, 7).
    common = fixed(w[3])
    opposite = (-fixed(w[3] - w[7]), -fixed(w[1] + w[3]))
    skipped = (-fixed(w[3] + w[5]), -fixed(w[3] - w[5]))
    own = (
        fixed(-w[1] + w[3] + w[5] - w[7]),
        fixed(w[1] + w[3] - w[5] + w[7]),
        fixed(w[1] + w[3] + w[5] - w[7]),
        fixed(w[1] + w[3] - w[5] - w[7]),
    )
    odd = np.full((4, 4), common)
    for row in range(4):
        odd[row, row] += own[row]
        for column in range(4):
            if row in (column, 3 - column):
                odd[row, column] += opposite[min(row, 3 - row)]
            if row % 2 == column % 2:
                odd[row, column] += skipped[row % 2]
    # odd[r] belongs to frequency (7, 5, 3, 1)[r]; odd[:, c] to the difference of 3 - c and 4 + c.
    basis = np.zeros((8, 8))
    basis[0], basis[4] = one, np.array((1, -1, -1, 1, 1, -1, -1, 1)) * one
    for frequency, (outer, inner) in ((2, even2), (6, even6)):
        basis[frequency] = (outer, inner, -inner, -outer, -outer, -inner, inner, outer)
    for row, frequency in enumerate((7, 5, 3, 1)):
        basis[frequency, :4] = odd[row, ::-1]
        basis[frequency, 4:] = -odd[row]
    basis.setflags(write=False)
    return basis
