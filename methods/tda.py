"""TDA: two caches of past queries add to an item's logit and take from it, without training."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from methods.bank import BANK_SEES, BankMethod, BankOptions
from methods.base import MethodCard, StepOutput
from methods.objectives import entropy
from methods.options import option

UNSURE = (0.2, 0.5)
"""A query enters the negative cache if its entropy, as a part of log2(N), lies between these."""

UNLIKELY = 0.03
"""The negative cache speaks against items to which it gives more than this probability."""


@dataclass(frozen=True, slots=True)
class TdaOptions(BankOptions):
    """Options of TDA; defaults are the repository's for ImageNet."""

    temperature: float = option(0.01, "softmax temperature of the logits", above=0)
    capacity: int = option(3, "queries an item has in the positive cache", minimum=1)
    alpha: float = option(2.0, "weight of the positive cache", minimum=0)
    beta: float = option(5.0, "sharpness of the positive cache", above=0, maximum=10_000)
    negative_capacity: int = option(2, "queries an item has in the negative cache", minimum=1)
    negative_alpha: float = option(0.117, "weight of the negative cache; 0: off", minimum=0)
    negative_beta: float = option(1.0, "sharpness of the negative cache", above=0, maximum=10_000)
    cache_size: int = option(
        1024, "queries in a cache altogether; the least certain leave first", minimum=1
    )


@dataclass(frozen=True)
class Cache:
    """Cached queries: (C, D) embeddings, (C,) top items, (C,) entropies, (C, N) likely items."""

    keys: Tensor
    items: Tensor
    entropies: Tensor
    likely: Tensor

    def __len__(self) -> int:
        return len(self.items)

    def ranked(self, new: Cache, enters: Tensor, capacity: int) -> tuple[Cache, Tensor]:
        """Both caches' queries, first for each item the ``capacity`` most certain.

        Of equal entropies the older comes first, as when the queries come one by one.

        Args:
            new: queries that come now.
            enters: (B,) bool, which of them are of interest.
            capacity: queries of an item.

        Returns:
            All queries in their new order, and a scalar: how many of them are to be kept.
        """
        joined = Cache(*map(torch.cat, zip(self._parts(), new._parts(), strict=True)))
        beyond = torch.iinfo(joined.items.dtype).max
        items = torch.cat([self.items, torch.where(enters, new.items, beyond)])
        order = joined.entropies.argsort(stable=True)
        order = order[items[order].argsort(stable=True)]
        items = items[order]
        place = torch.arange(len(items), device=items.device) - torch.searchsorted(items, items)
        kept = (place < capacity) & (items < beyond)
        return joined.at(order[(~kept).long().argsort(stable=True)]), kept.sum()

    def first(self, count: int, size: int) -> Cache:
        """The first ``count`` queries; of more than ``size`` the most certain."""
        cache = self.at(slice(count))
        return cache if count <= size else cache.at(cache.entropies.argsort(stable=True)[:size])

    def at(self, rows: Tensor | slice) -> Cache:
        """The queries of these rows."""
        return Cache(*(part[rows] for part in self._parts()))

    def _parts(self) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        return self.keys, self.items, self.entropies, self.likely


class Tda(BankMethod):
    """s_ij / tau + alpha sum of exp(-beta (1 - z_i . k)) over cached queries k of item j, - ...

    The positive cache holds each item's most certain queries. The negative one holds queries of
    middling entropy, and what it says is taken from all items that seemed likely to them.
    """

    card = MethodCard(
        name="tda",
        title="TDA-style cache",
        summary="training-free: positive and negative cache of queries (Karmanov et al., CVPR "
        "2024)",
        paper="Karmanov et al., Efficient Test-Time Adaptation of Vision-Language Models, CVPR "
        "2024",
        trains=False,
        approximate="items take the place of classes; one view of a query instead of 64; a batch "
        "enters the caches before its first query is scored (the same for batches of one); "
        "cache_size bounds them",
        repository="https://github.com/kdiAAA/TDA",
        sees=BANK_SEES,
        passes="1 f",
        alone="a bank of itself alone raises its own top item, or lowers items that it is unsure "
        "of",
        knob="alpha",
    )
    Options: ClassVar[type] = TdaOptions

    def observe(
        self, bank: tuple[Cache, Cache] | None, embeddings: Tensor, similarities: Tensor
    ) -> tuple[Cache, Cache]:
        """The positive and the negative cache with these queries in them."""
        options = self.options
        logits = similarities / options.temperature
        entropies, items = entropy(logits), logits.argmax(dim=1)
        likely = logits.softmax(dim=1)
        likely = (likely > UNLIKELY) & (likely < 1)
        share = entropies / max(math.log2(similarities.shape[1]), 1e-12)
        unsure = (share > UNSURE[0]) & (share < UNSURE[1])
        new = tuple(Cache(embeddings, items, entropies, said) for said in (likely[:, :0], likely))
        old = bank or tuple(cache.at(slice(0)) for cache in new)
        enters = torch.ones_like(unsure), unsure
        capacities = options.capacity, options.negative_capacity
        ranked = list(map(Cache.ranked, old, new, enters, capacities))
        counts = torch.stack([count for _, count in ranked]).tolist()  # the only wait for both
        positive, negative = (
            cache.first(count, options.cache_size)
            for (cache, _), count in zip(ranked, counts, strict=True)
        )
        return positive, negative

    def answer(
        self, embeddings: Tensor, similarities: Tensor, bank: tuple[Cache, Cache]
    ) -> StepOutput:
        """Logits with what the caches say."""
        options, (positive, negative) = self.options, bank
        near = nearness(embeddings, positive, options.beta)
        added = torch.zeros_like(similarities).index_add_(1, positive.items, near)
        scores = similarities / options.temperature + options.alpha * added
        if options.negative_alpha > 0 and len(negative):
            near = nearness(embeddings, negative, options.negative_beta)
            scores = scores - options.negative_alpha * near @ negative.likely.to(near.dtype)
        log = {"cached": float(len(positive)), "cached_against": float(len(negative))}
        return StepOutput(scores, embeddings, log)


def nearness(embeddings: Tensor, cache: Cache, beta: float) -> Tensor:
    """exp(-beta (1 - z_i . k_c)), (B, C)."""
    return (beta * (embeddings @ cache.keys.T - 1)).exp()
