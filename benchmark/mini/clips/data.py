"""The two sets of clips: what happens in them, and frames and sounds made when asked for."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from benchmark.datasets.base import ClipPairs, content_fingerprint
from benchmark.errors import ConfigError
from benchmark.mini.clips.events import Clip, clips
from benchmark.mini.clips.pictures import draw_frames
from benchmark.mini.clips.sounds import RATE, draw_samples
from shifts.audio.item import Audio
from shifts.video.item import Frames

WORLD_VERSION = 1
"""Raised whenever a clip, a frame or a sound changes; part of the data's fingerprint."""
COUNTS = {"val": 252, "test": 504}
"""Clips of each set: 7 and 14 for each of the 36 classes of ``mini-vgg``."""
SEED = 2026


class Drawn:
    """One side of the clips. Each item has its own generator, so that order does not matter."""

    def __init__(self, kind: str, source: str, drawn: Sequence[Clip], make: Callable[..., Any]):
        self._kind, self._source, self._clips, self._make = kind, source, drawn, make
        self.ids = tuple(f"{source}-{index:05d}" for index in range(len(drawn)))

    def __len__(self) -> int:
        return len(self._clips)

    def __getitem__(self, index: int, /) -> Any:
        """A video, (8, 32, 32, 3) uint8, or an ``Audio`` of 1.6 s at 8 kHz."""
        return self._make(self._clips[index], item_generator(self._kind, self._source, index))


def item_generator(kind: str, source: str, index: int) -> np.random.Generator:
    """The generator of one clip's frames ("video") or sound ("audio") in "mini-as-test", say."""
    return np.random.Generator(np.random.PCG64([SEED, index, *f"{kind}/{source}".encode()]))


def video(clip: Clip, rng: np.random.Generator) -> Frames:
    """(8, 32, 32, 3) uint8."""
    return draw_frames(clip, rng)


def audio(clip: Clip, rng: np.random.Generator) -> Audio:
    """1.6 s at 8 kHz."""
    return Audio(draw_samples(clip, rng), RATE)


def load_as(
    root: Path | None = None, *, split: str = "test", allow_missing: bool = False
) -> ClipPairs:
    """``mini-as``: clips with mostly two events at once, after AudioSet.

    Args:
        root: not used; the data are drawn, not read.
        split: "test" (504 clips) or "val" (252).
        allow_missing: not used; nothing can be missing.

    Raises:
        ConfigError: unknown split.
    """
    del root, allow_missing
    return _load("as", split)


def load_vgg(
    root: Path | None = None, *, split: str = "test", allow_missing: bool = False
) -> ClipPairs:
    """``mini-vgg``: one dominant event close up, equally many of each class, after VGGSound.

    Args:
        root: not used; the data are drawn, not read.
        split: "test" (504 clips) or "val" (252).
        allow_missing: not used; nothing can be missing.

    Raises:
        ConfigError: unknown split.
    """
    del root, allow_missing
    return _load("vgg", split)


@cache
def _load(style: str, split: str) -> ClipPairs:
    if split not in COUNTS:
        raise ConfigError(f"mini-{style} has no split {split!r}; it has test and val")
    drawn = scripts(style, split)
    source = f"mini-{style}-{split}"
    described = [f"{clip.signature()} {clip.events}" for clip in drawn]
    return ClipPairs(
        name=f"mini-{style} {split}",
        videos=Drawn("video", source, drawn, video),
        audios=Drawn("audio", source, drawn, audio),
        fingerprint=content_fingerprint([f"mini clips {WORLD_VERSION}", source, *described]),
        clip_groups={
            "class": _numbered([clip.label for clip in drawn]),
            "background": _numbered([clip.background for clip in drawn]),
        },
    )


@cache
def scripts(style: str, split: str) -> tuple[Clip, ...]:
    """What happens in the clips of a set: style "as" or "vgg", split "val" or "test"."""
    return tuple(clips(style, split, COUNTS[split], SEED))


def _numbered(names: Sequence[str]) -> np.ndarray:
    """(names,) int64: equal names have equal numbers."""
    return np.unique(np.array(names), return_inverse=True)[1].astype(np.int64)
