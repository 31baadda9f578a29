"""Spatter: water drops (severities 1 to 3) or mud (4 and 5) on the lens."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from shifts.base import ShiftCard
from shifts.image.base import GUARD, Bytes, Floats, ImageShift, to_bytes, to_unit
from shifts.image.constants import IMAGENET_C
from shifts.image.filters import border_index, gaussian

WATER = np.array((175, 238, 238)) / 255.0
MUD = np.array((63, 42, 20)) / 255.0
REACH = 20
"""Distances to a drop's edge are cut at this many pixels."""
EMBOSS = np.array(((-2, -1, 0), (-1, 1, 1), (0, 1, 2)))


class Spatter(ImageShift):
    """Liquid on the lens; constants: (kind, mean, deviation, sigma, threshold, p).

    Normal noise, smoothed with sigma, is the liquid; values below the threshold are dry. Water is
    shaded at its rims by the distance to them, times p, and added in pale turquoise. Mud is the
    wet mask smoothed with sigma p; where that is at least .8 brown replaces the image.

    Water approximates the original in two steps: rims are the wet pixels with a dry neighbour
    (there: a Canny detector), and distances are Euclidean (there: a 5 x 5 chamfer mask).
    """

    card = ShiftCard(
        "spatter",
        "image",
        (1, 2, 3, 4, 5),
        "water (1 to 3) or mud (4, 5) on the lens",
        IMAGENET_C,
        monotone=False,
        exact=False,
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
        x = to_unit(image)
        if kind == "water":
            return to_bytes(x + p * water_shade(layer)[..., None] * WATER)
        mask = gaussian((layer > threshold).astype(np.float64), p)
        mask[mask < 0.8] = 0.0
        return to_bytes(x * (1 - mask[..., None]) + mask[..., None] * MUD)


def water_shade(layer: Floats) -> Floats:
    """Brightness of water drops in [0, 1], from the (H, W) liquid layer (0 where it is dry)."""
    level = to_bytes(layer)
    wet = level > 0
    distance = rim_distance(wet)
    blurred = (_window(distance, np.full((3, 3), 1 / 9)) + GUARD).astype(np.uint8)
    embossed = np.clip(_window(equalise(blurred), EMBOSS), 0, 255)
    relief = np.rint(_window(embossed, np.full((3, 3), 1 / 9)))
    shade = level.astype(np.float64) * relief
    peak = float(shade.max())
    # No drop at all, which small images can draw: nothing to add.
    return np.divide(shade, peak) if peak > 0 else shade


def rim_distance(wet: NDArray[np.bool_]) -> Floats:
    """Euclidean distance to the nearest wet pixel that has a dry 4-neighbour, at most ``REACH``."""
    padded = np.pad(wet, 1, mode="edge")
    inner = padded[:-2, 1:-1] & padded[2:, 1:-1] & padded[1:-1, :-2] & padded[1:-1, 2:]
    rim = wet & ~inner
    height, width = wet.shape
    along = np.where(rim, 0.0, float(REACH))
    for row in range(1, height):
        np.minimum(along[row], along[row - 1] + 1, out=along[row])
    for row in range(height - 2, -1, -1):
        np.minimum(along[row], along[row + 1] + 1, out=along[row])
    padded_squares = np.pad(along**2, ((0, 0), (REACH, REACH)), constant_values=REACH**2)
    nearest = np.full(wet.shape, float(REACH**2))
    for shift in range(-REACH, REACH + 1):
        start = REACH + shift
        np.minimum(nearest, padded_squares[:, start : start + width] + shift**2, out=nearest)
    return np.sqrt(nearest)


def equalise(levels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Histogram equalisation: the lowest level that occurs goes to 0, the highest to 255."""
    counts = np.bincount(levels.ravel(), minlength=256)
    first = int(np.flatnonzero(counts)[0])
    rest = levels.size - counts[first]
    if rest == 0:
        return levels
    table = np.rint((np.cumsum(counts) - counts[first]) * (255.0 / rest))
    return np.clip(table, 0, 255).astype(np.uint8)[levels]


def _window(plane: NDArray[np.generic], kernel: NDArray[np.generic]) -> Floats:
    """Correlation with a 3 x 3 kernel, border reflected."""
    height, width = plane.shape
    rows = border_index(np.arange(-1, height + 1), height, "reflect")
    columns = border_index(np.arange(-1, width + 1), width, "reflect")
    padded = plane[rows[:, None], columns[None, :]].astype(np.float64)
    result = np.zeros((height, width))
    for row in range(3):
        for column in range(3):
            if kernel[row, column]:
                result += kernel[row, column] * padded[row : row + height, column : column + width]
    return result
