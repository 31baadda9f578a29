"""Own data: tables of pairs as data sets, and any as the retrieval set that a cell runs on."""

from __future__ import annotations

import dataclasses
from array import array
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from benchmark.data.card import PREFIX, TASKS, BenchmarkCard
from benchmark.data.datasets.base import (
    ClipPairs,
    ComposedQueries,
    DataSet,
    ImageTextPairs,
    content_fingerprint,
)
from benchmark.data.own.galleries import load_galleries, task_of
from benchmark.data.own.items import CaptionIds, Media, PackedTexts, media_items, numbers_digest
from benchmark.data.own.rows import (
    PAIRS,
    Codes,
    MediaFinder,
    Things,
    by_number,
    in_domain,
    in_group,
    need,
    refuse_numbers,
    row_id,
    rows_of,
    several,
    shown_name,
    text_of,
    texts_of,
)
from benchmark.data.own.source import OwnSource
from benchmark.data.own.tables import Table, of_frame, open_table, open_tables
from benchmark.data.retrieval import RetrievalSet
from benchmark.data.tasks import build
from benchmark.errors import DataError, shown

if TYPE_CHECKING:
    import pandas as pd

FORMS = {
    "image_text": ("image", "caption"),
    "audio_text": ("audio", "caption"),
    "video_audio": ("video", "audio"),
    "composed": ("reference", "modification", "target"),
}
"""Task -> the columns of its table."""


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
    places = [source.place, *([source.gallery] if source.gallery else ())]
    tables = open_tables(places, dict(source.columns))
    if source.gallery:
        task, query = task_of(*tables)
        shorts = [TASKS[task][query][1]]
    else:
        task = need(tables[0], FORMS, PAIRS)
        shorts = [short for _, short in TASKS[task].values()]
    names = tuple(f"{PREFIX}{source.name}-{short}" for short in shorts)
    return Understood(task, names, "domain" in tables[0].columns)


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
    data = read_own(card, source, allow_missing=allow_missing)
    if not isinstance(data, RetrievalSet):
        data = build(card, dataclasses.replace(data, info={**data.info, **data.counts}))
    if not source.clean:
        return data
    clean = load_own(card, source.cleaned.text, allow_missing=allow_missing)
    return _over_clean(data, clean, source)


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
    return read_pairs(table, need(table, FORMS, PAIRS), name=f"{PREFIX}{name}", split=split)


def read_own(
    card: BenchmarkCard, source: OwnSource, *, allow_missing: bool = False
) -> DataSet | RetrievalSet:
    """All of a source: a table of pairs as a data set, queries beside a gallery as what they are.

    Raises:
        DataError: what is missing or wrong, and where.
    """
    if source.gallery:
        return load_galleries(card, source, allow_missing=allow_missing)
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


def read_pairs(
    table: Table, task: str, *, name: str, split: str = "", allow_missing: bool = False
) -> DataSet:
    """Reads a table of pairs, a chunk at a time.

    Args:
        task: one of ``FORMS``.
        name: as the results are called.
        split: see ``OwnSource``.
        allow_missing: leave out what has no file; ``info`` says how many.

    Raises:
        DataError: columns, values or files that are missing or wrong; says where.
    """
    need(table, {task: FORMS[task]}, f"a table for {task.replace('_', '-')}")
    if task == "video_audio":
        return _clips(table, name, split, allow_missing)
    if task == "composed":
        return _composed(table, name, split, allow_missing)
    return _captioned(table, name, split, allow_missing, FORMS[task][0])


def _captioned(
    table: Table, name: str, split: str, allow_missing: bool, column: str
) -> ImageTextPairs:
    things = Things(table, allow_missing=allow_missing)
    texts = PackedTexts()
    owner, place, counts = array("q"), array("q"), array("q")
    groups, domains = Codes(), Codes()
    domain_of = array("q")  # of the things; those of the captions are the rows of ``domains``
    for where, row in rows_of(table, split):
        captions = texts_of(row["caption"], "caption", where)
        thing = things.number(row[column], column, where, text_of(row.get("id")))
        if thing is None:
            continue
        group = groups.of(in_group(row, where, f"\0{thing}"))
        domain = domains.of(in_domain(row, where))
        if thing == len(counts):
            counts.append(0)
            groups.rows.append(group)
            domain_of.append(domain)
        elif groups.rows[thing] != group:
            raise DataError(f"{where}: the {column} has another group than in its first row")
        for caption in captions:
            texts.append(caption)
            owner.append(thing)
            place.append(counts[thing])
            domains.rows.append(domain)
            counts[thing] += 1
    things.check(len(things.places), column)
    refuse_numbers(table, texts)
    ids = list(things.ids)
    items, content = media_items(ids, things.places, column)
    owners = np.frombuffer(owner, dtype=np.int64)
    caption_groups, named = _domains(table, domains)
    image_groups = {"domain": domains.sorted(domain_of, by_number)[0]} if named else {}
    identities = groups.sorted()[0] if "group" in table.columns else None
    described = [
        *("own", column, content, texts.digest, numbers_digest(owners), *ids),
        *(numbers_digest(groups.rows), numbers_digest(domains.rows), *domains.said),
        *things.absent,
    ]
    caption_ids = CaptionIds(ids, owners, np.frombuffer(place, dtype=np.int64))
    return ImageTextPairs(
        name=name,
        images=items,
        captions=texts,
        caption_ids=caption_ids,
        caption_image=owners,
        fingerprint=content_fingerprint(described),
        info={
            f"missing_{column}s": len(things.absent),
            **named,
            "id_hash": content_fingerprint(ids),
        },
        image_groups=image_groups,
        caption_groups=caption_groups,
        identities=identities,
        modality=column,
    )


def _clips(table: Table, name: str, split: str, allow_missing: bool) -> ClipPairs:
    finder = MediaFinder(table, allow_missing=allow_missing)
    videos: list[Media] = []
    audios: list[Media] = []
    ids: dict[str, str] = {}
    domains = Codes()
    for where, row in rows_of(table, split):
        key = text_of(row.get("id")) or shown_name(row["video"]) or row_id(where)
        if key in ids:
            raise DataError(f"{where}: clip {key!r} occurs twice, first in {ids[key]}")
        video = finder.find(row["video"], "video", where)
        audio = finder.find(row["audio"], "audio", where)
        if video is None or audio is None:
            finder.absent[shown_name(row["video"] if video is None else row["audio"])] = None
            continue
        ids[key] = where
        videos.append(video)
        audios.append(audio)
        domains.rows.append(domains.of(in_domain(row, where)))
    finder.check(len(ids), "clip")
    frames, of_videos = media_items(list(ids), videos, "video")
    sounds, of_audios = media_items(list(ids), audios, "audio")
    groups, info = _domains(table, domains)
    return ClipPairs(
        name=name,
        videos=frames,
        audios=sounds,
        fingerprint=content_fingerprint(
            [
                *("own", "clips", of_videos, of_audios, *ids, *domains.said),
                *(numbers_digest(domains.rows), *finder.absent),
            ]
        ),
        info={**info, "missing_clips": len(finder.absent), "id_hash": content_fingerprint(ids)},
        clip_groups=groups,
    )


def _composed(table: Table, name: str, split: str, allow_missing: bool) -> ComposedQueries:
    things = Things(table, allow_missing=allow_missing)
    references: list[int] = []
    targets: list[list[int]] = []
    texts: list[str] = []
    ids: dict[str, str] = {}
    domains = Codes()
    for where, row in rows_of(table, split):
        key = text_of(row.get("id")) or row_id(where)
        if key in ids:
            raise DataError(f"{where}: query {key!r} occurs twice, first in {ids[key]}")
        wanted = several(row["target"], "target", where)
        reference = things.number(row["reference"], "reference", where)
        found = [things.number(one, "target", where) for one in wanted]
        modification = " and ".join(texts_of(row["modification"], "modification", where))
        answers = [one for one in dict.fromkeys(found) if one is not None]
        if reference is None or not answers:
            continue
        ids[key] = where
        references.append(reference)
        targets.append(answers)
        texts.append(modification)
        domains.rows.append(domains.of(in_domain(row, where)))
    things.check(len(things.places) if ids else 0, "image")
    images, content = media_items(list(things.ids), things.places, "image")
    groups, info = _domains(table, domains)
    return ComposedQueries(
        name=name,
        images=images,
        references=np.array(references, dtype=np.int64),
        texts=texts,
        targets=targets,
        query_ids=list(ids),
        fingerprint=content_fingerprint(
            [
                *("own", "composed", content, *ids, *texts, *things.ids, *domains.said),
                *(str(references), str(targets), numbers_digest(domains.rows), *things.absent),
            ]
        ),
        recall_at=(1, 5, 10),
        info={**info, "missing_images": len(things.absent), "id_hash": content_fingerprint(ids)},
        query_groups=groups,
    )


def _domains(table: Table, domains: Codes) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    if "domain" not in table.columns:
        return {}, {}
    numbers, names = domains.sorted(key=by_number)
    return {"domain": numbers}, {"domains": names}
