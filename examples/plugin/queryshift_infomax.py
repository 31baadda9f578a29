"""Information maximisation as a QueryShift method: sure of each query, spread over the gallery."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from methods.adapt import AdaptedMethod, AdaptOptions, Forward
from methods.base import MethodCard
from methods.objectives import entropy
from methods.options import option


@dataclass(frozen=True, slots=True)
class InfoMaxOptions(AdaptOptions):
    """Options of InfoMax: the common ones and the weight of its second term."""

    spread: float = option(1.0, "weight of the batch's diversity", minimum=0)


class InfoMax(AdaptedMethod):
    """Minimises each query's entropy and maximises that of the batch's mean prediction."""

    card = MethodCard(
        name="infomax",
        title="InfoMax",
        summary="information maximisation (the test-time part of SHOT), an example plugin",
        paper="Liang et al., Do We Really Need to Access the Source Data?, ICML 2020",
        approximate="the loss alone, on retrieval scores; no pseudo-labels",
    )
    Options: ClassVar[type] = InfoMaxOptions

    def objective(self, forward: Forward) -> Tensor:
        """mean_i H(p_i) - spread * H(mean_i p_i), p the softmax over the gallery."""
        logits = forward.similarities / self.temperature
        mean = logits.softmax(dim=1).mean(dim=0, keepdim=True)
        return (
            entropy(logits).mean()
            - self.options.spread * entropy(mean.clamp_min(1e-30).log()).sum()
        )
