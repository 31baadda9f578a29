"""Queries and gallery as tables of their own, with relevance beside them."""

from __future__ import annotations

import json
import math
import re
from array import array
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from benchmark.data.datasets.base import content_fingerprint
from benchmark.data.own.items import Media, MediaFinder, PackedTexts, media_items, numbers_digest
from benchmark.data.own.rows import Absent, Codes, Numbers, need, rows_of, text_of, texts_of
from benchmark.data.own.source import OwnSource
from benchmark.data.own.tables import Table, open_table
from benchmark.data.retrieval import NDCG, Items, Relevance, RetrievalSet, Texts
from benchmark.data.tasks import ComposedItems
from benchmark.errors import DataError, did_you_mean

QUERIES = {
    "composed": ("reference", "modification"),
    "image": ("image",),
    "text": ("caption",),
    "audio": ("audio",),
    "video": ("video",),
}
"""Modality -> the columns of a table of such queries or items."""

_COLUMN = {"text": "caption"}


@dataclass
class _Side:
    """The items of one table."""

    items: Items
    ids: dict[str, int]
    content: str
    rows: list[Any] = field(default_factory=list)
    groups: dict[str, np.ndarray] = field(default_factory=dict)
    domains: list[str] = field(default_factory=list)
    missing: set[str] = field(default_factory=set)


def modalities(queries: Table, gallery: Table) -> tuple[str, str]:
    """Modality of the queries and of the gallery.

    Raises:
        DataError: columns of no kind of items, or both of one kind.
    """
    asked = need(queries, QUERIES, "a table of queries")
    plain = {name: columns for name, columns in QUERIES.items() if name != "composed"}
    if asked != "composed":
        plain.pop(asked)
    return asked, need(gallery, plain, f"the gallery of {asked} queries")


def load_galleries(
    source: OwnSource, *, name: str, query: str, item: str, allow_missing: bool = False
) -> RetrievalSet:
    """Reads both tables and the relevance.

    Args:
        source: with a gallery.
        name: as the results are called.
        query: modality of the queries.
        item: modality of the gallery.
        allow_missing: leave out what has no file, and queries that nothing answers.

    Raises:
        DataError: tables, files or relevance that are missing or wrong.
    """
    columns = dict(source.columns)
    tables = open_table(source.place, columns), open_table(source.gallery, _of(columns, item))
    gallery = _side(tables[1], item, "", allow_missing)
    queries = _side(tables[0], query, source.split, allow_missing)
    if source.unlabelled:
        return _without_labels(name, query, item, queries, gallery)
    grades, graded = _grades(tables[0], queries, gallery, source)
    answers = [{i: grade for i, grade in found.items() if grade > 0} for found in grades]
    unanswered = [key for key, found in zip(queries.ids, answers, strict=True) if not found]
    if unanswered and not (allow_missing and len(unanswered) < len(answers)):
        raise DataError(
            f"{len(unanswered):,} of {len(answers):,} queries of {tables[0].name} have no relevant "
            f"gallery item: {', '.join(unanswered[:5])}; leave them out, or say --allow-missing"
        )
    kept = np.array([bool(found) for found in answers])
    described = [
        *("own", query, item, queries.content, gallery.content, *queries.ids, *gallery.ids),
        *(json.dumps(sorted(found.items())) for found in grades),
        *(("graded",) if graded else ()),
        *(text for key, codes in queries.groups.items() for text in (key, numbers_digest(codes))),
    ]
    info: dict[str, Any] = {
        "missing_images": len(queries.missing) + len(gallery.missing),
        "unanswered_queries": len(unanswered),
        "distractors": len(gallery.items) - len({i for found in answers for i in found}),
        "grades": sorted({grade for found in grades for grade in found.values()}),
        "id_hash": content_fingerprint([*queries.ids, *gallery.ids]),
        **({"domains": queries.domains} if queries.domains else {}),
    }
    places = np.flatnonzero(kept)
    known = [found for found in answers if found]
    plain = [list(found) for found in known]
    return RetrievalSet(
        name=name,
        query_modality=query,
        gallery_modality=item,
        queries=queries.items if kept.all() else _Some(queries.items, places),
        gallery=gallery.items,
        relevance=Relevance.from_grades(known) if graded else Relevance.from_lists(plain),
        groups=queries.groups.get("group", np.arange(len(answers), dtype=np.int64))[places],
        fingerprint=content_fingerprint(described),
        info=info,
        group_keys={key: codes[places] for key, codes in queries.groups.items()},
        headline=("R@1", NDCG) if graded else ("R@1",),
    )


def _without_labels(
    name: str, query: str, item: str, queries: _Side, gallery: _Side
) -> RetrievalSet:
    """The set of a query log: no query has an answer."""
    count = len(queries.ids)
    described = [
        *("own", "unlabelled", query, item, queries.content, gallery.content),
        *(*queries.ids, *gallery.ids),
        *(text for key, codes in queries.groups.items() for text in (key, numbers_digest(codes))),
    ]
    return RetrievalSet(
        name=name,
        query_modality=query,
        gallery_modality=item,
        queries=queries.items,
        gallery=gallery.items,
        relevance=Relevance.from_lists([[]] * count, allow_empty=True),
        groups=queries.groups.get("group", np.arange(count, dtype=np.int64)),
        fingerprint=content_fingerprint(described),
        info={
            "missing_images": len(queries.missing) + len(gallery.missing),
            "id_hash": content_fingerprint([*queries.ids, *gallery.ids]),
            **({"domains": queries.domains} if queries.domains else {}),
        },
        group_keys=queries.groups,
        headline=(),
        labelled=False,
    )


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


def _of(columns: Mapping[str, str], item: str) -> dict[str, str]:
    """Of the user's names for columns those that a gallery of this kind may have."""
    return {ours: theirs for ours, theirs in columns.items() if ours == _COLUMN.get(item, item)}


def _side(table: Table, modality: str, split: str, allow_missing: bool) -> _Side:
    finder = MediaFinder(table.root)
    absent = Absent(table, finder, allowed=allow_missing)
    texts, numbers = PackedTexts(), Numbers(table.name, "caption")
    column = {"text": "caption", "composed": "reference"}.get(modality, modality)
    ids: dict[str, int] = {}
    places: list[Media] = []
    relevant: list[Any] = []
    codes = {key: (Codes(), array("q")) for key in ("group", "domain") if key in table.columns}
    for where, row in rows_of(table, split):
        key = text_of(row.get("id"))
        if not key:
            own = row[column] if isinstance(row[column], str) and modality != "text" else ""
            key = own or f"row-{where.rpartition(' ')[2]}"
        if key in ids:
            raise DataError(f"{where}: id {key!r} occurs twice; ids must be unique")
        if modality != "text":
            place = finder.find(row[column], column, where)
            if place is None:
                absent.add(key)
                continue
            places.append(place)
        if modality in ("text", "composed"):
            said = "caption" if modality == "text" else "modification"
            found = texts_of(row[said], said, where)
            if len(found) > 1:
                raise DataError(f"{where}: {said} is a list of {len(found)}; expected one text")
            numbers.see(found[0])
            texts.append(found[0])
        ids[key] = len(ids)
        relevant.append((where, row.get("relevant")))
        for name, (known, of_rows) in codes.items():
            of_rows.append(known.of(text_of(row[name])))
    absent.check(len(ids), column)
    numbers.check()
    listed = list(ids)
    kind = "image" if modality == "composed" else modality
    media = [] if modality == "text" else [media_items(listed, places, kind)]
    parts = [content for _, content in media] + ([texts.digest] if len(texts) else [])
    items: Items = media[0][0] if media else Texts(listed, texts)
    if modality == "composed":
        items = ComposedItems(listed, items, np.arange(len(listed), dtype=np.int64), texts)
    numbered = {name: known.sorted(found) for name, (known, found) in codes.items()}
    return _Side(
        items,
        ids,
        "+".join(parts),
        relevant,
        {name: found for name, (found, _) in numbered.items()},
        numbered["domain"][1] if "domain" in numbered else [],
        set(absent.names),
    )


def _grades(
    table: Table, queries: _Side, gallery: _Side, source: OwnSource
) -> tuple[list[dict[int, float]], bool]:
    """For each query gallery index -> grade, and whether the user stated grades at all.

    Grades above 0 are relevant, as for trec_eval.
    """
    if source.qrels:
        return _judged(Path(source.qrels), queries, gallery), True
    if "relevant" not in table.columns:
        raise DataError(
            f"{table.name} has no column relevant, so nothing says which gallery item answers "
            "which query; expected the ids there, or --qrels FILE (TREC's form); without any "
            "labels, --unlabelled reports what can be seen without them"
        )
    found, graded = [], False
    for where, value in queries.rows:
        known = {}
        named, stated = _named(value, gallery.ids, where)
        graded |= stated
        for key, grade in named.items():
            if key in gallery.ids:
                known[gallery.ids[key]] = grade
            elif key not in gallery.missing:
                near = did_you_mean(key, list(gallery.ids)[:10_000])
                raise DataError(f"{where}: relevant names {key!r}, no id of the gallery{near}")
        found.append(known)
    return found, graded


def _named(value: Any, known: Mapping[str, int], where: str) -> tuple[dict[str, float], bool]:
    """Ids with grades, and whether they are stated.

    One id, several with commas or blanks between, a list, or id -> grade.
    """
    if isinstance(value, str) and value[:1] in ("[", "{"):
        try:
            value = json.loads(value)
        except ValueError as error:
            raise DataError(f"{where}: relevant is no valid JSON: {error}") from None
    if isinstance(value, dict):
        for key, grade in value.items():
            if not isinstance(grade, int | float) or not math.isfinite(grade):
                raise DataError(f"{where}: the grade of {key!r} is {grade!r}, no finite number")
        return {str(key): float(grade) for key, grade in value.items()}, True
    if isinstance(value, list | tuple | np.ndarray):
        return {text_of(key): 1.0 for key in value}, False
    text = text_of(value)
    parts = [text] if text in known else re.split(r"[,;\s]+", text)
    return {part: 1.0 for part in parts if part}, False


def _judged(file: Path, queries: _Side, gallery: _Side) -> list[dict[int, float]]:
    """TREC's form (query, iteration, item, grade), or BEIR's (query, item, grade) with its header.

    Queries of another split may be in it, unknown items may not.
    """
    found: list[dict[int, float]] = [{} for _ in queries.ids]
    known, strangers = 0, dict[str, str]()
    try:
        with file.open(encoding="utf-8-sig") as lines:
            for number, line in enumerate(lines, start=1):
                parts = line.split()
                if not parts or (number == 1 and parts[0].lower().startswith("query")):
                    continue
                where = f"{file}, line {number}"
                query, item, grade = _line(parts, where)
                if query not in queries.ids:
                    if query not in queries.missing:
                        strangers.setdefault(query, where)
                    continue
                known += 1
                if item in gallery.ids:
                    found[queries.ids[query]][gallery.ids[item]] = grade
                elif item not in gallery.missing:
                    near = did_you_mean(item, list(gallery.ids)[:10_000])
                    raise DataError(f"{where}: there is no gallery item {item!r}{near}")
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "expected UTF-8 text"
        raise DataError(f"cannot read {file}: {reason}") from None
    if strangers and not known:
        query, where = next(iter(strangers.items()))
        raise DataError(
            f"{where}: none of the queries of this file, such as {query!r}, is an id of the "
            f"queries' table, which has {', '.join(list(queries.ids)[:3])}, ..."
        )
    return found


def _line(parts: Sequence[str], where: str) -> tuple[str, str, float]:
    try:
        if len(parts) not in (3, 4):
            raise ValueError
        grade = float(parts[-1])
        if not math.isfinite(grade):
            raise ValueError
        return parts[0], parts[-2], grade
    except ValueError:
        raise DataError(
            f"{where}: expected 'query 0 item grade' (TREC) or 'query item grade', found "
            f"{' '.join(parts)[:80]!r}"
        ) from None
