"""TCR's queue of source-like query-candidate pairs."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional

from methods.centring import sound_rows
from methods.objectives import modality_gap, smallest_count

Indicator = Callable[[Tensor, Tensor], Tensor]
"""(B, D) queries and their candidates -> (B,), small where a pair is reliable."""

Pairs = tuple[Tensor, Tensor, Tensor, Tensor]
"""(M,) indicators, (M, D) queries, (M, D) candidates and (M,) entropies."""


class ReliableQueue:
    """Keeps the pairs that look most like the source domain (Li et al., ICLR 2025).

    A pair's indicator is SI = 2 ||z - c|| - ||z - mean z|| - ||c - mean c||, with the means of the
    batch that it came from; small is source-like. Each update appends the ``ratio`` of the batch
    with the smallest SI; once ``size`` pairs are there, the ``size`` smallest are kept. Another
    ``indicator`` of (queries, candidates) may be given.
    """

    def __init__(self, size: int, ratio: float, indicator: Indicator | None = None) -> None:
        self.size = size
        self.ratio = ratio
        self.indicator = indicator or source_likeness
        self._pairs: Pairs | None = None
        self._reference: tuple[Tensor, Tensor] | None = None

    def __len__(self) -> int:
        return 0 if self._pairs is None else len(self._pairs[0])

    def update(self, queries: Tensor, candidates: Tensor, entropies: Tensor) -> None:
        """Offers one batch.

        Args:
            queries: (B, D) unit rows z.
            candidates: (B, D) unit rows c, each query's top gallery item.
            entropies: (B,) entropies of the refined predictions.
        """
        queries, candidates = queries.detach(), candidates.detach()
        entropies = entropies.detach()
        indicator = self.indicator(queries, candidates)
        best = indicator.argsort(stable=True)[: smallest_count(self.ratio, len(queries))]
        new = (indicator[best], queries[best], candidates[best], entropies[best])
        sound = sound_rows(torch.stack([new[0], new[3]], dim=1))
        found = self._with(new)  # before the wait, so that a GPU has it in hand
        if not bool(sound.all()):
            # A broken query would otherwise sit in the queue for the rest of the stream.
            new = _each(new, sound)
            if len(new[0]) == 0:
                return
            found = self._with(new)
        self._pairs, self._reference = found

    def _with(self, new: Pairs) -> tuple[Pairs, tuple[Tensor, Tensor]]:
        """What is stored and the reference, with more pairs offered."""
        if self._pairs is not None:
            new = _joined(self._pairs, new)
        if len(new[0]) >= self.size:
            new = _each(new, new[0].argsort(stable=True)[: self.size])
        _, z, c, entropies = new
        gap = modality_gap(functional.normalize(z, dim=1), functional.normalize(c, dim=1))
        return new, (entropies.max(), gap)

    def reference(self) -> tuple[Tensor, Tensor] | None:
        """E_m (largest stored entropy) and Delta_S (stored pairs' gap); None while empty."""
        return self._reference

    def pairs(self) -> tuple[Tensor, Tensor] | None:
        """The stored queries and their candidates, (M, D) unit rows each; None while empty."""
        return None if self._pairs is None else self._pairs[1:3]


def source_likeness(queries: Tensor, candidates: Tensor) -> Tensor:
    """TCR's indicator SI of each pair, (B,); small means source-like."""
    pair = (queries - candidates).norm(dim=1)
    query_spread = (queries - queries.mean(dim=0)).norm(dim=1)
    candidate_spread = (candidates - candidates.mean(dim=0)).norm(dim=1)
    return 2 * pair - query_spread - candidate_spread


def _joined(old: Pairs, new: Pairs) -> Pairs:
    a, b, c, d = (torch.cat(pair) for pair in zip(old, new, strict=True))
    return a, b, c, d


def _each(pairs: Pairs, rows: Tensor) -> Pairs:
    a, b, c, d = (part[rows] for part in pairs)
    return a, b, c, d
