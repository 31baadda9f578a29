"""The shipped encoders' architecture: open_clip's CLIP in its plain form, bit for bit.

Importing open_clip brings timm, transformers and torchvision (2.3 s of one core) and, by
torchvision, torch._dynamo (3.3 s). Training uses open_clip's own class.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn


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
