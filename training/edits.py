"""Twins of training scenes: one look changed, in the same split."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from benchmark.mini.pictures.scenes import BACKGROUNDS, LOOKS, Scene
from benchmark.mini.worlds.drawn import pick
from benchmark.mini.worlds.people import Person, draw_person

EDITS = ("shape", "texture", "colour", "background")
EDIT_SHARES = (0.45, 0.3, 0.15, 0.1)
"""Mostly shape and texture: the small encoder finds these hardest."""


def edit_scene(scene: Scene, rng: np.random.Generator) -> Scene:
    """The scene with one thing's look (or the background) changed, in the same split."""
    while True:
        kind = str(rng.choice(EDITS, p=EDIT_SHARES))
        if kind == "background":
            changed = replace(scene, background=pick(rng, BACKGROUNDS))
        else:
            index = int(rng.integers(len(scene.things)))
            change: dict[str, Any] = {kind: pick(rng, LOOKS[kind])}
            thing = replace(scene.things[index], **change)
            things = (*scene.things[:index], thing, *scene.things[index + 1 :])
            changed = replace(scene, things=things)
        looks = {(t.shape, t.colour) for t in changed.things}
        if (
            changed.signature() != scene.signature()
            and len(looks) == len(changed.things)
            and changed.split() == scene.split()
        ):
            return changed


def edit_person(person: Person, rng: np.random.Generator) -> Person:
    """Somebody of the same split who differs in one piece."""
    while True:
        other = draw_person(rng)
        name = pick(rng, ("top", "top_colour", "top_texture", "bottom", "bottom_colour", "shoes"))
        change: dict[str, Any] = {name: getattr(other, name)}
        twin = replace(person, **change)
        if twin != person and twin.split() == person.split():
            return twin
