"""SAR: sharpness-aware entropy minimisation with resets (Niu et al., ICLR 2023), for retrieval."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor
from torch.nn.utils import get_total_norm

from methods.adapt import AdaptedMethod, AdaptOptions, Forward, gradients_of
from methods.base import MethodCard, MethodError
from methods.gradients import on_present
from methods.objectives import entropy, masked_mean, smallest_count
from methods.options import option

AVERAGE_MOMENTUM = 0.9
"""Weight of the past in the moving average of the loss (official code)."""


@dataclass(frozen=True, slots=True)
class SarOptions(AdaptOptions):
    """Options of SAR."""

    margin: str = option(
        "top_fraction",
        "reliable queries: the most certain part of the batch (TCR's port), or those below an "
        "entropy (paper)",
        choices=("top_fraction", "entropy"),
    )
    fraction: float = option(0.4, "part of the batch, for top_fraction", above=0, maximum=1)
    entropy_margin: float = option(0.4, "E0 in units of ln(gallery size), for entropy", above=0)
    rho: float = option(0.05, "radius of the sharpness-aware step", above=0)
    reset_below: float = option(
        0.2, "restore the source when the loss's moving average falls below; 0: never", minimum=0
    )


class Sar(AdaptedMethod):
    """Entropy of reliable queries, at the worst point of a small ball around the weights.

    The disturbed weights exist only as arguments of one call, so that the real ones cannot be left
    at the disturbed point (as the port does when its second selection is empty). A reset rebuilds
    optimiser and moving average; in the reference the optimiser's moments survive, and the old
    average, which resets again.
    """

    card = MethodCard(
        name="sar",
        title="SAR",
        summary="sharpness-aware entropy minimisation with resets (Niu et al., ICLR 2023)",
        paper="Niu et al., Towards Stable Test-Time Adaptation in Dynamic Wild World, ICLR 2023",
        approximate="retrieval port after TCR's: most certain 40 % instead of an entropy margin "
        "(option), no layer excluded, AdamW, 3 steps. An empty second selection changes nothing "
        "(the port leaves the weights at the disturbed point and averages a 0). A reset clears the "
        "moving average and the optimiser's moments (both survive in the reference). A batch of "
        "one or two has one reliable query (the port fails there). Batches below five queries "
        "teach almost nothing: the second selection rarely keeps their only reliable query",
        repository="https://github.com/mr-eggplant/SAR",
        passes="6 f, 6 b",
        alone="learns next to nothing: its only reliable query is rarely selected twice",
        knob="fraction",
    )
    Options: ClassVar[type] = SarOptions

    def reset_state(self) -> None:
        """Clears the moving average of the loss."""
        self.average = torch.full((), torch.nan, device=self.gallery.device)

    def objective(self, forward: Forward) -> Tensor:
        """Mean entropy of the reliable queries at the current weights."""
        entropies = self.entropies(forward.similarities)
        reliable, _ = self.reliable(entropies.detach())
        return masked_mean(entropies, reliable)

    def entropies(self, similarities: Tensor) -> Tensor:
        """(B,) entropies of the predictions over the gallery."""
        return entropy(similarities / self.temperature)

    def reliable(self, entropies: Tensor) -> tuple[Tensor, Tensor]:
        """The first selection R1 as (B,) bool, and the threshold that the second one must beat.

        Raises:
            MethodError: an entropy margin with a gallery of one item, where it is zero.
        """
        if self.options.margin == "top_fraction":
            count = smallest_count(self.options.fraction, len(entropies))
            threshold = entropies.kthvalue(count).values
            return entropies <= threshold, threshold
        if len(self.gallery) < 2:
            raise MethodError("an entropy margin needs a gallery of at least two items")
        value = self.options.entropy_margin * math.log(len(self.gallery))
        return entropies < value, entropies.new_full((), value)

    def gradients(self, forward: Forward) -> Sequence[Tensor | None] | None:
        """Gradient of the second selection's entropy, taken at theta + rho g / ||g||."""
        entropies = self.entropies(forward.similarities)
        reliable, threshold = self.reliable(entropies.detach())
        first = self.differentiate(masked_mean(entropies, reliable), name="loss_first")
        if first is None:
            return None
        disturbed = disturb(list(self.adapted.values()), first, self.options.rho)
        leaves = dict(zip(self.adapted, disturbed, strict=True))
        embeddings = self.encode_with(leaves, forward.queries)
        again = self.entropies(embeddings @ self.gallery.T)
        kept = reliable & (again.detach() < threshold)
        loss = masked_mean(again, kept)
        self.log.add("reliable", reliable.sum())
        self.log.add("selected", kept.sum())
        self.log.add("loss", loss)
        self.average = moving_average(self.average, loss.detach())
        return gradients_of(loss, disturbed)

    def update(self, forward: Forward) -> None:
        """One update, then back to the source if the loss has become suspiciously small."""
        super().update(forward)
        # Reading the average waits for the device, as the method's rule demands.
        if self.options.reset_below > 0 and bool(self.average < self.options.reset_below):
            self.restore_source()
            self.reset_state()
            self.log.count("resets")
        else:
            self.log.count("resets", 0.0)


def disturb(
    parameters: Sequence[Tensor], gradients: Sequence[Tensor | None], rho: float
) -> list[Tensor]:
    """SAM's ascent theta + rho g / (||g|| + 1e-12), one norm over all, as new leaves."""

    def ascended(present: list[Tensor]) -> Sequence[Tensor]:
        length = get_total_norm(present) + 1e-12
        steps = torch._foreach_div(torch._foreach_mul(present, rho), length)
        moving = [p for p, g in zip(parameters, gradients, strict=True) if g is not None]
        return torch._foreach_add(steps, moving)

    with torch.no_grad():
        moved = on_present(gradients, ascended)
        new = [p.clone() if m is None else m for p, m in zip(parameters, moved, strict=True)]
    return [leaf.requires_grad_() for leaf in new]


def moving_average(old: Tensor, value: Tensor) -> Tensor:
    """0.9 old + 0.1 value; the value itself where there is no old one; NaN values are left out."""
    blend = AVERAGE_MOMENTUM * old + (1 - AVERAGE_MOMENTUM) * value
    new = torch.where(torch.isnan(old), value, blend)
    return torch.where(torch.isfinite(value), new, old)
