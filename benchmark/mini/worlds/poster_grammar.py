"""Captions of mini-flickr: the same words as in the base world, put together in other ways."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from benchmark.mini.pictures.grammar import article, choose, join, noun_phrase, sentence
from benchmark.mini.pictures.scenes import Scene, Thing
from benchmark.mini.pictures.vocabulary import BACKGROUNDS, COLOUR_WORDS, SHAPES, SIZES, TEXTURES


def _place(scene: Scene, rng: np.random.Generator) -> str:
    return choose(rng, BACKGROUNDS[scene.background], 0.5)


def _after(thing: Thing, rng: np.random.Generator) -> str:
    """The noun first and what it looks like behind: "a star that is red, striped and small"."""
    looks = [choose(rng, COLOUR_WORDS[thing.colour], 0.8)]
    if thing.texture != "plain" or rng.random() < 0.2:
        looks.append(choose(rng, TEXTURES[thing.texture][0]))
    if SIZES[thing.size] and rng.random() < 0.5:
        looks.append(choose(rng, SIZES[thing.size]))
    looks = [looks[i] for i in rng.permutation(len(looks))]
    noun = article(choose(rng, SHAPES[thing.shape], 0.7))
    return f"{noun} that is {join(looks)}" if rng.random() < 0.6 else f"{noun}, {join(looks)}"


def _across(scene: Scene, rng: np.random.Generator) -> str:
    """From left to right, place first."""
    things = [article(noun_phrase(t, rng, size=0.4)) for t in scene.things]
    opening = choose(rng, ("from left to right", "side by side", "in a row"), 0.4)
    if len(things) == 1:
        return f"{_place(scene, rng)} there is just {things[0]}"
    return f"{_place(scene, rng)}, {opening}: {join(things)}"


def _nouns_first(scene: Scene, rng: np.random.Generator) -> str:
    things = [_after(scene.things[i], rng) for i in rng.permutation(len(scene.things))]
    return f"{'; '.join(things)}, {_place(scene, rng)}"


def _sides(scene: Scene, rng: np.random.Generator) -> str:
    names = (("in the middle",), ("on the left", "on the right"))
    places = (
        (*names[1], "in the middle") if len(scene.things) == 3 else names[len(scene.things) - 1]
    )
    things = sorted(scene.things, key=lambda t: t.x)
    if len(things) == 3:
        things = [things[0], things[2], things[1]]
    said = [
        f"{article(noun_phrase(t, rng, size=0.3))} {place}"
        for t, place in zip(things, places, strict=True)
    ]
    return f"{', '.join(said)}, all {_place(scene, rng)}"


def _keywords(scene: Scene, rng: np.random.Generator) -> str:
    """Telegram style, without articles."""
    words = [noun_phrase(scene.things[i], rng) for i in rng.permutation(len(scene.things))]
    place = _place(scene, rng)
    return " ".join([*(f"{w}," for w in words), place])


def _drawing(scene: Scene, rng: np.random.Generator) -> str:
    opening = choose(
        rng, ("someone drew", "a drawing of", "a poster with", "the artist shows"), 0.4
    )
    things = [
        article(noun_phrase(scene.things[i], rng, size=0.2, texture=0.75, colour=0.94))
        for i in rng.permutation(len(scene.things))
    ]
    ending = f" {_place(scene, rng)}" if rng.random() < 0.7 else ""
    return f"{opening} {join(things)}{ending}"


TEMPLATES: tuple[Callable[[Scene, np.random.Generator], str], ...] = (
    _across,
    _nouns_first,
    _sides,
    _keywords,
    _drawing,
)


def captions(scene: Scene, rng: np.random.Generator) -> list[str]:
    """Five captions, one a template."""
    return [sentence(template(scene, rng)) for template in TEMPLATES]
