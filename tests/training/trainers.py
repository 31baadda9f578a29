"""What every trainer is asked: its learning rates, what its updates say, whether it resumes."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
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


def check_resumed(make: Callable[[], Any], path: Path, *parts: str) -> None:
    """A run that goes on from a checkpoint, in a trainer of its own, is the same run."""
    straight, resumed = make(), make()
    for _ in range(2):
        straight.update()
    straight.save(path)
    resumed.load(path)
    assert resumed.step == 2
    assert straight.update() == resumed.update()
    for name in parts:
        ours, theirs = getattr(straight, name).state_dict(), getattr(resumed, name).state_dict()
        assert all(torch.equal(ours[key], theirs[key]) for key in ours), name
