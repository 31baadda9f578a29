"""FashionIQ: composed queries about dresses, shirts and tops.

Where the files are looked for, below the folder given as DATA, first hit wins::

    fashion-iq/captions/cap.dress.val.json          queries; also cap.shirt, cap.toptee
    fashion-iq/image_splits/split.dress.val.json    the gallery of each category
    fashion-iq/images/<id>.jpg (or .png)            all pictures in one folder

The folder may also be called fashioniq, fashion_iq or fashionIQ_dataset, or be DATA itself; the
pictures may lie in images/, image/, resized_image/ or beside captions/.

A query is ranked in its own category's gallery, which holds its reference too: all pictures of the
split file. A smaller one, of targets and references only, lies several points apart.

Pictures come from shop links, many of them dead. With ``allow_missing`` the missing ones leave the
gallery, and queries whose reference or target is missing are dropped; ``info`` says how many.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import numpy as np

from benchmark.data.datasets.annotations import (
    captions_of,
    no_split,
    read_json,
    read_records,
    relative_path,
    value,
)
from benchmark.data.datasets.base import ComposedQueries, content_fingerprint, file_digests
from benchmark.data.datasets.folders import Files, Source
from benchmark.data.media import ImageFiles
from benchmark.data.retrieval import Sections
from benchmark.errors import DataError

CATEGORIES = ("dress", "shirt", "toptee")
"""The sections, in this order."""

RECALL_AT = (1, 10, 50)

_SOURCE = Source("fashioniq", ("fashion-iq", "fashioniq", "fashion_iq", "fashionIQ_dataset", "."))
_SPLITS = ("val", "train")
_SUFFIXES = (".jpg", ".png", ".jpeg")
_IMAGE_FOLDERS = ("images", "image", "resized_image", "resized_images", ".")


@dataclass(frozen=True, slots=True)
class _Query:
    number: int
    reference: str
    target: str
    text: str


@dataclass(frozen=True, slots=True)
class _Category:
    name: str
    queries: list[_Query]
    gallery: list[str]


def load(root: Path | None, *, split: str = "val", allow_missing: bool = False) -> ComposedQueries:
    """FashionIQ with the full gallery of the split files; see the module for the layout.

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
    categories = [_read(root, category, split) for category in CATEGORIES]
    assert root is not None  # the annotations were found
    found = _find(root, categories)
    total = len(found)
    missing = [item for item, path in found.items() if path is None]
    if missing and (not allow_missing or len(missing) == total):
        places = _SOURCE.picture_places(root, _IMAGE_FOLDERS)
        raise DataError(_SOURCE.missing(missing, total, "images", places))
    return _queries(f"fashioniq {split}", categories, found)


def joined(captions: Sequence[str]) -> str:
    """Both captions of a query as one text, as CLIP4Cir and SPRC join them at evaluation.

    Capitalising makes the rest of the first caption lower-case, as there.

    >>> joined(["is darker.", " has longer sleeves"])
    'Is darker and has longer sleeves'
    """
    first, second = (caption.strip(".?, ") for caption in captions)
    return f"{first.capitalize()} and {second}"


def _read(root: Path | None, category: str, split: str) -> _Category:
    file = _SOURCE.annotation(root, [f"captions/cap.{category}.{split}.json"])
    listed = _SOURCE.annotation(root, [f"image_splits/split.{category}.{split}.json"])
    gallery = _gallery(listed)
    known = set(gallery)
    queries = []
    records = read_records(file, "target", "candidate")
    for number, (where, record) in enumerate(records, start=1):
        target = value(record, "target", str, where)
        reference = value(record, "candidate", str, where)
        captions = captions_of(value(record, "captions", list, where), where, "captions")
        if len(captions) != 2:
            raise DataError(f"{where}: expected exactly two captions, found {len(captions)}")
        for key, item in (("target", target), ("candidate", reference)):
            if item not in known:
                raise DataError(f"{where}: {key} {item!r} is not in {listed}")
        queries.append(_Query(number, reference, target, joined(captions)))
    return _Category(category, queries, gallery)


def _gallery(file: Path) -> list[str]:
    items = read_json(file)
    if not isinstance(items, list) or not items:
        raise DataError(f"{file}: expected a list of image ids")
    first: dict[str, int] = {}
    for number, item in enumerate(items, start=1):
        where = f"{file}, entry {number}"
        if not isinstance(item, str):
            raise DataError(f"{where}: an image id must be a string, found {item!r}")
        relative_path(item, where)
        if item in first:
            raise DataError(
                f"{where}: image id {item!r} occurs twice, first as entry {first[item]}"
            )
        first[item] = number
    return list(first)


def _find(root: Path, categories: Sequence[_Category]) -> dict[str, Path | None]:
    """Each picture's file; a picture of two categories is looked for once."""
    files = Files(_SOURCE.picture_places(root, _IMAGE_FOLDERS), within=[root])
    items = dict.fromkeys(item for category in categories for item in category.gallery)
    folders = ("", *(f"{category}/" for category in CATEGORIES))
    return {
        item: files.find_any(
            PurePosixPath(folder + item + suffix) for folder in folders for suffix in _SUFFIXES
        )
        for item in items
    }


def _queries(
    name: str, categories: Sequence[_Category], found: dict[str, Path | None]
) -> ComposedQueries:
    gallery: list[tuple[str, str, Path]] = []
    asked: list[tuple[_Category, _Query]] = []
    bounds = [0]
    for category in categories:
        there = {item: path for item in category.gallery if (path := found[item]) is not None}
        kept = [q for q in category.queries if q.reference in there and q.target in there]
        if not kept:
            raise DataError(
                f"{name}: no query of category {category.name!r} has both its pictures; the mean "
                "over the categories needs all three"
            )
        gallery += [(category.name, item, path) for item, path in there.items()]
        asked += [(category, query) for query in kept]
        bounds.append(len(gallery))
    place = {(category, item): i for i, (category, item, _) in enumerate(gallery)}
    picture = {item: i for i, item in enumerate(dict.fromkeys(item for _, item, _ in gallery))}
    section = np.array([CATEGORIES.index(c.name) for c, _ in asked], dtype=np.int64)
    image_ids = [f"{category}/{item}" for category, item, _ in gallery]
    query_ids = [f"{category.name}#{query.number}" for category, query in asked]
    paths = [path for *_, path in gallery]
    digests = file_digests(paths)
    described = (
        *(part for pair in zip(image_ids, digests, strict=True) for part in pair),
        *("missing", *(item for item, path in found.items() if path is None)),
        *(part for c, q in asked for part in (c.name, q.reference, q.target, q.text)),
    )
    return ComposedQueries(
        name=name,
        images=ImageFiles(image_ids, paths, digests),
        references=np.array([place[c.name, q.reference] for c, q in asked], dtype=np.int64),
        texts=[query.text for _, query in asked],
        targets=[[place[c.name, q.target]] for c, q in asked],
        query_ids=query_ids,
        fingerprint=content_fingerprint([name, *described]),
        sections=Sections(CATEGORIES, section, np.array(bounds, dtype=np.int64)),
        recall_at=RECALL_AT,
        info={
            "missing_images": sum(path is None for path in found.values()),
            "dropped_queries": sum(len(c.queries) for c in categories) - len(asked),
            "id_hash": content_fingerprint([*query_ids, *image_ids]),
        },
        query_groups={
            # The same picture in two categories is one group.
            "image": np.array([picture[q.reference] for _, q in asked], dtype=np.int64),
            "category": section,
        },
    )
