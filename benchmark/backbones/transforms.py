"""Image transforms of a backbone, as named options."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from open_clip.transform import PreprocessCfg, image_transform_v2
from PIL import Image, ImageOps
from torch import Tensor
from torchvision.transforms import (
    CenterCrop,
    Compose,
    InterpolationMode,
    Normalize,
    Resize,
    ToTensor,
)
from torchvision.transforms.functional import pil_to_tensor

from benchmark.backbones.base import Staged
from benchmark.errors import ConfigError, did_you_mean

TRANSFORMS = {
    "resize": "bicubic resize to the model's size, aspect ratio not kept (TCR's protocol)",
    "clip": "the model's own preprocessing: usually shorter side, then centre crop",
    "pad": "black bars up to an aspect ratio of 1.25, then shorter side, bicubic, and centre crop "
    "(usual for composed queries)",
}
"""Names of the transforms; CLIP models gain about two points of clean recall from "clip"."""

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
    cfg = PreprocessCfg(**preprocess)
    size = (cfg.size, cfg.size) if isinstance(cfg.size, int) else tuple(cfg.size)
    bicubic = InterpolationMode.BICUBIC
    if name == "clip":
        steps = image_transform_v2(cfg, is_train=False).transforms
    elif name == "pad":
        shorter = Resize(max(size), interpolation=bicubic)
        steps = [padded, shorter, CenterCrop(size), *_as_tensor(cfg)]
    else:
        steps = [Resize(size, interpolation=bicubic), *_as_tensor(cfg)]
    return staged(steps)


def staged(steps: Sequence[Callable[[Any], Any]]) -> Staged:
    """A chain of torchvision transforms, parted where 8-bit pixels become numbers.

    Args:
        steps: of PIL images, one ``ToTensor``, of float32 tensors; RGB from end to end.
    """
    middle = next(place for place, step in enumerate(steps) if isinstance(step, ToTensor))
    on_pixels = Compose(steps[:middle])
    for step in steps[middle + 1 :]:
        if isinstance(step, Normalize):
            step.inplace = True  # on numbers that ``expand`` alone holds

    def compact(image: Any) -> Tensor:
        pixels: Tensor = pil_to_tensor(on_pixels(Image.fromarray(image)))
        return pixels

    def expand(pixels: Tensor) -> Tensor:
        numbers = pixels.to(torch.float32, copy=True).div_(255)  # as ToTensor does
        for step in steps[middle + 1 :]:
            numbers = step(numbers)
        return numbers

    return Staged(compact, expand, anywhere=True)


def padded(image: Image.Image) -> Image.Image:
    """Black bars beside the shorter side, so that the aspect ratio is at most ``PAD_RATIO``."""
    wanted = max(image.size) / PAD_RATIO
    across, down = (max(int((wanted - side) / 2), 0) for side in image.size)
    return ImageOps.expand(image, (across, down)) if across or down else image


def _as_tensor(cfg: PreprocessCfg) -> list[Callable[[Any], Any]]:
    return [ToTensor(), Normalize(cfg.mean, cfg.std)]
