"""What a sentence can change in a scene: one look, one thing more or less, or the background.

Scenes are general ones, or pictures of a shop: one garment, and a small plain badge beside most.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from benchmark.mini.pictures.scenes import LOOKS, RADIUS, SIDE, Scene, Thing, pick
from benchmark.mini.pictures.vocabulary import BACKGROUNDS, COLOURS, SHAPES, TEXTURES

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

    def inverse(self) -> Change:
        """The change that leads back."""
        kind = {"add": "remove", "remove": "add"}.get(self.kind, self.kind)
        return Change(kind, self.new, self.old)


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
        other = replace(scene, background=pick(rng, BACKGROUNDS))
        found = other, Change(kind, scene.background, other.background)
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
        found = (
            replace(scene, things=things[:at] + things[at + 1 :]),
            Change(kind, things[at], None),
        )
    else:
        at = int(rng.integers(len(things)))
        changed = change_look(scene, at, kind, pick(rng, LOOKS[kind]), rng)
        if changed is None:
            return None
        found = changed
    looks = {(t.shape, t.colour) for t in found[0].things}
    same = found[0].signature() == scene.signature()
    return None if same or len(looks) < len(found[0].things) else found


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
        other = replace(scene, background=pick(rng, BACKGROUNDS))
        found = other, Change(kind, scene.background, other.background)
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
