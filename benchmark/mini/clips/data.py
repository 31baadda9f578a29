"""The two sets of clips: frames drawn and sounds made when asked for."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache, partial
from math import pi

import numpy as np

from benchmark.data.datasets.base import ClipPairs, content_fingerprint, numbered
from benchmark.mini.clips.events import (
    COLOURS,
    FRAME_SECONDS,
    FRAMES,
    LENGTH,
    RATE,
    SIDE,
    SIZES,
    STYLES,
    Clip,
    Event,
    clips,
)
from benchmark.mini.pictures.data import (
    blend,
    coverage_of,
    paint,
    pattern_of,
    second_tone,
    smooth_field,
)
from benchmark.mini.pictures.scenes import silhouettes
from benchmark.mini.worlds.drawn import Drawn, loader
from shifts.audio.item import level, to_pcm16
from shifts.base import Audio, Samples

WORLD_VERSION = 1
"""Raised whenever a clip, a frame or a sound changes; part of the data's fingerprint."""
COUNTS = {"val": 252, "test": 504}
"""Clips of each set: 7 and 14 for each of the 36 classes of ``mini-vgg``."""
SEED = 2026
_NOISE = 4.0
"""Standard deviation of the sensor noise, grey levels."""
_YY, _XX = np.mgrid[0:SIDE, 0:SIDE].astype(np.float32)


def _field(rng: np.random.Generator, rows: int, columns: int | None = None) -> np.ndarray:
    return smooth_field(rng, rows, columns, side=SIDE)


def _night(rng: np.random.Generator) -> np.ndarray:
    sky = blend((6, 8, 26), (36, 38, 76), _field(rng, 3))
    rows, columns = rng.integers(0, SIDE, (2, 14))
    sky[rows, columns] = rng.uniform(130, 255, (14, 1))
    return sky


def _brick(rng: np.random.Generator) -> np.ndarray:
    high, wide = 6, 11
    y, x = _YY + rng.uniform(0, high), _XX + rng.uniform(0, wide)
    across = (x + (np.floor(y / high) % 2) * wide / 2) % wide
    wall = blend((130, 54, 40), (188, 98, 76), _field(rng, 8))
    wall[(across < 1) | (y % high < 1)] = (194, 184, 176)
    return wall


def _sunset(rng: np.random.Generator) -> np.ndarray:
    height = np.clip(_YY / SIDE + 0.25 * (_field(rng, 6, 2) - 0.5), 0, 1)
    return blend((78, 50, 112), (250, 152, 56), height)


def _wood(rng: np.random.Generator) -> np.ndarray:
    boards = blend((122, 76, 36), (204, 148, 88), 0.7 * _field(rng, 24, 3) + 0.3 * _field(rng, 6))
    boards[(_YY + rng.uniform(0, 9)) % 9 < 1] *= 0.55
    return boards


def _pebbles(rng: np.random.Generator) -> np.ndarray:
    stones = blend((128, 124, 118), (206, 202, 196), _field(rng, 6))
    stones[np.abs(_field(rng, 9) - 0.5) < 0.08] = (66, 64, 62)
    return stones


_BACKGROUNDS: dict[str, Callable[[np.random.Generator], np.ndarray]] = {
    "water": lambda rng: blend(
        (14, 66, 116), (88, 164, 204), 0.8 * _field(rng, 14, 4) + 0.2 * _field(rng, 4)
    ),
    "night": _night,
    "grass": lambda rng: blend(
        (26, 82, 18), (124, 180, 72), 0.4 * _field(rng, 5) + 0.6 * _field(rng, 7, 26)
    ),
    "brick": _brick,
    "snow": lambda rng: blend((200, 208, 226), (252, 252, 255), 0.3 + 0.7 * _field(rng, 9)),
    "sunset": _sunset,
    "wood": _wood,
    "pebbles": _pebbles,
}


def _layers(event: Event, radius: float, rng: np.random.Generator) -> list[np.ndarray]:
    """The thing at rest and in motion, each (SIDE, SIDE, 4): premultiplied colour, coverage."""
    radius *= rng.uniform(0.94, 1.06)
    x, y = event.x + rng.uniform(-1, 1), event.y + rng.uniform(-1, 1)
    angle, turn = rng.uniform(-0.25, 0.25), rng.choice([0.0, pi / 4, pi / 2])
    side = 1 if x < SIDE / 2 else -1  # slides towards the middle, so that it stays in the frame
    tone = np.asarray(COLOURS[event.colour], np.float32) * rng.uniform(0.92, 1.06)
    lit = tone * 0.35 + 165 if tone.mean() < 170 else tone * 0.45
    moved = {
        "flash": (x, y, radius, radius),
        "jump": (x, y - 4.5, radius, radius),
        "grow": (x, y, 1.35 * radius, 1.35 * radius),
        "squash": (x, y + 0.4 * radius, 1.25 * radius, 0.5 * radius),
        "slide": (x + 4.5 * side, y, radius, radius),
    }[event.motion]
    layers = []
    for (at_x, at_y, *radii), first in (
        ((x, y, radius, radius), tone),
        (moved, lit if event.motion == "flash" else tone),
    ):
        place = (at_x, at_y, angle)
        mask = coverage_of(silhouettes()[event.shape], (radii[0], radii[1]), *place, SIDE)
        pattern = pattern_of(
            event.texture, at_x, at_y, angle + turn, stripe=4.4, check=6.4, side=SIDE
        )
        colour = paint(
            np.zeros((SIDE, SIDE, 3), np.float32), mask, first, pattern, second_tone(tone)
        )
        layers.append(np.concatenate([colour, mask[..., None]], axis=2))
    return layers


def _through_camera(frames: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """A close camera's look: a colour cast, less contrast, darker corners."""
    cast = rng.uniform(0.82, 1.12, 3).astype(np.float32)
    contrast, strength = rng.uniform(0.7, 0.95), rng.uniform(0.15, 0.45)
    middle = (SIDE - 1) / 2
    distance = ((_XX - middle) ** 2 + (_YY - middle) ** 2) / (2 * middle**2)
    dimmed = (1 - strength * distance)[..., None]
    return ((frames - 128) * contrast + 128) * cast * dimmed


def draw_frames(clip: Clip, rng: np.random.Generator) -> np.ndarray:
    """Draws a clip once; another generator gives other pictures of the same clip.

    Returns:
        (8, 32, 32, 3) uint8 frames, one every 0.2 s.
    """
    style = STYLES[clip.style]
    ground = _BACKGROUNDS[clip.background](rng)
    frames = np.repeat(ground[None], FRAMES, axis=0).astype(np.float32)
    for event in clip.events:
        layers = _layers(event, style.radius[SIZES.index(event.size)], rng)
        active = event.frames()
        for t in range(FRAMES):
            layer = layers[t in active]
            frames[t] = frames[t] * (1 - layer[..., 3:]) + layer[..., :3]
    frames *= rng.uniform(0.85, 1.12) * rng.uniform(0.95, 1.05, 3).astype(np.float32)
    if style.close:
        frames = _through_camera(frames, rng)
    frames += _NOISE * rng.standard_normal(frames.shape, dtype=np.float32)
    return frames.clip(0, 255).astype(np.uint8)


PITCH = {"small": 760.0, "medium": 430.0, "large": 240.0}
"""Hz; small things sound high."""
_STROKE = 2400  # samples of one sound event, 0.3 s
_TIME = np.arange(_STROKE) / RATE
_CLIP_TIME = np.arange(LENGTH) / RATE
_FREQUENCY = np.fft.rfftfreq(LENGTH, 1 / RATE)


def _sine(frequency: float | np.ndarray) -> np.ndarray:
    """A tone of fixed or changing frequency, (2400,)."""
    return np.sin(2 * np.pi * np.cumsum(np.broadcast_to(frequency, _STROKE)) / RATE)


def _decay(seconds: float) -> np.ndarray:
    return np.exp(-_TIME / seconds)


def _late(beat: np.ndarray) -> np.ndarray:
    return np.concatenate([np.zeros(900), beat[:-900]])


def _burst(f: float, rng: np.random.Generator) -> np.ndarray:
    spectrum = np.fft.rfft(rng.standard_normal(_STROKE))
    hertz = np.fft.rfftfreq(_STROKE, 1 / RATE)
    band = np.exp(-(((hertz - 2.2 * f) / (0.5 * f)) ** 2))
    return np.fft.irfft(spectrum * band, n=_STROKE) * _decay(0.07)


_RISE, _SWELL = np.minimum(_TIME / 0.18, 1), np.sin(np.pi * np.minimum(_TIME / 0.28, 1)) ** 2
_TIMBRES: dict[str, Callable[[float, np.random.Generator], np.ndarray]] = {
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


def _shaped(rng: np.random.Generator, response: np.ndarray) -> np.ndarray:
    """Gaussian noise with a given amplitude per frequency, (12800,), RMS 1."""
    noise = np.fft.irfft(np.fft.rfft(rng.standard_normal(LENGTH)) * response, n=LENGTH)
    return noise / level(noise)


def _band(low: float, high: float) -> np.ndarray:
    """1 inside a band, falling by 12 dB per octave on both sides."""
    below = 1 / (1 + (low / np.maximum(_FREQUENCY, 1.0)) ** 2)
    return below / (1 + (_FREQUENCY / high) ** 2)


def _waves(rate: float, rng: np.random.Generator) -> np.ndarray:
    """A slow swell between 0 and 1 with a random phase, (12800,)."""
    return 0.5 + 0.5 * np.sin(2 * np.pi * (rate * _CLIP_TIME + rng.random()))


def _crickets(rng: np.random.Generator) -> np.ndarray:
    tone = np.sin(2 * np.pi * rng.uniform(3000, 3300) * _CLIP_TIME)
    return tone * (_waves(31.0, rng) > 0.5) * (_waves(2.3, rng) > 0.3)


def _hum(rng: np.random.Generator) -> np.ndarray:
    phases = rng.uniform(0, 2 * np.pi, 3)
    tones = (np.sin(2 * np.pi * 100 * k * _CLIP_TIME + p) / k for k, p in enumerate(phases, 1))
    return sum(tones, np.zeros(LENGTH))


def _crackle(rng: np.random.Generator) -> np.ndarray:
    clicks = np.zeros(LENGTH)
    clicks[rng.integers(0, LENGTH, 60)] = rng.choice((-1.0, 1.0), 60) * rng.lognormal(0, 0.5, 60)
    return np.fft.irfft(np.fft.rfft(clicks) * _band(1200, 3000), n=LENGTH)


_AMBIENCES: dict[str, Callable[[np.random.Generator], np.ndarray]] = {
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


def _stroke(event: Event, rng: np.random.Generator) -> np.ndarray:
    """One sound of an event with its texture, (2400,), peak 1."""
    sound = _TIMBRES[event.shape](PITCH[event.size] * rng.uniform(0.96, 1.04), rng)
    if event.texture == "striped":
        sound = sound * (0.5 + 0.5 * np.cos(2 * np.pi * 18.0 * _TIME)) ** 1.5
    return sound / np.abs(sound).max()


def _event_track(event: Event, rng: np.random.Generator) -> np.ndarray:
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


def _in_room(sound: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """A recording in a room: reverberation, a telephone-like band, saturation."""
    tail = rng.standard_normal(LENGTH) * np.exp(-_CLIP_TIME / rng.uniform(0.02, 0.05))
    tail *= rng.uniform(0.15, 0.4) / np.sqrt(np.sum(tail**2))
    tail[0] += 1.0
    size = 2 * LENGTH
    echoed = np.fft.irfft(np.fft.rfft(sound, n=size) * np.fft.rfft(tail, n=size), n=size)[:LENGTH]
    low, high = rng.uniform(90, 200), rng.uniform(2800, 3800)
    narrow = np.fft.irfft(np.fft.rfft(echoed) * _band(low, high), n=LENGTH)
    return np.tanh(rng.uniform(1.0, 2.5) * narrow / np.abs(narrow).max())


def draw_samples(clip: Clip, rng: np.random.Generator) -> Samples:
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


def audio(clip: Clip, rng: np.random.Generator) -> Audio:
    """1.6 s at 8 kHz."""
    return Audio(draw_samples(clip, rng), RATE)


def _load(style: str, split: str) -> ClipPairs:
    drawn = scripts(style, split)
    source = f"mini-{style}-{split}"
    described = [f"{clip.signature()} {clip.events}" for clip in drawn]
    return ClipPairs(
        name=f"mini-{style} {split}",
        videos=Drawn(source, drawn, draw_frames, SEED, f"video/{source}"),
        audios=Drawn(source, drawn, audio, SEED, f"audio/{source}"),
        fingerprint=content_fingerprint([f"mini clips {WORLD_VERSION}", source, *described]),
        clip_groups={
            "class": numbered([clip.label for clip in drawn]),
            "background": numbered([clip.background for clip in drawn]),
        },
    )


@cache
def scripts(style: str, split: str) -> tuple[Clip, ...]:
    """What happens in the clips of a set: style "as" or "vgg", split "val" or "test"."""
    return tuple(clips(style, split, COUNTS[split], SEED))


load_as = loader("mini-as", COUNTS, partial(_load, "as"))
"""Clips with mostly two events at once, after AudioSet; 504 (validation: 252)."""
load_vgg = loader("mini-vgg", COUNTS, partial(_load, "vgg"))
"""One dominant event close up, equally many of each class, after VGGSound; as many."""
