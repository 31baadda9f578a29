"""The data that a cell runs on: queries, gallery and which gallery items answer which query."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np

from benchmark.errors import DataError

SUBSET_AT = (1, 2, 3)
"""Cut-offs of the subset recall (CIRR's own)."""

RECALL_AT = (1, 5, 10)
"""The cut-offs that are reported unless a retrieval set has its own."""

NDCG_AT = 10
"""k of the nDCG that graded relevance is judged by."""

NDCG = f"nDCG@{NDCG_AT}"


class Items(Protocol):
    """An indexed collection of raw items, loaded when asked for.

    ``items[i]`` is an (H, W, 3) uint8 array for images, a str for texts, (T, H, W, 3) uint8 for
    videos, a ``shifts.base.Audio`` for audios, a ``shifts.base.Composed`` for composed
    queries.
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
        grades: (R,) float64 grade of each answer, above 0; None where all answers are equal.
    """

    offsets: np.ndarray
    indices: np.ndarray
    grades: np.ndarray | None = None

    @classmethod
    def from_lists(cls, lists: Sequence[Sequence[int]]) -> Relevance:
        """Builds it from a list of gallery indices for each query; one said twice counts once."""
        flat = [np.unique(np.asarray(answers, dtype=np.int64)) for answers in lists]
        lengths = np.array([len(answers) for answers in flat], dtype=np.int64)
        return cls(offsets_of(lengths), np.concatenate([np.zeros(0, np.int64), *flat]))

    @classmethod
    def from_groups(cls, queries: np.ndarray, gallery: np.ndarray) -> Relevance:
        """Every query is answered by all gallery items of its group (identity, product).

        Args:
            queries: (Q,) int64 group of each query.
            gallery: (N,) int64 group of each gallery item.
        """
        order = np.argsort(gallery, kind="stable").astype(np.int64)
        grouped = gallery[order]
        first = np.searchsorted(grouped, queries, side="left")
        lengths = np.searchsorted(grouped, queries, side="right") - first
        offsets = offsets_of(lengths)
        places = np.arange(offsets[-1]) + np.repeat(first - offsets[:-1], lengths)  # piece by piece
        return cls(offsets, order[places])

    def transpose(self, gallery_size: int) -> Relevance:
        """For each gallery item the queries that it answers, ascending; may be none.

        Args:
            gallery_size: N, the number of gallery items.
        """
        lengths = np.bincount(self.indices, minlength=gallery_size)
        queries = np.repeat(np.arange(len(self), dtype=np.int64), np.diff(self.offsets))
        return Relevance(offsets_of(lengths), queries[np.argsort(self.indices, kind="stable")])

    def pairs(self, gallery_size: int) -> np.ndarray:
        """(R,) int64: one number for each query and item of a gallery of that size."""
        queries = np.repeat(np.arange(len(self), dtype=np.int64), np.diff(self.offsets))
        return queries * gallery_size + self.indices

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def __getitem__(self, query: int) -> np.ndarray:
        return self.indices[self.offsets[query] : self.offsets[query + 1]]

    def grades_of(self, query: int) -> np.ndarray:
        """The grades of a query's answers, in the order of ``self[query]``; ones if it has none."""
        if self.grades is None:
            return np.ones(len(self[query]))
        return self.grades[self.offsets[query] : self.offsets[query + 1]]


def offsets_of(lengths: np.ndarray) -> np.ndarray:
    """(L + 1,) int64: where pieces of these (L,) lengths begin and end when laid end to end."""
    return np.concatenate([np.zeros(1, np.int64), np.cumsum(lengths)])


@dataclass(frozen=True)
class Sections:
    """Parts of a retrieval problem with galleries of their own.

    A query is ranked against its own section's items only. FashionIQ's categories and interleaved
    data sets are of this kind.

    Attributes:
        names: one per section.
        of_query: (Q,) int64 section of each query.
        bounds: (S + 1,) int64; gallery items ``bounds[s]`` to ``bounds[s + 1] - 1`` are section
            s's.

    Raises:
        DataError: numbers that do not fit together, or a section without gallery item.
    """

    names: tuple[str, ...]
    of_query: np.ndarray
    bounds: np.ndarray

    def __post_init__(self) -> None:
        sections = len(self.names)
        if not sections or self.bounds.shape != (sections + 1,) or self.bounds[0] != 0:
            raise DataError(f"{sections} sections do not fit bounds of shape {self.bounds.shape}")
        if not (np.diff(self.bounds) > 0).all():
            raise DataError("every section needs a gallery item")
        if not np.isin(self.of_query, np.arange(sections)).all():
            raise DataError(f"a query names a section outside 0 to {sections - 1}")

    def gallery(self, section: int) -> slice:
        """Where a section's items lie in the whole gallery."""
        return slice(int(self.bounds[section]), int(self.bounds[section + 1]))


@dataclass(frozen=True)
class RetrievalSet:
    """One retrieval problem.

    Attributes:
        name: benchmark id.
        query_modality: "image", "text", "video", "audio" or "composed".
        gallery_modality: what the gallery holds: the other one, images for composed queries.
        queries: raw query items; shifts apply to these.
        gallery: raw gallery items; always clean.
        relevance: query -> gallery indices.
        groups: (Q,) int64 cluster of each query for intervals (captions of one image together).
        fingerprint: hash of everything above; part of a result's identity.
        clean_text: caption cleaning, applied to gallery captions and to query captions *after*
            the shift, or None.
        info: facts about the data that a result must say (number of missing images ...).
        group_keys: name -> (Q,) int64 group of each query, for streams in correlated order
            ("image": captions of one image). The fingerprint must stand for these too.
        recall_at: cut-offs k of the recalls to report, ascending, beginning with 1.
        excluded: for each query the gallery items left out of its ranking, or None (CIRR: the
            reference image).
        subset: for each query the candidates of ``R_subset@k``, or None (CIRR).
        sections: parts with galleries of their own, or None for one gallery.
        headline: the metrics that the benchmark is known by.
        labelled: False for a query log: ``relevance`` is empty and nothing can be scored.
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
    recall_at: tuple[int, ...] = RECALL_AT
    excluded: Relevance | None = None
    subset: Relevance | None = None
    sections: Sections | None = None
    headline: tuple[str, ...] = ("R@1",)
    labelled: bool = True

    @property
    def metrics(self) -> tuple[str, ...]:
        """Names of the metrics over all queries that its records hold."""
        if not self.labelled:
            return ()
        return (
            *(f"R@{k}" for k in self.recall_at),
            *("mean_recall", "mAP"),
            *((NDCG,) if self.relevance.grades is not None else ()),
            *(f"section_R@{k}" for k in self.recall_at if self.sections is not None),
            *(f"R_subset@{k}" for k in SUBSET_AT if self.subset is not None),
        )


def checked(data: RetrievalSet) -> RetrievalSet:
    """The set, if its recall can be measured, or none is asked for; raises DataError otherwise."""
    if wrong := _malformed(data):
        raise DataError(f"benchmark {data.name!r}: {wrong}")
    if not len(data.queries):
        raise DataError(f"benchmark {data.name!r} has no queries")
    if not data.labelled:
        if len(data.gallery) < 2:
            raise DataError(
                f"benchmark {data.name!r} has a gallery of {len(data.gallery)}, so that every "
                "query has the same first candidate; expected at least 2 items"
            )
        return data
    size, largest = len(data.gallery), max(data.recall_at)
    if data.sections is not None:
        size = int(np.diff(data.sections.bounds).min())
    if size < largest:
        raise DataError(
            f"benchmark {data.name!r} has a gallery of {size}; recall at {largest} needs at least "
            f"{largest} items: use a larger gallery"
        )
    if not np.diff(data.relevance.offsets).all():
        query = data.queries.ids[int(np.argmin(np.diff(data.relevance.offsets)))]
        raise DataError(f"benchmark {data.name!r}: query {query!r} has no relevant gallery item")
    return data


def _malformed(data: RetrievalSet) -> str:
    """What of a set is of another kind than its fields say; plugins and callers make their own."""
    for side in ("queries", "gallery"):
        items = getattr(data, side)
        if not all(hasattr(items, name) for name in ("ids", "__len__", "__getitem__")):
            return (
                f"{side} is a {type(items).__name__}; expected items with ids, such as "
                "Texts(ids, texts)"
            )
        if len(items.ids) != len(items):
            return f"{side} are {len(items)} items with {len(items.ids)} ids"
    count, size, parts = len(data.queries), len(data.gallery), data.sections
    for name, numbers in {"groups": data.groups, **data.group_keys}.items():
        groups = np.asarray(numbers)
        if groups.shape != (count,) or groups.dtype.kind not in "iu":
            what = f"are {groups.dtype}, shape {groups.shape}; expected ({count},) int64"
            return f"{name} of the queries {what}"
    if parts and (parts.of_query.shape != (count,) or parts.bounds[-1] != size):
        return f"its sections are not those of {count} queries and {size} items"
    of_query, of_item = np.zeros(count, np.int64), np.zeros(size, np.int64)
    if parts:
        of_query, of_item = (
            parts.of_query,
            np.repeat(range(len(parts.names)), np.diff(parts.bounds)),
        )
    for side, items, of in (
        ("queries", data.queries, of_query),
        ("gallery", data.gallery, of_item),
    ):
        # By their hashes: millions of texts at once would fill memory.
        pairs = zip(of.tolist(), items.ids, strict=True)
        _, first = np.unique(np.fromiter(map(hash, pairs), np.int64), return_index=True)
        if len(first) < len(items):
            doubled = items.ids[int(np.delete(np.arange(len(items)), first)[0])]
            within = " in one section" if parts else ""
            return f"{side} has the id {doubled!r} twice{within}; expected one for each item"
    for name in ("relevance", "excluded", "subset"):
        found = getattr(data, name)
        if found is None and name != "relevance":
            continue
        if not isinstance(found, Relevance):
            return (
                f"{name} is a {type(found).__name__}; expected a Relevance, such as "
                "Relevance.from_lists([[0], [2, 5]])"
            )
        if wrong := _unsound(found, size):
            return f"{name} {wrong}"
        if len(found) != count:
            return f"{name} speaks of {len(found)} queries; there are {count}"
        if parts is not None:
            own = np.repeat(parts.of_query, np.diff(found.offsets))
            if (np.searchsorted(parts.bounds, found.indices, side="right") - 1 != own).any():
                return f"{name} names an item of another section than its query's"
    answers = data.relevance.pairs(size)
    if data.excluded is not None and np.isin(data.excluded.pairs(size), answers).any():
        return "an item that answers a query is excluded from its ranking"
    if data.subset is not None:
        among = data.subset.pairs(size)
        if len(np.unique(among[np.isin(among, answers)] // size)) < count:
            return "subset lacks every answer of some query; expected at least one"
    cuts: Any = data.recall_at
    if not isinstance(cuts, tuple) or cuts[:1] != (1,) or any(type(k) is not int for k in cuts):
        return f"recall_at is {cuts!r}; expected whole numbers from 1 on, such as (1, 5, 10)"
    if isinstance(data.headline, str):
        return f"headline is {data.headline!r}; expected a tuple of names: ({data.headline!r},)"
    if list(cuts) != sorted(set(cuts)):
        return f"recall_at is {cuts!r}; expected each number once, ascending"
    if not isinstance(data.fingerprint, str) or not data.fingerprint:
        return f"fingerprint is {data.fingerprint!r}; expected a hash of the data, as a text"
    return ""


def _unsound(answers: Relevance, size: int) -> str:
    """What is wrong with the arrays of answers in a gallery of that size."""
    for name, found in (("offsets", answers.offsets), ("indices", answers.indices)):
        if not isinstance(found, np.ndarray):
            return f"has {name} that are a {type(found).__name__}; expected an array"
        if found.ndim != 1 or found.dtype.kind not in "iu":
            return f"has {name} of {found.dtype}, shape {found.shape}; expected (n,) int64"
    ends = answers.offsets
    if not len(ends) or ends[0] or ends[-1] != len(answers.indices) or (np.diff(ends) < 0).any():
        return f"has offsets that do not ascend from 0 to the {len(answers.indices)} indices"
    if len(answers.indices) and not 0 <= answers.indices.min() <= answers.indices.max() < size:
        return f"names an item outside the gallery of {size}"
    pairs = answers.pairs(size)
    if (np.diff(pairs) <= 0).any() and len(np.unique(pairs)) < len(pairs):
        return "names an item twice for one query; expected each once"
    if answers.grades is not None:
        grades = answers.grades
        right = isinstance(grades, np.ndarray) and grades.dtype.kind in "iuf"
        right = right and grades.shape == pairs.shape
        if not right or not (np.isfinite(grades) & (grades > 0)).all():
            return "has grades that are not one finite number above 0 for each answer"
    return ""
