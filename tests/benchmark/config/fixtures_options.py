"""Options of a made-up method: every kind of type that a field can have, and none at all."""

from __future__ import annotations

import argparse
from dataclasses import dataclass, field
from typing import Any

from benchmark.config.run import BenchConfig
from benchmark.planning.specs import given


@dataclass(frozen=True)
class Options:
    lr: float = 3e-4
    steps: int = 3
    refine: bool = True
    temperature: float | str = 0.02
    optimizer: str = field(default="adamw", metadata={"choices": ("adamw", "sgd")})
    cap: int | None = None

    def __post_init__(self) -> None:
        if self.steps < 1:
            raise ValueError("option 'steps' must be at least 1")


@dataclass(frozen=True)
class Nothing:
    pass


def resolve(args: argparse.Namespace, **preset: Any) -> BenchConfig:
    """The settings of a command line: its own defaults, the file of ``--config``, the flags."""
    found = {name: traced.value for name, traced in given(args).items()}
    return BenchConfig(**{**preset, **found})
