"""Queries and gallery as tables of their own, with relevance beside them."""

from __future__ import annotations

import json
import math
import re
from array import array
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from itertools import chain, pairwise
from pathlib import Path
from typing import Any

import numpy as np

from benchmark.data.card import TASKS, BenchmarkCard
from benchmark.data.datasets.base import content_fingerprint
from benchmark.data.datasets.nearby import few, unpacking
from benchmark.data.own.items import Ids, Media, PackedTexts, media_items, numbers_digest
from benchmark.data.own.rows import (
    Codes,
    MediaFinder,
    by_number,
    in_domain,
    in_group,
    literal,
    need,
    refuse_numbers,
    row_id,
    rows_of,
    text_of,
    texts_of,
)
from benchmark.data.own.source import OwnSource
from benchmark.data.own.tables import Table, open_tables
from benchmark.data.retrieval import NDCG, Items, Relevance, RetrievalSet, Texts, offsets_of
from benchmark.data.tasks import ComposedItems
from benchmark.errors import DataError, amount, did_you_mean, shown

QUERIES = {
    "composed": ("reference", "modification"),
    "image": ("image",),
    "text": ("caption",),
    "audio": ("audio",),
    "video": ("video",),
}
"""Modality -> the columns of a table of such queries or items."""


@dataclass
class _Side:
    """The items of one table."""

    name: str
    items: Items
    ids: Ids
    content: str
    groups: dict[str, np.ndarray] = field(default_factory=dict)
    domains: list[str] = field(default_factory=list)
    missing: set[str] = field(default_factory=set)


def task_of(queries: Table, gallery: Table) -> tuple[str, str]:
    """The task of two tables, and the modality of its queries.

    Raises:
        DataError: columns of no kind of items, or both tables of one kind.
    """
    asked = need(queries, QUERIES, "a table of queries")
    every = [(task, q, sides[q][0]) for q in QUERIES for task, sides in TASKS.items() if q in sides]
    fitting = [
        (task, query)
        for task, query, item in every
        if {*QUERIES[query]} <= {*queries.columns} and {*QUERIES[item]} <= {*gallery.columns}
    ]
    if not fitting:
        items = {item: QUERIES[item] for _, query, item in every if query == asked}
        need(gallery, items, f"the gallery of {asked} queries")  # has none of them, so it refuses
    return fitting[0]


def load_galleries(
    card: BenchmarkCard, source: OwnSource, *, allow_missing: bool = False
) -> RetrievalSet:
    """Reads both tables and the relevance.

    Args:
        card: see ``own_card``.
        source: with a gallery.
        allow_missing: leave out what has no file, relevant items that are not in the gallery, and
            queries that nothing answers.

    Raises:
        DataError: tables, files or relevance that are missing or wrong.
    """
    query, item = card.query, card.gallery
    tables = open_tables([source.place, source.gallery], dict(source.columns))
    in_rows = not (source.unlabelled or source.qrels)
    if in_rows and "relevant" not in tables[0].columns:
        raise DataError(
            f"{tables[0].name} has no column relevant, so nothing says which gallery item answers "
            "which query; expected the ids there, or --qrels FILE (TREC's form); without any "
            "labels, --unlabelled reports what can be seen without them"
        )
    has = ["split" in table.columns for table in tables]
    splits = [source.split if own or not any(has) else "" for own in has]
    gallery = _side(tables[1], item, splits[1], allow_missing)
    grades = _Grades(gallery, allow_missing)
    queries = _side(tables[0], query, splits[0], allow_missing, grades if in_rows else None)
    if source.qrels:
        grades.read(Path(source.qrels), queries)
    labelled, count = not source.unlabelled, len(queries.ids)
    places, facts = np.arange(count), dict[str, Any]()
    relevance = Relevance(np.zeros(count + 1, np.int64), np.zeros(0, np.int64))
    said: Iterable[str] = ()
    headline: tuple[str, ...] = ()
    if labelled:
        headline = ("R@1", NDCG) if grades.stated else ("R@1",)
        places, relevance, facts, said = _answers(grades, queries, gallery, allow_missing)
    described = chain(
        ("own", *(() if labelled else ("unlabelled",)), query, item),
        *((queries.content, gallery.content), queries.ids, gallery.ids, said),
        *((key, numbers_digest(codes)) for key, codes in queries.groups.items()),
    )
    return RetrievalSet(
        name=card.id,
        query_modality=query,
        gallery_modality=item,
        queries=_Some(queries.items, places) if len(places) < count else queries.items,
        gallery=gallery.items,
        relevance=relevance,
        groups=queries.groups.get("group", np.arange(count, dtype=np.int64))[places],
        fingerprint=content_fingerprint(described),
        info={
            "missing_images": len(queries.missing) + len(gallery.missing),
            **facts,
            "id_hash": content_fingerprint(chain(queries.ids, gallery.ids)),
            **({"domains": queries.domains} if queries.domains else {}),
        },
        group_keys={key: codes[places] for key, codes in queries.groups.items()},
        headline=headline,
        labelled=labelled,
    )


def _answers(
    grades: _Grades, queries: _Side, gallery: _Side, allow_missing: bool
) -> tuple[np.ndarray, Relevance, dict[str, Any], Iterator[str]]:
    """Grades above 0 are relevant, as for trec_eval.

    Returns:
        Places of the queries that have answers, their answers, facts about all of them, and what
        the fingerprint says of them.
    """
    count = len(queries.ids)
    asked, found, grade = grades.sorted()
    right = grade > 0
    answers = np.bincount(asked[right], minlength=count)
    places, none = np.flatnonzero(answers), np.flatnonzero(answers == 0)
    if len(none) and not (allow_missing and len(places)):
        named = few([queries.ids[place] for place in none.tolist()])
        raise DataError(
            f"no relevant gallery item for {len(none):,} of {amount(count, 'query')} of "
            f"{queries.name}: {named}; leave them out, or run with --allow-missing"
        )
    facts = {
        "unanswered_queries": len(none),
        "distractors": len(gallery.items) - len(np.unique(found[right])),
        "grades": np.unique(grade).tolist(),
    }
    stated = grade[right] if grades.stated else None
    relevance = Relevance(offsets_of(answers[places]), found[right], stated)

    def described() -> Iterator[str]:
        for start, stop in pairwise(np.searchsorted(asked, np.arange(count + 1))):
            own = zip(found[start:stop].tolist(), grade[start:stop].tolist(), strict=True)
            yield json.dumps(list(own))
        yield from ("graded",) if grades.stated else ()

    return places, relevance, facts, described()


@dataclass(frozen=True)
class _Some:
    """Some of the items of a collection."""

    items: Items
    places: np.ndarray

    @property
    def ids(self) -> Sequence[str]:
        return [self.items.ids[place] for place in self.places.tolist()]

    def __len__(self) -> int:
        return len(self.places)

    def __getitem__(self, index: int, /) -> Any:
        return self.items[int(self.places[index])]


def _side(
    table: Table, modality: str, split: str, allow_missing: bool, grades: _Grades | None = None
) -> _Side:
    finder = MediaFinder(table, allow_missing=allow_missing)
    texts = PackedTexts()
    column, said = QUERIES[modality][0], QUERIES[modality][-1]
    ids = Ids()
    places: list[Media] = []
    codes = {key: Codes() for key in ("group", "domain") if key in table.columns}
    for where, row in rows_of(table, split):
        key = text_of(row.get("id"))
        if not key:
            own = row[column] if isinstance(row[column], str) and modality != "text" else ""
            key = own or row_id(where)
        if key in ids:
            raise DataError(f"{where}: id {key!r} occurs twice; ids must be unique")
        if modality != "text":
            place = finder.find(row[column], column, where)
            if place is None:
                finder.absent[key] = None
                continue
            places.append(place)
        if modality in ("text", "composed"):
            found = texts_of(row[said], said, where)
            if len(found) > 1:
                raise DataError(f"{where}: {said} is a list of {len(found)}; expected one text")
            texts.append(found[0])
        number = ids.add(key.encode())
        if grades is not None:
            grades.add_row(number, row["relevant"], where)
        named = {"domain": in_domain(row, where), "group": in_group(row, where, f"\0{number}")}
        for name, known in codes.items():
            known.rows.append(known.of(named[name]))
    finder.check(len(ids), column)
    refuse_numbers(table, texts)
    kind = "image" if modality == "composed" else modality
    media = [] if modality == "text" else [media_items(list(ids), places, kind)]
    parts = [content for _, content in media] + ([texts.digest] if len(texts) else [])
    items: Items = media[0][0] if media else Texts(ids, texts)
    if modality == "composed":
        items = ComposedItems(ids, items, np.arange(len(ids), dtype=np.int64), texts)
    order = {"domain": by_number}
    numbered = {name: known.sorted(key=order.get(name)) for name, known in codes.items()}
    return _Side(
        table.name,
        items,
        ids,
        "+".join(parts),
        {name: found for name, (found, _) in numbered.items()},
        numbered["domain"][1] if "domain" in numbered else [],
        set(finder.absent),
    )


class _Grades:
    """Grades of gallery items for queries, 24 bytes each.

    Attributes:
        stated: whether the user stated grades at all.
    """

    def __init__(self, gallery: _Side, allow_missing: bool) -> None:
        self._gallery, self._allowed = gallery, allow_missing
        self._asked, self._found, self._grade = array("q"), array("q"), array("d")
        self.stated = False

    def _add(self, query: int, item: str, grade: float, where: str) -> None:
        if item in self._gallery.ids:
            self._asked.append(query)
            self._found.append(self._gallery.ids.place(item))
            self._grade.append(grade)
        elif self._allowed:
            self._gallery.missing.add(item)
        elif item not in self._gallery.missing:
            near = did_you_mean(item, self._gallery.ids[:10_000])
            raise DataError(
                f"{where}: there is no gallery item {item!r}{near}; leave it out, or run with "
                "--allow-missing"
            )

    def sorted(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Query and item (int64) and grade (float64) of each; what was said last counts."""
        asked, found = (np.array(one, dtype=np.int64) for one in (self._asked, self._found))
        pairs = asked * len(self._gallery.ids) + found
        last = len(pairs) - 1 - np.unique(pairs[::-1], return_index=True)[1]
        return asked[last], found[last], np.array(self._grade)[last]

    def add_row(self, query: int, value: Any, where: str) -> None:
        """Adds what a row of the queries' table says."""
        named, stated = _named(value, self._gallery.ids, where)
        self.stated |= stated
        for item, grade in named.items():
            self._add(query, item, grade, f"{where}: relevant")

    def read(self, file: Path, queries: _Side) -> None:
        """Reads TREC's form (query, iteration, item, grade), or BEIR's (query, item, grade).

        BEIR's has a header. Queries of another split may be in it, unknown items may not.
        """
        self.stated = True
        known, strangers = 0, dict[str, str]()
        try:
            with file.open(encoding="utf-8-sig") as lines:
                for number, line in enumerate(lines, start=1):
                    parts = [one.strip() for one in line.split("\t")]
                    parts = parts if len(parts) in (3, 4) else line.split()  # ids with blanks
                    where = f"{file}, line {number}"
                    if not parts or (found := _line(parts, where, head=number == 1)) is None:
                        continue
                    query, item, grade = found
                    if query not in queries.ids:
                        if query not in queries.missing and not strangers:
                            strangers[query] = where
                        continue
                    known += 1
                    self._add(queries.ids.place(query), item, grade, where)
        except (OSError, UnicodeDecodeError) as error:
            reason = getattr(error, "strerror", None) or f"expected UTF-8 text; {unpacking(file)}"
            raise DataError(f"cannot read {file}: {reason.rstrip('; ')}") from None
        if strangers and not known:
            query, where = next(iter(strangers.items()))
            raise DataError(
                f"{where}: none of the queries of this file, such as {query!r}, is an id of the "
                f"queries' table, which has {', '.join(queries.ids[:3])}, ..."
            )


def _named(value: Any, known: Ids, where: str) -> tuple[dict[str, float], bool]:
    """Ids with grades, and whether they are stated.

    One id, several with commas or blanks between, a list, or id -> grade.
    """
    value = literal(value, f"{where}: relevant")
    if isinstance(value, str) and value[:1] in ("[", "{"):
        raise DataError(f"{where}: relevant is {shown(value)}, no valid JSON")
    if isinstance(value, list) and value and all(isinstance(one, tuple) for one in value):
        value = dict(value)  # a map of Parquet
    if isinstance(value, dict):
        # A struct of Parquet has every key in every row.
        graded = {text_of(key): grade for key, grade in value.items() if grade is not None}
        for key, grade in graded.items():
            if not isinstance(grade, int | float | Decimal) or not math.isfinite(grade):
                raise DataError(f"{where}: the grade of {key!r} is {grade!r}, no finite number")
        return {key: float(grade) for key, grade in graded.items()}, True
    if isinstance(value, list | tuple | np.ndarray):
        if odd := next((key for key in value if isinstance(key, dict | list | tuple)), None):
            raise DataError(
                f"{where}: relevant holds {shown(odd)}; expected ids, or {{id: grade, ...}}"
            )
        return {text_of(key): 1.0 for key in value}, False
    text = text_of(value)
    parts = [text] if text in known else re.split(r"[,;\s]+", text)
    return {part: 1.0 for part in parts if part}, False


def _line(parts: Sequence[str], where: str, *, head: bool) -> tuple[str, str, float] | None:
    """Query, item and grade; None for a header."""
    try:
        if len(parts) in (3, 4) and math.isfinite(grade := float(parts[-1])):
            return parts[0], parts[-2], grade
    except ValueError:
        if head and parts[0].lower().startswith("query"):
            return None
    raise DataError(
        f"{where}: expected 'query 0 item grade' (TREC) or 'query item grade', found "
        f"{' '.join(parts)[:80]!r}"
    )
