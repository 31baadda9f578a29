"""The second scene style, mini-flickr: flat poster drawings with ink outlines on tinted paper.

The same kinds of things and places as in the base world, but drawn (outlines, hatching, no shadow,
printed colours, paper grain, a margin), set side by side in a row, and described in other words.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from math import cos, pi, sin

import numpy as np

from benchmark.mini.pictures.data import RGB, coverage_of, paint, pattern_of, smooth_field
from benchmark.mini.pictures.scenes import (
    BACKGROUNDS,
    COLOUR_WORDS,
    COLOURS,
    GROUPS,
    RADIUS,
    SHAPES,
    SIZES,
    TEXTURES,
    Scene,
    Thing,
    article,
    choose,
    join,
    noun_phrase,
    silhouettes,
    some_looks,
)
from benchmark.mini.pictures.scenes import captions as scene_captions
from benchmark.mini.worlds.drawn import SIDE, World, pick

OBJECT_SHARES = (0.06, 0.54, 0.40)
_ENLARGED = 1.08
_ROOM = SIDE - 6
OPACITY = 0.7
"""Of the printed colours; the rest is paper."""
LAMP = 0.4
"""How much lighter the lit edge is than the middle."""
PAPER = np.array([250, 234, 204], np.float32)
INK = np.array([44, 36, 52], np.float32)
MARGIN = 2
"""Pixels of bare paper around a poster."""
_YY, _XX = np.mgrid[0:SIDE, 0:SIDE].astype(np.float32)


def _radii(sizes: list[str]) -> list[float]:
    """Radii in pixels, shrunk together where the row would not fit."""
    radii = [_ENLARGED * RADIUS[size] for size in sizes]
    shrink = min(1.0, _ROOM / (2 * sum(radii)))
    return [radius * shrink for radius in radii]


def draw_scene(rng: np.random.Generator) -> Scene:
    """A random scene of any split: one to three things side by side."""
    while True:
        looks = some_looks(rng, OBJECT_SHARES)
        if looks is None:
            continue
        radii = _radii([size for *_, size in looks])
        gaps = rng.dirichlet(np.ones(len(looks) + 1)) * (_ROOM - 2 * sum(radii))
        edge = (SIDE - _ROOM) / 2
        things: list[Thing] = []
        for look, radius, gap in zip(looks, radii, gaps, strict=False):
            y = rng.uniform(radius + 4, SIDE - radius - 4)
            things.append(Thing(*look, float(edge + gap + radius), float(y)))
            edge += gap + 2 * radius
        return Scene(pick(rng, BACKGROUNDS), tuple(things))


def _lines(rng: np.random.Generator, period: float, angle: float, duty: float) -> np.ndarray:
    """Parallel hand-drawn lines; ``angle`` 0 is horizontal."""
    wobble = 1.6 * smooth_field(rng, 4)
    along = cos(angle) * _YY + sin(angle) * _XX + rng.uniform(0, period) + wobble
    return along % period < duty


def _broken(rng: np.random.Generator, period: float, angle: float, dash: float) -> np.ndarray:
    """Short strokes in offset rows, such as blades of grass."""
    u = cos(angle) * _XX + sin(angle) * _YY + rng.uniform(0, period)
    v = -sin(angle) * _XX + cos(angle) * _YY + rng.uniform(0, period)
    row = np.floor(v / period)
    return (v % period < 1.2) & ((u + 2.7 * row) % (1.8 * dash) < dash)


def _specks(rng: np.random.Generator, count: int, radius: float) -> np.ndarray:
    """Round specks at random places."""
    centres = rng.uniform(0, SIDE, (count, 2, 1, 1)).astype(np.float32)
    distance = np.hypot(_YY - centres[:, 0], _XX - centres[:, 1]).min(0)
    return np.clip(radius + 0.5 - distance, 0, 1)


def _waves(rng: np.random.Generator) -> np.ndarray:
    phase = rng.uniform(0, 2 * pi)
    return (_YY + 1.6 * np.sin(_XX / 3.2 + phase) + rng.uniform(0, 8)) % 8 < 1.3


def _bricks(rng: np.random.Generator) -> np.ndarray:
    y, x = _YY + rng.uniform(0, 10), _XX + rng.uniform(0, 20)
    row = np.floor(y / 10)
    return ((y % 10) < 1.2) | ((x + 10 * (row % 2)) % 20 < 1.2)


def _outlined_blobs(rng: np.random.Generator, cells: int, level: float, width: float) -> np.ndarray:
    """Contours of a smooth field: clouds or stones."""
    return np.abs(smooth_field(rng, cells) - level) < width


def _bands(rng: np.random.Generator) -> np.ndarray:
    return np.floor((_YY / SIDE + 0.06 * smooth_field(rng, 3)) * 5) / 5


_BACKDROPS: dict[str, tuple[RGB, RGB, Callable[..., np.ndarray], tuple[float, ...]]] = {
    "grass": ((112, 168, 84), (52, 104, 40), _broken, (5.0, pi / 2, 4.0)),
    "sand": ((228, 200, 146), (184, 146, 92), _specks, (70, 0.5)),
    "brick": ((176, 92, 70), (226, 206, 190), _bricks, ()),
    "wood": ((186, 130, 76), (116, 70, 34), _lines, (9.0, 0.0, 1.2)),
    "water": ((66, 134, 180), (22, 76, 128), _waves, ()),
    "sky": ((150, 192, 232), (246, 246, 250), _outlined_blobs, (4, 0.5, 0.06)),
    "snow": ((232, 236, 244), (170, 186, 214), _specks, (26, 1.1)),
    "night": ((30, 28, 66), (244, 236, 190), _specks, (20, 0.7)),
    "concrete": ((150, 150, 150), (112, 112, 114), _lines, (7.0, pi / 4, 1.0)),
    "soil": ((104, 72, 44), (60, 38, 20), _broken, (6.0, 0.5, 3.0)),
    "pebbles": ((190, 182, 170), (84, 78, 70), _outlined_blobs, (11, 0.5, 0.08)),
    "sunset": ((96, 62, 116), (246, 152, 70), _bands, ()),
}
"""Place -> flat colour, colour of the motif, where the motif is (its function and settings)."""


def _backdrop(name: str, rng: np.random.Generator) -> np.ndarray:
    flat, motif_colour, motif, settings = _BACKDROPS[name]
    share = motif(rng, *settings).astype(np.float32)[..., None]
    shade = np.asarray(flat, np.float32) * rng.uniform(0.93, 1.07)
    return (shade * (1 - share) + np.asarray(motif_colour, np.float32) * share).astype(np.float32)


def _outline(mask: np.ndarray) -> np.ndarray:
    """A line about one pixel wide around (and inside the holes of) a silhouette."""
    grown = mask
    for axis in (0, 1):
        for step in (-1, 1):
            grown = np.maximum(grown, np.roll(mask, step, axis))
    return np.clip(grown - 0.75 * mask, 0, 1) * (grown > mask * 0.5)


def _printed(colour: str, rng: np.random.Generator) -> np.ndarray:
    """A printed tone: a little paper shows through, the ink is warm."""
    tone = np.asarray(COLOURS[colour], np.float32) * rng.uniform(0.94, 1.04)
    return (OPACITY * tone + (1 - OPACITY) * PAPER) * (PAPER / 250)


def render(
    scene: Scene, rng: np.random.Generator, masks: list[np.ndarray] | None = None
) -> np.ndarray:
    """Draws a scene once; as ``pictures.data.render``."""
    picture = _backdrop(scene.background, rng) * (PAPER / 250)
    radii = _radii([thing.size for thing in scene.things])
    for thing, radius in zip(scene.things, radii, strict=True):
        x, y = thing.x + rng.uniform(-1, 1), thing.y + rng.uniform(-1.5, 1.5)
        angle = rng.uniform(-0.45, 0.45)
        parts = silhouettes()[thing.shape]
        mask = coverage_of(parts, radius * rng.uniform(0.95, 1.05), x, y, angle)
        if masks is not None:
            masks.append(mask)
        tone = _printed(thing.colour, rng)
        turn = rng.choice([0.0, pi / 4, pi / 2])
        picture = paint(picture, mask, tone, pattern_of(thing.texture, x, y, angle + turn))
        line = 0.9 * _outline(mask)[..., None]
        picture = picture * (1 - line) + INK * line
    slope = rng.uniform(0, 2 * pi)
    lamp = 1 + LAMP * (cos(slope) * (_XX - SIDE / 2) + sin(slope) * (_YY - SIDE / 2)) / SIDE
    picture *= lamp[..., None]
    grain = 1 + 0.10 * (smooth_field(rng, 30)[..., None] - 0.5)
    picture = picture * grain * rng.uniform(0.92, 1.08)
    picture[:MARGIN] = picture[-MARGIN:] = PAPER
    picture[:, :MARGIN] = picture[:, -MARGIN:] = PAPER
    picture = picture + rng.normal(0, 2.0, picture.shape)
    return picture.clip(0, 255).astype(np.uint8)


def _place(scene: Scene, rng: np.random.Generator) -> str:
    return choose(rng, BACKGROUNDS[scene.background], 0.5)


def _after(thing: Thing, rng: np.random.Generator) -> str:
    """The noun first and what it looks like behind: "a star that is red, striped and small"."""
    looks = [choose(rng, COLOUR_WORDS[thing.colour], 0.8)]
    if thing.texture != "plain" or rng.random() < 0.2:
        looks.append(choose(rng, TEXTURES[thing.texture][0]))
    if SIZES[thing.size] and rng.random() < 0.5:
        looks.append(choose(rng, SIZES[thing.size]))
    looks = [looks[i] for i in rng.permutation(len(looks))]
    noun = article(choose(rng, SHAPES[thing.shape], 0.7))
    return f"{noun} that is {join(looks)}" if rng.random() < 0.6 else f"{noun}, {join(looks)}"


def _across(scene: Scene, rng: np.random.Generator) -> str:
    """From left to right, place first."""
    things = [article(noun_phrase(t, rng, size=0.4)) for t in scene.things]
    opening = choose(rng, ("from left to right", "side by side", "in a row"), 0.4)
    if len(things) == 1:
        return f"{_place(scene, rng)} there is just {things[0]}"
    return f"{_place(scene, rng)}, {opening}: {join(things)}"


def _nouns_first(scene: Scene, rng: np.random.Generator) -> str:
    things = [_after(scene.things[i], rng) for i in rng.permutation(len(scene.things))]
    return f"{'; '.join(things)}, {_place(scene, rng)}"


def _sides(scene: Scene, rng: np.random.Generator) -> str:
    names = (("in the middle",), ("on the left", "on the right"))
    places = (
        (*names[1], "in the middle") if len(scene.things) == 3 else names[len(scene.things) - 1]
    )
    things = sorted(scene.things, key=lambda t: t.x)
    if len(things) == 3:
        things = [things[0], things[2], things[1]]
    said = [
        f"{article(noun_phrase(t, rng, size=0.3))} {place}"
        for t, place in zip(things, places, strict=True)
    ]
    return f"{', '.join(said)}, all {_place(scene, rng)}"


def _keywords(scene: Scene, rng: np.random.Generator) -> str:
    """Telegram style, without articles."""
    words = [noun_phrase(scene.things[i], rng) for i in rng.permutation(len(scene.things))]
    place = _place(scene, rng)
    return " ".join([*(f"{w}," for w in words), place])


def _drawing(scene: Scene, rng: np.random.Generator) -> str:
    opening = choose(
        rng, ("someone drew", "a drawing of", "a poster with", "the artist shows"), 0.4
    )
    things = [
        article(noun_phrase(scene.things[i], rng, size=0.2, texture=0.75, colour=0.94))
        for i in rng.permutation(len(scene.things))
    ]
    ending = f" {_place(scene, rng)}" if rng.random() < 0.7 else ""
    return f"{opening} {join(things)}{ending}"


captions = partial(scene_captions, templates=(_across, _nouns_first, _sides, _keywords, _drawing))
"""Five captions of a scene, one a template."""

WORLD = World(
    name="mini-flickr",
    counts={"val": 300, "test": 400},
    scene=draw_scene,
    draw=lambda scene, _, rng: render(scene, rng),
    describe=captions,
    groups=GROUPS,
    scene_key="poster/",
)

load = WORLD.loader()
"""400 pictures (validation: 300) with five captions each."""
