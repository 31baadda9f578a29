"""Nearest-neighbour normalisation: from each item, the mean of its best similarities is taken."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from methods.bank import BANK_SEES, BankMethod, BankOptions
from methods.base import MethodCard
from methods.options import option


@dataclass(frozen=True, slots=True)
class NNNOptions(BankOptions):
    """Options of nearest-neighbour normalisation."""

    k: int = option(128, "bank queries nearest to an item that count", minimum=1)
    weight: float = option(0.75, "weight of their mean similarity", minimum=0)


class NNN(BankMethod):
    """s_ij - weight * mean of the k largest b_mj over the bank; all of them where it has fewer.

    The bank is the k largest similarities of each item, (N, k): 12 MB for 25,000 items.
    """

    card = MethodCard(
        name="nnn",
        title="NNN",
        summary="training-free: nearest-neighbour normalisation (Chowdhury et al., EMNLP 2024)",
        paper="Chowdhury et al., Nearest Neighbor Normalization Improves Multimodal Retrieval, "
        "EMNLP 2024",
        trains=False,
        approximate="by default the bank is the stream's queries, not a training set; while it "
        "holds fewer than k queries all count",
        repository="https://github.com/multimodal-interpretability/nnn",
        sees=BANK_SEES,
        passes="1 f",
        alone="a bank of itself alone leaves the order as it is",
        knob="weight",
    )
    Options: ClassVar[type] = NNNOptions

    def observe(self, bank: Tensor | None, embeddings: Tensor, similarities: Tensor) -> Tensor:
        """(N, at most k) the largest similarities of each item, in descending order."""
        found = similarities.T
        if bank is not None:
            found = torch.cat([bank, found], dim=1)
        return found.topk(min(self.options.k, found.shape[1]), dim=1).values

    def rescore(self, similarities: Tensor, bank: Tensor) -> Tensor:
        """The similarities less each item's bias."""
        return similarities - self.options.weight * bank.mean(dim=1)
