"""The shift that changes nothing: clean queries, as the in-domain reference."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np

from shifts.base import Shift, ShiftCard


class NoShift(Shift):
    """Returns an equal item; the only shift that takes items of every modality.

    Its single severity is 0, so that no result row can be mistaken for a corrupted one.
    """

    card = ShiftCard(
        name="none",
        modality="any",
        severities=(0,),
        summary="clean queries, for in-domain reference",
        source="none",
        randomised=False,
    )

    def corrupt(self, item: Any, severity: int, rng: np.random.Generator) -> Any:
        """A copy, so that a caller who edits the result never edits the data set."""
        return copy.deepcopy(item)
