"""Anchored: a gated running centre, TCR's terms, scores without hubs. Ours, from no paper."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import torch
from torch import Tensor
from torch.func import functional_call

from methods.adapt import Change, Forward, gradients_of
from methods.base import MethodCard, MethodError, Setup, StepOutput
from methods.centring import moved, sound_rows
from methods.gradients import Gradients, angle, prograd
from methods.inverted_softmax import log_sums
from methods.objectives import source_agreement
from methods.options import option
from methods.per_gallery import PerGallery
from methods.queue import ReliableQueue
from methods.tcr import Tcr, TcrOptions

LEAST = 16
"""Queries that must be known before anything is learnt: fewer have no refined predictions."""


@dataclass(frozen=True, slots=True)
class AnchoredOptions(TcrOptions):
    """Options of the anchored method."""

    steps: int = option(2, "forward and update passes per batch", minimum=1)
    window: int = option(
        64, "queries that the mean, the predictions and an update's length rest on", minimum=2
    )
    pull: float = option(
        0.4, "part of the way back to the source after each update", minimum=0, maximum=1
    )
    decouple_strength: float = option(
        1.0, "how much of the component against the source is taken out; 0: nothing", minimum=0
    )
    reset_below: float = option(
        0.5,
        "reset where the window has fewer distinct top items than this part of the source's; "
        "0: never",
        minimum=0,
        maximum=1,
    )
    beta: float = option(
        10.0, "inverse temperature at which hubs are weighed; 0: scores are similarities", minimum=0
    )
    prior: float = option(
        128.0, "queries as which the belief counts that no item is a hub", above=0
    )
    memory: int = option(512, "latest queries that hubs are known by", minimum=1)

    def __post_init__(self) -> None:
        TcrOptions.__post_init__(self)  # super() without arguments fails in a slots dataclass
        if self.centre:
            raise MethodError("anchored centres by itself; leave option 'centre' at false")


class Anchored(Tcr):
    """Queries are moved by a gated offset; TCR's terms adapt what the offset leaves.

    With the source model's embeddings of the last ``window`` queries (this batch first, then a
    running mean of earlier ones), m of them with mean mu and variance v:

        offset = gate * (mean of the gallery - mu),
        gate = max(0, 1 - (v / m) / |mean of the gallery - mu|^2),

    the James-Stein shrinkage of an estimated mean: 0 where the distance is no larger than chance
    makes it (a single query, a stream that lies on the gallery), near 1 where all queries share it.
    The offset is constant within a batch, so that the gap term still has something to move.

    A batch shorter than the window learns among the remembered queries before it, and its updates
    are shorter by its share of the window. The gradient of the embeddings loses its component
    against that of the source's predictions (ProGrad's form); one pass back. After each update the
    weights are pulled to the source; all of it starts anew where predictions collapse.

    Scores are s_ij - h_j, an inverted softmax over the latest n queries with a prior: with S_j the
    sum of their exp(beta s_mj),

        h_j = ln(S_j + (prior / n) * mean of S) / beta.

    With few queries all h_j are alike; a first single query keeps its similarities.
    """

    card = MethodCard(
        name="anchored",
        title="Anchored (ours)",
        summary="experimental, ours: gated running centre, TCR's terms, pull, no hubs",
        version=3,
        paper="none",
        approximate="none",
        repository="none",
        passes="3 f, 2 b",
        alone="learns among the latest queries, as many as the window holds; the first 15 teach "
        "nothing, and the very first is scored like the source",
        knob="prior",
    )
    Options: ClassVar[type] = AnchoredOptions

    def __init__(self, setup: Setup, options: Any = None) -> None:
        self.gallery_mean = setup.gallery.mean(dim=0)
        super().__init__(setup, options)

    def use_gallery(self, gallery: Tensor) -> None:
        """The centre of the queries stays known; what was predicted in another gallery does not."""
        if gallery is not self.gallery:
            super().use_gallery(gallery)
            self.gallery_mean = gallery.mean(dim=0)
            self._forget_predictions()

    def reset_state(self) -> None:
        """Forgets all queries."""
        super().reset_state()
        self._offered: Tensor | None = None
        self._sum = torch.zeros_like(self.gallery_mean)
        self._sound = torch.zeros((), device=self.gallery.device)  # how many are in the sum
        self._count = 0.0  # the same with those that are not finite, known without a read
        self._start_anew()

    def _start_anew(self) -> None:
        self._since, self._offerings = self.options.window, 0
        self._hubs: PerGallery[tuple[Tensor, Tensor, float]] = PerGallery()
        self._forget_predictions()

    def _forget_predictions(self) -> None:
        self._past = self.gallery[:0]
        self._tops = torch.zeros(0, 2, dtype=torch.long, device=self.gallery.device)

    @property
    def wants_source(self) -> bool:
        """Always: the centre is that of the source model's embeddings."""
        return True

    def use_source(self, embeddings: Tensor) -> None:
        """Keeps the source model's embeddings for the next batch, instead of computing them."""
        self._offered = embeddings

    def step(self, queries: Tensor) -> StepOutput:
        """Adapts on one batch and scores it; then remembers it, and resets on a collapse."""
        self._share = min(1.0, len(queries) / self.options.window)
        output = super().step(queries)
        collapsed = self._remember(output)
        return replace(output, log={**output.log, "resets": float(collapsed)})

    def forward(self, queries: Tensor, step: int) -> Forward:
        """One forward pass; before the first of a batch its offset is found."""
        if step == 0:
            with torch.no_grad():
                raw = self._source_rows(queries)
                self._offset = self._find_offset(raw)
                self._source_view = self.place(raw)
            self._since += len(queries)
            self._due = (
                self._since >= self.options.window
                and len(queries) + len(self._past) >= LEAST
                and self._offerings < self.options.queue_update_batches
            )
            if self._due:
                self._since, self._offerings = 0, self._offerings + 1
        return super().forward(queries, step)

    def _source_rows(self, queries: Tensor) -> Tensor:
        """(B, D): the source model's embeddings of the batch, not moved."""
        rows, self._offered = self._offered, None
        if rows is None:
            found: Tensor = functional_call(self.encoder, self.source_parameters(), (queries,))
            return found
        expected = (len(queries), len(self.gallery_mean))
        if rows.shape != expected:
            raise MethodError(
                f"the source model's embeddings have shape {tuple(rows.shape)}; expected {expected}"
            )
        return rows

    def place(self, embeddings: Tensor) -> Tensor:
        """normalise(z + offset)."""
        return moved(embeddings, self._offset)

    def _find_offset(self, rows: Tensor) -> Tensor:
        """The gated offset, (D,); takes the source's (B, D) rows into the running mean."""
        kept = kept_share(self._count, len(rows), self.options.window)
        sound = sound_rows(rows)[:, None]
        self._sum = kept * self._sum + torch.where(sound, rows, 0.0).sum(dim=0)
        self._sound = kept * self._sound + sound.sum()
        self._count = kept * self._count + len(rows)
        mean = self._sum / self._sound.clamp_min(1)
        gate = shrinkage(mean, self._sound, self.gallery_mean)
        self.log.add("gate", gate)
        return gate * (self.gallery_mean - mean)

    def offers(self, forward: Forward) -> bool:
        """Once for each window's worth of queries: TCR's rhythm, whatever the batch size."""
        return forward.step == 0 and self._due

    def gradients(self, forward: Forward) -> Gradients | None:
        """TCR's gradient of the embeddings without its part against the source, passed back."""
        among = self._among_remembered(forward)
        loss = self.objective(among) if len(among.embeddings) >= LEAST else None
        if loss is None or not self.updated:
            return self.differentiate(loss)
        items = among.candidates
        general_loss = source_agreement(
            forward.embeddings @ items.T / self.temperature,
            self._source_view @ items.T / self.temperature,
        )
        self.log.add("loss", loss)
        self.log.add("loss_general", general_loss)
        specific = gradients_of(loss, [forward.embeddings], retain_graph=True)
        general = gradients_of(general_loss, [forward.embeddings])
        self.log.add("angle", angle(specific, general))
        (wanted,) = prograd(specific, general, strength=self.options.decouple_strength)
        assert wanted is not None  # both losses are functions of the embeddings
        return self.through_embeddings(forward, wanted)

    def _among_remembered(self, forward: Forward) -> Forward:
        """The batch; where it is shorter than the window, with remembered queries behind it."""
        room = max(0, self.options.window - len(forward.embeddings))
        past = self._past[max(0, len(self._past) - room) :]
        if len(past) == 0:
            return forward
        return replace(forward, embeddings=torch.cat([forward.embeddings, past]))

    def descend(self, gradients: Gradients | None, change: Change | None = None) -> bool:
        """One update and one pull, both shorter by the batch's share of the window."""
        for group in self.optimizer.param_groups:
            group["lr"] = self.options.lr * self._share
        made = super().descend(gradients, change)
        if made:
            self.pull_to_source(self.options.pull * self._share)
        return made

    def rescore(self, similarities: Tensor) -> Tensor:
        """s_ij - h_j, with this batch among the queries that h rests on."""
        self._top = similarities.argmax(dim=1)
        beta, size = self.options.beta, len(similarities)
        if beta == 0:
            return similarities
        sound = sound_rows(similarities)[:, None]
        bank, known, total = None, sound.sum().to(similarities.dtype), float(size)
        if (past := self._hubs.get(self.gallery)) is not None:
            kept = kept_share(past[2], size, self.options.memory)
            bank = past[0] + known.new_full((), kept).log()
            known, total = known + kept * past[1], total + kept * past[2]
        sums = log_sums(bank, torch.where(sound, similarities, -torch.inf), beta)
        self._hubs.set(self.gallery, (sums, known, total))
        if total == 1:
            return similarities
        return similarities - hubness(sums, known, beta, self.options.prior)

    def _remember(self, output: StepOutput) -> bool:
        """Keeps the batch's embeddings and top items; resets and says so where they collapsed."""
        source = (self._source_view @ self.gallery.T).argmax(dim=1)
        pairs = torch.stack([self._top, source], dim=1)
        size = self.options.window
        past = torch.cat([self._past, output.embeddings])[-size:]
        tops = torch.cat([self._tops, pairs])[-size:]
        now, before = distinct(tops)
        fallen = now < self.options.reset_below * before
        sound, collapsed = torch.stack([torch.isfinite(past).all(), fallen]).tolist()
        if not sound:
            return False
        self._past, self._tops = past, tops
        if collapsed:
            self.restore_source()
            self.queue = ReliableQueue(self.options.queue_size, self.options.con_ratio)
            self._start_anew()
        return bool(collapsed)


def shrinkage(mean: Tensor, count: Tensor, gallery_mean: Tensor) -> Tensor:
    """max(0, 1 - (v / m) / |mean of the gallery - mean|^2), a scalar in [0, 1].

    v = (1 - |mean|^2) m / (m - 1) is the variance of m unit rows about their mean.

    Args:
        mean: (D,) of the rows.
        count: m, a scalar; below 2 the result is 0.
        gallery_mean: (D,).
    """
    chance = (1 - mean.square().sum()).clamp_min(0) / (count - 1).clamp_min(1)
    distance = (gallery_mean - mean).square().sum()
    known = (count >= 2) & (distance > 0)
    return torch.where(known, 1 - chance / torch.where(known, distance, 1.0), 0.0).clamp_min(0)


def kept_share(count: float, new: int, size: int) -> float:
    """Part of the ``count`` earlier queries that still fit into ``size`` beside the ``new`` ones.

    Queries that are not finite count as room taken: to know them would be a read of the device.
    """
    return min(1.0, max(0, size - new) / count) if count else 0.0


def hubness(sums: Tensor, count: Tensor, beta: float, prior: float) -> Tensor:
    """h_j = ln(S_j + (prior / n) * mean of S) / beta, (N,).

    Args:
        sums: (N,) ln S_j over n queries.
        count: n, a scalar.
        beta: inverse temperature, above 0.
        prior: in queries.
    """
    mean = sums.logsumexp(dim=0) - math.log(len(sums))
    return torch.logaddexp(sums, mean + (prior / count).log()) / beta


def distinct(columns: Tensor) -> Tensor:
    """How many different values each column of (M, K) integers has; (K,)."""
    ordered = columns.sort(dim=0).values
    return 1 + (ordered[1:] != ordered[:-1]).sum(dim=0)
