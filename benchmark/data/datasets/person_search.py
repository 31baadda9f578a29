"""CUHK-PEDES and ICFG-PEDES: people described in words, relevant by identity.

Both annotation files are one list for all splits: ``split``, ``captions`` (a list), ``file_path``,
``id``, ``processed_tokens`` (not used). All captions of all images of a person are relevant to all
of them, both ways. Captions stay as they are: the published protocol cleans nothing beyond what
CLIP's tokenizer does, so the benchmarks' cards say ``cleaning: none``. Where files are looked for
is in ``benchmark.data.datasets.layout``.

Image ids are annotated paths, because the folders of CUHK-PEDES come from other data sets whose
file names may coincide.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from benchmark.data.datasets.annotations import captions_of, read_json, relative_path, value
from benchmark.data.datasets.base import ImageTextPairs
from benchmark.data.datasets.folders import Source
from benchmark.data.datasets.layout import LAYOUTS
from benchmark.data.datasets.pairs import Entry, PairSource, no_split
from benchmark.errors import DataError

_CUHK = PairSource(
    Source("cuhk-pedes", ("CUHK-PEDES", "cuhk-pedes", "."), LAYOUTS["cuhk-pedes"].access),
    ("reid_raw.json",),
    ("imgs", "."),
)
_ICFG = PairSource(
    Source(
        "icfg-pedes",
        ("ICFG-PEDES", "ICFG_PEDES", "icfg-pedes", "."),
        LAYOUTS["icfg-pedes"].access,
    ),
    ("ICFG-PEDES.json", "ICFG_PEDES.json"),
    ("imgs", "."),
)


def load_cuhk_pedes(
    root: Path | None, *, split: str = "test", allow_missing: bool = False
) -> ImageTextPairs:
    """CUHK-PEDES; splits train, val and test."""
    return _load(_CUHK, root, split, allow_missing)


def load_icfg_pedes(
    root: Path | None, *, split: str = "test", allow_missing: bool = False
) -> ImageTextPairs:
    """ICFG-PEDES; splits train and test."""
    return _load(_ICFG, root, split, allow_missing)


def _load(source: PairSource, root: Path | None, split: str, allow_missing: bool) -> ImageTextPairs:
    annotation = source.annotation(root)
    assert root is not None  # refused above
    entries = list(_entries(annotation, split))
    return source.pairs(root, split, entries, allow_missing=allow_missing, where=annotation)


def _entries(file: Path, split: str) -> Iterator[Entry]:
    data = read_json(file, drop="processed_tokens")
    if not isinstance(data, list):
        raise DataError(f"{file}: expected a list of records with 'split', 'captions', 'file_path'")
    splits = set()
    for number, record in enumerate(data, start=1):
        where = f"{file}, record {number}"
        splits.add(value(record, "split", str, where))
        if record["split"] != split:
            continue
        path = relative_path(value(record, "file_path", str, where), where)
        texts = captions_of(value(record, "captions", list, where), where, "captions")
        person = str(value(record, "id", int, where))
        yield Entry(str(path), path, tuple(texts), identity=person)
    if split not in splits:
        raise no_split(str(file), split, sorted(splits))
