"""What several test files of the shifts share."""

from __future__ import annotations

from typing import Any

import numpy as np

from shifts.base import Shift, item_generator
from shifts.builtin import names_of
from shifts.testing import Factory, run_contract

RECORDED = ("traffic", "crowd", "rain", "thunder", "wind")
NEEDY = {"frost", "video_frost", *RECORDED, "sr", "ri"} | {
    *("formal", "casual", "passive", "active", "back_trans")
}
"""Shifts that need the user's files, WordNet or a model."""


def offline(modality: str) -> list[str]:
    """The built-in shifts of a modality that need nothing."""
    return [name for name in names_of(modality) if name not in NEEDY]


def apply(shift: Shift, item: Any, severity: int = 5, seed: int = 0) -> Any:
    return shift.apply(item, severity, np.random.default_rng(seed))


def shifted(shift: Shift, text: str, severity: int = 0, item: str = "0", seed: int = 0) -> str:
    """The text as a query of this id; severity 0 is the highest."""
    severity = severity or shift.card.severities[-1]
    out = shift.apply(text, severity, item_generator(seed, shift.card.name, severity, item))
    assert isinstance(out, str)
    return out


def problems(make: Factory) -> dict[str, str]:
    """The checks of the contract that do not hold -> why."""
    return {r.check: r.problem for r in run_contract(type(make()), make) if not r.passed}


def scatter(height: int, width: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
