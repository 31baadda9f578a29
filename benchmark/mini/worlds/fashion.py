"""mini-fashion: garments in a studio; a product has two pictures and one description."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from math import pi

import numpy as np

from benchmark.mini.pictures.data import coverage_of, paint, pattern_of, smooth_field
from benchmark.mini.pictures.scenes import (
    COLOUR_WORDS,
    COLOURS,
    TEXTURES,
    Part,
    choose,
    outlines,
    sentence,
    silhouettes,
    words,
)
from benchmark.mini.worlds.drawn import SIDE, Look, Signed, World, filmed, pick

CATEGORIES = words("garments")
"""Category -> nouns; the base encoder knows shirts, boots, hats and bags, and every colour."""
TRIMS = ("", "belt", "pocket", "band")
STUDIO = Look((0.9, 1.08), (1.0, 1.0, 1.0), contrast=0.9, noise=3.5, blur=1.1)


@dataclass(frozen=True, slots=True)
class Product(Signed):
    """What is sold; ``trim`` "" = none."""

    category: str
    colour: str
    texture: str
    trim: str
    trim_colour: str

    def signature(self) -> str:
        look = f"{self.category}/{self.colour}/{self.texture}"
        return f"product|{look}/{self.trim}/{self.trim_colour}"


@cache
def garments() -> dict[str, tuple[Part, ...]]:
    """Category or trim -> parts."""
    return silhouettes() | outlines("garments")


def _product(rng: np.random.Generator) -> Product:
    trim = pick(rng, TRIMS)
    return Product(
        pick(rng, CATEGORIES),
        pick(rng, COLOURS),
        pick(rng, TEXTURES),
        trim,
        pick(rng, COLOURS) if trim else "",
    )


def draw(product: Product, turned: bool, rng: np.random.Generator) -> np.ndarray:
    """One picture, (64, 64, 3) uint8: from the front, or smaller, turned, before another wall."""
    light = np.array([232, 230, 226] if not turned else [206, 212, 220], np.float32)
    picture = light * (0.94 + 0.1 * smooth_field(rng, 3)[..., None])
    radius = 26.0 * (rng.uniform(0.92, 1.0) if not turned else rng.uniform(0.68, 0.85))
    spread = 6.0 if turned else 1.5
    x, y = SIDE / 2 + rng.uniform(-spread, spread, 2)
    angle = rng.uniform(-0.5, 0.5) if turned else rng.uniform(-0.06, 0.06)
    mask = coverage_of(garments()[product.category], radius, x, y, angle)
    picture *= 1 - 0.22 * np.roll(mask, (2, 1), (0, 1))[..., None]
    tone = np.asarray(COLOURS[product.colour], np.float32) * rng.uniform(0.92, 1.05)
    pattern = pattern_of(product.texture, x, y, angle + rng.choice([0.0, pi / 2]))
    picture = paint(picture, mask, tone, pattern)
    if product.trim:
        trim = mask * coverage_of(garments()[product.trim], radius, x, y, angle)
        picture = paint(picture, trim, np.asarray(COLOURS[product.trim_colour], np.float32))
    return filmed(picture, STUDIO, rng)


def describe(product: Product, rng: np.random.Generator) -> list[str]:
    """One description, the same row for every picture of the product."""
    noun = choose(rng, CATEGORIES[product.category], 0.6)
    colour = choose(rng, COLOUR_WORDS[product.colour], 0.8)
    texture = choose(rng, TEXTURES[product.texture][0])
    text = f"{texture} {noun} in {colour}" if rng.random() < 0.7 else f"{colour} {texture} {noun}"
    if product.trim:
        text += f", {choose(rng, COLOUR_WORDS[product.trim_colour], 0.8)} {product.trim}"
    return [sentence(text)]


WORLD = World(
    name="mini-fashion",
    counts={"val": 200, "test": 400},
    scene=_product,
    draw=draw,
    describe=describe,
    views=(False, True),
    shared=True,
    groups={"category": lambda product, _: product.category},
    scene_key="fashion/",
)

load = WORLD.loader()
"""200 products (validation: 100) with two pictures each; relevance by product, many to many."""
