"""Items of video and audio towers, checked before they are encoded."""

from __future__ import annotations

from typing import Any

from benchmark.errors import DataError
from shifts.audio.item import Audio
from shifts.video import item as video_item
from shifts.video.item import Frames


def checked_audio(item: object) -> Audio:
    """The item, if it is a recording with at least one sample.

    Raises:
        DataError: it is something else, or empty.
    """
    if not isinstance(item, Audio):
        raise DataError(f"an audio tower takes shifts.audio.item.Audio, not {type(item).__name__}")
    if not len(item.samples):
        raise DataError("an audio recording has no samples; it cannot be encoded")
    return item


def checked_video(item: Any) -> Frames:
    """The item, if it is a (T, H, W, 3) uint8 array with at least one frame.

    Raises:
        DataError: it is something else, or empty.
    """
    problem = video_item.item_problem(item)
    if problem:
        raise DataError(f"a video tower works on {problem}")
    frames: Frames = item
    return frames
