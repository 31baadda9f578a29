"""Ranks in a gallery that is read in parts, such as a memory-mapped file larger than the memory.

The memory needed is that of one part and its scores, whatever the size of the gallery. Ranks follow
the tie rule of ``ranking``.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import torch
from torch import Tensor

from benchmark.metrics.ranking import check_answers

Rows = Tensor | np.ndarray
"""(N, D) floating-point rows; also a ``numpy.memmap``, of which only slices are read."""

ROWS_AT_ONCE = 1 << 14
"""Gallery rows read at once: 32 MB in float32 with 512 columns."""


@torch.no_grad()
def streamed_ranks(
    queries: Tensor,
    gallery: Rows,
    relevant: Sequence[np.ndarray],
    *,
    rows_at_once: int = ROWS_AT_ONCE,
) -> list[np.ndarray]:
    """Ranks of the relevant items by the inner product with each query.

    Those of ``item_ranks(queries @ gallery.T, relevant)`` but for rounding. The gallery is read
    twice: once for the scores of the relevant items, and once for what is scored higher.

    Args:
        queries: (Q, D) float32.
        gallery: (N, D) rows of any floating-point type; products are float32.
        relevant: for each query the gallery indices that answer it, at least one.
        rows_at_once: rows of one part.

    Returns:
        For each query its relevant items' 1-based ranks, ascending, int64.

    Raises:
        ValueError: shapes that do not fit, an index outside the gallery, a query without a relevant
            item or with one twice, or scores that are NaN.

    >>> gallery = np.array([[0.5, 0.0], [0.9, 0.0], [0.5, 0.0]], dtype=np.float16)
    >>> streamed_ranks(torch.tensor([[1.0, 0.0]]), gallery, [np.array([0, 2])])
    [array([2, 3])]
    """
    _check(queries, gallery, rows_at_once=rows_at_once)
    check_answers(relevant, len(queries), len(gallery))
    lengths = [len(items) for items in relevant]
    if lengths != (distinct := [len(np.unique(items)) for items in relevant]):
        query = int(np.flatnonzero(np.not_equal(lengths, distinct))[0])
        raise ValueError(f"query {query} names a relevant item twice")
    row = np.repeat(np.arange(len(queries)), lengths)
    item = np.concatenate([np.asarray(items, dtype=np.int64) for items in relevant])
    own = np.empty(len(item), dtype=np.float32)
    wanted = set((item // rows_at_once).tolist())
    # By the same products as below, so that an item has one score.
    for start, scores in _scores(queries, gallery, rows_at_once, wanted):
        here = (item >= start) & (item < start + scores.shape[1])
        own[here] = scores[row[here], item[here] - start]
    rank = np.ones(len(item), dtype=np.int64)
    for start, scores in _scores(queries, gallery, rows_at_once):
        for place, (line, before) in enumerate(zip(row, (item - start).tolist(), strict=True)):
            # Equal items that come earlier count; the item itself and later ones do not.
            split = min(max(before, 0), scores.shape[1])
            rank[place] += np.count_nonzero(scores[line, :split] >= own[place])
            rank[place] += np.count_nonzero(scores[line, split:] > own[place])
    return [np.sort(part) for part in np.split(rank, np.cumsum(lengths)[:-1])]


@torch.no_grad()
def streamed_top(
    queries: Tensor, gallery: Rows, k: int, *, rows_at_once: int = ROWS_AT_ONCE
) -> tuple[Tensor, Tensor]:
    """The k best gallery items of each query: exact candidates, in one pass over the gallery.

    Among equal scores at the k-th place it is the library's choice which item is in.

    Args:
        queries: (Q, D) float32.
        gallery: (N, D) rows of any floating-point type; products are float32.
        k: how many; all where the gallery has fewer.
        rows_at_once: rows of one part.

    Returns:
        Scores (Q, k) float32, descending, and indices (Q, k) int64.

    Raises:
        ValueError: shapes that do not fit, ``k`` below 1, or scores that are NaN.
    """
    _check(queries, gallery, k=k, rows_at_once=rows_at_once)
    best = torch.empty(len(queries), 0)
    items = torch.empty(len(queries), 0, dtype=torch.int64)
    for start, scores in _scores(queries, gallery, rows_at_once):
        found, places = torch.from_numpy(scores).topk(min(k, scores.shape[1]), dim=1)
        both = torch.cat([best, found], dim=1)
        best, order = both.topk(min(k, both.shape[1]), dim=1)
        items = torch.cat([items, places + start], dim=1).gather(1, order)
    return best, items


def _check(queries: Tensor, gallery: Rows, **counts: int) -> None:
    if not (isinstance(queries, Rows) and isinstance(gallery, Rows)):
        kinds = f"{type(queries).__name__} and {type(gallery).__name__}"
        raise ValueError(f"expected queries and gallery as tensors or arrays, not {kinds}")
    if queries.ndim != 2 or gallery.ndim != 2 or queries.shape[1] != gallery.shape[1]:
        raise ValueError(
            "expected queries (Q, D) and a gallery (N, D), not "
            f"{tuple(queries.shape)} and {tuple(gallery.shape)}"
        )
    if not len(queries) or not len(gallery):
        raise ValueError(f"{len(queries)} queries and {len(gallery)} items cannot be ranked")
    for name, count in counts.items():
        if count < 1:
            raise ValueError(f"expected {name} of at least 1, not {count}")


def _scores(
    queries: Tensor, gallery: Rows, rows: int, wanted: set[int] | None = None
) -> Iterator[tuple[int, np.ndarray]]:
    """(first row, (Q, rows) float32 scores) of all parts of the gallery, or of the wanted ones."""
    left = torch.as_tensor(queries).float()
    for number, start in enumerate(range(0, len(gallery), rows)):
        if wanted is not None and number not in wanted:
            continue
        part = gallery[start : start + rows]
        # A copy: torch does not take arrays that may not be written to.
        block = torch.from_numpy(np.array(part)) if isinstance(part, np.ndarray) else part
        scores = left @ block.to(left.device, torch.float32).T
        if torch.isnan(scores.sum()) and torch.isnan(scores).any():
            raise ValueError(f"scores hold NaN (items from {start} on): they cannot be ranked")
        yield start, scores.cpu().numpy()
