"""VTE: the mean of a query's surest views (Doebler et al., CVPR workshops 2024), no training."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor
from torch.nn import functional

from methods.base import Method, MethodCard, Setup, StepOutput
from methods.objectives import entropy
from methods.options import check_options, option, temperature_of, temperature_option
from methods.perturb import augmented


@dataclass(frozen=True, slots=True)
class VteOptions:
    """Options of VTE."""

    views: int = option(64, "views of a query, itself the first", minimum=1)
    keep: float = option(
        0.1, "part of the views that counts, the most certain; 1: all (TTAug)", above=0, maximum=1
    )
    temperature: float | str = temperature_option(0.01)

    def __post_init__(self) -> None:
        check_options(self)


class Vte(Method):
    """Scores are those of the mean embedding of the surest tenth of 64 views of each query.

    Only the part of the method on the side of the queries: its other half averages prompts of
    class names, and a gallery has none.
    """

    card = MethodCard(
        name="vte",
        title="VTE",
        summary="training-free: mean of each query's most certain views (Doebler et al., 2024)",
        paper="Doebler et al., A Lost Opportunity for Vision-Language Models: A Comparative Study "
        "of Online Test-Time Adaptation for Vision-Language Models, CVPR workshops 2024",
        trains=False,
        approximate="no ensemble of prompts on the gallery's side; views are random moves instead "
        "of AugMix, and texts lose tokens (ours)",
        repository="https://github.com/mariodoebler/test-time-adaptation",
        sees="one query at a time, the gallery",
        passes="64 f",
        alone="the same as with more: queries never meet",
        knob="keep",
    )
    Options: ClassVar[type] = VteOptions

    def __init__(self, setup: Setup, options: Any = None) -> None:
        super().__init__(setup, options)
        self.temperature = temperature_of(self.options.temperature, setup)
        self._generator_state = setup.generator.get_state()

    def reset(self) -> None:
        """Draws the same views again."""
        self.setup.generator.set_state(self._generator_state)

    @torch.no_grad()
    def step(self, queries: Tensor) -> StepOutput:
        """Scores one batch; nothing is kept."""
        views = [self.embed(queries)]
        views += [self.embed(self.augment(queries)) for _ in range(self.options.views - 1)]
        unsure = torch.stack([entropy(self.score(view) / self.temperature) for view in views])
        count = max(1, int(self.options.keep * len(views)))
        surest = unsure.argsort(dim=0, stable=True)[:count]
        embeddings = torch.stack(views)
        mean = embeddings.gather(0, surest[:, :, None].expand(-1, -1, embeddings.shape[2])).mean(0)
        # A mean of unit rows is shorter than one, and that belongs to its scores.
        return StepOutput(self.score(mean), functional.normalize(mean, dim=1))

    def augment(self, queries: Tensor) -> Tensor:
        """A random view of each query."""
        return augmented(self.encoder, queries, self.setup.generator)
