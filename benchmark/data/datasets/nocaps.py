"""NoCaps validation: images with objects that COCO's captions know, nearly know, and do not know.

Two annotation files are read, with the same result: the official ``nocaps_val_4500_captions.json``
(COCO's caption form, each image with its domain) and TCR's list ``annotations.json``. Where they
and the images are looked for is in ``layout``. Images are ordered by file name
and keep their captions' order, so that the two forms give one fingerprint.

A domain's gallery holds that domain only; ``load_nocaps`` takes all three.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from benchmark.data.datasets.annotations import (
    captions_of,
    no_split,
    read_json,
    relative_path,
    value,
)
from benchmark.data.datasets.folders import Source
from benchmark.data.datasets.pairs import AnnotatedImage, PairLoader
from benchmark.errors import DataError, did_you_mean

DOMAINS = ("in-domain", "near-domain", "out-domain")


_FETCH = "curl -O https://nocaps.s3.amazonaws.com/nocaps_val_4500_captions.json"


def _read(annotation: Path, split: str) -> Iterator[AnnotatedImage]:
    if split != "val":
        raise no_split("nocaps (whose test captions are hidden)", split, ["val"])
    data = read_json(annotation)
    read = _listed if isinstance(data, list) else _official
    return iter(sorted(read(data, annotation), key=lambda image: image.id))


def _listed(data: list[Any], file: Path) -> Iterator[AnnotatedImage]:
    """TCR's form: ``[{"domain", "image", "caption": [text, ...]}, ...]``."""
    for number, record in enumerate(data, start=1):
        where = f"{file}, record {number}"
        if isinstance(record, dict) and "img_id" in record and "domain" not in record:
            raise DataError(
                f"{file} is BLIP's list, without the domains of the images; fetch the official "
                f"file into the same folder: {_FETCH}"
            )
        texts = captions_of(value(record, "caption", list, where), where, "caption")
        yield _image(value(record, "image", str, where), record, texts, where)


def _official(data: Any, file: Path) -> Iterator[AnnotatedImage]:
    """COCO's form: ``images`` with id, file name and domain; ``annotations`` with image id."""
    images = value(data, "images", list, str(file))
    annotations = value(data, "annotations", list, str(file))
    texts: dict[int, list[Any]] = {}
    for number, record in enumerate(images, start=1):
        where = f"{file}, images record {number}"
        key = value(record, "id", int, where)
        if key in texts:
            raise DataError(f"{where}: image id {key} occurs twice; ids must be unique")
        texts[key] = []
    for number, record in enumerate(annotations, start=1):
        where = f"{file}, annotations record {number}"
        key = value(record, "image_id", int, where)
        if key not in texts:
            raise DataError(f"{where}: there is no image with id {key}")
        texts[key].append(value(record, "caption", str, where))
    for number, record in enumerate(images, start=1):
        where = f"{file}, images record {number}"
        if not texts[record["id"]]:
            raise DataError(
                f"{where}: image {record['id']} has no annotation; expected at least one caption"
            )
        checked = captions_of(texts[record["id"]], where, "annotations")
        yield _image(value(record, "file_name", str, where), record, checked, where)


def _image(name: str, record: Any, texts: list[str], where: str) -> AnnotatedImage:
    domain = value(record, "domain", str, where)
    if domain not in DOMAINS:
        raise DataError(
            f"{where}: domain {domain!r} is unknown{did_you_mean(domain, DOMAINS)}; "
            f"expected one of {', '.join(DOMAINS)}"
        )
    path = relative_path(name, where)
    return AnnotatedImage(path.stem, path, tuple(texts), groups={"domain": domain})


def _within(domain: str) -> PairLoader:
    """A loader of the images of one domain."""

    def read(annotation: Path, split: str) -> Iterator[AnnotatedImage]:
        return (im for im in _read(annotation, split) if im.groups["domain"] == domain)

    return replace(load_nocaps, read=read, part=domain)


load_nocaps = PairLoader(
    Source("nocaps", ("nocaps", ".")),
    ("nocaps_val_4500_captions.json", "nocaps_val.json", "annotations.json"),
    ("images", "val", "validation", "images/validation", "image", "."),
    _read,
    instead=(
        ("nocaps_val_image_info.json", f"has no captions; fetch the file with them: {_FETCH}"),
    ),
    split="val",
)
"""All domains (4,500 images)."""

load_nocaps_in = _within("in-domain")
"""Images of COCO's object classes (648)."""

load_nocaps_near = _within("near-domain")
"""Images of COCO's classes and of others (2,938)."""

load_nocaps_out = _within("out-domain")
"""Images without any of COCO's object classes (914)."""
