"""Families of look-alike scenes, and the queries between them.

A family is one scene and several others that are one or two changes away from it: one look, one
thing more or less, or the background. A query goes from the first scene to another and says what
changes; the rest of the family are wrong edits: the change is missing, half done, or another one.
The picture alone cannot tell them apart, because all are about as near. Scenes are general ones, or
pictures of a shop: one garment, and a small plain badge beside most.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from benchmark.mini.pictures.scenes import (
    BACKGROUNDS,
    COLOUR_WORDS,
    COLOURS,
    LOOKS,
    RADIUS,
    SHAPES,
    SIZES,
    TEXTURES,
    Scene,
    Thing,
    article,
    choose,
    draw_scene,
    words,
)
from benchmark.mini.worlds.drawn import SIDE, pick

MOST_THINGS = 3


@dataclass(frozen=True, slots=True)
class Change:
    """One difference between two scenes.

    Attributes:
        kind: "shape", "colour", "texture", "size", "add", "remove" or "background".
        old: the thing before, None where one was added; the name of a background.
        new: the thing after, None where one was removed; the name of a background.
    """

    kind: str
    old: Thing | str | None
    new: Thing | str | None


def _fits(thing: Thing, others: Sequence[Thing]) -> bool:
    """Whether a thing keeps apart from others and inside the picture, as in drawn scenes."""
    radius = RADIUS[thing.size]
    inside = all(radius + 1 <= at <= SIDE - radius - 1 for at in (thing.x, thing.y))
    return inside and all(
        (thing.x - o.x) ** 2 + (thing.y - o.y) ** 2 > (0.92 * (radius + RADIUS[o.size])) ** 2
        for o in others
    )


def placed(thing: Thing, others: Sequence[Thing], rng: np.random.Generator) -> Thing | None:
    """The thing at a random free place beside others, or None after too many tries."""
    radius = RADIUS[thing.size]
    for _ in range(40):
        x, y = rng.uniform(radius + 1, SIDE - radius - 1, 2)
        moved = replace(thing, x=float(x), y=float(y))
        if _fits(moved, others):
            return moved
    return None


def scene_change(scene: Scene, kind: str, rng: np.random.Generator) -> tuple[Scene, Change] | None:
    """Applies a random change of one kind to a general scene.

    Things that stay keep their places, as far as a thing that grows lets them.

    Returns:
        The changed scene and the change, or None where the draw is impossible: nothing changed, no
        room, or two things that share shape and colour (sentences could not tell them apart).
    """
    things = scene.things
    if kind == "background":
        found = _moved(scene, rng)
    elif kind == "add":
        shape, colour, texture, size = (pick(rng, names) for names in LOOKS.values())
        new = placed(Thing(shape, colour, texture, size, 0.0, 0.0), things, rng)
        if new is None or len(things) == MOST_THINGS:
            return None
        found = replace(scene, things=(*things, new)), Change(kind, None, new)
    elif kind == "remove":
        at = int(rng.integers(len(things)))
        if len(things) == 1:
            return None
        rest = replace(scene, things=things[:at] + things[at + 1 :])
        found = rest, Change(kind, things[at], None)
    else:
        at = int(rng.integers(len(things)))
        changed = change_look(scene, at, kind, pick(rng, LOOKS[kind]), rng)
        if changed is None:
            return None
        found = changed
    looks = {(t.shape, t.colour) for t in found[0].things}
    same = found[0].signature() == scene.signature()
    return None if same or len(looks) < len(found[0].things) else found


def _moved(scene: Scene, rng: np.random.Generator) -> tuple[Scene, Change]:
    other = replace(scene, background=pick(rng, BACKGROUNDS))
    return other, Change("background", scene.background, other.background)


def change_look(
    scene: Scene, at: int, kind: str, value: str, rng: np.random.Generator
) -> tuple[Scene, Change] | None:
    """Gives one look of the thing number ``at`` a value; it moves only where it has to."""
    old = scene.things[at]
    change: dict[str, Any] = {kind: value}
    new: Thing | None = replace(old, **change)
    others = scene.things[:at] + scene.things[at + 1 :]
    assert new is not None
    if not _fits(new, others):
        new = placed(new, others, rng)
        if new is None:
            return None
    things = (*scene.things[:at], new, *scene.things[at + 1 :])
    return replace(scene, things=things), Change(kind, old, new)


CATEGORIES = ("shirt", "hat", "boot")
"""Each has a gallery of its own, as dress, shirt and toptee have in FashionIQ."""
GARMENT_SIZES = ("medium", "large")
BADGES = tuple(name for name in SHAPES if name not in (*CATEGORIES, "bag", "person"))
BADGE_SHARE = 0.7
KINDS = ("colour", "texture", "size", "background", "badge", "badge shape", "badge colour")
KIND_SHARES = (0.22, 0.22, 0.06, 0.14, 0.16, 0.1, 0.1)
_LOOKS: dict[str, tuple[str, ...]] = {
    "colour": tuple(COLOURS),
    "texture": tuple(TEXTURES),
    "size": GARMENT_SIZES,
}


def _badge(garment: Thing, rng: np.random.Generator) -> Thing | None:
    looks = pick(rng, BADGES), pick(rng, COLOURS), "plain", "small"
    return placed(Thing(*looks, 0.0, 0.0), [garment], rng)


def draw_garment(category: str, rng: np.random.Generator) -> Scene:
    """A random picture of one category, of any split."""
    while True:
        looks = category, pick(rng, COLOURS), pick(rng, TEXTURES), pick(rng, GARMENT_SIZES)
        garment = placed(Thing(*looks, 0.0, 0.0), [], rng)
        wanted = rng.random() < BADGE_SHARE
        badge = _badge(garment, rng) if garment and wanted else None
        if garment and (badge or not wanted):
            return Scene(pick(rng, BACKGROUNDS), (garment, badge) if badge else (garment,))


def garment_change(scene: Scene, rng: np.random.Generator) -> tuple[Scene, Change] | None:
    """Applies a random change; the garment stays in its category.

    Returns:
        The changed picture and the change, or None where the draw is impossible.
    """
    kind = str(rng.choice(KINDS, p=KIND_SHARES))
    garment, badge = scene.things[0], (scene.things[1:] or (None,))[0]
    found: tuple[Scene, Change] | None = None
    if kind == "background":
        found = _moved(scene, rng)
    elif kind == "badge" and badge:
        found = replace(scene, things=(garment,)), Change("remove", badge, None)
    elif kind == "badge":
        new = _badge(garment, rng)
        if new:
            found = replace(scene, things=(garment, new)), Change("add", None, new)
    elif kind in ("badge shape", "badge colour"):
        if badge:
            look = kind.removeprefix("badge ")
            value = pick(rng, BADGES if look == "shape" else COLOURS)
            found = change_look(scene, 1, look, value, rng)
            found = found and (found[0], replace(found[1], kind=kind))
    else:
        found = change_look(scene, 0, kind, pick(rng, _LOOKS[kind]), rng)
    return found if found and found[0].signature() != scene.signature() else None


def subject(change: Change) -> str:
    """What a caption about a change talks about: the badge, or one look of the picture."""
    badge = change.kind in ("add", "remove") or change.kind.startswith("badge")
    return "badge" if badge else change.kind


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


@dataclass(frozen=True)
class Family:
    """Look-alike scenes of one split.

    Attributes:
        scenes: ``MEMBERS`` scenes, the one that the others were made from first.
        changes: what each of the others changes of the first.
    """

    scenes: tuple[Scene, ...]
    changes: tuple[tuple[Change, ...], ...]


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
    changes = 2 if kind in CATEGORIES else 1
    found = enumerate(family.changes, 1)
    return [Path(0, member, way) for member, way in found if len(way) == changes]


def text_of(kind: str, family: Family, path: Path, rng: np.random.Generator) -> str:
    """What the query says: one sentence, or two captions joined as FashionIQ's evaluation does."""
    if kind not in CATEGORIES:
        return scene_sentence(path.changes[0], family.scenes[path.reference], rng)
    joined = " and ".join(garment_caption(change, rng) for change in path.changes)
    return joined[0].upper() + joined[1:]


_SCENE, _GARMENT = words("scene changes"), words("garment changes")
"""Kind of change -> sentences, with what they name."""


def _article(phrase: str) -> str:
    return f"an {phrase}" if phrase.startswith("hour") else article(phrase)


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
    old: Any = change.old
    new: Any = change.new
    kind = change.kind
    said: list[str] = []
    if kind == "background":
        said.append(choose(rng, BACKGROUNDS[new], 0.5))
    elif kind == "add":
        said.append(_article(_full(new, rng)))
    else:
        said.append(_named(old, scene, rng))
    if kind == "shape":
        said.append(_article(_noun(new, rng)))
    elif kind in ("colour", "texture"):
        said.append((_colour if kind == "colour" else _texture)(new, rng))
    elif kind == "size":
        said.append(_larger(old, new))
    text = choose(rng, _SCENE[kind], 0.4).format(*said)
    return text[0].upper() + text[1:]


def garment_caption(change: Change, rng: np.random.Generator) -> str:
    """One of the two captions of a garment: "is red", "has a blue star badge"."""
    old: Any = change.old
    new: Any = change.new
    kind = change.kind
    said: list[str] = []
    if kind == "background":
        said = [choose(rng, BACKGROUNDS[new], 0.5)]
    elif kind == "add":
        said = [_article(f"{_colour(new, rng)} {_noun(new, rng)}")]
    elif kind == "badge shape":
        said = [_article(_noun(new, rng)), _noun(old, rng)]
    elif kind == "badge colour":
        said = [_colour(new, rng), _noun(new, rng)]
    elif kind == "size":
        said = [_larger(old, new)]
    elif kind == "texture":
        behind = TEXTURES[new.texture][1]
        said = [_texture(new, rng), _texture(old, rng), *behind[-1:]]
        kind = kind if behind else "plain"
    elif kind == "colour":
        said = [_colour(new, rng), _colour(old, rng)]
    return choose(rng, _GARMENT[kind], 0.5).format(*said)
