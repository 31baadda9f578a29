"""Ranks of a batch of queries: within their section's gallery, without what is excluded."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from benchmark.data.retrieval import Relevance, RetrievalSet
from benchmark.metrics import ranks as metrics

ROUNDING = 2.0**-16
"""Share of a row's largest score by which rounding alone may part equal items, also after a method
has sharpened the scores (a logit scale of 100 makes 1e-5 of a float32 product's 1e-7)."""

_CODED_AT_ONCE = 4096
"""Gallery rows compared at once, which bounds the memory."""


def gallery_of(data: RetrievalSet, section: int) -> slice:
    """Where the gallery of a section's queries lies; all of it where there are no sections."""
    return data.sections.gallery(section) if data.sections else slice(0, len(data.gallery))


@dataclass(frozen=True)
class Copies:
    """Gallery items whose embedding stands earlier in the gallery too, bit for bit.

    Attributes:
        later: (C,) int64 indices of the items.
        first: (C,) int64 the first item with the same embedding.
    """

    later: Tensor
    first: Tensor


def copies_of(gallery: Tensor) -> Copies | None:
    """The copies among the (N, D) float32 rows of a gallery; None where there are none."""
    bits = gallery.detach().contiguous().view(torch.int32)
    # Integer sums are exact in any order, so equal rows have equal codes; the reverse is checked.
    fixed = torch.Generator().manual_seed(0)
    factors = torch.randint(1 << 62, (bits.shape[1],), generator=fixed).to(gallery.device)
    # Into one tensor: small ones between the large blocks would keep the allocator from reusing
    # the room of a block for the next, and a gallery's codes would take twice its memory.
    codes = torch.empty(len(bits), dtype=torch.int64, device=gallery.device)
    for block, of_block in zip(
        bits.split(_CODED_AT_ONCE), codes.split(_CODED_AT_ONCE), strict=True
    ):
        torch.sum(block.long().mul_(factors), dim=1, out=of_block)
    values, number = torch.unique(codes, return_inverse=True)
    if len(values) == len(codes):
        return None
    places = torch.arange(len(codes), device=gallery.device)
    first = torch.full_like(values, len(codes)).scatter_reduce(0, number, places, "amin")[number]
    later = torch.nonzero(first < places)[:, 0]
    later = later[(bits[later] == bits[first[later]]).all(dim=1)]
    return Copies(later, first[later]) if len(later) else None


def settled(scores: Tensor, copies: Copies | None) -> Tensor:
    """The scores with equal ones for equal items, so that the tie rule decides between them.

    A matrix product adds up the columns at its edges in another order, so items with the same
    embedding can come out with scores that differ by rounding. Where no more than that lies between
    them, a copy gets the score of the first; a larger difference is the method's will and stays.

    Args:
        scores: (B, N) against the gallery; not changed.
        copies: the gallery's.
    """
    if copies is None:
        return scores
    own, first = scores[:, copies.later], scores[:, copies.first]
    share = max(ROUNDING, 2 * torch.finfo(scores.dtype).eps)
    room = share * scores.abs().amax(dim=1, keepdim=True)
    scores = scores.clone()
    scores[:, copies.later] = torch.where((own - first).abs() <= room, first, own)
    return scores


def rank(
    scores: Tensor, data: RetrievalSet, queries: np.ndarray, section: int = 0
) -> list[np.ndarray]:
    """Rank of each relevant item of each query, as ``ranks.item_ranks`` gives them.

    Args:
        scores: (B, N) against the gallery of the queries' section; it is not changed.
        data: what is retrieved.
        queries: (B,) query indices, all of one section.
        section: that section.

    Raises:
        ValueError: NaN scores or a wrong shape.
    """
    relevant = _rows(data.relevance, queries, gallery_of(data, section).start)
    return metrics.item_ranks(without_excluded(scores, data, queries, section), relevant)


def without_excluded(
    scores: Tensor, data: RetrievalSet, queries: np.ndarray, section: int = 0
) -> Tensor:
    """The scores (as for ``rank``) with -inf at items that do not take part; a copy if any."""
    if data.excluded is None:
        return scores
    scores = scores.clone()
    start = gallery_of(data, section).start
    for row, items in enumerate(_rows(data.excluded, queries, start)):
        scores[row, torch.from_numpy(items)] = -torch.inf
    return scores


def subset_ranks(
    scores: Tensor, data: RetrievalSet, queries: np.ndarray, section: int = 0
) -> np.ndarray:
    """Rank of each query's best answer among its subset's candidates alone, (B,) int64.

    Arguments are those of ``rank``; the retrieval set has a ``subset``, in which every query has an
    answer.
    """
    if data.subset is None:
        raise ValueError(f"{data.name!r} has no subsets")
    start = gallery_of(data, section).start
    found = np.empty(len(queries), dtype=np.int64)
    pairs = zip(
        _rows(data.subset, queries, start), _rows(data.relevance, queries, start), strict=True
    )
    for row, (candidates, answers) in enumerate(pairs):
        among = scores[row, torch.from_numpy(candidates)][None]
        places = np.flatnonzero(np.isin(candidates, answers))
        found[row] = metrics.ranks(among, [places])[0][0]
    return found


def _rows(relevance: Relevance, queries: np.ndarray, start: int) -> Sequence[np.ndarray]:
    return [relevance[int(query)] - start for query in queries]
