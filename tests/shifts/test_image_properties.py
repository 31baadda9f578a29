"""Options, tables and cards of the image shifts."""

from __future__ import annotations

import numpy as np
import pytest

from shifts.base import Shift, ShiftError
from shifts.builtin import builtin_class
from shifts.image.base import MINI64, REFERENCE, ImageOptions, VariantOptions
from tests.shifts.common import apply, offline

NAMES = offline("image")


def build(name: str, **options: str) -> Shift:
    shift_class = builtin_class(name)
    return shift_class(shift_class.Options(**options))


def smooth_picture(height: int, width: int, seed: int) -> np.ndarray:
    """Random blocks of 6 px: edges for blurs to soften, flat areas for noise to spoil."""
    rng = np.random.default_rng(seed)
    blocks = rng.integers(20, 236, (height // 6 + 1, width // 6 + 1, 3), dtype=np.uint8)
    return np.ascontiguousarray(blocks.repeat(6, axis=0).repeat(6, axis=1)[:height, :width])


@pytest.mark.parametrize("name", ["elastic_transform", "glass_blur", "saturate", "spatter"])
def test_ladders_that_change_kind_are_not_called_monotone(name: str) -> None:
    assert not build(name).card.monotone


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
