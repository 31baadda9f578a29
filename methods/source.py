"""No adaptation: every query is scored with the frozen source model."""

from __future__ import annotations

import torch
from torch import Tensor

from methods.base import Method, MethodCard, StepOutput


class Source(Method):
    """The frozen source model; the reference that every other method is compared with."""

    card = MethodCard(
        name="source",
        title="Source",
        summary="no adaptation: the frozen source model",
        paper="none",
        trains=False,
        approximate="none",
        repository="none",
        sees="the batch's queries, the gallery",
        passes="1 f",
        alone="the same as with more",
    )

    @torch.no_grad()
    def step(self, queries: Tensor) -> StepOutput:
        """Scores one batch; nothing is kept."""
        embeddings = self.embed(queries)
        return StepOutput(self.score(embeddings), embeddings)
