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
from benchmark.mini.composed.sentences import garment_caption, scene_sentence
from benchmark.mini.pictures.scenes import Scene, draw_scene

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
        """The way back."""
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
