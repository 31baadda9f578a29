"""CIRR, release rc2: composed queries on natural scenes.

Where the files are looked for, below the folder given as DATA, first hit wins::

    cirr/captions/cap.rc2.val.json          queries
    cirr/image_splits/split.rc2.val.json    the gallery: name -> "./dev/<name>.png"
    cirr/img_raw/dev/<name>.png             the pictures (the folder of val is called dev)

The folder may also be called cirr_dataset, or be DATA itself; the annotations may lie one folder
further down, in cirr/; the pictures may lie in img_raw/, images/ or beside them.

A query's reference is left out of its own ranking and stays in the gallery of the others. The
subset recall ranks the five other members of the query's image set. The answer is
``target_hard``; ``target_soft`` is not used.

The labels of test1 are not published: its scores come from the authors' server only.
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
from benchmark.errors import DataError

RECALL_AT = (1, 5, 10, 50)

SET_SIZE = 6
"""Pictures of an image set, the reference among them."""

_SOURCE = Source("cirr", ("cirr", "cirr_dataset", "cirr_dataset/cirr", "."))
_SPLITS = ("val", "train")
_IMAGE_FOLDERS = ("img_raw", "images", ".")


@dataclass(frozen=True, slots=True)
class _Query:
    id: str
    reference: str
    target: str
    text: str
    members: tuple[str, ...]
    set_id: int


def load(root: Path | None, *, split: str = "val", allow_missing: bool = False) -> ComposedQueries:
    """CIRR; see the module for the layout.

    Args:
        root: the user's data folder.
        split: "val" or "train".
        allow_missing: go on with the pictures that are there: missing ones leave the gallery and
            the subsets, queries without reference or target are dropped.

    Raises:
        DataError: files missing or malformed.
    """
    if split not in _SPLITS:
        what = "'cirr' (the labels of test1 are not published, only the server scores it)"
        raise no_split(what, split, _SPLITS)
    file = _SOURCE.annotation(root, [f"captions/cap.rc2.{split}.json"])
    listed = _SOURCE.annotation(root, [f"image_splits/split.rc2.{split}.json"])
    assert root is not None  # the annotations were found
    gallery = _gallery(listed)
    queries = _read(file, gallery, listed)
    files = Files(_SOURCE.picture_places(root, _IMAGE_FOLDERS), within=[root])
    found = {name: files.find_any(_spellings(path)) for name, path in gallery.items()}
    missing = [str(gallery[name]) for name, path in found.items() if path is None]
    if missing and (not allow_missing or len(missing) == len(found)):
        raise DataError(_SOURCE.missing(missing, len(found), "images", files.places))
    return _queries(f"cirr {split}", queries, found)


def _spellings(path: PurePosixPath) -> list[PurePosixPath]:
    """As listed, all in one folder, or saved as JPEG."""
    saved = [path, *(path.with_suffix(suffix) for suffix in (".jpg", ".jpeg"))]
    return [*saved, *(PurePosixPath(one.name) for one in saved)]


def _gallery(file: Path) -> dict[str, PurePosixPath]:
    listed = read_json(file)
    if not isinstance(listed, dict) or not listed:
        raise DataError(f"{file}: expected an object of image name -> path, './dev/<name>.png'")
    paths = {
        name: relative_path(value(listed, name, str, str(file)), f"{file}, image {name!r}")
        for name in listed
    }
    owners: dict[PurePosixPath, str] = {}
    for name, path in paths.items():
        if owners.setdefault(path, name) != name:
            raise DataError(f"{file}: {owners[path]!r} and {name!r} have the same path {path}")
    return paths


def _read(file: Path, gallery: dict[str, PurePosixPath], listed: Path) -> list[_Query]:
    queries: dict[str, _Query] = {}
    for where, record in read_records(file, "reference", "target_hard"):
        query = _query(record, where)
        for key, name in (("reference", query.reference), ("target_hard", query.target)):
            if name not in gallery:
                raise DataError(f"{where}: {key} {name!r} is not in {listed}")
        for name in query.members:
            if name not in gallery:
                raise DataError(f"{where}: member {name!r} of img_set is not in {listed}")
        if query.id in queries:
            raise DataError(f"{where}: pairid {query.id} occurs twice; ids must be unique")
        queries[query.id] = query
    return list(queries.values())


def _query(record: object, where: str) -> _Query:
    reference = value(record, "reference", str, where)
    target = value(record, "target_hard", str, where)
    text = captions_of([value(record, "caption", str, where)], where, "caption")[0]
    image_set = value(record, "img_set", dict, where)
    members = value(image_set, "members", list, f"{where}, img_set")
    if not all(isinstance(m, str) for m in members) or len(set(members)) != SET_SIZE:
        raise DataError(f"{where}: img_set must have {SET_SIZE} different names, found {members}")
    for key, name in (("reference", reference), ("target_hard", target)):
        if name not in members:
            raise DataError(f"{where}: {key} {name!r} is not a member of its img_set")
    if reference == target:
        raise DataError(f"{where}: reference and target_hard are the same image {target!r}")
    others = tuple(name for name in members if name != reference)
    return _Query(
        str(value(record, "pairid", int, where)),
        reference,
        target,
        text,
        others,
        value(image_set, "id", int, f"{where}, img_set"),
    )


def _queries(
    name: str, queries: Sequence[_Query], found: dict[str, Path | None]
) -> ComposedQueries:
    there = {item: path for item, path in found.items() if path is not None}
    kept = [query for query in queries if query.reference in there and query.target in there]
    if not kept:
        raise DataError(f"{name}: no query has both its pictures; there is nothing to run on")
    place = {item: index for index, item in enumerate(there)}
    subset = [[place[m] for m in query.members if m in place] for query in kept]
    references = np.array([place[query.reference] for query in kept], dtype=np.int64)
    query_ids, image_ids = [query.id for query in kept], list(there)
    digests = file_digests(list(there.values()))
    described = (
        *(part for pair in zip(there, digests, strict=True) for part in pair),
        *("missing", *(item for item in found if item not in there)),
        *(
            part
            for query in kept
            for part in (
                *(query.id, query.reference, query.target, query.text),
                *(str(query.set_id), *query.members),
            )
        ),
    )
    return ComposedQueries(
        name=name,
        images=ImageFiles(image_ids, list(there.values()), digests),
        references=references,
        texts=[query.text for query in kept],
        targets=[[place[query.target]] for query in kept],
        query_ids=query_ids,
        fingerprint=content_fingerprint([name, *described]),
        exclude_reference=True,
        subset=subset,
        recall_at=RECALL_AT,
        info={
            "missing_images": len(found) - len(there),
            "dropped_queries": len(queries) - len(kept),
            "id_hash": content_fingerprint([*query_ids, *image_ids]),
        },
        query_groups={
            "image": references,
            "image_set": np.array([query.set_id for query in kept], dtype=np.int64),
        },
    )
