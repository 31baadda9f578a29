"""Image transforms of a backbone, as named options."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial, reduce
from itertools import takewhile
from typing import Any

import numpy as np
import torch
from PIL import Image, ImageOps
from PIL.Image import Resampling
from torch import Tensor

from benchmark.backbones.base import Staged
from benchmark.errors import ConfigError, did_you_mean

TRANSFORMS = {
    "resize": "bicubic resize to the model's size, aspect ratio not kept (TCR's protocol)",
    "clip": "the model's own preprocessing: usually shorter side, then centre crop",
    "pad": "black bars up to an aspect ratio of 1.25, then shorter side, bicubic, and centre crop "
    "(usual for composed queries)",
}
"""Names of the transforms; CLIP models gain about two points of clean recall from "clip"."""

Step = Callable[[Image.Image], Image.Image]

PAD_RATIO = 1.25
"""Longer by shorter side from which on "pad" adds bars (the public code for CIRR and FashionIQ)."""


def image_transform(name: str, preprocess: Mapping[str, Any]) -> Staged:
    """Builds one transform: (H, W, 3) uint8 array -> (3, S, S) float32 tensor.

    It comes in two stages, with (3, S, S) uint8 pixels between them.

    Args:
        name: one of ``TRANSFORMS``.
        preprocess: open_clip's preprocessing facts of the model: ``size``, ``mean``, ``std`` and,
            for "clip", ``interpolation``, ``resize_mode`` and ``fill_color``.

    Raises:
        ConfigError: unknown name.
    """
    if name not in TRANSFORMS:
        raise ConfigError(
            f"unknown image transform {name!r}{did_you_mean(name, TRANSFORMS)}; "
            f"known: {', '.join(TRANSFORMS)}"
        )
    given = preprocess["size"]
    size = (given, given) if isinstance(given, int) else tuple(given)
    return staged(_on_pixels(name, size, preprocess), preprocess["mean"], preprocess["std"])


def _on_pixels(name: str, size: tuple[int, ...], preprocess: Mapping[str, Any]) -> list[Step]:
    if name == "resize":
        return [partial(resized, size=size)]
    # The embedded default's own transform does without torchvision, which imports torch._dynamo.
    from open_clip.transform import PreprocessCfg, image_transform_v2
    from torchvision.transforms import CenterCrop, InterpolationMode, Resize, ToTensor

    if name == "pad":
        shorter = Resize(max(size), interpolation=InterpolationMode.BICUBIC)
        return [padded, shorter, CenterCrop(size)]
    steps = image_transform_v2(PreprocessCfg(**preprocess), is_train=False).transforms
    return list(takewhile(lambda step: not isinstance(step, ToTensor), steps))


def resized(
    image: Image.Image, size: Sequence[int], filter: Resampling = Resampling.BICUBIC
) -> Image.Image:
    """An image of another size, (height, width), its aspect ratio not kept."""
    return image.resize((size[1], size[0]), filter)


def staged(steps: Sequence[Step], mean: Sequence[float], std: Sequence[float]) -> Staged:
    """A chain of transforms, parted where 8-bit pixels become numbers.

    Args:
        steps: of RGB images.
        mean: of each channel, from 0 to 1.
        std: as ``mean``.
    """
    centre, spread = (
        torch.tensor(values, dtype=torch.float32).view(-1, 1, 1) for values in (mean, std)
    )

    def compact(image: Any) -> Tensor:
        made = reduce(lambda before, step: step(before), steps, Image.fromarray(image))
        return torch.from_numpy(np.array(made)).permute(2, 0, 1)

    def expand(pixels: Tensor) -> Tensor:
        numbers = pixels.to(torch.float32, copy=True).div_(255)  # as torchvision's ToTensor does
        return numbers.sub_(centre.to(pixels.device)).div_(spread.to(pixels.device))

    return Staged(compact, expand, anywhere=True)


def padded(image: Image.Image) -> Image.Image:
    """Black bars beside the shorter side, so that the aspect ratio is at most ``PAD_RATIO``."""
    wanted = max(image.size) / PAD_RATIO
    across, down = (max(int((wanted - side) / 2), 0) for side in image.size)
    return ImageOps.expand(image, (across, down)) if across or down else image
