"""Retrieval sets of benchmarks: a card's data set loaded, counted, and known by its files."""

from __future__ import annotations

import dataclasses
import importlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from benchmark.data.card import BenchmarkCard
from benchmark.data.datasets import BUILTINS as DATASETS
from benchmark.data.datasets.base import DataSet, Loader, content_fingerprint, file_digests
from benchmark.data.own.source import SUITE
from benchmark.data.retrieval import RetrievalSet
from benchmark.data.tasks import build
from benchmark.errors import DataError


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
        thing: where to look.
        digested: look also where the digests of the files lie beside their paths.
    """
    if isinstance(thing, Path):
        yield thing
    elif dataclasses.is_dataclass(thing) and not isinstance(thing, type):
        if digested or not getattr(thing, "digests", ()):
            for field in dataclasses.fields(thing):
                yield from _paths(getattr(thing, field.name), digested=digested)
    elif isinstance(thing, list | tuple) and thing and _may_hold_paths(thing[0]):
        for part in thing:
            yield from _paths(part, digested=digested)


def _may_hold_paths(part: Any) -> bool:
    return isinstance(part, Path | list | tuple) or dataclasses.is_dataclass(part)
