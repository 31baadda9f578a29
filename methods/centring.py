"""Centring: the mean of the queries is moved onto the mean of the gallery."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional


def sound_rows(rows: Tensor) -> Tensor:
    """Which rows are finite; (B, D) -> (B,) bool."""
    return rows.abs().amax(dim=1) < torch.inf  # half of the kernels of isfinite, and NaN is not


def sound_mean(rows: Tensor) -> Tensor:
    """Mean of the rows that are finite, (B, D) -> (D,): one broken query must not spoil the rest.

    Zero where no row is finite.
    """
    sound = sound_rows(rows)[:, None]
    return torch.where(sound, rows, 0.0).sum(dim=0) / sound.sum().clamp_min(1)


def moved(embeddings: Tensor, offset: Tensor) -> Tensor:
    """normalise(z + offset); differentiable."""
    return functional.normalize(embeddings + offset, dim=1)


def centred(embeddings: Tensor, gallery_mean: Tensor) -> Tensor:
    """normalise(z + mean of the gallery - mean of the batch's z); differentiable, the mean too.

    A batch of one has no mean but itself and is left alone.

    Args:
        embeddings: (B, D) unit rows z.
        gallery_mean: (D,).
    """
    if len(embeddings) < 2:
        return embeddings
    return moved(embeddings, gallery_mean - sound_mean(embeddings))
