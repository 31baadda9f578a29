"""READ: confidence-weighted entropy and balance (Yang et al., ICLR 2024), ported to retrieval."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from methods.adapt import AdaptedMethod, AdaptOptions, Forward
from methods.base import MethodCard
from methods.objectives import balance, reliability
from methods.options import option


@dataclass(frozen=True, slots=True)
class ReadOptions(AdaptOptions):
    """Options of READ."""

    balance: str = option(
        "softmax_of_sums",
        "how the predictions spread: softmax of their column sums (paper), or their column mean",
        choices=("softmax_of_sums", "mean"),
    )


class Read(AdaptedMethod):
    """L = L_ra + L_bal, weight 1.

    The official method trains the attention of a fusion layer, which a dual encoder has not; and
    it scores after the update, which ``score_from="post_update"`` does.
    """

    card = MethodCard(
        name="read",
        title="READ",
        summary="confidence-weighted entropy and class balance (Yang et al., ICLR 2024)",
        paper="Yang et al., Test-time Adaption against Multi-modal Reliability Bias, ICLR 2024",
        approximate="retrieval port after TCR's: LayerNorm instead of fusion attention, 3 steps, "
        "scores before the last update",
        repository="https://github.com/XLearning-SCU/2024-ICLR-READ",
        passes="3 f, 3 b",
        alone="learns from both terms, of its own prediction",
        knob="balance",
    )
    Options: ClassVar[type] = ReadOptions

    def objective(self, forward: Forward) -> Tensor:
        """Reliability and balance over the whole gallery."""
        logits = forward.similarities / self.temperature
        confident = reliability(logits)
        spread = balance(logits, self.options.balance)
        self.log.add("loss_reliability", confident)
        self.log.add("loss_balance", spread)
        return confident + spread
