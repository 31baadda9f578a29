"""Ranks of the relevant items of a batch of queries; what is computed from them is in ``recall``.

Tie rule: an item's rank is one plus the number of items scored strictly higher, plus the number of
equally scored items that come earlier in the gallery; that is, its place in a stable descending
sort. ``-0.0`` equals ``0.0``. Queries are ranked within their section's gallery, without what is
excluded.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from benchmark.data.retrieval import Relevance, RetrievalSet

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
    # What a method has masked is infinite, and no measure of rounding.
    largest = scores.abs().nan_to_num_(posinf=0.0).amax(dim=1, keepdim=True)
    scores = scores.clone()
    scores[:, copies.later] = torch.where((own - first).abs() <= share * largest, first, own)
    return scores


def rank(
    scores: Tensor, data: RetrievalSet, queries: np.ndarray, section: int = 0
) -> list[np.ndarray]:
    """Rank of each relevant item of each query, as ``item_ranks`` gives them.

    Args:
        scores: (B, N) against the gallery of the queries' section; it is not changed.
        queries: (B,) query indices, all of one section.

    Raises:
        ValueError: NaN scores or a wrong shape.
    """
    relevant = _rows(data.relevance, queries, gallery_of(data, section).start)
    return item_ranks(without_excluded(scores, data, queries, section), relevant)


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
        found[row] = item_ranks(among, [places])[0].min()
    return found


def _rows(relevance: Relevance, queries: np.ndarray, start: int) -> Sequence[np.ndarray]:
    return [relevance[int(query)] - start for query in queries]


_SORT_FROM = 32
"""From this many relevant items on, sorting a query's row is cheaper than counting for each."""

_BLOCK_ELEMENTS = 1 << 24
"""Scores compared at once when counting (64 MB of float32), however large the gallery."""


def item_ranks(scores: Tensor, relevant: Sequence[np.ndarray]) -> list[np.ndarray]:
    """Rank of each relevant item.

    Args:
        scores: (B, N) floating point, higher is better, on any device; infinities are allowed.
        relevant: for each of the B queries the gallery indices that answer it, at least one.

    Returns:
        For each query its relevant items' 1-based ranks, in their order, int64.

    Raises:
        ValueError: NaN scores, a wrong shape, an index outside the gallery, a query without
            a relevant item.

    >>> item_ranks(torch.tensor([[0.5, 0.9, 0.7]]), [np.array([0, 2])])
    [array([3, 2])]
    """
    _check(scores)
    check_answers(relevant, *scores.shape)
    lengths = np.array([len(items) for items in relevant], dtype=np.int64)
    found: list[np.ndarray] = [np.empty(0, np.int64)] * len(relevant)
    for row in np.flatnonzero(lengths >= _SORT_FROM).tolist():
        # Adding zero turns -0.0 into 0.0, which a radix sort would otherwise tell apart.
        order = torch.sort(scores[row] + 0.0, descending=True, stable=True).indices
        place = torch.empty_like(order)
        place[order] = torch.arange(1, len(order) + 1, device=order.device)
        found[row] = np.asarray(place.cpu().numpy()[relevant[row]])
    few = np.flatnonzero(lengths < _SORT_FROM).tolist()
    if few:
        count = _by_counting if scores.device.type == "cpu" else _by_counting_on_device
        counted = count(
            scores,
            np.repeat(few, lengths[few]),
            np.concatenate([relevant[row] for row in few]).astype(np.int64),
        )
        for row, part in zip(few, np.split(counted, np.cumsum(lengths[few])[:-1]), strict=True):
            found[row] = part
    return found


def _check(scores: Tensor) -> None:
    if scores.ndim != 2 or not scores.is_floating_point():
        raise ValueError(
            f"scores must be a floating-point (queries, gallery) matrix, "
            f"not {scores.dtype} of shape {tuple(scores.shape)}"
        )
    # A row with NaN has the sum NaN; one of both infinities too, so it is looked at again.
    missing = torch.isnan(scores.sum(dim=1))
    if missing.any():
        missing = torch.isnan(scores).any(dim=1)
    if missing.any():
        first = int(missing.nonzero()[0])
        raise ValueError(
            f"scores hold NaN (row {first} first, {int(missing.sum())} of {len(scores)} rows): "
            "they cannot be ranked"
        )


def check_answers(relevant: Sequence[np.ndarray], queries: int, size: int) -> None:
    """Raises ValueError unless each query has answers, all within a gallery of that size."""
    if len(relevant) != queries:
        raise ValueError(f"{queries} queries but {len(relevant)} sets of answers")
    for query, items in enumerate(relevant):
        if np.ndim(items) != 1:
            raise ValueError(f"query {query} has {items!r} as answers; expected a list")
        if not len(items):
            raise ValueError(f"query {query} has no relevant gallery item")
        if (kind := np.asarray(items).dtype).kind not in "iu":
            raise ValueError(f"query {query} has answers of {kind}; expected whole numbers")
        if min(items) < 0 or max(items) >= size:
            raise ValueError(f"query {query} names a relevant item outside the gallery of {size}")


def _by_counting(scores: Tensor, rows: np.ndarray, items: np.ndarray) -> np.ndarray:
    """Ranks of (row, item) pairs by comparing.

    NumPy counts true values some ten times faster than torch does on a CPU.
    """
    # NumPy has no bfloat16; float32 holds it exactly.
    narrow = scores.dtype in (torch.bfloat16, torch.float16)
    values = (scores.float() if narrow else scores).numpy()
    found = np.empty(len(rows), dtype=np.int64)
    for place, (row, item) in enumerate(zip(rows.tolist(), items.tolist(), strict=True)):
        line, own = values[row], values[row, item]
        higher = np.count_nonzero(line > own)
        if np.count_nonzero(line >= own) > higher + 1:
            found[place] = 1 + higher + np.count_nonzero(line[:item] == own)
        else:
            found[place] = 1 + higher
    return found


def _by_counting_on_device(scores: Tensor, rows: np.ndarray, items: np.ndarray) -> np.ndarray:
    """The same where the scores are not in the CPU's memory, some at a time."""
    size = scores.shape[1]
    columns = torch.arange(size, device=scores.device)
    row_of = torch.from_numpy(rows).to(scores.device)
    item_of = torch.from_numpy(items).to(scores.device)
    result = torch.empty_like(row_of)
    pairs = max(1, _BLOCK_ELEMENTS // size)
    for start in range(0, len(row_of), pairs):
        block = scores[row_of[start : start + pairs]]
        item = item_of[start : start + pairs, None]
        own = block.gather(1, item)
        higher = (block > own).sum(dim=1)
        earlier = ((block == own) & (columns < item)).sum(dim=1)
        result[start : start + pairs] = 1 + higher + earlier
    return result.cpu().numpy()
