"""READ."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from methods.base import Setup
from methods.read import Read, ReadOptions


def test_loss_of_the_probe(known: Callable[[Tensor], Setup], logits_a: Tensor) -> None:
    log = Read(known(torch.eye(3)), ReadOptions(steps=1)).step(logits_a * 0.01).log
    assert log["loss_reliability"] == pytest.approx(0.307850, abs=1e-6)
    assert log["loss_balance"] == pytest.approx(-1.089467, abs=1e-6)
    assert log["loss"] == pytest.approx(-0.781617, abs=1e-6)


def test_mean_balance(known: Callable[[Tensor], Setup], logits_a: Tensor) -> None:
    options = ReadOptions(steps=1, balance="mean")
    log = Read(known(torch.eye(3)), options).step(logits_a * 0.01).log
    mean = torch.tensor([0.425782, 0.275962, 0.298255])
    assert log["loss_balance"] == pytest.approx(float((mean * mean.log()).sum()), abs=1e-5)
