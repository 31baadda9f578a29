"""Loader workers: order, bytes, errors, deaths, and that none outlives its run."""

from __future__ import annotations

import gc
import json
import multiprocessing
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import benchmark
from benchmark.cell import Status
from benchmark.errors import DataError
from benchmark.evaluation import workers
from benchmark.evaluation.loader import QueryInputs
from benchmark.evaluation.runner import run_cell
from benchmark.evaluation.workers import loaded, loader_workers, one_thread
from benchmark.executors.processes import ProcessExecutor
from benchmark.store.run_store import RunStore
from tests.benchmark import fakes
from tests.benchmark.executors import worlds
from tests.benchmark.fakes import run_cells

ROOT = Path(benchmark.__file__).resolve().parents[1]
COUNTS = (0, 1, 2)
linux = pytest.mark.skipif(sys.platform != "linux", reason="asks /proc who is alive")


def resources_of(count: int) -> Any:
    return fakes.resources(workers=count)


def two_workers() -> Any:
    return resources_of(2)


@pytest.mark.parametrize("count", [*COUNTS, 50])
def test_results_come_in_order(count: int) -> None:
    def make(number: int) -> int:
        time.sleep(0.002 if number % 3 else 0)
        return number * number

    with loaded(make, range(20), count) as made:
        assert list(made) == [number * number for number in range(20)]
    with loaded(make, [], count) as made:
        assert list(made) == []


@pytest.mark.parametrize("count", COUNTS)
def test_an_error_comes_where_its_result_would(count: int) -> None:
    def make(number: int) -> int:
        if number == 3:
            raise DataError("item 3 is broken")
        return number

    with loaded(make, range(6), count) as made:
        assert [next(made) for _ in range(3)] == [0, 1, 2]
        with pytest.raises(DataError, match=r"^item 3 is broken$"):
            next(made)


class Unsendable(Exception):
    def __init__(self, one: int, two: int) -> None:
        super().__init__(f"{one} and {two}")


def test_an_error_that_cannot_be_sent_keeps_its_words() -> None:
    def make(number: int) -> int:
        raise Unsendable(number, 2)

    with loaded(make, [1], 1) as made, pytest.raises(RuntimeError, match="Unsendable: 1 and 2"):
        next(made)


def alive(pids: list[int]) -> list[int]:
    return list(filter(worlds.alive, pids))


@linux
@pytest.mark.parametrize("how", [KeyboardInterrupt, RuntimeError, SystemExit])
def test_leaving_early_ends_the_workers_at_once(how: type[BaseException]) -> None:
    def make(number: int) -> int:
        time.sleep(60 if number > 1 else 0)
        return os.getpid()

    pids: list[int] = []

    def stop() -> None:
        with loaded(make, range(10), 2) as made:
            pids.extend((next(made), next(made)))
            raise how

    begun = time.monotonic()
    with pytest.raises(how):
        stop()
    assert time.monotonic() - begun < 20
    assert len(set(pids)) == 2
    assert alive(pids) == []


def test_a_killed_worker_is_one_clear_error() -> None:
    def make(number: int) -> int:
        if number == 2:
            time.sleep(1)  # the results before it are on their way, and would die with it
            os.kill(os.getpid(), signal.SIGKILL)
        return number

    before = signal.getsignal(signal.SIGCHLD)
    with loaded(make, range(6), 1) as made:
        assert [next(made), next(made)] == [0, 1]
        with pytest.raises(DataError, match=r"a loader worker has died \(signal SIGKILL; out of"):
            next(made)
    assert signal.getsignal(signal.SIGCHLD) is before


@linux
@pytest.mark.parametrize("count", [1, 2])
def test_a_worker_that_stands_still_is_reported_and_ended(
    monkeypatch: pytest.MonkeyPatch, count: int
) -> None:
    """As one does that waits for a lock which nobody in its process holds."""
    lock, pids = threading.Lock(), multiprocessing.get_context("fork").SimpleQueue()

    def make(number: int) -> int:
        pids.put(os.getpid())
        if number == 2:
            lock.acquire()
        return number

    with lock, loaded(make, range(6), count) as made:
        assert [next(made), next(made)] == [0, 1]
        monkeypatch.setattr(workers, "STALLED_SECONDS", 0.5)  # not earlier: workers start slowly
        with pytest.raises(DataError, match=r"made anything for 0\.5 s.*--loader-workers 0"):
            next(made)
    found = set()
    while not pids.empty():
        found.add(pids.get())
    assert len(found) == count
    assert alive(list(found)) == []


@pytest.mark.parametrize("stop", [signal.SIGSTOP, signal.SIGKILL])
def test_leaving_never_waits_for_a_worker(stop: signal.Signals) -> None:
    """Neither for one that was killed nor for one that cannot even be asked to stop."""

    def make(number: int) -> int:
        if number > 1:
            time.sleep(0.2)  # until what was made before is sent
            os.kill(os.getpid(), stop)
        return number

    begun = time.monotonic()
    for _ in range(2):
        with loaded(make, range(50), 2) as made:
            assert next(made) == 0
            time.sleep(0.4)
    assert time.monotonic() - begun < 20


def test_busy_threads_of_the_process_do_not_stop_its_workers() -> None:
    """Torch's own threads are at work before, between and while workers are forked."""

    def convolved(seed: int) -> torch.Tensor:
        pictures = torch.rand(4, 3, 32, 32, generator=torch.Generator().manual_seed(seed))
        weights = torch.ones(8, 3, 3, 3, requires_grad=True)
        torch.nn.functional.conv2d(pictures, weights).square().sum().backward()
        assert weights.grad is not None
        return weights.grad

    def make(number: int) -> bytes:
        with one_thread():
            pictures = torch.full((1, 3, 32, 32), float(number))
            return torch.nn.functional.conv2d(pictures, torch.ones(8, 3, 3, 3)).numpy().tobytes()

    def work() -> None:
        while not done.is_set():
            convolved(1)

    before, done = torch.get_num_threads(), threading.Event()
    busy = threading.Thread(target=work)
    expected = [make(number) for number in range(12)]
    torch.set_num_threads(4)
    busy.start()
    try:
        for seed in range(5):
            convolved(seed)
            with loaded(make, range(12), 6) as made:
                assert list(made) == expected
        assert torch.get_num_threads() == 4
    finally:
        done.set()
        busy.join()
        torch.set_num_threads(before)


def test_a_worker_frees_nothing_that_it_has_inherited() -> None:
    """Its memory may be a GPU's, which a fork must not touch."""

    class Circle:
        def __init__(self) -> None:
            self.itself, self.process = self, os.getpid()

        def __del__(self) -> None:
            if os.getpid() != self.process:
                os._exit(7)

    def make(number: int) -> int:
        return gc.collect() * 0 + number

    gc.disable()
    try:
        Circle()
        with loaded(make, range(3), 1) as made:
            assert list(made) == [0, 1, 2]
        assert gc.get_freeze_count() == 0
    finally:
        gc.enable()


ABANDONED = """
import os, sys, time
from benchmark.evaluation.workers import loaded
def make(number):
    time.sleep(0 if number < 2 else 60)
    return os.getpid()
with loaded(make, range(10), 2) as made:
    print(next(made), next(made), flush=True)
    time.sleep(60)
"""


@linux
@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT, signal.SIGTERM])
def test_no_worker_outlives_a_killed_process(number: signal.Signals) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", ABANDONED], cwd=ROOT, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        pids = [int(word) for word in process.stdout.readline().split()]
        process.send_signal(number)
        process.wait(30)
    deadline = time.monotonic() + 10
    while alive(pids) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert len(pids) == 2
    assert alive(pids) == []


def test_torch_computes_on_one_thread_and_its_generator_is_not_touched() -> None:
    before, state = torch.get_num_threads(), torch.get_rng_state()
    torch.set_num_threads(before + 1)
    try:
        with loaded(lambda _: torch.get_num_threads(), range(2), 1) as made:
            assert list(made) == [1, 1]
    finally:
        torch.set_num_threads(before)
    assert torch.equal(torch.get_rng_state(), state)
    assert threading.current_thread() is threading.main_thread()


@pytest.mark.parametrize(
    ("cores", "cells", "items", "count", "beside"),
    [
        (8, "", 1000, 1, 7),
        (8, "", 10, 0, 0),
        (1, "", 1000, 0, 1),
        (2, "2", 1000, 0, 1),
        (2, "3", 1000, 0, 1),
        (8, "2", 1000, 1, 3),
        (64, "unknown", 1000, 0, 12),
        (64, "", 256, 1, 16),
        (64, "", 1000, 1, 24),
    ],
)
def test_by_itself_only_where_a_core_is_free_and_it_is_worth_it(
    monkeypatch: pytest.MonkeyPatch, cores: int, cells: str, items: int, count: int, beside: int
) -> None:
    monkeypatch.setattr(workers, "usable_cores", lambda: cores)
    monkeypatch.setenv(workers.WORKERS_VARIABLE, cells)
    assert loader_workers(None, "cpu", items) == count
    assert loader_workers(None, "cuda:0", items) == beside
    assert loader_workers(3, "cpu", items) == 3
    assert loader_workers(0, "cuda", items) == 0


@pytest.mark.parametrize("count", COUNTS)
def test_a_cell_fails_as_it_does_without(count: int) -> None:
    record, _ = run_cell(fakes.cell(benchmark="broken"), resources_of(count))
    assert record.status == Status.FAILED
    assert record.reason == "DataError: image image-4 cannot be read; replace the file"


def test_the_frames_of_a_workers_error_are_the_workers() -> None:
    class Broken(fakes.Noise):
        def corrupt(self, item: np.ndarray, severity: int, rng: np.random.Generator) -> np.ndarray:
            error = ZeroDivisionError("by hand")
            vars(error)["frames"] = 3  # as errors of other libraries may have
            raise error

    found = []
    for count in (0, 1):
        resources = fakes.resources(make_shift=lambda spec: Broken(), workers=count)
        found.append(run_cell(fakes.cell(), resources)[0])
    assert [record.reason for record in found] == ["ZeroDivisionError: by hand"] * 2
    assert found[0].info["frames"][-1] == found[1].info["frames"][-1]
    assert "in corrupt" in found[0].info["frames"][-1]


def numbers(record: Any, arrays: Any) -> str:
    bits = {name: values.tobytes().hex() for name, values in arrays.items()}
    return json.dumps([record.metrics, record.probes, record.batches, bits], default=dict)


@pytest.mark.parametrize(
    ("method", "threads"), [("source", 1), ("trained", 1), ("dropout", 1), ("trained", 2)]
)
def test_a_cell_has_the_same_bytes_with_any_number(method: str, threads: int) -> None:
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        found = {numbers(*run_cell(fakes.cell(method), resources_of(count))) for count in COUNTS}
    finally:
        torch.set_num_threads(before)
    assert len(found) == 1


@pytest.mark.slow
def test_cells_in_processes_have_loader_workers_too(tmp_path: Path) -> None:
    cells = [fakes.cell("trained"), fakes.cell("source")]
    store = RunStore(tmp_path)
    executor = ProcessExecutor(two_workers, workers=2, threads=torch.get_num_threads())
    run_cells(cells, store, executor, resources=resources_of(0))
    shared = resources_of(0)
    for cell in cells:
        record = next(r for r in store.records() if r.key == shared.key(cell))
        assert record.status == Status.DONE, record.reason
        assert numbers(record, fakes.stored(store, record.key).arrays) == numbers(
            *run_cell(cell, shared)
        )


@pytest.mark.parametrize("count", COUNTS)
def test_beside_a_gpu_the_next_batch_is_made_ready_in_order(
    monkeypatch: pytest.MonkeyPatch, count: int
) -> None:
    """A backbone that calls itself a GPU's: its batches come from a thread, and are the same."""
    data, backbone = fakes.world(count=10), fakes.FakeBackbone()
    parts = [np.array(part) for part in ([3, 1], [4, 0, 2], [9])]
    inputs = QueryInputs(data, backbone, workers=count)
    with inputs.batches(parts) as made:
        expected = list(made)
    collated, threads = backbone.collate, []

    def noted(modality: str, rows: Any) -> torch.Tensor:
        threads.append((threading.current_thread(), torch.get_num_threads()))
        return collated(modality, rows)

    monkeypatch.setattr(backbone, "collate", noted)
    monkeypatch.setattr(backbone, "device", "cuda")
    with inputs.batches(parts) as made:
        first = next(made)
        assert threading.main_thread() not in {thread for thread, _ in threads}
        assert all(map(torch.equal, [first, *made], expected))
    assert len(threads) == len(parts)
    assert {used for _, used in threads} == {1}

    def broken(modality: str, rows: Any) -> torch.Tensor:
        if len(rows) == 3:
            raise DataError("the second batch is broken")
        return collated(modality, rows)

    monkeypatch.setattr(backbone, "collate", broken)
    with inputs.batches(parts) as made:
        assert torch.equal(next(made), expected[0])
        with pytest.raises(DataError, match="second batch"):
            next(made)
