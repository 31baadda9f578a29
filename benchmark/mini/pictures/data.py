"""The mini world as data sets: mini-coco, and mini-nocaps in another photographic look.

Pictures are drawn when asked for. mini-nocaps has known, mixed and novel objects.
"""

from __future__ import annotations

import numpy as np

from benchmark.mini.pictures.render import render
from benchmark.mini.pictures.scenes import (
    COLOURS,
    GROUPS,
    NOVEL,
    RADIUS,
    SIZES,
    TEXTURES,
    Scene,
    Thing,
    captions,
    draw_scene,
    outlines,
    silhouettes,
)
from benchmark.mini.worlds.drawn import SIDE, Look, World, filmed, pick

SEED = 2025

WORLD = World(
    name="mini",
    counts={"val": 500, "test": 1000},
    scene=draw_scene,
    draw=lambda scene, _, rng: render(scene, rng),
    describe=captions,
    groups=GROUPS,
    parts={"test-400": ("test", 400)},
    seed=SEED,
    key="",
)
"""The training split has no fixed number of pictures (see ``training/recipes.py``)."""

load = WORLD.loader()
"""1,000 pictures ("val": 500, "test-400": 400) with five captions each."""

ALBUM = Look((0.75, 1.0), (1.07, 0.98, 0.85), contrast=0.65, noise=5.5, blur=1.3, grey=0.35)
"""An old album: faded, warm, a little soft."""
PRINT = Look((0.8, 1.0), (1.05, 0.99, 0.9), contrast=0.75, noise=5.5, blur=1.2, grey=0.25)
"""A fresher print, for the pictures whose things are novel throughout: novelty costs enough."""
PLAIN_PLACES = ("concrete", "wood", "sand", "snow", "sky", "grass", "water", "brick")
"""Backgrounds of the out-of-domain pictures."""


def _near(rng: np.random.Generator) -> Scene:
    """A scene of two or three things, one of which is novel."""
    while True:
        scene = draw_scene(rng)
        if len(scene.things) > 1:
            break
    thing, *others = scene.things
    strange = Thing(pick(rng, NOVEL), thing.colour, thing.texture, thing.size, thing.x, thing.y)
    return Scene(scene.background, (strange, *others))


def _out(rng: np.random.Generator) -> Scene:
    """One novel thing alone."""
    size = pick(rng, SIZES)
    x, y = rng.uniform(RADIUS[size] + 6, SIDE - RADIUS[size] - 6, 2)
    shape, colour = pick(rng, NOVEL), pick(rng, COLOURS)
    thing = Thing(shape, colour, pick(rng, TEXTURES), size, float(x), float(y))
    return Scene(pick(rng, PLAIN_PLACES), (thing,))


def _picture(scene: Scene, look: Look, rng: np.random.Generator) -> np.ndarray:
    return filmed(render(scene, rng, silhouettes() | outlines("novel")), look, rng)


def _captions(scene: Scene, rng: np.random.Generator) -> list[str]:
    """Ten captions: each of the base world's five templates twice."""
    return [text for _ in range(2) for text in captions(scene, rng)]


NOCAPS = {
    domain: World(
        name=f"mini-nocaps-{domain}",
        counts={"val": 150, "test": 150},
        scene=scene,
        draw=_picture,
        describe=_captions,
        views=(look,),
        groups=GROUPS,
        scene_key=f"nocaps/{domain}/",
    )
    for domain, scene, look in (
        ("in", draw_scene, ALBUM),
        ("near", _near, ALBUM),
        ("out", _out, PRINT),
    )
}
"""Domain -> its pictures; each domain is a gallery of its own."""

load_in, load_near, load_out = (world.loader() for world in NOCAPS.values())
"""150 pictures with ten captions each: of known objects; known ones beside one novel; one novel."""
