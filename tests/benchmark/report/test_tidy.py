"""The tidy table: a row for each number, the same bytes for the same records."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd

from benchmark.cell import ShiftSpec, Status
from benchmark.report.frames import TIDY_COLUMNS, pairwise_frame, tidy
from benchmark.report.pools import benchmark_pools
from benchmark.report.results import CellResult
from benchmark.report.writing import write_csv
from benchmark.store.run_store import RunStore
from tests.benchmark import fakes
from tests.benchmark.store.test_store import ARRAYS, INDEX, finished


def written(store: RunStore, path: Path) -> bytes:
    return write_csv(tidy(store.records()), path).read_bytes()


def test_tidy_has_one_row_per_cell_and_shows_failed_ones(tmp_path: Path) -> None:
    store = RunStore(tmp_path)
    good = finished(fakes.cell(shift=ShiftSpec("noise", 5, {"variant": "mini"})))
    bad = finished(fakes.cell("trained", seed=2))
    store.save(replace(bad, status=Status.FAILED, reason="RuntimeError: no", info={}))
    store.save(good, ARRAYS)
    table = tidy(store.records())
    assert tuple(table.columns) == (*TIDY_COLUMNS, "R@1", "gain", "gap", "angle", "seconds")
    (row,) = table[table.key == good.key].itertuples()
    assert (row.variant, row.weights) == ('{"variant": "mini"}', "w")
    first = table[table.key == good.key].iloc[0]
    assert (first["R@1"], first["gain"], first["gap"]) == (100 / 3, 0.1 + 0.2, good.probes["gap"])
    (failed,) = table[table.key != good.key].itertuples()
    assert (failed.status, failed.method, failed.seed) == ("failed", "trained", 2)
    assert math.isnan(failed.gain)


def test_a_number_whose_name_is_taken_has_its_section_in_front() -> None:
    good = finished(fakes.cell(seed=3))
    (row,) = tidy([replace(good, cost={"gain": 7.0, "seed": 0.5})]).itertuples()
    assert (row.seed, row.cost_seed) == (3, 0.5)
    assert (row.gain, row.cost_gain) == (0.1 + 0.2, 7.0)


def test_what_methods_log_and_how_the_seconds_divide_stay_in_the_records() -> None:
    probes = {"gap": 0.5, "loss": 2.0, "coverage_fog-5": 40.0, "conflict": 0.1}
    cost = {"seconds": 3.0, "seconds_step": 1.0, "ms_per_query": 5.0}
    (row,) = tidy([replace(finished(), probes=probes, cost=cost)]).to_dict("records")
    numbers = {name: value for name, value in row.items() if name not in TIDY_COLUMNS}
    kept = {
        "gap": 0.5,
        "coverage_fog-5": 40.0,
        "conflict": 0.1,
        "seconds": 3.0,
        "ms_per_query": 5.0,
    }
    assert numbers == {"R@1": 100 / 3, "gain": 0.1 + 0.2, **kept}


def test_tidy_file_is_reproducible(tmp_path: Path) -> None:
    store = RunStore(tmp_path)
    cells = [fakes.cell(seed=seed) for seed in range(5)]
    for cell in cells:
        store.save(finished(cell), ARRAYS)
    first = written(store, tmp_path / "tidy.csv")
    assert written(store, tmp_path / "again.csv") == first
    other = RunStore(tmp_path / "other")
    for cell in reversed(cells):
        other.save(finished(cell), ARRAYS)
    assert written(other, tmp_path / "other.csv") == first
    table = pd.read_csv(tmp_path / "tidy.csv")
    assert set(table["gain"]) == {0.3}
    assert sorted(table["seed"]) == list(range(5))


def test_the_tables_of_all_methods_on_all_benchmarks_stay_small(tmp_path: Path) -> None:
    """The committed tables: 33 methods, 30 benchmarks of 40 shifts, 3 seeds, below 2.5 MB."""
    numbers = np.random.default_rng(0).random(20)
    metrics = dict(zip(("R@1", "R@5", "R@10", "mean_recall", "mAP"), 100 * numbers, strict=False))
    cost = {f"cost_{place}": 1000 * value for place, value in enumerate(numbers[:8])}
    probes = dict(zip(("uniformity", "gap", "coverage", "hubness"), numbers[8:], strict=False))
    logged = {f"loss_{place}": value for place, value in enumerate(numbers)}
    record = replace(finished(), metrics=metrics, probes={**probes, **logged}, cost=cost)
    table = write_csv(tidy([record] * 100), tmp_path / "tidy.csv")
    hits = np.random.default_rng(1).integers(0, 2, (12, 3)).astype(float)
    results = [
        CellResult(replace(record, cell=fakes.cell(f"method-{n}").to_dict()), 2 - row, INDEX, INDEX)
        for n, row in enumerate(hits)
    ]
    pairs = pairwise_frame(benchmark_pools(results))
    assert len(pairs) == 66
    per_pair = write_csv(pairs, tmp_path / "pairwise.csv.gz").stat().st_size / len(pairs)
    per_cell = table.stat().st_size / 100
    assert len(pd.read_csv(tmp_path / "pairwise.csv.gz")) == len(pairs)
    assert 33 * 40 * 3 * per_cell + 30 * 33 * 32 / 2 * per_pair < 2.5e6


def test_an_empty_run_has_an_empty_table(tmp_path: Path) -> None:
    assert (
        written(RunStore(tmp_path), tmp_path / "tidy.csv") == f"{','.join(TIDY_COLUMNS)}\n".encode()
    )
