"""ROID: weights, prior, pull to the source, and the published loop."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from methods.base import Setup
from methods.perturb import augmented
from methods.roid import Roid, RoidOptions, likelihood_ratio, smoothed_prior, unit_range
from methods.testing import World
from tests.methods.oracle import TEMPERATURE, Oracle, double_world, entropies

Build = Callable[[Tensor], Setup]


def test_likelihood_ratio_is_clipped() -> None:
    # Two items at p and 1 - p: -p ln(p / (1 - p)) - (1 - p) ln((1 - p) / p).
    p = 0.8
    logits = torch.tensor([[p, 1 - p]]).log()
    expected = -p * math.log(4 + 1e-5) - (1 - p) * math.log(0.25 + 1e-5)
    assert float(likelihood_ratio(logits)) == pytest.approx(expected, abs=1e-6)
    sure = torch.tensor([[30.0, 0.0]], requires_grad=True)
    (gradient,) = torch.autograd.grad(likelihood_ratio(sure).sum(), sure)
    assert float(gradient.abs().max()) < 1e-8


def test_unit_range_without_a_range() -> None:
    assert unit_range(torch.tensor([1.0, 3.0, 2.0])).tolist() == [0.0, 1.0, 0.5]
    assert unit_range(torch.tensor([2.0, 2.0])).tolist() == [0.0, 0.0]


def test_prior_is_smoothed_towards_uniform() -> None:
    mean = torch.tensor([0.75, 0.25, 0.0, 0.0])
    # smooth = max(1 / 2, 1 / 4) / 0.75 = 2 / 3
    expected = [(m + 2 / 3) / (1 + 8 / 3) for m in (0.75, 0.25, 0.0, 0.0)]
    assert smoothed_prior(mean, 2).tolist() == pytest.approx(expected)
    assert float(smoothed_prior(mean, 2).sum()) == pytest.approx(1.0)


def test_a_batch_of_one_weighs_one(known: Build) -> None:
    roid = Roid(known(torch.eye(3)), RoidOptions(temperature=1.0))
    assert roid.weigh(torch.tensor([[3.0, 1.0, 0.0]])).tolist() == [1.0]


def test_the_prior_counts_in_the_scores(known: Build) -> None:
    logits = torch.tensor([[2.0, 1.9, 0.0], [2.0, 0.0, 0.0]])
    scores = {}
    for prior in ("logits", "probabilities", "off"):
        options = RoidOptions(temperature=1.0, prior=prior, consistency=False)
        scores[prior] = Roid(known(torch.eye(3)), options).rescore(logits)
    smoothed = smoothed_prior(logits.softmax(1).mean(0), 2)
    torch.testing.assert_close(scores["off"], logits)
    torch.testing.assert_close(scores["logits"], logits * smoothed)
    torch.testing.assert_close(
        scores["probabilities"].softmax(1),
        functional.normalize(logits.softmax(1) * smoothed, p=1, dim=1),
    )


def test_weights_are_pulled_to_the_source() -> None:
    def distance(momentum: float) -> float:
        world = World()
        options = RoidOptions(lr=1e-2, temperature=0.1, source_momentum=momentum)
        roid = Roid(world.setup(), options)
        for batch in world.batches[:3]:
            roid.step(batch)
        source = roid.source_parameters()
        return sum(float((p.detach() - source[n]).norm()) for n, p in roid.adapted.items())

    assert distance(0.0) == pytest.approx(0.0, abs=1e-6)
    assert 0 < distance(0.5) < distance(1.0)


def test_one_broken_query_does_not_stay_in_the_mean_prediction() -> None:
    world = World()
    roid = Roid(world.setup(), RoidOptions(temperature=0.1))
    broken = world.batches[0].clone()
    broken[0] = torch.nan
    assert roid.step(broken).log["skipped_updates"] == 3
    assert roid.step(world.batches[1]).log["skipped_updates"] == 0


@pytest.mark.parametrize("consistency", [False, True])
def test_weights_and_scores_of_the_published_loop(consistency: bool) -> None:
    world = double_world()
    items, draws = len(world.gallery), world.setup().generator
    state = {"mean": torch.full((items,), 1 / items, dtype=torch.float64)}
    batch_size = len(world.batches[0])

    def loss(inputs: Tensor, outputs: Tensor) -> Tensor:
        with torch.no_grad():
            p = outputs.softmax(1)
            diverse = 1 - functional.cosine_similarity(state["mean"][None], p, dim=1)
            if len(p) > 1:
                diverse = (diverse - diverse.min()) / (diverse.max() - diverse.min())
                certain = -entropies(outputs)
                certain = (certain - certain.min()) / (certain.max() - certain.min())
            else:
                diverse = certain = torch.zeros_like(diverse)
            mask = diverse < diverse.mean()
            weight = torch.exp(diverse * certain / (1 / 3))
            state["mean"] = 0.9 * state["mean"] + (1 - 0.9) * p.mean(0)
        clipped = torch.clamp(outputs.softmax(1), min=0.0, max=0.99)
        ratio = -(clipped * torch.log(clipped / (1 - clipped) + 1e-5)).sum(1)
        total = (ratio * weight)[~mask].sum() / batch_size
        if consistency:
            view = oracle.logits(augmented(world.encoder, inputs, draws))[~mask]
            x = outputs[~mask]
            apart = -0.5 * (x.softmax(1) * view.log_softmax(1)).sum(1)
            apart = apart - 0.5 * (view.softmax(1) * x.log_softmax(1)).sum(1)
            total = total + (apart * weight[~mask]).sum() / batch_size
        return total

    def merge() -> None:
        with torch.no_grad():
            source = dict(oracle.source.named_parameters())
            for name, parameter in oracle.encoder.named_parameters():
                if parameter.requires_grad:
                    parameter.copy_(0.99 * parameter + 0.01 * source[name])

    oracle = Oracle(double_world(), loss, after=merge)
    options = RoidOptions(lr=1e-2, temperature=TEMPERATURE, consistency=consistency)
    roid = Roid(world.setup(), options)
    for batch in world.batches:
        outputs = oracle.step(batch)
        prior = outputs.softmax(1).mean(0)
        smooth = max(1 / len(outputs), 1 / items) / torch.max(prior)
        expected = outputs * ((prior + smooth) / (1 + smooth * items)) * TEMPERATURE
        torch.testing.assert_close(roid.step(batch).scores, expected, rtol=0, atol=1e-10)
    torch.testing.assert_close(
        [p.detach() for p in roid.adapted.values()], oracle.weights(), rtol=0, atol=1e-10
    )
