"""COME: the probe, the constant norm, no overflow, and the published loop."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from methods.base import MethodError, Setup
from methods.come import Come, ComeOptions, opinion_entropy
from tests.methods.oracle import TEMPERATURE, Oracle, double_world

Build = Callable[[Tensor], Setup]


def test_probe(known: Build, logits_a: Tensor) -> None:
    assert opinion_entropy(logits_a, 3.0).tolist() == pytest.approx([1.172836, 1.306981], abs=1e-6)
    log = Come(known(torch.eye(3)), ComeOptions(steps=1)).step(logits_a * 0.01).log
    assert log["loss"] == pytest.approx((1.172836 + 1.306981) / 2, abs=1e-6)


def test_the_norm_is_constant() -> None:
    logits = torch.tensor([[2.0, 1.0, 0.0]], requires_grad=True)
    (gradient,) = torch.autograd.grad(opinion_entropy(logits, 3.0).sum(), logits)
    assert float((gradient * logits.detach()).sum()) == pytest.approx(0.0, abs=1e-6)
    assert float(gradient.norm()) > 0.01


def test_large_logits_do_not_overflow() -> None:
    logits = torch.tensor([[100.0, 99.0, -100.0]], requires_grad=True)
    found = opinion_entropy(logits, 1000.0)
    (gradient,) = torch.autograd.grad(found.sum(), logits)
    assert float(found.detach()) == pytest.approx(0.582203, abs=1e-4)  # two items share all belief
    assert bool(torch.isfinite(gradient).all())


@pytest.mark.parametrize("prior", ["gallery", 1000.0])
def test_weights_and_scores_of_the_published_loop(prior: float | str) -> None:
    world = double_world()
    weight = len(world.gallery) if prior == "gallery" else prior

    def loss(_: Tensor, outputs: Tensor) -> Tensor:
        norm = torch.norm(outputs, p=2, dim=-1, keepdim=True)
        x = outputs / norm * norm.detach()
        total = torch.exp(x).sum(1, keepdim=True) + weight
        opinion = torch.cat([torch.exp(x) / total, weight / total], dim=1) + 1e-7
        return -(opinion * torch.log(opinion)).sum(1).mean(0)

    oracle = Oracle(double_world(), loss)
    come = Come(world.setup(), ComeOptions(lr=1e-2, temperature=TEMPERATURE, prior=prior))
    for batch in world.batches:
        torch.testing.assert_close(
            come.step(batch).scores, oracle.step(batch) * TEMPERATURE, rtol=0, atol=1e-10
        )
    torch.testing.assert_close(
        [p.detach() for p in come.adapted.values()], oracle.weights(), rtol=0, atol=1e-10
    )


def test_prior_is_a_number_or_the_gallery() -> None:
    with pytest.raises(MethodError, match="'prior' is 'classes'"):
        ComeOptions(prior="classes")
