"""mini-flickr as a data set."""

from __future__ import annotations

from functools import cache
from pathlib import Path

from benchmark.datasets.base import ImageTextPairs
from benchmark.mini.worlds import poster
from benchmark.mini.worlds.drawn import SEED, World
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


@cache
def load(
    root: Path | None = None, *, split: str = "test", allow_missing: bool = False
) -> ImageTextPairs:
    """The test (400 pictures) or validation (300) split with five captions a picture.

    Args:
        root: not used; the data are drawn, not read.
        split: "test" or "val".
        allow_missing: not used; nothing can be missing.

    Raises:
        ConfigError: unknown split.
    """
    del root, allow_missing
    return WORLD.load(split)
