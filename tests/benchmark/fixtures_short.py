"""The beginning of a retrieval set, for tests that need each set but not all of its items."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np

from benchmark.data.retrieval import Items, Relevance, RetrievalSet, Sections


class Chosen:
    """Some of the items of a collection."""

    def __init__(self, items: Items, indices: np.ndarray) -> None:
        self._items, self._indices = items, indices
        self.ids = tuple(items.ids[i] for i in indices)

    def __len__(self) -> int:
        return len(self._indices)

    def __getitem__(self, index: int, /) -> Any:
        return self._items[int(self._indices[index])]


def shortened(data: RetrievalSet, items: int) -> RetrievalSet:
    """The first ``items`` of the gallery (of each section) and the queries that they suffice for.

    A query stays if one of its answers does, and all that it is not ranked among or compared with.
    """
    bounds = np.array([0, len(data.gallery)]) if data.sections is None else data.sections.bounds
    starts, lengths = bounds[:-1], np.minimum(np.diff(bounds), items)
    kept = np.concatenate([start + np.arange(n) for start, n in zip(starts, lengths, strict=True)])
    place = np.full(len(data.gallery), -1)
    place[kept] = np.arange(len(kept))
    answers = [place[data.relevance[q]] for q in range(len(data.queries))]
    named = [part for part in (data.excluded, data.subset) if part is not None]
    queries = np.array(
        [
            query
            for query, found in enumerate(answers)
            if (found >= 0).any() and all((place[part[query]] >= 0).all() for part in named)
        ]
    )

    def chosen(part: Relevance | None) -> Relevance | None:
        if part is None:
            return None
        return Relevance.from_lists([place[part[q]] for q in queries])

    sections = data.sections and Sections(
        data.sections.names,
        data.sections.of_query[queries],
        np.concatenate([[0], np.cumsum(lengths)]),
    )
    return dataclasses.replace(
        data,
        queries=Chosen(data.queries, queries),
        gallery=Chosen(data.gallery, kept),
        relevance=Relevance.from_lists([answers[q][answers[q] >= 0] for q in queries]),
        groups=np.asarray(data.groups)[queries],
        group_keys={key: groups[queries] for key, groups in data.group_keys.items()},
        excluded=chosen(data.excluded),
        subset=chosen(data.subset),
        sections=sections,
        fingerprint=f"{data.fingerprint} first {items}",
    )
