"""COME: conservative entropy minimisation (Zhang et al., ICLR 2025), ported to retrieval."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from methods.adapt import AdaptedMethod, AdaptOptions, Forward
from methods.base import MethodCard, MethodError
from methods.options import option

FLOOR = 1e-7
"""Added to every probability (official code)."""


@dataclass(frozen=True, slots=True)
class ComeOptions(AdaptOptions):
    """Options of COME."""

    prior: float | str = option(
        "gallery",
        "K, the weight of 'unknown' against exp(logits): the gallery's size (the paper's "
        "number of classes), or a number (1000 in the official code)",
        above=0,
    )

    def __post_init__(self) -> None:
        AdaptOptions.__post_init__(self)
        if isinstance(self.prior, str) and self.prior != "gallery":
            raise MethodError(
                f"option 'prior' is {self.prior!r}; expected a number above 0, or 'gallery'"
            )


class Come(AdaptedMethod):
    """Minimises the mean entropy of the opinions: beliefs in each item, and ignorance.

    The length of a query's logits counts as constant, so the loss cannot fall by making all
    logits larger.
    """

    card = MethodCard(
        name="come",
        title="COME",
        summary="entropy that allows for 'unknown' (Zhang et al., ICLR 2025)",
        paper="Zhang et al., COME: Test-time Adaption by Conservatively Minimizing Entropy, "
        "ICLR 2025",
        approximate="retrieval port: LayerNorm, AdamW, 3 steps; K is the gallery's size, as in "
        "the paper; the official code has 1000 (option); computed from logarithms, "
        "because exp(similarity / temperature) overflows",
        repository="https://github.com/BlueWhaleLab/COME",
        passes="3 f, 3 b",
        alone="learns from the entropy of its own opinion",
    )
    Options: ClassVar[type] = ComeOptions

    def objective(self, forward: Forward) -> Tensor:
        """mean_i of the entropy of (b_i1 ... b_iN, u_i)."""
        prior = self.options.prior
        weight = float(len(self.gallery) if prior == "gallery" else prior)
        return opinion_entropy(forward.similarities / self.temperature, weight).mean()


def opinion_entropy(logits: Tensor, prior: float) -> Tensor:
    """Entropy of beliefs exp(l_j) / (sum + K) and ignorance K / (sum + K); (B, N) -> (B,) nats.

    Args:
        logits: (B, N); the norm of each row is taken as constant.
        prior: K.
    """
    norm = logits.norm(dim=1, keepdim=True).clamp_min(torch.finfo(logits.dtype).tiny)
    ignorance = torch.full_like(logits[:, :1], math.log(prior))
    opinion = torch.cat([logits / norm * norm.detach(), ignorance], dim=1)
    probability = opinion.softmax(dim=1) + FLOOR
    return -(probability * probability.log()).sum(dim=1)
