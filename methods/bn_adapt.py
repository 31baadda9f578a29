"""BN adaptation: the batch's statistics in BatchNorm layers (Schneider et al., NeurIPS 2020)."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor
from torch.nn import functional
from torch.nn.modules.batchnorm import _BatchNorm

from methods.base import Method, MethodCard, NotApplicable, Setup, StepOutput
from methods.options import check_options, option


@dataclass(frozen=True, slots=True)
class BnAdaptOptions:
    """Options of BN adaptation."""

    prior: float = option(
        16.0,
        "N, how many queries the source's statistics count for; 0: the batch's alone",
        minimum=0,
    )

    def __post_init__(self) -> None:
        check_options(self)


class BnAdapt(Method):
    """Each BatchNorm layer uses (N source + B batch) / (N + B) of mean and variance.

    Nothing is kept of a batch: ``embed`` is the source model's. Towers without BatchNorm (ViT,
    text) have nothing to adapt, and their cells are skipped. Queries that are not finite take no
    part in the statistics.
    """

    card = MethodCard(
        name="bn_adapt",
        title="BN adapt",
        summary="training-free: batch statistics in BatchNorm towers (Schneider et al., 2020)",
        paper="Schneider et al., Improving robustness against common corruptions by covariate "
        "shift adaptation, NeurIPS 2020",
        trains=False,
        approximate="N is 16 as in MEMO's code; a layer that sees one value per channel keeps the "
        "source's statistics (the official code fails there)",
        repository="https://github.com/bethgelab/robustness",
        sees="the batch's queries, the gallery",
        passes="1 f",
    )
    Options: ClassVar[type] = BnAdaptOptions

    def __init__(self, setup: Setup, options: Any = None) -> None:
        super().__init__(setup, options)
        self.layers = [
            layer
            for layer in self.encoder.modules()
            if isinstance(layer, _BatchNorm) and layer.running_mean is not None
        ]
        if not self.layers:
            raise NotApplicable(
                f"bn_adapt changes the statistics of BatchNorm layers; the query encoder "
                f"{type(self.encoder).__name__} has none (a ResNet has)"
            )

    @torch.no_grad()
    def step(self, queries: Tensor) -> StepOutput:
        """Scores one batch with mixed statistics."""
        sound = torch.isfinite(queries).flatten(1).all(dim=1)
        embeddings = self.gallery.new_full((len(queries), self.gallery.shape[1]), torch.nan)
        count, log = int(sound.sum()), {}
        if count > 0:
            share = log["source_share"] = self.options.prior / (self.options.prior + count)
            with mixed_statistics(self.layers, share):
                embeddings[sound] = self.encoder(queries[sound])
        return StepOutput(self.score(embeddings), embeddings, log)


@contextmanager
def mixed_statistics(layers: list[Any], share: float) -> Iterator[None]:
    """BatchNorm layers that use both statistics while it lasts; nothing in them is changed.

    Args:
        layers: BatchNorm layers with running statistics, in eval mode.
        share: part of the source's statistics; the rest is the batch's.
    """

    def normalise(layer: Any, inputs: tuple[Tensor, ...], _output: Tensor) -> Tensor | None:
        (x,) = inputs
        if x.numel() == x.shape[1]:
            return None
        others = [axis for axis in range(x.ndim) if axis != 1]
        # The running variance is an unbiased estimate, so the batch's is too.
        variance, mean = torch.var_mean(x, dim=others, correction=1)
        return functional.batch_norm(
            x,
            share * layer.running_mean + (1 - share) * mean,
            share * layer.running_var + (1 - share) * variance,
            layer.weight,
            layer.bias,
            eps=layer.eps,
        )

    handles: list[Any] = [layer.register_forward_hook(normalise) for layer in layers]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()
