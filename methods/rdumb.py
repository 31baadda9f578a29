"""RDumb: EATA without Fisher, reset at regular intervals (Press et al., NeurIPS 2023)."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from methods.adapt import Forward
from methods.base import MethodCard
from methods.eata import Eata, EataOptions
from methods.options import option


@dataclass(frozen=True, slots=True)
class RdumbOptions(EataOptions):
    """Options of RDumb: EATA's, and when to reset."""

    margin_unit: str = option(
        "half",
        "E0 of EATA's paper form: 'half' = ln(gallery size) / 2 - 1 as in RDumb's code, or "
        "entropy_margin in units of ln(gallery size) ('relative'), or in 'nats'",
        choices=("half", "relative", "nats"),
    )
    reset_every: int = option(1000, "passes after which the source is restored", minimum=1)


class Rdumb(Eata):
    """EATA that forgets all it learnt every thousand passes: the control for long streams.

    Passes are counted, whether they led to an update or not, and a reset may fall between two
    passes over one batch; both as in the official code.
    """

    card = MethodCard(
        name="rdumb",
        title="RDumb",
        summary="EATA (ETA form) with a reset at regular intervals (Press et al., NeurIPS 2023)",
        paper="Press et al., RDumb: A simple approach that questions our progress in continual "
        "test-time adaptation, NeurIPS 2023",
        approximate="retrieval port: LayerNorm instead of BatchNorm, AdamW, 3 steps, so that 1000 "
        "passes are 333 batches",
        repository="https://github.com/oripress/CCC",
        passes="3 f, 3 b",
        alone="as eata",
        knob="d_margin",
    )
    Options: ClassVar[type] = RdumbOptions

    def reset_state(self) -> None:
        """Clears EATA's memory and starts counting again."""
        super().reset_state()
        self.passes = 0

    def margin(self) -> float:
        """E0 in nats; below eight items "half" is negative, and no query is ever reliable."""
        if self.options.form == "paper" and self.options.margin_unit == "half":
            return math.log(len(self.gallery)) / 2 - 1
        return super().margin()

    def forward(self, queries: Tensor, step: int) -> Forward:
        """One pass, from the source weights where it is time."""
        due = self.passes > 0 and self.passes % self.options.reset_every == 0
        if due:
            self.restore_source()
            self.forget_predictions()
        self.log.count("resets", float(due))
        self.passes += 1
        return super().forward(queries, step)
