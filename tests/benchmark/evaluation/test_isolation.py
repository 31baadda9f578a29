"""What a cell does to its process does not reach the next one's numbers."""

from __future__ import annotations

import json
import os
import sys
import time
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from benchmark.cell import Cell, Record, Status
from benchmark.evaluation.cache import DiskCache
from benchmark.evaluation.fingerprints import digest
from benchmark.evaluation.isolation import Isolation
from benchmark.evaluation.runner import run_cell
from benchmark.executors import SerialExecutor
from benchmark.executors.processes import ProcessExecutor
from benchmark.store.run_store import RunStore
from methods.base import QueryEncoder
from tests.benchmark import fakes, meddlers
from tests.benchmark.fakes import run_cells

NEXT = [fakes.cell("trained"), fakes.cell("dropout"), fakes.cell("source")]


def numbers(found: tuple[Record, dict[str, np.ndarray]]) -> Any:
    """All of a cell's result but machine and time."""
    record, arrays = found
    said = [record.status.value, record.reason, dict(record.metrics), dict(record.probes)]
    batches = [dict(batch) for batch in record.batches]
    return json.dumps([said, batches], sort_keys=True, default=str), {
        name: values.tobytes() for name, values in arrays.items()
    }


def surroundings() -> list[Any]:
    """What a test can see of this process's state."""
    return [
        *(torch.get_default_dtype(), torch.get_default_device(), torch.get_num_threads()),
        *(torch.is_grad_enabled(), torch.is_autocast_enabled("cpu")),
        *(torch.are_deterministic_algorithms_enabled(), torch.is_anomaly_enabled()),
        *(torch.get_rng_state().tolist(), os.getcwd(), dict(os.environ), list(sys.path)),
        *(list(warnings.filters), sys.getrecursionlimit(), sys.stdout),
        bool(torch.tensor([1e-42]).mul(1.0).item()),
    ]


@pytest.fixture(scope="module")
def undisturbed() -> list[Any]:
    """The numbers of the cells that follow, each in resources of its own."""
    return [numbers(run_cell(cell, meddlers.resources())) for cell in NEXT]


@pytest.mark.parametrize("how", meddlers.ALL)
def test_the_next_cells_have_the_numbers_of_a_fresh_process(
    how: str, undisturbed: list[Any], tmp_path: Path
) -> None:
    shared = meddlers.resources(disk=DiskCache(tmp_path / "cache", 1 << 20))
    before = surroundings()
    record, _ = run_cell(meddlers.meddling(how), shared)
    assert surroundings() == before
    if how not in meddlers.SETTINGS:  # some of these are too much for the cell itself
        assert record.status is Status.FAILED
    if how in meddlers.SHARED:
        assert "wrote into the gallery; it must work on a copy" in record.reason
    if how in meddlers.PATCHES:
        assert "replaced" in record.reason
        assert "all cells share" in record.reason
    assert [numbers(run_cell(cell, shared)) for cell in NEXT] == undisturbed
    # A process that starts with the cache that this one leaves finds nothing wrong in it.
    other = meddlers.resources(disk=DiskCache(tmp_path / "cache", 1 << 20))
    assert numbers(run_cell(NEXT[-1], other)) == undisturbed[-1]


@pytest.mark.slow
def test_a_worker_that_was_meddled_with_is_replaced(tmp_path: Path) -> None:
    """The same files as in this process, whoever ran before whom."""
    hows = ("data", "softmax", "dtype", "keyboard", "exit 0", "threads")
    cells = [
        cell
        for number, how in enumerate(hows)
        for cell in (meddlers.meddling(how), fakes.cell("trained", seed=number))
    ]
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        contents = []
        for name, executor in (
            ("serial", SerialExecutor(meddlers.resources())),
            ("processes", ProcessExecutor(meddlers.resources, workers=1)),
        ):
            store = RunStore(tmp_path / name)
            run_cells(cells, store, executor, resources=meddlers.resources())
            stored = {r.key: fakes.stored(store, r.key) for r in store.records()}
            contents.append({k: numbers((c.record, dict(c.arrays))) for k, c in stored.items()})
    finally:
        torch.set_num_threads(threads)
    assert contents[0] == contents[1]
    assert len(contents[0]) == len(cells)


@pytest.mark.parametrize("how", meddlers.STOPS)
def test_whatever_a_method_raises_fails_its_cell_and_the_run_goes_on(how: str) -> None:
    shared = meddlers.resources()
    record, _ = run_cell(meddlers.meddling(how), shared)
    assert record.status is Status.FAILED
    assert record.key == shared.key(meddlers.meddling(how))
    if how == "exit 0":
        assert record.reason == "SystemExit: the code of the cell called sys.exit(0)"


def test_source_weights_that_are_written_into_are_found_out() -> None:
    """A backbone that hands out its own tower instead of a copy."""

    class Careless(fakes.FakeBackbone):
        def query_encoder(self, modality: str) -> QueryEncoder:
            return self.encoder.requires_grad_(True)

    shared = meddlers.resources(load_backbone=lambda spec: Careless())
    record, _ = run_cell(fakes.cell("trained"), shared)
    assert "wrote into the source weights" in record.reason
    fresh = meddlers.resources(load_backbone=lambda spec: Careless())
    assert numbers(run_cell(NEXT[2], shared)) == numbers(run_cell(NEXT[2], fresh))


def test_a_shift_that_works_in_place_leaves_the_data_alone() -> None:
    class InPlace(fakes.Noise):
        def corrupt(self, item: np.ndarray, severity: int, rng: np.random.Generator) -> np.ndarray:
            item[:] = super().corrupt(item, severity, rng)
            return item

    shared = meddlers.resources(make_shift=lambda spec: InPlace())
    data = shared.data(NEXT[0])
    before = [np.array(data.queries[i]) for i in range(len(data.queries))]
    assert run_cell(NEXT[0], shared)[0].status is Status.DONE
    assert all(np.array_equal(data.queries[i], item) for i, item in enumerate(before))


@pytest.mark.parametrize("shape", [(1,), (5, 3), (4, 2, 2), (6, 8)])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.int64, torch.uint8])
def test_the_digest_sees_every_bit_and_every_place(shape: Any, dtype: torch.dtype) -> None:
    size = int(np.prod(shape))
    tensor = torch.arange(1, 1 + size).reshape(shape).to(dtype)
    known = digest([tensor])
    assert digest([tensor.clone()]) == known
    for place in range(size):
        other = tensor.clone()
        other.view(-1)[place] = 0
        assert digest([other]) != known
    if shape[0] > 1:
        assert digest([tensor.flip(0)]) != known
    assert digest([tensor, tensor]) != known


def test_it_costs_little() -> None:
    gallery = torch.randn(5000, 256)
    digest([gallery])
    times = []
    for _ in range(5):
        begun = time.perf_counter()
        digest([gallery])
        Isolation().restore()
        times.append(time.perf_counter() - begun)
    assert min(times) < 0.1  # about 0.01 s on one core; a cell takes seconds


@pytest.fixture(autouse=True)
def as_before() -> Iterator[None]:
    """A failing test must not leave its mess to the others."""
    guard = Isolation()
    yield
    guard.restore()


def test_nothing_is_broken_by_an_ordinary_cell() -> None:
    shared, seen = meddlers.resources(), []
    cells: list[Cell] = [fakes.cell(name) for name in ("source", "trained", "random")]
    for cell in cells:
        guard = Isolation()
        run_cell(cell, shared)
        seen.append(guard.restore())
    assert seen == [([], False)] * 3
    assert not shared.spoiled
