"""ViTs of open_clip with random weights, which cost what trained ones cost."""

from __future__ import annotations

import open_clip
import torch

from benchmark.backbones.base import image_transform
from benchmark.backbones.towers import OpenClipBackbone


def random_vit(name: str, device: str = "cpu") -> OpenClipBackbone:
    """A CLIP model by open_clip's name ("ViT-B-32"), its weights drawn from a fixed seed."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = open_clip.create_model(name)
    facts = {"size": 224, "mean": (0.5, 0.5, 0.5), "std": (0.2, 0.2, 0.2)}
    facts |= {"interpolation": "bicubic", "resize_mode": "shortest", "fill_color": 0, "mode": "RGB"}
    return OpenClipBackbone(
        model,
        open_clip.get_tokenizer(name),
        image_transform("resize", facts),
        name=name,
        fingerprint="random",
        device=device,
    )
