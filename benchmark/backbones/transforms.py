"""Image transforms of a backbone, as named options."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
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


def image_transform(name: str, preprocess: Mapping[str, Any]) -> Callable[[np.ndarray], Tensor]:
    """Builds one transform: (H, W, 3) uint8 array -> (3, S, S) float32 tensor.

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
        steps = image_transform_v2(cfg, is_train=False)
    elif name == "pad":
        shorter = Resize(max(size), interpolation=bicubic)
        steps = Compose([padded, shorter, CenterCrop(size), *_as_tensor(cfg)])
    else:
        steps = Compose([Resize(size, interpolation=bicubic), *_as_tensor(cfg)])

    def transform(image: np.ndarray) -> Tensor:
        tensor: Tensor = steps(Image.fromarray(image))
        return tensor

    return transform


def padded(image: Image.Image) -> Image.Image:
    """Black bars beside the shorter side, so that the aspect ratio is at most ``PAD_RATIO``."""
    wanted = max(image.size) / PAD_RATIO
    across, down = (max(int((wanted - side) / 2), 0) for side in image.size)
    return ImageOps.expand(image, (across, down)) if across or down else image


def _as_tensor(cfg: PreprocessCfg) -> list[Callable[[Any], Any]]:
    return [ToTensor(), Normalize(cfg.mean, cfg.std)]
