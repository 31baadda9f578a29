"""mini-rsicd and mini-rsitmd: places seen from above, in the looks of two satellites."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from math import pi

import numpy as np

from benchmark.mini.pictures.data import background, coverage_of, paint, pattern_of
from benchmark.mini.pictures.scenes import (
    COLOUR_WORDS,
    COLOURS,
    Part,
    article,
    box,
    choose,
    join,
    sentence,
    silhouettes,
    words,
)
from benchmark.mini.worlds.drawn import SIDE, Look, Signed, World, filmed, pick

LAND = words("land")
"""Kind of ground -> words, all known to the base encoder."""
OBJECTS = words("buildings")
"""What lies on the ground: outlines of the base world seen from above -> words."""
ROOFS = ("plain", "plain", "striped", "checkered")
ROADS = ("none", "across", "down", "crossing")
_ROAD_WORDS = words("roads")
_ROAD_TONE = np.array([92, 92, 96], np.float32)


@dataclass(frozen=True, slots=True)
class Object:
    """Something on the ground; ``quarter`` 0..3 says in which quarter of the picture it lies."""

    shape: str
    colour: str
    roof: str
    quarter: int


@dataclass(frozen=True, slots=True)
class View(Signed):
    """A piece of land from above."""

    land: str
    road: str
    objects: tuple[Object, ...]

    def signature(self) -> str:
        looks = sorted(f"{o.shape}/{o.colour}/{o.roof}" for o in self.objects)
        return "|".join(["aerial", self.land, self.road, *looks])


def _view(rng: np.random.Generator) -> View:
    count = int(rng.choice((1, 2, 3), p=(0.2, 0.45, 0.35)))
    quarters = rng.permutation(4)[:count]
    objects = tuple(
        Object(pick(rng, OBJECTS), pick(rng, COLOURS), pick(rng, ROOFS), int(q)) for q in quarters
    )
    return View(pick(rng, LAND), pick(rng, ROADS), objects)


def _bar(upright: bool, width: float) -> Part:
    x, y = (width / 32, 2.0) if upright else (2.0, width / 32)
    return True, box(-x, -y, x, y)


@dataclass(frozen=True, slots=True)
class Satellite:
    """How views are seen; ``sizes`` are the objects' smallest and largest radius in pixels."""

    look: Look
    sizes: tuple[float, float]


def draw(view: View, seen: Satellite, rng: np.random.Generator) -> np.ndarray:
    """One picture, (64, 64, 3) uint8."""
    picture = background(view.land, rng)
    middle = SIDE / 2 + rng.uniform(-2, 2)
    bend = rng.uniform(-0.1, 0.1)
    for upright, roads in ((False, ("across", "crossing")), (True, ("down", "crossing"))):
        if view.road in roads:
            mask = coverage_of((_bar(upright, 3.0),), 32.0, middle, middle, bend)[..., None]
            line = coverage_of((_bar(upright, 0.5),), 32.0, middle, middle, bend)[..., None]
            picture = picture * (1 - mask) + _ROAD_TONE * mask
            picture = picture * (1 - line) + 230 * line
    for thing in view.objects:
        x = SIDE * (0.25 if thing.quarter % 2 == 0 else 0.75) + rng.uniform(-2, 2)
        y = SIDE * (0.25 if thing.quarter < 2 else 0.75) + rng.uniform(-2, 2)
        turn = rng.uniform(-0.35, 0.35)
        mask = coverage_of(silhouettes()[thing.shape], rng.uniform(*seen.sizes), x, y, turn)
        tone = np.asarray(COLOURS[thing.colour], np.float32) * rng.uniform(0.92, 1.05)
        pattern = pattern_of(thing.roof, x, y, turn + rng.choice([0.0, pi / 2]))
        picture = picture * (1 - 0.3 * np.roll(mask, (-2, 2), (0, 1))[..., None])
        picture = paint(picture, mask, tone, pattern)
    return filmed(picture, seen.look, rng)


def _named(thing: Object, rng: np.random.Generator) -> str:
    words = [choose(rng, COLOUR_WORDS[thing.colour], 0.8)]
    if thing.roof != "plain":
        words.append(thing.roof)
    return article(" ".join([*words, choose(rng, OBJECTS[thing.shape], 0.4)]))


def captions(view: View, rng: np.random.Generator) -> list[str]:
    """Five captions. The last, like many of RSICD's, says so little that it may fit other views."""
    place = partial(choose, rng, LAND[view.land], 0.6)
    road = partial(choose, rng, _ROAD_WORDS[view.road], 0.6)

    def things() -> str:
        order = rng.permutation(len(view.objects))
        return join([_named(view.objects[i], rng) for i in order])

    first = view.objects[0]
    vague = f"{choose(rng, COLOUR_WORDS[first.colour], 1.0)} {OBJECTS[first.shape][-1]}"
    texts = [
        f"{things()} {place()} with {road()}",
        f"there is {things()} {place()}",
        f"{road()} {place()} and {things()}",
        f"seen from above: {things()} {place()}",
        f"{article(vague)} {LAND[view.land][0]}",
    ]
    return [sentence(text) for text in texts]


RSICD_LOOK = Look((0.85, 1.05), (0.95, 1.0, 1.07), contrast=0.68, noise=5.0, blur=1.3, grey=0.25)
"""A hazy satellite."""
RSITMD_LOOK = Look((0.7, 0.95), (1.08, 1.0, 0.85), contrast=0.75, noise=7.0, blur=1.2, grey=0.35)
"""A camera in an aeroplane, late in the day."""


def _world(name: str, test: int, look: Look, sizes: tuple[float, float]) -> World:
    return World(
        name=name,
        counts={"val": 150, "test": test},
        scene=_view,
        draw=draw,
        describe=captions,
        views=(Satellite(look, sizes),),
        groups={"land": lambda view, _: view.land, "road": lambda view, _: view.road},
    )


RSICD = _world("mini-rsicd", 300, RSICD_LOOK, (8.0, 11.0))
RSITMD = _world("mini-rsitmd", 200, RSITMD_LOOK, (9.5, 13.0))

load_rsicd = RSICD.loader()
"""300 views (validation: 150) with five captions each; some texts serve several views."""
load_rsitmd = RSITMD.loader()
"""200 views in another look, larger on the ground."""
