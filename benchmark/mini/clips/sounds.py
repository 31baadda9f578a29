"""Makes the sound of a clip: timbres, textures, rhythm, ambience, room."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from benchmark.mini.clips.events import FRAME_SECONDS, FRAMES, STYLES, Clip, Event
from shifts.audio.item import level, to_pcm16
from shifts.base import Samples

RATE = 8000
"""Hz."""
LENGTH = round(RATE * FRAMES * FRAME_SECONDS)
"""Samples of a clip: 12,800, which is 1.6 s."""
PITCH = {"small": 760.0, "medium": 430.0, "large": 240.0}
"""Hz; small things sound high."""
_STROKE = 2400  # samples of one sound event, 0.3 s
_TIME = np.arange(_STROKE) / RATE
_CLIP_TIME = np.arange(LENGTH) / RATE
_FREQUENCY = np.fft.rfftfreq(LENGTH, 1 / RATE)

Rng = np.random.Generator


def _sine(frequency: float | np.ndarray) -> np.ndarray:
    """A tone of fixed or changing frequency, (2400,)."""
    return np.sin(2 * np.pi * np.cumsum(np.broadcast_to(frequency, _STROKE)) / RATE)


def _decay(seconds: float) -> np.ndarray:
    return np.exp(-_TIME / seconds)


def _late(beat: np.ndarray) -> np.ndarray:
    return np.concatenate([np.zeros(900), beat[:-900]])


def _burst(f: float, rng: Rng) -> np.ndarray:
    spectrum = np.fft.rfft(rng.standard_normal(_STROKE))
    hertz = np.fft.rfftfreq(_STROKE, 1 / RATE)
    band = np.exp(-(((hertz - 2.2 * f) / (0.5 * f)) ** 2))
    return np.fft.irfft(spectrum * band, n=_STROKE) * _decay(0.07)


_RISE, _SWELL = np.minimum(_TIME / 0.18, 1), np.sin(np.pi * np.minimum(_TIME / 0.28, 1)) ** 2
_TIMBRES: dict[str, Callable[[float, Rng], np.ndarray]] = {
    "circle": lambda f, rng: _sine(f) * _decay(0.09),
    "square": lambda f, rng: (
        sum((_sine(k * f) / k for k in (1, 3, 5, 7) if k * f < 3800), np.zeros(_STROKE))
        * np.minimum(1, np.clip(0.22 - _TIME, 0, None) / 0.03)
    ),
    "triangle": lambda f, rng: sum(
        (
            a * _sine(k * f) * _decay(0.16 / k)
            for k, a in ((1.0, 1.0), (2.76, 0.8), (5.4, 0.5))
            if k * f < 3800
        ),
        np.zeros(_STROKE),
    ),
    "star": lambda f, rng: (
        np.sin(2 * np.pi * f * _TIME + 3.0 * _decay(0.08) * _sine(1.41 * f)) * _decay(0.1)
    ),
    "heart": lambda f, rng: _sine(0.8 * f) * (_decay(0.025) + _late(_decay(0.025))),
    "cross": _burst,
    "ring": lambda f, rng: (_sine(2 * f) + _sine(2 * f + 28.0)) * _decay(0.16),
    "fish": lambda f, rng: _sine(f * (0.8 + 1.6 * _RISE)) * _decay(0.12),
    "moon": lambda f, rng: (_sine(f) + 0.6 * _sine(2 * f)) * _SWELL,
    "arrow": lambda f, rng: _sine(f * (2.4 - 1.6 * _RISE)) * _decay(0.12),
    "bolt": lambda f, rng: (
        (np.cos(2 * np.pi * 62.0 * _TIME) > 0.9) * (_sine(3 * f) + _sine(f)) * _decay(0.14)
    ),
    "hourglass": lambda f, rng: (
        0.9 * (rng.standard_normal(_STROKE) * _decay(0.004))
        + (_sine(f) + 0.8 * _sine(1.6 * f)) * _decay(0.022)
    ),
}
"""Shape -> frequency, generator -> one sound, (2400,)."""


def _shaped(rng: Rng, response: np.ndarray) -> np.ndarray:
    """Gaussian noise with a given amplitude per frequency, (12800,), RMS 1."""
    noise = np.fft.irfft(np.fft.rfft(rng.standard_normal(LENGTH)) * response, n=LENGTH)
    return noise / level(noise)


def _band(low: float, high: float) -> np.ndarray:
    """1 inside a band, falling by 12 dB per octave on both sides."""
    below = 1 / (1 + (low / np.maximum(_FREQUENCY, 1.0)) ** 2)
    return below / (1 + (_FREQUENCY / high) ** 2)


def _waves(rate: float, rng: Rng) -> np.ndarray:
    """A slow swell between 0 and 1 with a random phase, (12800,)."""
    return 0.5 + 0.5 * np.sin(2 * np.pi * (rate * _CLIP_TIME + rng.random()))


def _crickets(rng: Rng) -> np.ndarray:
    tone = np.sin(2 * np.pi * rng.uniform(3000, 3300) * _CLIP_TIME)
    return tone * (_waves(31.0, rng) > 0.5) * (_waves(2.3, rng) > 0.3)


def _hum(rng: Rng) -> np.ndarray:
    phases = rng.uniform(0, 2 * np.pi, 3)
    tones = (np.sin(2 * np.pi * 100 * k * _CLIP_TIME + p) / k for k, p in enumerate(phases, 1))
    return sum(tones, np.zeros(LENGTH))


def _crackle(rng: Rng) -> np.ndarray:
    clicks = np.zeros(LENGTH)
    clicks[rng.integers(0, LENGTH, 60)] = rng.choice((-1.0, 1.0), 60) * rng.lognormal(0, 0.5, 60)
    return np.fft.irfft(np.fft.rfft(clicks) * _band(1200, 3000), n=LENGTH)


_AMBIENCES: dict[str, Callable[[Rng], np.ndarray]] = {
    "water": lambda rng: _shaped(rng, _band(150, 600)) * (0.3 + _waves(1.6, rng)),
    "night": _crickets,
    "grass": lambda rng: _shaped(rng, np.exp(-(((_FREQUENCY - 1100) / 350) ** 2))),
    "brick": _hum,
    "snow": lambda rng: _shaped(rng, _FREQUENCY > 2700),
    "sunset": lambda rng: _shaped(rng, _band(30, 110) ** 2),
    "wood": _crackle,
    "pebbles": lambda rng: (
        _shaped(rng, np.exp(-(((_FREQUENCY - 2100) / 350) ** 2))) * (0.15 + _waves(7.0, rng))
    ),
}


def _stroke(event: Event, rng: Rng) -> np.ndarray:
    """One sound of an event with its texture, (2400,), peak 1."""
    sound = _TIMBRES[event.shape](PITCH[event.size] * rng.uniform(0.96, 1.04), rng)
    if event.texture == "striped":
        sound = sound * (0.5 + 0.5 * np.cos(2 * np.pi * 18.0 * _TIME)) ** 1.5
    return sound / np.abs(sound).max()


def _event_track(event: Event, rng: Rng) -> np.ndarray:
    """All sounds of an event at their times, (12800,); a checkered thing echoes."""
    stroke = _stroke(event, rng)
    track = np.zeros(LENGTH + 3 * _STROKE)
    echoes = ((0.0, 1.0), (0.12, 0.6), (0.24, 0.35)) if event.texture == "checkered" else ((0, 1),)
    for frame in event.frames():
        onset = frame * FRAME_SECONDS + rng.uniform(0.0, 0.02)
        for delay, gain in echoes:
            start = round((onset + delay) * RATE)
            track[start : start + _STROKE] += gain * stroke
    return track[:LENGTH]


def _in_room(sound: np.ndarray, rng: Rng) -> np.ndarray:
    """A recording in a room: reverberation, a telephone-like band, saturation."""
    tail = rng.standard_normal(LENGTH) * np.exp(-_CLIP_TIME / rng.uniform(0.02, 0.05))
    tail *= rng.uniform(0.15, 0.4) / np.sqrt(np.sum(tail**2))
    tail[0] += 1.0
    size = 2 * LENGTH
    echoed = np.fft.irfft(np.fft.rfft(sound, n=size) * np.fft.rfft(tail, n=size), n=size)[:LENGTH]
    low, high = rng.uniform(90, 200), rng.uniform(2800, 3800)
    narrow = np.fft.irfft(np.fft.rfft(echoed) * _band(low, high), n=LENGTH)
    return np.tanh(rng.uniform(1.0, 2.5) * narrow / np.abs(narrow).max())


def draw_samples(clip: Clip, rng: Rng) -> Samples:
    """Makes the sound of a clip once; another generator gives another recording of it.

    Returns:
        (12800,) float32 in [-1, 1] at 8 kHz, in steps of 16-bit PCM.
    """
    sound = np.zeros(LENGTH)
    for number, event in enumerate(clip.events):
        # The second event is a little softer; together with the order this makes one dominant.
        gain = rng.uniform(0.85, 1.15) * (1.0 if number == 0 else 0.8)
        sound += gain * _event_track(event, rng)
    ambience = _AMBIENCES[clip.background](rng)
    sound += ambience / level(ambience) * rng.uniform(0.03, 0.07)
    if STYLES[clip.style].close:
        sound = _in_room(sound, rng)
    peak = 10 ** rng.uniform(-0.6, -0.1)
    return to_pcm16(peak * sound / np.abs(sound).max())
