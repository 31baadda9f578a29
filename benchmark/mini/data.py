"""The mini world as a data set: scenes, pictures drawn when asked for, five captions each."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from pathlib import Path

import numpy as np

from benchmark.datasets.base import ImageTextPairs, content_fingerprint
from benchmark.errors import ConfigError
from benchmark.mini.grammar import captions
from benchmark.mini.render import render
from benchmark.mini.scenes import Scene, scenes

WORLD_VERSION = 1
"""Raised whenever a scene, a picture or a caption changes; part of the data's fingerprint."""
COUNTS = {"val": 500, "test": 1000}
"""Images; the training split has no fixed number (see ``benchmark.mini.recipe``)."""
PARTS = {"test-400": ("test", 400)}
"""First pictures of a split, for rows that compare encoders on equally many pictures."""
SEED = 2025


class Pictures:
    """Pictures of scenes. Each is drawn from its own generator, so that order does not matter."""

    def __init__(self, split: str, drawn: Sequence[Scene]) -> None:
        self._split = split
        self._scenes = drawn
        self.ids = tuple(f"mini-{split}-{index:05d}" for index in range(len(drawn)))

    def __len__(self) -> int:
        return len(self._scenes)

    def __getitem__(self, index: int, /) -> np.ndarray:
        """(64, 64, 3) uint8."""
        return render(self._scenes[index], item_generator("picture", self._split, index))


def item_generator(kind: str, split: str, index: int) -> np.random.Generator:
    """The generator of one picture ("picture") or of one picture's captions ("captions")."""
    return np.random.Generator(np.random.PCG64([SEED, index, *f"{kind}/{split}".encode()]))


@cache
def load(
    root: Path | None = None, *, split: str = "test", allow_missing: bool = False
) -> ImageTextPairs:
    """The test (1,000 pictures) or validation (500) split with five captions a picture.

    Args:
        root: not used; the data are drawn, not read.
        split: "test" or "val"; "test-400" = the test split's first 400 pictures.
        allow_missing: not used; nothing can be missing.

    Raises:
        ConfigError: unknown split.
    """
    del root, allow_missing
    if split not in COUNTS | PARTS:
        known = ", ".join([*COUNTS, *PARTS])
        raise ConfigError(f"the mini world has no split {split!r}; it has {known}")
    name = split
    split, count = PARTS.get(split, (split, COUNTS.get(split, 0)))
    drawn = tuple(scenes(split, count, SEED))
    pictures = Pictures(split, drawn)
    texts: list[str] = []
    for index, scene in enumerate(drawn):
        texts += captions(scene, item_generator("captions", split, index))
    per_image = len(texts) // len(drawn)
    return ImageTextPairs(
        name=f"mini {name}",
        images=pictures,
        captions=tuple(texts),
        caption_ids=tuple(
            f"{pictures.ids[i // per_image]}-{i % per_image}" for i in range(len(texts))
        ),
        caption_image=np.repeat(np.arange(len(drawn)), per_image),
        fingerprint=content_fingerprint([f"mini world {WORLD_VERSION}", name, *texts]),
        image_groups={
            "background": _numbered([scene.background for scene in drawn]),
            "shape": _numbered([scene.things[0].shape for scene in drawn]),
        },
    )


def _numbered(names: Sequence[str]) -> np.ndarray:
    """(names,) int64: equal names have equal numbers."""
    return np.unique(np.array(names), return_inverse=True)[1].astype(np.int64)
