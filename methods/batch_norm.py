"""BatchNorm layers, and the batch's own statistics in them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from methods.base import NotApplicable, StepOutput
from methods.centring import sound_rows


def batch_norms(module: nn.Module) -> list[Any]:
    """The BatchNorm layers of a module that have running statistics."""
    return [
        layer
        for layer in module.modules()
        if isinstance(layer, _BatchNorm) and layer.running_mean is not None
    ]


def _itself(value: Tensor) -> Tensor:
    return value


@contextmanager
def mixed_statistics(layers: list[Any], share: float, *, broken: bool = False) -> Iterator[None]:
    """BatchNorm layers that use both statistics while it lasts; nothing in them is changed.

    Args:
        layers: BatchNorm layers with running statistics, in eval mode.
        share: part of the source's statistics; the rest is the batch's.
        broken: the batch has rows that are not finite, which take no part in its statistics.
    """

    def normalise(layer: Any, inputs: tuple[Tensor, ...], _output: Tensor) -> Tensor | None:
        (x,) = inputs
        known = x[sound_rows(x.flatten(1))] if broken else x
        if known.numel() <= x.shape[1]:
            return None
        others = [axis for axis in range(x.ndim) if axis != 1]
        # The running variance is an unbiased estimate, so the batch's is too.
        variance, mean = torch.var_mean(known, dim=others, correction=1)
        shape = (1, -1, *[1] * (x.ndim - 2))
        mean = share * layer.running_mean + (1 - share) * mean
        variance = share * layer.running_var + (1 - share) * variance
        # Written out: torch's own function has no gradient for the statistics.
        normed = (x - mean.view(shape)) * (variance.view(shape) + layer.eps).rsqrt()
        if layer.weight is not None:
            normed = normed * layer.weight.view(shape) + layer.bias.view(shape)
        for name in ("drop", "act"):  # timm's layers are normalisation and activation in one
            normed = getattr(layer, name, _itself)(normed)
        return normed

    handles: list[Any] = [layer.register_forward_hook(normalise) for layer in layers]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def in_batch_statistics(
    encoder: nn.Module, step: Callable[[Tensor], StepOutput]
) -> Callable[[Tensor], StepOutput]:
    """A method's step during which BatchNorm layers use the statistics of what passes.

    Raises:
        NotApplicable: the encoder has no such layers.
    """
    layers = batch_norms(encoder)
    if not layers:
        raise NotApplicable(
            f"bn='batch' is about BatchNorm layers; the query encoder {type(encoder).__name__} has "
            "none (a ResNet has)"
        )

    def wrapped(queries: Tensor) -> StepOutput:
        broken = not bool(torch.isfinite(queries).all())
        with mixed_statistics(layers, 0.0, broken=broken):
            return step(queries)

    return wrapped
