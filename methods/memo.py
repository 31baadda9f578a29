"""MEMO: marginal entropy over views of one query (Zhang et al., NeurIPS 2022), ported."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from methods.adapt import AdaptedMethod, AdaptOptions, Forward, StepLog
from methods.base import MethodCard, MethodError, StepOutput
from methods.centring import moved, sound_mean
from methods.objectives import entropy
from methods.options import option
from methods.parameters import forget_moments
from methods.perturb import augmented


@dataclass(frozen=True, slots=True)
class MemoOptions(AdaptOptions):
    """Options of MEMO."""

    steps: int = option(1, "updates per query", minimum=1)
    score_from: str = option(
        "post_update", "a query is scored after its own update", choices=("post_update",)
    )
    views: int = option(32, "augmented views of a query (official: 32, ImageNet 64)", minimum=1)
    keep: float = option(
        1.0,
        "part of the views that counts, the most certain ones; below 1 the query itself is one of "
        "them, as in TPT (0.1 of 64)",
        above=0,
        maximum=1,
    )


class Memo(AdaptedMethod):
    """Each query alone: the source weights, one update on its views, its score, and back.

    Nothing is learnt along the stream and no query sees another, so the batch size changes
    nothing, and one query is enough. With ``keep`` the loss is that of TPT (Shu et al., NeurIPS
    2022), which trains a prompt instead.
    """

    card = MethodCard(
        name="memo",
        title="MEMO",
        summary="marginal entropy over views of each query alone (Zhang et al., NeurIPS 2022)",
        paper="Zhang et al., MEMO: Test Time Robustness via Adaptation and Augmentation, "
        "NeurIPS 2022",
        approximate="retrieval port: the normalisation layers learn (adapt=all for every weight, "
        "as published), AdamW, whose moments are cleared with the weights (the official code "
        "keeps them); views are random moves instead of AugMix, and texts lose tokens (ours)",
        repository="https://github.com/zhangmarvin/memo",
        sees="one query at a time, the gallery; with centre=true the mean of the batch",
        passes="33 f, 32 b",
        alone="the same as with more: queries never meet",
        knob="keep",
    )
    Options: ClassVar[type] = MemoOptions
    _offset: Tensor | None = None

    def step(self, queries: Tensor) -> StepOutput:
        """Adapts to each query of a batch by itself and scores it."""
        if len(queries) == 0:
            raise MethodError("a batch of no queries was given; expected at least one")
        self.log = StepLog()
        self._offset = None
        if self.options.centre and len(queries) > 1:
            self._offset = self.gallery.mean(dim=0) - sound_mean(self.embed(queries))
        embeddings = torch.cat([self.adapted_to(query) for query in queries.split(1)])
        self.batch += 1
        self.restore_source()
        return StepOutput(self.score(embeddings), embeddings, self.log.collect())

    def adapted_to(self, query: Tensor) -> Tensor:
        """(1, D) the embedding of one query after its own update."""
        self.source.restore(self.encoder)
        forget_moments(self.optimizer)
        views = self.views(query)
        with torch.enable_grad():
            for index in range(self.options.steps):
                if index > 0 and self.options.keep == 1:
                    views = self.views(query)
                self.update(self.forward(views, index))
        return self.place(self.embed(query))

    def place(self, embeddings: Tensor) -> Tensor:
        """Views and queries moved by the offset of the batch under the source weights."""
        return embeddings if self._offset is None else moved(embeddings, self._offset)

    def views(self, query: Tensor) -> Tensor:
        """(V, ...) random views of one query; the query itself comes first where some are cut."""
        own = int(self.options.keep < 1)
        copies = query.expand(self.options.views - own, *query.shape[1:])
        drawn = augmented(self.encoder, copies, self.setup.generator)
        return torch.cat([query, drawn]) if own else drawn

    def objective(self, forward: Forward) -> Tensor:
        """Entropy of the mean prediction over the views."""
        logits = forward.similarities / self.temperature
        if self.options.keep < 1:
            if forward.step == 0:
                count = max(1, int(self.options.keep * len(logits)))
                self._kept = entropy(logits.detach()).argsort(stable=True)[:count]
            logits = logits[self._kept]
        return marginal_entropy(logits)


def marginal_entropy(logits: Tensor) -> Tensor:
    """Entropy of the mean of the rows' predictions; (V, N) -> scalar, nats."""
    rows = logits.log_softmax(dim=1)
    mean = rows.logsumexp(dim=0) - math.log(len(rows))
    return -(mean.exp() * mean.clamp_min(torch.finfo(mean.dtype).min)).sum()
