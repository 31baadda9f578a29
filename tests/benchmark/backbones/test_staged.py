"""Preprocessing in two stages gives what one gives, to the bit."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from open_clip.transform import PreprocessCfg, image_transform_v2
from PIL import Image
from torch import Tensor
from torchvision.transforms import (
    CenterCrop,
    Compose,
    InterpolationMode,
    Normalize,
    Resize,
    ToTensor,
)

from benchmark.backbones.base import Staged, image_transform, on_device, padded
from benchmark.backbones.composed import pack, pack_staged
from benchmark.backbones.person_search import IMAGE_SIZE, MEAN, STD, person_transform
from benchmark.evaluation.loader import QueryInputs
from benchmark.mini.clips.backbone import normalised, video_input
from shifts.base import Composed
from tests.benchmark import fakes

FACTS: dict[str, Any] = {
    "size": 32,
    "mean": (0.48, 0.46, 0.41),
    "std": (0.27, 0.26, 0.28),
    "interpolation": "bicubic",
    "resize_mode": "shortest",
}
BICUBIC = InterpolationMode.BICUBIC
NUMBERS = [ToTensor(), Normalize(FACTS["mean"], FACTS["std"])]


def picture(seed: int = 0, size: tuple[int, int] = (50, 70)) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (*size, 3), dtype=np.uint8)


def in_one(name: str) -> Callable[[Image.Image], Tensor]:
    """torchvision's own chain."""
    if name == "clip":
        return image_transform_v2(PreprocessCfg(**FACTS), is_train=False)
    if name == "person":
        filtered = Resize(IMAGE_SIZE, interpolation=InterpolationMode.BILINEAR)
        return Compose([filtered, ToTensor(), Normalize(MEAN, STD)])
    if name == "pad":
        return Compose([padded, Resize(32, interpolation=BICUBIC), CenterCrop(32), *NUMBERS])
    return Compose([Resize((32, 32), interpolation=BICUBIC), *NUMBERS])


@pytest.mark.parametrize("name", ["resize", "clip", "pad", "person"])
@pytest.mark.parametrize("size", [(50, 70), (32, 32), (9, 90)])
def test_images(name: str, size: tuple[int, int]) -> None:
    two = person_transform() if name == "person" else image_transform(name, FACTS)
    image = picture(size=size)
    small = two.compact(image)
    assert small.dtype == torch.uint8
    expected = in_one(name)(Image.fromarray(image))
    assert torch.equal(two.expand(small), expected)
    assert torch.equal(two(image), expected)
    assert torch.equal(two.expand(small), expected), "the small form is not changed"
    assert torch.equal(two.expand(torch.stack([small, small]))[1], expected), "frames"


@pytest.mark.parametrize("side", [32, 20])
def test_mini_clips(side: int) -> None:
    frames = np.stack([picture(n, (side, side)) for n in range(8)])
    small = video_input.compact(frames)
    assert small.dtype == (torch.uint8 if side == 32 else torch.float32)
    assert torch.equal(video_input(frames), video_input.expand(small))
    if side == 32:
        plain = torch.from_numpy(frames).permute(0, 3, 1, 2).float() / 255
        assert torch.equal(video_input(frames), normalised(plain))


def tokens(text: str) -> Tensor:
    return torch.tensor([len(text), 49_407, 2**24, 0])


def test_composed_queries() -> None:
    image = image_transform("resize", FACTS)
    query = Composed(picture(), "a longer coat")
    two = pack_staged(image, tokens, (3, 32, 32))
    assert isinstance(two, Staged)
    small = two.compact(query)
    assert (small.dtype, len(small)) == (torch.uint8, 3 * 32 * 32 + 4 * 4)
    expected = pack(image(query.image), tokens(query.text))
    assert torch.equal(two(query), expected)
    assert torch.equal(two.expand(small), expected)
    one = pack_staged(lambda item: image(item), tokens, (3, 32, 32))
    assert not isinstance(one, Staged)
    assert torch.equal(one(query), expected)


class OnHost:
    """A batch that notes what is asked of it: machines that test this have no GPU."""

    is_cuda = False

    def __init__(self) -> None:
        self.asked: list[object] = []

    def pin_memory(self) -> OnHost:
        self.asked.append("pinned")
        return self

    def to(self, device: str, *, non_blocking: bool = False) -> OnHost:
        self.asked.append((device, non_blocking))
        return self


def test_a_gpu_is_fed_from_pinned_memory() -> None:
    batch: Any = OnHost()
    on_device(batch, "cuda:1")
    assert batch.asked == ["pinned", ("cuda:1", True)]
    plain = torch.ones(2, 3)
    assert on_device(plain, "cpu") is plain


def test_a_gpu_makes_numbers_of_a_whole_batch_of_pixels(monkeypatch: pytest.MonkeyPatch) -> None:
    sent: list[tuple[torch.dtype, tuple[int, ...]]] = []

    def moved(batch: Tensor, device: str) -> Tensor:
        sent.append((batch.dtype, tuple(batch.shape)))
        return batch

    monkeypatch.setattr("benchmark.evaluation.loader.on_device", moved)
    two = image_transform("resize", FACTS)
    data, backbone = fakes.world(count=5), fakes.FakeBackbone()
    monkeypatch.setattr(backbone, "preprocess", lambda modality: two)
    monkeypatch.setattr(backbone, "collate", lambda modality, inputs: torch.stack(list(inputs)))
    expected = QueryInputs(data, backbone).batch([3, 1, 4])
    assert sent == []
    monkeypatch.setattr(backbone, "device", "cuda")
    assert torch.equal(QueryInputs(data, backbone).batch([3, 1, 4]), expected)
    assert sent == [(torch.uint8, (3, 3, 32, 32))]
    monkeypatch.setattr(backbone, "preprocess", lambda modality: Staged(two.compact, two.expand))
    assert torch.equal(QueryInputs(data, backbone).batch([3, 1, 4]), expected)
    assert len(sent) == 1, "a plugin's own stages may hold tensors of the CPU"
