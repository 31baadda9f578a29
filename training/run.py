"""What the trainers of the mini encoders share: items kept on disk, optimiser, average, loop."""

from __future__ import annotations

import copy
import json
import logging
import math
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from benchmark.config.files import atomic_write
from benchmark.errors import DataError
from training.recipes import Recipe

_SHOW_EVERY = 25


class TrainingRun(ABC):
    """A model, heads that are trained with it and dropped afterwards, averaged weights.

    Args:
        model: what is trained and shipped.
        heads: trained with it.
        log_scale: the learnt logarithm of the logit scale, a parameter of either.
        recipe: how.

    Attributes:
        average: moving average of the model's weights; this is what is exported.
        step: optimiser steps taken.
    """

    def __init__(
        self, model: nn.Module, heads: nn.Module, log_scale: nn.Parameter, recipe: Recipe
    ) -> None:
        self._model, self._heads, self._schedule = model, heads, recipe
        self.log_scale = log_scale
        self.average: Any = copy.deepcopy(model)
        decayed: list[nn.Parameter] = []
        plain: list[nn.Parameter] = []
        for p in [*model.parameters(), *heads.parameters()]:
            (decayed if p.ndim >= 2 else plain).append(p)
        self.optimizer = torch.optim.AdamW(
            [
                {"params": decayed, "weight_decay": recipe.weight_decay},
                {"params": plain, "weight_decay": 0.0},
            ],
            lr=recipe.lr,
            betas=(0.9, 0.98),
        )
        self.step = 0

    def rate(self) -> float:
        """The learning rate of the step to come: linear warm-up, then a cosine to zero."""
        r = self._schedule
        if self.step < r.warmup:
            return r.lr * (self.step + 1) / r.warmup
        return r.lr * 0.5 * (1 + math.cos(math.pi * (self.step - r.warmup) / (r.steps - r.warmup)))

    @property
    def logit_scale(self) -> float:
        """What similarities are multiplied by."""
        return float(self.log_scale.detach().exp())

    @abstractmethod
    def update(self) -> dict[str, float]:
        """One optimiser step; gives the parts of its loss by name."""

    def descend(self, loss: Tensor) -> None:
        """One optimiser step on a loss; moves the average after it."""
        for group in self.optimizer.param_groups:
            group["lr"] = self.rate()
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(self._model.parameters(), 1.0)
        self.optimizer.step()
        decay = min(self._schedule.ema, (1 + self.step) / (10 + self.step))
        with torch.no_grad():
            self.log_scale.clamp_(max=math.log(100))  # as CLIP does
            pairs = zip(self.average.parameters(), self._model.parameters(), strict=True)
            for kept, now in pairs:
                kept.lerp_(now, 1 - decay)
        self.step += 1

    def save(self, path: Path) -> None:
        """Writes a checkpoint in one piece."""
        state = {name: part.state_dict() for name, part in self._parts().items()}
        atomic_write(path, lambda file: torch.save({**state, "step": self.step}, file))

    def load(self, path: Path) -> None:
        """Continues from a checkpoint."""
        state = torch.load(path, weights_only=True)
        for name, part in self._parts().items():
            part.load_state_dict(state[name])
        self.step = state["step"]

    def _parts(self) -> dict[str, Any]:
        own = {"model": self._model, "heads": self._heads}
        return {**own, "average": self.average, "optimizer": self.optimizer}

    def run(
        self, work: Path, export: Callable[[Any, Path], None], log: logging.Logger, *, every: int
    ) -> None:
        """Trains to the end of the schedule, from the folder's last checkpoint if there is one.

        Args:
            work: where the checkpoint lies, and an export of the average at the same steps.
            export: writes the averaged model into a folder.
            log: told of the losses.
            every: steps between checkpoints.
        """
        started = time.perf_counter()
        work.mkdir(parents=True, exist_ok=True)
        checkpoint = work / "checkpoint.pt"
        if checkpoint.exists():
            self.load(checkpoint)
            log.info("continuing at step %d", self.step)
        while self.step < self._schedule.steps:
            losses = self.update()
            if self.step % _SHOW_EVERY == 0:
                shown = "  ".join(f"{name} {value:.3f}" for name, value in losses.items())
                seconds = time.perf_counter() - started
                log.info(
                    "step %d  %s  scale %.1f  %.0f s", self.step, shown, self.logit_scale, seconds
                )
            if self.step % every == 0 or self.step == self._schedule.steps:
                self.save(checkpoint)
                export(self.average, work / "export")


Draw = Callable[[int, int], dict[str, np.ndarray]]
"""(number of the first item, how many) -> their arrays; can be sent to another process."""


def drawn(
    folder: Path, draw: Draw, facts: Mapping[str, Any], *, count: int, chunk: int, workers: int
) -> dict[str, np.ndarray]:
    """The arrays of ``count`` items; chunks that are missing under ``folder`` are drawn.

    Args:
        folder: where chunks lie.
        draw: makes a chunk, from a generator of its own.
        facts: what items depend on besides their number.
        count: how many items.
        chunk: items of a file.
        workers: processes that draw.

    Raises:
        DataError: the folder holds items of other facts.
    """
    folder.mkdir(parents=True, exist_ok=True)
    note, text = folder / "recipe.json", json.dumps({**facts, "chunk": chunk})
    if note.exists() and note.read_text() != text:
        raise DataError(f"{folder} holds items of {note.read_text()}; empty it or use another")
    atomic_write(note, text.encode())
    files = {start: folder / f"chunk-{start:06d}.npz" for start in range(0, count, chunk)}
    missing = [start for start, file in files.items() if not file.exists()]
    if missing:
        with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
            for job in [pool.submit(_write, files[s], draw, s, chunk) for s in missing]:
                job.result()
    found: dict[str, np.ndarray] = {}
    for start, file in files.items():
        with np.load(file, allow_pickle=False) as stored:
            for name in stored.files:
                rows = stored[name][: count - start]
                if name not in found:
                    found[name] = np.empty((count, *rows.shape[1:]), rows.dtype)
                found[name][start : start + len(rows)] = rows
    return found


def _write(file: Path, draw: Draw, start: int, count: int) -> None:
    arrays = draw(start, count)
    atomic_write(file, lambda stream: np.savez(stream, allow_pickle=False, **arrays))
