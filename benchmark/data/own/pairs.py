"""Tables of pairs: pictures or sounds with captions, videos with sounds, composed queries."""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmark.data.datasets.base import (
    ClipPairs,
    ComposedQueries,
    DataSet,
    ImageTextPairs,
    content_fingerprint,
)
from benchmark.data.own.hub import HubFile
from benchmark.data.own.items import (
    CaptionIds,
    Media,
    PackedTexts,
    content_digest,
    media_items,
    numbers_digest,
)
from benchmark.data.own.rows import (
    PAIRS,
    Codes,
    MediaFinder,
    in_domain,
    in_group,
    need,
    refuse_numbers,
    rows_of,
    text_of,
    texts_of,
)
from benchmark.data.own.tables import Table
from benchmark.errors import DataError

FORMS = {
    "image_text": ("image", "caption"),
    "audio_text": ("audio", "caption"),
    "video_audio": ("video", "audio"),
    "composed": ("reference", "modification", "target"),
}
"""Task -> the columns of its table."""


def task_of(table: Table) -> str:
    """The task that a table of pairs is for.

    Raises:
        DataError: it has the columns of none.
    """
    return need(table, FORMS, PAIRS)


def read_pairs(
    table: Table, task: str, *, name: str, split: str = "", allow_missing: bool = False
) -> DataSet:
    """Reads a table of pairs, a chunk at a time.

    Args:
        table: the table.
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


class _Things:
    """Pictures or sounds by id, each once, in the order of their first rows."""

    def __init__(self, table: Table, *, allow_missing: bool) -> None:
        self.finder = MediaFinder(table, allow_missing=allow_missing)
        self.ids: dict[str, int] = {}
        self.places: list[Media] = []
        self._said: dict[str, tuple[str, str]] = {}  # id -> value and place of its first row
        self._contents: dict[tuple[str, str], str] = {}  # name and digest -> id

    def number(self, value: Any, column: str, where: str, own_id: str = "") -> int | None:
        """The thing's number; None where it is missing.

        Raises:
            DataError: one id for two things, or no path.
        """
        said, content = _shown(value), content_digest(value)
        key = own_id or self._key(said, content, where)
        if own_id and (said or content):
            said = said or f"content {content[:8]}"
            before = self._said.setdefault(key, (said, where))
            if before[0] != said:
                raise DataError(
                    f"{where}: id {key!r} stands for {said!r} here and for {before[0]!r} in "
                    f"{before[1].rpartition(', ')[2]}; an id is for one {column}"
                )
        if key in self.ids:
            return self.ids[key]
        if key in self.finder.absent:
            return None
        place = self.finder.find(value, column, where)
        if place is None:
            self.finder.absent[key] = None
            return None
        self.ids[key] = len(self.places)
        self.places.append(place)
        return self.ids[key]

    def _key(self, said: str, content: str, where: str) -> str:
        """The id of a thing without one: its name; the same content is the same thing."""
        key = said or _row(where)
        if not content:
            return key
        if key in self.ids:  # data sets keep names without folders, which may be the same
            key = f"{key}~{content[:8]}"
        return self._contents.setdefault((said, content), key)


def _captioned(
    table: Table, name: str, split: str, allow_missing: bool, column: str
) -> ImageTextPairs:
    things = _Things(table, allow_missing=allow_missing)
    texts = PackedTexts()
    owner, place, counts = array("q"), array("q"), array("q")
    groups, domains = Codes(), Codes()
    group_of, domain_of, domain_of_text = array("q"), array("q"), array("q")
    for where, row in rows_of(table, split):
        captions = texts_of(row["caption"], "caption", where)
        thing = things.number(row[column], column, where, text_of(row.get("id")))
        if thing is None:
            continue
        group = groups.of(in_group(row, where, f"\0{thing}"))
        domain = domains.of(in_domain(row, where))
        if thing == len(counts):
            counts.append(0)
            group_of.append(group)
            domain_of.append(domain)
        elif group_of[thing] != group:
            raise DataError(f"{where}: the {column} has another group than in its first row")
        for caption in captions:
            texts.append(caption)
            owner.append(thing)
            place.append(counts[thing])
            domain_of_text.append(domain)
            counts[thing] += 1
    things.finder.check(len(things.places), column)
    refuse_numbers(table, texts)
    ids = list(things.ids)
    items, content = media_items(ids, things.places, column)
    owners = np.frombuffer(owner, dtype=np.int64)
    info: dict[str, Any] = {f"missing_{column}s": len(things.finder.absent)}
    image_groups, caption_groups = {}, {}
    if "domain" in table.columns:
        caption_groups["domain"], info["domains"] = domains.sorted(domain_of_text)
        image_groups["domain"], _ = domains.sorted(domain_of)
    identities = groups.sorted(group_of)[0] if "group" in table.columns else None
    described = [
        *("own", column, content, texts.digest, numbers_digest(owners), *ids),
        *(numbers_digest(group_of), numbers_digest(domain_of_text), *domains.numbers),
        *things.finder.absent,
    ]
    caption_ids = CaptionIds(ids, owners, np.frombuffer(place, dtype=np.int64))
    return ImageTextPairs(
        name=name,
        images=items,
        captions=texts,
        caption_ids=caption_ids,
        caption_image=owners,
        fingerprint=content_fingerprint(described),
        info={**info, "id_hash": content_fingerprint(ids)},
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
    domains, domain_of = Codes(), array("q")
    for where, row in rows_of(table, split):
        key = text_of(row.get("id")) or _shown(row["video"]) or _row(where)
        if key in ids:
            raise DataError(f"{where}: clip {key!r} occurs twice, first in {ids[key]}")
        video = finder.find(row["video"], "video", where)
        audio = finder.find(row["audio"], "audio", where)
        if video is None or audio is None:
            finder.absent[_shown(row["video"] if video is None else row["audio"])] = None
            continue
        ids[key] = where
        videos.append(video)
        audios.append(audio)
        domain_of.append(domains.of(in_domain(row, where)))
    finder.check(len(ids), "clip")
    frames, of_videos = media_items(list(ids), videos, "video")
    sounds, of_audios = media_items(list(ids), audios, "audio")
    groups, info = _domains(table, domains, domain_of)
    return ClipPairs(
        name=name,
        videos=frames,
        audios=sounds,
        fingerprint=content_fingerprint(
            [
                *("own", "clips", of_videos, of_audios, *ids, *domains.numbers),
                *(numbers_digest(domain_of), *finder.absent),
            ]
        ),
        info={**info, "missing_clips": len(finder.absent), "id_hash": content_fingerprint(ids)},
        clip_groups=groups,
    )


def _composed(table: Table, name: str, split: str, allow_missing: bool) -> ComposedQueries:
    things = _Things(table, allow_missing=allow_missing)
    references: list[int] = []
    targets: list[list[int]] = []
    texts: list[str] = []
    ids: dict[str, str] = {}
    domains, domain_of = Codes(), array("q")
    for where, row in rows_of(table, split):
        key = text_of(row.get("id")) or _row(where)
        if key in ids:
            raise DataError(f"{where}: query {key!r} occurs twice, first in {ids[key]}")
        said = row["target"]
        wanted = said if isinstance(said, list) else [said]
        reference = things.number(row["reference"], "reference", where)
        found = [things.number(one, "target", where) for one in wanted]
        modification = " and ".join(texts_of(row["modification"], "modification", where))
        answers = [one for one in found if one is not None]
        if reference is None or not answers:
            continue
        ids[key] = where
        references.append(reference)
        targets.append(answers)
        texts.append(modification)
        domain_of.append(domains.of(in_domain(row, where)))
    things.finder.check(len(things.places) if ids else 0, "image")
    images, content = media_items(list(things.ids), things.places, "image")
    groups, info = _domains(table, domains, domain_of)
    return ComposedQueries(
        name=name,
        images=images,
        references=np.array(references, dtype=np.int64),
        texts=texts,
        targets=targets,
        query_ids=list(ids),
        fingerprint=content_fingerprint(
            [
                *("own", "composed", content, *ids, *texts, *things.ids, *domains.numbers),
                *(str(references), str(targets), numbers_digest(domain_of), *things.finder.absent),
            ]
        ),
        recall_at=(1, 5, 10),
        info={
            **info,
            "missing_images": len(things.finder.absent),
            "id_hash": content_fingerprint(ids),
        },
        query_groups=groups,
    )


def _domains(
    table: Table, domains: Codes, codes: Sequence[int]
) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    if "domain" not in table.columns:
        return {}, {}
    numbers, names = domains.sorted(codes)
    return {"domain": numbers}, {"domains": names}


def _row(where: str) -> str:
    return f"row-{where.rpartition(' ')[2]}"


def _shown(value: Any) -> str:
    """A medium as its table says it; "" where it has no name."""
    if isinstance(value, HubFile):
        return value.named
    if isinstance(value, dict):
        value = value.get("path")
    return str(value) if isinstance(value, str | Path) else ""
