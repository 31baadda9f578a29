"""What all worlds share: pictures drawn when asked for, seeds, captions in rows."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from benchmark.datasets.base import ImageTextPairs, content_fingerprint
from benchmark.errors import ConfigError, did_you_mean

SEED = 2026
WORLDS_VERSION = 1
"""Raised whenever a picture or caption of these worlds changes; part of their fingerprints."""

Draw = Callable[[Any, np.random.Generator], np.ndarray]
Describe = Callable[[Any, np.random.Generator], list[str]]


def item_generator(world: str, kind: str, index: int) -> np.random.Generator:
    """The generator of one picture ("picture/test") or of its captions ("captions/test")."""
    return np.random.Generator(np.random.PCG64([SEED, index, *f"{world}/{kind}".encode()]))


class Pictures:
    """Pictures of scenes. Each is drawn from its own generator, so that order does not matter."""

    def __init__(self, world: str, split: str, scenes: Sequence[Any], draw: Draw) -> None:
        self._world, self._split, self._scenes, self._draw = world, split, scenes, draw
        self.ids = tuple(f"{world}-{split}-{index:05d}" for index in range(len(scenes)))

    def __len__(self) -> int:
        return len(self._scenes)

    def __getitem__(self, index: int, /) -> np.ndarray:
        """(64, 64, 3) uint8."""
        generator = item_generator(self._world, f"picture/{self._split}", index)
        return self._draw(self._scenes[index], generator)


@dataclass(frozen=True)
class World:
    """A data set that is drawn.

    Attributes:
        name: data set name, for example "mini-flickr".
        counts: split -> number of pictures.
        scenes: (split, pictures) -> one scene a picture, deterministic.
        draw: scene, generator -> (64, 64, 3) uint8.
        describe: scene, generator -> captions, equally many for every picture.
        identity: scene -> what stays the same over pictures (a product, a person); captions are
            then drawn once an identity if ``shared``.
        shared: pictures of one identity have the same captions.
        groups: key -> function of a scene that names its group, for correlated streams.
    """

    name: str
    counts: Mapping[str, int]
    scenes: Callable[[str, int], Iterable[Any]]
    draw: Draw
    describe: Describe
    identity: Callable[[Any], str] | None = None
    shared: bool = False
    groups: Mapping[str, Callable[[Any], str]] = field(default_factory=dict)

    def load(self, split: str) -> ImageTextPairs:
        """The pictures and captions of a split.

        Raises:
            ConfigError: unknown split.
        """
        if split not in self.counts:
            raise ConfigError(
                f"{self.name} has no split {split!r}{did_you_mean(split, self.counts)}; it has "
                + " and ".join(self.counts)
            )
        scenes = tuple(self.scenes(split, self.counts[split]))
        people = None if self.identity is None else numbered([self.identity(s) for s in scenes])
        texts: list[str] = []
        for index, scene in enumerate(scenes):
            source = int(people[index]) if self.shared and people is not None else index
            texts += self.describe(scene, item_generator(self.name, f"captions/{split}", source))
        pictures = Pictures(self.name, split, scenes, self.draw)
        per_image = len(texts) // len(scenes)
        owner = np.repeat(np.arange(len(scenes)), per_image)
        groups = {key: numbered([name(s) for s in scenes]) for key, name in self.groups.items()}
        parts = [f"{self.name} {WORLDS_VERSION}", split, *texts]
        parts += [] if people is None else [" ".join(map(str, people))]
        return ImageTextPairs(
            name=f"{self.name} {split}",
            images=pictures,
            captions=tuple(texts),
            caption_ids=tuple(f"{pictures.ids[o]}-{i % per_image}" for i, o in enumerate(owner)),
            caption_image=owner,
            fingerprint=content_fingerprint(parts),
            image_groups=groups,
            identities=people,
        )


def numbered(names: Sequence[str]) -> np.ndarray:
    """(names,) int64: equal names have equal numbers, in order of the names."""
    return np.unique(np.array(names), return_inverse=True)[1].astype(np.int64)
