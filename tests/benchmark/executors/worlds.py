"""The fake world with traps: methods that hang, die or wait, at a time that a test can choose.

Importable by worker processes, hence a module and not fixtures.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from benchmark.cell import BackboneSpec, Cell, MethodSpec, Record, ShiftSpec
from benchmark.evaluation.resources import Resources
from benchmark.executors import Identified
from benchmark.executors.processes import ProcessExecutor
from benchmark.store.run_store import RunStore
from methods.base import Method, MethodCard, Setup, StepOutput
from tests.benchmark import fakes
from tests.benchmark.fakes import run_cells

METHODS = ("source", "trained", "random")


class Trap(fakes.Source):
    """Springs in the second batch; with a file, only as long as that does not exist."""

    card = MethodCard("trap", "Trap", "misbehaves once", "none", trains=False)

    def __init__(self, setup: Setup, how: str, flag: str) -> None:
        super().__init__(setup)
        self.how, self.flag, self.batches = how, Path(flag), 0

    def step(self, queries: Any) -> StepOutput:
        self.batches += 1
        if self.batches == 2 and not (self.flag.name and self.flag.exists()):
            if self.flag.name:
                self.flag.write_text(str(os.getpid()))
            getattr(self, self.how)()
        return super().step(queries)

    def hangs(self) -> None:
        time.sleep(600)

    def raises(self) -> None:
        raise RuntimeError("sprung")

    def is_killed(self) -> None:
        os.kill(os.getpid(), signal.SIGKILL)


def trap(how: str, flag: Path | str = "", **changes: Any) -> Cell:
    """A cell whose method springs; ``flag`` is created first, and then it does not spring again."""
    spec = MethodSpec("trap", "published", {"how": how, "flag": str(flag)})
    return replace(fakes.cell(**changes), method=spec)


def make_method(spec: MethodSpec, setup: Setup) -> Method:
    if spec.name == "trap":
        return Trap(setup, **spec.options)
    return fakes.make_method(spec, setup)


def resources() -> Resources:
    return fakes.resources(make_method=make_method)


def found(waiting: int, device: str, folder: str = "") -> Identified:
    """So many cells on a device, none of which has been run."""
    cells = [fakes.cell(backbone=BackboneSpec("fake", device=device)) for _ in range(waiting)]
    return Identified(cells, RunStore(folder), list(map(str, range(waiting))), {}, {})


def grid() -> list[Cell]:
    """Three methods under two severities and two seeds; a method that fails; broken data."""
    cells = [
        fakes.cell(method, shift=ShiftSpec("noise", severity), seed=seed)
        for severity in (1, 5)
        for seed in (0, 1)
        for method in METHODS
    ]
    return [*cells, fakes.cell("bad", how="nan"), fakes.cell("source", benchmark="broken")]


Content = dict[str, tuple[dict[str, Any], dict[str, bytes]]]


def content(store: RunStore) -> Content:
    """What a run says, by file: records without machine, time and so digest; arrays as bytes."""
    found: Content = {}
    for path in sorted(store.cells.glob("*.json")):
        record = json.loads(path.read_text())
        for part in ("environment", "cost", "digest"):
            del record[part]
        numbers: dict[str, bytes] = {}
        if path.with_suffix(".npz").exists():
            with np.load(path.with_suffix(".npz"), allow_pickle=False) as stored:
                numbers = {name: stored[name].tobytes() for name in stored.files}
        found[path.name] = record, numbers
    return found


class Saved:
    """A save callback that remembers."""

    def __init__(self) -> None:
        self.records: list[Record] = []

    def __call__(self, record: Record, arrays: Mapping[str, np.ndarray]) -> None:
        self.records.append(record)


def statuses(records: Sequence[Record]) -> list[str]:
    return [record.status.value for record in records]


def alive(pid: int) -> bool:
    with contextlib.suppress(OSError):
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
        return state not in "ZX"
    return False


def no_files_under_way(folder: Path) -> bool:
    """Whether nothing is left of files that were being written."""
    return not list(folder.rglob("*.tmp"))


def shared_grid(flag: Path) -> list[Cell]:
    """Cells of which the second hangs as long as the file does not exist."""
    return [fakes.cell(), trap("hangs", flag), *(fakes.cell("trained", seed=s) for s in range(3))]


def drive(folder: str, flag: str) -> None:
    """A whole run in a process of its own, with one worker."""
    executor = ProcessExecutor(resources, workers=1)
    run_cells(shared_grid(Path(flag)), RunStore(folder), executor, resources=resources())
