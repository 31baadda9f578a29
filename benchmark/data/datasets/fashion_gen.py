"""Fashion-Gen validation, from JSON lines that ``convert_fashion_gen`` made of the pickles.

One record per image: ``img_name`` (``<product>_<k>.png``), ``captions`` (a text, or a list that is
joined by blanks as TCR's cleaning does) and, for the groups, ``super_cls_name``. The product is the
part of ``img_name`` before the first underscore: every caption of a product is relevant to every
image of it, both ways, so the repeated text of a product's images does no harm. This loader reads
text only and never unpickles. Where files are looked for is in ``benchmark.data.datasets.layout``.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from benchmark.data.datasets.annotations import (
    captions_of,
    no_split,
    read_json_lines,
    relative_path,
    value,
)
from benchmark.data.datasets.folders import Source
from benchmark.data.datasets.pairs import AnnotatedImage, PairLoader
from benchmark.errors import DataError


def _read(file: Path, split: str) -> Iterator[AnnotatedImage]:
    if split != "val":
        raise no_split("fashion-gen", split, ["val"])
    for line, record in read_json_lines(file):
        yield _image(record, f"{file}, line {line}")


def _image(record: Any, where: str) -> AnnotatedImage:
    path = relative_path(value(record, "img_name", str, where), where)
    product, underscore, _ = path.name.partition("_")
    if not product or not underscore:
        raise DataError(
            f"{where}: img_name {path.name!r} names no product; expected <product>_<number>.png"
        )
    category = value(record, "super_cls_name", str, where) if "super_cls_name" in record else ""
    return AnnotatedImage(
        path.stem,
        path,
        (_caption(record, where),),
        identity=product,
        groups={"category": category},
    )


def _caption(record: Any, where: str) -> str:
    found = record.get("captions")
    texts = found if isinstance(found, list) else [value(record, "captions", str, where)]
    return " ".join(captions_of(texts, where, "captions"))


load_fashion_gen = PairLoader(
    Source("fashion-gen", ("fashion-gen", "fashion_gen", ".")),
    ("fashion_gen_validation.jsonl",),
    ("extracted_valid_images", "images", "."),
    _read,
    split="val",
)
"""Fashion-Gen; see the module for the format."""
