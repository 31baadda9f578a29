"""Small open_clip models and their folders."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
from open_clip.tokenizer import default_bpe
from safetensors.torch import save_file
from torch import nn

from benchmark.backbones.open_clip import build_model, load
from benchmark.backbones.towers import OpenClipBackbone
from benchmark.cell import BackboneSpec
from tests.benchmark.backbones.contract import collated

MERGES = 300
VOCABULARY = 512 + MERGES + 2
CONFIG: dict[str, Any] = {
    "embed_dim": 16,
    "vision_cfg": {"image_size": 32, "layers": 2, "width": 32, "head_width": 16, "patch_size": 8},
    "text_cfg": {
        "context_length": 20,
        "vocab_size": VOCABULARY,
        "width": 24,
        "heads": 2,
        "layers": 2,
    },
}
TEXTS = ["a dog", "two dogs, a kite", "", "cup"]


def layer_norm_scalars(module: nn.Module) -> int:
    """Number of LayerNorm weights and biases in a module, layers chosen by type."""
    norms = [m for m in module.modules() if isinstance(m, nn.LayerNorm)]
    return sum(p.numel() for norm in norms for p in norm.parameters(recurse=False))


def write_weights(model: nn.Module, path: Path) -> None:
    state = {key: value.contiguous().clone() for key, value in model.state_dict().items()}
    save_file(state, path)


def random_model(config: dict[str, Any], seed: int = 0) -> nn.Module:
    """A model whose weights are all random, norms and biases too, so that nothing is neutral."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = build_model(config, "toy")
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.1 * torch.randn(parameter.shape, generator=generator))
    return model


def write_folder(folder: Path, config: dict[str, Any], seed: int = 0, **extra: Any) -> Path:
    """A local model folder as the package ships one: configuration, weights, small vocabulary."""
    folder.mkdir(parents=True)
    (folder / "open_clip_config.json").write_text(json.dumps({"model_cfg": config, **extra}))
    write_weights(random_model(config, seed), folder / "open_clip_model.safetensors")
    with gzip.open(default_bpe(), "rt", encoding="utf-8") as stream:
        lines = [next(stream).rstrip("\n") for _ in range(MERGES + 1)]
    with gzip.open(folder / "bpe_simple_vocab.txt.gz", "wt", encoding="utf-8") as out:
        out.write("\n".join(lines))
    return folder


def load_local_dir(
    folder: Path | str, transform: str = "resize", device: str = "cpu"
) -> OpenClipBackbone:
    return load(BackboneSpec("open_clip", f"local-dir:{folder}", "", transform, device))


def images(count: int = 3) -> list[np.ndarray]:
    rng = np.random.default_rng(0)
    return [rng.integers(0, 256, (30 + 7 * i, 50, 3), dtype=np.uint8) for i in range(count)]


def inputs(backbone: OpenClipBackbone, modality: str) -> torch.Tensor:
    return collated(backbone, modality, images() if modality == "image" else TEXTS)
