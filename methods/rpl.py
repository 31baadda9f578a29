"""RPL: generalised cross-entropy with hard pseudo-labels (Rusak et al., TMLR 2022), ported."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from methods.adapt import AdaptedMethod, AdaptOptions, Forward
from methods.base import MethodCard
from methods.options import option


@dataclass(frozen=True, slots=True)
class RplOptions(AdaptOptions):
    """Options of RPL."""

    q: float = option(
        0.8, "towards 0: cross-entropy with the top item; 1: its probability", above=0, maximum=1
    )


class Rpl(AdaptedMethod):
    """L = mean_i (1 - p_i^q) / q, p_i the probability of the query's own top item.

    The power bounds what one wrong pseudo-label can do, which cross-entropy does not.
    """

    card = MethodCard(
        name="rpl",
        title="RPL",
        summary="robust pseudo-labels: generalised cross-entropy (Rusak et al., TMLR 2022)",
        paper="Rusak et al., If your data distribution shifts, use self-learning, TMLR 2022",
        approximate="retrieval port: LayerNorm instead of BatchNorm, AdamW, 3 steps",
        repository="https://github.com/bethgelab/robustness",
        passes="3 f, 3 b",
        alone="learns from its own top item",
        knob="q",
    )
    Options: ClassVar[type] = RplOptions

    def objective(self, forward: Forward) -> Tensor:
        """Mean generalised cross-entropy with the own top item."""
        top = (forward.similarities / self.temperature).log_softmax(dim=1).amax(dim=1)
        q = self.options.q
        return ((1 - (q * top).exp()) / q).mean()
