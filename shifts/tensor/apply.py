"""The entry point: checks, item generators, the registry of batched operators."""

from __future__ import annotations

import difflib
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from shifts import ALIASES
from shifts.base import ShiftError, item_generator
from shifts.builtin import shift_class
from shifts.image.base import ImageOptions, ImageShift
from shifts.tensor import blur, digital, noise, weather
from shifts.tensor.batch import Batch, Compute, Draws, Operator
from shifts.tensor.elastic import elastic_transform
from shifts.tensor.filters import resize
from shifts.tensor.jpeg import jpeg_compression
from shifts.tensor.spatter import spatter

OPERATORS: dict[str, Operator] = {
    "gaussian_noise": noise.gaussian_noise,
    "shot_noise": noise.shot_noise,
    "impulse_noise": noise.impulse_noise,
    "speckle_noise": noise.speckle_noise,
    "gaussian_blur": blur.gaussian_blur,
    "defocus_blur": blur.defocus_blur,
    "glass_blur": blur.glass_blur,
    "motion_blur": blur.motion_blur,
    "zoom_blur": blur.zoom_blur,
    "snow": weather.snow,
    "frost": weather.frost,
    "frost_procedural": weather.frost,
    "fog": weather.fog,
    "brightness": weather.brightness,
    "spatter": spatter,
    "contrast": digital.contrast,
    "elastic_transform": elastic_transform,
    "pixelate": digital.pixelate,
    "jpeg_compression": jpeg_compression,
    "saturate": digital.saturate,
}

SUPPORTED: tuple[str, ...] = tuple(OPERATORS)
"""Names that ``apply_batch`` takes, declared aliases aside."""

_CPU_PATH = "other shifts run item by item on the CPU (shifts.base.Shift.apply)"


def apply_batch(
    name: str,
    images: Tensor,
    severity: int,
    generators: Sequence[np.random.Generator] | None = None,
    *,
    options: ImageOptions | None = None,
    compute: Compute | None = None,
) -> Tensor:
    """Corrupts a batch of images on their own device.

    Item i depends on its image and its generator alone, not on the rest of the batch: its random
    numbers to the bit; its levels too, as far as the device's matrix products and FFTs round
    alike for every batch size.

    Args:
        name: one of ``SUPPORTED`` or a declared alias.
        images: (B, 3, H, W) RGB on the CPU or a CUDA device; uint8, or float32 in [0, 1], which
            is rounded to 8-bit levels first, as these are what the operators are defined on.
        severity: 1 to 5.
        generators: one NumPy generator per item (see ``item_generators``), advanced by the call;
            may be left out for shifts that draw nothing (``card.randomised``).
        options: options of the CPU shift (its ``Options`` class); default: its defaults.
        compute: random source and precision; default: ``Compute()``.

    Returns:
        A new tensor of the same type, shape and device (224 x 224 under ``imagenet224``); float32
        images are whole levels over 255.

    Raises:
        ShiftError: a shift without a batched form, an unknown severity, images, generators or
            options of the wrong kind.

    Example:
        >>> images = torch.zeros(2, 3, 32, 32, dtype=torch.uint8)
        >>> rngs = item_generators(0, "fog", 3, ["a", "b"])
        >>> apply_batch("fog", images, 3, rngs).shape
        torch.Size([2, 3, 32, 32])
    """
    name = _known(name)
    compute = Compute() if compute is None else compute
    shift = _shift(name, options)
    shift.check_severity(severity)
    _check_images(name, images)
    rngs = _checked_generators(shift, generators, len(images))
    # Under autocast matrix products would run in 16 bit.
    with torch.no_grad(), torch.autocast(images.device.type, enabled=False):
        levels = _to_levels(name, images).contiguous()
        if shift.options.resolution_policy == "imagenet224":
            levels = imagenet_crop(levels)
        draws = Draws(rngs, images.device, compute.draws)
        batch = Batch(levels, shift, shift.constants(severity), draws, compute.precision)
        result = OPERATORS[name](batch)
        return result if images.dtype == torch.uint8 else result.float() / 255.0


def item_generators(
    seed: int, name: str, severity: int, item_ids: Sequence[str]
) -> list[np.random.Generator]:
    """One ``shifts.base.item_generator`` per item, as the CPU shifts are given."""
    return [item_generator(seed, ALIASES.get(name, name), severity, each) for each in item_ids]


def imagenet_crop(levels: Tensor, side: int = 256, crop: int = 224) -> Tensor:
    """``shifts.image.base.imagenet_crop`` of (B, 3, H, W) uint8; see ``resize``."""
    height, width = levels.shape[-2:]
    scale = side / min(height, width)
    rows, columns = max(side, round(height * scale)), max(side, round(width * scale))
    resized = resize(levels, rows, columns, "bilinear")
    top, left = (rows - crop) // 2, (columns - crop) // 2
    return resized[..., top : top + crop, left : left + crop].contiguous()


def _known(name: str) -> str:
    meant = ALIASES.get(name, name)
    if meant in OPERATORS:
        return meant
    near = difflib.get_close_matches(name, SUPPORTED, n=3) or sorted(SUPPORTED)
    raise ShiftError(
        f"shift {name!r} has no batched tensor form; choose one of {', '.join(near)}; {_CPU_PATH}"
    )


def _shift(name: str, options: ImageOptions | None) -> ImageShift:
    kind = shift_class(name, "image")
    if options is not None and not isinstance(options, kind.Options):
        raise ShiftError(
            f"options of shift {name!r} are {kind.Options.__name__}, not {type(options).__name__}"
        )
    shift = kind(options)
    assert isinstance(shift, ImageShift)
    return shift


def _check_images(name: str, images: object) -> None:
    if not isinstance(images, Tensor):
        found = type(images).__name__
    elif images.dtype not in (torch.uint8, torch.float32):
        found = f"{images.dtype} tensors"
    elif images.ndim != 4 or images.shape[1] != 3 or images.numel() == 0:
        found = f"tensors of shape {tuple(images.shape)}"
    elif images.device.type not in ("cpu", "cuda"):
        found = f"tensors on {images.device.type!r} (only cpu and cuda)"
    else:
        return
    raise ShiftError(
        f"batched shift {name!r} works on (B, 3, H, W) uint8 or float32 tensors, not on {found}"
    )


def _to_levels(name: str, images: Tensor) -> Tensor:
    if images.dtype == torch.uint8:
        return images
    # Written so that NaN is refused too.
    if not bool(((images >= 0) & (images <= 1)).all()):
        raise ShiftError(
            f"batched shift {name!r} was given float32 images with values outside [0, 1]; "
            "shift them before they are normalised"
        )
    return (images * 255.0).round_().to(torch.uint8)


def _checked_generators(
    shift: ImageShift, generators: Sequence[np.random.Generator] | None, items: int
) -> Sequence[np.random.Generator]:
    name = shift.card.name
    if generators is None:
        if not shift.card.randomised:
            return ()
        raise ShiftError(
            f"shift {name!r} draws random numbers and was given no generators; "
            "give one per item (shifts.tensor.item_generators)"
        )
    if len(generators) != items or len({id(each) for each in generators}) != items:
        raise ShiftError(
            f"shift {name!r} was given {len(generators)} generators for {items} images; "
            "give each image its own (shifts.tensor.item_generators)"
        )
    return generators
