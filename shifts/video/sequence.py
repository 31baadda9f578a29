"""Several distributions within one clip: our reading of REST's "temporal sequence".

REST's figure of online shift draws a video query whose frames go clean, noise, blur. Its text on
this is not public; everything beyond that picture is this project's choice and says so.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from shifts.base import Frames, Shift, ShiftCard, ShiftError
from shifts.builtin import make_shift
from shifts.video.per_frame import TemporalOptions, corrupt_frames, frame_generators

TYPES = (
    *("gaussian_noise", "shot_noise", "impulse_noise"),
    *("defocus_blur", "glass_blur", "motion_blur", "zoom_blur"),
    *("snow", "frost_procedural", "fog", "brightness"),
    *("contrast", "elastic_transform", "pixelate", "jpeg_compression"),
)
"""The fifteen types of ImageNet-C, which READ uses on frames; frost in its offline form."""


@dataclass(frozen=True)
class SequenceOptions(TemporalOptions):
    """Options of ``temporal_sequence``."""

    types: tuple[str, ...] = field(
        default=TYPES, metadata={"help": "image shifts that may occur, separated by commas"}
    )
    most: int = field(
        default=3, metadata={"help": "maximum number of image shifts in a clip, at least 1"}
    )
    clean: bool = field(
        default=True,
        metadata={"help": "leave one more segment clean, if the clip is long enough"},
    )
    constants: str = field(
        default="reference",
        metadata={"help": "severity table of the image shifts", "choices": ("reference", "mini64")},
    )

    def __post_init__(self) -> None:
        """Raises ShiftError for a value out of range; unknown types are found on creation."""
        super().__post_init__()
        if not self.types or len(set(self.types)) < len(self.types):
            raise ShiftError("option 'types' needs at least one image shift and none of them twice")
        if not 1 <= self.most <= len(self.types):
            raise ShiftError(
                f"option 'most' is {self.most!r}; it can be 1 to {len(self.types)}, the number of "
                "image shifts in 'types'"
            )


@dataclass(frozen=True, slots=True)
class Segment:
    """A stretch of a clip under one distribution.

    Attributes:
        start: first frame.
        stop: first frame after it.
        shift: position of its image shift in the options' ``types``; None for clean frames.
    """

    start: int
    stop: int
    shift: int | None


class TemporalSequence(Shift):
    """Segments of random length, each under another image shift, at one severity.

    A clip of T frames gets K types, K uniform on 1..min(S, T), drawn without repetition, and one
    clean segment if there is a frame left for it; the segments come in random order, with distinct
    uniform cuts between frames, so each has a frame at least.

    Raises:
        ShiftError: on creation, for a type that is no built-in image shift or cannot be made.
    """

    Options = SequenceOptions
    card = ShiftCard(
        "temporal_sequence",
        "video",
        (1, 2, 3, 4, 5),
        "segments of a clip under different image shifts",
        "our reading of REST's figure of online shift; image shifts of ImageNet-C",
        monotone=False,
        exact=False,
    )

    def __init__(self, options: Any = None) -> None:
        super().__init__(options)
        table = {"constants": self.options.constants}
        self._shifts = [make_shift(name, "image", table) for name in self.options.types]

    @property
    def fingerprint(self) -> str:
        """Those of the image shifts that have one."""
        return "+".join(filter(None, (shift.fingerprint for shift in self._shifts)))

    def segments(self, frames: int, rng: np.random.Generator) -> list[Segment]:
        """Draws the segments of a clip, in order; they cover it without overlap."""
        count = int(rng.integers(1, min(self.options.most, frames) + 1))
        drawn = rng.permutation(len(self._shifts))[:count]
        kinds: list[int | None] = [int(number) for number in drawn]
        if self.options.clean and frames > count:
            kinds.insert(int(rng.integers(count + 1)), None)
        cuts = 1 + np.sort(rng.choice(frames - 1, size=len(kinds) - 1, replace=False))
        edges = [0, *map(int, cuts), frames]
        return [
            Segment(start, stop, kind)
            for start, stop, kind in zip(edges, edges[1:], kinds, strict=False)
        ]

    def corrupt(self, item: Frames, severity: int, rng: np.random.Generator) -> Frames:
        """Corrupts segment after segment; ``shared`` draws are shared within a segment."""
        result = item.copy()
        for segment in self.segments(len(item), rng):
            length = segment.stop - segment.start
            generators = frame_generators(rng, length, self.options.temporal)
            if segment.shift is None:
                continue
            frames = slice(segment.start, segment.stop)
            result[frames] = corrupt_frames(
                self._shifts[segment.shift], item[frames], severity, generators
            )
        return result
