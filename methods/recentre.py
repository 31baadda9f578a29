"""Training-free: the mean of the queries is moved onto the mean of the gallery."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor

from methods.base import Method, MethodCard, Setup, StepOutput
from methods.centring import moved, sound_mean, sound_rows
from methods.options import check_options, option


@dataclass(frozen=True, slots=True)
class RecentreOptions:
    """Options of recentre."""

    strength: float = option(
        1.0, "how far the queries move: 0: not at all, 1: mean onto mean", minimum=0, maximum=1000
    )
    center: str = option(
        "batch",
        "mean of this batch, or of all queries so far (stream)",
        choices=("batch", "stream"),
    )

    def __post_init__(self) -> None:
        check_options(self)


class Recentre(Method):
    """z' = normalise(z + strength * (mean of the gallery - mean of the queries)).

    Much of a query shift is a common offset of all queries; this removes it without training. The
    mean of a single query is that query, so with ``center="batch"`` a batch of one is left alone.
    """

    card = MethodCard(
        name="recentre",
        title="Recentre",
        summary="training-free: the batch's query mean is moved onto the gallery mean",
        paper="none",
        trains=False,
        approximate="none",
        repository="none",
        passes="1 f",
        alone="left where it is; with center=stream from the second query on, the mean of all so "
        "far moves it",
        knob="strength",
    )
    Options: ClassVar[type] = RecentreOptions

    def __init__(self, setup: Setup, options: Any = None) -> None:
        super().__init__(setup, options)
        self.use_gallery(self.gallery)
        self.reset()

    def use_gallery(self, gallery: Tensor) -> None:
        """The queries to come are moved onto this gallery's mean; those seen stay known."""
        super().use_gallery(gallery)
        self.gallery_mean = gallery.mean(dim=0)

    def reset(self) -> None:
        """Forgets the queries seen so far."""
        self._seen = RunningMean(self.gallery_mean)

    @torch.no_grad()
    def step(self, queries: Tensor) -> StepOutput:
        """Moves one batch's embeddings and scores them."""
        embeddings = self.embed(queries)
        mean, count = self._center(embeddings)
        offset = self.gallery_mean - mean
        if count > 1:
            embeddings = moved(embeddings, self.options.strength * offset)
        scores = self.score(embeddings)
        gap = float(offset.norm())  # read last: a GPU has all of the above in hand by then
        return StepOutput(scores, embeddings, {"batch_gap": gap} if math.isfinite(gap) else {})

    def _center(self, embeddings: Tensor) -> tuple[Tensor, int]:
        """The mean to be moved, and of how many queries it is."""
        if self.options.center == "batch":
            return sound_mean(embeddings), len(embeddings)
        self._seen.add(embeddings)
        return self._seen.value(), self._seen.count


class RunningMean:
    """Mean of all rows seen so far; those that are not finite do not count."""

    def __init__(self, like: Tensor) -> None:
        self._sum = torch.zeros_like(like)
        self.count = 0

    def add(self, rows: Tensor) -> None:
        """Takes (B, D) rows into the mean."""
        sound = sound_rows(rows)
        self._sum = self._sum + torch.where(sound[:, None], rows.detach(), 0.0).sum(dim=0)
        self.count += int(sound.sum())

    def value(self) -> Tensor:
        """(D,); zero before the first row."""
        return self._sum / max(self.count, 1)
