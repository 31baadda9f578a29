"""Draws the frames of a clip: background, things at rest and in motion, camera."""

from __future__ import annotations

from collections.abc import Callable
from math import cos, pi, sin

import numpy as np
from PIL import Image, ImageDraw

from benchmark.mini.clips.events import COLOURS, FRAMES, SIDE, SIZES, STYLES, Clip, Event
from benchmark.mini.pictures.silhouettes import silhouettes

_OVERSAMPLE = 4
_NOISE = 4.0
"""Standard deviation of the sensor noise, grey levels."""
_YY, _XX = np.mgrid[0:SIDE, 0:SIDE].astype(np.float32)

RGB = tuple[int, int, int]


def _field(rng: np.random.Generator, rows: int, columns: int | None = None) -> np.ndarray:
    """A smooth random field in [0, 1], (SIDE, SIDE): a small grid of draws, enlarged."""
    grid = rng.random((rows, columns or rows), dtype=np.float32)
    image = Image.fromarray(grid).resize((SIDE, SIDE), Image.Resampling.BICUBIC)
    return np.asarray(image).clip(0, 1)


def _blend(low: RGB, high: RGB, field: np.ndarray) -> np.ndarray:
    weight = field[..., None]
    return np.asarray(low, np.float32) * (1 - weight) + np.asarray(high, np.float32) * weight


def _water(rng: np.random.Generator) -> np.ndarray:
    return _blend((14, 66, 116), (88, 164, 204), 0.8 * _field(rng, 14, 4) + 0.2 * _field(rng, 4))


def _night(rng: np.random.Generator) -> np.ndarray:
    sky = _blend((6, 8, 26), (36, 38, 76), _field(rng, 3))
    rows, columns = rng.integers(0, SIDE, (2, 14))
    sky[rows, columns] = rng.uniform(130, 255, (14, 1))
    return sky


def _grass(rng: np.random.Generator) -> np.ndarray:
    return _blend((26, 82, 18), (124, 180, 72), 0.4 * _field(rng, 5) + 0.6 * _field(rng, 7, 26))


def _brick(rng: np.random.Generator) -> np.ndarray:
    high, wide = 6, 11
    y, x = _YY + rng.uniform(0, high), _XX + rng.uniform(0, wide)
    across = (x + (np.floor(y / high) % 2) * wide / 2) % wide
    wall = _blend((130, 54, 40), (188, 98, 76), _field(rng, 8))
    wall[(across < 1) | (y % high < 1)] = (194, 184, 176)
    return wall


def _snow(rng: np.random.Generator) -> np.ndarray:
    return _blend((200, 208, 226), (252, 252, 255), 0.3 + 0.7 * _field(rng, 9))


def _sunset(rng: np.random.Generator) -> np.ndarray:
    height = np.clip(_YY / SIDE + 0.25 * (_field(rng, 6, 2) - 0.5), 0, 1)
    return _blend((78, 50, 112), (250, 152, 56), height)


def _wood(rng: np.random.Generator) -> np.ndarray:
    boards = _blend((122, 76, 36), (204, 148, 88), 0.7 * _field(rng, 24, 3) + 0.3 * _field(rng, 6))
    boards[(_YY + rng.uniform(0, 9)) % 9 < 1] *= 0.55
    return boards


def _pebbles(rng: np.random.Generator) -> np.ndarray:
    stones = _blend((128, 124, 118), (206, 202, 196), _field(rng, 6))
    stones[np.abs(_field(rng, 9) - 0.5) < 0.08] = (66, 64, 62)
    return stones


_BACKGROUNDS: dict[str, Callable[[np.random.Generator], np.ndarray]] = {
    "water": _water,
    "night": _night,
    "grass": _grass,
    "brick": _brick,
    "snow": _snow,
    "sunset": _sunset,
    "wood": _wood,
    "pebbles": _pebbles,
}


def _mask(shape: str, x: float, y: float, rx: float, ry: float, angle: float) -> np.ndarray:
    """Antialiased coverage of a silhouette, (SIDE, SIDE) float32 in [0, 1]."""
    canvas = Image.new("L", (SIDE * _OVERSAMPLE,) * 2)
    draw = ImageDraw.Draw(canvas)
    c, s = cos(angle), sin(angle)
    for fill, corners in silhouettes()[shape]:
        points = [
            (_OVERSAMPLE * (x + rx * (c * px - s * py)), _OVERSAMPLE * (y + ry * (s * px + c * py)))
            for px, py in corners
        ]
        draw.polygon(points, fill=255 if fill else 0)
    return np.asarray(canvas.reduce(_OVERSAMPLE), dtype=np.float32) / 255


def _pattern(texture: str, x: float, y: float, turn: float) -> np.ndarray:
    """Where the texture's second tone lies, (SIDE, SIDE) in [0, 1]."""
    if texture == "plain":
        return np.zeros((SIDE, SIDE), np.float32)
    u = cos(turn) * (_XX - x) + sin(turn) * (_YY - y)
    v = cos(turn) * (_YY - y) - sin(turn) * (_XX - x)
    if texture == "striped":
        wave = np.sin(2 * pi * u / 4.4)
    else:
        wave = 1.6 * np.sin(2 * pi * u / 6.4) * np.sin(2 * pi * v / 6.4)
    return (0.5 + 0.5 * np.clip(2.5 * wave, -1, 1)).astype(np.float32)


def _layers(event: Event, radius: float, rng: np.random.Generator) -> list[np.ndarray]:
    """The thing at rest and in motion, each (SIDE, SIDE, 4): premultiplied colour, coverage."""
    radius *= rng.uniform(0.94, 1.06)
    x, y = event.x + rng.uniform(-1, 1), event.y + rng.uniform(-1, 1)
    angle, turn = rng.uniform(-0.25, 0.25), rng.choice([0.0, pi / 4, pi / 2])
    side = 1 if x < SIDE / 2 else -1  # slides towards the middle, so that it stays in the frame
    tone = np.asarray(COLOURS[event.colour], np.float32) * rng.uniform(0.92, 1.06)
    # A dark colour gets a light second tone and the other way round, so that the texture shows.
    second = tone * 0.32 if tone.mean() > 75 else tone * 0.4 + 150
    lit = tone * 0.35 + 165 if tone.mean() < 170 else tone * 0.45
    moved = {
        "flash": (x, y, radius, radius),
        "jump": (x, y - 4.5, radius, radius),
        "grow": (x, y, 1.35 * radius, 1.35 * radius),
        "squash": (x, y + 0.4 * radius, 1.25 * radius, 0.5 * radius),
        "slide": (x + 4.5 * side, y, radius, radius),
    }[event.motion]
    layers = []
    for place, first in (
        ((x, y, radius, radius), tone),
        (moved, lit if event.motion == "flash" else tone),
    ):
        mask = _mask(event.shape, *place, angle)[..., None]
        pattern = _pattern(event.texture, place[0], place[1], angle + turn)[..., None]
        colour = first * (1 - pattern) + second * pattern
        layers.append(np.concatenate([colour * mask, mask], axis=2))
    return layers


def _through_camera(frames: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """A close camera's look: a colour cast, less contrast, darker corners."""
    cast = rng.uniform(0.82, 1.12, 3).astype(np.float32)
    contrast, strength = rng.uniform(0.7, 0.95), rng.uniform(0.15, 0.45)
    middle = (SIDE - 1) / 2
    distance = ((_XX - middle) ** 2 + (_YY - middle) ** 2) / (2 * middle**2)
    dimmed = (1 - strength * distance)[..., None]
    return ((frames - 128) * contrast + 128) * cast * dimmed


def draw_frames(clip: Clip, rng: np.random.Generator) -> np.ndarray:
    """Draws a clip once; another generator gives other pictures of the same clip.

    Returns:
        (8, 32, 32, 3) uint8 frames, one every 0.2 s.
    """
    style = STYLES[clip.style]
    ground = _BACKGROUNDS[clip.background](rng)
    frames = np.repeat(ground[None], FRAMES, axis=0).astype(np.float32)
    for event in clip.events:
        layers = _layers(event, style.radius[SIZES.index(event.size)], rng)
        active = event.frames()
        for t in range(FRAMES):
            layer = layers[t in active]
            frames[t] = frames[t] * (1 - layer[..., 3:]) + layer[..., :3]
    frames *= rng.uniform(0.85, 1.12) * rng.uniform(0.95, 1.05, 3).astype(np.float32)
    if style.camera:
        frames = _through_camera(frames, rng)
    frames += _NOISE * rng.standard_normal(frames.shape, dtype=np.float32)
    return frames.clip(0, 255).astype(np.uint8)
