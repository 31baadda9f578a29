"""Everything that decides the shipped weights: architectures, amounts of data, schedules."""

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


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """How weights are trained.

    Attributes:
        seed: of all draws.
        steps: optimiser steps.
        batch: items a step.
        lr: peak learning rate (AdamW, linear warm-up, cosine to zero).
        weight_decay: AdamW's, of parameters that are no vectors.
        warmup: steps.
        ema: decay of the averaged weights that are shipped.
    """

    seed: int = 0
    steps: int
    batch: int
    lr: float = 2e-3
    weight_decay: float = 0.05
    warmup: int = 150
    ema: float = 0.995


@dataclass(frozen=True, kw_only=True)
class PictureRecipe(Recipe):
    """An encoder of pictures and captions; items are triples of pictures with captions.

    The cosine would end at ``horizon`` and is cut short by a linear ``cooldown`` to zero over the
    last steps.

    Attributes:
        world: source of the training scenes (``training.pictures.SOURCES``).
        start: shipped encoder whose weights training starts from; "" = from scratch.
        fresh_pictures: the picture tower starts from scratch all the same, so that it has never
            seen another style; only the language is known.
        triples: training scenes, each drawn twice and once edited.
        image_weight: weight of the image-to-image contrastive term.
        dense_weight: weight of the per-patch attribute heads, dropped after training.
        pooled_weight: weight of the whole-picture attribute heads, dropped after training.
    """

    world: str = "base"
    start: str = ""
    fresh_pictures: bool = False
    triples: int = 30_000
    steps: int = 1300
    batch: int = 64
    horizon: int = 2600
    cooldown: int = 300
    image_weight: float = 0.3
    dense_weight: float = 0.6
    pooled_weight: float = 0.6


@dataclass(frozen=True, kw_only=True)
class ClipRecipe(Recipe):
    """The video-audio encoder; items are clips, half of them in each style.

    Attributes:
        clips: training clips.
        attribute_weight: weight of the heads that name a clip's attributes from each tower's
            pooled features; like the next ones dropped after training.
        place_weight: weight of the heads that name an event's attributes at its place in the video.
        sensor_noise: the most extra noise on training frames, of full scale.
        quietest: the least extra noise on training sounds, as signal-to-noise ratio in dB.
        loudest: the most.
    """

    clips: int = 30_000
    steps: int = 1400
    batch: int = 128
    attribute_weight: float = 0.5
    place_weight: float = 0.3
    sensor_noise: float = 0.05
    quietest: float = 50.0
    loudest: float = 10.0


@dataclass(frozen=True, kw_only=True)
class CombinerRecipe(Recipe):
    """A combiner on features of the frozen base; items are families.

    Attributes:
        families: training families; each is drawn and encoded once. All pictures of a step's
            families are its gallery.
        queries: queries of each family a step, each with a sentence of its own.
        start: set whose combiner training starts from, "" for a fresh one.
    """

    families: int = 2400
    steps: int = 900
    batch: int = 48
    queries: int = 4
    start: str = ""
    warmup: int = 50
    ema: float = 0.99


_SHORT: dict[str, Any] = {"steps": 120, "lr": 5e-4, "warmup": 15, "horizon": 240, "cooldown": 40}
_UNLABELLED: dict[str, Any] = {"dense_weight": 0.0, "pooled_weight": 0.0}
_PEOPLE = PictureRecipe(
    world="people-cuhk", start="base", triples=4000, ema=0.97, **_SHORT, **_UNLABELLED
)
PICTURES: dict[str, PictureRecipe] = {
    "base": PictureRecipe(),
    "flickr": PictureRecipe(
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
"""Shipped encoder of pictures -> how it is trained."""

CLIPS = ClipRecipe()

COMBINERS = {
    "cirr": CombinerRecipe(),
    "fiq": CombinerRecipe(
        families=600, steps=240, batch=32, start="cirr", lr=1.5e-3, warmup=20, ema=0.97
    ),
}
"""In the order of training: the second starts from the first, which has learnt to read."""
