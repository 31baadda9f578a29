"""A tiny random BLIP of transformers' own class, in a folder as its models come."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from benchmark.backbones import blip
from benchmark.backbones.base import TwoTowers
from benchmark.cell import BackboneSpec
from tests.benchmark.backbones.contract import collated
from tests.benchmark.backbones.fixtures_open_clip import images

transformers = pytest.importorskip(
    "transformers", reason="the blip backbone needs transformers: pip install 'queryshift[blip]'"
)

WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "a", "dog", "##s", "two", ",", "kite"]
CONFIG: dict[str, Any] = {
    "model_type": "blip",
    "image_text_hidden_size": 8,
    "text_config": {
        "hidden_size": 16,
        "intermediate_size": 32,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "vocab_size": 32,
        "max_position_embeddings": 40,
        "bos_token_id": 30,
        "sep_token_id": 3,
    },
    "vision_config": {
        "hidden_size": 24,
        "intermediate_size": 32,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "image_size": 32,
        "patch_size": 16,
    },
}
TEXTS = ["a dog", "two dogs, a kite", "", "kite"]


def random_model(seed: int = 0) -> nn.Module:
    """transformers' own class; norms and biases are random too, so that nothing is neutral."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        config = transformers.BlipConfig.from_dict(copy.deepcopy(CONFIG))
        model: nn.Module = transformers.BlipForImageTextRetrieval(config).eval()
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.2 * torch.randn(parameter.shape, generator=generator))
    return model


def write_folder(folder: Path, seed: int = 0) -> Path:
    folder.mkdir(parents=True)
    (folder / "config.json").write_text(json.dumps(CONFIG))
    (folder / "vocab.txt").write_text("\n".join(WORDS))
    save_file(dict(random_model(seed).state_dict()), folder / "model.safetensors")
    return folder


def load(model: Path | str, pretrained: Path | str = "", **other: str) -> TwoTowers:
    return blip.load(BackboneSpec("blip", str(model), str(pretrained), **other))


def inputs(backbone: TwoTowers, modality: str) -> Tensor:
    return collated(backbone, modality, images() if modality == "image" else TEXTS)
