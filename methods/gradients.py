"""Geometry of two gradients: angle, ProGrad's projection, PCGrad, the orthogonal part.

A gradient is a sequence of tensors, one per parameter, with None where a parameter takes no part;
or of one tensor, (B, D), that of the loss for a batch of embeddings.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

Gradients = Sequence[Tensor | None]
GRANULARITIES = ("global", "per_tensor", "per_row")
"""One long vector; each tensor on its own; each row of each tensor on its own."""


def flatten(gradients: Gradients, like: Gradients | None = None) -> Tensor:
    """One vector; a None counts as zeros of its partner's shape, a pair of None is left out."""
    pieces = []
    for own, other in zip(gradients, like or gradients, strict=True):
        if own is not None:
            pieces.append(own.reshape(-1))
        elif other is not None:
            pieces.append(torch.zeros_like(other).reshape(-1))
    if not pieces:
        raise ValueError("a gradient without any tensor has no direction")
    return torch.cat(pieces)


def unflatten(vector: Tensor, like: Sequence[Tensor]) -> list[Tensor]:
    """What ``flatten`` joined, as tensors of these shapes."""
    pieces = vector.split([tensor.numel() for tensor in like])
    return [piece.view(tensor.shape) for piece, tensor in zip(pieces, like, strict=True)]


def on_present(
    gradients: Gradients, change: Callable[[list[Tensor]], Sequence[Tensor]]
) -> list[Tensor | None]:
    """One call for all tensors that are there, which is one kernel of a GPU; None stays None."""
    present = [gradient for gradient in gradients if gradient is not None]
    changed = iter(change(present) if present else ())
    return [None if gradient is None else next(changed) for gradient in gradients]


def cosine(first: Gradients, second: Gradients) -> Tensor:
    """Cosine between two gradients over all parameters; NaN where one of them is zero."""
    a, b = flatten(first, second), flatten(second, first)
    (unit_a, usable_a), (unit_b, usable_b) = _unit(a), _unit(b)
    value = _dot(unit_a, unit_b).clamp(-1, 1)
    return torch.where(usable_a & usable_b, value, torch.nan).squeeze()


def angle(first: Gradients, second: Gradients) -> Tensor:
    """Angle between two gradients in degrees, 0 to 180; NaN where one of them is zero."""
    return torch.rad2deg(torch.arccos(cosine(first, second)))


def prograd(
    specific: Gradients, general: Gradients, *, strength: float = 1.0, granularity: str = "global"
) -> list[Tensor | None]:
    """ProGrad's projection (Zhu et al., ICCV 2023).

    Where ``specific . general < 0``: specific - strength * (specific . general / ||general||^2)
    general; otherwise, or where ``general`` is zero or not finite, ``specific`` unchanged.

    Args:
        specific: gradient of the adaptation objective.
        general: gradient whose descent keeps general knowledge.
        strength: lambda; 1 removes the conflicting part entirely.
        granularity: one of ``GRANULARITIES``.
    """

    def project(a: Tensor, b: Tensor) -> Tensor:
        return _without_conflict(a, b, strength)

    return _pairwise(project, specific, general, granularity)


def orthogonal(
    specific: Gradients, general: Gradients, *, strength: float = 1.0, granularity: str = "global"
) -> list[Tensor | None]:
    """The part of ``specific`` at right angles to ``general``, whether they conflict or agree.

    The same as ``prograd`` where they conflict; elsewhere it leaves out what they have in common.
    """

    def project(a: Tensor, b: Tensor) -> Tensor:
        direction, _ = _unit(b)
        return a - strength * _dot(a, direction) * direction

    return _pairwise(project, specific, general, granularity)


def pcgrad(
    first: Gradients, second: Gradients, *, reduction: str = "sum", granularity: str = "global"
) -> list[Tensor | None]:
    """PCGrad (Yu et al., NeurIPS 2020) for two gradients.

    Each loses its component against the other (if they conflict); the results are combined. A
    ``second`` that is not finite counts as zero.

    Args:
        first: one gradient.
        second: the other.
        reduction: "sum" (the paper) or "mean".
        granularity: one of ``GRANULARITIES``.
    """
    share = 1.0 if reduction == "sum" else 0.5

    def combine(a: Tensor, b: Tensor) -> Tensor:
        _, usable = _unit(b)
        b = torch.where(usable, b, 0.0)
        return share * (_without_conflict(a, b, 1.0) + _without_conflict(b, a, 1.0))

    return _pairwise(combine, first, second, granularity)


COMBINATIONS: dict[str, Callable[..., list[Tensor | None]]] = {
    "prograd": prograd,
    "orthogonal": orthogonal,
    "pcgrad": lambda specific, general, *, strength, granularity: pcgrad(
        specific, general, granularity=granularity
    ),
}
"""Ways to make one gradient of two, by name; pcgrad has no strength."""


def _unit(vectors: Tensor) -> tuple[Tensor, Tensor]:
    """The direction of each row, and whether it has one; zero where its length is 0 or not finite.

    A single vector is one row.
    """
    length = vectors.norm(dim=-1, keepdim=True)
    usable = (length > 0) & (length < torch.inf)
    return torch.where(usable, vectors / torch.where(usable, length, 1.0), 0.0), usable


def _dot(first: Tensor, second: Tensor) -> Tensor:
    return (first * second).sum(dim=-1, keepdim=True)


def _without_conflict(vector: Tensor, other: Tensor, strength: float) -> Tensor:
    direction, _ = _unit(other)
    return vector - strength * _dot(vector, direction).clamp_max(0) * direction


def _pairwise(
    operation: Callable[[Tensor, Tensor], Tensor],
    first: Gradients,
    second: Gradients,
    granularity: str,
) -> list[Tensor | None]:
    if granularity != "global":
        return [
            None if a is None and b is None else _apart(operation, a, b, granularity)
            for a, b in zip(first, second, strict=True)
        ]
    joined = operation(flatten(first, second), flatten(second, first))
    shapes = [a if a is not None else b for a, b in zip(first, second, strict=True)]
    return on_present(shapes, lambda present: unflatten(joined, present))


def _apart(
    operation: Callable[[Tensor, Tensor], Tensor],
    first: Tensor | None,
    second: Tensor | None,
    granularity: str,
) -> Tensor:
    shape = _either(first, second)
    a, b = flatten([first], [second]), flatten([second], [first])
    if granularity == "per_row":
        a, b = a.view(shape.shape), b.view(shape.shape)
    return operation(a, b).view_as(shape)


def _either(a: Tensor | None, b: Tensor | None) -> Tensor:
    tensor = a if a is not None else b
    assert tensor is not None
    return tensor
