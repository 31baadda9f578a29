"""Inverted softmax: an item's score is its share of what the bank's queries give it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from methods.bank import BANK_SEES, BankMethod, BankOptions
from methods.base import MethodCard
from methods.options import option


@dataclass(frozen=True, slots=True)
class InvertedSoftmaxOptions(BankOptions):
    """Options of the inverted softmax."""

    beta: float = option(
        20.0,
        "inverse temperature; above 40 the exponential can underflow in float32",
        above=0,
        maximum=40,
    )


class InvertedSoftmax(BankMethod):
    """exp(beta s_ij) / sum_m exp(beta b_mj), with b_mj the similarity of bank query m to item j.

    A hub is an item that many queries are near to; its denominator is large. The bank is one
    number for each item, the logarithm of the denominator.
    """

    card = MethodCard(
        name="inverted_softmax",
        title="Inverted softmax",
        summary="training-free: each item's softmax over a bank of queries (Smith et al., ICLR "
        "2017)",
        paper="Smith et al., Offline Bilingual Word Vectors, Orthogonal Transformations and the "
        "Inverted Softmax, ICLR 2017",
        version=2,
        trains=False,
        approximate="by default the bank is the stream's queries, not a training set",
        repository="https://github.com/yimuwangcs/Better_Cross_Modal_Retrieval",
        sees=BANK_SEES,
        passes="1 f",
        alone="a bank of itself alone would make all items tie: scored like the source",
        knob="beta",
    )
    Options: ClassVar[type] = InvertedSoftmaxOptions
    speaks_alone: ClassVar[bool] = False

    def observe(self, bank: Tensor | None, embeddings: Tensor, similarities: Tensor) -> Tensor:
        """(N,) ln sum_m exp(beta b_mj)."""
        return log_sums(bank, similarities, self.options.beta)

    def rescore(self, similarities: Tensor, bank: Tensor) -> Tensor:
        """The inverted softmax."""
        return (self.options.beta * similarities - bank).exp()


def log_sums(known: Tensor | None, similarities: Tensor, beta: float) -> Tensor:
    """(N,) ln of the sums over queries of exp(beta s), those known before included."""
    new = (beta * similarities).logsumexp(dim=0)
    return new if known is None else torch.logaddexp(known, new)
