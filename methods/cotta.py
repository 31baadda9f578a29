"""CoTTA: mean teacher, averaged views, random restoring (Wang et al., CVPR 2022), ported."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

import torch
from torch import Tensor
from torch.func import functional_call
from torch.nn import functional

from methods.adapt import AdaptedMethod, AdaptOptions, Change, Forward
from methods.base import MethodCard, StepOutput
from methods.gradients import Gradients, flatten, unflatten
from methods.objectives import symmetric_cross_entropy
from methods.options import option
from methods.perturb import augmented, draws


@dataclass(frozen=True, slots=True)
class CottaOptions(AdaptOptions):
    """Options of CoTTA; defaults are the official code's for ImageNet."""

    teacher_momentum: float = option(
        0.999, "part of the teacher that is kept after an update", minimum=0, maximum=1
    )
    views: int = option(32, "augmented views that an unsure teacher is averaged over", minimum=1)
    view_threshold: float = option(
        0.1, "views are averaged where the source's mean top probability is below", minimum=0
    )
    restore: float = option(
        0.001,
        "probability that a weight returns to the source after an update",
        minimum=0,
        maximum=1,
    )


class Cotta(AdaptedMethod):
    """The student follows a slowly moving teacher; both predictions agree, the teacher's count.

    RoTTA, the other teacher of the field, is left out: its batch normalisation has nothing to
    work on in a tower of LayerNorm, and its memory balances classes, where each gallery item is
    one and few queries share it. What is left of it is this teacher.
    """

    card = MethodCard(
        name="cotta",
        title="CoTTA",
        summary="mean teacher, averaged views, random restoring (Wang et al., CVPR 2022)",
        paper="Wang et al., Continual Test-Time Domain Adaptation, CVPR 2022",
        approximate="retrieval port: the normalisation layers learn (adapt=all for every weight, "
        "as published), AdamW, 3 steps, no dropout; views are torch-only, without the changes of "
        "colour and blur",
        repository="https://github.com/qinenergy/cotta",
        passes="7 f, 3 b; 100 f, 3 b where the source model is unsure of the batch",
        alone="learns from the teacher's prediction of it",
        knob="teacher_momentum",
    )
    Options: ClassVar[type] = CottaOptions

    def reset_state(self) -> None:
        """The teacher is the source again."""
        self.teacher = {n: value.clone() for n, value in self.source_parameters().items()}
        self._offered: Tensor | None = None

    @property
    def wants_source(self) -> bool:
        """The source model's confidence decides whether views are averaged."""
        return True

    def use_source(self, embeddings: Tensor) -> None:
        """Keeps the source model's embeddings for the next batch, instead of computing them."""
        self._offered = embeddings

    def step(self, queries: Tensor) -> StepOutput:
        """Adapts on one batch and scores it with the teacher."""
        output = super().step(queries)
        post = self.options.score_from == "post_update"
        embeddings = self.place(self.embed(queries)) if post else self.target
        # A mean of unit rows is shorter than one, and that belongs to its scores.
        unit = functional.normalize(embeddings, dim=1)
        return replace(output, scores=self.score(embeddings), embeddings=unit)

    @torch.no_grad()
    def embed(self, queries: Tensor) -> Tensor:
        """The teacher's embeddings."""
        embeddings: Tensor = functional_call(self.encoder, self.teacher, (queries,))
        return embeddings

    def objective(self, forward: Forward) -> Tensor:
        """Mean symmetric cross-entropy between student and teacher."""
        self.target = self.teach(forward)
        target = self.target @ self.gallery.T / self.temperature
        return symmetric_cross_entropy(forward.similarities / self.temperature, target).mean()

    @torch.no_grad()
    def teach(self, forward: Forward) -> Tensor:
        """(B, D) what the teacher says: its embeddings, averaged over views where it is unsure."""
        queries = forward.queries
        if forward.step == 0:
            self._unsure = self.unsure(forward)
        self.log.add("averaged", float(self._unsure))
        if not self._unsure:
            return self.place(self.embed(queries))
        views = (self.augment(queries) for _ in range(self.options.views))
        return torch.stack([self.place(self.embed(view)) for view in views]).mean(dim=0)

    def unsure(self, forward: Forward) -> bool:
        """Whether the source model's mean top probability is below the threshold."""
        offered, self._offered = self._offered, None
        if not self.updated:
            source = forward.embeddings.detach()
        elif offered is not None and offered.shape == forward.embeddings.shape:
            source = self.place(offered)
        else:
            source = self.encode_with(self.source_parameters(), forward.queries)
        top = (source @ self.gallery.T / self.temperature).softmax(dim=1).amax(dim=1)
        # The answer decides which passes are made, so it is read here.
        return bool(top.mean() < self.options.view_threshold)

    def augment(self, queries: Tensor) -> Tensor:
        """A random view of each query."""
        return augmented(self.encoder, queries, self.setup.generator)

    def descend(self, gradients: Gradients | None, change: Change | None = None) -> bool:
        """One step of the student, one of the teacher, and some weights restored."""
        made = super().descend(gradients, change)
        if made:
            self.follow_and_restore()
        return made

    @torch.no_grad()
    def follow_and_restore(self) -> None:
        """The teacher follows the student; then some of the student's weights are restored."""
        momentum = self.options.teacher_momentum
        student: list[Tensor] = [*self.adapted.values()]
        kept = torch._foreach_mul(list(self.teacher.values()), momentum)
        teacher = torch._foreach_add(kept, list(torch._foreach_mul(student, 1 - momentum)))
        self.teacher = dict(zip(self.teacher, teacher, strict=True))
        if self.options.restore == 0:
            return
        weights = flatten(student)
        drawn = draws(weights[None], len(weights), self.setup.generator)[0]
        source = flatten(list(self.source_parameters().values()))
        weights = torch.where(drawn < self.options.restore, source, weights)
        torch._foreach_copy_(student, unflatten(weights, student))
