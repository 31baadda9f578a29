"""HAT-VTR: a memory of similarities against hubs, and losses on several levels of a video."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from methods.adapt import AdaptedMethod, AdaptOptions, Forward
from methods.base import MethodCard
from methods.objectives import entropy, modality_gap, noise_robust_entropy, uniformity
from methods.options import option, temperature_option
from methods.per_gallery import PerGallery
from methods.queue import ReliableQueue


@dataclass(frozen=True, slots=True)
class HatVtrOptions(AdaptOptions):
    """Options of HAT-VTR; defaults are the repository's for video queries."""

    temperature: float | str = temperature_option(0.02)
    con_ratio: float = option(0.3, "part of a batch taken as reliable", above=0, maximum=1)
    uniformity_scale: float = option(0.1, "t in exp(-t * distance to the query centre)", above=0)
    queue_size: int = option(16, "reliable pairs kept; in the repository a batch", minimum=1)
    alpha: float = option(100.0, "sharpness of an item's weights over queries", above=0)
    beta: float = option(10.0, "sharpness of a query's weights over items", above=0)
    mix: float = option(0.5, "share of the weights over queries", minimum=0, maximum=1)
    memory_ratio: float = option(
        0.1, "past batches that are remembered, as a part of the gallery size", above=0
    )


class HatVtr(AdaptedMethod):
    """L = noise-robust entropy + uniformity + cross-modal match; scores refined against hubs.

    The refined score of a pair is its similarity, weighted by how much of the item goes to this
    query among all remembered ones, and by how much of the query goes to this item. Top items
    during adaptation are chosen by refined scores too. Negative similarities keep their sign: a
    large weight makes them worse.

    Instead of raw (B, N) matrices the memory keeps one (N,) vector for each past batch, the
    logarithm of the sums that the weights need; the weights are the same.
    """

    card = MethodCard(
        name="hat_vtr",
        title="HAT-VTR",
        summary="hubness memory and losses for video-text retrieval (Zhang et al., ICLR 2026)",
        paper="Zhang et al., Robust Test-time Video-Text Retrieval: Benchmarking and Adapting for "
        "Query Shifts, ICLR 2026, arXiv 2604.20851",
        approximate="a tower gives one embedding a query here: the uniformity of frames within a "
        "clip is then a constant and left out, and the cross-covariance is that of whole queries "
        "and items. An empty selection gives a zero instead of a NaN; batches below four queries "
        "still offer one pair to the queue; a first query alone teaches nothing, as all terms are "
        "constant",
        repository="https://github.com/bingqingzhang/vtr_tta",
        passes="3 f, 3 b",
        alone="only gap and covariance can be learnt from; the first query teaches nothing and is "
        "scored like the source",
        knob="con_ratio",
    )
    Options: ClassVar[type] = HatVtrOptions

    def reset_state(self) -> None:
        """Empties both memories."""
        self.queue = ReliableQueue(
            self.options.queue_size, self.options.con_ratio, nearness_to_centre
        )
        self._memories: PerGallery[list[Tensor]] = PerGallery()
        self._sums: PerGallery[Tensor] = PerGallery()  # of a memory, the same for all passes

    @property
    def memory(self) -> list[Tensor]:
        """Of each past batch of the gallery in use: (N,) ln sum_i exp(alpha s_ij)."""
        return self._memories.get(self.gallery) or []

    def objective(self, forward: Forward) -> Tensor | None:
        """The sum of the three terms."""
        embeddings = forward.embeddings
        chosen = self.refined(forward.similarities.detach()).argmax(dim=1)
        candidates = self.gallery[chosen]
        entropies = entropy(embeddings @ candidates.T / self.temperature)
        if forward.step == 0:
            self.queue.update(embeddings, candidates, entropies)
        reference, pairs = self.queue.reference(), self.queue.pairs()
        if reference is None or pairs is None:
            return None
        if len(embeddings) == 1 and torch.equal(pairs[0], embeddings):
            return None  # alone all terms are constant; AdamW would step along rounding errors
        threshold, reliable_gap = reference
        gap = modality_gap(embeddings, candidates)
        match = (gap - reliable_gap).square() + covariance_distance((embeddings, candidates), pairs)
        terms = {
            "consistency": noise_robust_entropy(entropies, threshold),
            "uniformity": uniformity(embeddings, self.options.uniformity_scale),
            "match": match,
        }
        for name, value in terms.items():
            self.log.add(f"loss_{name}", value)
        self.log.add("selected", (entropies <= threshold).sum())
        return torch.stack(list(terms.values())).sum()

    def refined(self, similarities: Tensor) -> Tensor:
        """(B, N) scores against hubs; the similarities themselves while nothing is remembered."""
        past, options = self._sums.get(self.gallery), self.options
        if past is None:
            return similarities
        return hub_suppressed(
            similarities, past, alpha=options.alpha, beta=options.beta, mix=options.mix
        )

    def rescore(self, similarities: Tensor) -> Tensor:
        """The refined scores; the raw similarities are remembered."""
        scores = self.refined(similarities)
        size = max(1, int(self.options.memory_ratio * similarities.shape[1]))
        memory = [*self.memory, log_sums(similarities, self.options.alpha)][-size:]
        self._memories.set(self.gallery, memory)
        self._sums.set(self.gallery, torch.stack(memory).logsumexp(dim=0))
        return scores


def hub_suppressed(
    similarities: Tensor, past: Tensor, *, alpha: float, beta: float, mix: float
) -> Tensor:
    """s (mix W_c + (1 - mix) W_r), elementwise.

    Args:
        similarities: (B, N) of the current batch.
        past: (N,) ``log_sums`` of the remembered queries.
        alpha: W_c is the softmax of alpha s over remembered and current queries, for each item.
        beta: W_r is the softmax of beta s over items, for each query.
        mix: share of W_c.
    """
    total = torch.logaddexp(past, log_sums(similarities, alpha))
    over_queries = (alpha * similarities - total).exp()
    over_items = (beta * similarities).softmax(dim=1)
    return similarities * (mix * over_queries + (1 - mix) * over_items)


def log_sums(similarities: Tensor, alpha: float) -> Tensor:
    """(N,) ln sum_i exp(alpha s_ij); similarities that are not finite do not count."""
    sound = torch.isfinite(similarities)
    return torch.where(sound, alpha * similarities, -torch.inf).logsumexp(dim=0)


def nearness_to_centre(queries: Tensor, candidates: Tensor) -> Tensor:
    """Indicator of the queue: far from the batch's centre is reliable, so the sign is negative."""
    return -(queries - queries.mean(dim=0)).norm(dim=1)


def covariance_distance(pairs: tuple[Tensor, Tensor], others: tuple[Tensor, Tensor]) -> Tensor:
    """Mean squared difference of two (D, D) cross-covariances z^T c / B, not centred."""
    first, second = (z.T @ c / len(z) for z, c in (pairs, others))
    return (first - second).square().mean()
