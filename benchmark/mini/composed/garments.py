"""Pictures of a shop: one garment, and a small plain badge beside most of them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from benchmark.mini.composed.changes import Change, change_look, placed
from benchmark.mini.pictures.scenes import Scene, Thing, pick
from benchmark.mini.pictures.vocabulary import BACKGROUNDS, COLOURS, SHAPES, TEXTURES

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
