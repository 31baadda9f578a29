"""SHOT: information maximisation and confident pseudo-labels (Liang et al., ICML 2020), online."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from methods.adapt import AdaptedMethod, AdaptOptions, Forward
from methods.base import MethodCard
from methods.objectives import entropy
from methods.options import option

EPSILON = 1e-5
"""Added to the mean prediction before the logarithm (official code)."""


@dataclass(frozen=True, slots=True)
class ShotOptions(AdaptOptions):
    """Options of SHOT; defaults are those of the retrieval port in TCR's repository."""

    pseudo_weight: float = option(
        0.1, "weight of the pseudo-labels' cross-entropy; 0: SHOT-IM", minimum=0
    )
    confidence: float = option(
        0.9, "a query has a pseudo-label if its top probability is above", minimum=0, maximum=1
    )


class Shot(AdaptedMethod):
    """L = mean_i H(p_i) + sum_j m_j ln m_j + w CE, m the batch's mean prediction.

    The published method goes over the whole target set for many epochs, so it sees later queries;
    this is its online form, batch by batch.
    """

    card = MethodCard(
        name="shot",
        title="SHOT (online)",
        summary="information maximisation and confident pseudo-labels (Liang et al., ICML 2020)",
        paper="Liang et al., Do We Really Need to Access the Source Data? Source Hypothesis "
        "Transfer for Unsupervised Domain Adaptation, ICML 2020",
        approximate="online retrieval port after TCR's: one batch at a time instead of epochs over "
        "the whole target set; pseudo-labels are the confident queries' own top items instead of "
        "centroids; LayerNorm, AdamW, 3 steps",
        repository="https://github.com/tim-learn/SHOT",
        passes="3 f, 3 b",
        alone="entropy and diversity cancel; only a confident query's pseudo-label is left",
        knob="pseudo_weight",
    )
    Options: ClassVar[type] = ShotOptions

    def objective(self, forward: Forward) -> Tensor:
        """Certain for each query, spread over the batch, true to confident top items."""
        logits = forward.similarities / self.temperature
        certainty = entropy(logits).mean()
        mean = logits.softmax(dim=1).mean(dim=0)
        spread = (mean * (mean + EPSILON).log()).sum()
        self.log.add("loss_entropy", certainty)
        self.log.add("loss_diversity", spread)
        return certainty + spread + self.options.pseudo_weight * self.pseudo_loss(logits)

    def pseudo_loss(self, logits: Tensor) -> Tensor:
        """Cross-entropy of the confident queries with their own top item; 0 where none is."""
        top = logits.log_softmax(dim=1).amax(dim=1)
        confident = top.detach().exp() > self.options.confidence
        self.log.add("selected", confident.sum())
        return -torch.where(confident, top, 0.0).sum() / confident.sum().clamp_min(1)
