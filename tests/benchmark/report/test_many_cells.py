"""What a cell costs where there are many: memory of a report, time of saving without a result."""

from __future__ import annotations

import os
import tracemalloc
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import queryshift
from benchmark.cell import Status
from benchmark.report.frames import tidy
from benchmark.report.writing import load_results, result_of, write_all
from benchmark.store.run_store import RunStore
from tests.perf import invented_runs

CELLS = 160
KB_A_CELL = 10.0
"""A hundred thousand cells of 1,000 queries are then 1 GB, and the report stays below 2."""


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> RunStore:
    return invented_runs.write(tmp_path_factory.mktemp("many") / "run", CELLS)


def test_a_loaded_cell_takes_little_memory(store: RunStore) -> None:
    load_results(store, batches=False)  # what is imported or cached once
    tracemalloc.start()
    results = load_results(store, batches=False)
    kept, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert len(results) == CELLS
    assert kept / CELLS < 1024 * KB_A_CELL
    assert peak < 1.2 * kept + 1e6  # one cell is read after the other


def test_loaded_cells_are_the_stored_ones(store: RunStore) -> None:
    for result, stored in zip(load_results(store), store.stored(), strict=True):
        assert result.record == stored.record
        assert np.array_equal(result.ranks, stored.arrays["best_rank"])
        assert np.array_equal(result.hits, stored.arrays["best_rank"] == 1)
        assert np.array_equal(result.order, stored.arrays["order"])
        assert np.array_equal(result.group, stored.arrays["group"])


@pytest.mark.parametrize("last", [1, 127, 128, 32768])
def test_ranks_do_not_wrap_round_where_a_caller_computes(store: RunStore, last: int) -> None:
    cell = next(iter(store.stored()))
    ranks = np.ones_like(cell.arrays["best_rank"])
    ranks[0] = last
    result = result_of(cell.record, {**cell.arrays, "best_rank": ranks})
    assert np.array_equal(result.ranks, ranks)
    own = queryshift.Result([result]).cells[0].ranks
    assert ((1 - own).min(), (100 * own).max()) == (1 - last, 100 * last)


def test_reports_keep_the_angles_of_batches_alone(store: RunStore) -> None:
    stored = [cell.record.batches for cell in store.stored()]
    kept = [result.record.batches for result in load_results(store, batches=False)]
    angles = [tuple({"angle": b["angle"]} for b in of if "angle" in b) for of in stored]
    assert kept == angles
    assert any(angles)


def test_the_tidy_table_is_the_same_in_parts(store: RunStore, monkeypatch, tmp_path: Path) -> None:
    results = load_results(store)[:24]
    write_all(store, results, figures=False, folder=tmp_path / "whole")
    monkeypatch.setattr("benchmark.report.writing._TIDY_AT_ONCE", 7)
    write_all(store, results, figures=False, folder=tmp_path / "parts")
    whole, parts = (tmp_path / name / "tidy.csv" for name in ("whole", "parts"))
    assert whole.read_bytes() == parts.read_bytes()
    assert len(pd.read_csv(parts)) == len(tidy([result.record for result in results]))


def test_saving_a_failure_does_not_list_the_folder(tmp_path: Path, monkeypatch) -> None:
    store = invented_runs.write(tmp_path / "run", 3)
    done = store.records()[0]
    failed = replace(done, status=Status.FAILED, reason="odd", arrays="", digest="")

    def listed(*_: object) -> list[str]:
        raise AssertionError("each failure would cost as much as there are cells")

    with monkeypatch.context() as patched:
        patched.setattr(os, "listdir", listed)
        store.save(failed)
        store.save(replace(failed, key="0" * 16))
    assert [record.status for record in store.records()].count(Status.DONE) == 3, "results stay"
