"""BN adaptation: the batch's statistics in BatchNorm layers (Schneider et al., NeurIPS 2020)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor

from methods.base import Method, MethodCard, NotApplicable, Setup, StepOutput
from methods.batch_norm import batch_norms, mixed_statistics
from methods.centring import sound_rows
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
        alone="counts as one query against prior; layers that see one value per channel keep the "
        "source's",
        knob="prior",
    )
    Options: ClassVar[type] = BnAdaptOptions

    def __init__(self, setup: Setup, options: Any = None) -> None:
        super().__init__(setup, options)
        self.layers = batch_norms(self.encoder)
        if not self.layers:
            raise NotApplicable(
                f"bn_adapt changes the statistics of BatchNorm layers; the query encoder "
                f"{type(self.encoder).__name__} has none (a ResNet has)"
            )

    @torch.no_grad()
    def step(self, queries: Tensor) -> StepOutput:
        """Scores one batch with mixed statistics."""
        sound = sound_rows(queries.flatten(1))
        embeddings = self.gallery.new_full((len(queries), self.gallery.shape[1]), torch.nan)
        count, log = int(sound.sum()), {}
        if count > 0:
            share = log["source_share"] = self.options.prior / (self.options.prior + count)
            with mixed_statistics(self.layers, share):
                embeddings[sound] = self.encoder(queries[sound])
        return StepOutput(self.score(embeddings), embeddings, log)
