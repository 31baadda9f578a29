"""Elastic transform: a random affine map, then a smooth random displacement."""

from __future__ import annotations

import numpy as np

from shifts.image.base import Bytes, Floats, ImageShift, image_card, planes_to_bytes, to_planes
from shifts.image.filters import gaussian, sample


class ElasticTransform(ImageShift):
    """Local stretching; constants: (amplitude, sigma, jitter), in pixels.

    Severities 1 and 2 are large smooth warps, 3 to 5 small rough ones, so a higher severity need
    not change more. Samples are bilinear with exact weights (OpenCV's affine warp, which the
    original uses, rounds coordinates to 1/32 px).
    """

    card = image_card("elastic_transform", "local stretching and squeezing", monotone=False)

    def distort(
        self, image: Bytes, constants: tuple[float, float, float], rng: np.random.Generator
    ) -> Bytes:
        amplitude, sigma, jitter = constants
        height, width = image.shape[:2]
        rows, columns = np.arange(float(height))[:, None], np.arange(float(width))[None, :]
        inverse = inverse_affine(height, width, jitter, rng)
        x = inverse[0, 0] * columns + inverse[0, 1] * rows + inverse[0, 2]
        y = inverse[1, 0] * columns + inverse[1, 1] * rows + inverse[1, 2]
        warped = sample(to_planes(image), y, x, "reflect")
        field = rng.uniform(-1.0, 1.0, (2, height, width))
        across, down = amplitude * gaussian(field, sigma, truncate=3.0, border="symmetric")
        return planes_to_bytes(sample(warped, rows + down, columns + across, "symmetric"))


def inverse_affine(height: int, width: int, jitter: float, rng: np.random.Generator) -> Floats:
    """(2, 3) map from result to source coordinates (x, y, 1).

    Three points around the centre, a third of the short side away, are moved by U(-jitter, jitter)
    in each coordinate. As in the original the points are built as (row, column) and used as (x, y),
    so that on images that are not square they lie around the transposed centre.
    """
    centre = np.array((height // 2, width // 2), dtype=np.float64)
    reach = max(1, min(height, width) // 3)
    before = centre + reach * np.array(((1, 1), (1, -1), (-1, -1)))
    after = before + rng.uniform(-jitter, jitter, before.shape)
    homogeneous = np.column_stack((after, np.ones(3)))
    return np.asarray(np.linalg.solve(homogeneous, before).T)
