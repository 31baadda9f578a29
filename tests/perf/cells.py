"""Cells of the embedded default that the speed tests run; importable by their child processes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

import benchmark as package
from benchmark.cell import BackboneSpec, Cell, MethodSpec, Record, ShiftSpec, StreamSpec
from benchmark.config.run import BenchConfig
from benchmark.errors import QueryShiftError
from benchmark.evaluation.builders import default_resources
from benchmark.evaluation.callbacks import Callback
from benchmark.evaluation.resources import Resources
from benchmark.evaluation.runner import run_cell
from benchmark.registry import METHODS, SHIFTS

ROOT = Path(package.__file__).resolve().parents[1]
IMAGES, TEXTS = "mini-coco-c-image", "mini-coco-c-text"


def mini_cell(
    method: str,
    shift: str = "contrast",
    *,
    benchmark: str = IMAGES,
    limit: int = 256,
    seed: int = 0,
) -> Cell:
    spec = MethodSpec(method, "published", {}, METHODS.get(method).card.version)
    return Cell(
        suite="mini",
        benchmark=benchmark,
        backbone=BackboneSpec("mini"),
        method=spec,
        shift=ShiftSpec(shift, 5 if benchmark == IMAGES else 1, {}, SHIFTS.get(shift).card.version),
        stream=StreamSpec(),
        seed=seed,
        limit=limit,
    )


def without_disk() -> Resources:
    """Each process works for itself, as in a run whose disk cache is off."""
    return default_resources(BenchConfig(cache="off"))


def finished(
    cell: Cell, resources: Resources, progress: Callback | None = None
) -> tuple[Record, dict[str, np.ndarray]]:
    """The record and arrays of a cell that must not fail."""
    record, arrays = run_cell(cell, resources, progress=progress)
    if record.reason:
        raise QueryShiftError(record.reason)
    return record, arrays


def done(cell: Cell, resources: Resources) -> Record:
    return finished(cell, resources)[0]


def in_child(
    module: str, job: str, *arguments: Any, variables: dict[str, str] | None = None
) -> Any:
    """What a function of a module returns in a fresh process with one torch thread."""
    code = (
        f"import json, sys\nfrom {module} import {job}\n"
        f"print(json.dumps({job}(*json.loads(sys.argv[1]))))"
    )
    plain = {name: value for name, value in os.environ.items() if not name.startswith("MALLOC_")}
    finished = subprocess.run(
        [sys.executable, "-c", code, json.dumps(arguments)],
        capture_output=True,
        text=True,
        cwd=ROOT,
        env={**plain, "OMP_NUM_THREADS": "1", **(variables or {})},
    )
    assert finished.returncode == 0, finished.stderr
    return json.loads(finished.stdout.splitlines()[-1])


def fastest(jobs: Sequence[Callable[[], float]], rounds: int) -> list[float]:
    """The least that each job took, the jobs taking turns: what disturbs one disturbs all."""
    times = [[job() for job in jobs] for _ in range(rounds)]
    return [min(of_job) for of_job in zip(*times, strict=True)]
