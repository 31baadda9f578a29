"""The two sets of clips: what happens in them, and frames and sounds made when asked for."""

from __future__ import annotations

from functools import cache, partial

import numpy as np

from benchmark.data.datasets.base import ClipPairs, content_fingerprint
from benchmark.mini.clips.events import Clip, clips
from benchmark.mini.clips.pictures import draw_frames
from benchmark.mini.clips.sounds import RATE, draw_samples
from benchmark.mini.worlds.drawn import Drawn, loader, numbered
from shifts.audio.item import Audio
from shifts.video.item import Frames

WORLD_VERSION = 1
"""Raised whenever a clip, a frame or a sound changes; part of the data's fingerprint."""
COUNTS = {"val": 252, "test": 504}
"""Clips of each set: 7 and 14 for each of the 36 classes of ``mini-vgg``."""
SEED = 2026


def video(clip: Clip, rng: np.random.Generator) -> Frames:
    """(8, 32, 32, 3) uint8."""
    return draw_frames(clip, rng)


def audio(clip: Clip, rng: np.random.Generator) -> Audio:
    """1.6 s at 8 kHz."""
    return Audio(draw_samples(clip, rng), RATE)


def _load(style: str, split: str) -> ClipPairs:
    drawn = scripts(style, split)
    source = f"mini-{style}-{split}"
    described = [f"{clip.signature()} {clip.events}" for clip in drawn]
    return ClipPairs(
        name=f"mini-{style} {split}",
        videos=Drawn(source, drawn, video, SEED, f"video/{source}"),
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
