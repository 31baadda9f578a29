"""The slopes and pictures of docs/scale.md, and that every part of growth can be measured."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest

from tests.perf import growth, growth_jobs, growth_page
from tests.perf.cells import in_child
from tests.perf.growth_page import CURVES

PLACE = {"machine": "A CPU, 2 cores", "torch": "2", "date": "2026-11-26", "load_at_start": 1.5}
KEPT = {
    "queries": {
        **PLACE,
        "points": [
            {"size": 1000, "seconds": 8.0, "added_mb": 5.0},
            {"size": 10, "seconds": 1.0, "added_mb": 5.0},
            {"size": 100, "seconds": 2.0, "added_mb": 5.0},
        ],
    },
    "process": {**PLACE, "points": [{"size": 9, "last_to_first": 1.02, "last_to_tenth": 1.01}]},
}


def test_a_slope_is_the_exponent_between_the_two_largest_sizes() -> None:
    curve = next(curve for curve in CURVES if curve.part == "queries")
    rows = growth_page.points(KEPT, curve)
    assert growth_page.slope(rows, "seconds") == pytest.approx(math.log10(4.0))
    assert growth_page.slope(rows, "added_mb") == 0
    assert math.isnan(growth_page.slope(rows, "other"))
    assert math.isnan(growth_page.slope(rows[:1], "seconds"))


def test_the_list_names_what_was_measured_and_where() -> None:
    text = "before\n<!-- growth: begin -->\nold\n<!-- growth: end -->\nafter\n"
    found = growth_page.with_slopes(text, KEPT)
    assert "| a cell | 1,000 queries | 8.00 | 0.60 | 5.00 | 0.00 |" in found
    assert "9 cells in one process: memory after the last is 1.02 times that after" in found
    assert "A CPU, 2 cores, torch 2, 2026-11-26" in found
    assert "Load average before: 1.5 to 1.5." in found
    assert found.startswith("before\n")
    assert found.endswith("after\n")
    assert "old" not in found
    assert "Tent" not in found, "not measured"
    assert growth_page.with_slopes(found, KEPT) == found


def test_a_picture_for_each_axis_that_was_measured(tmp_path: Path) -> None:
    written = growth_page.draw(KEPT, tmp_path)
    assert [path.name for path in written] == ["growth-queries.png"]
    assert written[0].read_bytes().startswith(b"\x89PNG")


def test_the_committed_page_lists_the_committed_points() -> None:
    kept = json.loads(growth.KEPT.read_text(encoding="utf-8"))
    text = growth.DOCS.read_text(encoding="utf-8")
    assert growth_page.with_slopes(text, kept) == text
    assert {curve.part for curve in CURVES} | {"process"} == set(growth.PARTS)


def test_an_unknown_part_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        growth.main(["cell"])
    assert "no part cell; there are gallery, streamed" in capsys.readouterr().err


@pytest.mark.slow
def test_every_curve_finds_its_numbers_in_what_the_jobs_say(tmp_path: Path) -> None:
    """The smallest sizes of what takes no long run of an encoder."""
    module = growth_jobs.__name__
    found = {
        "gallery": [in_child(module, "ranked", 1000, "source")],
        "streamed": [in_child(module, "ranked_from_file", str(tmp_path / "rows.npy"), 2000)],
        "queries": [in_child(module, "whole_cell", 50)],
        "cells": [
            in_child(module, "planned", str(tmp_path), 10),
            in_child(module, "stored", str(tmp_path), 160),
            in_child("tests.perf.growth_report", "reported", str(tmp_path)),
            in_child("tests.perf.growth_report", "found_again", str(tmp_path)),
        ],
    }
    kept = {name: {**PLACE, "points": rows} for name, rows in found.items()}
    for curve in CURVES:
        if curve.part in found and curve.match.get("method") != "tent":
            (row,) = growth_page.points(kept, curve)
            assert row[curve.seconds] > 0
            assert row[curve.memory] >= 0
    assert not (tmp_path / "rows.npy").exists()
