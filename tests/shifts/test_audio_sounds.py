"""Loops: resampling against closed forms, cutting, and the character of the procedural sounds."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shifts.audio.item import level
from shifts.audio.sounds import resampled, window
from shifts.audio.synthesis import LENGTH, LEVEL, RATE, VARIANTS, procedural
from shifts.base import Audio

KINDS = ["traffic", "crowd", "rain", "thunder", "wind"]


@pytest.mark.parametrize(("rate", "other"), [(8000, 16_000), (16_000, 8000), (8000, 11_000)])
def test_a_tone_keeps_pitch_phase_and_level_at_another_rate(rate: int, other: int) -> None:
    tones = [
        (0.4 * np.cos(2 * np.pi * 250 * np.arange(r // 10) / r + 0.3)).astype(np.float32)
        for r in (rate, other)
    ]
    result = resampled(Audio(tones[0], rate), other)
    np.testing.assert_allclose(result, tones[1], atol=1e-6)


def test_what_a_lower_rate_cannot_hold_is_removed() -> None:
    high = np.cos(2 * np.pi * 3000 * np.arange(1600) / 16_000).astype(np.float32)
    assert level(resampled(Audio(high, 16_000), 4000)) < 1e-6


def test_the_same_rate_keeps_the_samples() -> None:
    samples = np.random.default_rng(0).uniform(-1, 1, 77).astype(np.float32)
    np.testing.assert_array_equal(resampled(Audio(samples, 8000), 8000), samples)


@settings(max_examples=40, deadline=None)
@given(count=st.integers(1, 400), rate=st.integers(1, 500), other=st.integers(1, 500))
def test_any_rates_give_the_rounded_length_and_keep_the_mean(
    count: int, rate: int, other: int
) -> None:
    samples = np.full(count, 0.25, dtype=np.float32)
    result = resampled(Audio(samples, rate), other)
    assert result.shape == (max(1, round(count * other / rate)),)
    np.testing.assert_allclose(result, 0.25, rtol=1e-6)


def test_a_window_wraps_around() -> None:
    loop = np.arange(5, dtype=np.float32) / 5
    assert (window(loop, 3, 9) * 5).round().tolist() == [3, 4, 0, 1, 2, 3, 4, 0, 1]


@pytest.mark.parametrize("kind", KINDS)
def test_loops_have_their_level_differ_and_join_without_a_click(kind: str) -> None:
    loops = [procedural(kind, number, RATE) for number in range(VARIANTS)]
    assert len({loop.tobytes() for loop in loops}) == VARIANTS
    for loop in loops:
        assert loop.shape == (LENGTH,)
        assert level(loop) == pytest.approx(LEVEL, rel=0.02)
        assert np.abs(loop).max() <= 1.0
        assert np.mean(np.abs(loop) == 1.0) < 1e-3
        steps = np.abs(np.diff(loop.astype(float)))
        assert abs(float(loop[0]) - float(loop[-1])) <= steps.max()


def test_shared_loops_cannot_be_written_to() -> None:
    with pytest.raises(ValueError, match="read-only"):
        procedural("rain", 0, 16_000)[0] = 0


def share_between(kind: str, low: float, high: float) -> float:
    """Part of a sound's energy in a band, over its variants."""
    power = sum(
        np.abs(np.fft.rfft(procedural(kind, n, RATE).astype(float))) ** 2 for n in range(VARIANTS)
    )
    frequency = np.fft.rfftfreq(LENGTH, 1 / RATE)
    return float(power[(frequency >= low) & (frequency < high)].sum() / power.sum())


def swing(kind: str) -> float:
    """How loudness varies over quarters of a second: deviation over mean."""
    loudness = [
        np.sqrt((piece.astype(float) ** 2).mean())
        for number in range(VARIANTS)
        for piece in np.array_split(procedural(kind, number, RATE), 44)
    ]
    return float(np.std(loudness) / np.mean(loudness))


def test_each_sound_is_where_and_how_its_name_says() -> None:
    assert share_between("wind", 0, 700) > 0.8
    assert share_between("thunder", 0, 300) > 0.5
    assert share_between("rain", 900, 9000) > 0.8
    assert share_between("crowd", 150, 3500) > 0.9
    assert share_between("traffic", 30, 2000) > 0.8
    # Rain and a crowd are steady, wind comes in gusts, thunder in strokes.
    assert swing("rain") < 0.15
    assert swing("crowd") < 0.3
    assert 0.15 < swing("wind") < 1.0
    assert swing("thunder") > 0.8
