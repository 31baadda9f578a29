"""The table with one row per benchmark."""

from __future__ import annotations

import io
import math

import numpy as np
import pytest
from rich.console import Console

from benchmark.cell import Cell, MethodSpec, Record, ShiftSpec, Status
from benchmark.report.results import CellResult
from benchmark.report.table import suite_frame, suite_table


def result(
    benchmark: str, method: str, hits: list[int], *, shift: str = "fog", status: str = "done"
) -> CellResult:
    from benchmark.cell import BackboneSpec

    cell = Cell(
        suite="s",
        benchmark=benchmark,
        backbone=BackboneSpec(),
        method=MethodSpec(method, "published", {}),
        shift=ShiftSpec(shift, 5 if shift != "none" else 0),
    )
    values = np.array(hits, dtype=np.float64)
    record = Record(
        key=f"{benchmark}-{method}-{shift}",
        status=Status(status),
        cell=cell.to_dict(),
        reason="" if status == "done" else "no <b>such</b> [red]thing",
        info={"queries": len(hits), "gallery": 50, "data_fingerprint": "d"},
        metrics={"R@1": 100 * float(values.mean()), "clean_R@1_before": 80.0} if hits else {},
    )
    if status != "done":
        return CellResult(record)
    return CellResult(record, np.where(values, 1, 2), np.arange(len(hits)), np.arange(len(hits)))


ROWS = {"one-i2t": "one", "one-t2i": "one", "two": "two", "absent": "absent"}


def test_a_row_is_the_mean_over_its_directions_and_their_shifts() -> None:
    frame = suite_frame(
        [
            result("two", "source", [1, 0, 0, 0]),
            result("two", "source", [1, 1, 0, 0], shift="snow"),
            result("two", "rest", [1, 1, 1, 1]),
            result("two", "rest", [1, 1, 0, 0], shift="snow"),
            result("one-i2t", "source", [1, 1], shift="none"),
            result("one-t2i", "source", [0, 0], shift="none"),
            result("one-i2t", "rest", [1, 1], shift="none"),
        ],
        ROWS,
    )
    assert frame["row"].tolist() == ["one", "two"]
    assert frame["directions"].tolist() == [2, 1]
    assert frame["source"].tolist() == [50.0, 37.5]
    # One direction of REST's is missing: its mean would not be that of the row.
    assert math.isnan(frame["rest"][0])
    assert frame["rest"][1] == pytest.approx(75.0)
    assert frame["shifts"].tolist() == ["none", "fog-5, snow-5"]
    # Nothing is corrupted on the first, so that its clean R@1 is the R@1.
    assert frame["clean"].tolist() == [50.0, 80.0]


def test_a_row_without_numbers_says_why_and_markup_is_shown_not_obeyed() -> None:
    frame = suite_frame([result("two", "rest", [], status="skipped")], ROWS)
    assert frame["row"].tolist() == ["two"]
    assert frame["note"][0] == "rest skipped: no <b>such</b> [red]thing"
    console = Console(width=200, record=True, file=io.StringIO())
    console.print(suite_table(frame))
    assert "no <b>such</b> [red]thing" in console.export_text()
