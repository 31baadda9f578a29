"""QB-Norm: the inverted softmax only where the top item is a hub (dynamic inverted softmax)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from methods.bank import BANK_HELP, BANK_SEES, BANKS, BankMethod
from methods.base import MethodCard
from methods.inverted_softmax import InvertedSoftmaxOptions, log_sums
from methods.options import option


@dataclass(frozen=True, slots=True)
class QBNormOptions(InvertedSoftmaxOptions):
    """Options of QB-Norm; defaults are the repository's."""

    bank: str = option("earlier_queries", BANK_HELP, choices=BANKS)
    k: int = option(1, "an item is activated if it is in the top k of a bank query", minimum=1)


class QBNorm(BankMethod):
    """Queries whose top item is activated get the inverted softmax, the others keep s_ij.

    A query in the bank activates its own top item. So the bank is the earlier batches' by default:
    with the batch itself in it, or the whole stream, the method is the inverted softmax.
    """

    card = MethodCard(
        name="qbnorm",
        title="QB-Norm",
        summary="training-free: inverted softmax where the top item is a hub (Bogolin et al., CVPR "
        "2022)",
        paper="Bogolin et al., Cross Modal Retrieval with Querybank Normalisation, CVPR 2022",
        version=2,
        trains=False,
        approximate="by default the bank is the stream's queries, not a training set; the first "
        "batch has no bank yet and keeps its similarities",
        repository="https://github.com/ioanacroi/qb-norm",
        sees=BANK_SEES,
        passes="1 f",
        alone="the first query has no bank yet: scored like the source",
        knob="beta",
    )
    Options: ClassVar[type] = QBNormOptions
    speaks_alone: ClassVar[bool] = False

    def observe(
        self, bank: tuple[Tensor, Tensor] | None, embeddings: Tensor, similarities: Tensor
    ) -> tuple[Tensor, Tensor]:
        """(N,) logarithms of the sums, and (N,) which items are activated."""
        sums, active = bank or (None, torch.zeros_like(similarities[0], dtype=torch.bool))
        top = similarities.topk(min(self.options.k, similarities.shape[1]), dim=1).indices
        hit = active.index_fill(0, top.flatten(), True)
        return log_sums(sums, similarities, self.options.beta), hit

    def rescore(self, similarities: Tensor, bank: tuple[Tensor, Tensor]) -> Tensor:
        """The dynamic inverted softmax: fit to rank items for a query, not queries for an item."""
        sums, active = bank
        inverted = (self.options.beta * similarities - sums).exp()
        return torch.where(active[similarities.argmax(dim=1)][:, None], inverted, similarities)
