"""Procedural traffic, crowd, rain, thunder and wind: loops of our own making, not recordings.

Each loop is periodic, so that it can be repeated without a click, and is made once per process
from a fixed seed. Frequencies are in Hz, times in seconds. The numbers in here are chosen by ear
and by spectrogram and come from no paper.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from shifts.audio.item import level
from shifts.audio.sounds import resampled
from shifts.base import Audio, Samples

RATE = 24_000
"""Rate of the loops in Hz; they hold nothing above 12 kHz."""
LENGTH = 2**18
"""Samples in a loop: 10.9 s."""
VARIANTS = 3
"""Loops per sound, as if there were three recordings of it."""
LEVEL = 0.1
"""Root mean square of every loop, 20 dB below full scale."""

Floats = NDArray[np.float64]

_SECONDS = LENGTH / RATE
_TIME = np.arange(LENGTH) / RATE
_FREQUENCY: Floats = np.fft.rfftfreq(LENGTH, 1 / RATE).astype(np.float64)


@lru_cache(maxsize=32)
def procedural(kind: str, number: int, rate: int) -> Samples:
    """A loop at ``rate`` Hz, (n,) float32, not writable; RMS ``LEVEL`` less what peaks lose.

    Args:
        kind: "traffic", "crowd", "rain", "thunder" or "wind".
        number: 0 to VARIANTS - 1.
        rate: Hz.
    """
    return resampled(Audio(_loop(kind, number), RATE), rate)


@lru_cache(maxsize=16)
def _loop(kind: str, number: int) -> Samples:
    # One seed sequence per sound, so that a sound's loops change with nothing but their number.
    rng = np.random.default_rng((0x50D, sorted(_MAKERS).index(kind), number))
    sound = _MAKERS[kind](rng)
    sound -= sound.mean()
    loop = np.clip(sound * (LEVEL / level(sound)), -1.0, 1.0).astype(np.float32)
    loop.setflags(write=False)
    return loop


def _traffic(rng: np.random.Generator) -> Floats:
    """A distant rumble and eight vehicles that pass at their own time, speed and pitch."""
    sound = 0.5 * _shaped(rng, lambda f: _band(f, 40, 400) / np.sqrt(f + 20))
    tyres = _shaped(rng, lambda f: _band(f, 250, 2500) / (f + 400))
    for moment in rng.uniform(0, _SECONDS, 8):
        distance = _around(moment) / rng.uniform(0.4, 1.1)
        nearness = 1 / (1 + distance**2)
        # Doppler: the pitch falls by some per cent as the vehicle goes by.
        shift = 1 - rng.uniform(0.03, 0.08) * distance / np.sqrt(1 + distance**2)
        phase = 2 * np.pi * np.cumsum(rng.uniform(55, 110) * shift) / RATE
        engine = sum((np.sin(k * phase + rng.uniform(0, 6)) / k for k in range(1, 7)), _silence())
        sound += nearness * (rng.uniform(0.5, 1.2) * tyres + 0.5 * engine)
    return sound


def _crowd(rng: np.random.Generator) -> Floats:
    """Twelve voices; each alternates between two vowels and pauses, about four times a second."""
    sound = 0.15 * _shaped(rng, lambda f: _band(f, 200, 3000) / (f + 300))
    for _ in range(12):
        pitch = rng.choice((115.0, 205.0)) * rng.uniform(0.85, 1.2)
        melody = 1 + 0.12 * _slow(rng, 1.5) + 0.02 * _slow(rng, 6.0)
        cycles = np.cumsum(pitch * melody) / RATE
        buzz = np.fft.rfft(2 * (cycles % 1.0) - 1)
        loudness = rng.uniform(0.3, 1.0)
        gate = _slow(rng, 4.0)
        for sign in (1, -1):  # one vowel where the gate is up, another one where it is down
            vowel = np.fft.irfft(buzz * _formants(rng), n=LENGTH)
            sound += loudness * np.maximum(sign * gate - 0.25, 0.0) * vowel
    return sound


def _rain(rng: np.random.Generator) -> Floats:
    """Some 9 000 drops, few loud and many faint, each a click of its own colour; and a hiss."""
    sound = 0.35 * _shaped(rng, lambda f: _band(f, 700, 9000))
    for centre in (1200, 2500, 5000):
        drops = 3000
        clicks = np.bincount(
            rng.integers(LENGTH, size=drops),
            weights=rng.lognormal(0.0, 0.6, drops) * rng.choice((-1.0, 1.0), drops),
            minlength=LENGTH,
        )
        ringing = 1 / (1 + ((_FREQUENCY - centre) / (0.35 * centre)) ** 2)
        rung = np.fft.irfft(np.fft.rfft(clicks) * ringing, n=LENGTH)
        sound += rung / level(rung)
    return sound


def _thunder(rng: np.random.Generator) -> Floats:
    """Two strokes: a few sharp cracks each, then a rumble that rolls off over seconds."""
    deep = _shaped(rng, lambda f: _band(f, 20, 140) / (f + 30))
    sharp = _shaped(rng, lambda f: _band(f, 80, 2500) / (f + 200))
    sound = 0.05 * deep
    first = rng.uniform(0, _SECONDS)
    for moment in (first, first + rng.uniform(0.4, 0.6) * _SECONDS):
        since = (_TIME - moment) % _SECONDS
        rolling = np.clip(1 + 0.8 * _slow(rng, 2.5), 0.1, None)
        sound += rolling * (1 - np.exp(-since / 0.05)) * np.exp(-since / 1.6) * deep
        for delay in np.sort(rng.uniform(0, 0.7, 5)):
            after = (_TIME - moment - delay) % _SECONDS
            crack = np.exp(-after / rng.uniform(0.05, 0.2)) * (1 - np.exp(-after / 0.002))
            sound += rng.uniform(0.4, 1.2) * crack * sharp
    return sound


def _wind(rng: np.random.Generator) -> Floats:
    """A low roar that swells slowly, and bands of whistling that come out in the gusts."""
    gust = 0.5 + 0.5 * np.tanh(_slow(rng, 0.35))
    roar = _shaped(rng, lambda f: _band(f, 25, 500) / (f + 60))
    sound = (0.2 + gust) * roar
    for centre in (350, 480, 640):
        near = lambda f, c=centre: 1 / (1 + ((f - c) / 25) ** 2)  # noqa: E731
        strength = gust**2 * np.clip(0.5 + 0.5 * _slow(rng, 0.8), 0, None)
        sound += 0.35 * strength * _shaped(rng, near)
    return sound


_MAKERS: dict[str, Callable[[np.random.Generator], Floats]] = {
    "crowd": _crowd,
    "rain": _rain,
    "thunder": _thunder,
    "traffic": _traffic,
    "wind": _wind,
}


def _silence() -> Floats:
    return np.zeros(LENGTH)


def _shaped(rng: np.random.Generator, response: Callable[[Floats], Floats]) -> Floats:
    """Periodic Gaussian noise with a given amplitude per frequency, (LENGTH,), RMS 1."""
    spectrum = np.fft.rfft(rng.standard_normal(LENGTH)) * response(_FREQUENCY)
    noise = np.fft.irfft(spectrum, n=LENGTH)
    return np.asarray(noise / level(noise))


def _band(frequency: Floats, low: float, high: float) -> Floats:
    """1 inside a band, falling by 12 dB per octave below it and above it."""
    below = 1 / (1 + (low / np.maximum(frequency, 1e-3)) ** 2)
    return np.asarray(below / (1 + (frequency / high) ** 2))


def _slow(rng: np.random.Generator, rate: float) -> Floats:
    """A smooth periodic curve with ups and downs about ``rate`` times a second, RMS 1."""
    return _shaped(rng, lambda f: np.exp(-((f / rate) ** 2)) * (f > 0))


def _formants(rng: np.random.Generator) -> Floats:
    """Amplitude per frequency of a vowel: three resonances in the ranges of speech."""
    response = _silence()[: len(_FREQUENCY)]
    for low, high, width, height in (
        (300, 850, 90, 1.0),
        (900, 2200, 130, 0.6),
        (2300, 3200, 200, 0.25),
    ):
        centre = rng.uniform(low, high)
        response += height / (1 + ((_FREQUENCY - centre) / width) ** 2)
    return response


def _around(moment: float) -> Floats:
    """Time from a moment on the loop, (LENGTH,), from -half to +half its length."""
    return np.asarray((_TIME - moment + _SECONDS / 2) % _SECONDS - _SECONDS / 2)
