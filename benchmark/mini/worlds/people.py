"""People described by their clothes: mini-cuhk and mini-icfg, each seen by two cameras of its own.

Who they are, how one camera draws them, and how they are described: two short sentences by two
annotators, or one long one.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from math import cos, pi, sin

import numpy as np

from benchmark.mini.pictures.data import background, coverage_of, paint, pattern_of, second_tone
from benchmark.mini.pictures.scenes import (
    COLOUR_WORDS,
    COLOURS,
    TEXTURES,
    Part,
    Point,
    article,
    box,
    choose,
    ellipse,
    sentence,
)
from benchmark.mini.worlds.drawn import SEED, SIDE, Describe, Look, Signed, World, filmed, pick

HAIR = ("black", "brown", "yellow", "grey")
TOPS = ("shirt", "coat")
BOTTOMS = ("trousers", "shorts", "skirt")
SHOES = ("black", "white", "brown", "red", "blue")
_USUAL = ("black", "white", "grey", "blue", "brown")
_USUAL_SHARE = 0.45
"""Clothes often have one of the five usual colours, as in the originals; the rest any colour."""
_SKIN = np.array([(242, 206, 176), (206, 152, 112), (140, 94, 62), (92, 58, 40)], np.float32)
_HEIGHT = 27.0
"""Half the height of a person in pixels."""


@dataclass(frozen=True, slots=True)
class Person(Signed):
    """What identifies a person; "" = has none."""

    hair: str
    long_hair: bool
    top: str
    top_colour: str
    top_texture: str
    bottom: str
    bottom_colour: str
    shoes: str
    bag: str
    hat: str

    def signature(self) -> str:
        return "person|" + "/".join(str(getattr(self, f.name)) for f in fields(self))


@dataclass(frozen=True, slots=True)
class Camera:
    """Where a camera stands and how it sees.

    Attributes:
        places: backgrounds it sees.
        look: its light, colours, noise and sharpness.
        scale: size of people, smallest and largest.
    """

    places: tuple[str, ...]
    look: Look
    scale: tuple[float, float]


def _colour(rng: np.random.Generator) -> str:
    return pick(rng, _USUAL if rng.random() < _USUAL_SHARE else COLOURS)


def draw_person(rng: np.random.Generator) -> Person:
    """A random person of any split."""
    return Person(
        hair=pick(rng, HAIR),
        long_hair=bool(rng.random() < 0.5),
        top=pick(rng, TOPS),
        top_colour=_colour(rng),
        top_texture=pick(rng, TEXTURES) if rng.random() < 0.6 else "plain",
        bottom=pick(rng, BOTTOMS),
        bottom_colour=_colour(rng),
        shoes=pick(rng, SHOES),
        bag=_colour(rng) if rng.random() < 0.5 else "",
        hat=_colour(rng) if rng.random() < 0.25 else "",
    )


def _limb(start: Point, angle: float, length: float, width: float) -> Part:
    """A bar from ``start`` downwards, turned by ``angle``."""
    (x, y), dx, dy = start, sin(angle), cos(angle)
    ox, oy = dy * width / 2, -dx * width / 2
    ex, ey = x + length * dx, y + length * dy
    return True, ((x - ox, y - oy), (x + ox, y + oy), (ex + ox, ey + oy), (ex - ox, ey - oy))


def _pieces(
    person: Person, arms: tuple[float, float], stride: float
) -> list[tuple[str, tuple[Part, ...]]]:
    """What is painted, from back to front: colour ("" = skin, "top" = the top's) and outline.

    The body lies in the square [-1, 1] x [-1, 1], y down; ``arms`` and ``stride`` are angles.
    """
    pieces: list[tuple[str, tuple[Part, ...]]] = []
    if person.long_hair:
        pieces.append((person.hair, ((True, ellipse(0, -0.68, 0.25, 0.32)),)))
    shoulders = ((-0.3, -0.46), (0.3, -0.46))
    turns = (-arms[0], arms[1])
    bare = [_limb(s, t, 0.58, 0.13) for s, t in zip(shoulders, turns, strict=True)]
    pieces.append(("", tuple(bare)))
    legs = [_limb((side * 0.15, 0.1), side * stride, 0.8, 0.15) for side in (-1, 1)]
    pieces.append(("", tuple(legs)))
    feet = [(side * (0.15 + 0.82 * sin(stride)), 0.1 + 0.82 * cos(stride)) for side in (-1, 1)]
    shoes = tuple((True, ellipse(x + 0.03, y, 0.17, 0.085)) for x, y in feet)
    pieces.append((person.shoes, shoes))
    if person.bottom == "skirt":
        skirt: Part = (True, ((-0.27, 0.02), (0.27, 0.02), (0.46, 0.55), (-0.46, 0.55)))
        pieces.append((person.bottom_colour, (skirt,)))
    else:
        length = 0.76 if person.bottom == "trousers" else 0.34
        parts = [_limb((side * 0.15, 0.08), side * stride, length, 0.25) for side in (-1, 1)]
        pieces.append((person.bottom_colour, (*parts, (True, box(-0.28, 0.02, 0.28, 0.16)))))
    sleeve, hem = (0.3, 0.1) if person.top == "shirt" else (0.56, 0.36)
    sleeves = [_limb(s, t, sleeve, 0.2) for s, t in zip(shoulders, turns, strict=True)]
    pieces.append(("top", (*sleeves, (True, box(-0.34, -0.54, 0.34, hem)))))
    pieces.append(("", ((True, ellipse(0, -0.74, 0.18, 0.21)),)))
    pieces.append((person.hair, ((True, ellipse(0, -0.84, 0.2, 0.15, 180, 360)),)))
    if person.hat:
        brim: Part = (True, box(-0.3, -0.88, 0.3, -0.81))
        pieces.append((person.hat, (brim, (True, ellipse(0, -0.86, 0.2, 0.2, 180, 360)))))
    if person.bag:
        hand = (0.3 + 0.58 * sin(arms[1]), -0.46 + 0.58 * cos(arms[1]))
        bag = box(hand[0] - 0.14, hand[1], hand[0] + 0.18, hand[1] + 0.3)
        pieces.append((person.bag, ((True, bag),)))
    return pieces


def draw(person: Person, camera: Camera, rng: np.random.Generator) -> np.ndarray:
    """One sighting of a person, (64, 64, 3) uint8; place and pose come from the generator."""
    picture = background(pick(rng, camera.places), rng)
    radius = _HEIGHT * rng.uniform(*camera.scale)
    x = SIDE / 2 + rng.uniform(-5, 5)
    y = SIDE / 2 + rng.uniform(-2, 2)
    lean = rng.uniform(-0.07, 0.07)
    arms = (rng.uniform(0.1, 0.6), rng.uniform(0.1, 0.6))
    skin = _SKIN[int(rng.integers(len(_SKIN)))]
    turn = rng.choice([0.0, pi / 2])
    mirrored = rng.random() < 0.5
    for name, parts in _pieces(person, arms, rng.uniform(0.02, 0.2)):
        mask = coverage_of(parts, radius, x, y, lean)
        colour = person.top_colour if name == "top" else name
        tone = np.asarray(COLOURS[colour], np.float32) if colour else skin
        lit = tone * rng.uniform(0.92, 1.06)
        pattern = pattern_of(person.top_texture, x, y, lean + turn) if name == "top" else None
        picture *= 1 - 0.25 * np.roll(mask, (1, 1), (0, 1))[..., None]
        picture = paint(picture, mask, lit, pattern, second_tone(tone))
    return filmed(picture[:, ::-1] if mirrored else picture, camera.look, rng)


_TOPS = {"shirt": ("shirt", "top"), "coat": ("coat", "jacket")}
_BOTTOMS = {"trousers": ("trousers", "pants"), "shorts": ("shorts",), "skirt": ("skirt",)}
_HAIR = {"yellow": ("blond", "yellow")}


def _tone(name: str, rng: np.random.Generator) -> str:
    return choose(rng, COLOUR_WORDS[name], 0.8)


def _who(person: Person, rng: np.random.Generator) -> str:
    return choose(rng, ("a woman", "a person") if person.long_hair else ("a man", "a person"), 0.7)


def _top(person: Person, rng: np.random.Generator, texture: float = 0.9) -> str:
    words = [_tone(person.top_colour, rng)]
    before, behind = TEXTURES[person.top_texture]
    after = ""
    if person.top_texture != "plain" and rng.random() < texture:
        if rng.random() < 0.3:
            after = " " + behind[int(rng.integers(len(behind)))]
        else:
            words.insert(int(rng.integers(2)), choose(rng, before))
    return article(" ".join([*words, choose(rng, _TOPS[person.top], 0.6)])) + after


def _bottom(person: Person, rng: np.random.Generator) -> str:
    noun = choose(rng, _BOTTOMS[person.bottom], 0.6)
    phrase = f"{_tone(person.bottom_colour, rng)} {noun}"
    return article(phrase) if noun == "skirt" else phrase


def _shoes(person: Person, rng: np.random.Generator) -> str:
    return f"{_tone(person.shoes, rng)} {choose(rng, ('shoes', 'boots'), 0.7)}"


def _extras(person: Person, rng: np.random.Generator, share: float) -> list[str]:
    said: list[str] = []
    if person.bag and rng.random() < share:
        bag = choose(rng, ("bag", "handbag"), 0.7)
        said.append(f"carrying {article(f'{_tone(person.bag, rng)} {bag}')}")
    if person.hat and rng.random() < share:
        said.append(f"with {article(f'{_tone(person.hat, rng)} hat')}")
    return said


def _wearing(person: Person, rng: np.random.Generator) -> str:
    text = f"{_who(person, rng)} in {_top(person, rng)} and {_bottom(person, rng)}"
    if rng.random() < 0.6:
        text += f" and {_shoes(person, rng)}"
    return ", ".join([text, *_extras(person, rng, 0.8)])


def _listed(person: Person, rng: np.random.Generator) -> str:
    said = [_top(person, rng), _bottom(person, rng), _shoes(person, rng)]
    said = [said[i] for i in rng.permutation(3)]
    said += _extras(person, rng, 0.7)
    verb = choose(rng, ("wears", "is wearing", "has"), 0.5)
    return f"{_who(person, rng)} {verb} " + ", ".join(said)


def _long(person: Person, rng: np.random.Generator) -> str:
    hair = choose(rng, _HAIR.get(person.hair, (person.hair,)), 0.7)
    length = "long" if person.long_hair else "short"
    text = f"{_who(person, rng)} with {length} {hair} hair is dressed in {_top(person, rng, 1.0)}"
    text += f" over {_bottom(person, rng)} and walks in {_shoes(person, rng)}"
    return ", ".join([text, *_extras(person, rng, 0.9)])


def two_captions(person: Person, rng: np.random.Generator) -> list[str]:
    """Two annotators, as in CUHK-PEDES."""
    return [sentence(_wearing(person, rng)), sentence(_listed(person, rng))]


def one_caption(person: Person, rng: np.random.Generator) -> list[str]:
    """One longer sentence, as in ICFG-PEDES."""
    return [sentence(_long(person, rng))]


CUHK_CAMERAS = (
    Camera(
        places=("concrete", "grass", "brick"),
        look=Look(gain=(0.9, 1.15), tint=(1.05, 1.0, 0.92), noise=5.0),
        scale=(0.9, 1.0),
    ),
    Camera(
        places=("sand", "concrete", "snow"),
        look=Look((0.7, 0.9), (0.92, 1.0, 1.08), contrast=0.85, noise=7.0, blur=1.4),
        scale=(0.8, 0.95),
    ),
)
"""A sunny street and a cloudy square."""
ICFG_CAMERAS = (
    Camera(
        places=("concrete", "wood", "brick"),
        look=Look((0.5, 0.7), (1.15, 0.98, 0.75), contrast=0.75, noise=9.0, blur=1.5),
        scale=(0.8, 1.0),
    ),
    Camera(
        places=("concrete", "night", "soil"),
        look=Look((0.45, 0.65), (0.8, 0.95, 1.15), contrast=0.7, noise=11.0, blur=1.8),
        scale=(0.75, 0.9),
    ),
)
"""A lamp-lit hall and a car park at dusk."""


def _world(name: str, cameras: tuple[Camera, ...], describe: Describe, offset: int) -> World:
    return World(
        name=name,
        counts={"val": 200, "test": 400},
        scene=draw_person,
        draw=draw,
        describe=describe,
        views=cameras,
        groups={"camera": lambda _, camera: f"camera {cameras.index(camera)}"},
        scene_seed=SEED + offset,
        scene_key="people/",
    )


CUHK = _world("mini-cuhk", CUHK_CAMERAS, two_captions, 1)
ICFG = _world("mini-icfg", ICFG_CAMERAS, one_caption, 2)

load_cuhk = CUHK.loader()
"""200 people (validation: 100), each seen twice; two captions a picture; relevance by person."""
load_icfg = ICFG.loader()
"""The same with other people, darker cameras and one longer caption a picture."""
