"""The shipped mini encoders."""

from __future__ import annotations

import gzip
import json
import zlib
from collections.abc import Callable
from functools import cache
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from benchmark.backbones.base import check_device, fingerprint
from benchmark.backbones.places import CONFIG_FILE
from benchmark.backbones.towers import OpenClipBackbone
from benchmark.backbones.transforms import image_transform
from benchmark.backbones.weight_file import read_weights
from benchmark.cell import BackboneSpec
from benchmark.errors import ConfigError, UnknownNameError, WeightsError, did_you_mean, reason_of
from benchmark.mini.pictures.encoder import Clip

if TYPE_CHECKING:
    from open_clip.tokenizer import SimpleTokenizer

NAME = "mini-clip"

ENCODERS = ("base", "flickr", "people-cuhk", "people-icfg")
"""The shipped encoders of pictures and captions."""


class MiniClip(OpenClipBackbone):
    """A ``DualEncoder`` that imports open_clip for its tokenizer, once there are texts."""

    def preprocess(self, modality: str) -> Callable[[Any], Tensor]:
        """One raw item -> one input tensor on the CPU."""
        if modality == "text":
            tokenizer()  # here, before loader workers are forked
        return super().preprocess(modality)


def load(spec: BackboneSpec) -> MiniClip:
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
    check_device(spec.device)
    folder = weights_folder(spec.model)
    model, config, stated, vocabulary = _read(folder)
    stated |= OTHERWISE
    facts = {"model": config, "preprocess": stated, "transform": spec.transform}
    return MiniClip(
        model,
        lambda texts: tokenizer()(texts),
        image_transform(spec.transform, stated),
        name=NAME if spec.model in ("", "base") else f"{NAME}-{spec.model}",
        fingerprint=fingerprint(facts, model, [vocabulary]),
        device=spec.device,
    )


def _read(folder: Path) -> tuple[Clip, dict[str, Any], dict[str, Any], bytes]:
    """A shipped encoder with its weights; "model_cfg" and "preprocess_cfg"; its vocabulary."""
    state, _ = read_weights(folder / "open_clip_model.safetensors")
    try:
        stated = json.loads((folder / CONFIG_FILE).read_text(encoding="utf-8"))
        with torch.random.fork_rng(devices=[]):  # initialisers use the global generator
            model = Clip(stated["model_cfg"])
        model.load_state_dict(state)
        vocabulary = gzip.decompress((folder / BPE_FILE).read_bytes())
    except (OSError, ValueError, KeyError, RuntimeError, EOFError, zlib.error) as error:
        raise WeightsError(
            f"the shipped encoder in {folder} is damaged ({reason_of(error)}); install the package "
            "again"
        ) from None
    return model, stated["model_cfg"], stated["preprocess_cfg"], vocabulary


OTHERWISE = {"interpolation": "bicubic", "resize_mode": "shortest", "fill_color": 0}
"""What open_clip adds to the shipped preprocessing."""
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
    """The tokeniser of all shipped encoders."""
    from open_clip.tokenizer import SimpleTokenizer

    return SimpleTokenizer(bpe_path=str(WEIGHTS / BPE_FILE), context_length=CONTEXT)
