"""One side of a dual encoder of transformers, found by running it, as a query encoder."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from math import prod
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from benchmark.backbones.base import Staged
from benchmark.errors import WeightsError
from methods.base import QueryEncoder

_NEAR = 1e-4  # of unit rows: what rounding moves when padding is cut


Prepare = Staged | Callable[[Any], Mapping[str, Tensor]]
"""Raw item -> a model's inputs; ``Staged`` where there is but one."""


class PackedTower(QueryEncoder):
    """Pictures or sounds through one of a model's functions; all of its part is adaptable.

    ``forward`` takes batches of what ``prepared`` gives: several inputs of an item travel as one
    float32 row.

    Args:
        model: the part that the function needs.
        function: the name of ``get_..._features``.
        example: inputs of a batch of one.
    """

    def __init__(self, model: nn.Module, function: str, example: Mapping[str, Tensor]) -> None:
        super().__init__()
        self.model, self.function = model, function
        self.shapes = {name: (value.shape[1:], value.dtype) for name, value in example.items()}

    def prepared(self, prepare: Prepare) -> Callable[[Any], Tensor]:
        """Raw item -> one tensor: the only input, or all of them in one row."""
        if isinstance(prepare, Staged):
            return prepare

        def packed(item: Any) -> Tensor:
            found = prepare(item)
            if len(self.shapes) == 1:
                return found[next(iter(self.shapes))]
            return torch.cat([found[name].reshape(-1).to(torch.float32) for name in self.shapes])

        return packed

    def forward(self, batch: Tensor) -> Tensor:
        if len(self.shapes) == 1:
            return features(self.model, self.function, {name: batch for name in self.shapes})
        found, start = {}, 0
        for name, (shape, dtype) in self.shapes.items():
            part = batch[:, start : start + prod(shape)].reshape(len(batch), *shape)
            found[name] = part if dtype == torch.float32 else part.round().to(dtype)
            start += prod(shape)
        return features(self.model, self.function, found)


class TextFeatures(QueryEncoder):
    """Texts through ``get_text_features``; ``forward`` takes (B, k, L) int64, k inputs of L tokens.

    A batch is cut after its longest text where that leaves embeddings as they are, which is tried
    out on one text.
    """

    def __init__(self, model: nn.Module, example: Mapping[str, Tensor]) -> None:
        super().__init__()
        self.model, self.names = model, tuple(example)
        self.trims = "attention_mask" in self.names and self._may_trim(example)

    def forward(self, tokens: Tensor) -> Tensor:
        rows = {name: tokens[:, place] for place, name in enumerate(self.names)}
        return features(self.model, "get_text_features", rows)

    def trimmed(self, tokens: Tensor) -> Tensor:
        """Cuts (B, k, L) tokens after the longest text of the batch, where that is exact."""
        if not self.trims or not len(tokens):
            return tokens
        mask = tokens[:, self.names.index("attention_mask")]
        return tokens[:, :, : int(mask.sum(dim=1).max())]

    @torch.no_grad()
    def _may_trim(self, example: Mapping[str, Tensor]) -> bool:
        tokens = torch.stack(list(example.values()), dim=1)
        mask = example["attention_mask"][0]
        length = int(mask.sum())
        if not mask[:length].all():  # padded on the left
            return False
        return bool((self(tokens) - self(tokens[:, :, :length])).abs().max() < _NEAR)


def features(model: Any, function: str, inputs: Mapping[str, Tensor]) -> Tensor:
    """(B, D) float32 unit rows of one of a model's ``get_..._features``.

    Raises:
        WeightsError: it gives something else than one row for each input.
    """
    found = getattr(model, function)(**inputs)
    rows = found if isinstance(found, Tensor) else found.pooler_output
    if not isinstance(rows, Tensor) or rows.ndim != 2:
        shape = tuple(rows.shape) if isinstance(rows, Tensor) else type(rows).__name__
        raise WeightsError(
            f"{function} of a {type(model).__name__} gives {shape}; expected one row for each input"
        )
    return F.normalize(rows.float(), dim=-1)


def own_part(model: nn.Module, function: str, example: Mapping[str, Tensor]) -> nn.Module:
    """A copy of a model with nothing but what one of its functions uses.

    What is used is found by running it: modules that are called, parameters that get a gradient.

    Args:
        model: the whole model; left as it is.
        function: the name of ``get_..._features``.
        example: inputs of a batch of one.
    """
    fresh = copy.deepcopy(model).eval()
    called: set[nn.Module] = set()
    handles = [
        module.register_forward_pre_hook(lambda module, _: called.add(module))
        for module in fresh.modules()
    ]
    parameters = dict(fresh.named_parameters())
    for parameter in parameters.values():
        parameter.requires_grad_(True)
    with torch.enable_grad():
        total = features(fresh, function, example).sum()
        found = torch.autograd.grad(total, list(parameters.values()), allow_unused=True)
    for handle in handles:
        handle.remove()
    used = {id(p) for p, g in zip(parameters.values(), found, strict=True) if g is not None}
    for name, parameter in list(fresh.named_parameters(recurse=False)):
        if id(parameter) not in used:  # the logit scale
            setattr(fresh, name, None)
    _prune(fresh, called, used)
    return fresh


def _prune(module: nn.Module, called: set[nn.Module], used: set[int]) -> None:
    for name, child in list(module.named_children()):
        if called.isdisjoint(child.modules()) and not any(
            id(parameter) in used for parameter in child.parameters()
        ):
            if any(True for _ in child.parameters()):
                setattr(module, name, nn.Identity())
        else:
            _prune(child, called, used)
