"""Noise, digital and weather operators against closed forms."""

from __future__ import annotations

import colorsys
import io

import numpy as np
import pytest
from PIL import Image

from shifts.image import digital, noise, weather
from shifts.image.base import MINI64, REFERENCE, ImageOptions, VariantOptions, to_bytes
from tests.shifts.common import apply, scatter


def flat(level: int, height: int = 120, width: int = 130) -> np.ndarray:
    return np.full((height, width, 3), level, dtype=np.uint8)


# 8-bit output


def test_every_level_survives_the_way_to_unit_and_back() -> None:
    levels = np.arange(256, dtype=np.uint8)
    np.testing.assert_array_equal(to_bytes(levels / 255.0), levels)


def test_values_are_clipped_and_truncated_not_rounded() -> None:
    unit = np.array([-1.0, 0.9 / 255, 1.0 / 255, 1.999 / 255, 1.0, 7.0])
    np.testing.assert_array_equal(to_bytes(unit), [0, 0, 1, 1, 255, 255])


# noise


@pytest.mark.parametrize("severity", [1, 2])
def test_gaussian_noise_has_the_moments_of_its_constant(severity: int) -> None:
    change = apply(noise.GaussianNoise(), flat(128), severity).astype(float) - 128
    sigma = 255 * REFERENCE["gaussian_noise"][severity - 1]
    # Truncation to whole levels lowers the mean by half a level; 46 800 draws.
    assert change.mean() == pytest.approx(-0.5, abs=4 * sigma / np.sqrt(change.size))
    assert change.std() == pytest.approx(sigma, rel=0.02)
    assert np.abs(np.corrcoef(change.reshape(-1, 3).T) - np.eye(3)).max() < 0.03


def test_shot_noise_has_the_mean_and_variance_of_a_poisson_count() -> None:
    result = apply(noise.ShotNoise(), flat(102), 1) / 255
    photons = REFERENCE["shot_noise"][0]
    assert result.mean() == pytest.approx(0.4, abs=0.005)
    assert result.var() == pytest.approx(0.4 / photons, rel=0.03)


@pytest.mark.parametrize("photons", [1, 3, 12, 60, 85])
def test_the_photon_table_holds_the_poisson_law(photons: int) -> None:
    bits, accept, outcome = noise.photon_table(photons)
    columns, chosen = 1 << bits, 1 << (32 - bits)
    own = accept.reshape(256, columns) / 2**32
    results = outcome.reshape(256, columns, 2)
    counts = np.arange(photons)
    factorials = np.cumprod(np.maximum(counts, 1).astype(float))
    for level in (0, 1, 17, 128, 254, 255):
        rate = level / 255 * photons
        expected = np.exp(-rate) * rate**counts / factorials
        expected = np.append(expected, max(0.0, 1 - expected.sum()))
        weights = np.concatenate((own[level], chosen / 2**32 - own[level]))
        held = np.bincount(results[level].T.ravel(), weights=weights, minlength=256)
        np.testing.assert_allclose(
            held[to_bytes(np.arange(photons + 1) / photons)], expected, atol=photons * 2.0**-32
        )


@pytest.mark.parametrize("name", ["GaussianNoise", "ShotNoise", "ImpulseNoise", "SpeckleNoise"])
def test_bands_of_rows_do_not_show_in_the_numbers(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    image = scatter(2 * noise.BAND + 5, 7)
    result = apply(getattr(noise, name)(), image, 3)
    monkeypatch.setattr(noise, "BAND", len(image))
    np.testing.assert_array_equal(result, apply(getattr(noise, name)(), image, 3))


@pytest.mark.parametrize("severity", [1, 5])
def test_impulse_noise_hits_its_share_of_elements_half_white_half_black(severity: int) -> None:
    result = apply(noise.ImpulseNoise(), flat(90), severity)
    share = REFERENCE["impulse_noise"][severity - 1]
    assert set(np.unique(result)) == {0, 90, 255}
    assert (result == 0).mean() == pytest.approx(share / 2, rel=0.1)
    assert (result == 255).mean() == pytest.approx(share / 2, rel=0.1)
    # Per element, not per pixel: most pixels that are hit are hit in one channel.
    hits = (result != 90).sum(axis=2)
    assert (hits == 1).sum() > (hits == 3).sum()


def test_speckle_noise_grows_with_the_value() -> None:
    shift = noise.SpeckleNoise()
    assert not apply(shift, flat(0), 5).any()
    for level in (50, 100):
        change = apply(shift, flat(level), 1).astype(float) - level
        assert change.std() == pytest.approx(0.15 * level, rel=0.03)


# digital


@pytest.mark.parametrize("severity", [1, 2, 3, 4, 5])
def test_contrast_of_a_constant_image_is_that_image(severity: int) -> None:
    for level in (0, 1, 77, 254, 255):
        np.testing.assert_array_equal(
            apply(digital.Contrast(), flat(level, 33, 47), severity), flat(level, 33, 47)
        )


def test_contrast_of_two_halves() -> None:
    image = flat(100, 32, 32)
    image[:16] = 200
    result = apply(digital.Contrast(), image, 1)  # mean 150, c = .4
    assert set(np.unique(result[:16])) == {170}
    assert set(np.unique(result[16:])) == {130}


@pytest.mark.parametrize("severity", [1, 2, 3, 4, 5])
def test_saturate_agrees_with_the_hsv_round_trip(severity: int) -> None:
    image = scatter(20, 20)
    image[:3] = image[:3, :, :1]  # grey pixels too
    image[3] = 0
    gain, offset = REFERENCE["saturate"][severity - 1]
    result = apply(digital.Saturate(), image, severity)
    for (row, column), _ in np.ndenumerate(image[..., 0]):
        hue, saturation, value = colorsys.rgb_to_hsv(*(image[row, column] / 255.0))
        target = min(max(saturation * gain + offset, 0.0), 1.0)
        expected = 255 * np.array(colorsys.hsv_to_rgb(hue, target, value))
        assert np.abs(result[row, column] - np.floor(expected + 1e-6)).max() <= 1e-9


def test_pixelate_halves_by_block_means() -> None:
    image = scatter(40, 60)
    result = apply(digital.Pixelate(), image, 2)  # c = .5
    blocks = image.reshape(20, 2, 30, 2, 3).mean(axis=(1, 3))
    np.testing.assert_array_equal(result[::2, ::2], result[1::2, 1::2])
    assert np.abs(result[::2, ::2] - blocks).max() <= 1.0  # Pillow rounds after each axis


def test_pixelate_mm_uses_an_absolute_square() -> None:
    image = scatter(448, 336)
    result = apply(digital.Pixelate(VariantOptions(variant="mm")), image, 5)  # 56 px
    blocks = image.reshape(56, 8, 56, 6, 3).mean(axis=(1, 3))
    assert np.abs(result[::8, ::6] - blocks).max() <= 1.0
    np.testing.assert_array_equal(result[::8, ::6], result[7::8, 5::6])


@pytest.mark.parametrize("severity", [1, 5])
def test_jpeg_is_one_round_trip_at_the_quality_of_the_table(severity: int) -> None:
    image = scatter(40, 50)
    buffer = io.BytesIO()
    quality = REFERENCE["jpeg_compression"][severity - 1]
    Image.fromarray(image).save(buffer, "JPEG", quality=quality)
    expected = np.array(Image.open(buffer))
    np.testing.assert_array_equal(apply(digital.JpegCompression(), image, severity), expected)


# weather


@pytest.mark.parametrize("severity", [1, 3, 5])
def test_brightness_adds_to_the_hsv_value(severity: int) -> None:
    image = scatter(16, 16)
    image[0] = 0
    result = apply(weather.Brightness(), image, severity)
    constant = REFERENCE["brightness"][severity - 1]
    for (row, column), _ in np.ndenumerate(image[..., 0]):
        hue, saturation, value = colorsys.rgb_to_hsv(*(image[row, column] / 255.0))
        expected = colorsys.hsv_to_rgb(hue, saturation, min(value + constant, 1.0))
        np.testing.assert_array_equal(
            result[row, column], np.floor(255 * np.array(expected) + 1e-6)
        )


def test_plasma_fills_the_unit_interval_and_is_rougher_for_a_smaller_decay() -> None:
    roughness = []
    for decay in (2.0, 1.4):
        heights = weather.plasma(128, decay, np.random.default_rng(5))
        assert heights.shape == (128, 128)
        assert heights.min() == 0
        assert heights.max() == 1
        # A torus: the step over the edge is no larger than steps elsewhere can be.
        steps = np.abs(np.diff(np.vstack((heights, heights[:1])), axis=0))
        assert steps[-1].mean() < 3 * steps[:-1].mean()
        roughness.append(steps.mean())
    assert roughness[1] > 2 * roughness[0]


def test_fog_is_the_closed_form_on_its_plasma() -> None:
    image = scatter(50, 60)
    result = apply(weather.Fog(), image, 1, seed=8)
    fog = weather.plasma(64, 2.0, np.random.default_rng(8))[:50, :60, None]
    x = image / 255.0
    expected = (x + 1.5 * fog) * x.max() / (x.max() + 1.5)
    np.testing.assert_array_equal(result, to_bytes(expected))


def test_fog_mm_takes_a_map_of_at_least_512() -> None:
    image = flat(200, 40, 40)
    small, large = (
        apply(weather.Fog(VariantOptions(variant=v)), image, 1).astype(float).std()
        for v in ("imagenet-c", "mm")
    )
    assert large < small / 2  # a corner of a large smooth map is nearly even


def test_fog_leaves_black_black() -> None:
    assert not apply(weather.Fog(), flat(0), 5).any()


def test_snow_only_brightens_and_is_symmetric_under_a_half_turn_on_black() -> None:
    image = scatter(64, 48)
    for severity in (1, 5):
        assert (apply(weather.Snow(), image, severity) >= image).all()
    snow = apply(weather.Snow(), flat(0, 64, 48), 5)
    np.testing.assert_array_equal(snow, snow[::-1, ::-1])
    assert (snow[..., 0] == snow[..., 2]).all()
    assert snow.min() >= int(255 * 0.45 * 0.5)  # whitening of black: (1 - m) / 2


# spatter


def test_rim_distance_is_euclidean_up_to_its_reach() -> None:
    wet = np.zeros((60, 70), dtype=bool)
    wet[10:14, 12:15] = True
    wet[40, 50] = True
    rims = [
        (r, c) for r in range(10, 14) for c in range(12, 15) if (r, c) not in ((11, 13), (12, 13))
    ]
    rims.append((40, 50))
    rows, columns = np.mgrid[0:60, 0:70]
    expected = np.min([np.hypot(rows - r, columns - c) for r, c in rims], axis=0)
    np.testing.assert_allclose(weather.rim_distance(wet), np.minimum(expected, 20))


def test_equalise_spreads_levels_over_the_range() -> None:
    levels = np.repeat(np.array([3, 4, 9], dtype=np.uint8), (2, 1, 3))
    assert weather.equalise(levels).tolist() == [0, 0, 64, 255, 255, 255]
    np.testing.assert_array_equal(weather.equalise(levels[:2]), levels[:2])


def test_water_brightens_and_mud_is_brown() -> None:
    image = flat(100, 96, 96)
    water = apply(weather.Spatter(), image, 3)
    assert (water >= image).all()
    assert (water > image).any()
    mud = apply(weather.Spatter(), image, 5)
    covered = (mud != image).any(axis=2)
    assert 0.05 < covered.mean() < 0.9
    # At full cover the image is gone; at the least cover, .8, a fifth of it remains.
    brown = np.array((63, 42, 20))
    least = 0.8 * brown + 0.2 * 100
    assert (mud[covered] >= brown).all()
    assert (mud[covered] <= np.ceil(least)).all()


def test_an_image_without_a_drop_stays_as_it_is() -> None:
    assert not weather.water_shade(np.zeros((32, 32))).any()


@pytest.mark.parametrize(
    "size",
    # Even sides halve exactly; Pillow starts with the other axis above twice the width.
    [(224, 224), (63, 45), (33, 60), (101, 7), (1, 40), (64, 65), (64, 32), (68, 32), (160, 40)],
)
def test_pixelate_grows_back_as_the_box_filter_does(size: tuple[int, int]) -> None:
    """Also where a pixel lies between two cells, as 3 pixels from 2 cells have it."""
    image = scatter(*size)
    for severity, share in enumerate(REFERENCE["pixelate"], start=1):
        small = (max(1, int(size[1] * share)), max(1, int(size[0] * share)))
        box = Image.Resampling.BOX
        expected = Image.fromarray(image).resize(small, box).resize(size[::-1], box)
        np.testing.assert_array_equal(
            apply(digital.Pixelate(), image, severity), np.array(expected)
        )


def test_mini_constants_are_a_table_of_their_own() -> None:
    image = scatter(64, 64)
    mini = apply(noise.GaussianNoise(ImageOptions(constants="mini64")), flat(128), 5)
    assert mini.std() < 0.8 * apply(noise.GaussianNoise(), flat(128), 5).std()
    contrast = digital.Contrast(ImageOptions(constants="mini64"))
    assert apply(contrast, image, 5).std() == pytest.approx(
        MINI64["contrast"][4] * image.std(), rel=0.02
    )
