"""The shipped mini encoders: open_clip's CLIP in its plain form, bit for bit.

Importing open_clip brings timm, transformers and torchvision (2.3 s of one core) and, by
torchvision, torch._dynamo (3.3 s). Training uses open_clip's own class.
"""

from __future__ import annotations

import gzip
import json
import zlib
from collections.abc import Callable, Mapping
from functools import cache
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from benchmark.backbones.base import fingerprint, image_transform
from benchmark.backbones.places import CONFIG_FILE, check_name
from benchmark.backbones.towers import OpenClipBackbone
from benchmark.backbones.weight_file import read_weights
from benchmark.cell import BackboneSpec
from benchmark.errors import ConfigError, WeightsError, reason_of
from benchmark.registry import BACKBONES

if TYPE_CHECKING:
    from open_clip.tokenizer import SimpleTokenizer

NAME = "mini-clip"

ENCODERS: tuple[str, ...] = BACKBONES.info("mini").facts["models"]


class _Norm(nn.LayerNorm):
    """In float32 under autocast, the result as the input was."""

    def forward(self, input: Tensor) -> Tensor:
        return super().forward(input).to(input.dtype)


class _Block(nn.Module):
    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.ln_1 = _Norm(width)
        self.attn = nn.MultiheadAttention(width, heads, batch_first=True)
        self.ln_2 = _Norm(width)
        self.mlp = nn.Sequential()
        self.mlp.add_module("c_fc", nn.Linear(width, 4 * width))
        self.mlp.add_module("gelu", nn.GELU())
        self.mlp.add_module("c_proj", nn.Linear(4 * width, width))

    def forward(self, x: Tensor, mask: Tensor | None) -> Tensor:
        y = self.ln_1(x)
        x = x + self.attn(y, y, y, need_weights=False, attn_mask=mask)[0]
        return x + self.mlp(self.ln_2(x))


class Transformer(nn.Module):
    """Blocks of attention and a perceptron, each after a norm."""

    def __init__(self, width: int, layers: int, heads: int) -> None:
        super().__init__()
        self.resblocks = nn.ModuleList(_Block(width, heads) for _ in range(layers))

    def forward(self, x: Tensor, attn_mask: Tensor | None = None) -> Tensor:
        mask = None if attn_mask is None else attn_mask.to(x.dtype)
        for block in self.resblocks:
            x = block(x, mask)
        return x


class Vision(nn.Module):
    """A vision transformer that is read out at the mean of its patches."""

    def __init__(self, config: Mapping[str, int], out: int) -> None:
        super().__init__()
        width, patch = config["width"], config["patch_size"]
        places = (config["image_size"] // patch) ** 2 + 1
        self.class_embedding = nn.Parameter(torch.empty(width))
        self.positional_embedding = nn.Parameter(torch.empty(places, width))
        self.proj = nn.Parameter(torch.empty(width, out))
        self.conv1 = nn.Conv2d(3, width, patch, patch, bias=False)
        self.ln_pre = _Norm(width)
        self.transformer = Transformer(width, config["layers"], width // config["head_width"])
        self.ln_post = _Norm(width)

    def forward(self, images: Tensor) -> Tensor:
        return self.states(images)[1] @ self.proj

    def states(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Patches (B, P, W) after the last block, and what the picture is read out from (B, W)."""
        x = self.conv1(images).flatten(2).permute(0, 2, 1)
        first = self.class_embedding.view(1, 1, -1).expand(len(x), -1, -1).to(x.dtype)
        x = torch.cat([first, x], dim=1) + self.positional_embedding.to(x.dtype)
        patches = self.transformer(self.ln_pre(x))[:, 1:]
        return patches, self.ln_post(patches.mean(dim=1))


class Clip(nn.Module):
    """Both towers, their parts named as open_clip's class ``CLIP`` names them.

    Args:
        config: "model_cfg" of the shipped configuration.
    """

    text_pool_type = "argmax"
    text_eos_id = -1  # the end token is known by being the largest

    def __init__(self, config: Mapping[str, Any]) -> None:
        super().__init__()
        text, out = config["text_cfg"], config["embed_dim"]
        context, width = text["context_length"], text["width"]
        self.positional_embedding = nn.Parameter(torch.empty(context, width))
        self.text_projection = nn.Parameter(torch.empty(width, out))
        self.logit_scale = nn.Parameter(torch.empty(()))
        self.visual = Vision(config["vision_cfg"], out)
        self.transformer = Transformer(width, text["layers"], text["heads"])
        self.token_embedding = nn.Embedding(text["vocab_size"], width)
        self.ln_final = _Norm(width)
        causal = torch.full((context, context), float("-inf")).triu_(1)
        self.register_buffer("attn_mask", causal, persistent=False)


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
    check_name("mini", spec.model)
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
