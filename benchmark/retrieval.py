"""The data that a cell runs on: queries, gallery and which gallery items answer which query."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np

from benchmark.errors import DataError


class Items(Protocol):
    """An indexed collection of raw items, loaded when asked for.

    ``items[i]`` is an (H, W, 3) uint8 array for images and a str for texts.
    """

    @property
    def ids(self) -> Sequence[str]: ...

    def __len__(self) -> int: ...

    def __getitem__(self, index: int, /) -> Any: ...


@dataclass(frozen=True)
class Texts:
    """Captions held in memory."""

    ids: Sequence[str]
    values: Sequence[str]

    def __len__(self) -> int:
        return len(self.values)

    def __getitem__(self, index: int, /) -> str:
        return self.values[index]


@dataclass(frozen=True)
class Relevance:
    """For each query the gallery indices that answer it, as a ragged array.

    Attributes:
        offsets: (Q + 1,) int64; the answers of query q are ``indices[offsets[q]:offsets[q + 1]]``.
        indices: (R,) int64 gallery indices, ascending within a query.
    """

    offsets: np.ndarray
    indices: np.ndarray

    @classmethod
    def from_lists(cls, lists: Sequence[Sequence[int]]) -> Relevance:
        """Builds it from one list of gallery indices per query; an empty list is refused."""
        for query, answers in enumerate(lists):
            if not len(answers):
                raise DataError(f"query {query} has no relevant gallery item")
        lengths = np.fromiter((len(x) for x in lists), dtype=np.int64, count=len(lists))
        offsets = np.concatenate([np.zeros(1, np.int64), np.cumsum(lengths)])
        flat = [np.sort(np.asarray(x, dtype=np.int64)) for x in lists]
        return cls(offsets, np.concatenate(flat) if flat else np.zeros(0, np.int64))

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def __getitem__(self, query: int) -> np.ndarray:
        return self.indices[self.offsets[query] : self.offsets[query + 1]]


@dataclass(frozen=True)
class RetrievalSet:
    """One retrieval problem.

    Attributes:
        name: benchmark id.
        query_modality: "image" or "text".
        gallery_modality: the other one.
        queries: raw query items; shifts apply to these.
        gallery: raw gallery items; always clean.
        relevance: query -> gallery indices.
        groups: (Q,) int64 cluster of each query for the bootstrap (captions of one image together).
        fingerprint: hash of everything above; part of a result's identity.
        clean_text: caption cleaning, applied to gallery captions and to query captions *after*
            the shift, or None.
        info: facts about the data that a result must say (number of missing images ...).
        group_keys: name -> (Q,) int64 group of each query, for streams in correlated order
            ("image": captions of one image). The fingerprint must stand for these too.
    """

    name: str
    query_modality: str
    gallery_modality: str
    queries: Items
    gallery: Items
    relevance: Relevance
    groups: np.ndarray
    fingerprint: str
    clean_text: Callable[[str], str] | None = None
    info: Mapping[str, Any] = field(default_factory=dict)
    group_keys: Mapping[str, np.ndarray] = field(default_factory=dict)
