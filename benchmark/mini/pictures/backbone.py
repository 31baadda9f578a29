"""The shipped mini encoders, read by the same code as a user's own local checkpoint."""

from __future__ import annotations

from functools import cache
from importlib import resources
from pathlib import Path

from open_clip.tokenizer import SimpleTokenizer

from benchmark.backbones.open_clip import OpenClipBackbone, load_local_dir
from benchmark.cell import BackboneSpec
from benchmark.errors import ConfigError, UnknownNameError, did_you_mean

NAME = "mini-clip"

ENCODERS = ("base", "flickr", "people-cuhk", "people-icfg")
"""The shipped encoders of pictures and captions."""


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
    if spec.model and spec.model not in ENCODERS:
        raise UnknownNameError(
            f"unknown mini encoder {spec.model!r}{did_you_mean(spec.model, ENCODERS)}; there are "
            f"{', '.join(ENCODERS)}; for other models use the open_clip backbone (SUITE=paper)"
        )
    name = NAME if spec.model in ("", "base") else f"{NAME}-{spec.model}"
    return load_local_dir(weights_folder(spec.model), spec.transform, spec.device, name=name)


CONTEXT = 64
"""Tokens; the longest caption of the mini world has 50, which leaves room for typos."""
WEIGHTS = Path(str(resources.files("benchmark"))) / "mini" / "weights"
"""The base encoder's folder; each other encoder has a folder of its name in it."""
BPE_FILE = "bpe_simple_vocab.txt.gz"


def weights_folder(encoder: str) -> Path:
    """Where a shipped encoder lies; "" and "base" are the base encoder."""
    return WEIGHTS if encoder in ("", "base") else WEIGHTS / encoder


@cache
def tokenizer() -> SimpleTokenizer:
    return SimpleTokenizer(bpe_path=str(WEIGHTS / BPE_FILE), context_length=CONTEXT)
