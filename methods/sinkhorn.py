"""Sinkhorn normalisation: hubs are items that would take more than their share of a bank."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from methods.bank import BANK_SEES, BankMethod, BankOptions
from methods.base import MethodCard
from methods.options import option


@dataclass(frozen=True, slots=True)
class SinkhornOptions(BankOptions):
    """Options of Sinkhorn normalisation."""

    tau: float = option(0.01, "temperature of the transport plan", above=0)
    iterations: int = option(10, "scalings of queries and items in turn", minimum=1)
    bank_size: int = option(512, "latest queries that are kept", minimum=1)


class Sinkhorn(BankMethod):
    """s_ij - h_j, with h the item potentials of a transport plan from the bank to the gallery.

    The plan exp(-(1 - b) / tau), scaled by v over queries and u over items, gives each query
    1 / M and each item 1 / N; h_j = -tau ln u_j. The bank is the similarities of the latest
    queries, (M, N), and the plan is solved again for every batch.
    """

    card = MethodCard(
        name="sinkhorn",
        title="Sinkhorn",
        summary="training-free: Sinkhorn normalisation of a bank (Pan et al., ACM MM 2025)",
        paper="Pan et al., Hubness Reduction with Dual Bank Sinkhorn Normalization for Cross-Modal "
        "Retrieval, ACM MM 2025, arXiv 2508.02538",
        version=2,
        trains=False,
        approximate="the single-bank form (SN); by default the bank is the stream's queries, "
        "the latest bank_size of them, not a training set",
        repository="https://github.com/ppanzx/DBSN",
        sees=BANK_SEES,
        passes="1 f",
        alone="a bank of itself alone would make all items tie: scored like the source",
        knob="tau",
    )
    Options: ClassVar[type] = SinkhornOptions
    speaks_alone: ClassVar[bool] = False

    def observe(
        self, bank: tuple[Tensor, Tensor] | None, embeddings: Tensor, similarities: Tensor
    ) -> tuple[Tensor, Tensor]:
        """(M, N) similarities of the latest queries, and (N,) potentials of the items."""
        kept = similarities if bank is None else torch.cat([bank[0], similarities])
        kept = kept[-self.options.bank_size :]
        return kept, potentials(kept, self.options.tau, self.options.iterations)

    def rescore(self, similarities: Tensor, bank: tuple[Tensor, Tensor]) -> Tensor:
        """The similarities less the potentials."""
        return similarities - bank[1]


def potentials(similarities: Tensor, tau: float, iterations: int) -> Tensor:
    """h_j = -tau ln u_j of the bank's transport plan; only differences between items matter.

    Args:
        similarities: (M, N) of bank queries and items.
        tau: temperature.
        iterations: of scaling the queries (v), then the items (u), from u = 1.
    """
    # exp(-1 / tau) and each row's largest entry are left out: v takes such factors up exactly, so
    # that u is the same. In float64 the rest does not underflow for tau above 0.003.
    wide = similarities.double()
    top = wide.amax(dim=1, keepdim=True)
    plan = ((wide - top) / tau).clamp_min(-700).exp()
    queries, items = plan.shape
    u = plan.new_ones(items)
    for _ in range(iterations):
        v = 1 / (queries * (plan @ u))
        u = 1 / (items * (plan.T @ v))
    return (-tau * u.log()).to(similarities.dtype)
