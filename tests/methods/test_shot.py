"""SHOT: the probes, and the published loop."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from methods.base import Setup
from methods.shot import Shot, ShotOptions
from tests.methods.oracle import TEMPERATURE, Oracle, double_world, entropies

Build = Callable[[Tensor], Setup]


def test_first_probe_without_a_confident_query(known: Build, logits_a: Tensor) -> None:
    log = Shot(known(torch.eye(3)), ShotOptions(steps=1)).step(logits_a * 0.01).log
    assert log["loss_entropy"] == pytest.approx(0.926293, abs=1e-6)
    assert log["selected"] == 0
    assert log["loss"] == pytest.approx(-0.153351, abs=1e-6)


def test_second_probe_with_one(known: Build) -> None:
    shot = Shot(known(torch.eye(3)), ShotOptions(steps=1, temperature=1.0))
    logits = torch.tensor([[5.0, 1.0, 0.0], [0.0, 0.5, 1.0]])
    assert float(shot.pseudo_loss(logits)) == pytest.approx(0.024745, abs=1e-6)
    log = shot.step(logits).log
    assert log["selected"] == 1
    assert log["loss"] == pytest.approx(-0.382682, abs=1e-6)


def test_information_maximisation_alone(known: Build) -> None:
    options = ShotOptions(steps=1, temperature=1.0, pseudo_weight=0.0)
    logits = torch.tensor([[5.0, 1.0, 0.0], [0.0, 0.5, 1.0]])
    log = Shot(known(torch.eye(3)), options).step(logits).log
    assert log["loss"] == pytest.approx(-0.382682 - 0.1 * 0.024745, abs=1e-6)


def test_weights_and_scores_of_the_published_loop() -> None:
    def loss(_: Tensor, outputs: Tensor) -> Tensor:
        p = outputs.softmax(1)
        mean = p.mean(0)
        total = entropies(outputs).mean() + (mean * torch.log(mean + 1e-5)).sum()
        sure = p.max(1).values > 0.3
        if sure.any():
            picked = outputs[sure]
            total = total + 0.1 * functional.cross_entropy(picked, picked.argmax(1))
        return total

    oracle, world = Oracle(double_world(), loss), double_world()
    shot = Shot(world.setup(), ShotOptions(lr=1e-2, temperature=TEMPERATURE, confidence=0.3))
    for batch in world.batches:
        torch.testing.assert_close(
            shot.step(batch).scores, oracle.step(batch) * TEMPERATURE, rtol=0, atol=1e-10
        )
    torch.testing.assert_close(
        [p.detach() for p in shot.adapted.values()], oracle.weights(), rtol=0, atol=1e-10
    )
