"""What the tests of every trainer look at: its learning rates, and what its updates say."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch


def rates_of(trainer: Any, steps: int) -> list[float]:
    """The learning rate of each of the first steps."""
    rates = []
    for step in range(steps):
        trainer.step = step
        rates.append(trainer.rate())
    return rates


def updates_of(make: Callable[[], Any], steps: int) -> list[dict[str, float]]:
    """What each update of a new trainer says: finite, and no draw of the global generator."""
    before = torch.random.get_rng_state()
    trainer = make()
    said = [trainer.update() for _ in range(steps)]
    assert all(math.isfinite(value) for one in said for value in one.values())
    assert torch.equal(before, torch.random.get_rng_state())
    return said
