"""The mini world: words and what they look like, scenes, captions by five templates.

Words stand in ``vocabulary.json``: canonical name -> what captions say, the commonest first.
Outlines, in ``outlines/``, are polygons in the square [-1, 1] x [-1, 1], y down.
"""

from __future__ import annotations

import json
from bisect import bisect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from math import cos, pi, sin
from pathlib import Path
from typing import Any

import numpy as np

from benchmark.mini.worlds.drawn import SIDE, Signed, pick

_TABLES: dict[str, dict[str, Any]] = json.loads(
    Path(__file__).with_name("vocabulary.json").read_text(encoding="utf-8")
)


def words(table: str) -> dict[str, tuple[str, ...]]:
    """The names of a table in their order, each with its words."""
    return {name: tuple(found) for name, found in _TABLES[table].items()}


SHAPES = words("shapes")
NOVEL = words("novel")
"""Things that no encoder has seen in training; mini-nocaps shows them."""
NOUNS = SHAPES | NOVEL
COLOURS: dict[str, tuple[int, int, int]] = {
    name: (red, green, blue) for name, (red, green, blue) in _TABLES["colours"].items()
}
"""sRGB, 0..255."""
COLOUR_WORDS = {name: (name,) for name in COLOURS} | words("colour words")
TEXTURES: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    name: (tuple(before), tuple(after)) for name, (before, after) in _TABLES["textures"].items()
}
"""Adjectives before the noun, phrases after it."""
SIZES = words("sizes")
"""A medium object is never called by its size."""
BACKGROUNDS = words("backgrounds")


Point = tuple[float, float]
Part = tuple[bool, tuple[Point, ...]]
"""(True to fill or False to cut out, corners); parts are applied in order."""


def ellipse(
    x: float, y: float, rx: float, ry: float, start: float = 0.0, end: float = 360.0
) -> tuple[Point, ...]:
    """An ellipse or, from ``start`` to ``end`` degrees, a segment of one."""
    steps = 28
    angles = [start + (end - start) * i / steps for i in range(steps + 1)]
    return tuple((x + rx * cos(a * pi / 180), y + ry * sin(a * pi / 180)) for a in angles)


def box(left: float, top: float, right: float, bottom: float) -> tuple[Point, ...]:
    """A rectangle."""
    return ((left, top), (right, top), (right, bottom), (left, bottom))


def _polygon(*numbers: float) -> tuple[Point, ...]:
    return tuple(zip(numbers[::2], numbers[1::2], strict=True))


def _star(points: float, inner: float) -> tuple[Point, ...]:
    """``points`` tips at radius 1, notches at ``inner``, one tip up."""
    turns = [
        (1.0 if i % 2 == 0 else inner, -pi / 2 + i * pi / points) for i in range(2 * int(points))
    ]
    return tuple((radius * cos(angle), radius * sin(angle)) for radius, angle in turns)


def _heart() -> tuple[Point, ...]:
    turn = [2 * pi * i / 40 for i in range(40)]
    return tuple(
        (sin(t) ** 3, -(13 * cos(t) - 5 * cos(2 * t) - 2 * cos(3 * t) - cos(4 * t)) / 16.5)
        for t in turn
    )


_KINDS: dict[str, Callable[..., tuple[Point, ...]]] = {
    "oval": ellipse,
    "box": box,
    "poly": _polygon,
    "star": _star,
    "heart": _heart,
}


@cache
def outlines(name: str) -> dict[str, tuple[Part, ...]]:
    """Shape -> parts, from ``outlines/NAME.txt``.

    A line is such as ``ring: +oval 0 0 1 1, -oval 0 0 0.55 0.55``. A part begins with "+" where it
    is filled or "-" where it is cut out, then says its kind and numbers: ``oval`` x y rx ry (and
    degrees from, to), ``box`` left top right bottom, ``poly`` x y of each corner. An indented line
    continues the one above.
    """
    found: dict[str, tuple[Part, ...]] = {}
    drawing = (Path(__file__).parent / "outlines" / f"{name}.txt").read_text(encoding="utf-8")
    for line in drawing.strip().replace("\n ", " ").splitlines():
        shape, _, parts = line.partition(":")
        words = [part.split() for part in parts.split(",")]
        found[shape] = tuple((w[0][0] == "+", _KINDS[w[0][1:]](*map(float, w[1:]))) for w in words)
    return found


@cache
def silhouettes() -> dict[str, tuple[Part, ...]]:
    """Canonical shape name (``SHAPES``) -> parts."""
    turns: Any = (-pi / 2 + 2 * pi * i / 5 for i in range(5))
    petals = tuple((True, ellipse(0.62 * cos(a), 0.62 * sin(a), 0.38, 0.38)) for a in turns)
    known = outlines("known")
    return known | {"flower": petals + known["flower"]}


OBJECTS = (1, 2, 3)
OBJECT_SHARES = (0.10, 0.55, 0.35)
RADIUS = {"small": 8.5, "medium": 11.0, "large": 14.5}
"""Pixels."""


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
