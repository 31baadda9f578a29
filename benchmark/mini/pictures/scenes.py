"""Scenes of the mini world: what is in a picture, the three splits, captions by five templates."""

from __future__ import annotations

import hashlib
from bisect import bisect
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, TypeVar

import numpy as np

from benchmark.mini.pictures.vocabulary import (
    BACKGROUNDS,
    COLOUR_WORDS,
    COLOURS,
    NOUNS,
    SHAPES,
    SIZES,
    TEXTURES,
)

SIDE = 64
"""Pictures are SIDE x SIDE pixels."""
OBJECTS = (1, 2, 3)
OBJECT_SHARES = (0.10, 0.55, 0.35)
RADIUS = {"small": 8.5, "medium": 11.0, "large": 14.5}
"""Pixels."""
SPLITS = {"train": (0, 80), "val": (80, 90), "test": (90, 100)}
"""Split -> range of the percentile that a scene's signature hashes to."""


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


Kind = TypeVar("Kind", bound=Signed)


@dataclass(frozen=True, slots=True)
class Thing:
    """One object: canonical names, centre in pixels."""

    shape: str
    colour: str
    texture: str
    size: str
    x: float
    y: float


@dataclass(frozen=True, slots=True)
class Scene(Signed):
    """A background and one to three things."""

    background: str
    things: tuple[Thing, ...]

    def signature(self) -> str:
        """What identifies the scene: background and the things' looks, whatever their places."""
        looks = sorted(f"{t.shape}/{t.colour}/{t.texture}/{t.size}" for t in self.things)
        return "|".join([self.background, *looks])


GROUPS: dict[str, Callable[[Scene, Any], str]] = {
    "background": lambda scene, _: scene.background,
    "shape": lambda scene, _: scene.things[0].shape,
}
"""Key -> what names a scene's group, for correlated streams."""


def split_of(signature: str) -> str:
    """The split of what has this signature."""
    digest = hashlib.sha256(signature.encode()).digest()
    percentile = int.from_bytes(digest[:8], "little") % 100
    return next(name for name, (low, high) in SPLITS.items() if low <= percentile < high)


def pick(rng: np.random.Generator, names: Iterable[str]) -> str:
    """One of the names, each as likely as the others."""
    choices = tuple(names)
    return choices[int(rng.integers(len(choices)))]


def _places(rng: np.random.Generator, radii: list[float]) -> list[tuple[float, float]] | None:
    """Centres that keep things apart and inside the picture, or None after too many tries."""
    places: list[tuple[float, float]] = []
    for i, radius in enumerate(radii):
        low, width = radius + 1, SIDE - radius - 1 - (radius + 1)
        for _ in range(40):
            # As rng.uniform would, in a fifth of its time: a split takes ten thousand draws.
            x, y = low + width * rng.random(), low + width * rng.random()
            if all(
                (x - px) ** 2 + (y - py) ** 2 > (0.92 * (radius + radii[j])) ** 2
                for j, (px, py) in enumerate(places[:i])
            ):
                places.append((x, y))
                break
        else:
            return None
    return places


@cache
def _ends(shares: tuple[float, ...]) -> list[float]:
    """Where each share ends on the way from 0 to 1, to choose as ``rng.choice`` would."""
    sums = np.cumsum(shares)
    ends: list[float] = (sums / sums[-1]).tolist()
    return ends


Look = tuple[str, str, str, str]
"""Shape, colour, texture and size of a thing."""


def some_looks(rng: np.random.Generator, shares: tuple[float, ...]) -> list[Look] | None:
    """The looks of one to three things; None where two share shape and colour.

    ``shares``: how likely each count of things is.
    """
    count = OBJECTS[bisect(_ends(shares), rng.random())]
    looks = [
        (pick(rng, SHAPES), pick(rng, COLOURS), pick(rng, TEXTURES), pick(rng, SIZES))
        for _ in range(count)
    ]
    return looks if len({look[:2] for look in looks}) == count else None


def draw_scene(rng: np.random.Generator) -> Scene:
    """A random scene of any split. No two of its things share shape and colour."""
    while True:
        looks = some_looks(rng, OBJECT_SHARES)
        if looks is None:
            continue
        places = _places(rng, [RADIUS[size] for *_, size in looks])
        if places is None:
            continue
        things = tuple(Thing(*look, *place) for look, place in zip(looks, places, strict=True))
        return Scene(pick(rng, BACKGROUNDS), things)


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


LOOKS: dict[str, Mapping[str, Any]] = {
    "shape": SHAPES,
    "colour": COLOURS,
    "texture": TEXTURES,
    "size": SIZES,
}


def choose(rng: np.random.Generator, words: tuple[str, ...], first: float = 0.6) -> str:
    """The first word with probability ``first``, otherwise any of them."""
    return words[0] if rng.random() < first else words[int(rng.integers(len(words)))]


def article(phrase: str) -> str:
    """The phrase with "a" or "an"."""
    return f"an {phrase}" if phrase[0] in "aeiou" else f"a {phrase}"


def noun_phrase(
    thing: Thing,
    rng: np.random.Generator,
    *,
    size: float = 0.6,
    texture: float = 0.95,
    colour: float = 1.0,
) -> str:
    """For example "small red striped star"; an attribute appears with the probability given."""
    words: list[str] = []
    after = ""
    if SIZES[thing.size] and rng.random() < size:
        words.append(choose(rng, SIZES[thing.size]))
    colour_word = choose(rng, COLOUR_WORDS[thing.colour], 0.8) if rng.random() < colour else ""
    before, behind = TEXTURES[thing.texture]
    said = rng.random() < (texture if thing.texture != "plain" else 0.3 * texture)
    texture_word = ""
    if said and behind and rng.random() < 0.3:
        after = " " + behind[int(rng.integers(len(behind)))]
    elif said:
        texture_word = choose(rng, before)
    pair = [texture_word, colour_word] if rng.random() < 0.4 else [colour_word, texture_word]
    words += [w for w in pair if w]
    words.append(choose(rng, NOUNS[thing.shape], 0.7))
    return " ".join(words) + after


def join(parts: list[str]) -> str:
    """For example "a, b and c"."""
    return parts[0] if len(parts) == 1 else ", ".join(parts[:-1]) + " and " + parts[-1]


def sentence(text: str) -> str:
    """First letter capital and full stop, as annotators write."""
    return f"{text[0].upper()}{text[1:]}."


def _place(scene: Scene, rng: np.random.Generator, share: float) -> str:
    return " " + choose(rng, BACKGROUNDS[scene.background], 0.5) if rng.random() < share else ""


def _shuffled(scene: Scene, rng: np.random.Generator) -> list[Thing]:
    return [scene.things[i] for i in rng.permutation(len(scene.things))]


def _relation(a: Thing, b: Thing) -> tuple[str, ...]:
    """How ``a`` lies to ``b``; the picture's y axis points down."""
    dx, dy = a.x - b.x, a.y - b.y
    if abs(dx) > abs(dy):
        return ("to the left of", "left of") if dx < 0 else ("to the right of", "right of")
    return ("above", "over") if dy < 0 else ("below", "under")


def _list(scene: Scene, rng: np.random.Generator) -> str:
    things = [article(noun_phrase(t, rng)) for t in _shuffled(scene, rng)]
    return join(things) + _place(scene, rng, 0.95)


def _relate(scene: Scene, rng: np.random.Generator) -> str:
    things = _shuffled(scene, rng)
    phrases = [article(noun_phrase(t, rng, size=0.4)) for t in things]
    verb = choose(rng, ("", "is", "sits", "lies"), 0.5)
    if len(things) == 1:
        return f"{phrases[0]} {verb or 'is'}{_place(scene, rng, 1.0)}"
    relation = choose(rng, _relation(things[0], things[1]))
    text = " ".join(w for w in (phrases[0], verb, relation, phrases[1]) if w)
    if len(things) == 3:
        text += f", {choose(rng, ('with', 'next to', 'near'), 0.4)} {phrases[2]}"
    return text + _place(scene, rng, 0.9)


def _photo(scene: Scene, rng: np.random.Generator) -> str:
    opening = choose(rng, ("a photo of", "a picture of", "an image showing", "we see"), 0.4)
    things = [article(noun_phrase(t, rng, size=0.5)) for t in _shuffled(scene, rng)]
    return f"{opening} {join(things)}{_place(scene, rng, 0.9)}"


def _count(scene: Scene, rng: np.random.Generator) -> str:
    count = ("one thing", "two things", "three things")[len(scene.things) - 1]
    things = [article(noun_phrase(t, rng, size=0.4)) for t in _shuffled(scene, rng)]
    return f"{count}{_place(scene, rng, 1.0)}: {join(things)}"


def _partial(scene: Scene, rng: np.random.Generator) -> str:
    """Drops more than the others do, as hurried people do."""
    things = [
        article(noun_phrase(t, rng, size=0.2, texture=0.7, colour=0.92))
        for t in _shuffled(scene, rng)
    ]
    return f"there {'is' if len(things) == 1 else 'are'} {join(things)}{_place(scene, rng, 0.6)}"


Template = Callable[[Scene, np.random.Generator], str]


def captions(
    scene: Scene,
    rng: np.random.Generator,
    templates: Sequence[Template] = (_list, _relate, _photo, _count, _partial),
) -> list[str]:
    """Captions, one a template."""
    return [sentence(template(scene, rng)) for template in templates]
