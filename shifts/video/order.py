"""Shifts in time: which frame is shown when. After MSRVTT-P (Schiappa et al., NeurIPS 2022).

All of them return frames of the clip itself: as many as before, in another order or repeated.
"""

from __future__ import annotations

from abc import abstractmethod

import numpy as np
from numpy.typing import NDArray

from shifts.base import Frames, Shift, ShiftCard

Indices = NDArray[np.intp]
"""(T,): which frame of the clip is shown at each time."""

SEVERITIES = (1, 2, 3, 4, 5)
MSRVTT_P = "MSRVTT-P (Schiappa et al., NeurIPS 2022)"
KEEP_EVERY = (2, 4, 8, 16, 32)
"""Lower sampling rate: one frame in so many is kept."""
KEEP_PERCENT = (40, 20, 10, 5, 10)
"""Freezing: share of the frames that are kept. The last entry is the published one."""
SEGMENT = (32, 16, 8, 4, 2)
"""Jumbling: frames in a segment. Severity 5 moves frames least far."""


class FrameOrder(Shift):
    """A shift that only chooses frames; subclasses write ``order``."""

    @abstractmethod
    def order(self, frames: int, severity: int, rng: np.random.Generator) -> Indices:
        """(frames,) indices into the clip, in the order in which they are shown."""

    def corrupt(self, item: Frames, severity: int, rng: np.random.Generator) -> Frames:
        """The chosen frames, in their own memory."""
        return item[self.order(len(item), severity, rng)]


def _card(name: str, summary: str, *, randomised: bool = True, monotone: bool = False) -> ShiftCard:
    return ShiftCard(
        name, "video", SEVERITIES, summary, MSRVTT_P, randomised=randomised, monotone=monotone
    )


class FrameDrop(FrameOrder):
    """A lower sampling rate: every k-th frame is kept and held until the next; constant: k."""

    card = _card("frame_drop", "every k-th frame kept and held", randomised=False, monotone=True)

    def order(self, frames: int, severity: int, rng: np.random.Generator) -> Indices:
        step = KEEP_EVERY[severity - 1]
        return np.arange(frames) // step * step


class FrameFreeze(FrameOrder):
    """A random share of the frames is kept, each held until the next; constant: the share in %.

    At least one frame is kept. Until the first kept one it is shown itself, since nothing came
    before it.
    """

    card = _card("frame_freeze", "a few random frames kept and held")

    def order(self, frames: int, severity: int, rng: np.random.Generator) -> Indices:
        # To the nearest whole number, in integers: 5 % of 10 frames is 1 on every machine.
        count = max(1, (frames * KEEP_PERCENT[severity - 1] + 50) // 100)
        kept = np.sort(rng.choice(frames, size=count, replace=False))
        latest = np.searchsorted(kept, np.arange(frames), side="right") - 1
        return np.asarray(kept[np.maximum(latest, 0)])


class FrameJumble(FrameOrder):
    """Frames shuffled inside consecutive segments; constant: frames in a segment.

    The ladder is the published one, whose segments get shorter: severity 5 changes least.
    """

    card = _card("frame_jumble", "frames shuffled inside segments, shorter at higher severity")

    def order(self, frames: int, severity: int, rng: np.random.Generator) -> Indices:
        length = SEGMENT[severity - 1]
        segments = [
            start + rng.permutation(min(length, frames - start))
            for start in range(0, frames, length)
        ]
        return np.concatenate(segments)


class FrameReverse(FrameOrder):
    """A lower sampling rate as in ``frame_drop``, then played backwards; constant: k."""

    card = _card(
        "frame_reverse", "every k-th frame kept and held, played backwards", randomised=False
    )

    def order(self, frames: int, severity: int, rng: np.random.Generator) -> Indices:
        step = KEEP_EVERY[severity - 1]
        return np.asarray((np.arange(frames) // step * step)[::-1])
