"""Blurs and warps against slow, independent loops."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shifts.image import blur, digital
from shifts.image.base import REFERENCE, REFERENCE_MM, VariantOptions, to_bytes
from shifts.image.filters import (
    border_index,
    centre_zooms,
    correlate,
    gaussian,
    line_blur,
    line_taps,
    sample,
)
from tests.shifts.common import apply, scatter

BORDERS = ["edge", "reflect", "symmetric", "wrap"]
"""The names that np.pad gives to the same rules."""


@settings(max_examples=40, deadline=None)
@given(
    height=st.integers(1, 12) | st.integers(60, 140),
    width=st.integers(1, 12) | st.integers(60, 140),
    sigma=st.floats(0.3, 3.0),
    border=st.sampled_from(BORDERS),
    seed=st.integers(0, 1000),
)
def test_gaussian_is_a_padded_correlation(
    height: int, width: int, sigma: float, border: str, seed: int
) -> None:
    plane = np.random.default_rng(seed).random((1, height, width))
    expected = padded_correlation(plane[0], sigma, int(4 * sigma + 0.5), border)
    np.testing.assert_allclose(gaussian(plane, sigma, border=border)[0], expected, atol=1e-12)


def padded_correlation(plane: np.ndarray, sigma: float, radius: int, border: Any) -> np.ndarray:
    height, width = plane.shape
    offsets = np.arange(-radius, radius + 1)
    weights = np.exp(-(offsets**2) / (2 * sigma**2))
    weights /= weights.sum()
    padded = np.pad(plane, radius, mode=border)
    rows = sum(w * padded[i : i + height] for i, w in enumerate(weights))
    return np.asarray(sum(w * rows[:, i : i + width] for i, w in enumerate(weights)))


@pytest.mark.parametrize(("height", "width"), [(1, 1), (2, 7), (64, 33), (150, 200)])
def test_a_gaussian_wider_than_the_image_is_one_too(height: int, width: int) -> None:
    """From a radius of 128 on it is a product of cosine transforms."""
    planes = np.random.default_rng(0).random((2, height, width))
    result = gaussian(planes, 50.0, truncate=3.0, border="symmetric")
    for plane, filtered in zip(planes, result, strict=True):
        expected = padded_correlation(plane, 50.0, 150, "symmetric")
        np.testing.assert_allclose(filtered, expected, atol=1e-12)


@settings(max_examples=25, deadline=None)
@given(
    height=st.integers(1, 20),
    width=st.integers(1, 20),
    down=st.integers(0, 8),
    right=st.integers(0, 8),
    border=st.sampled_from(BORDERS),
)
def test_correlate_is_a_sum_over_taps(
    height: int, width: int, down: int, right: int, border: str
) -> None:
    rng = np.random.default_rng(height * 100 + width)
    plane = rng.random((height, width))
    kernel = rng.normal(size=(2 * down + 1, 2 * right + 1))
    padded = np.pad(plane, ((down, down), (right, right)), mode=border)
    expected = np.zeros_like(plane)
    for (row, column), weight in np.ndenumerate(kernel):
        expected += weight * padded[row : row + height, column : column + width]
    np.testing.assert_allclose(correlate(plane, kernel, border), expected, atol=1e-11)


def test_border_rules() -> None:
    index = np.arange(-4, 7)
    assert border_index(index, 3, "edge").tolist() == [0, 0, 0, 0, 0, 1, 2, 2, 2, 2, 2]
    assert border_index(index, 3, "symmetric").tolist() == [2, 2, 1, 0, 0, 1, 2, 2, 1, 0, 0]
    assert border_index(index, 3, "reflect").tolist() == [0, 1, 2, 1, 0, 1, 2, 1, 0, 1, 2]
    assert border_index(index, 3, "wrap").tolist() == [2, 0, 1, 2, 0, 1, 2, 0, 1, 2, 0]
    with pytest.raises(ValueError, match="mirror"):
        border_index(index, 3, "mirror")


@pytest.mark.parametrize(
    ("radius", "sigma", "side"),
    [(3, 0.1, 17), (4, 0.5, 17), (6, 0.5, 17), (8, 0.5, 17), (10, 0.5, 21)],
)
def test_disc_has_the_grid_and_the_area_of_the_original(
    radius: int, sigma: float, side: int
) -> None:
    kernel = blur.disc(radius, sigma)
    assert kernel.shape == (side, side)
    grid = np.arange(side) - side // 2
    inside = (grid[:, None] ** 2 + grid**2) <= radius**2
    assert kernel[side // 2, side // 2] == pytest.approx(1 / inside.sum(), rel=1e-6)
    # Discs that touch the grid's border gain a little from its reflection, as in the original.
    assert kernel.sum() == pytest.approx({8: 1.01298, 10: 1.01079}.get(radius, 1.0), abs=1e-5)
    np.testing.assert_allclose(kernel, kernel.T)
    np.testing.assert_allclose(kernel, kernel[::-1, ::-1])


@settings(max_examples=30, deadline=None)
@given(
    height=st.integers(1, 16),
    width=st.integers(1, 16),
    distance=st.integers(1, 4),
    seed=st.integers(0, 10_000),
)
def test_glass_pass_equals_the_sequential_loop_with_copies(
    height: int, width: int, distance: int, seed: int
) -> None:
    image = scatter(height, width, seed)
    expected = image.copy()
    rows, columns = height - 2 * distance, width - 2 * distance
    if rows > 0 and columns > 0:
        down, across = np.random.default_rng(seed).integers(
            -distance, distance, size=(2, rows, columns)
        )
        for row in range(height - distance, distance, -1):
            for column in range(width - distance, distance, -1):
                cell = row - distance - 1, column - distance - 1
                expected[row, column] = expected[row + down[cell], column + across[cell]]
    result = blur.shuffle(image, distance, np.random.default_rng(seed))
    np.testing.assert_array_equal(result, expected)


def test_glass_mm_is_two_blurs_with_an_8_bit_cut_between() -> None:
    image = scatter(40, 44)
    result = apply(blur.GlassBlur(VariantOptions(variant="mm")), image, 1)
    planes = image.transpose(2, 0, 1) / 255.0
    once = to_bytes(gaussian(planes, 0.7)) / 255.0
    np.testing.assert_array_equal(result, to_bytes(gaussian(once, 0.7)).transpose(1, 2, 0))


@pytest.mark.parametrize("angle", [-45.0, -120.0, 0.0, 17.3, 90.0])
def test_line_blur_is_a_one_sided_sum_along_the_line(angle: float) -> None:
    plane = np.random.default_rng(0).random((23, 29))
    steps = np.arange(9)
    weights = np.exp(-(steps**2) / (2 * 2.5**2))
    expected = np.zeros_like(plane)
    for step, weight in zip(steps, weights / weights.sum(), strict=True):
        across = int(np.ceil(step * np.cos(np.radians(angle)) - 0.5))
        down = int(np.ceil(step * np.sin(np.radians(angle)) - 0.5))
        rows = np.clip(np.arange(23) + down, 0, 22)
        columns = np.clip(np.arange(29) + across, 0, 28)
        expected += weight * plane[rows][:, columns]
    np.testing.assert_allclose(line_blur(plane, line_taps(4, 2.5, angle)), expected, atol=1e-12)


def test_zoom_factor_lists_have_the_published_lengths() -> None:
    assert [len(ladder) for ladder in REFERENCE["zoom_blur"]] == [12, 16, 11, 13, 11]
    assert [ladder[-1] for ladder in REFERENCE["zoom_blur"]] == [1.11, 1.15, 1.2, 1.24, 1.3]
    assert len(REFERENCE_MM["zoom_blur"][4]) == 12
    assert REFERENCE_MM["zoom_blur"][4][-1] == 1.33


@pytest.mark.parametrize("factor", [1.0, 1.07, 1.5, 3.0])
def test_a_zoom_interpolates_between_the_crops_corners(factor: float) -> None:
    height, width = 20, 33
    plane = np.random.default_rng(1).random((height, width))
    axes = []
    for size in (height, width):
        crop = int(np.ceil(size / factor))
        grown = round(crop * factor)
        positions = np.arange(grown) * (crop - 1) / max(grown - 1, 1) + (size - crop) // 2
        trim = (grown - size) // 2
        axes.append(positions[trim : trim + size])
    rows, columns = axes
    expected = np.stack([np.interp(columns, np.arange(width), line) for line in plane])
    expected = np.stack([np.interp(rows, np.arange(height), line) for line in expected.T], axis=1)
    np.testing.assert_allclose(centre_zooms(plane, (factor,)), expected, atol=1e-12)


def test_zoom_blur_counts_the_image_twice() -> None:
    image = scatter(30, 30)
    planes = image.transpose(2, 0, 1) / 255.0
    factors = [1 + k / 100 for k in range(1, 12)]
    zooms = [np.stack([centre_zooms(each, (factor,)) for each in planes]) for factor in factors]
    expected = (2 * planes + sum(zooms)) / 13
    result = apply(blur.ZoomBlur(), image, 1)
    np.testing.assert_array_equal(result, to_bytes(expected).transpose(1, 2, 0))


# elastic


@pytest.mark.parametrize("border", ["symmetric", "reflect"])
def test_sample_at_whole_pixels_follows_the_border_rule(border: str) -> None:
    plane = np.random.default_rng(2).random((1, 5, 7))
    rows, columns = np.mgrid[-9.0:14, -9.0:16]
    expected = plane[
        :, border_index(rows.astype(int), 5, border), border_index(columns.astype(int), 7, border)
    ]
    found = sample(plane, np.stack((columns, rows)), border)
    np.testing.assert_allclose(found, expected, atol=1e-12)


def test_sample_between_pixels_is_bilinear() -> None:
    plane = np.array([[[0.0, 1.0], [2.0, 4.0]]])
    for border in ("symmetric", "reflect"):
        place = np.array([[[0.5]], [[0.25]]])
        assert sample(plane, place, border)[0, 0, 0] == pytest.approx(0.75 * 0.5 + 0.25 * 3)


def test_elastic_without_amplitude_and_jitter_changes_nothing() -> None:
    image = scatter(41, 53)
    still = digital.ElasticTransform().distort(image, (0.0, 2.0, 0.0), np.random.default_rng(0))
    np.testing.assert_array_equal(still, image)


def test_elastic_without_amplitude_is_affine() -> None:
    rows, columns = np.mgrid[0:80, 0:80]
    image = np.stack((2 * rows + 40, 2 * columns + 40, rows + columns + 40), -1).astype(np.uint8)
    shift = digital.ElasticTransform()
    warped = shift.distort(image, (0.0, 2.0, 4.0), np.random.default_rng(3))[20:60, 20:60]
    inner = warped.reshape(-1, 3).astype(float)
    assert np.abs(inner - image[20:60, 20:60].reshape(-1, 3)).mean() > 1
    design = np.column_stack((rows[:40, :40].ravel(), columns[:40, :40].ravel(), np.ones(1600)))
    fitted = design @ np.linalg.lstsq(design, inner, rcond=None)[0]
    assert np.abs(fitted - inner).max() < 1  # one level: what truncation leaves
