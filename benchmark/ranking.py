"""Ranks of a batch of queries: within their section's gallery, without what is excluded."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from benchmark import metrics
from benchmark.retrieval import Relevance, RetrievalSet


def gallery_of(data: RetrievalSet, section: int) -> slice:
    """Where the gallery of a section's queries lies; all of it where there are no sections."""
    return data.sections.gallery(section) if data.sections else slice(0, len(data.gallery))


def rank(
    scores: Tensor, data: RetrievalSet, queries: np.ndarray, section: int = 0
) -> list[np.ndarray]:
    """Ranks of the relevant items of each query.

    Args:
        scores: (B, N) against the gallery of the queries' section; it is not changed.
        data: what is retrieved.
        queries: (B,) query indices, all of one section.
        section: that section.

    Returns:
        For each query its relevant items' 1-based ranks, ascending, int64.

    Raises:
        ValueError: NaN scores or a wrong shape.
    """
    relevant = _rows(data.relevance, queries, gallery_of(data, section).start)
    return metrics.ranks(without_excluded(scores, data, queries, section), relevant)


def without_excluded(
    scores: Tensor, data: RetrievalSet, queries: np.ndarray, section: int = 0
) -> Tensor:
    """The scores with -inf at items that do not take part; a copy where there are any.

    Args:
        scores: as for ``rank``, and the others too.
        data: what is retrieved.
        queries: (B,) query indices, all of one section.
        section: that section.
    """
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

    Args:
        scores: as for ``rank``.
        data: a retrieval set with ``subset``; every query has an answer among its candidates.
        queries: (B,) query indices, all of one section.
        section: that section.
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
