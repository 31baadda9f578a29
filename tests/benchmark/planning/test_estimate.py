"""What a plan will cost: from the nearest measured cells, and "unknown" where there are none."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from benchmark.cell import BackboneSpec, Cell, MethodSpec, Record, ShiftSpec, Status
from benchmark.errors import DataError
from benchmark.evaluation.fingerprints import Fingerprints
from benchmark.executors import SerialExecutor
from benchmark.planning.estimate import Rates, other_runs, outlook, stored_cells, to_run
from benchmark.store.records import StoredCell
from benchmark.store.run_store import RunStore
from tests.benchmark import fakes
from tests.benchmark.fakes import run_cells

HERE = "this processor"
IMAGE, TEXT = "mini-coco-c-image", "mini-coco-c-text"


def cell(method: str = "source", benchmark: str = IMAGE, **changes: Any) -> Cell:
    values: dict[str, Any] = {
        "suite": "mini",
        "benchmark": benchmark,
        "backbone": BackboneSpec("mini"),
        "method": MethodSpec(method, "mini", {}),
        "shift": ShiftSpec("contrast", 5),
    }
    return Cell(**{**values, **changes})


@pytest.fixture
def stored(tmp_path: Path):
    """Makes a finished cell whose two files have 10,000 bytes together."""

    def make(
        measured: Cell, seconds: float, queries: int = 1000, *, machine: str = HERE, **cost: float
    ) -> StoredCell:
        path = tmp_path / "cell.json"
        path.write_bytes(bytes(4000))
        path.with_suffix(".npz").write_bytes(bytes(6000))
        modality = "text" if measured.benchmark == TEXT else "image"
        record = Record(
            key="key",
            status=Status.DONE,
            cell=measured.to_dict(),
            info={"query_modality": modality, "queries": queries},
            cost={"seconds": seconds, "peak_mb": 700.0, **cost},
            environment={"device_name": machine},
        )
        return StoredCell(path, record, measured, {})

    return make


def seconds(rates: Rates, asked: Cell) -> tuple[float, str]:
    found = rates.of(asked)
    assert found is not None
    return found.seconds, found.how


def test_the_same_benchmark_and_method_come_first(stored):
    rates = Rates([stored(cell("tent"), 20.0), stored(cell("tent", TEXT), 99.0)], HERE)
    assert seconds(rates, cell("tent", seed=4)) == (20.0, "measured")
    assert seconds(rates, cell("tent", limit=100)) == (pytest.approx(2.0), "measured")


def test_the_median_of_several_counts(stored):
    rates = Rates([stored(cell("tent"), took) for took in (1.0, 2.0, 99.0)], HERE)
    assert seconds(rates, cell("tent")) == (pytest.approx(2.0), "measured")
    tried = [stored(cell("tent", limit=1), 5.0, queries=1), stored(cell("tent"), 20.0)]
    assert seconds(Rates(tried, HERE), cell("tent")) == (pytest.approx(20.0), "measured")


def test_then_another_benchmark_of_the_same_kind_scaled_by_its_queries(stored):
    rates = Rates([stored(cell("tent", "other"), 30.0, queries=500)], HERE)
    # The card of the embedded benchmark counts 1,000 pictures.
    assert seconds(rates, cell("tent")) == (pytest.approx(60.0), "similar")
    assert rates.of(cell("tent", TEXT)) is None
    assert rates.of(cell("tcr")) is None


def test_what_does_not_grow_with_the_queries_is_not_scaled(stored):
    rates = Rates([stored(cell(), 15.0, queries=100, seconds_gallery=5.0)], HERE)
    assert seconds(rates, cell(limit=50)) == (pytest.approx(10.0), "measured")


def test_cells_of_other_machines_tell_nothing_about_this_one(stored):
    assert Rates([stored(cell(), 1.0, machine="another")], HERE).of(cell()) is None


def test_the_outlook_adds_up_and_says_what_is_unknown(stored):
    rates = Rates([stored(cell("tent"), 20.0), stored(cell("tcr"), 60.0)], HERE)
    cells = [cell("tent"), cell("tent", seed=1), cell("tcr"), cell("tcr", TEXT)]
    assert outlook(cells, rates, workers=2) == {
        "cells": 4,
        "unknown": 1,
        "seconds": pytest.approx(100.0),
        "seconds_per_worker": pytest.approx(60.0),  # the longest cell cannot be shared
        "peak_mb": 700.0,
        "disk_mb": pytest.approx(3 * 10_000 / 2**20),
        "how": {"measured": 3},
    }
    nothing = outlook([cell("rest", TEXT)], rates, workers=1)
    assert (nothing["seconds"], nothing["peak_mb"], nothing["disk_mb"]) == (None, None, None)
    assert outlook([], rates, workers=1)["seconds"] == 0


def run(folder: Path, cells: list[Cell]) -> None:
    resources = fakes.resources()
    run_cells(cells, RunStore(folder), SerialExecutor(resources), resources=resources)


def test_stored_cells_are_read_and_damaged_ones_passed_over(tmp_path):
    cells = [fakes.cell(), fakes.cell(seed=1), fakes.cell(seed=2), fakes.cell("bad", how="nan")]
    run(tmp_path / "run", cells)
    paths = sorted((tmp_path / "run" / "cells").glob("*_source_*.json"))
    paths[0].write_text("{")
    paths[1].with_suffix(".npz").unlink()
    (found,) = stored_cells(tmp_path / "run")
    assert found.record.info["queries"] == 30
    assert found.record.cost["seconds"] > 0
    assert stored_cells(tmp_path / "nowhere") == []
    assert len(other_runs(tmp_path / "mine")) == 1


def split(asked: list[Cell], folder: Path, resources: Any = None) -> tuple[list[Cell], int]:
    resources = resources or fakes.resources()
    return to_run(asked, stored_cells(folder), Fingerprints(folder / "fingerprints"), resources)


def test_what_is_done_is_told_by_the_cell_wherever_it_ran(tmp_path):
    done = [fakes.cell(), fakes.cell("trained"), fakes.cell("bad", how="nan")]
    run(tmp_path, done)
    # Nothing is known of the fake weights' whereabouts: taken to be unchanged, and counted.
    assert split(done, tmp_path) == ([done[2]], 2)
    changes: list[dict[str, Any]] = [
        *[{"seed": 1}, {"limit": 3}, {"shift": ShiftSpec("noise", 1)}, {"benchmark": "small"}],
        {"method": replace(done[0].method, options={"steps": 3})},
        {"stream": replace(done[0].stream, batch_size=4)},
    ]
    others = [replace(done[0], **change) for change in changes]
    assert split(others, tmp_path) == (others, 0)
    moved = replace(done[0], data_root="/elsewhere")
    moved = replace(moved, backbone=replace(moved.backbone, device="cuda"))
    assert split([moved], tmp_path) == ([], 1)


def test_stored_and_planned_cells_are_compared_as_json(tmp_path):
    """What is stored went through JSON: tuples are lists there."""
    asked = replace(fakes.cell(), method=MethodSpec("source", "mini", {"layers": (1, 2)}))
    run(tmp_path, [asked])
    assert split([asked], tmp_path) == ([], 1)


@pytest.fixture
def finished(stored):
    """An embedded cell and its result, of data and weights that make the key "today"."""
    asked = cell()
    one = stored(asked, 1.0)
    return asked, replace(one, record=replace(one.record, key="today"))


@pytest.mark.parametrize(("key", "done"), [("today", True), ("other", False), ("", False)])
def test_results_of_other_data_or_weights_are_not_done(tmp_path, finished, key, done):
    """A plan that calls a cell done although its data are others would be as wrong as the run."""
    asked, one = finished

    class Knows(Fingerprints):
        def key(self, cell: Cell, resources: Any) -> str:
            return key

    def unreadable(cell: Cell) -> str:
        raise DataError("a picture is missing")

    resources: Any = SimpleNamespace(key=unreadable)
    assert to_run([asked], [one], Knows(tmp_path), resources) == ([] if done else [asked], 0)


def test_what_the_folder_does_not_know_is_loaded_where_it_is_here(tmp_path, finished):
    asked, one = finished
    for key, waiting in (("today", []), ("new", [asked])):
        resources: Any = SimpleNamespace(key=lambda cell, key=key: key)
        assert to_run([asked], [one], Fingerprints(tmp_path), resources) == (waiting, 0)
    away = replace(asked, data_root=str(tmp_path / "elsewhere"))
    assert to_run([away], [one], Fingerprints(tmp_path), resources) == ([], 1)
