"""What a grid will cost: from the nearest measured cells, and "unknown" where there are none."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from benchmark.cell import BackboneSpec, Cell, MethodSpec, ShiftSpec
from benchmark.errors import DataError
from benchmark.evaluation.fingerprints import Fingerprints
from benchmark.executors import SerialExecutor, run_cells
from benchmark.planning.done import DoneCells
from benchmark.planning.estimate import (
    CALIBRATION_QUERIES,
    Rates,
    Stored,
    calibration_cells,
    other_runs,
    outlook,
    stored_cells,
)
from benchmark.store.run_store import RunStore
from tests.benchmark import fakes

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


def stored(measured: Cell, seconds: float, queries: int = 1000, **changes: Any) -> Stored:
    values: dict[str, Any] = {
        "cell": measured.to_dict(),
        "data": "d",
        "weights": "w",
        "files": "",
        "machine": HERE,
        "modality": "text" if measured.benchmark == TEXT else "image",
        "queries": queries,
        "cost": {"seconds": seconds, "peak_mb": 700.0},
        "size": 10 * queries,
    }
    return Stored(**{**values, **changes})


def seconds(rates: Rates, asked: Cell) -> tuple[float, str]:
    found = rates.of(asked)
    assert found is not None
    return found.seconds, found.how


def test_the_same_benchmark_and_method_come_first():
    rates = Rates([stored(cell("tent"), 20.0), stored(cell("tent", TEXT), 99.0)], HERE)
    assert seconds(rates, cell("tent", seed=4)) == (20.0, "measured")
    assert seconds(rates, cell("tent", limit=100)) == (pytest.approx(2.0), "measured")


def test_then_another_benchmark_of_the_same_kind_scaled_by_its_queries():
    rates = Rates([stored(cell("tent", "other"), 30.0, queries=500)], HERE)
    # The card of the embedded benchmark counts 1,000 pictures.
    assert seconds(rates, cell("tent")) == (pytest.approx(60.0), "similar")
    assert rates.of(cell("tent", TEXT)) is None


def test_then_the_source_times_what_the_method_took_elsewhere():
    rates = Rates(
        [
            stored(cell("source"), 10.0),
            stored(cell("source", TEXT), 2.0),
            stored(cell("tent", TEXT), 8.0),
        ],
        HERE,
    )
    assert seconds(rates, cell("tent")) == (pytest.approx(40.0), "ratio")


def test_what_does_not_grow_with_the_queries_is_not_scaled():
    cost = {"seconds": 15.0, "seconds_gallery": 5.0, "peak_mb": 1.0}
    rates = Rates([stored(cell(), 0.0, queries=100, cost=cost)], HERE)
    assert seconds(rates, cell(limit=50)) == (pytest.approx(10.0), "measured")


def test_cells_of_other_machines_tell_nothing_about_this_one():
    assert Rates([stored(cell(), 1.0, machine="another")], HERE).of(cell()) is None


def test_the_outlook_adds_up_and_says_what_is_unknown():
    rates = Rates([stored(cell("tent"), 20.0), stored(cell("tcr"), 60.0)], HERE)
    cells = [cell("tent"), cell("tent", seed=1), cell("tcr"), cell("tcr", TEXT)]
    found = outlook(cells, rates, workers=2)
    assert (found.cells, found.unknown, found.seconds) == (4, 1, pytest.approx(100.0))
    assert found.seconds_per_worker == pytest.approx(60.0)  # the longest cell cannot be shared
    assert found.peak_mb == 700.0
    assert found.disk_mb == pytest.approx(3 * 10_000 / 2**20)
    assert found.how == {"measured": 3}
    nothing = outlook([cell("rest", TEXT)], rates, workers=1)
    assert (nothing.seconds, nothing.peak_mb, nothing.disk_mb) == (None, None, None)
    assert outlook([], rates, workers=1).seconds == 0


def test_a_calibration_has_one_short_cell_of_each_unknown_kind():
    rates = Rates([stored(cell("tent"), 20.0)], HERE)
    asked = [cell("tent"), cell("tcr"), cell("tcr", seed=1), cell("tent", TEXT, limit=20)]
    short = list(calibration_cells(asked, rates))
    assert [(c.method.name, c.benchmark, c.limit) for c in short] == [
        *[("tcr", IMAGE, CALIBRATION_QUERIES), ("tent", TEXT, 20)]
    ]


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
    assert (found.queries, found.modality, found.data) == (30, "image", "data-fake-30-2")
    assert found.size > 100
    assert found.cost["seconds"] > 0
    assert stored_cells(tmp_path / "nowhere") == []
    assert len(other_runs(tmp_path / "mine")) == 1


def test_what_is_done_is_told_from_the_folder_alone(tmp_path):
    done = [fakes.cell(), fakes.cell("trained"), fakes.cell("bad", how="nan")]
    run(tmp_path / "run", done)
    known = DoneCells(stored_cells(tmp_path / "run"), Fingerprints(tmp_path / "run"))
    assert [asked in known for asked in done] == [True, True, False]
    assert known.unverified == 2
    changes: list[dict[str, Any]] = [
        *[{"seed": 1}, {"limit": 3}, {"shift": ShiftSpec("noise", 1)}, {"benchmark": "small"}],
        {"method": replace(done[0].method, options={"steps": 3})},
        {"stream": replace(done[0].stream, batch_size=4)},
    ]
    assert not any(replace(done[0], **change) in known for change in changes)
    moved = replace(done[0], data_root="/elsewhere")
    assert replace(moved, backbone=replace(moved.backbone, device="cuda")) in known


class Knows(Fingerprints):
    """Fingerprints of today's data and weights."""

    def __init__(self, data: str, weights: str) -> None:
        self.today = data, weights

    def of_data(self, cell: Cell) -> str:
        return self.today[0]

    def of_backbone(self, spec: BackboneSpec) -> str:
        return self.today[1]


@pytest.mark.parametrize(
    ("data", "weights", "done", "unverified"),
    [("d", "w", True, 0), ("new", "w", False, 0), ("d", "new", False, 0), ("", "w", True, 1)],
)
def test_results_of_other_data_or_weights_are_not_done(data, weights, done, unverified):
    known = DoneCells([stored(cell(), 1.0)], Knows(data, weights))
    assert (cell() in known) is done
    assert known.unverified == unverified


@pytest.mark.parametrize("what", ["data", "weights", "files"])
def test_what_the_folder_does_not_know_is_loaded_to_find_out(tmp_path, what):
    """A plan that calls a cell done although its data are others would be as wrong as the run."""
    print_ = {"data": "d", "weights": "w", "files": "f"}

    def resources(**today: str) -> Any:
        now = print_ | today
        return SimpleNamespace(
            data=lambda cell: SimpleNamespace(fingerprint=now["data"]),
            backbone=lambda cell: SimpleNamespace(fingerprint=now["weights"]),
            shift_files=lambda cell: now["files"],
        )

    asked = cell(benchmark=IMAGE)
    one = stored(asked, 1.0, files="f")
    same = DoneCells([one], Knows("", ""), resources)
    assert asked in same
    assert same.unverified == 0
    other = DoneCells([one], Knows("", ""), lambda: resources(**{what: "new"}))
    assert asked not in other


def test_data_that_cannot_be_read_any_more_are_not_those_of_a_result(tmp_path):
    def broken(cell: Cell) -> Any:
        raise DataError("a picture is missing")

    asked = cell(data_root=str(tmp_path))
    resources = SimpleNamespace(data=broken)
    assert asked not in DoneCells([stored(asked, 1.0)], Knows("", "w"), lambda: resources)
    away = replace(asked, data_root=str(tmp_path / "elsewhere"))
    known = DoneCells([stored(away, 1.0)], Knows("", "w"), lambda: resources)
    assert away in known
    assert known.unverified == 1


def test_stored_and_planned_cells_are_compared_as_json():
    """What is stored went through JSON: tuples are lists there."""
    asked = cell(method=MethodSpec("tent", "mini", {"layers": (1, 2)}))
    one = stored(asked, 1.0)
    through = replace(one, cell=json.loads(json.dumps(one.cell)))
    assert asked in DoneCells([through], Knows("d", "w"))
