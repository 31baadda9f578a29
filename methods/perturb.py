"""Perturbed and augmented queries: what a method can do to a batch without knowing its modality.

The kind of input is told from its tensor: integers are tokens (B, L), numbers of three and more
dimensions end in a plane (pictures and frames; with three, spectrograms), rows of numbers are
samples. Encoders that pack several parts into one row take them apart
(``QueryEncoder.map_parts``). All draws come from the given generator, a row of them for each
query, so that every query is changed by itself.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional

from methods.base import QueryEncoder

PATCHES = 4
"""DeYO cuts a picture into 4 x 4 patches."""

OCCLUDED = 0.5
"""Share of each side that DeYO's central occlusion covers: 112 of 224 pixels."""

DROPPED_TOKENS = 0.1
NOISE = 0.1
"""Standard deviation of the noise on a sound, in units of the sound's own."""

ROTATION, SCALE, SHIFT = math.radians(15), 0.1, 1 / 16
BRIGHTNESS, CONTRAST = 0.4, 0.3
"""Ranges of CoTTA's augmentation; see ``augmented`` for what is left out of it."""


def perturbed(
    encoder: QueryEncoder, queries: Tensor, generator: torch.Generator, kind: str = "auto"
) -> Tensor:
    """DeYO's x': the same batch with its meaning disturbed.

    Args:
        encoder: knows the parts of its inputs.
        queries: the preprocessed batch.
        generator: for the draws.
        kind: "auto": the order of the tokens of a text is shuffled, of everything else the 4 x 4
            patches; "pixels" and "occlusion" for planes, as in the official code.
    """

    def change(part: Tensor) -> Tensor:
        if not part.is_floating_point():
            return shuffled_tokens(part, generator)
        if kind == "occlusion":
            return occluded(part)
        return shuffled_patches(part, generator, 0 if kind == "pixels" else PATCHES)

    return encoder.map_parts(queries, change)


def augmented(encoder: QueryEncoder, queries: Tensor, generator: torch.Generator) -> Tensor:
    """One random view of each query.

    Pictures and frames: rotation, scale, shift, mirror image and change of contrast and brightness
    in the ranges of CoTTA's augmentation. Its changes of colour, blur and noise and the cut to
    [0, 1] are left out: queries are normalised already. Tokens: one in ten is left out. Samples
    and spectrograms, which mean something else when turned: noise of a tenth of their spread.
    """

    def change(part: Tensor) -> Tensor:
        if not part.is_floating_point():
            return dropped_tokens(part, generator)
        return noisy(part, generator) if part.ndim < 4 else moved(part, generator)

    return encoder.map_parts(queries, change)


def draws(part: Tensor, count: int, generator: torch.Generator) -> Tensor:
    """(B, count) uniform numbers in [0, 1), on the part's device."""
    numbers = torch.rand(len(part), count, generator=generator, device=generator.device)
    return numbers.to(part.device, non_blocking=True)  # else a GPU is waited for


def shuffled_patches(part: Tensor, generator: torch.Generator, patches: int = PATCHES) -> Tensor:
    """The patches of each plane in random order; the same order for all planes of one query.

    Args:
        part: (B, ..., H, W), or (B, W) as planes of height one.
        generator: for the order.
        patches: patches a side, 0 for single pixels. A side that they do not divide is resized to
            the next smaller one that they do, and back.
    """
    planes = part.reshape(len(part), -1, part.shape[-2] if part.ndim > 2 else 1, part.shape[-1])
    height, width = planes.shape[-2:]
    rows, columns = (min(patches or side, side) for side in (height, width))
    fitted = (height // rows * rows, width // columns * columns)
    grid = _resized(planes, fitted).unflatten(3, (columns, -1)).unflatten(2, (rows, -1))
    cells = grid.movedim(4, 3).flatten(2, 3)  # (B, C, rows * columns, h, w)
    order = draws(part, rows * columns, generator).argsort(dim=1)
    cells = cells.gather(2, order[:, None, :, None, None].expand_as(cells))
    grid = cells.unflatten(2, (rows, columns)).movedim(3, 4).flatten(4, 5).flatten(2, 3)
    return _resized(grid, (height, width)).reshape(part.shape)


def _resized(planes: Tensor, size: tuple[int, int]) -> Tensor:
    if planes.shape[-2:] == size:
        return planes
    return functional.interpolate(planes, size, mode="bilinear", antialias=True)


def occluded(part: Tensor) -> Tensor:
    """The middle of each plane painted with the plane's mean; rows of samples are planes too."""
    planes = part if part.ndim > 2 else part[:, None]
    inside = []
    for side in planes.shape[-2:]:
        position = torch.arange(side, device=part.device)
        margin = int(side * (1 - OCCLUDED) / 2)
        inside.append((position >= margin) & (position < margin + max(1, int(side * OCCLUDED))))
    window = inside[0][:, None] & inside[1]
    return torch.where(window, planes.mean(dim=(-2, -1), keepdim=True), planes).reshape(part.shape)


def inner_tokens(tokens: Tensor) -> tuple[Tensor, Tensor]:
    """Which tokens of a text are its words, and what pads it.

    The first token and the last one before the padding mark begin and end. Padding is what the
    row with the longest repetition at its end repeats; without any it is 0.

    Returns:
        (B, L) bool and a scalar.
    """
    length = tokens.shape[1]
    repeats = (tokens.flip(1) == tokens[:, -1:]).long().cumprod(dim=1).sum(dim=1)
    longest = repeats.argmax()
    # Indexed by a tensor: plain brackets would wait for a GPU to know the row.
    padding = torch.where(repeats.amax() > 1, tokens[:, -1].take(longest), 0)
    ends = length - torch.where(tokens[:, -1] == padding, repeats, 0) - 1
    position = torch.arange(length, device=tokens.device)
    return (position > 0) & (position < ends[:, None]), padding


def shuffled_tokens(tokens: Tensor, generator: torch.Generator) -> Tensor:
    """The words of each text in random order; begin, end and padding stay; (B, L) integers."""
    inner, _ = inner_tokens(tokens)
    position = torch.arange(tokens.shape[1], device=tokens.device)
    keys = torch.where(inner, draws(tokens, tokens.shape[1], generator) / 2 + 0.25, position)
    return tokens.gather(1, keys.argsort(dim=1, stable=True))


def dropped_tokens(tokens: Tensor, generator: torch.Generator) -> Tensor:
    """Each text without one in ten of its tokens, padded at its end; (B, L) integers."""
    inner, padding = inner_tokens(tokens)
    gone = inner & (draws(tokens, tokens.shape[1], generator) < DROPPED_TOKENS)
    order = gone.long().argsort(dim=1, stable=True)
    kept = (~gone).gather(1, order)
    return torch.where(kept, tokens.gather(1, order), padding)


def noisy(part: Tensor, generator: torch.Generator) -> Tensor:
    """(B, ...) sounds with normal noise."""
    rows = part.flatten(1)
    noise = torch.randn(rows.shape, generator=generator, device=generator.device)
    spread = rows.std(dim=1, keepdim=True, correction=0)
    return (rows + NOISE * spread * noise.to(part, non_blocking=True)).reshape(part.shape)


def moved(part: Tensor, generator: torch.Generator) -> Tensor:
    """(B, ..., C, H, W) pictures turned, scaled, shifted, mirrored and changed in contrast."""
    drawn = draws(part, 7, generator).to(part, non_blocking=True)
    signed = 2 * drawn - 1
    angle, scale = ROTATION * signed[:, 0], 1 + SCALE * signed[:, 1]
    mirror = torch.where(drawn[:, 6] < 0.5, -1.0, 1.0).to(part)
    cos, sin = angle.cos() / scale, angle.sin() / scale
    # Twice the shift: the grid's coordinates run from -1 to 1.
    turn = torch.stack([cos * mirror, -sin, 2 * SHIFT * signed[:, 2]], dim=1)
    tilt = torch.stack([sin * mirror, cos, 2 * SHIFT * signed[:, 3]], dim=1)
    planes = part.reshape(len(part), -1, *part.shape[-2:])
    grid = functional.affine_grid(
        torch.stack([turn, tilt], dim=1), list(planes.shape), align_corners=False
    )
    planes = functional.grid_sample(planes, grid, padding_mode="border", align_corners=False)
    mean = planes.mean(dim=(1, 2, 3), keepdim=True)
    spread = planes.std(dim=(1, 2, 3), keepdim=True, correction=0)
    contrast, brightness = (
        (size * signed[:, column, None, None, None])
        for size, column in ((CONTRAST, 4), (BRIGHTNESS, 5))
    )
    planes = mean + (1 + contrast) * (planes - mean) + brightness * spread
    return planes.reshape(part.shape)
