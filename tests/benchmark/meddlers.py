"""Methods that do to their process what no method should; importable by worker processes."""

from __future__ import annotations

import asyncio
import os
import random
import signal
import sys
import threading
import warnings
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import torch

import methods.objectives
import methods.tent
from benchmark.cell import Cell, MethodSpec
from benchmark.evaluation.resources import Resources
from methods.base import Method, MethodCard, Setup, StepOutput
from tests.benchmark import fakes


class OwnStop(BaseException):
    """Neither an Exception nor one of Python's own."""


def _raising(error: BaseException) -> Callable[[Meddler], None]:
    def do(method: Meddler) -> None:
        raise error

    return do


def _zeros(*args: Any, **kwargs: Any) -> Any:
    return torch.zeros_like(args[0])


def _patching(owner: Any, name: str) -> Callable[[Meddler], None]:
    return lambda method: setattr(owner, name, _zeros)


def _mode(method: Meddler) -> None:
    class Mode(torch.overrides.TorchFunctionMode):
        def __torch_function__(
            self, func: Any, types: Any, args: Any = (), kwargs: Any = None
        ) -> Any:
            found = func(*args, **(kwargs or {}))
            is_float = isinstance(found, torch.Tensor) and found.is_floating_point()
            return found * 0.5 if is_float and func is torch.Tensor.matmul else found

    Mode().__enter__()


def _hook(method: Meddler) -> None:
    torch.nn.modules.module.register_module_forward_hook(lambda module, inputs, out: out * 0 + 1)


def _exit_in_generator(method: Meddler) -> None:
    raise GeneratorExit


SHARED: dict[str, Callable[[Meddler], object]] = {
    "data": lambda m: m.gallery.data.neg_(),
    "numpy": lambda m: np.negative(m.gallery.numpy(), out=m.gallery.numpy()),
    "view": lambda m: m.gallery.data.view(-1)[:7].zero_(),
    "swapped": lambda m: m.gallery.data[:2].copy_(m.gallery[:2].flip(0).clone()),
    "in place": lambda m: m.gallery.neg_(),
    "storage": lambda m: (
        torch.tensor([], dtype=torch.float32).set_(m.gallery.untyped_storage()).zero_()
    ),
}
"""Ways to write into the gallery."""

PATCHES: dict[str, Callable[[Meddler], object]] = {
    "softmax": _patching(torch, "softmax"),
    "functional": _patching(torch.nn.functional, "normalize"),
    "operator": _patching(torch.Tensor, "__matmul__"),
    "new name": _patching(torch.Tensor, "float"),
    "layer": _patching(torch.nn.LayerNorm, "forward"),
    "built-in method": _patching(methods.tent.Tent, "step"),
    "helper": _patching(methods.objectives, "entropy"),
    "harness": lambda m: setattr(
        __import__("benchmark.metrics.ranking").metrics, "recall_at", _zeros
    ),
    "mode": _mode,
    "hook": _hook,
}
"""Ways to change functions that all cells use."""

SETTINGS: dict[str, Callable[[Meddler], object]] = {
    "dtype": lambda m: torch.set_default_dtype(torch.float64),
    "device": lambda m: torch.set_default_device("meta"),
    "threads": lambda m: torch.set_num_threads(torch.get_num_threads() + 1),
    "no gradient": lambda m: torch.set_grad_enabled(False),
    "autocast": lambda m: torch.set_autocast_enabled("cpu", True),
    "deterministic": lambda m: torch.use_deterministic_algorithms(True),
    "denormals": lambda m: torch.set_flush_denormal(True),
    "anomaly": lambda m: torch.autograd.set_detect_anomaly(True),
    "torch seed": lambda m: torch.manual_seed(1),
    "numpy seed": lambda m: np.random.seed(1),  # noqa: NPY002
    "seed": lambda m: random.seed(1),
    "folder": lambda m: os.chdir("/"),
    "environment": lambda m: os.environ.update(OMP_NUM_THREADS="77"),
    "path": lambda m: sys.path.insert(0, "/nowhere"),
    "warnings": lambda m: warnings.simplefilter("ignore"),
    "recursion": lambda m: sys.setrecursionlimit(5000),
    "signals": lambda m: (
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        if threading.current_thread() is threading.main_thread()
        else None
    ),
    "streams": lambda m: setattr(sys, "stdout", None),
}
"""Ways to change the settings that a process has."""

STOPS: dict[str, Callable[[Meddler], object]] = {
    "exit 0": lambda m: sys.exit(0),
    "exit text": lambda m: sys.exit("enough"),
    "quit": lambda m: _raising(SystemExit())(m),
    "keyboard": _raising(KeyboardInterrupt()),
    "generator": _exit_in_generator,
    "cancelled": _raising(asyncio.CancelledError()),
    "stop iteration": _raising(StopIteration()),
    "own": _raising(OwnStop("enough")),
}
"""Ways to end more than the cell."""

ALL = SHARED | PATCHES | SETTINGS | STOPS


class Meddler(fakes.Source):
    """Meddles in the second batch."""

    card = MethodCard("meddler", "Meddler", "misbehaves", "none", trains=False)

    def __init__(self, setup: Setup, how: str) -> None:
        super().__init__(setup)
        self.how, self.batches = how, 0

    def step(self, queries: Any) -> StepOutput:
        good = super().step(queries)
        self.batches += 1
        if self.batches == 2:
            ALL[self.how](self)
        return good


class Dropout(fakes.Trained):
    """Draws from torch's global generator."""

    card = MethodCard("dropout", "Dropout", "draws", "none")

    def step(self, queries: Any) -> StepOutput:
        found = super().step(queries)
        return replace(found, scores=torch.nn.functional.dropout(found.scores, 0.5))


def make_method(spec: MethodSpec, setup: Setup) -> Method:
    if spec.name == "meddler":
        return Meddler(setup, spec.options["how"])
    return Dropout(setup) if spec.name == "dropout" else fakes.make_method(spec, setup)


def resources(**kwargs: Any) -> Resources:
    return fakes.resources(make_method=make_method, **kwargs)


def meddling(how: str) -> Cell:
    return replace(fakes.cell(), method=MethodSpec("meddler", "published", {"how": how}))
