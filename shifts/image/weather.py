"""Weather: brightness, fog, snow, and spatter on the lens. Frost has its own file."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from shifts.image.base import (
    GUARD,
    Bytes,
    Floats,
    ImageShift,
    VariantOptions,
    channels,
    extremes,
    image_card,
    pixels,
    planes_to_bytes,
    round_to_bytes,
    to_bytes,
    to_planes,
)
from shifts.image.filters import border_index, centre_zooms, gaussian, line_blur, line_taps

GREY = np.array((0.299, 0.587, 0.114))
"""ITU-R BT.601 luma weights of R, G, B."""


class Brightness(ImageShift):
    """HSV with V' = clip(V + c); constant: c.

    With hue and saturation kept, all three channels scale with V; black becomes grey.
    """

    card = image_card("brightness", "brightness increased", randomised=False)

    def distort(self, image: Bytes, constants: float, rng: np.random.Generator) -> Bytes:
        value, _ = extremes(image)
        pairs = value[..., None].astype(np.intp) * 256 + image
        return np.take(brightened(constants), pairs)


@lru_cache(maxsize=16)
def brightened(amount: float) -> NDArray[np.uint8]:
    """New level of a channel for each (largest channel, channel): (256 * 256,) uint8."""
    level = np.arange(256) / 255.0
    value, x = level[:, None], level[None, :]
    target = np.clip(value + amount, 0.0, 1.0)
    share = np.divide(x, value, out=np.ones((256, 256)), where=value > 0)
    table = to_bytes(share * target).ravel()
    table.setflags(write=False)
    return table


class Fog(ImageShift):
    """clip((x + a P) m / (m + a)), m = max of x, P a plasma map; constants: (a, decay).

    ``imagenet-c``: the map's side is the next power of two from the long side on (256 at 224 px, as
    in the original). ``mm``: 512, or 1024 for a long side above 512 (MM_Robustness takes 512 for
    Flickr30K and 1024 for COCO whatever the image's size).
    """

    Options = VariantOptions
    card = image_card("fog", "fog banks")

    def distort(
        self, image: Bytes, constants: tuple[float, float], rng: np.random.Generator
    ) -> Bytes:
        amount, decay = constants
        height, width = image.shape[:2]
        least = 512 if self._variant == "mm" else 2
        side = max(least, 1 << (max(height, width) - 1).bit_length())
        fog = amount * plasma(side, decay, rng)[:height, :width]
        peak = float(image.max()) / 255.0
        share = peak / (peak + amount)
        return pixels(to_bytes((each / 255.0 + fog) * share) for each in channels(image))


def plasma(side: int, decay: float, rng: np.random.Generator) -> Floats:
    """Diamond-square height map on a torus, shifted and scaled to [0, 1].

    Args:
        side: a power of two, at least 2.
        decay: the amplitude w starts at 100 and is divided by this at each step; a new point is
            the mean of its four neighbours plus w U(-w, w).
        rng: draws the noise.

    Returns:
        (side, side) float64.
    """
    heights = np.zeros((side, side))
    step, amplitude = side, 100.0
    while step >= 2:
        half = step // 2
        shape = (side // step, side // step)
        spread = amplitude**2
        corners = heights[::step, ::step]
        pairs = corners + np.roll(corners, -1, axis=0)
        centres = (pairs + np.roll(pairs, -1, axis=1)) / 4
        centres += rng.uniform(-spread, spread, shape)
        heights[half::step, half::step] = centres
        beside = centres + np.roll(centres, 1, axis=0) + corners + np.roll(corners, -1, axis=1)
        heights[::step, half::step] = beside / 4 + rng.uniform(-spread, spread, shape)
        below = centres + np.roll(centres, 1, axis=1) + corners + np.roll(corners, -1, axis=0)
        heights[half::step, ::step] = below / 4 + rng.uniform(-spread, spread, shape)
        step = half
        amplitude /= decay
    heights -= heights.min()
    return np.asarray(heights / heights.max())


class Snow(ImageShift):
    """Falling flakes; constants: (mean, deviation, zoom, threshold, radius, sigma, mix).

    A normal noise layer is zoomed, thresholded, clipped, cut to 8 bit and motion-blurred at
    U(-135, -45) degrees (8 bit again, rounded). The image is whitened to
    mix x + (1 - mix) max(x, 1.5 grey + .5), then the layer and its half turn are added.
    """

    card = image_card("snow", "falling snow")

    def distort(
        self, image: Bytes, constants: tuple[float, ...], rng: np.random.Generator
    ) -> Bytes:
        mean, deviation, zoom, threshold, radius, sigma, mix = constants
        layer = rng.normal(mean, deviation, image.shape[:2])
        layer = centre_zooms(layer, (zoom,))
        layer[layer < threshold] = 0.0
        layer = to_bytes(layer) / 255.0
        layer = line_blur(layer, line_taps(radius, sigma, rng.uniform(-135, -45)))
        layer = round_to_bytes(layer) / 255.0
        flakes = layer + layer[::-1, ::-1]
        planes = to_planes(image)
        white = np.tensordot(GREY, planes, axes=1)
        white *= 1.5
        white += 0.5
        for plane in planes:
            bright = np.maximum(plane, white)
            bright *= 1 - mix
            plane *= mix
            plane += bright
            plane += flakes
        return planes_to_bytes(planes)


WATER = np.array((175, 238, 238)) / 255.0
MUD = np.array((63, 42, 20)) / 255.0
REACH = 20
"""Distances to a drop's edge are cut at this many pixels."""
EMBOSS = np.array(((-2, -1, 0), (-1, 1, 1), (0, 1, 2)), dtype=np.int16)


class Spatter(ImageShift):
    """Liquid on the lens; constants: (kind, mean, deviation, sigma, threshold, p).

    Normal noise, smoothed with sigma, is the liquid; values below the threshold are dry. Water is
    shaded at its rims by the distance to them, times p, and added in pale turquoise. Mud is the
    wet mask smoothed with sigma p; where that is at least .8 brown replaces the image.

    Water approximates the original in two steps: rims are the wet pixels with a dry neighbour
    (there: a Canny detector), and distances are Euclidean (there: a 5 x 5 chamfer mask).
    """

    card = image_card(
        "spatter", "water (1 to 3) or mud (4, 5) on the lens", monotone=False, exact=False
    )

    def distort(
        self,
        image: Bytes,
        constants: tuple[str, float, float, float, float, float],
        rng: np.random.Generator,
    ) -> Bytes:
        kind, mean, deviation, sigma, threshold, p = constants
        noise = rng.normal(mean, deviation, image.shape[:2])
        layer = gaussian(noise, sigma)
        layer[layer < threshold] = 0.0
        if kind == "water":
            liquid, colour = p * water_shade(layer), WATER
            kept = np.ones(())
        else:
            liquid, colour = gaussian((layer > threshold).astype(np.float64), p), MUD
            liquid[liquid < 0.8] = 0.0
            kept = 1.0 - liquid
        return pixels(
            to_bytes(each / 255.0 * kept + liquid * hue)
            for each, hue in zip(channels(image), colour, strict=True)
        )


def water_shade(layer: Floats) -> Floats:
    """Brightness of water drops in [0, 1], from the (H, W) liquid layer (0 where it is dry)."""
    level = to_bytes(layer.copy())
    blurred = (_box_mean(rim_distance(level > 0)) + GUARD).astype(np.uint8)
    shade = np.rint(_box_mean(_emboss(equalise(blurred))))
    shade *= level
    peak = float(shade.max())
    # No drop at all, which small images can draw: nothing to add.
    return np.divide(shade, peak) if peak > 0 else shade


def rim_distance(wet: NDArray[np.bool_]) -> Floats:
    """Euclidean distance to the nearest wet pixel that has a dry 4-neighbour, at most ``REACH``."""
    padded = np.pad(wet, 1, mode="edge")
    inner = padded[:-2, 1:-1] & padded[2:, 1:-1] & padded[1:-1, :-2] & padded[1:-1, 2:]
    rim = wet & ~inner
    along = np.where(rim, 0, REACH).astype(np.int16)
    # Steps that double reach any distance below 32, which is beyond where distances are cut.
    for line in (along, along[:, ::-1]):
        for step in (1, 2, 4, 8, 16):
            np.minimum(line[:, step:], line[:, :-step] + step, out=line[:, step:])
    # Squared distances add over the axes.
    height = len(wet)
    squares = np.pad(along**2, ((REACH, REACH), (0, 0)), constant_values=REACH**2)
    nearest = squares[REACH : REACH + height].copy()
    for shift in range(1, REACH + 1):
        above, below = REACH - shift, REACH + shift
        beside = np.minimum(squares[above : above + height], squares[below : below + height])
        beside += shift**2
        np.minimum(nearest, beside, out=nearest)
    return np.sqrt(nearest, dtype=np.float64)


def equalise(levels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Histogram equalisation: the lowest level that occurs goes to 0, the highest to 255."""
    counts = np.array(Image.fromarray(levels).histogram())
    first = int(np.flatnonzero(counts)[0])
    rest = levels.size - counts[first]
    if rest == 0:
        return levels
    table = np.rint((np.cumsum(counts) - counts[first]) * (255.0 / rest))
    return np.clip(table, 0, 255).astype(np.uint8).take(levels)


def _emboss(levels: NDArray[np.uint8]) -> NDArray[np.int16]:
    """Correlation with ``EMBOSS``, clipped to 0..255."""
    height, width = levels.shape
    padded = _reflected(levels).astype(np.int16)
    result = np.zeros(levels.shape, dtype=np.int16)
    for (row, column), weight in np.ndenumerate(EMBOSS):
        if weight:
            result += weight * padded[row : row + height, column : column + width]
    return np.clip(result, 0, 255, out=result)


def _box_mean(plane: NDArray[np.generic]) -> Floats:
    """Mean over 3 x 3 pixels, (H, W) float64."""
    padded = _reflected(plane).astype(np.float64)
    rows = padded[:-2] + padded[1:-1] + padded[2:]
    return (rows[:, :-2] + rows[:, 1:-1] + rows[:, 2:]) / 9.0


def _reflected(plane: NDArray[Any]) -> NDArray[Any]:
    """One pixel more on each side, border reflected."""
    height, width = plane.shape
    rows = border_index(np.arange(-1, height + 1), height, "reflect")
    columns = border_index(np.arange(-1, width + 1), width, "reflect")
    return plane.take(rows, axis=0).take(columns, axis=1)
