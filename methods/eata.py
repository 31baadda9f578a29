"""EATA: entropy of reliable, non-redundant queries (Niu et al., ICML 2022), ported to retrieval."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor
from torch.nn import functional

from methods.adapt import AdaptedMethod, AdaptOptions, Forward
from methods.base import MethodCard, MethodError
from methods.objectives import entropy, masked_mean, smallest_count
from methods.options import option
from methods.parameters import all_finite
from methods.per_gallery import PerGallery

MOMENTUM = 0.9
"""Weight of the past in the mean prediction, as in the official code (ROID's too)."""


@dataclass(frozen=True, slots=True)
class EataOptions(AdaptOptions):
    """Options of EATA."""

    form: str = option(
        "paper",
        "reliable queries: those below E0 (paper), or as behind TCR's tables the int(E0 B) most "
        "certain of the batch, E0 being nats in the weight, and a step even where none counts",
        choices=("paper", "tcr"),
    )
    entropy_margin: float = option(
        0.4, "E0: a query is reliable below it; for form=tcr also the part of the batch", above=0
    )
    margin_unit: str = option(
        "relative",
        "unit of E0 in the paper's form: ln(gallery size), or nats",
        choices=("relative", "nats"),
    )
    d_margin: float = option(
        0.05, "a query is redundant if |cos| to the mean prediction reaches it", above=0
    )
    fisher: str = option(
        "none",
        "anchor to the source weights: 'none' (ETA), or 'stream': Fisher of the first stream "
        "batches under the source model",
        choices=("none", "stream"),
    )
    fisher_batches: int = option(30, "batches that the Fisher is averaged over", minimum=1)
    fisher_weight: float = option(2000.0, "beta, weight of the Fisher term", minimum=0)

    def __post_init__(self) -> None:
        AdaptOptions.__post_init__(self)  # super() without arguments fails in a slots dataclass
        if self.form == "tcr" and self.entropy_margin > 1:
            raise MethodError(
                f"option 'entropy_margin' is {self.entropy_margin!r}; with form=tcr it is also the "
                "part of the batch, so expected at most 1"
            )


class Eata(AdaptedMethod):
    """Weighted entropy of queries that are confident and unlike those before.

    By default without the Fisher term (the form called ETA), because no source data are at hand:
    both retrieval ports do the same. ``fisher="stream"`` protects what matters on the shifted
    stream itself, which is legal online but is not the paper's Fisher of source data.

    ``form="tcr"`` is what TCR's authors ran: the most certain part of the batch, and where none of
    it is new a gradient of zero, with which AdamW still decays weights and follows its momentum.
    """

    card = MethodCard(
        name="eata",
        title="EATA",
        summary="entropy of reliable, non-redundant queries (Niu et al., ICML 2022)",
        paper="Niu et al., Efficient Test-Time Model Adaptation without Forgetting, ICML 2022",
        approximate="retrieval port: LayerNorm instead of BatchNorm, AdamW, 3 steps; no Fisher "
        "term by default (ETA form), optionally from stream queries instead of source data; the "
        "form behind TCR's tables is form=tcr",
        repository="https://github.com/mr-eggplant/EATA",
        passes="3 f, 3 b",
        alone="learns from itself once: after that it is its own mean prediction, and redundant",
        knob="entropy_margin",
    )
    Options: ClassVar[type] = EataOptions

    def reset_state(self) -> None:
        """Clears the mean predictions and the Fisher information."""
        self.forget_predictions()
        self.fisher = StreamFisher()

    def forget_predictions(self) -> None:
        """Clears the mean predictions."""
        self._predictions = PerGallery[Tensor]()

    @property
    def mean_prediction(self) -> Tensor:
        """(N,) moving mean of the selected predictions over the gallery in use.

        Zeros mean "none yet": every cosine with them is 0, so nothing is redundant.
        """
        found = self._predictions.get(self.gallery)
        return torch.zeros_like(self.gallery[:, 0]) if found is None else found

    @mean_prediction.setter
    def mean_prediction(self, value: Tensor) -> None:
        self._predictions.set(self.gallery, value)

    def margin(self) -> float:
        """E0 in nats.

        Raises:
            MethodError: a gallery of one item, where the relative margin is zero.
        """
        value: float = self.options.entropy_margin
        if self.options.form == "tcr" or self.options.margin_unit == "nats":
            return value
        if len(self.gallery) < 2:
            raise MethodError("a margin relative to ln(gallery size) needs at least two items")
        return value * math.log(len(self.gallery))

    def objective(self, forward: Forward) -> Tensor:
        """mean over U of exp(E0 - H_i) H_i (the weight constant), plus the Fisher term."""
        logits = forward.similarities / self.temperature
        entropies = entropy(logits)
        predictions = logits.detach().softmax(dim=1)
        selected = self.select(entropies.detach(), predictions)
        weights = (self.margin() - entropies.detach()).exp()
        weighted = weights * entropies
        if self.options.form == "tcr":
            # A sum over nothing is 0 and its gradient zero: the optimiser takes its step.
            loss = torch.where(selected, weighted, 0.0).sum() / selected.sum().clamp_min(1)
        else:
            loss = masked_mean(weighted, selected)
        self.log.add("selected", selected.sum())
        if self.options.fisher == "stream":
            if forward.step == 0 and forward.batch < self.options.fisher_batches:
                self._add_fisher(forward.queries)
            penalty = self.fisher.penalty(list(self.adapted.values()), self._source_values())
            self.log.add("loss_fisher", penalty)
            loss = loss + self.options.fisher_weight * penalty
        return loss

    def select(self, entropies: Tensor, predictions: Tensor) -> Tensor:
        """Which queries count, (B,) bool; moves the mean prediction by them.

        Args:
            entropies: (B,) nats, constant.
            predictions: (B, N) probabilities, constant.
        """
        if self.options.form == "tcr":
            count = smallest_count(self.options.entropy_margin, len(entropies))
            reliable = entropies <= entropies.kthvalue(count).values
        else:
            reliable = entropies < self.margin()
        before = self.mean_prediction
        overlap = functional.cosine_similarity(before[None], predictions, dim=1)
        selected = reliable & (overlap.abs() < self.options.d_margin)
        self.log.add("reliable", reliable.sum())
        number = selected.sum()
        kept = torch.where(selected[:, None], predictions, 0.0).sum(dim=0) / number.clamp_min(1)
        blend = MOMENTUM * before + (1 - MOMENTUM) * kept
        moved = torch.where(before.sum() == 0, kept, blend)
        self.mean_prediction = torch.where(number > 0, moved, before)
        return selected

    def _source_values(self) -> list[Tensor]:
        return list(self.source_parameters().values())

    def _add_fisher(self, queries: Tensor) -> None:
        """Cross-entropy against the source model's own top item, differentiated at the source."""
        leaves = {n: v.clone().requires_grad_() for n, v in self.source_parameters().items()}
        logits = self.encode_with(leaves, queries) @ self.gallery.T / self.temperature
        loss = functional.cross_entropy(logits, logits.detach().argmax(dim=1))
        found = torch.autograd.grad(loss, list(leaves.values()), allow_unused=True)
        self.fisher.add(
            [
                torch.zeros_like(v) if g is None else g
                for g, v in zip(found, leaves.values(), strict=True)
            ]
        )


class StreamFisher:
    """Diagonal Fisher information: the mean over batches of squared batch-mean gradients.

    Squaring the batch mean follows the official code; the weight 2000 goes with that size.
    """

    def __init__(self) -> None:
        self._sums: list[Tensor] = []
        self._batches = 0

    def add(self, gradients: Sequence[Tensor]) -> None:
        """Adds one batch's mean gradient; one with NaN or infinity is left out."""
        if not bool(all_finite(list(gradients))):
            return
        squares = [gradient.detach().square() for gradient in gradients]
        old = self._sums or [torch.zeros_like(square) for square in squares]
        self._sums = [total + square for total, square in zip(old, squares, strict=True)]
        self._batches += 1

    def values(self) -> list[Tensor]:
        """F, one tensor per parameter; empty before the first batch."""
        return [total / self._batches for total in self._sums]

    def penalty(self, parameters: Sequence[Tensor], anchors: Sequence[Tensor]) -> Tensor:
        """sum_k F_k (theta_k - theta0_k)^2, a scalar."""
        total = parameters[0].new_zeros(())
        for fisher, parameter, anchor in zip(self.values(), parameters, anchors, strict=False):
            total = total + (fisher * (parameter - anchor).square()).sum()
        return total
