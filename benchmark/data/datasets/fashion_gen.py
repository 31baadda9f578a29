"""Fashion-Gen validation, from JSON lines that ``convert_fashion_gen`` made of the pickles.

One record per image: ``img_name`` (``<product>_<k>.png``), ``captions`` (a text, or a list that is
joined by blanks as TCR's cleaning does) and, for the groups, ``super_cls_name``. The product is the
part of ``img_name`` before the first underscore: every caption of a product is relevant to every
image of it, both ways, so the repeated text of a product's images does no harm. This loader reads
text only and never unpickles. Where files are looked for is in ``benchmark.data.datasets.layout``.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from benchmark.data.datasets.annotations import captions_of, read_json_lines, relative_path, value
from benchmark.data.datasets.base import ImageTextPairs
from benchmark.data.datasets.folders import Source
from benchmark.data.datasets.layout import LAYOUTS
from benchmark.data.datasets.pairs import Entry, PairSource, no_split
from benchmark.errors import DataError

_SOURCE = PairSource(
    Source("fashion-gen", ("fashion-gen", "fashion_gen", "."), LAYOUTS["fashion-gen"].access),
    ("fashion_gen_validation.jsonl",),
    ("extracted_valid_images", "images", "."),
)


def load_fashion_gen(
    root: Path | None, *, split: str = "val", allow_missing: bool = False
) -> ImageTextPairs:
    """Fashion-Gen; see the module for the format and ``Loader`` for the arguments."""
    if split != "val":
        raise no_split("fashion-gen", split, ["val"])
    annotation = _SOURCE.annotation(root)
    assert root is not None  # refused above
    entries = [
        _entry(record, f"{annotation}, line {line}") for line, record in read_json_lines(annotation)
    ]
    return _SOURCE.pairs(root, split, entries, allow_missing=allow_missing, where=annotation)


def _entry(record: Any, where: str) -> Entry:
    path = relative_path(value(record, "img_name", str, where), where)
    product, underscore, _ = path.name.partition("_")
    if not product or not underscore:
        raise DataError(
            f"{where}: img_name {path.name!r} names no product; expected <product>_<number>.png"
        )
    category = value(record, "super_cls_name", str, where) if "super_cls_name" in record else ""
    return Entry(
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
