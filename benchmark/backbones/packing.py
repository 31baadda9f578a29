"""The batch format of composed queries: image and tokens in one float32 row.

Methods take one input tensor per query and one batch tensor whose rows are queries. A composed
query has two parts of different types, so they travel as one row: the preprocessed image, flattened
in C order, followed by the tokens as floats. The encoder alone knows the layout and unpacks it.

A token keeps its value exactly: float32 holds every integer up to 2**24, and the largest
vocabularies in use have under 2**19 entries.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import prod
from typing import Any

import torch
from torch import Tensor

from benchmark.backbones.base import Staged

LARGEST_TOKEN = 2**24
"""Integers up to this one are exact in float32."""


def pack(image: Tensor, tokens: Tensor) -> Tensor:
    """Packs one query.

    Args:
        image: one preprocessed image of any shape, usually (3, S, S), float32.
        tokens: (L,) integer tokens, each in [0, 2**24].

    Returns:
        (image.numel() + L,) float32 row.

    Raises:
        ValueError: tokens are not one row of integers in range, or the image is not float32 (a
            narrower type would round the tokens that follow it, a wider one would be rounded).

    >>> pack(torch.zeros(3, 2, 2), torch.tensor([5, 7])).shape
    torch.Size([14])
    """
    if image.dtype != torch.float32:
        raise ValueError(f"the image to pack is {image.dtype}; expected torch.float32")
    if tokens.ndim != 1 or tokens.is_floating_point() or tokens.is_complex():
        raise ValueError(
            f"the tokens to pack are {tokens.dtype} of shape {tuple(tokens.shape)}; expected one "
            "row of integers"
        )
    if len(tokens) and not 0 <= int(tokens.min()) <= int(tokens.max()) <= LARGEST_TOKEN:
        raise ValueError(f"a token to pack is outside [0, {LARGEST_TOKEN}] and would be rounded")
    return torch.cat([image.reshape(-1), tokens.to(torch.float32)])


def pack_staged(
    image: Callable[[Any], Tensor], text: Callable[[str], Tensor], image_shape: Sequence[int]
) -> Callable[[Any], Tensor]:
    """The preprocessing of composed queries, in two stages where that of images is.

    Args:
        image: (H, W, 3) uint8 array -> preprocessed image; ``Staged`` for two stages.
        text: text -> (L,) integer tokens.
        image_shape: shape of one image, before and after its second stage.

    Returns:
        ``shifts.composed.Composed`` -> packed row (see ``pack``). Between the stages a query is a
        row of uint8: the pixels, then four bytes for each token.
    """
    if not isinstance(image, Staged):
        return lambda query: pack(image(query.image), text(query.text))
    pixels, stages = prod(image_shape), image

    def compact(query: Any) -> Tensor:
        tokens = text(query.text).to(torch.int32)
        return torch.cat([stages.compact(query.image).reshape(-1), tokens.view(torch.uint8)])

    def expand(row: Tensor) -> Tensor:
        tokens = row[pixels:].clone().view(torch.int32)
        return pack(stages.expand(row[:pixels].reshape(*image_shape)), tokens)

    return Staged(compact, expand)


def unpack(rows: Tensor, image_shape: Sequence[int]) -> tuple[Tensor, Tensor]:
    """Takes a batch apart again.

    Args:
        rows: (B, P + L) float32 rows made by ``pack``, P pixel values and L tokens each.
        image_shape: shape of one image, P values.

    Returns:
        Images, (B, *image_shape) float32, and tokens, (B, L) int64. Images share memory with the
        rows where the layout allows; tokens do not.

    Raises:
        ValueError: rows that cannot hold such an image.
    """
    pixels = prod(image_shape)
    if rows.ndim != 2 or rows.shape[1] < pixels:
        raise ValueError(
            f"rows of shape {tuple(rows.shape)} do not hold images of shape {tuple(image_shape)}; "
            f"expected (batch, {pixels} + tokens)"
        )
    images = rows[:, :pixels].reshape(len(rows), *image_shape)
    # Rounded, not cut: a cast that passed through a wider or narrower type must not lose one.
    return images, rows[:, pixels:].round().to(torch.int64)


def map_packed(
    rows: Tensor, image_shape: Sequence[int], change: Callable[[Tensor], Tensor]
) -> Tensor:
    """Packed rows with their images and their tokens changed; the arguments are ``unpack``'s."""
    images, tokens = (change(part) for part in unpack(rows, image_shape))
    return torch.cat([images.reshape(len(rows), -1), tokens.to(rows.dtype)], dim=1)
