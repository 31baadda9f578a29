"""The shipped mini encoders, read by the same code as a user's own local checkpoint."""

from __future__ import annotations

import gzip
from functools import cache
from importlib import resources
from pathlib import Path
from typing import IO

from open_clip.tokenizer import SimpleTokenizer

from benchmark.backbones.open_clip import OpenClipBackbone, load_local_dir
from benchmark.cell import BackboneSpec
from benchmark.config.files import atomic_write
from benchmark.errors import ConfigError, UnknownNameError, did_you_mean
from benchmark.mini.recipes import PICTURES

NAME = "mini-clip"


def load(spec: BackboneSpec) -> OpenClipBackbone:
    """Loads one of the shipped encoders; the specification's model "" is the base encoder.

    Raises:
        ConfigError: the specification names weights of its own.
        UnknownNameError: there is no such encoder.
        WeightsError: the shipped files are missing or damaged.
    """
    if spec.pretrained:
        raise ConfigError(
            "the mini backbone has weights of its own; for PRETRAINED use the open_clip backbone "
            "(SUITE=paper)"
        )
    if spec.model and spec.model not in PICTURES:
        raise UnknownNameError(
            f"unknown mini encoder {spec.model!r}{did_you_mean(spec.model, PICTURES)}; there are "
            f"{', '.join(PICTURES)}; for other models use the open_clip backbone (SUITE=paper)"
        )
    name = NAME if spec.model in ("", "base") else f"{NAME}-{spec.model}"
    return load_local_dir(weights_folder(spec.model), spec.transform, spec.device, name=name)


MERGES = 2000
CONTEXT = 64
"""Tokens; the longest caption of the mini world has 50, which leaves room for typos."""
WEIGHTS = Path(str(resources.files("benchmark"))) / "mini" / "weights"
"""The base encoder's folder; each other encoder has a folder of its name in it."""
BPE_FILE = "bpe_simple_vocab.txt.gz"


def weights_folder(encoder: str) -> Path:
    """Where a shipped encoder lies; "" and "base" are the base encoder."""
    return WEIGHTS if encoder in ("", "base") else WEIGHTS / encoder


def write_merges(target: Path) -> None:
    """Writes the shortened merge list, cut from the list that open_clip ships."""
    source = resources.files("open_clip") / "bpe_simple_vocab_16e6.txt.gz"
    with source.open("rb") as stream, gzip.open(stream, "rt", encoding="utf-8") as text:
        lines = [next(text) for _ in range(MERGES + 1)]  # the first line is a header

    def write(file: IO[bytes]) -> None:
        with gzip.GzipFile("", "wb", 9, file, mtime=0) as packed:
            packed.write("".join(lines).encode("utf-8").rstrip(b"\n"))

    atomic_write(target, write)


@cache
def tokenizer() -> SimpleTokenizer:
    return SimpleTokenizer(bpe_path=str(WEIGHTS / BPE_FILE), context_length=CONTEXT)
