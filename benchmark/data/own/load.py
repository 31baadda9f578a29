"""Own data as a retrieval set: what a cell of the suite "own" runs on."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from benchmark.data.card import TASKS, BenchmarkCard
from benchmark.data.datasets.base import DataSet, content_fingerprint
from benchmark.data.own.galleries import load_galleries, modalities
from benchmark.data.own.pairs import read_pairs, task_of
from benchmark.data.own.source import PREFIX, OwnSource
from benchmark.data.own.tables import of_frame, open_table
from benchmark.data.retrieval import RetrievalSet
from benchmark.data.tasks import build
from benchmark.errors import DataError, shown

if TYPE_CHECKING:
    import pandas as pd


@dataclasses.dataclass(frozen=True, slots=True)
class Understood:
    """What the head of a user's tables tells.

    Attributes:
        task: see ``TASKS``.
        benchmarks: name of each direction that can be run ("own:birds-i2t").
        domains: whether the queries have domains of their own.
    """

    task: str
    benchmarks: tuple[str, ...]
    domains: bool


def understand(source: OwnSource) -> Understood:
    """Reads the heads of the tables.

    Raises:
        DataError: a table that cannot be read, or without the columns of any task.
    """
    table = open_table(source.place, dict(source.columns))
    domains = "domain" in table.columns
    if not source.gallery:
        task = task_of(table)
        sides = TASKS[task]
    else:
        query, item = modalities(table, open_table(source.gallery, {}))
        fitting = [task for task, found in TASKS.items() if found.get(query, ("",))[0] == item]
        if not fitting:
            raise DataError(
                f"{source.place} holds {query} queries and {source.gallery} {item} items; there is "
                f"no such task, only {', '.join(TASKS)}"
            )
        task = fitting[0]
        sides = {query: TASKS[task][query]}
    names = tuple(f"{PREFIX}{source.name}-{short}" for _, short in sides.values())
    return Understood(task, names, domains)


def load_own(card: BenchmarkCard, text: str, *, allow_missing: bool = False) -> RetrievalSet:
    """The retrieval set of one direction.

    Args:
        card: see ``own_card``.
        text: see ``OwnSource.text``.
        allow_missing: leave out what has no file; ``info`` says how many.

    Raises:
        DataError: what is missing or wrong, and where.
    """
    source = OwnSource.of(text)
    data = _load(card, source, allow_missing)
    if not source.clean:
        return data
    return _over_clean(data, _load(card, source.cleaned, allow_missing), source)


def from_frame(
    frame: pd.DataFrame,
    *,
    name: str = "data",
    columns: Mapping[str, str] | None = None,
    root: Path | str | None = None,
    split: str = "",
) -> DataSet:
    """A DataFrame of pairs as a data set.

    Args:
        frame: one pair a row; pictures are paths below ``root``, bytes of a file, or (H, W, 3)
            uint8 arrays.
        name: as the results are called.
        columns: our name of a column -> the frame's.
        root: the folder that paths start from.
        split: see ``OwnSource``.

    Raises:
        DataError: columns or values that are missing or wrong, or an index with duplicates.
    """
    table = of_frame(frame, columns or {}, None if root is None else Path(root))
    return read_pairs(table, task_of(table), name=f"{PREFIX}{name}", split=split)


def _load(card: BenchmarkCard, source: OwnSource, allow_missing: bool) -> RetrievalSet:
    found = read_own(card, source, allow_missing=allow_missing)
    if isinstance(found, RetrievalSet):
        return found
    return build(card, dataclasses.replace(found, info={**found.info, **found.counts}))


def read_own(
    card: BenchmarkCard, source: OwnSource, *, allow_missing: bool = False
) -> DataSet | RetrievalSet:
    """All of a source: a table of pairs as a data set, queries beside a gallery as what they are.

    Raises:
        DataError: what is missing or wrong, and where.
    """
    if source.gallery:
        return load_galleries(
            source, name=card.id, query=card.query, item=card.gallery, allow_missing=allow_missing
        )
    table = open_table(source.place, dict(source.columns))
    return read_pairs(
        table, card.task, name=card.dataset, split=source.split, allow_missing=allow_missing
    )


def _over_clean(shifted: RetrievalSet, clean: RetrievalSet, source: OwnSource) -> RetrievalSet:
    """Shifted queries on the clean set's gallery; they stand for its queries, one by one."""
    for side in ("queries", "gallery"):
        ids, wanted = (getattr(data, side).ids for data in (shifted, clean))
        pairs = enumerate(zip(ids, wanted, strict=False))
        other = next((place for place, (own, its) in pairs if own != its), None)
        if other is not None or len(ids) != len(wanted):
            differ = ""
            if other is not None:
                there, here = shown(ids[other]), shown(wanted[other])
                differ = f", and number {other + 1} is {there} in one and {here} in the other"
            raise DataError(
                f"{source.place} and {source.clean} must have the same ids in the same order, as "
                f"each shifted query stands for a clean one; they have {len(ids)} and "
                f"{len(wanted)} {side}{differ}: give both a column id, and the same rows"
            )
    print_ = content_fingerprint(["shifted", shifted.fingerprint, clean.fingerprint])
    return dataclasses.replace(
        shifted, gallery=clean.gallery, relevance=clean.relevance, fingerprint=print_
    )
