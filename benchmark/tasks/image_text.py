"""Image-text retrieval: pairs and a query side become a retrieval problem."""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from benchmark import captions
from benchmark.datasets.base import ImageTextPairs, content_fingerprint
from benchmark.errors import ConfigError
from benchmark.retrieval import Items, Relevance, RetrievalSet, Texts

CLEANING = ("blip", "none")
"""Names of the caption cleanings."""


@dataclass(frozen=True)
class Subset:
    """Some items of a collection, in its order."""

    items: Items
    indices: np.ndarray
    ids: Sequence[str]

    def __len__(self) -> int:
        return len(self.indices)

    def __getitem__(self, index: int, /) -> Any:
        return self.items[int(self.indices[index])]


def build(
    pairs: ImageTextPairs,
    *,
    name: str,
    query: str,
    cleaning: str = "blip",
    max_words: int = captions.MAX_WORDS,
    limit: int | None = None,
) -> RetrievalSet:
    """Makes one side of the pairs the queries and the other the gallery.

    Image queries are answered by any of the image's captions, text queries by the one image that
    the caption was written for. The bootstrap's groups are the images, on both sides.

    Args:
        pairs: what a data set's loader returned.
        name: benchmark id.
        query: "image" or "text".
        cleaning: "blip" (see ``benchmark.captions``) or "none".
        max_words: words that BLIP's cleaning keeps.
        limit: use only this many queries: a fixed subset that depends on the ids alone, and of
            which a smaller limit takes a part. The gallery stays whole.

    Raises:
        ConfigError: unknown side or cleaning, or a limit below 1.
    """
    if query not in ("image", "text"):
        raise ConfigError(f"{name}: query side must be 'image' or 'text', not {query!r}")
    texts = Texts(ids=pairs.caption_ids, values=pairs.captions)
    owner = np.asarray(pairs.caption_image, dtype=np.int64)
    queries: Items
    gallery: Items
    if query == "image":
        queries, gallery = pairs.images, texts
        relevance = _captions_of_images(owner, len(pairs.images))
        groups = np.arange(len(pairs.images), dtype=np.int64)
    else:
        queries, gallery = texts, pairs.images
        relevance = Relevance(np.arange(len(owner) + 1, dtype=np.int64), owner)
        groups = owner
    chosen = fixed_subset(queries.ids, limit)
    if chosen is not None:
        queries = Subset(queries, chosen, [queries.ids[i] for i in chosen])
        relevance = Relevance.from_lists([list(relevance[i]) for i in chosen])
        groups = groups[chosen]
    return RetrievalSet(
        name=name,
        query_modality=query,
        gallery_modality="text" if query == "image" else "image",
        queries=queries,
        gallery=gallery,
        relevance=relevance,
        groups=groups,
        fingerprint=content_fingerprint(
            [pairs.fingerprint, query, cleaning, str(max_words), *queries.ids]
        ),
        clean_text=_cleaner(name, cleaning, max_words),
        info=dict(pairs.info),
        group_keys={"image": groups} | {k: v[groups] for k, v in pairs.image_groups.items()},
    )


def fixed_subset(ids: Sequence[str], limit: int | None) -> np.ndarray | None:
    """Ascending indices of the ``limit`` ids with the smallest hashes; None where all are used.

    No random state is involved, so that the subset is the same for every seed and machine.
    """
    if limit is None:
        return None
    if limit < 1:
        raise ConfigError(f"the limit on queries must be at least 1, not {limit}")
    if limit >= len(ids):
        return None
    order = sorted(range(len(ids)), key=lambda i: hashlib.sha256(ids[i].encode()).digest())
    return np.sort(np.array(order[:limit], dtype=np.int64))


def _captions_of_images(owner: np.ndarray, images: int) -> Relevance:
    counts = np.bincount(owner, minlength=images)
    offsets = np.concatenate([np.zeros(1, np.int64), np.cumsum(counts)])
    return Relevance(offsets, np.argsort(owner, kind="stable").astype(np.int64))


def _cleaner(name: str, cleaning: str, max_words: int) -> Callable[[str], str] | None:
    if cleaning == "none":
        return None
    if cleaning == "blip":
        return functools.partial(captions.clean, max_words=max_words)
    raise ConfigError(f"{name}: cleaning must be one of {', '.join(CLEANING)}, not {cleaning!r}")
