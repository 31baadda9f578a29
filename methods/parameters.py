"""Which parameters may adapt, what moves them, and how the source state is brought back."""

from __future__ import annotations

import inspect
import math
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.instancenorm import _InstanceNorm
from torch.nn.utils import get_total_norm
from torch.optim import Optimizer

from methods.base import MethodError, QueryEncoder

NORM_TYPES: tuple[type[nn.Module], ...] = (
    *(nn.LayerNorm, nn.RMSNorm, nn.GroupNorm),
    *(_BatchNorm, _InstanceNorm),
)
"""Normalisation layers whose affine part may adapt; relatives are told by ``is_norm``."""

ADAPT_CHOICES = ("norm", "norm+bias", "last-block", "all")
"""What ``select_parameters`` can choose; "norm" is what TCR and REST adapt."""

_LIST_TYPES = (nn.ModuleList, nn.Sequential)


def is_norm(layer: nn.Module) -> bool:
    """Whether a layer normalises: by type, or a relative of another library.

    Such a relative (T5's layer norm, an RMSNorm) is called a norm, and its own parameters are one
    number for each channel; what merely contains a norm has parameters in its children.
    """
    if isinstance(layer, NORM_TYPES):
        return True
    own = list(layer.parameters(recurse=False))
    return (
        "norm" in type(layer).__name__.lower()
        and bool(own)
        and all(parameter.numel() == max(parameter.shape, default=1) for parameter in own)
        and not any(True for child in layer.children() for _ in child.parameters())
    )


def norm_parameters(module: nn.Module) -> dict[str, nn.Parameter]:
    """Weight and bias of all normalisation layers of a module, chosen by type, by name in it."""
    return {
        f"{path}.{name}" if path else name: parameter
        for path, layer in module.named_modules()
        if is_norm(layer)
        for name, parameter in layer.named_parameters(recurse=False)
    }


def bias_parameters(module: nn.Module) -> dict[str, nn.Parameter]:
    """Every bias of a module: parameters called ``bias``, or ``in_proj_bias`` and the like."""
    return {
        path: parameter
        for path, parameter in module.named_parameters()
        if (name := path.rpartition(".")[2]) == "bias" or name.endswith("_bias")
    }


def last_blocks(module: nn.Module) -> list[nn.Module]:
    """The last transformer block of every stack of blocks in a module, found by structure.

    A stack is an ``nn.ModuleList`` or ``nn.Sequential`` whose members are all of one class and all
    blocks: each holds a normalisation layer (by type) and at least two weight matrices beside it.
    Where the members of a stack are stages with stacks of their own, it is the last block of the
    last stage. Two towers side by side have a last block each, so they must not be kept in a list
    (but as attributes, or in an ``nn.ModuleDict``).
    """
    blocks = []
    for stack in _outermost_stacks(module):
        last: nn.Module = stack[len(stack) - 1]
        blocks += last_blocks(last) or [last]
    return blocks


def _outermost_stacks(module: nn.Module) -> list[nn.ModuleList | nn.Sequential]:
    if isinstance(module, _LIST_TYPES) and _is_stack(list(module)):
        return [module]
    return [stack for child in module.children() for stack in _outermost_stacks(child)]


def _is_stack(members: list[nn.Module]) -> bool:
    return len({type(member) for member in members}) == 1 and all(map(_is_block, members))


def _is_block(module: nn.Module) -> bool:
    """Whether a member of a list may be a block; a bare container is not one."""
    if isinstance(module, (*_LIST_TYPES, nn.ModuleDict)):
        return False
    if any(isinstance(layer, _BatchNorm) for layer in module.modules()):
        return False  # a stage of a convolutional tower
    norms = norm_parameters(module)
    matrices = [n for n, p in module.named_parameters() if n not in norms and p.ndim >= 2]
    return bool(norms) and len(matrices) >= 2


def select_parameters(encoder: QueryEncoder, adapt: str = "norm") -> dict[str, nn.Parameter]:
    """Lets the chosen parameters of ``encoder.adaptable`` have gradients, and freezes all others.

    Args:
        encoder: the query tower.
        adapt: "norm" (normalisation layers' affine part, by type), "norm+bias" (and every bias),
            "last-block" (all of the last transformer block, see ``last_blocks``) or "all".

    Returns:
        The adapted parameters by their names in ``encoder``, in the encoder's order.

    Raises:
        MethodError: there is nothing to adapt, or no such choice.
    """
    wanted = {id(parameter) for parameter in _chosen(encoder.adaptable, adapt)}
    adapted = {n: p for n, p in encoder.named_parameters() if id(p) in wanted}
    if not adapted:
        kinds = "LayerNorm, RMSNorm, GroupNorm, BatchNorm"
        raise MethodError(
            f"the query encoder {type(encoder).__name__} has no parameters for adapt={adapt!r}; "
            f"inside encoder.adaptable 'norm' needs a layer such as {kinds} with affine "
            "parameters, 'norm+bias' that or a bias, 'last-block' a list of transformer blocks of "
            "one class, 'all' any parameter"
        )
    for parameter in encoder.parameters():
        parameter.requires_grad_(id(parameter) in wanted)
    return adapted


def _chosen(part: nn.Module, adapt: str) -> list[nn.Parameter]:
    if adapt == "norm":
        return list(norm_parameters(part).values())
    if adapt == "norm+bias":
        return [*norm_parameters(part).values(), *bias_parameters(part).values()]
    if adapt == "last-block":
        return [parameter for block in last_blocks(part) for parameter in block.parameters()]
    if adapt == "all":
        return list(part.parameters())
    expected = ", ".join(map(repr, ADAPT_CHOICES))
    raise MethodError(f"there is no adapt={adapt!r}; expected one of {expected}")


class Snapshot:
    """A copy of a module's parameters and buffers, to restore them bit for bit."""

    def __init__(self, module: nn.Module) -> None:
        self.parameters = {n: p.detach().clone() for n, p in module.named_parameters()}
        self.buffers = {n: b.detach().clone() for n, b in module.named_buffers()}

    @torch.no_grad()
    def restore(self, module: nn.Module) -> None:
        """Writes the copy back into the same module and drops its gradients."""
        parameters, buffers = dict(module.named_parameters()), dict(module.named_buffers())
        for live, kept in ((parameters, self.parameters), (buffers, self.buffers)):
            if live:
                torch._foreach_copy_(list(live.values()), [kept[name] for name in live])
        for parameter in parameters.values():
            parameter.grad = None


def all_finite(tensors: list[Tensor]) -> Tensor:
    """A boolean scalar on the device: no NaN and no infinity anywhere.

    By their largest size, which is one kernel of a GPU for all tensors; tests of each were five
    for each.
    """
    return get_total_norm([tensor for tensor in tensors if tensor.numel()], math.inf) < math.inf


def root_mean_square(tensors: list[Tensor]) -> Tensor:
    """Of all their numbers together, a scalar on the device."""
    length = get_total_norm([tensor.detach() for tensor in tensors])
    return length / math.sqrt(sum(tensor.numel() for tensor in tensors))


def _plain(kind: type[Optimizer]) -> Any:
    """An optimiser of torch without its decorators for ``torch.compile``; it keeps its name.

    They import torch._dynamo, which takes 3.3 s of one core, three times as long as the source
    model's cell of the embedded default on two. Steps are never compiled here: only a method's
    encoder is.
    """
    step = inspect.unwrap(kind.step)
    bare = {"step": torch.no_grad()(step)}  # the decorator that is left out does this as well
    bare |= {
        name: inspect.unwrap(getattr(Optimizer, name)) for name in ("add_param_group", "zero_grad")
    }
    return type(kind.__name__, (kind,), bare)


def forget_moments(optimizer: Optimizer) -> None:
    """Steps and moments are 0 again, in the tensors that hold them: a few kernels of a GPU.

    A new optimiser would make them anew, two or three for each parameter.
    """
    states = list(optimizer.state.values())
    for name in states[0] if states else ():
        torch._foreach_zero_([state[name] for state in states])


Adam, AdamW, SGD = map(_plain, (torch.optim.Adam, torch.optim.AdamW, torch.optim.SGD))
