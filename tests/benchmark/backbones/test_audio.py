"""Resampling and Kaldi's log-mel energies."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from benchmark.backbones.audio import at_rate, kaldi_fbank
from shifts.base import Audio


def resampled(samples: torch.Tensor, source: int, target: int) -> torch.Tensor:
    return at_rate(Audio(samples.numpy(), source), target)


def tone(hertz: float, rate: int, seconds: float = 0.5) -> torch.Tensor:
    time = torch.arange(round(rate * seconds), dtype=torch.float64) / rate
    return (0.5 * torch.sin(2 * math.pi * hertz * time)).float()


@pytest.mark.parametrize(
    ("source", "target"), [(44_100, 48_000), (48_000, 16_000), (8_000, 16_000), (22_051, 16_000)]
)
def test_a_tone_stays_itself(source: int, target: int) -> None:
    changed = resampled(tone(440, source), source, target)
    expected = tone(440, target, len(changed) / target)
    assert len(changed) == math.ceil(round(source / 2) * target / source)
    inner = slice(target // 50, -target // 50)  # the filter sees silence beyond the ends
    torch.testing.assert_close(changed[inner], expected[inner], atol=1e-4, rtol=0)


def test_what_would_alias_is_removed() -> None:
    changed = resampled(tone(11_000, 48_000), 48_000, 16_000)
    assert changed[200:-200].abs().max() < 5e-5


def test_constants_and_equal_rates_are_kept() -> None:
    ones = torch.ones(4_800)
    assert resampled(ones, 48_000, 48_000).data_ptr() == ones.data_ptr()
    torch.testing.assert_close(resampled(ones, 48_000, 32_000)[200:-200], torch.ones(2_800))
    assert resampled(torch.zeros(1), 8_000, 48_000).shape == (6,)


def test_fbank_of_one_window_by_hand() -> None:
    """The steps of Kaldi written out with loops, for one window."""
    samples = torch.from_numpy(np.random.default_rng(0).uniform(-0.5, 0.5, 400).astype(np.float32))
    x = samples.double().numpy() - samples.double().numpy().mean()
    emphasised = np.array([x[i] - 0.97 * x[max(0, i - 1)] for i in range(400)])
    window = np.array([0.5 - 0.5 * math.cos(2 * math.pi * i / 399) for i in range(400)])
    power = np.abs(np.fft.rfft(emphasised * window, 512)) ** 2

    def mel(hertz: float) -> float:
        return 1127 * math.log(1 + hertz / 700)

    step = (mel(8000) - mel(20)) / 129
    expected = []
    for band in range(128):
        centre = mel(20) + (band + 1) * step
        weights = [max(0.0, 1 - abs(mel(i * 31.25) - centre) / step) for i in range(257)]
        expected.append(math.log(max(float(np.dot(weights, power)), 2**-23)))
    found = kaldi_fbank(samples, 16_000, 128)
    torch.testing.assert_close(
        found[0].double(), torch.tensor(expected, dtype=torch.float64), atol=1e-3, rtol=0
    )


def test_fbank_counts_windows_that_fit() -> None:
    assert kaldi_fbank(torch.zeros(160_000), 16_000, 128).shape == (998, 128)
    assert kaldi_fbank(torch.zeros(399), 16_000, 128).shape == (0, 128)
    assert kaldi_fbank(torch.zeros(400), 16_000, 128).shape == (1, 128)


def test_fbank_of_silence_is_the_least_energy_and_of_a_tone_peaks_at_its_band() -> None:
    silent = kaldi_fbank(torch.zeros(1_600), 16_000, 128)
    torch.testing.assert_close(silent, torch.full_like(silent, math.log(2**-23)))
    loud = kaldi_fbank(tone(1_000, 16_000), 16_000, 128).mean(dim=0)
    band = (1127 * math.log(1 + 1000 / 700) - 1127 * math.log(1 + 20 / 700)) / (
        (1127 * math.log(1 + 8000 / 700) - 1127 * math.log(1 + 20 / 700)) / 129
    ) - 1
    assert abs(int(loud.argmax()) - band) <= 1
