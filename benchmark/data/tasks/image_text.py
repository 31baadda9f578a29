"""Image-text retrieval: pairs and a query side become a retrieval problem."""

from __future__ import annotations

from collections.abc import Callable
from itertools import chain

import numpy as np

from benchmark.data import captions
from benchmark.data.datasets.base import ImageTextPairs, content_fingerprint
from benchmark.data.retrieval import Items, Relevance, RetrievalSet, Texts
from benchmark.errors import ConfigError

CLEANING = ("blip", "none")
"""Names of the caption cleanings."""


def build(
    pairs: ImageTextPairs,
    *,
    name: str,
    query: str,
    cleaning: str = "blip",
    max_words: int = captions.MAX_WORDS,
) -> RetrievalSet:
    """Makes one side of the pairs the queries and the other the gallery.

    Image queries (or sounds, by ``pairs.modality``) are answered by any of the image's captions,
    text queries by the one image that the caption was written for; where images have identities,
    by everything of the identity; where texts are shared, by every image that has the text.
    Clusters are the images (the identities, where there are some), on both sides.

    Args:
        pairs: what a data set's loader returned.
        name: benchmark id.
        query: ``pairs.modality`` or "text".
        cleaning: "blip" (see ``benchmark.data.captions``) or "none".
        max_words: words that BLIP's cleaning keeps.

    Raises:
        ConfigError: unknown side or cleaning.
    """
    if query not in (pairs.modality, "text"):
        raise ConfigError(f"{name}: query side must be {pairs.modality!r} or 'text', not {query!r}")
    texts = Texts(ids=pairs.caption_ids, values=pairs.captions)
    owner = np.asarray(pairs.caption_image, dtype=np.int64)
    queries: Items
    gallery: Items
    images = np.arange(len(pairs.images), dtype=np.int64)
    identities = images if pairs.identities is None else pairs.identities
    if pairs.shared_texts:
        relevance = _by_text(pairs)
    else:
        relevance = Relevance.from_groups(identities[owner], identities)
    if query == "text":
        queries, gallery, owners = texts, pairs.images, owner
    else:
        queries, gallery, owners = pairs.images, texts, images
        relevance = relevance.transpose(len(images))
    keys = {pairs.modality: owners} | {k: v[owners] for k, v in pairs.image_groups.items()}
    keys |= pairs.caption_groups if query == "text" else {}
    if pairs.identities is not None:
        keys["identity"] = pairs.identities[owners]
    facts = [pairs.fingerprint, query, cleaning, str(max_words)]
    return RetrievalSet(
        name=name,
        query_modality=query,
        gallery_modality=pairs.modality if query == "text" else "text",
        queries=queries,
        gallery=gallery,
        relevance=relevance,
        groups=identities[owners],
        fingerprint=content_fingerprint(chain(facts, queries.ids)),
        clean_text=_cleaner(name, cleaning, max_words),
        info=dict(pairs.info),
        group_keys=keys,
    )


def _by_text(pairs: ImageTextPairs) -> Relevance:
    """Caption -> every image that has a caption of the same letters."""
    having: dict[str, set[int]] = {}
    for text, image in zip(pairs.captions, pairs.caption_image.tolist(), strict=True):
        having.setdefault(text, set()).add(image)
    return Relevance.from_lists([sorted(having[text]) for text in pairs.captions])


def _cleaner(name: str, cleaning: str, max_words: int) -> Callable[[str], str] | None:
    if cleaning == "none":
        return None
    if cleaning == "blip":
        return captions.Cleaning(max_words)
    raise ConfigError(f"{name}: cleaning must be one of {', '.join(CLEANING)}, not {cleaning!r}")
