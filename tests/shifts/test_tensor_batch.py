"""The batched entry point: batch composition, types, ranges, random sources, errors."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from shifts import BUILTINS
from shifts.base import ShiftError
from shifts.builtin import shift_class
from shifts.image.base import ImageOptions
from shifts.tensor import SUPPORTED, Compute, apply_batch, item_generators

NAMES = [name for name in SUPPORTED if name != "frost"]  # photographs, see the agreement test
DEVICES = [
    "cpu",
    pytest.param(
        "cuda",
        marks=pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device here"),
    ),
]
IDS = ["a", "b", "c", "d"]


def images(device: str = "cpu", height: int = 40, width: int = 47) -> torch.Tensor:
    """Four images of 5 px cells."""
    rng = np.random.default_rng(height)
    cells = rng.integers(20, 236, (4, 3, height // 5 + 1, width // 5 + 1), dtype=np.uint8)
    large = cells.repeat(5, axis=2).repeat(5, axis=3)[..., :height, :width]
    return torch.from_numpy(np.ascontiguousarray(large)).to(device)


def corrupt(name: str, batch: torch.Tensor, ids: list[str], **settings: Any) -> torch.Tensor:
    severity = settings.pop("severity", 4)
    return apply_batch(name, batch, severity, item_generators(3, name, severity, ids), **settings)


def test_every_image_shift_has_a_batched_form() -> None:
    assert set(SUPPORTED) == {n for n, entry in BUILTINS.items() if entry["modality"] == "image"}


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("draws", ["cpu", "device"])
@pytest.mark.parametrize("name", NAMES)
def test_an_item_does_not_depend_on_its_batch(name: str, draws: str, device: str) -> None:
    batch, settings = images(device), {"compute": Compute(draws=draws)}
    together = corrupt(name, batch, IDS, **settings)
    backwards = corrupt(name, batch.flip(0), IDS[::-1], **settings).flip(0)
    alone = torch.cat(
        [corrupt(name, batch[i : i + 1], [each], **settings) for i, each in enumerate(IDS)]
    )
    for other in (backwards, alone):
        off = (together.int() - other.int()).abs()
        # The arithmetic of a GPU's libraries may depend on the batch size in the last bit.
        assert off.max() <= (0 if device == "cpu" else 1)


@pytest.mark.parametrize("draws", ["cpu", "device"])
@pytest.mark.parametrize("name", NAMES)
def test_items_differ_only_where_numbers_are_drawn(name: str, draws: str) -> None:
    batch = images()[:1].expand(3, -1, -1, -1)
    first, same, other = corrupt(name, batch, ["a", "a", "z"], compute=Compute(draws=draws))
    assert torch.equal(first, same)
    assert torch.equal(first, other) != shift_class(name, "image").card.randomised


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("name", NAMES)
def test_type_shape_range_and_input(name: str, device: str) -> None:
    batch = images(device)
    before = batch.clone()
    result = corrupt(name, batch, IDS)
    assert result.dtype == torch.uint8
    assert result.device == batch.device
    assert result.shape == batch.shape
    assert not torch.equal(result, batch)
    assert torch.equal(batch, before)

    floating = (batch / 255).requires_grad_()
    shifted = corrupt(name, floating, IDS)
    assert shifted.dtype == torch.float32
    assert not shifted.requires_grad
    assert shifted.min() >= 0
    assert shifted.max() <= 1
    assert torch.equal((shifted * 255).round().to(torch.uint8), result)


def test_a_result_never_shares_memory_with_its_input() -> None:
    # A cell share of 1 would leave nothing to resize; mm's square on a 134 px image is that case.
    options = shift_class("pixelate", "image").Options(variant="mm")
    batch = images(height=134, width=134)
    result = apply_batch("pixelate", batch, 1, options=options)
    assert torch.equal(result, batch)
    assert result.data_ptr() != batch.data_ptr()


def test_other_memory_layouts_give_the_same() -> None:
    batch = images()
    strided = batch.contiguous(memory_format=torch.channels_last)
    for name in ("gaussian_noise", "glass_blur", "jpeg_compression", "saturate"):
        assert torch.equal(corrupt(name, strided, IDS), corrupt(name, batch, IDS)), name


def test_autocast_does_not_reach_the_operators() -> None:
    batch = images()
    plain = corrupt("gaussian_blur", batch, IDS)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(corrupt("gaussian_blur", batch, IDS), plain)


def test_deterministic_types_need_no_generators_and_others_say_so() -> None:
    for name in NAMES:
        if shift_class(name, "image").card.randomised:
            with pytest.raises(ShiftError, match="one per item"):
                apply_batch(name, images(), 2)
        else:
            assert torch.equal(
                apply_batch(name, images(), 2), corrupt(name, images(), IDS, severity=2)
            )


def test_neither_global_generator_is_touched() -> None:
    torch.manual_seed(5)
    np.random.seed(5)  # noqa: NPY002 (the legacy state is what must not move)
    before = torch.get_rng_state(), np.random.get_state()[1].copy()  # noqa: NPY002
    for draws in ("cpu", "device"):
        for name in NAMES:
            corrupt(name, images(), IDS, compute=Compute(draws=draws))
    assert torch.equal(torch.get_rng_state(), before[0])
    np.testing.assert_array_equal(np.random.get_state()[1], before[1])  # noqa: NPY002


def test_an_alias_is_its_shift() -> None:
    batch = images()
    assert torch.equal(corrupt("gaussian", batch, IDS), corrupt("gaussian_noise", batch, IDS))


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("keyboard", "no batched tensor form.*item by item on the CPU"),
        ("motion_blurr", "no batched tensor form; choose one of motion_blur"),
        ("none", "no batched tensor form"),
    ],
)
def test_shifts_without_a_batched_form_point_to_the_cpu(name: str, message: str) -> None:
    with pytest.raises(ShiftError, match=message):
        corrupt(name, images(), IDS)


@pytest.mark.parametrize(
    "wrong",
    [
        images()[0],
        images()[:, :2],
        images()[:0],
        images().double(),
        images().permute(0, 2, 3, 1),
        images().to("meta"),
        images().numpy(),
        None,
    ],
    ids=[
        "one image",
        "two channels",
        "no image",
        "float64",
        "channel last",
        "meta",
        "numpy",
        "none",
    ],
)
def test_wrong_images_are_refused(wrong: Any) -> None:
    with pytest.raises(ShiftError, match=r"\(B, 3, H, W\) uint8 or float32"):
        apply_batch("contrast", wrong, 1)


@pytest.mark.parametrize("value", [-0.1, 1.1, float("nan"), 255.0])
def test_floats_outside_the_unit_range_are_refused(value: float) -> None:
    batch = torch.full((1, 3, 8, 8), 0.5)
    batch[0, 1, 2, 3] = value
    with pytest.raises(ShiftError, match=r"outside \[0, 1\]"):
        apply_batch("contrast", batch, 1)


@pytest.mark.parametrize("severity", [0, 6, "high", 2.0, True])
def test_unknown_severities_are_refused(severity: Any) -> None:
    with pytest.raises(ShiftError, match="1, 2, 3, 4, 5"):
        apply_batch("contrast", images(), severity)


def test_each_image_needs_its_own_generator() -> None:
    rngs = item_generators(0, "fog", 1, IDS)
    for wrong in (rngs[:3], [rngs[0]] * 4):
        with pytest.raises(ShiftError, match="each image its own"):
            apply_batch("fog", images(), 1, wrong)


def test_options_of_another_shift_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ShiftError, match="VariantOptions, not ImageOptions"):
        corrupt("fog", images(), IDS, options=ImageOptions())
    options = shift_class("frost", "image").Options(photos=str(tmp_path))
    with pytest.raises(ShiftError, match="no photograph"):
        corrupt("frost", images(), IDS, options=options)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"draws": "gpu"}, "choose one of cpu, device"),
        ({"precision": torch.float16}, "torch.float32 or torch.float64"),
    ],
)
def test_unknown_ways_to_compute_are_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ShiftError, match=message):
        Compute(**settings)
