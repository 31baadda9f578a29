"""What the mini encoder is trained on: rendered scenes, re-renders, one-edit twins, captions.

Every training scene is drawn twice (an image-to-image pair) and once more with one attribute edited
(a hard negative), so that the small encoder must look at shape and texture, not at the layout.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from benchmark.data.tasks import clean
from benchmark.mini.pictures import render, scenes
from benchmark.mini.pictures.backbone import tokenizer
from benchmark.mini.pictures.render import PATCHES
from benchmark.mini.pictures.scenes import Scene
from benchmark.mini.pictures.vocabulary import BACKGROUNDS, COLOURS, SHAPES, TEXTURES
from benchmark.mini.training.run import drawn
from benchmark.mini.worlds import people, poster
from benchmark.mini.worlds.drawn import Describe

CAPTIONS = 5
TYPO_SHARE = 0.08
"""Share of training captions with one letter dropped or doubled, as in captions people type."""
_CHUNK = 500


@dataclass(frozen=True)
class TrainingData:
    """Arrays of S scene triples (scene, the same re-drawn, its edit).

    Attributes:
        images: (S, 3, 64, 64, 3) uint8.
        owners: (S, 3, 64) int8, the thing that covers each patch or -1.
        things: (S, 2, 3, 3) int8, shape, colour, texture index of up to three things of the scene
            and of its edit, -1 where there is none.
        backgrounds: (S, 2) int8.
        tokens: (S, 2, 5, context) uint16.
    """

    images: np.ndarray
    owners: np.ndarray
    things: np.ndarray
    backgrounds: np.ndarray
    tokens: np.ndarray


@dataclass(frozen=True)
class Source:
    """Where training triples come from.

    Attributes:
        scenes: split, count, seed -> different scenes.
        edit: the scene with one look changed, in the same split.
        draw: scene -> picture and owners of its 8 x 8 patches (see ``pictures.render``).
        captions: scene -> five texts.
        labels: scene -> looks of its things, (3, 3) int8, -1 where there is none, and its
            background's number. A source without labels goes with head weights of zero.
    """

    scenes: Callable[[str, int, int], Iterable[Any]]
    edit: Callable[[Any, np.random.Generator], Any]
    draw: Callable[[Any, np.random.Generator], tuple[np.ndarray, np.ndarray]]
    captions: Callable[[Any, np.random.Generator], list[str]]
    labels: Callable[[Any], tuple[np.ndarray, int]]


def _typo(text: str, rng: np.random.Generator) -> str:
    at = int(rng.integers(len(text)))
    return text[:at] + (text[at] * 2 if rng.random() < 0.5 else "") + text[at + 1 :]


def _labels(scene: Scene) -> tuple[np.ndarray, int]:
    shapes, colours, textures = tuple(SHAPES), tuple(COLOURS), tuple(TEXTURES)
    things = np.full((3, 3), -1, dtype=np.int8)
    for i, thing in enumerate(scene.things):
        things[i] = (
            shapes.index(thing.shape),
            colours.index(thing.colour),
            textures.index(thing.texture),
        )
    return things, tuple(BACKGROUNDS).index(scene.background)


def _no_labels(_scene: Any) -> tuple[np.ndarray, int]:
    return np.full((3, 3), -1, dtype=np.int8), 0


def _people(cameras: tuple[people.Camera, ...], describe: Describe) -> Source:
    return Source(
        people.people,
        people.edit,
        partial(people.training_picture, cameras=cameras),
        partial(people.training_captions, describe=describe),
        _no_labels,
    )


SOURCES: dict[str, Source] = {
    "base": Source(scenes.scenes, scenes.edit, render.render_with_owners, scenes.captions, _labels),
    "flickr": Source(
        poster.scenes, scenes.edit, poster.render_with_owners, poster.captions, _labels
    ),
    "people-cuhk": _people(people.CUHK_CAMERAS, people.two_captions),
    "people-icfg": _people(people.ICFG_CAMERAS, people.one_caption),
}


def draw_chunk(start: int, count: int, seed: int, world: str = "base") -> dict[str, np.ndarray]:
    """The arrays of ``TrainingData`` for ``count`` triples, from a generator of their own."""
    rng = np.random.Generator(np.random.PCG64([seed, start]))
    source = SOURCES[world]
    tokenize = tokenizer()
    rows: dict[str, list] = {
        name: [] for name in ("images", "owners", "things", "backgrounds", "texts")
    }
    # A chunk's scenes come from its own seed; a few scenes may recur over chunks, which is harmless
    # in training.
    for scene in source.scenes("train", count, seed * 1_000_003 + start):
        twin = source.edit(scene, rng)
        views = [source.draw(s, rng) for s in (scene, scene, twin)]
        rows["images"].append([picture for picture, _ in views])
        rows["owners"].append([owners.reshape(PATCHES * PATCHES) for _, owners in views])
        labels = [source.labels(scene), source.labels(twin)]
        rows["things"].append([things for things, _ in labels])
        rows["backgrounds"].append([background for _, background in labels])
        for s in (scene, twin):
            for text in source.captions(s, rng):
                text = clean(text)
                rows["texts"].append(_typo(text, rng) if rng.random() < TYPO_SHARE else text)
    tokens = tokenize(rows.pop("texts")).numpy().astype(np.uint16)
    return {
        "images": np.asarray(rows["images"], dtype=np.uint8),
        "owners": np.asarray(rows["owners"], dtype=np.int8),
        "things": np.asarray(rows["things"], dtype=np.int8),
        "backgrounds": np.asarray(rows["backgrounds"], dtype=np.int8),
        "tokens": tokens.reshape(count, 2, CAPTIONS, -1),
    }


def build(
    folder: Path, *, triples: int, seed: int, workers: int, world: str = "base"
) -> TrainingData:
    """Renders what is missing under ``folder`` and returns all of it, about 37 KB a triple.

    Raises:
        DataError: the folder holds triples of another world or seed.
    """
    facts = {"world": world, "seed": seed}
    draw = partial(draw_chunk, seed=seed, world=world)
    return TrainingData(**drawn(folder, draw, facts, count=triples, chunk=_CHUNK, workers=workers))
