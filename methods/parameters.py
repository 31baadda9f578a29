"""Which parameters may adapt, and how the source state is kept and brought back."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from methods.base import MethodError, QueryEncoder

NORM_TYPES: tuple[type[nn.Module], ...] = (nn.LayerNorm, nn.RMSNorm, nn.GroupNorm)
"""Normalisation layers that treat each query on its own, so that their affine part may adapt."""

ADAPT_CHOICES = ("norm", "all")


def norm_parameters(module: nn.Module) -> dict[str, nn.Parameter]:
    """Weight and bias of all normalisation layers of a module, chosen by type, by name in it."""
    return {
        f"{path}.{name}" if path else name: parameter
        for path, layer in module.named_modules()
        if isinstance(layer, NORM_TYPES)
        for name, parameter in layer.named_parameters(recurse=False)
    }


def select_parameters(encoder: QueryEncoder, adapt: str = "norm") -> dict[str, nn.Parameter]:
    """Lets the chosen parameters of ``encoder.adaptable`` have gradients, and freezes all others.

    Args:
        encoder: the query tower.
        adapt: "norm" (normalisation layers' affine part, by type) or "all".

    Returns:
        The adapted parameters by their names in ``encoder``, in the encoder's order.

    Raises:
        MethodError: there is nothing to adapt.
    """
    part = encoder.adaptable
    chosen = norm_parameters(part) if adapt == "norm" else dict(part.named_parameters())
    wanted = {id(parameter) for parameter in chosen.values()}
    adapted = {n: p for n, p in encoder.named_parameters() if id(p) in wanted}
    if not adapted:
        kinds = ", ".join(kind.__name__ for kind in NORM_TYPES)
        raise MethodError(
            f"the query encoder {type(encoder).__name__} has no parameters for adapt={adapt!r}; "
            f"'norm' needs a layer of type {kinds} with affine parameters, 'all' any parameter "
            "inside encoder.adaptable"
        )
    for parameter in encoder.parameters():
        parameter.requires_grad_(id(parameter) in wanted)
    return adapted


class Snapshot:
    """A copy of a module's parameters and buffers, to restore them bit for bit."""

    def __init__(self, module: nn.Module) -> None:
        self.parameters = {n: p.detach().clone() for n, p in module.named_parameters()}
        self.buffers = {n: b.detach().clone() for n, b in module.named_buffers()}

    @torch.no_grad()
    def restore(self, module: nn.Module) -> None:
        """Writes the copy back into the same module and drops its gradients."""
        for name, parameter in module.named_parameters():
            parameter.copy_(self.parameters[name])
            parameter.grad = None
        for name, buffer in module.named_buffers():
            buffer.copy_(self.buffers[name])


def all_finite(tensors: list[Tensor]) -> Tensor:
    """A boolean scalar on the device: no NaN and no infinity anywhere."""
    return torch.stack([torch.isfinite(tensor).all() for tensor in tensors]).all()
