"""Identity of a retrieval set's files: which they are, and their content."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from benchmark.data.datasets.base import content_fingerprint, file_digests
from benchmark.data.retrieval import RetrievalSet


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
