"""Several retrieval sets as one, each with its own gallery: what an interleaved stream runs on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate
from typing import Any

import numpy as np

from benchmark.data.card import SEPARATOR
from benchmark.data.datasets.base import content_fingerprint
from benchmark.data.retrieval import Items, Relevance, RetrievalSet, Sections, offsets_of
from benchmark.errors import DataError


@dataclass(frozen=True)
class Chain:
    """Collections one after the other; ids stay, so that a query's corruption does too."""

    parts: Sequence[Items]

    @cached_property
    def ids(self) -> Sequence[str]:
        return [item for part in self.parts for item in part.ids]

    @cached_property
    def ends(self) -> np.ndarray:
        return np.cumsum([len(part) for part in self.parts])

    def __len__(self) -> int:
        return int(self.ends[-1])

    def __getitem__(self, index: int, /) -> Any:
        if not 0 <= index < len(self):
            raise IndexError(index)
        part = int(np.searchsorted(self.ends, index, side="right"))
        return self.parts[part][index - (int(self.ends[part - 1]) if part else 0)]


def join(sets: Sequence[RetrievalSet]) -> RetrievalSet:
    """The sets as sections of one; a query is ranked in its own set's gallery only.

    A set that has sections keeps them, as "set/section". Group keys that all sets have stay,
    with other groups in each; recall is reported at the cut-offs that all have.

    Raises:
        DataError: sets whose queries, galleries or caption cleaning differ in kind, or a set that
            occurs twice.
    """
    names = [data.name for data in sets]
    if len(sets) < 2 or len(set(names)) < len(names):
        raise DataError(
            f"interleaving needs at least two different data sets, not {', '.join(names)}"
        )
    kinds = {
        f"{data.query_modality} queries on {data.gallery_modality} galleries": data.name
        for data in sets
    }
    cleanings = {data.clean_text or "none": data.name for data in sets}
    for what, found in (("kind of query", kinds), ("cleaning of captions", cleanings)):
        if len(found) > 1:
            listed = "; ".join(f"{name} has {kind}" for kind, name in found.items())
            raise DataError(f"data sets that share a stream must have the same {what}: {listed}")
    first = sets[0]
    cut_offs = tuple(k for k in first.recall_at if all(k in data.recall_at for data in sets))
    # A set without exclusions excludes nothing.
    none = [Relevance.from_lists([[]] * len(data.queries)) for data in sets]
    excluded = [data.excluded or empty for data, empty in zip(sets, none, strict=True)]
    starts = [0, *accumulate(len(data.gallery) for data in sets)][:-1]
    return RetrievalSet(
        name=SEPARATOR.join(names),
        query_modality=first.query_modality,
        gallery_modality=first.gallery_modality,
        queries=Chain([data.queries for data in sets]),
        gallery=Chain([data.gallery for data in sets]),
        relevance=_joined([data.relevance for data in sets], starts),
        groups=_numbered([data.groups for data in sets]),
        fingerprint=content_fingerprint(["interleaved", *(data.fingerprint for data in sets)]),
        clean_text=first.clean_text,
        info={f"{data.name}/{key}": value for data in sets for key, value in data.info.items()},
        group_keys={
            key: _numbered([data.group_keys[key] for data in sets])
            for key in first.group_keys
            if all(key in data.group_keys for data in sets)
        },
        recall_at=cut_offs,
        excluded=_joined(excluded, starts) if any(data.excluded for data in sets) else None,
        sections=_sections(sets),
    )


def _joined(parts: Sequence[Relevance], starts: Sequence[int]) -> Relevance:
    lengths = np.concatenate([np.diff(part.offsets) for part in parts])
    indices = [part.indices + start for part, start in zip(parts, starts, strict=True)]
    grades = [part.grades for part in parts if part.grades is not None]
    return Relevance(
        offsets_of(lengths),
        np.concatenate(indices),
        np.concatenate(grades) if len(grades) == len(parts) else None,
    )


def _numbered(parts: Sequence[np.ndarray]) -> np.ndarray:
    """Groups of several sets, renumbered so that none is in two sets."""
    of_set = np.repeat(np.arange(len(parts)), [len(part) for part in parts])
    pairs = np.stack([of_set, np.concatenate(parts)])
    return np.unique(pairs, axis=1, return_inverse=True)[1].reshape(-1).astype(np.int64)


def _sections(sets: Sequence[RetrievalSet]) -> Sections:
    names: list[str] = []
    of_query: list[np.ndarray] = []
    sizes: list[int] = []
    for data in sets:
        own = data.sections
        first = len(names)
        if own is None:
            names.append(data.name)
            of_query.append(np.full(len(data.queries), first, dtype=np.int64))
            sizes.append(len(data.gallery))
        else:
            names += [f"{data.name}/{name}" for name in own.names]
            of_query.append(own.of_query + first)
            sizes += np.diff(own.bounds).tolist()
    return Sections(tuple(names), np.concatenate(of_query), np.cumsum([0, *sizes]))
