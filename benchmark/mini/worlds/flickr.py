"""mini-flickr as a data set."""

from __future__ import annotations

from benchmark.mini.worlds import poster
from benchmark.mini.worlds.drawn import SEED, World, loader
from benchmark.mini.worlds.poster_grammar import captions

WORLD = World(
    name="mini-flickr",
    counts={"val": 300, "test": 400},
    scenes=lambda split, count: poster.scenes(split, count, SEED),
    draw=poster.render,
    describe=captions,
    groups={
        "background": lambda scene: scene.background,
        "shape": lambda scene: scene.things[0].shape,
    },
)

load = loader(WORLD.load)
"""400 pictures (validation: 300) with five captions each."""
