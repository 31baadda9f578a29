"""RSICD and RSITMD: aerial views with five sentences each.

Both come as one file for all splits and one flat folder of pictures; a record of ``images`` has
``filename``, ``split`` and ``sentences``, a list of objects whose ``raw`` is the text. Many texts
occur under several images. By default only a text's own image is relevant, as in TCR's left-over
loaders. Variants are data sets with names of their own, so that results cannot be mixed up:

* ``load_rsicd_same_text``, ``load_rsitmd_same_text``: a text is relevant to every image with it,
  letter by letter;
* ``load_rsicd_first_1000``, ``load_rsitmd_first_450``: the left-over loaders' cap on the images.

Where files are looked for is in ``benchmark.data.datasets.layout``.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from pathlib import Path

from benchmark.data.datasets.annotations import captions_of, read_json, relative_path, value
from benchmark.data.datasets.base import ImageTextPairs, content_fingerprint
from benchmark.data.datasets.folders import Source
from benchmark.data.datasets.layout import LAYOUTS
from benchmark.data.datasets.pairs import Entry, PairSource, no_split

_RSICD = PairSource(
    Source("rsicd", ("rsicd", "RSICD", "."), LAYOUTS["rsicd"].access),
    ("dataset_rsicd.json",),
    ("RSICD_images", "images", "."),
)
_RSITMD = PairSource(
    Source("rsitmd", ("rsitmd", "RSITMD", "."), LAYOUTS["rsitmd"].access),
    ("dataset_RSITMD.json",),
    ("images", "RSITMD_images", "."),
)


def load_rsicd(
    root: Path | None, *, split: str = "test", allow_missing: bool = False
) -> ImageTextPairs:
    """RSICD, only the own image relevant."""
    return _load(_RSICD, root, split, allow_missing)


def load_rsitmd(
    root: Path | None, *, split: str = "test", allow_missing: bool = False
) -> ImageTextPairs:
    """RSITMD, only the own image relevant."""
    return _load(_RSITMD, root, split, allow_missing)


def load_rsicd_same_text(
    root: Path | None, *, split: str = "test", allow_missing: bool = False
) -> ImageTextPairs:
    """RSICD, every image that has the text relevant."""
    return _shared(load_rsicd(root, split=split, allow_missing=allow_missing))


def load_rsitmd_same_text(
    root: Path | None, *, split: str = "test", allow_missing: bool = False
) -> ImageTextPairs:
    """RSITMD, every image that has the text relevant."""
    return _shared(load_rsitmd(root, split=split, allow_missing=allow_missing))


def load_rsicd_first_1000(
    root: Path | None, *, split: str = "test", allow_missing: bool = False
) -> ImageTextPairs:
    """The split's first 1,000 images, as TCR's left-over loader stops there."""
    return _load(_RSICD, root, split, allow_missing, first=1000)


def load_rsitmd_first_450(
    root: Path | None, *, split: str = "test", allow_missing: bool = False
) -> ImageTextPairs:
    """The split's first 450 images, as TCR's left-over loader stops there."""
    return _load(_RSITMD, root, split, allow_missing, first=450)


def _shared(pairs: ImageTextPairs) -> ImageTextPairs:
    return dataclasses.replace(
        pairs,
        name=f"{pairs.name}, same text",
        fingerprint=content_fingerprint([pairs.fingerprint, "same text"]),
        shared_texts=True,
    )


def _load(
    source: PairSource,
    root: Path | None,
    split: str,
    allow_missing: bool,
    first: int | None = None,
) -> ImageTextPairs:
    annotation = source.annotation(root)
    assert root is not None  # refused above
    entries = list(_entries(annotation, split))[:first]
    name = split if first is None else f"{split} first {first}"
    return source.pairs(root, name, entries, allow_missing=allow_missing, where=annotation)


def _entries(file: Path, split: str) -> Iterator[Entry]:
    splits = set()
    records = value(read_json(file, drop="tokens"), "images", list, str(file))
    for number, record in enumerate(records, start=1):
        where = f"{file}, images record {number}"
        splits.add(value(record, "split", str, where))
        if record["split"] != split:
            continue
        path = relative_path(value(record, "filename", str, where), where)
        sentences = value(record, "sentences", list, where)
        texts = captions_of([value(s, "raw", str, where) for s in sentences], where, "sentences")
        yield Entry(path.stem, path, tuple(texts))
    if split not in splits:
        raise no_split(str(file), split, sorted(splits))
