"""The same cells by other executors: serial, worker processes, resume, crashes, interrupts."""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from benchmark.cell import Cell, Status
from benchmark.errors import ConfigError, DataError, ResultsError
from benchmark.executors import Executor, SerialExecutor, identify
from benchmark.executors.processes import ProcessExecutor
from benchmark.executors.ray import RayExecutor
from benchmark.executors.slurm import SlurmExecutor
from benchmark.store.run_store import RunStore
from tests.benchmark import fakes
from tests.benchmark.executors.worlds import METHODS, Saved
from tests.benchmark.fakes import run_cells


def test_events_of_workers_are_told_in_this_process() -> None:
    cells = [fakes.cell(method, seed=seed) for seed in (0, 1) for method in METHODS]
    log, threads = fakes.Log(), torch.get_num_threads()
    records = ProcessExecutor(fakes.resources, workers=2).run(cells, Saved(), progress=log)
    assert torch.get_num_threads() == threads
    assert [record.cell for record in records] == [cell.to_dict() for cell in cells]
    assert {record.environment["threads"] for record in records} == {1}
    # Each cell's start, four batches and end.
    kinds = [event[0] for event in log.events]
    assert [kinds.count(kind) for kind in ("started", "batch", "done")] == [6, 24, 6]
    for name in METHODS:
        told = [event[0] for event in log.events if event[1] == name]
        assert (told[0], told[-1]) == ("started", "done")


def test_a_dead_worker_fails_its_cell_and_the_rest_goes_on() -> None:
    cells = [fakes.cell("bad", how="dies"), fakes.cell("bad", how="raises"), fakes.cell()]
    saved = Saved()
    # A limit of a year: the system's call takes no such number.
    records = ProcessExecutor(fakes.resources, workers=1, time_limit=3e7).run(cells, saved)
    assert [r.status for r in records] == [Status.FAILED, Status.FAILED, Status.DONE]
    assert records[0].reason == "WorkerDied: the worker process ended with exit code 3"
    assert records[0].key == cells[0].unfinished_key
    assert records[1].reason == "RuntimeError: the norm exploded"
    assert [r.key for r in saved.records] == [r.key for r in records]


@pytest.mark.slow
def test_workers_find_their_environment_and_this_process_keeps_its_own(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("MALLOC_MMAP_MAX_", raising=False)
    monkeypatch.setenv("MALLOC_TRIM_THRESHOLD_", "7")
    before = dict(os.environ)
    executor = ProcessExecutor(environment_factory, workers=1, threads=1, devices=("5", "6"))
    record, *_ = executor.run([fakes.cell()], Saved())
    assert record.reason == "RuntimeError: 0 7 1 5"
    assert dict(os.environ) == before


def environment_factory() -> Any:
    allocator = ("MALLOC_MMAP_MAX_", "MALLOC_TRIM_THRESHOLD_")
    names = (*allocator, "OMP_NUM_THREADS", "CUDA_VISIBLE_DEVICES")
    raise RuntimeError(" ".join(os.environ[name] for name in names))


@pytest.mark.slow
def test_ctrl_c_saves_cells_under_way_and_leaves_no_child() -> None:
    cells = [fakes.cell(method) for method in METHODS]
    saved = Saved()

    class Interrupting(fakes.Log):
        def batch_done(self, cell: Cell, batch_log: Any) -> None:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        ProcessExecutor(fakes.resources, workers=1).run(cells, saved, progress=Interrupting())
    (record,) = saved.records
    assert (record.status, record.reason) == (Status.INTERRUPTED, "stopped by the user")
    assert record.key == cells[0].unfinished_key
    assert not __import__("multiprocessing").active_children()


@pytest.fixture
def interruptible() -> Iterator[None]:
    """SIGINT raises, also where pytest is a background job, which shells start ignoring it."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("interruptible")
def test_ctrl_c_in_this_process_saves_the_cell_under_way(tmp_path: Path) -> None:
    """A real signal between batches: finished cells stay, and the next run does only the rest."""
    store, cells = RunStore(tmp_path), [fakes.cell(method) for method in METHODS]

    class Signalling(fakes.Log):
        def cell_started(self, cell: Cell, batches: int, queries: int) -> None:
            super().cell_started(cell, batches, queries)
            if cell.method.name == "trained":
                signal.raise_signal(signal.SIGINT)

    assert threading.current_thread() is threading.main_thread()
    shared = fakes.resources()
    with pytest.raises(KeyboardInterrupt):
        run_cells(cells, store, SerialExecutor(shared), resources=shared, progress=Signalling())
    status = {r.cell["method"]["name"]: r.status for r in store.records()}
    assert status == {"source": Status.DONE, "trained": Status.INTERRUPTED}
    log = fakes.Log()
    outcome = run_cells(cells, store, SerialExecutor(shared), resources=shared, progress=log)
    assert outcome.reused == 1
    assert [r.status for r in outcome.records] == [Status.DONE] * 3
    assert {event[1] for event in log.events} == {"trained", "random"}


def test_finished_cells_are_reused_and_failed_ones_run_again(tmp_path: Path) -> None:
    store, shared = RunStore(tmp_path), fakes.resources()
    cells = [fakes.cell(), fakes.cell("bad", how="nan"), fakes.cell()]
    first = run_cells(cells, store, SerialExecutor(shared), resources=shared)
    assert (first.reused, len(store.records())) == (0, 2)
    assert [r.status for r in first.records] == [Status.DONE, Status.FAILED, Status.DONE]
    stamps = {path: path.stat().st_mtime_ns for path in store.cells.iterdir()}
    log = fakes.Log()
    second = run_cells(cells, store, SerialExecutor(shared), resources=shared, progress=log)
    assert second.reused == 2
    assert {event[1] for event in log.events} == {"bad"}
    kept = [path for path in stamps if path.stat().st_mtime_ns == stamps[path]]
    assert {path.suffix for path in kept} == {".json", ".npz"}
    assert second.records[0].metrics == first.records[0].metrics
    found = identify(cells[:1], store, shared, again=True)
    third = run_cells(cells[:1], store, SerialExecutor(shared), resources=shared, found=found)
    assert third.reused == 0


def test_other_data_are_another_cell(tmp_path: Path) -> None:
    store = RunStore(tmp_path)
    for count in (30, 20):
        shared = fakes.resources(load_data=lambda cell, count=count: fakes.world(count=count))
        outcome = run_cells([fakes.cell()], store, SerialExecutor(shared), resources=shared)
        assert outcome.reused == 0
    assert len(store.records()) == 2


def test_missing_data_fail_their_cells_or_the_run(tmp_path: Path) -> None:
    shared, missing = fakes.resources(), fakes.cell(benchmark="missing")
    with pytest.raises(DataError, match="no data in /nowhere"):
        run_cells([missing], RunStore(tmp_path / "a"), SerialExecutor(shared), resources=shared)
    assert RunStore(tmp_path / "a").records() == []
    store = RunStore(tmp_path / "b")
    outcome = run_cells([missing, fakes.cell()], store, SerialExecutor(shared), resources=shared)
    assert [r.status for r in outcome.records] == [Status.FAILED, Status.DONE]
    assert outcome.records[0].reason == "DataError: no data in /nowhere; put the images there"
    assert len(store.records()) == 2


def test_an_unwritable_folder_stops_before_the_work(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    shared, log = fakes.resources(), fakes.Log()
    with pytest.raises(ResultsError, match="cannot write"):
        run_cells(
            [fakes.cell()],
            RunStore(tmp_path / "file"),
            SerialExecutor(shared),
            resources=shared,
            progress=log,
        )
    assert log.events == []


@pytest.mark.parametrize(
    ("executor", "module", "extra"),
    [
        (RayExecutor(fakes.resources), "ray", "ray"),
        (SlurmExecutor(fakes.resources, folder=Path()), "submitit", "slurm"),
    ],
    ids=["ray", "slurm"],
)
def test_without_the_extra_one_error_names_it(
    executor: Executor, module: str, extra: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(ConfigError, match=rf"pip install 'queryshift\[{extra}\]'"):
        executor.run([fakes.cell()], Saved())
