"""Batches prepared ahead: order, bounds, errors, leaving early, and when it is done at all."""

from __future__ import annotations

import threading
import time

import pytest
import torch

from benchmark.cell import Status
from benchmark.evaluation import prefetch
from benchmark.evaluation.prefetch import DEPTH, depth_for, prefetched
from benchmark.evaluation.runner import run_cell
from tests.benchmark import fakes

DEPTHS = (0, 1, 2, 5, 100)


@pytest.mark.parametrize("depth", DEPTHS)
def test_results_come_in_order(depth: int) -> None:
    def make(number: int) -> int:
        time.sleep(0.002 if number % 3 else 0)
        return number * number

    with prefetched(range(20), make, depth) as made:
        assert list(made) == [number * number for number in range(20)]
    with prefetched([], make, depth) as made:
        assert list(made) == []


@pytest.mark.parametrize("depth", DEPTHS)
def test_no_more_than_that_many_wait(depth: int) -> None:
    asked: list[int] = []

    def items() -> object:
        for number in range(20):
            asked.append(number)
            yield number

    with prefetched(items(), lambda number: number, depth) as made:  # type: ignore[arg-type]
        for number in range(20):
            assert next(made) == number
            assert len(asked) == min(20, number + 1 + depth)


@pytest.mark.parametrize("depth", DEPTHS)
def test_an_error_comes_where_its_result_would(depth: int) -> None:
    def make(number: int) -> int:
        if number == 3:
            raise ValueError("item 3 is broken")
        return number

    with prefetched(range(6), make, depth) as made:
        assert [next(made) for _ in range(3)] == [0, 1, 2]
        with pytest.raises(ValueError, match="item 3 is broken"):
            next(made)


def test_the_next_is_made_while_the_current_one_is_used() -> None:
    second = threading.Event()

    def make(number: int) -> int:
        if number == 1:
            second.set()
        return number

    with prefetched(range(2), make, 1) as made:
        assert next(made) == 0
        assert second.wait(10)


def test_leaving_early_drops_the_rest_and_ends_the_thread() -> None:
    made: list[int] = []

    def make(number: int) -> int:
        made.append(number)
        time.sleep(0.005)
        return number

    def stop_at_once() -> None:
        with prefetched(range(100), make, 3) as results:
            next(results)
            raise KeyboardInterrupt

    before = threading.active_count()
    with pytest.raises(KeyboardInterrupt):
        stop_at_once()
    assert len(made) <= 4
    assert threading.active_count() == before


def test_the_other_thread_has_as_many_torch_threads() -> None:
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(before + 2)
        with prefetched(range(2), lambda _: torch.get_num_threads(), 1) as made:
            assert list(made) == [before + 2] * 2
    finally:
        torch.set_num_threads(before)


@pytest.mark.parametrize(
    ("cores", "workers", "depth"),
    [
        (8, "", DEPTH),
        (1, "", 0),
        (2, "2", 0),
        (2, "3", 0),
        (8, "2", DEPTH),
        (2, "1", DEPTH),
        (8, "unknown", 0),
    ],
)
def test_only_where_a_core_is_free(
    monkeypatch: pytest.MonkeyPatch, cores: int, workers: str, depth: int
) -> None:
    monkeypatch.setattr(prefetch, "usable_cores", lambda: cores)
    monkeypatch.setenv(prefetch.WORKERS_VARIABLE, workers)
    assert depth_for("cpu") == depth
    assert depth_for("cuda:0") == DEPTH


def test_a_worker_that_was_told_nothing_prepares_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(prefetch, "usable_cores", lambda: 8)
    monkeypatch.delenv(prefetch.WORKERS_VARIABLE, raising=False)
    monkeypatch.setattr(prefetch, "parent_process", lambda: object())
    assert depth_for("cpu") == 0


@pytest.mark.parametrize("workers", ["1", "1000"])
def test_a_cell_fails_as_it_does_without(monkeypatch: pytest.MonkeyPatch, workers: str) -> None:
    monkeypatch.setattr(prefetch, "usable_cores", lambda: 8)
    monkeypatch.setenv(prefetch.WORKERS_VARIABLE, workers)
    record, _ = run_cell(fakes.cell(benchmark="broken"), fakes.resources())
    assert record.status == Status.FAILED
    assert record.reason == "DataError: image image-4 cannot be read; replace the file"


@pytest.mark.parametrize("method", ["source", "trained", "random"])
def test_a_cell_has_the_same_bytes_with_and_without(
    monkeypatch: pytest.MonkeyPatch, method: str
) -> None:
    monkeypatch.setattr(prefetch, "usable_cores", lambda: 8)
    found = []
    for workers in ("1", "1000"):
        monkeypatch.setenv(prefetch.WORKERS_VARIABLE, workers)
        record, arrays = run_cell(fakes.cell(method), fakes.resources())
        bits = {name: values.tobytes() for name, values in arrays.items()}
        found.append((record.metrics, record.probes, record.batches, bits))
    assert found[0] == found[1]
