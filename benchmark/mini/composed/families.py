"""Families of look-alike scenes, and the queries between them.

A family is one scene and several others that are one or two changes away from it. A query goes from
the first scene to another and says what changes; the rest of the family are wrong edits: the change
is missing, half done, or another one. The picture alone cannot tell them apart, because all are
about as near.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from benchmark.mini.composed.changes import (
    CATEGORIES,
    Change,
    draw_garment,
    garment_change,
    scene_change,
    subject,
)
from benchmark.mini.pictures.scenes import Scene, Thing, choose, draw_scene
from benchmark.mini.pictures.vocabulary import BACKGROUNDS, COLOUR_WORDS, SHAPES, SIZES, TEXTURES

MEMBERS = 8
QUERIES = 4
"""Of each family in the test and validation splits; every family has at least so many."""
HALF_DONE = 0.3
"""Share of a garment's relatives with one change only; they are never targets."""
SCENE_KINDS = ("colour", "shape", "texture", "size", "add", "remove", "background")
SCENE_SHARES = (0.2, 0.16, 0.16, 0.06, 0.16, 0.12, 0.14)

Grown = tuple[Scene, tuple[Change, ...]]
Grow = Callable[[Scene, np.random.Generator], Grown | None]


@dataclass(frozen=True, slots=True)
class Path:
    """The way of a query: from member to member, and what changes on it, in order."""

    reference: int
    target: int
    changes: tuple[Change, ...]

    def inverse(self) -> Path:
        back = tuple(change.inverse() for change in reversed(self.changes))
        return Path(self.target, self.reference, back)


@dataclass(frozen=True)
class Family:
    """Look-alike scenes of one split.

    Attributes:
        scenes: ``MEMBERS`` scenes, the one that the others were made from first.
        changes: what each of the others changes of the first.
    """

    scenes: tuple[Scene, ...]
    changes: tuple[tuple[Change, ...], ...]

    def paths(self, changes: int) -> list[Path]:
        """The ways of so many changes from the first scene to others."""
        found = enumerate(self.changes, 1)
        return [Path(0, member, way) for member, way in found if len(way) == changes]


def grow_scene(scene: Scene, rng: np.random.Generator) -> Grown | None:
    """One random change of a general scene."""
    found = scene_change(scene, str(rng.choice(SCENE_KINDS, p=SCENE_SHARES)), rng)
    return found and (found[0], (found[1],))


def grow_garment(scene: Scene, rng: np.random.Generator) -> Grown | None:
    """Two random changes of different things to say, or one: what is half done."""
    first = garment_change(scene, rng)
    if first is None or rng.random() < HALF_DONE:
        return first and (first[0], (first[1],))
    second = garment_change(first[0], rng)
    if second is None or subject(second[1]) == subject(first[1]):
        return None
    return second[0], (first[1], second[1])


def _family(first: Scene, grow: Grow, seen: set[str], rng: np.random.Generator) -> Family | None:
    """A family in the split of its first scene, or None where it does not get its members."""
    split, scenes = first.split(), [first]
    changes: list[tuple[Change, ...]] = []
    known = {first.signature(), *seen}
    for _ in range(1000):
        grown = grow(first, rng)
        if grown and grown[0].split() == split and grown[0].signature() not in known:
            known.add(grown[0].signature())
            scenes.append(grown[0])
            changes.append(grown[1])
        if len(scenes) == MEMBERS:
            return Family(tuple(scenes), tuple(changes))
    return None


def families(kind: str, split: str, count: int, rng: np.random.Generator) -> Iterator[Family]:
    """Families of one split in which no two scenes look the same, drawn one after the other.

    Args:
        kind: "cirr" for general scenes, or a category of garments.
        split: "train", "val" or "test" of the mini world.
        count: how many.
        rng: source of every draw.
    """
    seen: set[str] = set()
    grow: Grow = grow_garment if kind in CATEGORIES else grow_scene
    while count:
        first = draw_garment(kind, rng) if kind in CATEGORIES else draw_scene(rng)
        if first.split() != split or first.signature() in seen:
            continue
        family = _family(first, grow, seen, rng)
        if family is None or len(paths(kind, family)) < QUERIES:
            continue
        seen |= {scene.signature() for scene in family.scenes}
        count -= 1
        yield family


def paths(kind: str, family: Family) -> list[Path]:
    """All ways that a query of the family may take: one change of a scene, two of a garment."""
    return family.paths(2 if kind in CATEGORIES else 1)


def text_of(kind: str, family: Family, path: Path, rng: np.random.Generator) -> str:
    """What the query says: one sentence, or two captions joined as FashionIQ's evaluation does."""
    if kind not in CATEGORIES:
        return scene_sentence(path.changes[0], family.scenes[path.reference], rng)
    joined = " and ".join(garment_caption(change, rng) for change in path.changes)
    return joined[0].upper() + joined[1:]


def _article(phrase: str) -> str:
    return f"an {phrase}" if phrase[0] in "aeiou" or phrase.startswith("hour") else f"a {phrase}"


def _noun(thing: Thing, rng: np.random.Generator) -> str:
    return choose(rng, SHAPES[thing.shape], 0.7)


def _colour(thing: Thing, rng: np.random.Generator) -> str:
    return choose(rng, COLOUR_WORDS[thing.colour], 0.8)


def _texture(thing: Thing, rng: np.random.Generator) -> str:
    return choose(rng, TEXTURES[thing.texture][0], 0.5)


def _full(thing: Thing, rng: np.random.Generator) -> str:
    """All that can be seen of a thing: "small red striped star"."""
    words = [choose(rng, SIZES[thing.size], 0.5)] if SIZES[thing.size] else []
    words.append(_colour(thing, rng))
    if thing.texture != "plain" or rng.random() < 0.3:
        words.append(_texture(thing, rng))
    return " ".join([*words, _noun(thing, rng)])


def _named(thing: Thing, scene: Scene, rng: np.random.Generator) -> str:
    """The thing as the reference shows it, with its colour where the noun is not enough."""
    twins = sum(t.shape == thing.shape for t in scene.things)
    coloured = twins > 1 or rng.random() < 0.3
    colour = f"{_colour(thing, rng)} " if coloured else ""
    return f"the {colour}{_noun(thing, rng)}"


def _larger(old: Thing, new: Thing) -> str:
    """ "bigger", "smaller", or "much" of it where a size is skipped."""
    order = tuple(SIZES)
    step = order.index(new.size) - order.index(old.size)
    return ("much " if abs(step) > 1 else "") + ("bigger" if step > 0 else "smaller")


def scene_sentence(change: Change, scene: Scene, rng: np.random.Generator) -> str:
    """One sentence that says a change of ``scene``: "Replace the star with a fish"."""
    old, new = change.old, change.new
    if isinstance(new, str):
        place = choose(rng, BACKGROUNDS[new], 0.5)
        forms: tuple[str, ...] = (f"show the same {place}", f"now {place}", f"move it all {place}")
    elif not isinstance(new, Thing):
        assert isinstance(old, Thing)
        it = _named(old, scene, rng)
        forms = (f"remove {it}", f"take away {it}", f"the same without {it}")
    elif not isinstance(old, Thing):
        it = _article(_full(new, rng))
        forms = (f"add {it}", f"there is also {it}", f"put {it} beside")
    else:
        it = _named(old, scene, rng)
        if change.kind == "shape":
            other = _article(_noun(new, rng))
            forms = (f"replace {it} with {other}", f"{other} instead of {it}")
        elif change.kind == "colour":
            colour = _colour(new, rng)
            forms = (f"make {it} {colour}", f"{it} should be {colour}", f"paint {it} {colour}")
        elif change.kind == "texture":
            texture = _texture(new, rng)
            forms = (f"make {it} {texture}", f"{it} should be {texture}", f"{it} is {texture} now")
        else:
            size = _larger(old, new)
            forms = (f"make {it} {size}", f"{it} is {size}", f"{it} should be {size}")
    text = choose(rng, forms, 0.4)
    return text[0].upper() + text[1:]


def garment_caption(change: Change, rng: np.random.Generator) -> str:
    """One of the two captions of a garment: "is red", "has a blue star badge"."""
    old, new = change.old, change.new
    if isinstance(new, str):
        place = choose(rng, BACKGROUNDS[new], 0.5)
        forms: tuple[str, ...] = (f"is {place}", f"is shown {place}")
    elif not isinstance(new, Thing):
        forms = ("has no badge", "comes without a badge", "is missing the badge")
    elif not isinstance(old, Thing):
        badge = _article(f"{_colour(new, rng)} {_noun(new, rng)}")
        forms = (f"has {badge} badge", f"comes with {badge}", f"has {badge} beside it")
    elif change.kind == "badge shape":
        badge = _article(_noun(new, rng))
        forms = (f"has {badge} as its badge", f"has {badge} instead of the {_noun(old, rng)}")
    elif change.kind == "badge colour":
        colour = _colour(new, rng)
        forms = (f"has a {colour} badge", f"the {_noun(new, rng)} is {colour}")
    elif change.kind == "size":
        forms = (f"is {_larger(old, new)}",)
    elif change.kind == "texture":
        texture, behind = _texture(new, rng), TEXTURES[new.texture][1]
        forms = (f"is {texture}", f"is {texture} not {_texture(old, rng)}")
        forms += (f"comes {behind[-1]}",) if behind else ()
    else:
        colour = _colour(new, rng)
        forms = (f"is {colour}", f"is {colour} not {_colour(old, rng)}", f"is more {colour}")
    return choose(rng, forms, 0.5)
