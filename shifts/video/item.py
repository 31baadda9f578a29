"""What video shifts work on."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Frames = NDArray[np.uint8]
"""(T, H, W, 3) uint8 RGB, T at least 1."""


def item_problem(item: object) -> str:
    """What a video shift works on and was not given, or ""."""
    wanted = "(T, H, W, 3) uint8 videos"
    if not isinstance(item, np.ndarray):
        return f"{wanted}, not on {type(item).__name__}"
    if item.dtype != np.uint8 or item.ndim != 4 or item.shape[3] != 3:
        return f"{wanted}, not on {item.dtype} array of shape {item.shape}"
    if not len(item):
        return f"{wanted} with at least one frame; this one has none"
    if not item.size:
        return f"{wanted} with at least one pixel a frame, not on shape {item.shape}"
    return ""
