"""The mini world as a data set: scenes, pictures drawn when asked for, five captions each."""

from __future__ import annotations

from benchmark.mini.pictures.render import render
from benchmark.mini.pictures.scenes import GROUPS, captions, draw_scene
from benchmark.mini.worlds.drawn import World

SEED = 2025

WORLD = World(
    name="mini",
    counts={"val": 500, "test": 1000},
    scene=draw_scene,
    draw=lambda scene, _, rng: render(scene, rng),
    describe=captions,
    groups=GROUPS,
    parts={"test-400": ("test", 400)},
    seed=SEED,
    key="",
)
"""The training split has no fixed number of pictures (see ``training/recipes.py``)."""

load = WORLD.loader()
"""1,000 pictures ("val": 500, "test-400": 400) with five captions each."""
