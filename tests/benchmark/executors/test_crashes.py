"""What goes wrong around the cells: no finished one is lost or doubled, the rest resumes."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest

import benchmark
from benchmark.cell import Cell, Record, Status, unfinished
from benchmark.errors import ResultsError
from benchmark.evaluation.runner import run_cell
from benchmark.executors import SerialExecutor
from benchmark.executors.processes import ProcessExecutor
from benchmark.store.run_store import RunStore
from tests.benchmark import fakes
from tests.benchmark.cli.test_full_disk import files_end_after
from tests.benchmark.executors import worlds
from tests.benchmark.fakes import run_cells

ROOT = Path(benchmark.__file__).resolve().parents[1]


def full_disk(folder: Path, patch: pytest.MonkeyPatch) -> AbstractContextManager[None]:
    return files_end_after(300)


@contextmanager
def read_only_folder(folder: Path, patch: pytest.MonkeyPatch) -> Iterator[None]:
    """Nothing can be opened for writing, whoever the tests run as (root may write anywhere)."""
    real = Path.open

    def refuse(path: Path, mode: str = "r", *args: Any, **kwargs: Any) -> Any:
        if path.is_relative_to(folder) and set(mode) & set("wxa+"):
            raise OSError(errno.EROFS, os.strerror(errno.EROFS), str(path))
        return real(path, mode, *args, **kwargs)

    with patch.context() as within:
        within.setattr(Path, "open", refuse)
        yield


Fault = Callable[[Path, pytest.MonkeyPatch], AbstractContextManager[None]]


@pytest.mark.parametrize(
    ("fault", "reason"),
    [(full_disk, "File too large; free space"), (read_only_folder, "file system; choose another")],
)
def test_a_folder_that_takes_no_more(
    fault: Fault, reason: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, cells = RunStore(tmp_path), worlds.grid()[:4]

    def run(then: Callable[[Record], object]) -> Any:
        class Watching(fakes.Log):
            def cell_done(self, record: Record) -> None:
                super().cell_done(record)
                then(record)

        shared = worlds.resources()
        log = Watching()
        outcome = run_cells(cells, store, SerialExecutor(shared), resources=shared, progress=log)
        return outcome, [event for event in log.events if event[0] == "started"]

    broken = f"cannot write .*{reason}"
    with ExitStack() as stack, pytest.raises(ResultsError, match=broken):
        run(lambda record: stack.enter_context(fault(tmp_path, monkeypatch)))
    (kept,) = store.records()
    assert store.finished({kept.key})
    before = {path: path.read_bytes() for path in store.cells.iterdir()}
    assert worlds.no_files_under_way(tmp_path)
    outcome, started = run(lambda record: None)
    assert (outcome.reused, len(started)) == (1, 3)
    assert worlds.statuses(outcome.records) == ["done"] * 4
    assert before.items() <= {path: path.read_bytes() for path in store.cells.iterdir()}.items()


def test_a_clock_that_jumps(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store, shared = RunStore(tmp_path), worlds.resources()
    cells = worlds.grid()[:4]
    jumps = iter([1e9, 0.0, 4e9, 1.0])

    class Jumping(fakes.Log):
        def cell_done(self, record: Record) -> None:
            moment = next(jumps)
            monkeypatch.setattr(time, "time", lambda: moment)
            for path in store.cells.iterdir():
                os.utime(path, (moment, moment))

    executor = SerialExecutor(shared)
    first = run_cells(cells, store, executor, resources=shared, progress=Jumping())
    assert worlds.statuses(first.records) == ["done"] * 4
    assert run_cells(cells, store, executor, resources=shared).reused == 4
    assert len(list(store.cells.glob("*.json"))) == 4


def test_runs_that_end_the_same_cell_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both do it, and one fails: its look at the folder and its record are one."""
    store, shared, cell = RunStore(tmp_path), worlds.resources(), fakes.cell()
    done, arrays = run_cell(cell, shared)
    failed = unfinished(cell, done.key, Status.FAILED, "WorkerDied: out of memory?")
    looked = threading.Event()
    real = RunStore._has_result

    def slow_look(self: RunStore, cell: Cell, key: str) -> bool:
        found = real(self, cell, key)
        looked.set()
        time.sleep(0.3)
        return found

    with monkeypatch.context() as patch:
        patch.setattr(RunStore, "_has_result", slow_look)
        other = threading.Thread(target=store.save, args=(failed,))
        other.start()
        assert looked.wait(60)
        store.save(done, arrays)
        other.join()
    assert store.finished({done.key})
    assert fakes.stored(store, done.key).arrays.keys() == arrays.keys()


@pytest.mark.slow
def test_killed_and_hanging_workers(tmp_path: Path) -> None:
    store, shared, log = RunStore(tmp_path / "run"), worlds.resources(), fakes.Log()
    cells = [
        worlds.trap("is_killed", tmp_path / "killed"),
        worlds.trap("hangs", tmp_path / "hung"),
        fakes.cell(),
    ]
    executor = ProcessExecutor(worlds.resources, workers=1, time_limit=10)
    first = run_cells(cells, store, executor, resources=shared, progress=log)
    # Left alone, the hanging cell would be done at last.
    assert worlds.statuses(first.records) == ["failed", "timeout", "done"]
    assert "signal SIGKILL" in first.records[0].reason
    assert first.records[1].reason == (
        "TimeLimit: the cell took longer than 10 s; its worker was stopped"
    )
    unfinished = [cell.unfinished_key for cell in cells[:2]]
    assert [record.key for record in first.records] == [*unfinished, shared.key(cells[2])]
    assert not worlds.alive(int((tmp_path / "hung").read_text()))
    second = run_cells(cells, store, SerialExecutor(shared), resources=shared)
    assert (second.reused, worlds.statuses(second.records)) == (1, ["done"] * 3)
    assert worlds.statuses(store.records()) == ["done"] * 3


@pytest.mark.slow
def test_a_killed_run_loses_nothing_to_one_beside_it(tmp_path: Path) -> None:
    """Two runs on one folder; the first hangs in a cell and is killed meanwhile."""
    store, flag = RunStore(tmp_path / "run"), tmp_path / "hung"
    code = (
        "from tests.benchmark.executors import worlds\n"
        f"worlds.drive({str(store.path)!r}, {str(flag)!r})"
    )
    first = subprocess.Popen([sys.executable, "-c", code], cwd=ROOT)
    try:
        wait_for(lambda: flag.exists() and bool(flag.read_text()))
        worker = int(flag.read_text())
        shared, cells = worlds.resources(), worlds.shared_grid(flag)

        class Killing(fakes.Log):
            def cell_done(self, record: Record) -> None:
                super().cell_done(record)
                first.send_signal(signal.SIGKILL)
                first.wait()

        executor = SerialExecutor(shared)
        outcome = run_cells(cells, store, executor, resources=shared, progress=Killing())
    finally:
        first.kill()
        first.wait()
    assert worlds.statuses(outcome.records) == ["done"] * len(cells)
    assert outcome.reused == 1  # the first run's only finished cell
    assert len(store.records()) == len(cells)
    assert worlds.no_files_under_way(tmp_path)
    wait_for(lambda: not worlds.alive(worker))  # its worker hangs, but not for ever


def wait_for(condition: Callable[[], bool], seconds: float = 600.0) -> None:
    limit = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < limit, "it did not come"
        time.sleep(0.05)
