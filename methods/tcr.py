"""TCR: refined predictions, uniformity and gap under query shift (Li et al., ICLR 2025)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from methods.adapt import AdaptedMethod, AdaptOptions, Forward
from methods.base import MethodCard
from methods.objectives import entropy, modality_gap, noise_robust_entropy, uniformity
from methods.options import option, temperature_option
from methods.queue import ReliableQueue


@dataclass(frozen=True, slots=True)
class TcrOptions(AdaptOptions):
    """Options of TCR; defaults are the repository's."""

    temperature: float | str = temperature_option(0.02)
    con_ratio: float = option(0.3, "part of a batch taken as source-like", above=0, maximum=1)
    uniformity_scale: float = option(0.1, "t in exp(-t * distance to the query centre)", above=0)
    queue_size: int = option(64, "source-like pairs kept", minimum=1)
    queue_update_batches: int = option(10, "batches after which the queue is frozen", minimum=1)
    rem_form: str = option(
        "repository",
        "noise-robust entropy as in the repository (threshold + 0.001) or the paper",
        choices=("repository", "paper"),
    )


class Tcr(AdaptedMethod):
    """L = noise-robust entropy + uniformity + gap, weights 1.

    Predictions are refined: each query chooses among the top items of the whole batch, a B x B
    matrix. The two thresholds come from a queue of source-like pairs, see ``ReliableQueue``.
    """

    card = MethodCard(
        name="tcr",
        title="TCR",
        summary="refined predictions, uniformity, gap (Li et al., ICLR 2025)",
        paper="Li et al., Test-time Adaptation for Cross-modal Retrieval with Query Shift, "
        "ICLR 2025",
        approximate="an empty selection gives a zero instead of a NaN; batches below four queries "
        "still offer one pair to the queue",
        repository="https://github.com/XLearning-SCU/2025-ICLR-TCR",
        passes="3 f, 3 b",
        alone="only the gap can be learnt from: consistency and uniformity are constant. The "
        "first query's gap is its own, so that AdamW follows rounding errors",
        knob="con_ratio",
    )
    Options: ClassVar[type] = TcrOptions

    def reset_state(self) -> None:
        """Empties the queue."""
        self.queue = ReliableQueue(self.options.queue_size, self.options.con_ratio)

    def offers(self, forward: Forward) -> bool:
        """Whether the pairs of this pass are offered to the queue."""
        return forward.step == 0 and forward.batch < self.options.queue_update_batches

    def logits(self, forward: Forward) -> Tensor:
        """Refined logits, (B, B): similarities to the candidates of the whole batch."""
        return forward.embeddings @ forward.candidates.T / self.temperature

    def objective(self, forward: Forward) -> Tensor | None:
        """The sum of the three terms."""
        terms = self.terms(forward)
        return sum(terms.values()) if terms else None  # type: ignore[return-value]

    def terms(self, forward: Forward) -> dict[str, Tensor]:
        """Consistency, uniformity and gap; empty while no source-like pair is known."""
        embeddings = forward.embeddings
        entropies = entropy(self.logits(forward))
        if self.offers(forward):
            self.queue.update(embeddings, forward.candidates, entropies)
        reference = self.queue.reference()
        if reference is None:
            return {}
        threshold, source_gap = reference
        gap = modality_gap(embeddings, forward.candidates)
        terms = {
            "consistency": noise_robust_entropy(entropies, threshold, self.options.rem_form),
            "uniformity": uniformity(embeddings, self.options.uniformity_scale),
            "gap": (gap - source_gap).square(),
        }
        for name, value in terms.items():
            self.log.add(f"loss_{name}", value)
        self.log.add("selected", (entropies <= threshold).sum())
        self.log.add("entropy_threshold", threshold)
        self.log.add("source_gap", source_gap)
        self.log.add("batch_gap", gap)
        self.log.add("queue", float(len(self.queue)))
        return terms
