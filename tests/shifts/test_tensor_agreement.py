"""Batched tensor shifts against the CPU shifts, item by item."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from shifts.base import Shift, item_generator
from shifts.builtin import shift_class
from shifts.image.base import imagenet_crop as pillow_crop
from shifts.tensor import SUPPORTED, Compute, apply_batch, item_generators
from shifts.tensor.apply import imagenet_crop

DEVICES = [
    "cpu",
    pytest.param(
        "cuda",
        marks=pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device here"),
    ),
]
NAMES = [name for name in SUPPORTED if name != "frost"]  # photographs: a test of its own
EXACT = ("brightness", "contrast", "saturate", "jpeg_compression", "impulse_noise", "shot_noise")
VARIANTS = ("glass_blur", "pixelate", "zoom_blur", "fog")
SIZES = ((64, 64), (48, 57), (130, 97), (1, 40), (37, 1))
IDS = ["a", "b"]


def pictures(height: int, width: int, count: int = 2) -> np.ndarray:
    """(count, height, width, 3) uint8: soft and hard cells, grain, a black and a white part."""
    rng = np.random.default_rng(height * width)
    result = []
    for number in range(count):
        cells = rng.integers(0, 256, (height // 7 + 1, width // 7 + 1, 3), dtype=np.uint8)
        kind = Image.Resampling.NEAREST if number % 2 else Image.Resampling.BILINEAR
        large = np.array(Image.fromarray(cells).resize((width, height), kind)).astype(int)
        result.append(np.clip(large + rng.integers(-6, 7, large.shape), 0, 255).astype(np.uint8))
    result[-1][: height // 3] = 255
    result[-1][:, : width // 3] = 0
    return np.stack(result)


def tensor(images: np.ndarray, device: str = "cpu") -> torch.Tensor:
    return torch.from_numpy(images).permute(0, 3, 1, 2).to(device)


def arrays(images: torch.Tensor) -> np.ndarray:
    return images.cpu().permute(0, 2, 3, 1).numpy()


def one_by_one(shift: Shift, images: np.ndarray, severity: int) -> np.ndarray:
    name = shift.card.name
    return np.stack(
        [
            shift.apply(image, severity, item_generator(7, name, severity, item))
            for image, item in zip(images, IDS, strict=True)
        ]
    )


def difference(
    name: str, images: np.ndarray, severity: int, compute: Compute, device: str, **options: Any
) -> np.ndarray:
    kind = shift_class(name, "image")
    chosen = kind.Options(**options)
    rngs = item_generators(7, name, severity, IDS)
    batched = apply_batch(
        name, tensor(images, device), severity, rngs, options=chosen, compute=compute
    )
    expected = one_by_one(kind(chosen), images, severity)
    return np.abs(arrays(batched).astype(int) - expected)


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("precision", [torch.float32, torch.float64])
@pytest.mark.parametrize("name", NAMES)
def test_every_type_agrees_within_one_level(name: str, precision: torch.dtype, device: str) -> None:
    compute = Compute(precision=precision)
    for size in SIZES:
        images = pictures(*size)
        for severity in range(1, 6):
            for constants in ("reference", "mini64"):
                off = difference(name, images, severity, compute, device, constants=constants)
                assert off.max() <= 1, (size, severity, constants)
                if name in EXACT:
                    assert off.max() == 0, (size, severity, constants)


@pytest.mark.parametrize("name", NAMES)
def test_in_float64_on_the_cpu_hardly_a_level_differs(name: str) -> None:
    # Squares: Pillow may resize taller images down first, which can round otherwise.
    images, compute = pictures(64, 64), Compute(precision=torch.float64)
    shares = [(difference(name, images, s, compute, "cpu") > 0).mean() for s in range(1, 6)]
    assert max(shares) < 1e-3


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("name", VARIANTS)
def test_the_other_variant_agrees_too(name: str, device: str) -> None:
    for size in ((64, 64), (130, 97)):
        for severity in (1, 3, 5):
            off = difference(name, pictures(*size), severity, Compute(), device, variant="mm")
            assert off.max() <= 1, (size, severity)


@pytest.mark.parametrize("size", [(300, 500), (500, 375), (90, 150), (256, 256)])
def test_the_imagenet_crop_is_pillows_to_the_byte(size: tuple[int, int]) -> None:
    images = pictures(*size)
    expected = np.stack([pillow_crop(image) for image in images])
    np.testing.assert_array_equal(arrays(imagenet_crop(tensor(images))), expected)


@pytest.mark.parametrize("name", ["contrast", "motion_blur", "elastic_transform"])
def test_the_resolution_policy_is_applied_first(name: str) -> None:
    images = pictures(90, 150)
    off = difference(name, images, 3, Compute(), "cpu", resolution_policy="imagenet224")
    assert off.shape == (2, 224, 224, 3)
    assert off.max() <= 1


def test_frost_takes_the_same_photographs(tmp_path: Path) -> None:
    for number, photo in enumerate(pictures(80, 90, 3)):
        Image.fromarray(photo).save(tmp_path / f"{number}.png")
    for severity in (1, 5):
        off = difference(
            "frost", pictures(48, 57), severity, Compute(), "cpu", photos=str(tmp_path)
        )
        assert off.max() <= 1


@pytest.mark.parametrize("quality_table", ["reference", "mini64"])
@pytest.mark.parametrize("size", [(5, 5), (6, 4), (15, 17), (16, 31), (33, 32)])
def test_jpeg_is_the_librarys_at_every_edge(size: tuple[int, int], quality_table: str) -> None:
    rng = np.random.default_rng(sum(size))
    noise = rng.integers(0, 256, (2, *size, 3), dtype=np.uint8)
    for severity in range(1, 6):
        off = difference(
            "jpeg_compression", noise, severity, Compute(), "cpu", constants=quality_table
        )
        assert off.max() == 0, severity


def test_flat_images_keep_their_level_in_float32() -> None:
    # Rounding error must not push a whole level below itself before truncation.
    levels = torch.arange(256, dtype=torch.uint8)[:, None, None, None].expand(-1, 3, 9, 9)
    for name in ("gaussian_blur", "zoom_blur", "contrast", "pixelate"):
        assert torch.equal(apply_batch(name, levels, 3), levels), name
