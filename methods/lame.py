"""LAME: predictions smoothed over neighbouring queries (Boudiaf et al., CVPR 2022)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor

from methods.base import Method, MethodCard, Setup, StepOutput
from methods.centring import sound_rows
from methods.options import check_options, option, temperature_of, temperature_option

ITERATIONS, TOLERANCE, FLOOR = 100, 1e-8, 1e-10
"""Most iterations, relative change of the energy that ends them, added to p (official code)."""


@dataclass(frozen=True, slots=True)
class LameOptions:
    """Options of LAME."""

    affinity: str = option(
        "rbf",
        "similarity between queries: 'rbf' (official default), 'knn' or 'linear'",
        choices=("rbf", "knn", "linear"),
    )
    neighbours: int = option(5, "for knn; for rbf the one whose distance is the width", minimum=1)
    symmetric: bool = option(False, "make the affinity symmetric")
    temperature: float | str = temperature_option(0.01)

    def __post_init__(self) -> None:
        check_options(self)


class Lame(Method):
    """Y minimises sum_i KL(y_i || p_i) - sum_ij a_ij y_i . y_j: alike queries, alike answers.

    Scores are ln Y, in the order of Y. In classification neighbours share a class; here they share
    an item only where several queries look for it, so on most sets the method has little to say.
    """

    card = MethodCard(
        name="lame",
        title="LAME",
        summary="training-free: predictions smoothed over neighbouring queries (CVPR 2022)",
        paper="Boudiaf et al., Parameter-free Online Test-time Adaptation, CVPR 2022",
        trains=False,
        approximate="retrieval port: the classes are the gallery's items; scores are ln Y; queries "
        "that are not finite are left out of the affinity",
        repository="https://github.com/fiveai/LAME",
        sees="the batch's queries, the gallery",
        passes="1 f",
        alone="keeps its order: it has no neighbours",
        knob="neighbours",
    )
    Options: ClassVar[type] = LameOptions

    def __init__(self, setup: Setup, options: Any = None) -> None:
        super().__init__(setup, options)
        self.temperature = temperature_of(self.options.temperature, setup)

    @torch.no_grad()
    def step(self, queries: Tensor) -> StepOutput:
        """Embeds a batch and smooths its predictions."""
        embeddings = self.embed(queries)
        sound = sound_rows(embeddings)
        clean = torch.where(sound[:, None], embeddings, 0.0)
        kernel = affinity(clean, self.options.affinity, self.options.neighbours)
        if self.options.symmetric:
            kernel = (kernel + kernel.T) / 2
        kernel = torch.where(sound[:, None] & sound, kernel, 0.0)
        p = (self.score(clean) / self.temperature).softmax(dim=1)
        scores, iterations = smoothed((p + FLOOR).log(), kernel)
        scores = torch.where(sound[:, None], scores, torch.nan)
        return StepOutput(scores, embeddings, {"iterations": float(iterations)})


def affinity(embeddings: Tensor, kind: str, neighbours: int) -> Tensor:
    """(B, B) how alike queries are; (B, D) unit rows in."""
    if kind == "linear":
        return embeddings @ embeddings.T
    count = len(embeddings)
    distances = (embeddings[None] - embeddings[:, None]).norm(dim=-1)
    if kind == "knn":
        nearest = distances.topk(min(neighbours + 1, count), largest=False).indices[:, 1:]
        return torch.zeros_like(distances).scatter(1, nearest, 1.0)
    width = distances.topk(min(neighbours, count), largest=False).values[:, -1].mean()
    # Equal queries, or one alone, have no width: each is like those that it equals.
    width = width.clamp_min(torch.finfo(width.dtype).eps)
    return (-(distances**2) / (2 * width**2)).exp()


def smoothed(log_p: Tensor, kernel: Tensor) -> tuple[Tensor, int]:
    """Iterates Y = softmax(ln p + A Y) until the energy stands still.

    Args:
        log_p: (B, N) logarithms of the predictions.
        kernel: (B, B) affinity A.

    Returns:
        ln Y, and how many iterations were made.
    """
    log_y, energy = log_p.log_softmax(dim=1), float("inf")
    for iteration in range(ITERATIONS):
        pull = kernel @ log_y.exp()
        log_y = (log_p + pull).log_softmax(dim=1)
        y = log_y.exp()
        now = float((y * (y.clamp_min(1e-20).log() - log_p - pull)).sum())
        if iteration > 1 and abs(now - energy) <= TOLERANCE * abs(energy):
            return log_y, iteration + 1
        energy = now
    return log_y, ITERATIONS
