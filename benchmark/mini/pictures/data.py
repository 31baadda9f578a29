"""The mini world drawn, and its data sets: mini-coco, and mini-nocaps in another photographic look.

Pictures are drawn when asked for: backgrounds, textured things with shadows, exposure, tint and
sensor noise. mini-nocaps has known, mixed and novel objects.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from math import cos, pi, sin

import numpy as np
from PIL import Image, ImageDraw

from benchmark.mini.pictures.scenes import (
    COLOURS,
    GROUPS,
    NOVEL,
    RADIUS,
    SIZES,
    TEXTURES,
    Part,
    Scene,
    Thing,
    captions,
    draw_scene,
    outlines,
    silhouettes,
)
from benchmark.mini.worlds.drawn import SIDE, Look, World, filmed, pick

_OVERSAMPLE = 4
_YY, _XX = np.mgrid[0:SIDE, 0:SIDE].astype(np.float32)
RGB = tuple[int, int, int]


def smooth_field(
    rng: np.random.Generator, rows: int, columns: int | None = None, side: int = SIDE
) -> np.ndarray:
    """A smooth random field in [0, 1], (side, side): a few draws, enlarged bicubically."""
    grid = rng.random((rows, columns or rows), dtype=np.float32)
    image = Image.fromarray(grid).resize((side, side), Image.Resampling.BICUBIC)
    return np.asarray(image).clip(0, 1)


def blend(low: RGB, high: RGB, field: np.ndarray) -> np.ndarray:
    """From one colour to another as a field in [0, 1] says."""
    weight = field[..., None]
    return (
        np.asarray(low, np.float32) * (1 - weight) + np.asarray(high, np.float32) * weight
    ).astype(np.float32)


def _rough(rng: np.random.Generator) -> np.ndarray:
    return 0.45 * smooth_field(rng, 6) + 0.3 * smooth_field(rng, 14) + 0.25 * smooth_field(rng, 40)


def _brick(rng: np.random.Generator) -> np.ndarray:
    high, wide, dx = 9, 18, rng.uniform(0, 18)
    row = np.floor((_YY + rng.uniform(0, high)) / high)
    across = (_XX + dx + (row % 2) * wide / 2) % wide
    down = (_YY + rng.uniform(0, high)) % high
    mortar = (across < 1.2) | (down < 1.2)
    wall = blend((128, 52, 38), (188, 96, 74), _rough(rng))
    wall[mortar] = (196, 186, 176)
    return wall


def _wood(rng: np.random.Generator) -> np.ndarray:
    grain = 0.6 * smooth_field(rng, 44, 4) + 0.4 * smooth_field(rng, 12, 3)
    planks = blend((120, 74, 34), (204, 146, 86), grain)
    planks[(_YY + rng.uniform(0, 14)) % 14 < 1.1] *= 0.55
    return planks


def _sky(rng: np.random.Generator) -> np.ndarray:
    height = _YY / SIDE
    sky = blend((92, 148, 220), (176, 210, 244), height)
    clouds = np.clip(2.2 * (0.7 * smooth_field(rng, 4) + 0.3 * smooth_field(rng, 10) - 0.5), 0, 1)
    return sky * (1 - clouds[..., None]) + 244 * clouds[..., None]


def _night(rng: np.random.Generator) -> np.ndarray:
    sky = blend((6, 6, 24), (38, 36, 78), smooth_field(rng, 4))
    for _ in range(34):
        y, x = rng.integers(0, SIDE, 2)
        sky[y, x] = rng.uniform(130, 255)
    return sky


def _pebbles(rng: np.random.Generator) -> np.ndarray:
    blobs = smooth_field(rng, 13)
    tones = blend((150, 140, 128), (212, 204, 194), smooth_field(rng, 9))
    tones[np.abs(blobs - 0.5) < 0.09] = (70, 64, 58)
    return tones


def _sunset(rng: np.random.Generator) -> np.ndarray:
    height = np.clip(_YY / SIDE + 0.2 * (smooth_field(rng, 8, 2) - 0.5), 0, 1)
    return blend((76, 48, 110), (250, 150, 54), height)


_BACKGROUNDS: dict[str, Callable[[np.random.Generator], np.ndarray]] = {
    "grass": lambda rng: blend(
        (24, 78, 16), (122, 178, 70), 0.5 * _rough(rng) + 0.5 * smooth_field(rng, 12, 50)
    ),
    "sand": lambda rng: blend(
        (188, 158, 104), (240, 218, 164), 0.5 * _rough(rng) + 0.5 * smooth_field(rng, 40, 24)
    ),
    "brick": _brick,
    "wood": _wood,
    "water": lambda rng: blend(
        (12, 62, 112), (84, 160, 200), 0.75 * smooth_field(rng, 22, 6) + 0.25 * smooth_field(rng, 5)
    ),
    "sky": _sky,
    "snow": lambda rng: blend((204, 212, 228), (252, 252, 255), 0.3 + 0.7 * _rough(rng)),
    "night": _night,
    "concrete": lambda rng: blend((112, 114, 116), (172, 172, 170), _rough(rng)),
    "soil": lambda rng: blend((52, 32, 18), (138, 98, 62), _rough(rng)),
    "pebbles": _pebbles,
    "sunset": _sunset,
}


def background(name: str, rng: np.random.Generator) -> np.ndarray:
    """A place without things, (SIDE, SIDE, 3) float32, 0..255."""
    return _BACKGROUNDS[name](rng).astype(np.float32)


def coverage_of(
    parts: Sequence[Part],
    radius: float | tuple[float, float],
    x: float,
    y: float,
    angle: float,
    side: int = SIDE,
) -> np.ndarray:
    """Antialiased coverage of a silhouette, (side, side) float32 in [0, 1]; radii across, down."""
    canvas = Image.new("L", (side * _OVERSAMPLE,) * 2)
    draw = ImageDraw.Draw(canvas)
    c, s = cos(angle), sin(angle)
    rx, ry = radius if isinstance(radius, tuple) else (radius, radius)
    for fill, corners in parts:
        points = [
            (_OVERSAMPLE * (x + rx * (c * px - s * py)), _OVERSAMPLE * (y + ry * (s * px + c * py)))
            for px, py in corners
        ]
        draw.polygon(points, fill=255 if fill else 0)
    return np.asarray(canvas.reduce(_OVERSAMPLE), dtype=np.float32) / 255


def pattern_of(
    texture: str,
    x: float,
    y: float,
    angle: float,
    *,
    stripe: float = 5.2,
    check: float = 8.4,
    side: int = SIDE,
) -> np.ndarray | None:
    """Where the texture's second tone lies, (side, side) in [0, 1], or None for a plain thing.

    ``stripe`` and ``check`` are periods in pixels.
    """
    if texture == "plain":
        return None
    c, s = cos(angle), sin(angle)
    across, down = _XX[:side, :side] - x, _YY[:side, :side] - y
    u, v = c * across + s * down, -s * across + c * down
    if texture == "striped":
        wave = np.sin(2 * pi * u / stripe)
    elif texture == "dotted":
        wave = np.cos(2 * pi * u / 5.6) + np.cos(2 * pi * v / 5.6) - 0.75
    else:
        wave = 1.6 * np.sin(2 * pi * u / check) * np.sin(2 * pi * v / check)
    return (0.5 + 0.5 * np.clip(2.5 * wave, -1, 1)).astype(np.float32)


def second_tone(tone: np.ndarray) -> np.ndarray:
    """The pattern's colour on a thing of colour ``tone``: dark on light and light on dark."""
    return tone * 0.32 if tone.mean() > 75 else tone * 0.4 + 150


def paint(
    picture: np.ndarray,
    mask: np.ndarray,
    tone: np.ndarray,
    pattern: np.ndarray | None = None,
    second: np.ndarray | None = None,
) -> np.ndarray:
    """The picture with ``tone`` inside ``mask``, and ``second`` there where ``pattern`` lies."""
    body = np.broadcast_to(tone, picture.shape)
    if pattern is not None:
        second = second_tone(tone) if second is None else second
        body = body * (1 - pattern[..., None]) + second * pattern[..., None]
    return picture * (1 - mask[..., None]) + body * mask[..., None]


def render(
    scene: Scene,
    rng: np.random.Generator,
    shapes: Mapping[str, tuple[Part, ...]] | None = None,
    masks: list[np.ndarray] | None = None,
) -> np.ndarray:
    """Draws a scene once; another generator gives another picture of the same scene.

    Args:
        scene: what is to be seen.
        rng: decides what varies between pictures of one scene.
        shapes: shape -> outline; the base world's silhouettes by default.
        masks: takes what each thing covers, (64, 64) in [0, 1]; training wants to know.

    Returns:
        The picture, (64, 64, 3) uint8.
    """
    shapes = shapes or silhouettes()
    picture = background(scene.background, rng)
    for thing in scene.things:
        x = thing.x + rng.uniform(-1.5, 1.5)
        y = thing.y + rng.uniform(-1.5, 1.5)
        radius = RADIUS[thing.size] * rng.uniform(0.94, 1.06)
        angle = rng.uniform(-0.3, 0.3)
        mask = coverage_of(shapes[thing.shape], radius, x, y, angle)
        if masks is not None:
            masks.append(mask)
        shadow = np.roll(mask, (2, 2), (0, 1))[..., None]
        picture *= 1 - 0.35 * shadow
        tone = np.asarray(COLOURS[thing.colour], np.float32) * rng.uniform(0.92, 1.06)
        turn = rng.choice([0.0, pi / 4, pi / 2])
        picture = paint(picture, mask, tone, pattern_of(thing.texture, x, y, angle + turn))
    exposure = rng.uniform(0.82, 1.15)
    tint = rng.uniform(0.95, 1.05, 3).astype(np.float32)
    picture = picture * exposure * tint + rng.normal(0, 4.5, picture.shape)
    return picture.clip(0, 255).astype(np.uint8)


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
