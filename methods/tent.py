"""Tent: entropy minimisation (Wang et al., ICLR 2021), as ported to retrieval."""

from __future__ import annotations

from torch import Tensor

from methods.adapt import AdaptedMethod, Forward
from methods.base import MethodCard
from methods.objectives import entropy


class Tent(AdaptedMethod):
    """Minimises the mean entropy of the predictions over the whole gallery."""

    card = MethodCard(
        name="tent",
        title="Tent",
        summary="entropy minimisation (Wang et al., ICLR 2021)",
        paper="Wang et al., Tent: Fully Test-Time Adaptation by Entropy Minimization, ICLR 2021",
        approximate="retrieval port after TCR's: LayerNorm instead of BatchNorm, AdamW, 3 steps",
        repository="https://github.com/DequanWang/tent",
        passes="3 f, 3 b",
        alone="learns from its own entropy",
    )

    def objective(self, forward: Forward) -> Tensor:
        """mean_i H(softmax(z_i . g / tau))."""
        return entropy(forward.similarities / self.temperature).mean()
