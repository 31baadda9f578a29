"""ROID: weighted likelihood ratio, weight ensembling, prior (Marsden et al., WACV 2024), ported."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor
from torch.nn import functional

from methods.adapt import AdaptedMethod, AdaptOptions, Change, Forward
from methods.base import MethodCard
from methods.centring import sound_mean
from methods.eata import MOMENTUM
from methods.gradients import Gradients
from methods.objectives import entropy, symmetric_cross_entropy
from methods.options import option
from methods.per_gallery import PerGallery
from methods.perturb import augmented

CLIP, EPSILON = 0.99, 1e-5
"""Largest probability of the likelihood ratio, and what is added to the ratio (official code)."""


@dataclass(frozen=True, slots=True)
class RoidOptions(AdaptOptions):
    """Options of ROID; defaults are the official code's."""

    weight_temperature: float = option(1 / 3, "temperature of the queries' weights", above=0)
    source_momentum: float = option(
        0.99,
        "part of the weights that is kept after an update; the rest comes from the source",
        minimum=0,
        maximum=1,
    )
    consistency: bool = option(True, "also agree with the prediction on an augmented view")
    prior: str = option(
        "logits",
        "prior correction: multiply the logits by the batch's smoothed mean prediction (official "
        "code), or the probabilities, or 'off'",
        choices=("logits", "probabilities", "off"),
    )


class Roid(AdaptedMethod):
    """Soft likelihood ratio of certain and diverse queries; weights are pulled to the source.

    A batch of one, or of equal queries, has no spread to weigh by: all weights are 1 there (the
    official code divides by zero).
    """

    card = MethodCard(
        name="roid",
        title="ROID",
        summary="certain and diverse queries, pull to the source, prior correction (WACV 2024)",
        paper="Marsden et al., Universal Test-time Adaptation through Weight Ensembling, Diversity "
        "Weighting, and Prior Correction, WACV 2024",
        approximate="retrieval port: AdamW, 3 steps; the augmented view is torch-only, without the "
        "change of colours, and of the whole batch, not only of the queries that count; sums are "
        "divided by the largest batch so far, where the official code knows the batch size",
        repository="https://github.com/mariodoebler/test-time-adaptation",
        passes="6 f, 6 b",
        alone="its weight is 1, and the prior is its own prediction",
        knob="weight_temperature",
    )
    Options: ClassVar[type] = RoidOptions

    def reset_state(self) -> None:
        """Clears the mean predictions and the batch size."""
        self.means = PerGallery[Tensor]()
        self.batch_size = 0

    def objective(self, forward: Forward) -> Tensor:
        """Sum over the counting queries of w_i (SLR_i + SCE_i), by the batch size."""
        self.batch_size = max(self.batch_size, len(forward.queries))
        logits = forward.similarities / self.temperature
        weights = self.weigh(logits.detach())
        loss = torch.where(weights > 0, weights * likelihood_ratio(logits), 0.0).sum()
        if self.options.consistency:
            view = self.place(self.encoder(self.augment(forward.queries)))
            apart = symmetric_cross_entropy(view @ self.gallery.T / self.temperature, logits)
            loss = loss + torch.where(weights > 0, weights * apart, 0.0).sum()
        # A query that is not a number has a NaN weight: so has the loss, and no update is made.
        return (loss + 0 * weights.sum()) / self.batch_size

    def augment(self, queries: Tensor) -> Tensor:
        """A random view of each query."""
        return augmented(self.encoder, queries, self.setup.generator)

    @torch.no_grad()
    def weigh(self, logits: Tensor) -> Tensor:
        """(B,) weights, 0 for queries below the mean diversity; moves the mean prediction."""
        predictions = logits.softmax(dim=1)
        uniform = torch.full_like(predictions[0], 1 / len(self.gallery))
        known = self.means.get(self.gallery)
        mean = uniform if known is None else known
        diversity = unit_range(1 - functional.cosine_similarity(mean[None], predictions, dim=1))
        certainty = unit_range(-entropy(logits))
        weights = (diversity * certainty / self.options.weight_temperature).exp()
        weights = torch.where(diversity < diversity.mean(), 0.0, weights)
        moved = MOMENTUM * mean + (1 - MOMENTUM) * predictions.mean(dim=0)
        self.means.set(self.gallery, torch.where(torch.isfinite(moved).all(), moved, mean))
        self.log.add("selected", (weights > 0).sum())
        return weights

    def descend(self, gradients: Gradients | None, change: Change | None = None) -> bool:
        """One optimiser step, then weight ensembling: a hundredth of the way to the source."""
        made = super().descend(gradients, change)
        if made:
            self.pull_to_source(1 - self.options.source_momentum)
        return made

    def rescore(self, similarities: Tensor) -> Tensor:
        """Prior correction of (B, N) similarities; they stay in the similarities' unit."""
        if self.options.prior == "off":
            return similarities
        mean = sound_mean((similarities / self.temperature).softmax(dim=1))
        prior = smoothed_prior(mean, len(similarities))
        if self.options.prior == "logits":
            return similarities * prior
        return similarities + self.temperature * prior.log()


def likelihood_ratio(logits: Tensor) -> Tensor:
    """Soft likelihood ratio, -sum_j p_j ln(p_j / (1 - p_j)); (B, N) -> (B,)."""
    p = logits.softmax(dim=1).clamp(0.0, CLIP)
    return -(p * (p / (1 - p) + EPSILON).log()).sum(dim=1)


def unit_range(values: Tensor) -> Tensor:
    """Values moved and scaled to [0, 1]; zeros where all are the same."""
    low, high = values.min(), values.max()
    same = high == low
    return torch.where(same, 0.0, (values - low) / torch.where(same, 1.0, high - low))


def smoothed_prior(mean: Tensor, batch: int) -> Tensor:
    """The mean prediction, moved towards uniform by how small it is; (N,) -> (N,)."""
    items = len(mean)
    smooth = max(1 / batch, 1 / items) / mean.max()
    return (mean + smooth) / (1 + smooth * items)
