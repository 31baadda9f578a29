"""Which normalisation layers of a query tower adapt, and which are left out."""

from __future__ import annotations

from collections import Counter

from torch import nn

from methods.base import QueryEncoder
from methods.parameters import NORM_TYPES, is_norm

ADAPTS = "adapts"
OUTSIDE = "no: outside the adaptable part"
PLAIN = "no: it has no parameters"


def norm_layers(tower: QueryEncoder) -> list[tuple[str, str, int, int]]:
    """The normalisation layers of a tower under ``adapt=norm``, by class.

    Returns:
        Name of the class, ``ADAPTS`` or why they are left out, layers, numbers in their parameters.
    """
    inside = {id(parameter) for parameter in tower.adaptable.parameters()}
    layers: Counter[tuple[str, str]] = Counter()
    scalars: Counter[tuple[str, str]] = Counter()
    for layer in tower.modules():
        if not is_norm(layer) and not _bare(layer):
            continue
        own = list(layer.parameters(recurse=False))
        fate = PLAIN if not own else ADAPTS if id(own[0]) in inside else OUTSIDE
        key = type(layer).__name__, fate
        layers[key] += 1
        scalars[key] += sum(parameter.numel() for parameter in own)
    return [(*key, count, scalars[key]) for key, count in layers.items()]


def _bare(layer: nn.Module) -> bool:
    """Whether it normalises without parameters (frozen BatchNorm keeps its own as buffers)."""
    named = type(layer).__name__.lower().endswith(("norm", "norm1d", "norm2d"))
    return isinstance(layer, NORM_TYPES) or (named and not any(True for _ in layer.parameters()))
