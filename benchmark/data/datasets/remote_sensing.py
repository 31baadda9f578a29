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

from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path

from benchmark.data.datasets.annotations import read_json, relative_path, value
from benchmark.data.datasets.base import ImageTextPairs, content_fingerprint
from benchmark.data.datasets.folders import Source
from benchmark.data.datasets.pairs import (
    AnnotatedImage,
    PairLoader,
    other_suffixes,
    records_of,
    sentences_of,
)


def _read(file: Path, split: str) -> Iterator[AnnotatedImage]:
    records = value(read_json(file, drop="tokens"), "images", list, str(file))
    for where, record in records_of(records, split, file, "images record"):
        path = relative_path(value(record, "filename", str, where), where)
        yield AnnotatedImage(path.stem, path, sentences_of(record, where))


def _first(count: int, of: PairLoader) -> PairLoader:
    """A loader of the split's first images alone."""

    def read(file: Path, split: str) -> Iterator[AnnotatedImage]:
        return islice(_read(file, split), count)

    return replace(of, read=read, part=f"first {count}")


@dataclass(frozen=True, slots=True)
class _SameText:
    """A loader after which every image that has a text is relevant to it."""

    of: PairLoader

    def __call__(
        self, root: Path | None, *, split: str = "test", allow_missing: bool = False
    ) -> ImageTextPairs:
        pairs = self.of(root, split=split, allow_missing=allow_missing)
        return replace(
            pairs,
            name=f"{pairs.name}, same text",
            fingerprint=content_fingerprint([pairs.fingerprint, "same text"]),
            shared_texts=True,
        )


load_rsicd = PairLoader(
    Source("rsicd", ("rsicd", ".")),
    ("dataset_rsicd.json",),
    ("RSICD_images", "images", "."),
    _read,
)
"""RSICD, only the own image relevant."""

load_rsitmd = PairLoader(
    Source("rsitmd", ("rsitmd", ".")),
    ("dataset_RSITMD.json", "dataset_rsitmd.json"),
    ("images", "RSITMD_images", "."),
    _read,
    other_suffixes(".png", ".jpg"),
)
"""RSITMD, only the own image relevant."""

load_rsicd_same_text = _SameText(load_rsicd)
load_rsitmd_same_text = _SameText(load_rsitmd)
load_rsicd_first_1000 = _first(1000, load_rsicd)
load_rsitmd_first_450 = _first(450, load_rsitmd)
