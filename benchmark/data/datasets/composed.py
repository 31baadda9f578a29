"""Composed queries: FashionIQ's dresses, shirts and tops, and CIRR's natural scenes (release rc2).

Where the files are looked for is in ``layout.json``.

**FashionIQ.** A query is ranked in its own category's gallery, which holds its reference too: all
pictures of the split file. A smaller one, of targets and references only, lies several points
apart. Pictures come from shop links, many of them dead.

**CIRR.** A query's reference is left out of its own ranking and stays in the gallery of the others.
The subset recall ranks the five other members of the query's image set. The answer is
``target_hard``; ``target_soft`` is not used. The labels of test1 are not published: its scores come
from the authors' server only.

With ``allow_missing`` the missing pictures leave the gallery and the subsets, and queries whose
reference or target is missing are dropped; ``info`` says how many.
"""

from __future__ import annotations

from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from benchmark.data.datasets.annotations import (
    no_split,
    read_json,
    read_records,
    relative_path,
    texts_of,
    value,
)
from benchmark.data.datasets.base import (
    ComposedQueries,
    content_fingerprint,
    file_digests,
    refuse_duplicates,
)
from benchmark.data.datasets.folders import LAYOUTS
from benchmark.data.media import ImageFiles
from benchmark.data.retrieval import Sections
from benchmark.errors import DataError

CATEGORIES = ("dress", "shirt", "toptee")
"""FashionIQ's sections, in this order."""

SET_SIZE = 6
"""Pictures of an image set of CIRR, the reference among them."""

_FASHION_IQ, _CIRR = LAYOUTS["fashioniq"], LAYOUTS["cirr"]
_SPLITS = ("val", "train")


@dataclass(frozen=True, slots=True)
class _Query:
    id: str
    reference: str
    target: str
    text: str
    section: str = ""
    set_id: int = 0
    members: tuple[str, ...] = ()

    @property
    def described(self) -> tuple[str, ...]:
        """What the fingerprint says of it."""
        said = (self.reference, self.target, self.text)
        if self.section:
            return self.section, *said
        return self.id, *said, str(self.set_id), *self.members


def load_fashion_iq(
    root: Path | None, *, split: str = "val", allow_missing: bool = False
) -> ComposedQueries:
    """FashionIQ with the full gallery of the split files.

    Args:
        root: the user's data folder.
        split: "val" or "train"; the test split's targets are not published.
        allow_missing: go on with the pictures that are there.

    Raises:
        DataError: files missing or malformed, or a category without a query that can be asked.
    """
    if split not in _SPLITS:
        what = "'fashioniq' (the targets of its test split are not published)"
        raise no_split(what, split, _SPLITS)
    galleries: dict[str, dict[str, PurePosixPath]] = {}
    queries: list[_Query] = []
    for category in CATEGORIES:
        file = _FASHION_IQ.annotation(root, split, [f"captions/cap.{category}.{{split}}.json"])
        listed = _FASHION_IQ.annotation(
            root, split, [f"image_splits/split.{category}.{{split}}.json"]
        )
        galleries[category] = _gallery(listed, list, "a list of image ids")
        queries += _of_category(category, file, galleries[category], listed)
    wanted = {item: path for gallery in galleries.values() for item, path in gallery.items()}
    found = _FASHION_IQ.find_pictures(root, wanted, _spellings, allow_missing=allow_missing)
    return _assemble(f"fashioniq {split}", galleries, queries, found, recall_at=(1, 10, 50))


def load_cirr(
    root: Path | None, *, split: str = "val", allow_missing: bool = False
) -> ComposedQueries:
    """CIRR.

    Args:
        root: the user's data folder.
        split: "val" or "train".
        allow_missing: go on with the pictures that are there.

    Raises:
        DataError: files missing or malformed.
    """
    if split not in _SPLITS:
        what = "'cirr' (the labels of test1 are not published, only the server scores it)"
        raise no_split(what, split, _SPLITS)
    file = _CIRR.annotation(root, split, ["captions/cap.rc2.{split}.json"])
    listed = _CIRR.annotation(root, split, ["image_splits/split.rc2.{split}.json"])
    gallery = _gallery(listed, dict, "an object of image name -> path, './dev/<name>.png'")
    records = read_records(file, "reference", "target_hard")
    queries = [_of_image_set(record, where, gallery, listed) for where, record in records]
    refuse_duplicates([query.id for query in queries], f"{file}: pairid")
    found = _CIRR.find_pictures(root, gallery, _other_spellings, allow_missing=allow_missing)
    return _assemble(f"cirr {split}", {"": gallery}, queries, found, recall_at=(1, 5, 10, 50))


def joined(captions: Sequence[str]) -> str:
    """Both captions of a query as one text, as CLIP4Cir and SPRC join them at evaluation.

    Capitalising makes the rest of the first caption lower-case, as there.

    >>> joined(["is darker.", " has longer sleeves"])
    'Is darker and has longer sleeves'
    """
    first, second = (caption.strip(".?, ") for caption in captions)
    return f"{first.capitalize()} and {second}"


def _gallery(
    file: Path, kind: type[list[Any] | dict[str, Any]], form: str
) -> dict[str, PurePosixPath]:
    """Pictures by name: of a list of names, or of an object of name -> path."""
    listed = read_json(file)
    if not isinstance(listed, kind) or not listed:
        raise DataError(f"{file}: expected {form}")
    texts = list(listed.values()) if isinstance(listed, dict) else listed
    paths = []
    for number, text in enumerate(texts, start=1):
        where = f"{file}, entry {number}"
        if not isinstance(text, str):
            raise DataError(f"{where}: an image must be a string, found {text!r}")
        paths.append(relative_path(text, where))
    refuse_duplicates([str(path) for path in paths], f"{file}: image")
    return dict(zip(listed, paths, strict=True))


def _of_category(
    category: str, file: Path, known: Container[str], listed: Path
) -> Iterator[_Query]:
    records = read_records(file, "target", "candidate")
    for number, (where, record) in enumerate(records, start=1):
        target = value(record, "target", str, where)
        reference = value(record, "candidate", str, where)
        captions = texts_of(record, "captions", where)
        if len(captions) != 2:
            raise DataError(f"{where}: expected exactly two captions, found {len(captions)}")
        _refuse_unknown([("target", target), ("candidate", reference)], known, where, listed)
        yield _Query(f"{category}#{number}", reference, target, joined(captions), category)


def _of_image_set(record: Any, where: str, known: Container[str], listed: Path) -> _Query:
    reference = value(record, "reference", str, where)
    target = value(record, "target_hard", str, where)
    text = value(record, "caption", str, where)
    image_set = value(record, "img_set", dict, where)
    members = value(image_set, "members", list, f"{where}, img_set")
    if not all(isinstance(m, str) for m in members) or len(set(members)) != SET_SIZE:
        raise DataError(f"{where}: img_set must have {SET_SIZE} different names, found {members}")
    for key, name in (("reference", reference), ("target_hard", target)):
        if name not in members:
            raise DataError(f"{where}: {key} {name!r} is not a member of its img_set")
    if reference == target:
        raise DataError(f"{where}: reference and target_hard are the same image {target!r}")
    # The reference and the target are members.
    _refuse_unknown([("img_set member", name) for name in members], known, where, listed)
    return _Query(
        str(value(record, "pairid", int, where)),
        reference,
        target,
        text,
        set_id=value(image_set, "id", int, f"{where}, img_set"),
        members=tuple(name for name in members if name != reference),
    )


def _refuse_unknown(
    named: Sequence[tuple[str, str]], known: Container[str], where: str, listed: Path
) -> None:
    for key, name in named:
        if name not in known:
            raise DataError(f"{where}: {key} {name!r} is not in {listed}")


def _spellings(path: PurePosixPath) -> Iterator[PurePosixPath]:
    """A picture of FashionIQ: all in one folder, or in one for each category."""
    for folder in ("", *(f"{category}/" for category in CATEGORIES)):
        for suffix in (".jpg", ".png", ".jpeg"):
            yield PurePosixPath(f"{folder}{path}{suffix}")


def _other_spellings(path: PurePosixPath) -> list[PurePosixPath]:
    """A picture of CIRR: as listed, all in one folder, or saved as JPEG."""
    saved = [path, *map(path.with_suffix, (".jpg", ".jpeg"))]
    return [*saved, *(PurePosixPath(one.name) for one in saved)]


def _assemble(
    name: str,
    galleries: Mapping[str, Iterable[str]],
    queries: Sequence[_Query],
    found: Mapping[str, Path],
    *,
    recall_at: tuple[int, ...],
) -> ComposedQueries:
    """The queries whose pictures are there, on galleries by section: "" where there is only one."""
    gallery = [(s, item) for s, items in galleries.items() for item in items if item in found]
    place = {one: index for index, one in enumerate(gallery)}
    kept = [q for q in queries if {(q.section, q.reference), (q.section, q.target)} <= place.keys()]
    asked = {query.section for query in kept}
    for section in (section for section in galleries if section not in asked):
        of, why = "", "there is nothing to run on"
        if section:
            of = f" of category {section!r}"
            why = "the mean over the categories needs all three"
        raise DataError(f"{name}: no query{of} has both its pictures; {why}")
    distinct = {item: index for index, item in enumerate(dict.fromkeys(i for _, i in gallery))}
    paths = [found[item] for _, item in gallery]
    missing = {item: None for items in galleries.values() for item in items if item not in found}
    digests = file_digests(paths)
    image_ids = [f"{section}/{item}" if section else item for section, item in gallery]
    query_ids = [query.id for query in kept]
    # The same picture in two sections is one group.
    groups = {"image": np.array([distinct[q.reference] for q in kept], dtype=np.int64)}
    sections = subset = None
    if "" in galleries:
        groups["image_set"] = np.array([query.set_id for query in kept], dtype=np.int64)
        subset = [[place["", m] for m in q.members if ("", m) in place] for q in kept]
    else:
        names = list(galleries)
        groups["category"] = np.array([names.index(q.section) for q in kept], dtype=np.int64)
        starts = np.searchsorted([names.index(section) for section, _ in gallery], range(4))
        sections = Sections(CATEGORIES, groups["category"], starts.astype(np.int64))
    described = (
        *(part for pair in zip(image_ids, digests, strict=True) for part in pair),
        *("missing", *missing),
        *(part for query in kept for part in query.described),
    )
    return ComposedQueries(
        name=name,
        images=ImageFiles(image_ids, paths, digests),
        references=np.array([place[q.section, q.reference] for q in kept], dtype=np.int64),
        texts=[query.text for query in kept],
        targets=[[place[q.section, q.target]] for q in kept],
        query_ids=query_ids,
        fingerprint=content_fingerprint([name, *described]),
        sections=sections,
        exclude_reference=subset is not None,
        subset=subset,
        recall_at=recall_at,
        info={
            "missing_images": len(missing),
            "dropped_queries": len(queries) - len(kept),
            "id_hash": content_fingerprint([*query_ids, *image_ids]),
        },
        query_groups=groups,
    )
