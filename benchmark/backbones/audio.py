"""Sound for audio encoders: resampling, and log-mel energies as Kaldi computes them."""

from __future__ import annotations

import math
from functools import lru_cache
from typing import Any

import numpy as np
import torch
from torch import Tensor

from benchmark.errors import DataError
from shifts.base import Audio, Frames, item_problem

# Of the low-pass filter: 24 zero crossings a side and a Kaiser window with beta 9 put what would
# alias about 90 dB down, and the transition band into the last tenth below the Nyquist frequency.
_ZERO_CROSSINGS = 24
_KAISER_BETA = 9.0
_CUTOFF = 0.94

WINDOW_SECONDS = 0.025
SHIFT_SECONDS = 0.010
_PREEMPHASIS = 0.97
_LOWEST_HZ = 20.0
_LEAST_ENERGY = torch.finfo(torch.float32).eps


def at_rate(audio: Audio, rate: int) -> Tensor:
    """A recording at another rate, in samples per second, by a windowed-sinc low-pass filter.

    Returns:
        (ceil(n * rate / audio.rate),) float32; the recording's own memory where the rates are
        equal. Beyond the ends the signal counts as silent.
    """
    common = math.gcd(audio.rate, rate)
    down, up = audio.rate // common, rate // common
    if up == down:
        return torch.from_numpy(audio.samples)
    from scipy.signal import resample_poly  # slow to import, and the embedded sounds do without

    cutoff = _CUTOFF * min(1.0, up / down)  # in units of the input's Nyquist frequency
    half = math.ceil(_ZERO_CROSSINGS / cutoff)
    reach = (half + 1) * up - 1
    distance = np.arange(-reach, reach + 1) / up
    window = np.i0(_KAISER_BETA * np.sqrt(1 - (distance / (half + 1)) ** 2))
    taps = np.sinc(cutoff * distance) * window
    taps[distance < -half] = 0  # heard are ``half`` samples on both sides of the last one before
    phase = np.arange(len(taps)) % up
    taps /= up * np.bincount(phase, weights=taps)[phase]  # so that constants stay
    changed = resample_poly(audio.samples, up, down, window=taps)
    return torch.from_numpy(changed).float()


def kaldi_fbank(samples: Tensor, rate: int, bins: int) -> Tensor:
    """Log energies in mel bands, computed as Kaldi does with a symmetric Hann window.

    Windows of 25 ms every 10 ms, only where they fit; in each the mean is taken away, then
    pre-emphasis by 0.97, the window, a power spectrum of the next power of two, triangles that are
    linear in mel from 20 Hz to half the rate, and the logarithm, of at least 2**-23. No dither.

    Args:
        samples: (n,) float32 in [-1, 1].
        rate: samples per second, Hz.
        bins: number of mel bands.

    Returns:
        (windows, bins) float32; no rows if the signal is shorter than one window.
    """
    length, shift = round(WINDOW_SECONDS * rate), round(SHIFT_SECONDS * rate)
    if len(samples) < length:
        return samples.new_zeros(0, bins)
    frames = samples.unfold(0, length, shift)
    frames = frames - frames.mean(dim=1, keepdim=True)
    before = torch.cat([frames[:, :1], frames[:, :-1]], dim=1)
    frames = (frames - _PREEMPHASIS * before) * torch.hann_window(length, periodic=False)
    size = 1 << (length - 1).bit_length()
    power = torch.fft.rfft(frames, n=size).abs().square()
    energies = power @ _mel_triangles(rate, size, bins).T
    return energies.clamp(min=_LEAST_ENERGY).log()


@lru_cache(maxsize=4)
def _mel_triangles(rate: int, size: int, bins: int) -> Tensor:
    """(bins, size // 2 + 1) float32 weights of the power spectrum's bins."""
    ends = _mel(torch.tensor([_LOWEST_HZ, rate / 2], dtype=torch.float64))
    edges = torch.linspace(float(ends[0]), float(ends[1]), bins + 2, dtype=torch.float64)
    left, centre, right = edges[:-2, None], edges[1:-1, None], edges[2:, None]
    mel = _mel(torch.arange(size // 2 + 1, dtype=torch.float64) * rate / size)
    rising, falling = (mel - left) / (centre - left), (right - mel) / (right - centre)
    return torch.minimum(rising, falling).clamp(min=0).float()


def _mel(hertz: Tensor) -> Tensor:
    return 1127.0 * torch.log1p(hertz / 700.0)


def checked_audio(item: object) -> Audio:
    """The item, if it is a recording with at least one sample.

    Raises:
        DataError: it is something else, or empty.
    """
    if not isinstance(item, Audio):
        raise DataError(f"an audio tower takes shifts.base.Audio, not {type(item).__name__}")
    if not len(item.samples):
        raise DataError("an audio recording has no samples; it cannot be encoded")
    return item


def checked_video(item: Any) -> Frames:
    """The item, if it is a (T, H, W, 3) uint8 array with at least one frame.

    Raises:
        DataError: it is something else, or empty.
    """
    problem = item_problem("video", item)
    if problem:
        raise DataError(f"a video tower works on {problem}")
    frames: Frames = item
    return frames
