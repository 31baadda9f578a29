"""Properties of every image shift over sizes, contents and seeds."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shifts.base import Shift, ShiftError, item_generator
from shifts.builtin import builtin_class, names_of
from shifts.image.base import MINI64, REFERENCE, ImageOptions, VariantOptions

NAMES = [name for name in names_of("image") if name != "frost"]


def build(name: str, **options: str) -> Shift:
    shift_class = builtin_class(name)
    return shift_class(shift_class.Options(**options))


def smooth_picture(height: int, width: int, seed: int) -> np.ndarray:
    """Random blocks of 6 px: edges for blurs to soften, flat areas for noise to spoil."""
    rng = np.random.default_rng(seed)
    blocks = rng.integers(20, 236, (height // 6 + 1, width // 6 + 1, 3), dtype=np.uint8)
    return np.ascontiguousarray(blocks.repeat(6, axis=0).repeat(6, axis=1)[:height, :width])


def apply(shift: Shift, image: np.ndarray, severity: int, seed: int = 0) -> np.ndarray:
    return shift.apply(image, severity, item_generator(seed, shift.card.name, severity, "x"))


@pytest.mark.parametrize("name", NAMES)
@settings(max_examples=15, deadline=None)
@given(
    height=st.integers(1, 70),
    width=st.integers(1, 70),
    severity=st.integers(1, 5),
    constants=st.sampled_from(["reference", "mini64"]),
    seed=st.integers(0, 2**32),
)
def test_shape_dtype_and_determinism(
    name: str, height: int, width: int, severity: int, constants: str, seed: int
) -> None:
    image = smooth_picture(height, width, seed)
    before = image.copy()
    shift = build(name, constants=constants)
    result = apply(shift, image, severity, seed)
    assert result.shape == image.shape
    assert result.dtype == np.uint8
    np.testing.assert_array_equal(image, before)
    np.testing.assert_array_equal(
        result, apply(build(name, constants=constants), image, severity, seed)
    )


@pytest.mark.parametrize("constants", ["reference", "mini64"])
@pytest.mark.parametrize("name", [n for n in NAMES if build(n).card.monotone])
def test_severity_5_changes_more_than_1(name: str, constants: str) -> None:
    shift = build(name, constants=constants)
    change = {1: 0.0, 5: 0.0}
    for seed in range(6):
        image = smooth_picture(64, 64, seed)
        for severity in change:
            result = apply(shift, image, severity, seed)
            change[severity] += float(np.abs(result.astype(int) - image).mean())
    assert change[5] > change[1]


@pytest.mark.parametrize("name", ["elastic_transform", "glass_blur", "saturate", "spatter"])
def test_ladders_that_change_kind_are_not_called_monotone(name: str) -> None:
    assert not build(name).card.monotone


@pytest.mark.parametrize("name", NAMES)
def test_result_depends_on_the_item_only_through_its_generator(name: str) -> None:
    shift, image = build(name), smooth_picture(40, 48, 1)
    alone = apply(shift, image, 3)
    for severity in (5, 1):
        apply(shift, smooth_picture(33, 61, 2), severity)
    np.testing.assert_array_equal(apply(shift, image, 3), alone)


@pytest.mark.parametrize("name", NAMES)
def test_imagenet224_gives_224_square_images(name: str) -> None:
    shift = build(name, resolution_policy="imagenet224")
    assert apply(shift, smooth_picture(90, 150, 3), 1).shape == (224, 224, 3)


def test_imagenet224_corrupts_after_the_crop() -> None:
    image = smooth_picture(300, 500, 4)
    cropped = apply(build("pixelate", resolution_policy="imagenet224"), image, 5)
    # Cells of exactly 4 px are only possible if 224 px were shrunk to 56.
    assert (cropped.reshape(56, 4, 56, 4, 3) == cropped[::4, ::4].reshape(56, 1, 56, 1, 3)).all()


@pytest.mark.parametrize("table", [REFERENCE, MINI64])
def test_tables_have_five_severities_for_every_shift(table: dict[str, tuple]) -> None:
    assert set(table) == {*NAMES, "frost"}
    assert {len(ladder) for ladder in table.values()} == {5}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (lambda: ImageOptions(constants="mini32"), "constants"),
        (lambda: ImageOptions(resolution_policy="scaled"), "'native', 'imagenet224'"),
        (lambda: VariantOptions(variant="MM"), "'imagenet-c', 'mm'"),
    ],
)
def test_unknown_option_values_are_refused_with_the_choices(options, message: str) -> None:
    with pytest.raises(ShiftError, match=message):
        options()


@pytest.mark.parametrize("severity", [0, 6, "high", 2.0, True])
def test_unknown_severities_are_refused(severity: object) -> None:
    with pytest.raises(ShiftError, match="1, 2, 3, 4, 5"):
        build("fog").apply(smooth_picture(32, 32, 0), severity, np.random.default_rng(0))
