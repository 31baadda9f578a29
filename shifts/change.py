"""How large the change is that a shift made to an item, whatever its modality."""

from __future__ import annotations

import math
from collections.abc import Mapping
from difflib import SequenceMatcher
from typing import Any

import numpy as np

from shifts.audio.item import Audio
from shifts.composed import Composed


def sizes(before: Any, after: Any) -> Mapping[str, float]:
    """The size of a change by kind of part: "text", "pixels" (also of frames), "samples".

    * text: share of the characters of both texts that the other one does not have in the same
      order, 1 - ``difflib.SequenceMatcher.ratio``.
    * pixels: mean absolute difference, of full scale (255).
    * samples: mean absolute difference, of full scale (from -1 to 1).

    Args:
        before: an item (see ``ShiftCard.modality``).
        after: an item of the same modality.

    Returns:
        Each from 0 (nothing) to 1; a composed item has "pixels" and "text", all others one. NaN
        where two arrays differ in shape, or two recordings in their rate.
    """
    if isinstance(before, Composed):
        return {**sizes(before.image, after.image), **sizes(before.text, after.text)}
    if isinstance(before, str):
        return {"text": _edited(before, after)}
    if isinstance(before, Audio):
        apart = _difference(before.samples, after.samples, 2.0)
        return {"samples": apart if before.rate == after.rate else math.nan}
    return {"pixels": _difference(before, after, 255.0)}


def _edited(before: str, after: str) -> float:
    if before == after:
        return 0.0
    return 1.0 - SequenceMatcher(None, before, after, autojunk=False).ratio()


def _difference(before: np.ndarray, after: np.ndarray, full_scale: float) -> float:
    if before.shape != after.shape:
        return math.nan
    # Of unsigned bytes: a plain difference would wrap around, and wider numbers take longer.
    apart = np.maximum(before, after) - np.minimum(before, after)
    return float(apart.mean(dtype=np.float64)) / full_scale if apart.size else 0.0
