"""TCR without training: the batch is spread out and brought to the source's gap."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor
from torch.nn import functional

from methods.base import Method, MethodCard, MethodError, Setup, StepOutput
from methods.centring import sound_mean, sound_rows
from methods.objectives import entropy
from methods.options import check_options, option
from methods.queue import ReliableQueue


@dataclass(frozen=True, slots=True)
class TcrUntrainedOptions:
    """Options of TCR's training-free form; defaults are the repository's."""

    scale: float = option(
        2.0, "lambda: how far queries move from their mean", above=0, maximum=1000
    )
    con_ratio: float = option(0.3, "part of a batch taken as source-like", above=0, maximum=1)
    queue_size: int = option(64, "source-like pairs kept", minimum=1)
    queue_update_batches: int = option(10, "batches after which the queue is frozen", minimum=1)

    def __post_init__(self) -> None:
        check_options(self)


class TcrUntrained(Method):
    """z'' = z' + (1 - Delta_S / Delta_T) (mean c - mean z), z' = scale (z - mean z) + mean z.

    c_i is the top item of query i, Delta_T the distance of the batch's two means, Delta_S that of
    the queue's source-like pairs. Before normalising, the moved queries are Delta_S away from
    their items, on average. Where Delta_S > Delta_T they are pushed away. One forward pass.
    """

    card = MethodCard(
        name="tcr-untrained",
        title="TCR-untrained",
        summary="TCR's training-free form: queries spread out, gap as in the source (Li et al., "
        "ICLR 2025)",
        paper="Li et al., Test-time Adaptation for Cross-modal Retrieval with Query Shift, "
        "ICLR 2025 (appendix; forward_tta_untrain in its repository)",
        trains=False,
        approximate="equal means (Delta_T = 0) are left where they are; batches below four queries "
        "still offer one pair to the queue",
        repository="https://github.com/XLearning-SCU/2025-ICLR-TCR",
        passes="1 f",
        alone="cannot be spread; its gap becomes the queue's, and the first query stays where it "
        "is",
        knob="scale",
    )
    Options: ClassVar[type] = TcrUntrainedOptions

    def __init__(self, setup: Setup, options: Any = None) -> None:
        super().__init__(setup, options)
        self.reset()

    def reset(self) -> None:
        """Empties the queue."""
        self.queue = ReliableQueue(self.options.queue_size, self.options.con_ratio)
        self._batch = 0

    @torch.no_grad()
    def step(self, queries: Tensor) -> StepOutput:
        """Moves one batch's embeddings and scores them."""
        if len(queries) == 0:
            raise MethodError("a batch of no queries was given; expected at least one")
        embeddings = self.embed(queries)
        similarities = self.score(embeddings)
        candidates = self.gallery[similarities.argmax(dim=1)]
        if self._batch < self.options.queue_update_batches:
            # What is kept of the entropies is not used without training; the scale is any.
            self.queue.update(embeddings, candidates, entropy(embeddings @ candidates.T))
        self._batch += 1
        reference = self.queue.reference()
        if reference is None:
            return StepOutput(similarities, embeddings)
        embeddings, gap = self._moved(embeddings, candidates, reference[1])
        log = {
            "source_gap": reference[1],
            "batch_gap": gap,
        }
        numbers = dict(zip(log, torch.stack(list(log.values())).tolist(), strict=True))
        return StepOutput(self.score(embeddings), embeddings, numbers)

    def _moved(
        self, embeddings: Tensor, candidates: Tensor, source_gap: Tensor
    ) -> tuple[Tensor, Tensor]:
        """The moved (B, D) embeddings, and Delta_T."""
        sound = sound_rows(embeddings)[:, None]
        mean = sound_mean(embeddings)
        to_items = sound_mean(torch.where(sound, candidates, torch.nan)) - mean
        gap = to_items.norm()
        spread = self.options.scale * (embeddings - mean) + mean
        rate = source_gap / gap.clamp_min(torch.finfo(gap.dtype).tiny)
        return functional.normalize(spread + (1 - rate) * to_items, dim=1), gap
