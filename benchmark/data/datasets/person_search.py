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
from functools import partial
from pathlib import Path

from benchmark.data.datasets.annotations import captions_of, read_json, relative_path, value
from benchmark.data.datasets.folders import Source
from benchmark.data.datasets.pairs import AnnotatedImage, PairLoader, records_of
from benchmark.errors import DataError

_OF_ALL = "caption_all.json"
"""CUHK-PEDES's other file: some copies say splits in it, the published one does not."""


def _read(file: Path, split: str, *, one_text: bool = False) -> Iterator[AnnotatedImage]:
    """With ``one_text`` the captions may be the one text itself, as in some copies."""
    data = read_json(file, drop="processed_tokens")
    if not isinstance(data, list):
        raise DataError(f"{file}: expected a list of records with 'split', 'captions', 'file_path'")
    if file.name == _OF_ALL and not any("split" in record for record in data):
        raise DataError(
            f"{file} is there, but has no splits; take reid_raw.json of the same archive: "
            f"cp /path/to/archive/reid_raw.json {file.parent}"
        )
    for where, record in records_of(data, split, file, "record"):
        path = relative_path(value(record, "file_path", str, where), where)
        said = record.get("captions")
        alone = one_text and isinstance(said, str)
        listed = [said] if alone else value(record, "captions", list, where)
        texts = captions_of(listed, where, "captions")
        person = str(value(record, "id", int, where))
        yield AnnotatedImage(str(path), path, tuple(texts), identity=person)


load_cuhk_pedes = PairLoader(
    Source("cuhk-pedes", ("CUHK-PEDES", ".")),
    ("reid_raw.json", _OF_ALL),
    ("imgs", "."),
    _read,
)
"""CUHK-PEDES; splits train, val and test."""

load_icfg_pedes = PairLoader(
    Source("icfg-pedes", ("ICFG-PEDES", "ICFG_PEDES", ".")),
    ("ICFG-PEDES.json", "ICFG_PEDES.json"),
    ("imgs", "."),
    partial(_read, one_text=True),
)
"""ICFG-PEDES; splits train and test."""
