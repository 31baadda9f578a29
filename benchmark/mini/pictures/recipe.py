"""Everything that decides the mini weights: architecture, data amount, schedule."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

ARCHITECTURE: dict[str, Any] = {
    "embed_dim": 128,
    "vision_cfg": {
        "image_size": 64,
        "layers": 4,
        "width": 128,
        "head_width": 32,
        "patch_size": 8,
        "pool_type": "avg",
        "final_ln_after_pool": True,
    },
    "text_cfg": {
        "context_length": 64,
        "vocab_size": 2514,
        "width": 96,
        "heads": 3,
        "layers": 3,
    },
}
"""Arguments of open_clip's CLIP class; 2,514 = 2 x 256 bytes + 2,000 merges + start and end."""

PREPROCESS = {"size": [64, 64], "mode": "RGB", "mean": [0.5] * 3, "std": [0.25] * 3}


@dataclass(frozen=True)
class Recipe:
    """How the weights are trained.

    Attributes:
        world: source of the training scenes (``benchmark.mini.training.pictures_data.SOURCES``).
        start: shipped encoder whose weights training starts from; "" = from scratch.
        fresh_pictures: the picture tower starts from scratch all the same, so that it has never
            seen another style; only the language is known.
        triples: training scenes, each drawn twice and once edited.
        steps: optimiser steps.
        batch: triples a step; three times as many image-caption pairs.
        lr: peak learning rate (AdamW, linear warm-up, then a cosine that would end at ``horizon``,
            cut short by a linear ``cooldown`` to zero over the last steps).
        image_weight: weight of the image-to-image contrastive term.
        dense_weight: weight of the per-patch attribute heads, dropped after training.
        pooled_weight: weight of the whole-picture attribute heads, dropped after training.
        ema: decay of the averaged weights that are shipped.
    """

    world: str = "base"
    start: str = ""
    fresh_pictures: bool = False
    seed: int = 0
    triples: int = 30_000
    steps: int = 1300
    batch: int = 64
    lr: float = 2e-3
    weight_decay: float = 0.05
    warmup: int = 150
    horizon: int = 2600
    cooldown: int = 300
    image_weight: float = 0.3
    dense_weight: float = 0.6
    pooled_weight: float = 0.6
    ema: float = 0.995


_PEOPLE = Recipe(
    world="people-cuhk",
    start="base",
    triples=4000,
    steps=120,
    lr=5e-4,
    warmup=15,
    horizon=240,
    cooldown=40,
    dense_weight=0.0,
    pooled_weight=0.0,
    ema=0.97,
)

RECIPES: dict[str, Recipe] = {
    "base": Recipe(),
    "flickr": Recipe(
        world="flickr",
        start="base",
        fresh_pictures=True,
        triples=24_000,
        steps=520,
        warmup=80,
        horizon=1100,
        cooldown=150,
    ),
    "people-cuhk": _PEOPLE,
    "people-icfg": replace(_PEOPLE, world="people-icfg"),
}
"""Shipped encoder -> how it is trained."""
