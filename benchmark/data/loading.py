"""Retrieval sets of benchmarks: a card's data set, loaded, counted and built for its task."""

from __future__ import annotations

import dataclasses
import importlib
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmark.data.card import BenchmarkCard
from benchmark.data.datasets import BUILTINS as DATASETS
from benchmark.data.own.source import SUITE
from benchmark.errors import DataError

if TYPE_CHECKING:
    from benchmark.data.datasets.base import DataSet, Loader
    from benchmark.data.retrieval import RetrievalSet


def load_retrieval_set(
    card: BenchmarkCard,
    root: Path | None = None,
    *,
    split: str | None = None,
    allow_missing: bool = False,
) -> RetrievalSet:
    """Loads a benchmark's data.

    Args:
        card: the benchmark.
        root: the user's folder of data sets; None for embedded data; of own data the text that
            says where they lie (``OwnSource.text``).
        split: another split than the card's; its counts are not checked.
        allow_missing: run on what is there; ``info`` of the result says so, with the counts.

    Raises:
        DataError: data missing or malformed, of another task, or counts that differ from the
            card's.
    """
    if card.suite == SUITE:
        from benchmark.data.own.load import load_own

        return load_own(card, str(root), allow_missing=allow_missing)
    loaded = loader_of(card)(root, split=split or card.split, allow_missing=allow_missing)
    info = _checked_counts(card, loaded, check=split in (None, card.split), allow=allow_missing)
    built = build(card, dataclasses.replace(loaded, info=info))
    if unknown := [name for name in card.headline if name not in built.metrics]:
        raise DataError(
            f"{card.id} names {', '.join(unknown)} as its headline, which its data do not give; "
            f"they give {', '.join(built.metrics)}"
        )
    return dataclasses.replace(built, headline=tuple(card.headline))


def build(card: BenchmarkCard, loaded: DataSet) -> RetrievalSet:
    """A data set as the retrieval problem of its card's task; DataError for one of another task."""
    from benchmark.data.datasets import base

    if card.task in ("image_text", "audio_text") and isinstance(loaded, base.ImageTextPairs):
        from benchmark.data.tasks import image_text

        return image_text.build(
            loaded,
            name=card.id,
            query=card.query,
            cleaning=card.cleaning,
            max_words=card.max_words,
        )
    if card.task == "video_audio" and isinstance(loaded, base.ClipPairs):
        from benchmark.data.tasks import video_audio

        return video_audio.build(loaded, name=card.id, query=card.query)
    if card.task == "composed" and isinstance(loaded, base.ComposedQueries):
        from benchmark.data.tasks import composed

        return composed.build(loaded, name=card.id)
    raise DataError(
        f"{card.id} is a benchmark of task {card.task!r}, but its loader returned "
        f"{type(loaded).__name__}"
    )


def loader_of(card: BenchmarkCard) -> Loader:
    """The function that loads a benchmark's data set.

    Raises:
        DataError: it cannot be imported.
    """
    target = DATASETS.get(card.dataset, card.dataset)
    module, _, name = target.partition(":")
    try:
        return getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError) as error:
        raise DataError(f"the loader {target!r} of {card.id} cannot be imported: {error}") from None


def _checked_counts(
    card: BenchmarkCard, loaded: DataSet, *, check: bool, allow: bool
) -> dict[str, Any]:
    found = loaded.counts
    info = {**loaded.info, **found}
    if allow:
        info["allow_missing"] = True
    if check and found != card.counts:
        if not allow:
            raise DataError(
                f"{loaded.name} has {_listed(found)}; {card.id} expects {_listed(card.counts)}; "
                "complete the copy, or run on what is there with --allow-missing (the result will "
                "say so)"
            )
        info |= {f"expected_{name}": count for name, count in card.counts.items()}
    return info


def _listed(counts: Mapping[str, int]) -> str:
    return " and ".join(f"{count} {name}" for name, count in counts.items())
