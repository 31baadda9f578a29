"""The table with one row per benchmark."""

from __future__ import annotations

import io
import math

import pytest
from rich.console import Console

from benchmark.cell import BackboneSpec, StreamSpec
from benchmark.report.results import CellResult
from benchmark.report.table import suite_frame, suite_table
from tests.benchmark.report.cells import invented


def cell(benchmark: str, method: str, hits: list[int], shift: str = "fog") -> CellResult:
    severity = 0 if shift == "none" else 5
    facts = {"severity": severity, "benchmark": benchmark, "data": benchmark}
    return invented(method, shift, hits=hits, metrics={"clean_R@1_before": 80.0}, **facts)


ROWS = {"one-i2t": "one", "one-t2i": "one", "two": "two", "absent": "absent"}


def test_a_row_is_the_mean_over_its_directions_and_their_shifts() -> None:
    frame = suite_frame(
        [
            cell("two", "source", [1, 0, 0, 0]),
            cell("two", "source", [1, 1, 0, 0], "snow"),
            cell("two", "rest", [1, 1, 1, 1]),
            cell("two", "rest", [1, 1, 0, 0], "snow"),
            cell("one-i2t", "source", [1, 1], "none"),
            cell("one-t2i", "source", [0, 0], "none"),
            cell("one-i2t", "rest", [1, 1], "none"),
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
    reason = "no <b>such</b> [red]thing"
    skipped = invented("rest", benchmark="two", status="skipped", reason=reason)
    frame = suite_frame([skipped], ROWS)
    assert frame["row"].tolist() == ["two"]
    assert frame["note"][0] == "rest skipped: no <b>such</b> [red]thing"
    console = Console(width=200, record=True, file=io.StringIO())
    console.print(suite_table(frame))
    assert "no <b>such</b> [red]thing" in console.export_text()


def test_a_row_never_compares_means_over_other_cells_than_its_neighbours() -> None:
    results = [cell("two", name, [1, 0], shift) for name in ("source", "rest") for shift in "ab"]
    results.append(cell("two", "tent", [1, 1], "a"))
    # What no method has is no reason to leave any of them out.
    skipped = [invented(m, "c", benchmark="two", status="skipped") for m in ("source", "rest")]
    row = suite_frame([*results, *skipped], ROWS).iloc[0]
    assert (row["source"], row["rest"], row["shifts"]) == (50.0, 50.0, "a-5, b-5")
    assert math.isnan(row["tent"])
    assert row["note"].endswith("tent: 1 of 2 cells missing")
    without_source = cell("two-t2i", "rest", [1, 0])
    both = suite_frame([*results, without_source], {"two": "two", "two-t2i": "two"})
    assert both[["source", "clean"]].isna().all(axis=None)


def test_streams_and_models_have_rows_of_their_own() -> None:
    other = {"backbone": BackboneSpec(model="b"), "weights": "w2"}
    kinds = ({}, {"stream": StreamSpec("mixed")}, other)
    results = [
        invented("rest", hits=[1, *[0] * at], benchmark=name, data=name, **kind)
        for at, kind in enumerate(kinds)
        for name in ("one-i2t", "one-t2i")
    ]
    frame = suite_frame(results, ROWS).set_index("row")
    assert frame["rest"].to_dict() == {
        "one · weights w1": 100.0,
        "one mixed": 50.0,
        "one · weights w2": pytest.approx(100 / 3),
    }
