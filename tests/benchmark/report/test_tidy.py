"""The tidy table: a row for each number, the same bytes for the same records."""

from __future__ import annotations

import errno
import math
import os
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest

from benchmark.cell import ShiftSpec, Status
from benchmark.errors import ResultsError
from benchmark.report.outputs import write_csv
from benchmark.report.tidy import TIDY_COLUMNS, tidy
from benchmark.store.run_store import RunStore
from tests.benchmark import fakes
from tests.benchmark.store.test_store import ARRAYS, finished


def written(store: RunStore, path: Path) -> bytes:
    return write_csv(tidy(store.records()), path).read_bytes()


def test_a_full_disk_is_one_clear_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(ResultsError, match=r"cannot write .*tidy.csv: No space left"):
        written(RunStore(tmp_path), tmp_path / "tidy.csv")


def test_a_folder_that_cannot_be_written_is_one_clear_error(tmp_path: Path) -> None:
    (tmp_path / "run").write_text("a file where the folder should be")
    with pytest.raises(ResultsError, match="cannot write"):
        written(RunStore(tmp_path), tmp_path / "run" / "tidy.csv")


def test_tidy_has_one_row_per_number_and_shows_failed_cells(tmp_path: Path) -> None:
    store = RunStore(tmp_path)
    good = finished(fakes.cell(shift=ShiftSpec("noise", 5, {"variant": "mini"})))
    bad = finished(fakes.cell("trained", seed=2))
    store.save(replace(bad, status=Status.FAILED, reason="RuntimeError: no", info={}))
    store.save(good, ARRAYS)
    table = tidy(store.records())
    assert tuple(table.columns) == TIDY_COLUMNS
    rows = table[table.key == good.key]
    assert list(zip(rows.group, rows.name, strict=True)) == [
        ("metric", "R@1"),
        ("metric", "gain"),
        ("probe", "gap"),
        ("probe", "angle"),
        ("cost", "seconds"),
    ]
    first = rows.iloc[0]
    assert (first.value, first.variant, first.weights) == (100 / 3, '{"variant": "mini"}', "w")
    (failed,) = table[table.key != good.key].itertuples()
    assert (failed.status, failed.name, failed.method, failed.seed) == (
        "failed",
        "R@1",
        "trained",
        2,
    )
    assert math.isnan(failed.value)


def test_tidy_file_is_exact_and_reproducible(tmp_path: Path) -> None:
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
    table = pd.read_csv(tmp_path / "tidy.csv", dtype=str)
    assert {float(text) for text in table.value[table.name == "gain"]} == {0.1 + 0.2}
    assert len(table) == 25


def test_an_empty_run_has_an_empty_table(tmp_path: Path) -> None:
    assert (
        written(RunStore(tmp_path), tmp_path / "tidy.csv") == f"{','.join(TIDY_COLUMNS)}\n".encode()
    )
