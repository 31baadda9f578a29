"""Everything that decides the combiners' weights: architecture, data amount, schedule."""

from __future__ import annotations

from dataclasses import dataclass

COMBINER = {
    "image_width": 128,
    "text_width": 96,
    "embed_dim": 128,
    "width": 96,
    "layers": 2,
    "heads": 4,
}
"""Arguments of ``Combiner``; the first three are the base encoder's widths."""


@dataclass(frozen=True)
class Recipe:
    """How a combiner is trained, on features of the frozen base.

    Attributes:
        families: training families; each is drawn and encoded once.
        steps: optimiser steps.
        batch: families a step; all their pictures are the step's gallery.
        queries: queries of each family a step, each with a sentence of its own.
        start: set whose combiner training starts from, "" for a fresh one.
        lr: peak learning rate (AdamW, linear warm-up, cosine to zero).
        ema: decay of the averaged weights that are shipped.
    """

    seed: int = 0
    families: int = 2400
    steps: int = 900
    batch: int = 48
    queries: int = 4
    start: str = ""
    lr: float = 2e-3
    weight_decay: float = 0.05
    warmup: int = 50
    ema: float = 0.99


RECIPES = {
    "cirr": Recipe(),
    "fiq": Recipe(families=600, steps=240, batch=32, start="cirr", lr=1.5e-3, warmup=20, ema=0.97),
}
"""In the order of training: the second starts from the first, which has learnt to read."""
SETS = tuple(RECIPES)
