"""The mini world as a data set: scenes, pictures drawn when asked for, five captions each."""

from __future__ import annotations

from functools import partial

from benchmark.mini.pictures.render import render
from benchmark.mini.pictures.scenes import GROUPS, captions, scenes
from benchmark.mini.worlds.drawn import World, loader

SEED = 2025

WORLD = World(
    name="mini",
    counts={"val": 500, "test": 1000},
    scenes=partial(scenes, seed=SEED),
    draw=render,
    describe=captions,
    groups=GROUPS,
    parts={"test-400": ("test", 400)},
    seed=SEED,
    key="",
)
"""The training split has no fixed number of pictures (see ``training/recipes.py``)."""

load = loader(WORLD.load)
"""1,000 pictures ("val": 500, "test-400": 400) with five captions each."""
