"""What the clip encoder is trained on: drawn clips of both styles with their attributes."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from benchmark.mini.clips.events import (
    BACKGROUNDS,
    RHYTHMS,
    SHAPES,
    SIDE,
    SIZES,
    STYLES,
    TEXTURES,
    Clip,
    clips,
)
from benchmark.mini.clips.pictures import draw_frames
from benchmark.mini.clips.sounds import draw_samples
from benchmark.mini.training.chunks import drawn
from shifts.audio.item import FULL_SCALE

LOOKS = (len(RHYTHMS), len(SIZES), len(TEXTURES))
"""Each is told together with the shape that it belongs to."""
LABELS = len(SHAPES) * sum(LOOKS)
_CHUNK = 1000


@dataclass(frozen=True)
class TrainingData:
    """Arrays of N clips.

    Attributes:
        frames: (N, 8, 32, 32, 3) uint8.
        samples: (N, 12800) int16 steps of PCM.
        present: (N, LABELS) bool, which pairs of shape and rhythm, size or texture occur.
        backgrounds: (N,) int64.
        events: (N, 2, 4) int64, shape, size, texture and rhythm of up to two events, else -1.
        owners: (N, 64) int64, the event at each place (of 4 x 4 pixels) of the video, else -1.
    """

    frames: np.ndarray
    samples: np.ndarray
    present: np.ndarray
    backgrounds: np.ndarray
    events: np.ndarray
    owners: np.ndarray


def looks(clip: Clip) -> np.ndarray:
    """(2, 4) int64: shape, size, texture and rhythm of each event by number; -1 for no event."""
    marks = np.full((2, 4), -1)
    for i, event in enumerate(clip.events):
        marks[i] = (
            SHAPES.index(event.shape),
            SIZES.index(event.size),
            TEXTURES.index(event.texture),
            RHYTHMS.index((event.period, event.phase)),
        )
    return marks


def owners(clip: Clip) -> np.ndarray:
    """(64,) int64: which event lies at each place of 4 x 4 pixels, row by row; -1 for none."""
    middles = np.arange(2.0, SIDE, 4)
    found = np.full((len(middles),) * 2, -1)
    for i, event in enumerate(clip.events):
        radius = STYLES[clip.style].radius[SIZES.index(event.size)]
        across, down = middles[None] - event.x, middles[:, None] - event.y
        found[across**2 + down**2 < radius**2] = i
    return found.ravel()


def present(clip: Clip) -> np.ndarray:
    """(LABELS,) bool: the pairs of shape and rhythm, then size, then texture of its events."""
    marks = [np.zeros((len(SHAPES), count), dtype=bool) for count in LOOKS]
    for shape, size, texture, rhythm in looks(clip)[: len(clip.events)]:
        for mark, look in zip(marks, (rhythm, size, texture), strict=True):
            mark[shape, look] = True
    return np.concatenate([mark.ravel() for mark in marks])


def draw_chunk(start: int, count: int, seed: int) -> dict[str, np.ndarray]:
    """The arrays of ``TrainingData`` for ``count`` clips, the styles in turn."""
    rng = np.random.Generator(np.random.PCG64([seed, start]))
    styles = tuple(STYLES)
    # A chunk's clips come from its own seed; a few recur over chunks, which does no harm.
    sources = [clips(s, "train", count, seed * 1_000_003 + start) for s in styles]
    scripts = [next(sources[i % len(styles)]) for i in range(count)]
    steps = [np.rint(draw_samples(clip, rng) * FULL_SCALE).astype(np.int16) for clip in scripts]
    return {
        "frames": np.stack([draw_frames(clip, rng) for clip in scripts]),
        "samples": np.stack(steps),
        "present": np.stack([present(clip) for clip in scripts]),
        "backgrounds": np.array([BACKGROUNDS.index(clip.background) for clip in scripts]),
        "events": np.stack([looks(clip) for clip in scripts]),
        "owners": np.stack([owners(clip) for clip in scripts]),
    }


def build(folder: Path, *, count: int, seed: int, workers: int) -> TrainingData:
    """Draws what is missing under ``folder`` and returns all of it, about 51 KB a clip.

    Raises:
        DataError: the folder holds clips drawn with another seed.
    """
    draw = partial(draw_chunk, seed=seed)
    facts = {"seed": seed}
    return TrainingData(**drawn(folder, draw, facts, count=count, chunk=_CHUNK, workers=workers))
