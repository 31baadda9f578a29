"""Composed retrieval: reference images with modification texts become a retrieval problem."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from benchmark.data.datasets.base import ComposedQueries, content_fingerprint
from benchmark.data.retrieval import Items, Relevance, RetrievalSet
from shifts.composed import Composed


@dataclass(frozen=True)
class ComposedItems:
    """Composed queries, put together when asked for.

    Each reference image is decoded for its query alone, so whatever a shift does to it never
    reaches the gallery's copy.

    Attributes:
        ids: one id per query.
        images: the images among which the references are.
        references: (queries,) int64 index of each query's reference.
        texts: the modification texts.
    """

    ids: Sequence[str]
    images: Items
    references: np.ndarray
    texts: Sequence[str]

    def __len__(self) -> int:
        return len(self.texts)

    def __getitem__(self, index: int, /) -> Composed:
        image = np.array(self.images[int(self.references[index])])
        return Composed(image, self.texts[index])


def build(queries: ComposedQueries, *, name: str) -> RetrievalSet:
    """Makes composed queries and their images a retrieval problem.

    Clusters are the reference pictures: the data set's group key "image" where it
    has one (a picture may be in several galleries), else the gallery's items.

    Args:
        queries: what a data set's loader returned.
        name: benchmark id.

    Raises:
        DataError: a query without target.
    """
    references = np.asarray(queries.references, dtype=np.int64)
    groups = np.asarray(queries.query_groups.get("image", references), dtype=np.int64)
    subset = None
    if queries.subset is not None:
        subset = Relevance.from_lists(queries.subset, allow_empty=True)
    excluded = None
    if queries.exclude_reference:
        excluded = Relevance(np.arange(len(references) + 1, dtype=np.int64), references)
    return RetrievalSet(
        name=name,
        query_modality="composed",
        gallery_modality="image",
        queries=ComposedItems(queries.query_ids, queries.images, references, queries.texts),
        gallery=queries.images,
        relevance=Relevance.from_lists(queries.targets),
        groups=groups,
        fingerprint=content_fingerprint(
            [queries.fingerprint, "composed", *map(str, queries.recall_at), *queries.query_ids]
        ),
        info=dict(queries.info),
        group_keys={"image": groups, **queries.query_groups},
        recall_at=queries.recall_at,
        excluded=excluded,
        subset=subset,
        sections=queries.sections,
    )
