"""Data sets in Karpathy's annotation format: COCO and Flickr30K (in BLIP's too), RSICD, RSITMD.

Where the files are looked for, below the folder given as DATA, first hit wins::

    coco/annotations/coco_karpathy_test.json        annotations (BLIP's release, or
    coco/annotations/dataset_coco.json              Karpathy's own file); also in
                                                    coco/annotation/, coco/ and without coco/
    coco/images/val2014/COCO_val2014_....jpg        images; also in coco/ and without coco/

    flickr30k/annotations/flickr30k_test.json       or dataset_flickr30k.json
    flickr30k/images/flickr30k-images/....jpg       also in flickr30k/ and without flickr30k/

An image is looked for under its annotated path first, then under its bare file name, because
folders of corrupted images are usually flat.

RSICD and RSITMD, aerial views with five sentences each, come as one file for all splits and one
flat folder. Many of their texts occur under several images. Only a text's own image is relevant,
as in TCR's left-over loaders.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

from benchmark.data.datasets.annotations import captions_of, read_json, relative_path, value
from benchmark.data.datasets.folders import Source
from benchmark.data.datasets.pairs import (
    AnnotatedImage,
    PairLoader,
    other_suffixes,
    records_of,
    sentences_of,
)

CAPTIONS_PER_IMAGE = 5
"""The first five count; some COCO images have six or seven (25,010 in all, 25,000 used)."""


def _read(file: Path, split: str) -> Iterator[AnnotatedImage]:
    data = read_json(file, drop="tokens")
    if isinstance(data, list):
        return _blip_images(data, file)
    return _karpathy_images(data, file, split)


def _blip_images(data: list[Any], file: Path) -> Iterator[AnnotatedImage]:
    """BLIP's form: ``[{"image": path, "caption": [text, ...]}, ...]``, one file per split."""
    for number, record in enumerate(data, start=1):
        where = f"{file}, record {number}"
        path = relative_path(value(record, "image", str, where), where)
        texts = captions_of(value(record, "caption", list, where), where, "caption")
        yield _image(path, tuple(texts))


def _karpathy_images(data: Any, file: Path, split: str) -> Iterator[AnnotatedImage]:
    """Karpathy's form: ``{"images": [{"filename", "split", "sentences": [{"raw"}]}]}``."""
    records = value(data, "images", list, str(file))
    for where, record in records_of(records, split, file, "images record"):
        folder = value(record, "filepath", str, where) if "filepath" in record else ""
        name = value(record, "filename", str, where)
        texts = sentences_of(record, where)
        yield _image(relative_path(f"{folder}/{name}" if folder else name, where), texts)


def _image(path: PurePosixPath, texts: tuple[str, ...]) -> AnnotatedImage:
    """The id is the file's bare name: the same in both annotation formats and in every folder."""
    return AnnotatedImage(path.stem, path, texts[:CAPTIONS_PER_IMAGE])


_NAMES_OF_2017 = ("images/train2017", "images/val2017", "train2017", "val2017")
_FLICKR_FOLDERS = ("flickr30k-images", "flickr30k_images")


def _as_in_2017(path: PurePosixPath) -> Iterator[PurePosixPath]:
    """The release of 2017 has the same pictures under their bare numbers, divided anew."""
    prefix, _, number = path.name.rpartition("_")
    if prefix.startswith("COCO_"):
        yield PurePosixPath(number)


_LISTS = "https://storage.googleapis.com/sfr-vision-language-research/datasets/"


def _no_splits(files: Sequence[str], ours: str) -> tuple[tuple[str, str], ...]:
    """Captions as their authors publish them, which do not say who is in Karpathy's test split."""
    advice = f"has no such split; fetch BLIP's list of the test split: curl -O {_LISTS}{ours}"
    return tuple((file, advice) for file in files)


load_coco = PairLoader(
    Source("coco", ("coco", "mscoco", ".")),
    ("coco_karpathy_{split}.json", "dataset_coco.json"),
    ("images", ".", "images/val2014", "val2014", *_NAMES_OF_2017),
    _read,
    _as_in_2017,
    instead=_no_splits(
        [f"captions_{part}{year}.json" for year in (2014, 2017) for part in ("val", "train")],
        "coco_karpathy_test.json",
    ),
)
"""COCO, Karpathy split."""

load_flickr30k = PairLoader(
    Source("flickr30k", ("flickr30k", ".")),
    ("flickr30k_{split}.json", "dataset_flickr30k.json", "dataset.json", "{split}.json"),
    # Karpathy's file leaves out the folder of the pictures.
    ("images", ".", *(f"{above}{own}" for above in ("images/", "") for own in _FLICKR_FOLDERS)),
    _read,
    instead=_no_splits(
        ["results_20130124.token", "results.csv", "captions.txt"], "flickr30k_test.json"
    ),
)
"""Flickr30K, Karpathy split."""


def _aerial(file: Path, split: str) -> Iterator[AnnotatedImage]:
    records = value(read_json(file, drop="tokens"), "images", list, str(file))
    for where, record in records_of(records, split, file, "images record"):
        path = relative_path(value(record, "filename", str, where), where)
        yield AnnotatedImage(path.stem, path, sentences_of(record, where))


load_rsicd = PairLoader(
    Source("rsicd", ("rsicd", ".")),
    ("dataset_rsicd.json",),
    ("RSICD_images", "images", "."),
    _aerial,
)
"""RSICD, only the own image relevant."""

load_rsitmd = PairLoader(
    Source("rsitmd", ("rsitmd", ".")),
    ("dataset_RSITMD.json", "dataset_rsitmd.json"),
    ("images", "RSITMD_images", "."),
    _aerial,
    other_suffixes(".png", ".jpg"),
)
"""RSITMD, only the own image relevant."""
