"""COCO and Flickr30K in Karpathy's split, in BLIP's and in Karpathy's own annotation format.

Where the files are looked for, below the folder given as DATA, first hit wins::

    coco/annotations/coco_karpathy_test.json        annotations (BLIP's release, or
    coco/annotations/dataset_coco.json              Karpathy's own file); also in
                                                    coco/annotation/, coco/ and without coco/
    coco/images/val2014/COCO_val2014_....jpg        images; also in coco/ and without coco/

    flickr30k/annotations/flickr30k_test.json       or dataset_flickr30k.json
    flickr30k/images/flickr30k-images/....jpg       also in flickr30k/ and without flickr30k/

An image is looked for under its annotated path first, then under its bare file name, because
folders of corrupted images are usually flat.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Any

from benchmark.data.datasets.annotations import captions_of, read_json, relative_path, value
from benchmark.data.datasets.base import ImageTextPairs
from benchmark.data.datasets.folders import Source
from benchmark.data.datasets.layout import LAYOUTS
from benchmark.data.datasets.pairs import Entry, PairSource, no_split

CAPTIONS_PER_IMAGE = 5
"""The first five count; some COCO images have six or seven (25,010 in all, 25,000 used)."""

_COCO = PairSource(
    Source("coco", ("coco", "."), LAYOUTS["coco"].access),
    ("coco_karpathy_{split}.json", "dataset_coco.json"),
    ("images", ".", "images/val2014", "val2014"),
)
_FLICKR = PairSource(
    Source("flickr30k", ("flickr30k", "."), LAYOUTS["flickr30k"].access),
    ("flickr30k_{split}.json", "dataset_flickr30k.json"),
    # Karpathy's file leaves out the folder of the pictures.
    ("images", ".", "images/flickr30k-images", "flickr30k-images"),
)


def load_coco(
    root: Path | None, *, split: str = "test", allow_missing: bool = False
) -> ImageTextPairs:
    """COCO, Karpathy split; see the module for the layout and ``Loader`` for the arguments."""
    return _load(_COCO, root, split, allow_missing)


def load_flickr30k(
    root: Path | None, *, split: str = "test", allow_missing: bool = False
) -> ImageTextPairs:
    """Flickr30K, Karpathy split; see the module for the layout and ``Loader`` for arguments."""
    return _load(_FLICKR, root, split, allow_missing)


def _load(source: PairSource, root: Path | None, split: str, allow_missing: bool) -> ImageTextPairs:
    annotation = source.annotation(root, split)
    assert root is not None  # refused above
    entries = list(_entries(annotation, split))
    return source.pairs(root, split, entries, allow_missing=allow_missing, where=annotation)


def _entries(file: Path, split: str) -> Iterator[Entry]:
    data = read_json(file, drop="tokens")
    if isinstance(data, list):
        return _blip_entries(data, file)
    return _karpathy_entries(data, file, split)


def _blip_entries(data: list[Any], file: Path) -> Iterator[Entry]:
    """BLIP's form: ``[{"image": path, "caption": [text, ...]}, ...]``, one file per split."""
    for number, record in enumerate(data, start=1):
        where = f"{file}, record {number}"
        path = relative_path(value(record, "image", str, where), where)
        texts = captions_of(value(record, "caption", list, where), where, "caption")
        yield _entry(path, texts)


def _karpathy_entries(data: Any, file: Path, split: str) -> Iterator[Entry]:
    """Karpathy's form: ``{"images": [{"filename", "split", "sentences": [{"raw"}]}]}``."""
    splits: set[str] = set()
    records = value(data, "images", list, str(file))
    for number, record in enumerate(records, start=1):
        where = f"{file}, images record {number}"
        splits.add(value(record, "split", str, where))
        if record["split"] != split:
            continue
        folder = value(record, "filepath", str, where) if "filepath" in record else ""
        name = value(record, "filename", str, where)
        sentences = value(record, "sentences", list, where)
        texts = captions_of([value(s, "raw", str, where) for s in sentences], where, "sentences")
        path = relative_path(f"{folder}/{name}" if folder else name, where)
        yield _entry(path, texts)
    if split not in splits:
        raise no_split(str(file), split, sorted(splits))


def _entry(path: PurePosixPath, texts: list[str]) -> Entry:
    """The id is the file's bare name: the same in both annotation formats and in every folder."""
    return Entry(path.stem, path, tuple(texts[:CAPTIONS_PER_IMAGE]))
