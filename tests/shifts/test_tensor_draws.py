"""The random numbers of batched shifts: which equal the CPU shifts', and the device's moments."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from shifts.image.constants import REFERENCE
from shifts.image.weather import plasma as cpu_plasma
from shifts.tensor import Compute, apply_batch, item_generators
from shifts.tensor.batch import Draws
from shifts.tensor.weather import plasma

DEVICES = [
    "cpu",
    pytest.param(
        "cuda",
        marks=pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device here"),
    ),
]
LEVEL = 120
ITEMS = 24


def flat(device: str, side: int = 160) -> torch.Tensor:
    """Two flat grey images."""
    return torch.full((2, 3, side, side), LEVEL, dtype=torch.uint8, device=device)


def cells() -> torch.Tensor:
    """(ITEMS, 3, 64, 64) of 8 px cells."""
    rng = np.random.default_rng(2)
    small = rng.integers(20, 236, (ITEMS, 3, 8, 8), dtype=np.uint8)
    return torch.from_numpy(np.ascontiguousarray(small.repeat(8, axis=2).repeat(8, axis=3)))


def corrupt(name: str, images: torch.Tensor, severity: int, draws: str) -> torch.Tensor:
    rngs = item_generators(1, name, severity, [str(i) for i in range(len(images))])
    return apply_batch(name, images, severity, rngs, compute=Compute(draws=draws))


def noise(name: str, severity: int, draws: str, device: str) -> torch.Tensor:
    """Result on grey in units of full scale, float64; half a level makes up for truncation."""
    return (corrupt(name, flat(device), severity, draws).double() + 0.5) / 255


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("draws", ["cpu", "device"])
def test_gaussian_and_speckle_noise_have_the_constants_moments(draws: str, device: str) -> None:
    x = LEVEL / 255
    for name, spread in (
        ("gaussian_noise", REFERENCE["gaussian_noise"][0]),
        ("speckle_noise", REFERENCE["speckle_noise"][0] * x),
    ):
        result = noise(name, 1, draws, device)
        assert float(result.mean()) == pytest.approx(
            x, abs=4 * spread / result.numel() ** 0.5 + 1e-3
        )
        assert float(result.std()) == pytest.approx(spread, rel=0.02)
        kurtosis = (((result - result.mean()) / result.std()) ** 4).mean()
        assert float(kurtosis) == pytest.approx(3, abs=0.1)


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("draws", ["cpu", "device"])
def test_shot_noise_counts_photons(draws: str, device: str) -> None:
    photons, x = REFERENCE["shot_noise"][0], LEVEL / 255
    result = noise("shot_noise", 1, draws, device)
    assert float(result.mean()) == pytest.approx(x, abs=4e-3)
    assert float(result.var()) == pytest.approx(x / photons, rel=0.04)
    levels = corrupt("shot_noise", flat(device), 1, draws).double()
    counts = (levels * photons / 255).cpu()
    assert float((counts - counts.ceil()).abs().max()) < photons / 255  # only whole photons


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("draws", ["cpu", "device"])
@pytest.mark.parametrize("severity", [1, 5])
def test_impulse_noise_hits_its_share(severity: int, draws: str, device: str) -> None:
    share = REFERENCE["impulse_noise"][severity - 1]
    result = corrupt("impulse_noise", flat(device), severity, draws)
    error = 4 * (share / 2 / result.numel()) ** 0.5
    for extreme in (0, 255):
        hit = (result == extreme).double().mean()
        assert float(hit) == pytest.approx(share / 2, abs=error)
    assert set(result.unique().tolist()) == {0, LEVEL, 255}


@pytest.mark.parametrize("draws", ["cpu", "device"])
def test_channels_and_items_draw_apart(draws: str) -> None:
    result = noise("gaussian_noise", 1, draws, "cpu").flatten(2).flatten(0, 1)
    correlation = torch.corrcoef(result) - torch.eye(6, dtype=torch.float64)
    assert correlation.abs().max() < 0.03


@pytest.mark.parametrize(
    ("name", "severity", "tolerance"),
    [
        ("glass_blur", 3, 0.05),
        ("snow", 2, 0.1),
        ("fog", 3, 0.15),
        ("elastic_transform", 2, 0.1),
        ("elastic_transform", 4, 0.1),
        ("spatter", 2, 0.15),
        ("spatter", 4, 0.15),
    ],
)
def test_device_fields_change_images_as_much(name: str, severity: int, tolerance: float) -> None:
    images = cells()
    sizes = []
    for draws in ("cpu", "device"):
        change = corrupt(name, images, severity, draws).double() - images
        sizes.append((float(change.abs().mean()), float(change.std())))
    assert sizes[1] == pytest.approx(sizes[0], rel=tolerance)


def test_device_fields_are_other_numbers() -> None:
    images = cells()
    for name in ("gaussian_noise", "glass_blur", "fog", "snow", "elastic_transform", "spatter"):
        assert not torch.equal(
            corrupt(name, images, 3, "device"), corrupt(name, images, 3, "cpu")
        ), name


@pytest.mark.parametrize("name", ["motion_blur", "frost_procedural"])
def test_single_numbers_are_the_cpu_shifts_either_way(name: str) -> None:
    images = cells()
    assert torch.equal(corrupt(name, images, 3, "device"), corrupt(name, images, 3, "cpu"))


def test_device_fields_repeat_for_the_same_item() -> None:
    images = cells()
    first = corrupt("gaussian_noise", images, 2, "device")
    assert torch.equal(first, corrupt("gaussian_noise", images, 2, "device"))


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("draws", ["cpu", "device"])
def test_integers_and_uniforms_fill_their_range_evenly(draws: str, device: str) -> None:
    rngs = item_generators(0, "glass_blur", 1, ["a", "b"])
    source = Draws(rngs, torch.device(device), draws)
    whole = source.integers(-3, 3, (2, 60, 70))
    assert whole.shape == (2, 2, 60, 70)
    shares = torch.bincount(whole.flatten() + 3, minlength=6) / whole.numel()
    assert shares.numel() == 6
    assert float((shares - 1 / 6).abs().max()) < 0.015
    real = source.uniform(-2.0, 6.0, (90, 80), torch.float64)
    assert float(real.min()) >= -2
    assert float(real.max()) <= 6
    assert float(real.mean()) == pytest.approx(2, abs=0.08)
    assert float(real.std()) == pytest.approx(8 / 12**0.5, rel=0.02)


@pytest.mark.parametrize("side", [2, 16, 64])
def test_plasma_maps_are_the_cpu_shifts(side: int) -> None:
    ids = ["a", "b", "c"]
    maps = plasma(side, 1.7, Draws(item_generators(0, "fog", 1, ids), torch.device("cpu"), "cpu"))
    for own, rng in zip(maps, item_generators(0, "fog", 1, ids), strict=True):
        np.testing.assert_allclose(own.numpy(), cpu_plasma(side, 1.7, rng), atol=1e-12)
