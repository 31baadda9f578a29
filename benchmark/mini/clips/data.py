"""The two sets of clips: frames drawn and sounds made when asked for."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache, partial
from math import pi

import numpy as np

from benchmark.data.datasets.base import ClipPairs, content_fingerprint
from benchmark.mini.clips.events import COLOURS, FRAMES, SIDE, SIZES, STYLES, Clip, Event, clips
from benchmark.mini.clips.sounds import RATE, draw_samples
from benchmark.mini.pictures.render import (
    blend,
    coverage_of,
    paint,
    pattern_of,
    second_tone,
    smooth_field,
)
from benchmark.mini.pictures.vocabulary import silhouettes
from benchmark.mini.worlds.drawn import Drawn, loader, numbered
from shifts.base import Audio

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
