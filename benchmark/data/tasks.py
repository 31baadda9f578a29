"""Retrieval sets of benchmarks: data sets loaded, and made the problem of their card's task."""

from __future__ import annotations

import dataclasses
import importlib
import re
import sys
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np

from benchmark.data.card import OWN, BenchmarkCard
from benchmark.data.datasets import BUILTINS as DATASETS
from benchmark.data.datasets.base import (
    ClipPairs,
    ComposedQueries,
    DataSet,
    ImageTextPairs,
    content_fingerprint,
    file_digests,
)
from benchmark.data.retrieval import Items, Relevance, RetrievalSet, Texts
from benchmark.errors import ConfigError, DataError, QueryShiftError, reason_of
from shifts.base import Composed

MAX_WORDS = 30
"""BLIP's cut for COCO and Flickr30K (Fashion-Gen takes 77)."""

_PUNCTUATION = str.maketrans(dict.fromkeys('.!"()*#:;~', " "))
_RUN = re.compile(r"\s{2,}")


def clean(text: str, max_words: int = MAX_WORDS) -> str:
    """Normalises a caption the way BLIP's retrieval data sets do.

    In order: lower case; each of ``. ! " ( ) * # : ; ~`` becomes a space; runs of two or more
    white-space characters become one space; a trailing line break and outer spaces go; only the
    first ``max_words`` (at least 1) space-separated words stay. Commas, question marks, apostrophes
    and hyphens are kept. It is applied *after* a corruption, as the reference does. A caption that
    was only punctuation becomes empty and stays a query, so that counts do not move.

    >>> clean('A man ("Bob"), on a well-known hill... ')
    'a man bob , on a well-known hill'
    """
    spaced = text.lower().translate(_PUNCTUATION)
    collapsed = _RUN.sub(" ", spaced).rstrip("\n").strip(" ")
    return " ".join(collapsed.split(" ")[:max_words])


@dataclass(frozen=True)
class Cleaning:
    """``clean`` with its limit: equal limits make equal cleanings."""

    max_words: int = MAX_WORDS

    def __call__(self, text: str) -> str:
        return clean(text, self.max_words)


def load_retrieval_set(
    card: BenchmarkCard,
    root: Path | None = None,
    *,
    split: str | None = None,
    allow_missing: bool = False,
) -> RetrievalSet:
    """Loads a benchmark's data.

    Args:
        root: the user's folder of data sets; None for embedded data; of own data the text that
            says where they lie (``OwnSource.text``).
        split: another split than the card's; its counts are not checked.
        allow_missing: run on what is there; ``info`` of the result says so, with the counts.

    Raises:
        DataError: data missing or malformed, of another task, or counts that differ from the
            card's.
    """
    if card.suite == OWN:
        from benchmark.data.own.load import load_own

        if root is None:
            raise DataError(f"{card.id} was given in memory; only its caller can run it again")
        return load_own(card, str(root), allow_missing=allow_missing)
    loaded = loader_of(card)(root, split=split or card.split, allow_missing=allow_missing)
    info = {**loaded.info, **loaded.counts}
    if allow_missing:
        info["allow_missing"] = True
    if split in (None, card.split) and loaded.counts != card.counts:
        if not allow_missing:
            found, expected = map(_listed, (loaded.counts, card.counts))
            raise DataError(
                f"{loaded.name} has {found}; {card.id} expects {expected}; complete the copy, or "
                "run on what is there with --allow-missing (the result will say so)"
            )
        info |= {f"expected_{name}": count for name, count in card.counts.items()}
    built = build(card, dataclasses.replace(loaded, info=info))
    if unknown := [name for name in card.headline if name not in built.metrics]:
        raise DataError(
            f"{card.id} names {', '.join(unknown)} as its headline, which its data do not give; "
            f"they give {', '.join(built.metrics)}"
        )
    return dataclasses.replace(built, headline=tuple(card.headline))


def loader_of(card: BenchmarkCard) -> Callable[..., DataSet]:
    """The function that loads a benchmark's data set.

    Raises:
        DataError: it cannot be imported.
    """
    target = DATASETS.get(card.dataset, card.dataset)
    module, _, name = target.partition(":")
    try:
        load: Callable[..., DataSet] = getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError) as error:
        raise DataError(f"the loader {target!r} of {card.id} cannot be imported: {error}") from None
    return load if card.dataset in DATASETS else partial(_by_plugin, load, card)


def _by_plugin(
    load: Callable[..., DataSet], card: BenchmarkCard, root: Path | None, **how: Any
) -> DataSet:
    who = f"the loader of {card.id} ({card.dataset})"
    try:
        loaded = load(root, **how)
    except Exception as error:  # it may raise anything
        if isinstance(error, QueryShiftError):
            raise
        file = sys.modules[card.dataset.partition(":")[0]].__file__
        lines = [p.lineno for p in traceback.extract_tb(error.__traceback__) if p.filename == file]
        place = f" in line {lines[-1]}" if lines else ""
        raise DataError(f"{who} failed{place}: {reason_of(error)}") from error
    if not isinstance(loaded, DataSet):
        kinds = "ImageTextPairs, ClipPairs or ComposedQueries"
        raise DataError(f"{who} gave a {type(loaded).__name__}; expected {kinds}")
    return loaded


def _listed(counts: Mapping[str, int]) -> str:
    return " and ".join(f"{count} {name}" for name, count in counts.items())


def by_content(data: RetrievalSet) -> RetrievalSet:
    """A retrieval set whose fingerprint stands for the content of every file that it names.

    Built-in sets see to that themselves, with ``digests`` beside their ``paths``. A plugin's may
    go by names and sizes; the content of its files comes in here.

    Raises:
        DataError: a file that cannot be read.
    """
    items = (data.queries, data.gallery)
    files = list(dict.fromkeys(path for part in items for path in _paths(part, digested=False)))
    if not files:
        return data
    print_ = content_fingerprint([data.fingerprint, *file_digests(files)])
    return dataclasses.replace(data, fingerprint=print_)


def files_of(data: RetrievalSet) -> list[Path]:
    """Every file that the items of a retrieval set name, sorted."""
    return sorted({path for items in (data.queries, data.gallery) for path in _paths(items)})


def _paths(thing: Any, *, digested: bool = True) -> Iterator[Path]:
    """The paths in the fields of a dataclass and in the sequences that these hold.

    Args:
        digested: look also where the digests of the files lie beside their paths.
    """
    if isinstance(thing, Path):
        yield thing
    elif dataclasses.is_dataclass(thing) and not isinstance(thing, type):
        if digested or not getattr(thing, "digests", ()):
            for field in dataclasses.fields(thing):
                yield from _paths(getattr(thing, field.name), digested=digested)
    elif isinstance(thing, list | tuple) and any(
        isinstance(first, Path | list | tuple) or dataclasses.is_dataclass(first)
        for first in thing[:1]
    ):
        for part in thing:
            yield from _paths(part, digested=digested)


def build(card: BenchmarkCard, loaded: DataSet) -> RetrievalSet:
    """A data set as the retrieval problem of its card's task; DataError for one of another task."""
    if card.task in ("image_text", "audio_text") and isinstance(loaded, ImageTextPairs):
        return build_pairs(
            loaded, name=card.id, query=card.query, cleaning=card.cleaning, max_words=card.max_words
        )
    if card.task == "video_audio" and isinstance(loaded, ClipPairs):
        return build_clips(loaded, name=card.id, query=card.query)
    if card.task == "composed" and isinstance(loaded, ComposedQueries):
        return build_composed(loaded, name=card.id)
    raise DataError(
        f"{card.id} is a benchmark of task {card.task!r}, but its loader returned "
        f"{type(loaded).__name__}"
    )


def build_pairs(
    pairs: ImageTextPairs,
    *,
    name: str,
    query: str,
    cleaning: str = "blip",
    max_words: int = MAX_WORDS,
) -> RetrievalSet:
    """Makes one side of the pairs the queries and the other the gallery.

    Image queries (or sounds, by ``pairs.modality``) are answered by any of the image's captions,
    text queries by the one image that the caption was written for; where images have identities,
    by everything of the identity. Clusters are the images (the identities, where there are some),
    on both sides.

    Args:
        pairs: what a data set's loader returned.
        query: ``pairs.modality`` or "text".
        cleaning: "blip" (see ``clean``) or "none".
        max_words: words that BLIP's cleaning keeps.

    Raises:
        ConfigError: unknown side.
    """
    if query not in (pairs.modality, "text"):
        raise ConfigError(f"{name}: query side must be {pairs.modality!r} or 'text', not {query!r}")
    texts = Texts(ids=pairs.caption_ids, values=pairs.captions)
    owner = np.asarray(pairs.caption_image, dtype=np.int64)
    queries: Items
    gallery: Items
    images = np.arange(len(pairs.images), dtype=np.int64)
    identities = images if pairs.identities is None else pairs.identities
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
        clean_text=Cleaning(max_words) if cleaning == "blip" else None,
        info=dict(pairs.info),
        group_keys=keys,
    )


def build_clips(pairs: ClipPairs, *, name: str, query: str) -> RetrievalSet:
    """Makes one side of the clips the queries and the other the gallery.

    Each query is answered by the other side of its own clip and by nothing else, also where clips
    share their classes, as CAV-MAE counts. Clusters are the clips.

    Args:
        pairs: what a data set's loader returned.
        query: "video" or "audio".
    """
    sides = (pairs.videos, pairs.audios)
    queries, gallery = sides if query == "video" else sides[::-1]
    clips = np.arange(len(queries), dtype=np.int64)
    return RetrievalSet(
        name=name,
        query_modality=query,
        gallery_modality="audio" if query == "video" else "video",
        queries=queries,
        gallery=gallery,
        relevance=Relevance(np.arange(len(clips) + 1, dtype=np.int64), clips),
        groups=clips,
        fingerprint=content_fingerprint([pairs.fingerprint, query, *queries.ids]),
        info=dict(pairs.info),
        group_keys={"clip": clips, **pairs.clip_groups},
    )


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


def build_composed(queries: ComposedQueries, *, name: str) -> RetrievalSet:
    """Makes composed queries and their images a retrieval problem.

    Clusters are the reference pictures: the data set's group key "image" where it
    has one (a picture may be in several galleries), else the gallery's items.
    """
    references = np.asarray(queries.references, dtype=np.int64)
    groups = np.asarray(queries.query_groups.get("image", references), dtype=np.int64)
    subset = None
    if queries.subset is not None:
        subset = Relevance.from_lists(queries.subset)
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
