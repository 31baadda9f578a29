"""What comes out of a method: a step's output, checked, or an error, described."""

from __future__ import annotations

import traceback
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from benchmark.errors import QueryShiftError
from methods.base import MethodError, StepOutput
from shifts.base import ShiftError

_FRAMES_KEPT = 6


class Diverged(MethodError):
    """Raised where sound queries got scores or embeddings that are not finite, or no embedding."""


def check_output(output: object, count: int, gallery: Tensor, queries: Tensor) -> dict[str, float]:
    """Refuses what a method must not return; gives its log as plain floats.

    Args:
        output: what ``Method.step`` returned.
        count: B, the number of queries in the batch.
        gallery: (N, D) what they were scored against.
        queries: the batch that it was given.

    Raises:
        MethodError: wrong type, shape or dtype, or values that are not finite.
        Diverged: values that are not finite, of queries that are.
    """
    if not isinstance(output, StepOutput):
        raise MethodError(f"step must return a StepOutput, not {type(output).__name__}")
    wanted = {"scores": (count, len(gallery)), "embeddings": (count, gallery.shape[1])}
    for name, shape in wanted.items():
        value = getattr(output, name)
        if not isinstance(value, Tensor) or not value.is_floating_point():
            kind = value.dtype if isinstance(value, Tensor) else type(value).__name__
            raise MethodError(f"{name} must be a floating-point tensor, not {kind}")
        if tuple(value.shape) != shape:
            raise MethodError(f"{name} must have shape {shape}, not {tuple(value.shape)}")
        bad, what = ~torch.isfinite(value).all(dim=1), "hold NaN or infinity"
        if name == "embeddings" and not bad.any():
            # Weights whose squares overflow are divided by an infinite length.
            bad, what = (value == 0).all(dim=1), "are all zero"
        if bad.any():
            found = f"{name} {what} for {int(bad.sum())} of {count} queries"
            given = torch.isfinite(queries).flatten(1).all(dim=1).to(bad.device)
            if not bool((bad & given).any()):
                raise MethodError(f"{found}, whose inputs are not finite")
            raise Diverged(
                f"{found}, whose inputs are finite: the method diverged; a smaller learning rate "
                "(option lr) may help"
            )
    log: dict[str, float] = {}
    for name, number in output.log.items():
        try:
            log[str(name)] = float(number)
        except (TypeError, ValueError):
            raise MethodError(f"log entry {name!r} is not a number: {number!r}") from None
    return log


def frames_of(error: BaseException) -> dict[str, Any]:
    """Where an error that is not the user's came from: the innermost frames, outermost first."""
    if isinstance(error, QueryShiftError | ShiftError):
        return {}
    frames = traceback.extract_tb(error.__traceback__)[-_FRAMES_KEPT:]
    if hasattr(error, "frames"):  # it comes from a loader worker
        return {"frames": error.frames}
    return {
        "frames": [
            f"{Path(*Path(frame.filename).parts[-2:])}:{frame.lineno} in {frame.name}"
            for frame in frames
        ]
    }
