"""Agreement with the packaged rewrite of ImageNet-C where its operators are the same as ours.

On a real photograph. Snow, fog, frost and spatter are random fields whose single draws differ too
much to compare; elastic_transform there is another operator.
"""

from __future__ import annotations

import importlib
from typing import Any

import numpy as np
import pytest

from shifts.base import Shift, item_generator
from shifts.builtin import builtin_class
from tests.shifts.rewrite import BROKEN, Rewrite, load_rewrite, photograph

SEVERITIES = (1, 2, 3, 4, 5)
NOISE = ("gaussian_noise", "shot_noise", "impulse_noise", "speckle_noise")
DETERMINISTIC = (
    *("defocus_blur", "gaussian_blur", "zoom_blur"),
    *("brightness", "contrast", "saturate", "pixelate", "jpeg_compression"),
)


@pytest.fixture(scope="module")
def rewrite() -> Rewrite:
    return load_rewrite()


@pytest.fixture(scope="module")
def square() -> np.ndarray:
    return photograph()[30:254, 110:334].copy()


def ours(name: str) -> Shift:
    return builtin_class(name)()


def change(image: np.ndarray, results: list[np.ndarray]) -> tuple[float, float]:
    """Mean size and spread of the change per channel, in levels."""
    differences = np.stack(results).astype(np.float64) - image
    return float(np.abs(differences).mean()), float(differences.std())


def similarity(one: np.ndarray, other: np.ndarray) -> float:
    metrics = importlib.import_module("skimage.metrics")
    return float(metrics.structural_similarity(one, other, channel_axis=-1))


def compare_spread(
    rewrite: Rewrite, image: np.ndarray, name: str, severity: int, draws: int
) -> None:
    shift = ours(name)
    mine = [
        shift.apply(image, severity, item_generator(0, name, severity, str(i)))
        for i in range(draws)
    ]
    with rewrite.running(mended=name in BROKEN):
        theirs = [rewrite.corrupt(image, name, severity) for _ in range(draws)]
    assert change(image, mine) == pytest.approx(change(image, theirs), rel=0.02)


@pytest.mark.parametrize("severity", SEVERITIES)
@pytest.mark.parametrize("name", NOISE)
def test_noise_has_the_same_mean_and_spread(rewrite: Rewrite, name: str, severity: int) -> None:
    compare_spread(rewrite, photograph(), name, severity, draws=3)


@pytest.mark.slow
@pytest.mark.parametrize("severity", SEVERITIES)
def test_glass_has_the_same_mean_and_spread(
    rewrite: Rewrite, square: np.ndarray, severity: int
) -> None:
    compare_spread(rewrite, square[40:168, 40:168].copy(), "glass_blur", severity, draws=3)


@pytest.mark.parametrize("severity", SEVERITIES)
@pytest.mark.parametrize("name", DETERMINISTIC)
def test_deterministic_types_give_the_same_picture(
    rewrite: Rewrite, square: np.ndarray, name: str, severity: int
) -> None:
    mine = ours(name).apply(square, severity, np.random.default_rng(0))
    with rewrite.running(mended=name in BROKEN):
        theirs = rewrite.corrupt(square, name, severity)
    assert similarity(mine, theirs) >= 0.98
    assert np.abs(mine.astype(int) - theirs).max() <= 1  # one level: truncation of near whole ones


@pytest.mark.parametrize("angle", [-40.0, 0.0, 25.0])
def test_motion_blur_at_one_angle_gives_the_same_picture(
    rewrite: Rewrite, square: np.ndarray, angle: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Fixed:
        def uniform(self, low: float, high: float) -> float:
            return angle

    generator: Any = Fixed()
    monkeypatch.setattr(np.random, "uniform", lambda low, high: angle)
    for severity in SEVERITIES:
        mine = ours("motion_blur").apply(square, severity, generator)
        with rewrite.running():
            theirs = rewrite.corrupt(square, "motion_blur", severity)
        assert similarity(mine, theirs) >= 0.98


def test_the_yardstick_tells_operators_apart(rewrite: Rewrite, square: np.ndarray) -> None:
    """The measures would notice: a neighbouring severity is beyond every bound."""
    with rewrite.running():
        assert (
            similarity(
                ours("defocus_blur").apply(square, 2, np.random.default_rng(0)),
                rewrite.corrupt(square, "defocus_blur", 1),
            )
            < 0.98
        )
        noisy = ours("gaussian_noise").apply(square, 2, np.random.default_rng(0))
        theirs = rewrite.corrupt(square, "gaussian_noise", 1)
    assert change(square, [noisy]) != pytest.approx(change(square, [theirs]), rel=0.02)
