"""What all drawn data sets share: items drawn when asked for, captions, loaders, cameras' looks."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache, partial
from itertools import islice
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from PIL import Image

from benchmark.data.datasets.base import ImageTextPairs, content_fingerprint, numbered
from benchmark.errors import ConfigError, did_you_mean

SIDE = 64
"""Pictures are SIDE x SIDE pixels."""
SPLITS = {"train": (0, 80), "val": (80, 90), "test": (90, 100)}
"""Split -> range of the percentile that a scene's signature hashes to."""
SEED = 2026
WORLDS_VERSION = 1
"""Raised whenever a picture or caption of these worlds changes; part of their fingerprints."""

Draw = Callable[[Any, Any, np.random.Generator], np.ndarray]
Describe = Callable[[Any, np.random.Generator], list[str]]
Loaded = TypeVar("Loaded")


class Signed:
    """Something drawn at random that knows what identifies it."""

    __slots__ = ()

    def signature(self) -> str:
        """What can be seen of it."""
        raise NotImplementedError

    def split(self) -> str:
        """The split that it belongs to: a hash of its signature alone, so no seed can mix splits.

        Two of different splits therefore differ in what can be seen, by construction.
        """
        return split_of(self.signature())


def split_of(signature: str) -> str:
    """The split of what has this signature."""
    digest = hashlib.sha256(signature.encode()).digest()
    percentile = int.from_bytes(digest[:8], "little") % 100
    return next(name for name, (low, high) in SPLITS.items() if low <= percentile < high)


def pick(rng: np.random.Generator, names: Iterable[str]) -> str:
    """One of the names, each as likely as the others."""
    choices = tuple(names)
    return choices[int(rng.integers(len(choices)))]


Kind = TypeVar("Kind", bound=Signed)


def distinct(
    draw: Callable[[np.random.Generator], Kind], split: str, seed: int, key: str
) -> Iterator[Kind]:
    """Draws that belong to ``split`` and have different signatures, without end.

    All come from one generator, that of ``seed`` and ``key``.
    """
    rng = np.random.Generator(np.random.PCG64([seed, *key.encode()]))
    seen: set[str] = set()
    while True:
        drawn = draw(rng)
        signature = drawn.signature()
        if signature not in seen and drawn.split() == split:
            seen.add(signature)
            yield drawn


def loader(
    name: str, splits: Collection[str], load: Callable[[str], Loaded]
) -> Callable[..., Loaded]:
    """A data set's loader from a function of its split: nothing is read and nothing is missing.

    It raises ConfigError for a split that is not among ``splits``.
    """
    kept = cache(load)

    def drawn(
        root: Path | None = None, *, split: str = "test", allow_missing: bool = False
    ) -> Loaded:
        del root, allow_missing
        if split not in splits:
            raise ConfigError(
                f"{name} has no split {split!r}{did_you_mean(split, splits)}; it has "
                + " and ".join(sorted(splits))
            )
        return kept(split)

    return drawn


def item_generator(seed: int, key: str, index: int) -> np.random.Generator:
    """The generator of one item: its picture, its captions, its sound."""
    return np.random.Generator(np.random.PCG64([seed, index, *key.encode()]))


class Drawn:
    """Items made when asked for, each from its own generator, so that order does not matter.

    Args:
        name: what their ids start with.
        scenes: what each shows.
        draw: scene, generator -> the item.
        seed: see ``item_generator``; ``key`` too.
    """

    def __init__(
        self,
        name: str,
        scenes: Sequence[Any],
        draw: Callable[[Any, np.random.Generator], Any],
        seed: int,
        key: str,
    ) -> None:
        self.scenes = scenes
        self.ids = tuple(f"{name}-{index:05d}" for index in range(len(scenes)))
        self._draw, self._generator = draw, partial(item_generator, seed, key)

    def __len__(self) -> int:
        return len(self.scenes)

    def __getitem__(self, index: int, /) -> Any:
        """For pictures (64, 64, 3) uint8."""
        return self._draw(self.scenes[index], self._generator(index))


@dataclass(frozen=True)
class World:
    """A data set that is drawn.

    Attributes:
        name: data set name, for example "mini-flickr".
        counts: split -> number of pictures.
        scene: generator -> a random scene of any split.
        draw: scene, view, generator -> (64, 64, 3) uint8.
        describe: scene, generator -> captions, equally many for every picture.
        views: how a scene is seen (a camera, a pose), one picture each. With several, a scene is an
            identity (a person, a product).
        shared: pictures of one scene have the same captions.
        groups: key -> function of a scene and a view that names their group, of correlated streams.
        parts: name -> (split, pictures): the first pictures of a split, for rows that compare
            encoders on equally many pictures.
        seed: of pictures and captions.
        key: what the generators' keys start with; the world's name and "/" unless given.
        scene_seed: of the scenes, and ``scene_key`` what their keys start with; as the above unless
            given.
    """

    name: str
    counts: Mapping[str, int]
    scene: Callable[[np.random.Generator], Signed]
    draw: Draw
    describe: Describe
    views: tuple[Any, ...] = (None,)
    shared: bool = False
    groups: Mapping[str, Callable[[Any, Any], str]] = field(default_factory=dict)
    parts: Mapping[str, tuple[str, int]] = field(default_factory=dict)
    seed: int = SEED
    key: str | None = None
    scene_seed: int | None = None
    scene_key: str | None = None

    def scenes(self, split: str, count: int, seed: int | None = None) -> Iterator[Any]:
        """``count`` scenes of one split with different signatures, the same for the same seed."""
        key = self._key() if self.scene_key is None else self.scene_key
        of = next(one for one in (seed, self.scene_seed, self.seed) if one is not None)
        return islice(distinct(self.scene, split, of, key + split), count)

    def loader(self) -> Callable[..., ImageTextPairs]:
        """What a name in ``benchmark.data.datasets`` stands for."""
        return loader(self.name, [*self.counts, *self.parts], self.load)

    def load(self, asked: str) -> ImageTextPairs:
        """The pictures and captions of a split."""
        split, count = self.parts.get(asked, (asked, self.counts.get(asked, 0)))
        key = self._key()
        drawn = self.scenes(split, count // len(self.views))
        seen = [(scene, view) for scene in drawn for view in self.views]
        several = len(self.views) > 1
        who = numbered([scene.signature() for scene, _ in seen]) if several else None
        texts: list[str] = []
        for index, (scene, _) in enumerate(seen):
            source = int(who[index]) if self.shared and who is not None else index
            rng = item_generator(self.seed, f"{key}captions/{split}", source)
            texts += self.describe(scene, rng)
        pictures = Drawn(
            f"{self.name}-{split}",
            seen,
            lambda scene, rng: self.draw(scene[0], scene[1], rng),
            self.seed,
            f"{key}picture/{split}",
        )
        per_image = len(texts) // len(seen)
        owner = np.repeat(np.arange(len(seen)), per_image)
        groups = {key: numbered([name(*one) for one in seen]) for key, name in self.groups.items()}
        parts = [f"{self.name} {WORLDS_VERSION}", asked, *texts]
        parts += [] if who is None else [" ".join(map(str, who))]
        return ImageTextPairs(
            name=f"{self.name} {asked}",
            images=pictures,
            captions=tuple(texts),
            caption_ids=tuple(f"{pictures.ids[o]}-{i % per_image}" for i, o in enumerate(owner)),
            caption_image=owner,
            fingerprint=content_fingerprint(parts),
            image_groups=groups,
            identities=who,
        )

    def _key(self) -> str:
        return f"{self.name}/" if self.key is None else self.key


@dataclass(frozen=True, slots=True)
class Look:
    """The look of one camera.

    Attributes:
        gain: brightness factors, darkest and lightest.
        tint: factor of each channel.
        contrast: factor around the picture's mean; 1 = unchanged.
        noise: standard deviation, 0..255.
        blur: width in pixels over which a pixel is spread; 1 = sharp.
        grey: share of the colour that is lost.
    """

    gain: tuple[float, float] = (0.9, 1.1)
    tint: tuple[float, float, float] = (1.0, 1.0, 1.0)
    contrast: float = 1.0
    noise: float = 4.5
    blur: float = 1.0
    grey: float = 0.0


def filmed(picture: np.ndarray, look: Look, rng: np.random.Generator) -> np.ndarray:
    """The picture, (64, 64, 3), 0..255, as the camera sees it; uint8."""
    picture = picture.astype(np.float32)
    if look.blur > 1:
        small = max(1, round(SIDE / look.blur))
        image = Image.fromarray(picture.clip(0, 255).astype(np.uint8))
        image = image.resize((small, small), Image.Resampling.BOX)
        picture = np.asarray(image.resize((SIDE, SIDE), Image.Resampling.BICUBIC), np.float32)
    if look.grey:
        picture = picture * (1 - look.grey) + look.grey * picture.mean(2, keepdims=True)
    mean = picture.mean()
    picture = (picture - mean) * look.contrast + mean
    picture = picture * rng.uniform(*look.gain) * np.asarray(look.tint, np.float32)
    picture = picture + rng.normal(0, look.noise, picture.shape)
    return picture.clip(0, 255).astype(np.uint8)
