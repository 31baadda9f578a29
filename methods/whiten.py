"""Whitening: mean and covariance of the queries are moved onto those of the gallery."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor
from torch.nn import functional

from methods.bank import BANK_SEES, BankMethod, BankOptions
from methods.base import MethodCard, StepOutput
from methods.options import option
from methods.per_gallery import PerGallery

SMALLEST = 1e-6
"""Smallest variance of a direction, as a part of the largest: keeps the inverse root finite."""


@dataclass(frozen=True, slots=True)
class WhitenOptions(BankOptions):
    """Options of whitening."""

    prior: float = option(
        1.0,
        "weight of the gallery's covariance in the queries', as so many times D queries",
        minimum=0,
    )


@dataclass(frozen=True)
class Moments:
    """Sums over queries: how many, (D,) of their rows and (D, D) of their outer products."""

    count: int
    first: Tensor
    second: Tensor

    def covariance(self) -> Tensor:
        """(D, D), with 1 / count."""
        mean = self.first / self.count
        return self.second / self.count - torch.outer(mean, mean)


class Whiten(BankMethod):
    """z' = normalise(mean g + G^(1/2) Q^(-1/2) (z - mean z)), with covariances G and Q.

    Few queries say little about D x D covariances, so Q is (n C + k G) / (n + k) of the n queries'
    own C, with k = ``prior`` * D: first the mean moves alone, as in recentre, then the shape. One
    query has no mean but itself and is left alone.
    """

    card = MethodCard(
        name="whiten",
        title="Whiten",
        summary="training-free: the queries' mean and covariance are moved onto the gallery's",
        paper="none; whitening and re-colouring as in CORAL (Sun et al., AAAI 2016), there of "
        "source features",
        trains=False,
        approximate="none",
        repository="none",
        sees=BANK_SEES,
        passes="1 f",
        alone="a bank of itself alone has no mean but itself: scored like the source",
        knob="prior",
    )
    Options: ClassVar[type] = WhitenOptions

    def reset(self) -> None:
        """Empties the banks."""
        super().reset()
        self._of_gallery: PerGallery[tuple[Tensor, Tensor, Tensor]] = PerGallery()

    def observe(self, bank: Moments | None, embeddings: Tensor, similarities: Tensor) -> Moments:
        """The moments with these queries in them, in float64."""
        new = moments(embeddings)
        if bank is None:
            return new
        return Moments(bank.count + new.count, bank.first + new.first, bank.second + new.second)

    def answer(self, embeddings: Tensor, similarities: Tensor, bank: Moments) -> StepOutput:
        """The moved embeddings and their similarities."""
        if bank.count < 2:
            return StepOutput(similarities, embeddings)
        mean, covariance, root = self._gallery_facts()
        strength = self.options.prior * len(mean)
        mixed = (bank.count * bank.covariance() + strength * covariance) / (bank.count + strength)
        away = embeddings.double() - bank.first / bank.count
        placed = mean + away @ powered(mixed, -0.5) @ root
        placed = functional.normalize(placed, dim=1).to(embeddings.dtype)
        return StepOutput(self.score(placed), placed)

    def _gallery_facts(self) -> tuple[Tensor, Tensor, Tensor]:
        """Mean, covariance and its root, computed once for each gallery."""
        facts = self._of_gallery.get(self.gallery)
        if facts is None:
            found = moments(self.gallery)
            covariance = found.covariance()
            facts = found.first / found.count, covariance, powered(covariance, 0.5)
            self._of_gallery.set(self.gallery, facts)
        return facts


def moments(rows: Tensor) -> Moments:
    """The moments of (M, D) rows, in float64."""
    wide = rows.double()
    return Moments(len(rows), wide.sum(dim=0), wide.T @ wide)


def powered(covariance: Tensor, exponent: float) -> Tensor:
    """A power of a symmetric (D, D) matrix; tiny eigenvalues are lifted to ``SMALLEST``."""
    values, vectors = torch.linalg.eigh(covariance)
    floor = (SMALLEST * values[-1]).clamp_min(torch.finfo(values.dtype).tiny)
    return (vectors * values.clamp_min(floor) ** exponent) @ vectors.T
