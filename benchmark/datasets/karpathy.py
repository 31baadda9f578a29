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

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from benchmark.datasets.annotations import captions_of, read_json, relative_path, value
from benchmark.datasets.base import ImageTextPairs, content_fingerprint
from benchmark.errors import DataError
from benchmark.images import ImageFiles

CAPTIONS_PER_IMAGE = 5
"""The first five count; some COCO images have six or seven (25,010 in all, 25,000 used)."""

_ANNOTATION_FOLDERS = ("annotations", "annotation", ".")
_IMAGE_FOLDERS = ("images", ".")


@dataclass(frozen=True, slots=True)
class _Source:
    """How a data set's files are called.

    Attributes:
        name: data set name.
        folders: folders below the data root, in order.
        files: annotation file names, "{split}" where it occurs.
        image_folder: sub-folder that annotated paths usually start with, where files may lie
            although the annotations leave it out (Karpathy's Flickr30K file does).
        access: where to get it, for the error message.
    """

    name: str
    folders: tuple[str, ...]
    files: tuple[str, ...]
    image_folder: str
    access: str


_COCO = _Source(
    "coco",
    ("coco", "."),
    ("coco_karpathy_{split}.json", "dataset_coco.json"),
    "val2014",
    "images: cocodataset.org, '2014 Val images'; annotations: BLIP's coco_karpathy_test.json or "
    "Karpathy's dataset_coco.json",
)
_FLICKR = _Source(
    "flickr30k",
    ("flickr30k", "."),
    ("flickr30k_{split}.json", "dataset_flickr30k.json"),
    "flickr30k-images",
    "images: by the request form of the Flickr30K authors; annotations: BLIP's "
    "flickr30k_test.json or Karpathy's dataset_flickr30k.json",
)


@dataclass(frozen=True, slots=True)
class _Entry:
    path: PurePosixPath
    captions: tuple[str, ...]

    @property
    def id(self) -> str:
        """The file's bare name: the same in both annotation formats and in every folder."""
        return self.path.stem


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


def _load(source: _Source, root: Path | None, split: str, allow_missing: bool) -> ImageTextPairs:
    annotation = _find_annotation(source, root, split)
    assert root is not None  # _find_annotation refuses None
    entries = _read_entries(annotation, split)
    _refuse_duplicates(entries, annotation)
    roots = _image_roots(source, root)
    found = _find_images([entry.path for entry in entries], roots, source.image_folder)
    missing = [e for e, hit in zip(entries, found, strict=True) if hit is None]
    if missing and (not allow_missing or len(missing) == len(entries)):
        raise DataError(_missing_message(source, missing, len(entries), roots))
    kept = [(e, hit) for e, hit in zip(entries, found, strict=True) if hit is not None]
    return _pairs(source, split, kept, len(missing))


def _find_annotation(source: _Source, root: Path | None, split: str) -> Path:
    if root is None:
        raise DataError(
            f"data set {source.name!r} needs your own copy: give its folder with DATA=/path "
            f"(--data /path). {source.access}"
        )
    if not root.is_dir():
        raise DataError(f"the data folder {root} does not exist or is not a folder (DATA=/path)")
    candidates = [
        Path(os.path.normpath(root / folder / sub / name.format(split=split)))
        for folder in source.folders
        for sub in _ANNOTATION_FOLDERS
        for name in source.files
    ]
    for candidate in candidates:
        if candidate.is_file():
            return candidate
    looked = "\n  ".join(str(c) for c in candidates)
    raise DataError(
        f"no annotations of {source.name!r}, split {split!r}, under {root}; looked for\n  {looked}"
        f"\n{source.access}"
    )


def _read_entries(annotation: Path, split: str) -> list[_Entry]:
    data = read_json(annotation)
    if isinstance(data, list):
        entries = list(_blip_entries(data, annotation))
    else:
        entries = list(_karpathy_entries(data, annotation, split))
    if not entries:
        raise DataError(f"{annotation} has no record")
    return entries


def _blip_entries(data: list[Any], file: Path) -> Iterator[_Entry]:
    """BLIP's form: ``[{"image": path, "caption": [text, ...]}, ...]``, one file per split."""
    for number, record in enumerate(data, start=1):
        where = f"{file}, record {number}"
        path = relative_path(value(record, "image", str, where), where)
        texts = captions_of(value(record, "caption", list, where), where, "caption")
        yield _Entry(path, tuple(texts[:CAPTIONS_PER_IMAGE]))


def _karpathy_entries(data: Any, file: Path, split: str) -> Iterator[_Entry]:
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
        yield _Entry(path, tuple(texts[:CAPTIONS_PER_IMAGE]))
    if split not in splits:
        known = ", ".join(map(repr, sorted(splits))) or "none"
        raise DataError(f"{file} has no split {split!r}; it has {known}")


def _refuse_duplicates(entries: Sequence[_Entry], annotation: Path) -> None:
    first: dict[str, int] = {}
    for number, entry in enumerate(entries, start=1):
        if entry.id in first:
            raise DataError(
                f"{annotation}: image {entry.id!r} occurs twice in the split, as entry "
                f"{first[entry.id]} and as entry {number}; each image must have one record"
            )
        first[entry.id] = number


def _image_roots(source: _Source, root: Path) -> list[Path]:
    folders = [
        Path(os.path.normpath(root / folder / sub))
        for folder in source.folders
        for sub in _IMAGE_FOLDERS
    ]
    return [folder for folder in dict.fromkeys(folders) if folder.is_dir()]


def _find_images(
    paths: Sequence[PurePosixPath], roots: Sequence[Path], image_folder: str
) -> list[Path | None]:
    """Each image's file: annotated path in any root first, then the base name.

    Folders are listed once each, which is far cheaper than asking for every file.
    """
    listings: dict[Path, frozenset[str]] = {}

    def holds(folder: Path, name: str) -> bool:
        if folder not in listings:
            listings[folder] = _file_names(folder)
        return name in listings[folder]

    def locate(path: PurePosixPath) -> Path | None:
        below = [root / path.parent for root in roots]
        bare = [root / sub for root in roots for sub in (".", image_folder)]
        hits = (folder / path.name for folder in (*below, *bare) if holds(folder, path.name))
        return next(hits, None)

    return [locate(path) for path in paths]


def _file_names(folder: Path) -> frozenset[str]:
    try:
        with os.scandir(folder) as entries:
            return frozenset(entry.name for entry in entries if entry.is_file())
    except (FileNotFoundError, NotADirectoryError):
        return frozenset()
    except OSError as error:
        raise DataError(f"cannot list {folder}: {error.strerror or error}") from None


def _missing_message(
    source: _Source, missing: Sequence[_Entry], total: int, roots: Sequence[Path]
) -> str:
    names = ", ".join(str(entry.path) for entry in missing[:5])
    more = ", ..." if len(missing) > 5 else ""
    looked = ", ".join(map(str, roots))
    advice = (
        "none is there, so there is nothing to run on"
        if len(missing) == total
        else "complete the copy, or run on what is there with --allow-missing"
    )
    return (
        f"{len(missing)} of {total} images of {source.name!r} are missing: {names}{more}; "
        f"looked under {looked} for the annotated path, then for the bare file name; "
        f"{advice}. {source.access}"
    )


def _pairs(
    source: _Source, split: str, kept: Sequence[tuple[_Entry, Path]], missing: int
) -> ImageTextPairs:
    entries = [entry for entry, _ in kept]
    paths = [path for _, path in kept]
    counts = np.array([len(entry.captions) for entry in entries], dtype=np.int64)
    sizes = (str(path.stat().st_size) for path in paths)
    described = (
        part
        for entry, size in zip(entries, sizes, strict=True)
        for part in (entry.id, size, str(len(entry.captions)), *entry.captions)
    )
    return ImageTextPairs(
        name=f"{source.name} {split}",
        images=ImageFiles([entry.id for entry in entries], paths),
        captions=[text for entry in entries for text in entry.captions],
        caption_ids=[f"{e.id}#{k}" for e in entries for k in range(len(e.captions))],
        caption_image=np.repeat(np.arange(len(entries), dtype=np.int64), counts),
        fingerprint=content_fingerprint([source.name, split, *described]),
        info={"missing_images": missing},
    )
