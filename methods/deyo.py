"""DeYO: entropy of queries that a perturbation makes unsure (Lee et al., ICLR 2024), ported."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from methods.adapt import AdaptedMethod, AdaptOptions, Forward
from methods.base import MethodCard, MethodError
from methods.objectives import entropy, masked_mean, smallest_count
from methods.options import option
from methods.perturb import perturbed

SOFTENING = 0.1
"""Added to numerator and denominator in the weights behind TCR's tables."""


@dataclass(frozen=True, slots=True)
class DeyoOptions(AdaptOptions):
    """Options of DeYO; the margins are the paper's."""

    form: str = option(
        "paper",
        "margins in units of ln(gallery size) (paper), or parts of the batch and other weights, as "
        "behind TCR's tables",
        choices=("paper", "tcr"),
    )
    entropy_margin: float = option(
        0.5, "tau_ent: a query is reliable below it; for form=tcr a part of the batch", above=0
    )
    weight_margin: float = option(
        0.4, "Ent0 in the weight; for form=tcr a part of the selected queries", above=0
    )
    plpd_margin: float = option(
        0.2, "tau_plpd: the perturbation must lower the top item's probability by more"
    )
    perturbation: str = option(
        "auto",
        "how a query is perturbed: 'auto' = 4 x 4 patches (or a text's tokens) in random order, "
        "'pixels', 'occlusion', or 'none' = not at all, as in TCR's text rows",
        choices=("auto", "pixels", "occlusion", "none"),
    )

    def __post_init__(self) -> None:
        AdaptOptions.__post_init__(self)
        for name in ("entropy_margin", "weight_margin"):
            if self.form == "tcr" and getattr(self, name) > 1:
                raise MethodError(
                    f"option {name!r} is {getattr(self, name)!r}; with form=tcr it is a part of "
                    "the queries, so expected at most 1"
                )


class Deyo(AdaptedMethod):
    """Weighted entropy of queries that are confident for what a perturbation destroys.

    PLPD, the pseudo-label's probability difference, says how much of the confidence in the top
    item goes where the query's structure is destroyed and its local detail left. Pictures have
    their patches shuffled, as published. For texts nothing is: ours is the order of the tokens,
    which hurts a bag of words little; a difference in results may come from that.
    """

    card = MethodCard(
        name="deyo",
        title="DeYO",
        summary="entropy of queries that depend on their structure (Lee et al., ICLR 2024)",
        paper="Lee et al., Entropy is not Enough for Test-Time Adaptation: From the Perspective of "
        "Disentangled Factors, ICLR 2024",
        approximate="retrieval port: LayerNorm, no layer left out, AdamW, 3 steps; texts have "
        "their tokens shuffled (ours: no text form is published); the whole batch is perturbed, "
        "not only its reliable part; pixels have another order in each query; the form "
        "behind TCR's tables is form=tcr",
        repository="https://github.com/Jhyun17/DeYO",
        passes="6 f, 3 b",
        alone="learns from itself where it is selected; with form=tcr never",
        knob="entropy_margin",
    )
    Options: ClassVar[type] = DeyoOptions

    def objective(self, forward: Forward) -> Tensor:
        """mean over U of w_i H_i, the weight constant; nothing to learn where U is empty."""
        logits = forward.similarities / self.temperature
        entropies = entropy(logits)
        plpd = self.plpd(forward, logits.detach().softmax(dim=1))
        selected, weights = self.select(entropies.detach(), plpd)
        self.log.add("selected", selected.sum())
        return masked_mean(weights * entropies, selected)

    @torch.no_grad()
    def plpd(self, forward: Forward, predictions: Tensor) -> Tensor:
        """(B,) how much the perturbation lowers the top item's probability, constant.

        Args:
            forward: the pass over the batch as it came.
            predictions: its (B, N) probabilities.
        """
        if self.options.perturbation == "none":
            return torch.zeros_like(predictions[:, 0])
        embeddings = self.place(self.encoder(self.perturb(forward.queries)))
        after = (embeddings @ self.gallery.T / self.temperature).softmax(dim=1)
        top = predictions.argmax(dim=1, keepdim=True)
        difference = (predictions.gather(1, top) - after.gather(1, top)).squeeze(1)
        self.log.add("plpd", difference.mean())
        return difference

    def perturb(self, queries: Tensor) -> Tensor:
        """The same queries with their structure destroyed."""
        return perturbed(self.encoder, queries, self.setup.generator, self.options.perturbation)

    def select(self, entropies: Tensor, plpd: Tensor) -> tuple[Tensor, Tensor]:
        """Which queries count, (B,) bool, and their weights, (B,).

        Args:
            entropies: (B,) nats, constant.
            plpd: (B,) probability differences, constant.
        """
        options, nats = self.options, math.log(len(self.gallery))
        if options.form == "tcr":
            count = smallest_count(options.entropy_margin, len(entropies))
            reliable = entropies < entropies.kthvalue(count).values
        else:
            reliable = entropies < options.entropy_margin * nats
        self.log.add("reliable", reliable.sum())
        selected = reliable & (plpd > options.plpd_margin)
        if options.form == "paper":
            return selected, (options.weight_margin * nats - entropies).exp() + plpd.exp()
        margin = smallest_of(entropies, selected, options.weight_margin)
        certain = 1 / ((entropies - margin).exp() + SOFTENING)
        return selected, certain + plpd.exp() + SOFTENING


def smallest_of(values: Tensor, selected: Tensor, part: float) -> Tensor:
    """The int(part * n)-th smallest of the n selected values, infinity where that is none."""
    ordered = torch.where(selected, values, torch.inf).sort().values
    position = (part * selected.sum().double()).long() - 1
    found = ordered.gather(0, position.clamp_min(0)[None])[0]
    return torch.where(position < 0, torch.inf, found)
