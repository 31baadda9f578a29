"""Whole methods against plain loops over queries, after papers and official code; float64.

Each oracle follows the published order of operations with one query at a time; nothing of
``methods`` but the tiny encoder takes part. Batches of 8, 8, 8, 5 and 1 go through three steps.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from methods.adapt import AdaptedMethod, AdaptOptions
from methods.deyo import Deyo, DeyoOptions
from methods.eata import Eata, EataOptions
from methods.hat_vtr import HatVtr, HatVtrOptions
from methods.lame import affinity
from methods.perturb import perturbed
from methods.read import Read, ReadOptions
from methods.sar import Sar, SarOptions
from methods.tcr import Tcr, TcrOptions
from methods.tent import Tent
from tests.methods.oracle import TEMPERATURE, Oracle, double_world

LR = 1e-2
Pair = tuple[float, Tensor, Tensor, Tensor]
"""What a queue keeps of a query: indicator, query, item, entropy."""


def row_entropy(logits: Tensor) -> Tensor:
    """-sum p ln p of one row."""
    p = (logits - logits.max()).exp()
    p = p / p.sum()
    return -sum((x * x.log() for x in p), start=torch.zeros((), dtype=p.dtype))


def mean(rows: list[Tensor]) -> Tensor:
    return sum(rows[1:], start=rows[0]) / len(rows)


def unit(row: Tensor) -> Tensor:
    return row / row.square().sum().sqrt()


def length(row: Tensor) -> Tensor:
    # The square root has no gradient at zero; that of a norm is taken as zero there.
    squares = row.square().sum()
    return squares.sqrt() if float(squares.detach()) > 0 else squares * 0


def check(
    method: AdaptedMethod, oracle: Any, *, scale: float = TEMPERATURE, least: int = 1
) -> None:
    """The same scores of all batches, and the same weights after them."""
    updates = 0
    for batch in oracle.world.batches:
        output = method.step(batch)
        expected = oracle.step(batch) * scale
        torch.testing.assert_close(output.scores, expected, rtol=0, atol=1e-10)
        updates += 3 - int(output.log["skipped_updates"])
    found = [p.detach() for p in method.adapted.values()]
    torch.testing.assert_close(found, oracle.weights(), rtol=0, atol=1e-10)
    assert updates >= least


def settings(**more: Any) -> dict[str, Any]:
    return {"lr": LR, "temperature": TEMPERATURE, **more}


# One loss for each query


def test_tent() -> None:
    oracle = Oracle(double_world(), lambda _, outputs: mean([row_entropy(row) for row in outputs]))
    check(Tent(double_world().setup(), AdaptOptions(**settings())), oracle, least=15)


def test_read() -> None:
    def loss(_: Tensor, outputs: Tensor) -> Tensor:
        rows = [row.softmax(0) for row in outputs]
        gamma = math.exp(-1)
        reliable = mean([p.max() * (1 - p.max().log() + math.log(gamma)) for p in rows])
        return reliable - row_entropy(sum(rows[1:], start=rows[0]))

    oracle = Oracle(double_world(), loss)
    check(Read(double_world().setup(), ReadOptions(**settings())), oracle, least=15)


class EataLoss:
    """Filters, weights and moving mean; ``form="tcr"`` as behind TCR's tables."""

    def __init__(self, form: str, items: int, margin: float, redundant: float) -> None:
        self.form, self.redundant = form, redundant
        self.part = margin
        self.margin = margin if form == "tcr" else margin * math.log(items)
        self.moving: Tensor | None = None

    def __call__(self, _: Tensor, outputs: Tensor) -> Tensor | None:
        entropies = [row_entropy(row) for row in outputs]
        if self.form == "tcr":
            count = max(1, int(self.part * len(outputs)))
            limit = sorted(float(h.detach()) for h in entropies)[count - 1]
            reliable = [float(h.detach()) <= limit for h in entropies]
        else:
            reliable = [float(h.detach()) < self.margin for h in entropies]
        terms, kept = [], []
        for row, h, good in zip(outputs, entropies, reliable, strict=True):
            p = row.detach().softmax(0)
            if good and (self.moving is None or self._new(p)):
                terms.append(math.exp(self.margin - float(h.detach())) * h)
                kept.append(p)
        if not kept:  # TCR's form has a gradient of zero there, with which AdamW still steps
            return (outputs * 0).sum() if self.form == "tcr" else None
        old, new = self.moving, mean(kept)
        self.moving = new if old is None else 0.9 * old + 0.1 * new
        return mean(terms)

    def _new(self, p: Tensor) -> bool:
        assert self.moving is not None
        return abs(float(unit(self.moving) @ unit(p))) < self.redundant


@pytest.mark.parametrize(("form", "margin"), [("paper", 0.9), ("tcr", 0.4)])
@pytest.mark.parametrize("redundant", [0.05, 0.6])
def test_eata(form: str, margin: float, redundant: float) -> None:
    world = double_world()
    oracle = Oracle(double_world(), EataLoss(form, len(world.gallery), margin, redundant))
    options = EataOptions(**settings(form=form, entropy_margin=margin, d_margin=redundant))
    check(Eata(world.setup(), options), oracle)


def test_deyo_in_the_form_behind_tcrs_tables() -> None:
    world = double_world()
    draws = world.setup().generator

    def loss(inputs: Tensor, outputs: Tensor) -> Tensor | None:
        entropies = [row_entropy(row) for row in outputs]
        numbers = [float(h.detach()) for h in entropies]
        limit = sorted(numbers)[max(1, int(0.5 * len(numbers))) - 1]
        after = oracle.logits(perturbed(world.encoder, inputs, draws)).detach()
        drops = []
        for row, other in zip(outputs.detach(), after, strict=True):
            top = int(row.argmax())
            drops.append(float(row.softmax(0)[top] - other.softmax(0)[top]))
        chosen = [i for i, h in enumerate(numbers) if h < limit and drops[i] > 0.0]
        if not chosen:
            return None
        rank = int(0.4 * len(chosen))
        edge = sorted(numbers[i] for i in chosen)[rank - 1] if rank else math.inf
        terms = []
        for i in chosen:
            weight = 1 / (math.exp(numbers[i] - edge) + 0.1) + math.exp(drops[i]) + 0.1
            terms.append(weight * entropies[i])
        return mean(terms)

    oracle = Oracle(double_world(), loss)
    options = DeyoOptions(**settings(form="tcr", plpd_margin=0.0))
    check(Deyo(world.setup(), options), oracle, least=4)


# SAR: two passes, resets


class SarLoop:
    """Up the gradient, a second selection, back, one step with the second gradient; resets."""

    def __init__(self, margin: str, fraction: float, reset_below: float) -> None:
        self.inner = Oracle(double_world(), lambda *_: None, lr=LR)
        self.world, self.weights = self.inner.world, self.inner.weights
        self.margin, self.fraction, self.reset_below = margin, fraction, reset_below
        self.average: float | None = None
        self.source = [p.detach().clone() for p in self.inner.parameters]
        self.resets = 0

    def step(self, inputs: Tensor) -> Tensor:
        for _ in range(3):
            outputs = self.inner.logits(inputs)
            self.update(inputs, outputs)
            if self.average is not None and self.average < self.reset_below:
                self.copy(self.source)
                self.inner.build()
                self.average = None
                self.resets += 1
        return outputs.detach()

    def copy(self, values: list[Tensor]) -> None:
        with torch.no_grad():
            for parameter, value in zip(self.inner.parameters, values, strict=True):
                parameter.copy_(value)

    def gradient(self, loss: Tensor) -> list[Tensor | None]:
        return list(torch.autograd.grad(loss, self.inner.parameters, allow_unused=True))

    def update(self, inputs: Tensor, outputs: Tensor) -> None:
        entropies = [row_entropy(row) for row in outputs]
        numbers = [float(h.detach()) for h in entropies]
        if self.margin == "entropy":
            limit = self.fraction * math.log(len(self.world.gallery))
            first = [i for i, h in enumerate(numbers) if h < limit]
        else:
            limit = sorted(numbers)[max(1, int(self.fraction * len(numbers))) - 1]
            first = [i for i, h in enumerate(numbers) if h <= limit]
        if not first:
            return
        up = self.gradient(mean([entropies[i] for i in first]))
        norm = math.sqrt(sum(float(g.square().sum()) for g in up if g is not None))
        here = [p.detach().clone() for p in self.inner.parameters]
        away = [p if g is None else p + 0.05 * g / norm for p, g in zip(here, up, strict=True)]
        self.copy(away)
        again = [row_entropy(row) for row in self.inner.logits(inputs)]
        second = [again[i] for i in first if float(again[i].detach()) < limit]
        found = self.gradient(mean(second)) if second else None
        self.copy(here)
        if found is None:
            return
        value = float(mean(second).detach())
        self.average = value if self.average is None else 0.9 * self.average + 0.1 * value
        self.inner.optim.zero_grad()
        for parameter, gradient in zip(self.inner.parameters, found, strict=True):
            parameter.grad = gradient
        self.inner.optim.step()


@pytest.mark.parametrize(
    ("margin", "part", "below"),
    [
        ("top_fraction", 0.5, 0.0),
        ("top_fraction", 0.5, 1.66),  # the average falls below after three passes, not at once
        ("entropy", 0.9, 0.0),
        ("entropy", 0.9, 2.055),
    ],
)
def test_sar(margin: str, part: float, below: float) -> None:
    loop = SarLoop(margin, part, below)
    options = SarOptions(
        **settings(margin=margin, fraction=0.5, entropy_margin=0.9, reset_below=below)
    )
    check(Sar(double_world().setup(), options), loop, least=6)
    assert (loop.resets > 0) == (below > 0)


# TCR and HAT-VTR: queues


class Queued:
    """TCR's loss; with ``hubs`` HAT-VTR's, whose memory keeps raw matrices as published."""

    def __init__(self, size: int, ratio: float, hubs: bool = False) -> None:
        self.oracle = Oracle(double_world(), self.loss, lr=LR)
        self.world, self.weights = self.oracle.world, self.oracle.weights
        self.size, self.ratio, self.hubs = size, ratio, hubs
        self.queue: list[Pair] = []
        self.matrices: list[Tensor] = []
        self.batch = self.pass_ = 0

    def step(self, inputs: Tensor) -> Tensor:
        self.pass_ = 0
        similarities = self.oracle.step(inputs) * TEMPERATURE
        self.batch += 1
        if not self.hubs:
            return similarities
        scores = self.refined(similarities)
        kept = max(1, int(0.05 * len(self.world.gallery)))
        self.matrices = [*self.matrices, similarities][-kept:]
        return scores

    def refined(self, similarities: Tensor) -> Tensor:
        if not self.matrices:
            return similarities
        stack = torch.cat([*self.matrices, similarities])
        result = torch.empty_like(similarities)
        for i in range(len(similarities)):
            row = len(stack) - len(similarities) + i
            across = (10 * stack[row]).softmax(0)
            for j in range(stack.shape[1]):
                down = (100 * stack[:, j]).softmax(0)[row]
                result[i, j] = stack[row, j] * (0.5 * down + 0.5 * across[j])
        return result

    def offer(self, z: list[Tensor], c: list[Tensor], entropies: list[Tensor]) -> None:
        zc, cc = mean(z), mean(c)
        for_each = []
        for i in range(len(z)):
            si = 2 * length(z[i] - c[i]) - length(z[i] - zc) - length(c[i] - cc)
            value = -length(z[i] - zc) if self.hubs else si
            for_each.append((float(value.detach()), z[i].detach(), c[i], entropies[i].detach()))
        for_each.sort(key=lambda pair: pair[0])
        self.queue += for_each[: max(1, int(self.ratio * len(z)))]
        if len(self.queue) >= self.size:
            self.queue = sorted(self.queue, key=lambda pair: pair[0])[: self.size]

    def loss(self, inputs: Tensor, _: Tensor) -> Tensor:
        z = list(self.oracle.encoder(inputs))
        gallery = self.world.gallery
        chosen = torch.stack([row.detach() for row in z]) @ gallery.T
        chosen = self.refined(chosen) if self.hubs else chosen
        c = [gallery[int(row.argmax())] for row in chosen]
        entropies = [row_entropy(torch.stack([a @ b for b in c]) / TEMPERATURE) for a in z]
        if self.pass_ == 0 and (self.hubs or self.batch < 10):
            self.offer(z, c, entropies)
        self.pass_ += 1
        qz, qc = ([unit(pair[k]) for pair in self.queue] for k in (1, 2))
        limit = max(float(pair[3]) for pair in self.queue)
        terms = [
            max(0.0, 1 - float(h.detach()) / (limit + 0.001)) * h
            for h in entropies
            if float(h.detach()) <= limit
        ]
        consistency = mean(terms) if terms else torch.zeros((), dtype=torch.float64)
        centre = mean(z)
        uniform = mean([(-0.1 * length(row - centre)).exp() for row in z])
        gap = length(centre - mean(c)) - length(mean(qz) - mean(qc))
        total = consistency + uniform + gap**2
        if self.hubs:
            here = mean([torch.outer(a, b) for a, b in zip(z, c, strict=True)])
            there = mean([torch.outer(a, b) for a, b in zip(qz, qc, strict=True)])
            total = total + (here - there).square().mean()
        return total


@pytest.mark.parametrize(("size", "ratio"), [(64, 0.3), (4, 0.5)])
def test_tcr(size: int, ratio: float) -> None:
    options = TcrOptions(**settings(queue_size=size, con_ratio=ratio))
    check(Tcr(double_world().setup(), options), Queued(size, ratio), scale=1.0, least=15)


@pytest.mark.parametrize(("size", "ratio"), [(16, 0.3), (4, 0.5)])
def test_hat_vtr(size: int, ratio: float) -> None:
    options = HatVtrOptions(**settings(queue_size=size, con_ratio=ratio, memory_ratio=0.05))
    loop = Queued(size, ratio, hubs=True)
    check(HatVtr(double_world().setup(), options), loop, scale=1.0, least=15)


# LAME: affinities, query by query


def rbf(rows: Tensor, k: int) -> list[list[float]]:
    apart = [[float(length(a - b)) for b in rows] for a in rows]
    width = sum(sorted(row)[min(k, len(row)) - 1] for row in apart) / len(apart)
    return [[math.exp(-(d**2) / (2 * width**2)) for d in row] for row in apart]


def knn(rows: Tensor, k: int) -> list[list[float]]:
    found = [[0.0] * len(rows) for _ in rows]
    for i, a in enumerate(rows):
        others = sorted((float(length(a - b)), j) for j, b in enumerate(rows))
        for _, j in others[1 : k + 1]:  # the nearest is the query itself
            found[i][j] = 1.0
    return found


@pytest.mark.parametrize(("kind", "by_hand"), [("rbf", rbf), ("knn", knn)])
@pytest.mark.parametrize("k", [2, 5, 50])
def test_affinities_of_lame(
    kind: str, by_hand: Callable[[Tensor, int], list[list[float]]], k: int
) -> None:
    world = double_world()
    rows = world.encoder(world.batches[0]).detach()
    expected = torch.tensor(by_hand(rows, k), dtype=torch.float64)
    torch.testing.assert_close(affinity(rows, kind, k).double(), expected, rtol=0, atol=1e-10)
