"""A shift that changes nothing or little: said wherever its numbers stand, and in no mean."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from benchmark.cell import ShiftSpec, StreamSpec
from benchmark.report.boards import boards, latex, markdown
from benchmark.report.frames import by_shift, leaderboard, rankings
from benchmark.report.html.data import page_data
from benchmark.report.plots import figures
from benchmark.report.plots.layout import place_titles, shift_label
from benchmark.report.pools import benchmark_pools, shift_pools
from benchmark.report.problems import problems
from benchmark.report.results import CellResult
from benchmark.report.table import suite_frame
from tests.benchmark.report.cells import invented
from tests.benchmark.report.test_report import cell, printed

HALF, ALL = [1, 0], [1, 1]


def shifted(
    shift: str | ShiftSpec, coverage: float, hits: Any = HALF, **more: Any
) -> list[CellResult]:
    probes = {"coverage": coverage, "change_size": coverage / 10, **more.pop("probes", {})}
    return [cell(method, shift, hits=hits, probes=probes, **more) for method in ("source", "tent")]


ONLY_NOTHING = shifted("keyboard", 0.0)
MIXED = [*shifted("keyboard", 0.0, ALL), *shifted("contrast", 100.0), *shifted("fog", 2.7)]


def test_a_shift_that_changes_nothing_is_said_on_every_surface() -> None:
    pools, whole = shift_pools(ONLY_NOTHING), benchmark_pools(ONLY_NOTHING)
    assert set(by_shift(pools)["note"]) == {"changed nothing"}
    assert set(leaderboard(whole)["note"]) == {"changed nothing"}
    assert set(leaderboard(whole)["coverage"]) == {0.0}
    terminal = printed(ONLY_NOTHING)
    assert len(re.findall(r"\(changed", terminal)) == 3, "in each of the three tables"
    assert re.search(r"keyboard 5 \(changed nothing\) +0\.0 +0\.0", terminal)
    assert "(changed nothing)" in shift_label(pools[0])
    assert all("(changed nothing)" in title for title in place_titles(pools).values())
    for text in (markdown(boards(whole)), latex(boards(whole))):
        assert "mini-coco-c-image & nothing" in text or "| mini-coco-c-image | nothing |" in text
        assert "changed nothing." in text
    page = json.dumps(page_data(whole, pools, warnings=problems(ONLY_NOTHING)))
    assert page.count("changed nothing") >= 3
    assert suite_frame(ONLY_NOTHING, {})["shifts"][0] == "keyboard-5 (changed nothing)"


def test_every_figure_with_its_numbers_says_so() -> None:
    results = [*ONLY_NOTHING, *shifted("keyboard", 0.0, severity=3)]
    found = dict(figures(shift_pools(results), benchmark_pools(results)))
    assert {
        "shifts_mini-coco-c-image.png",
        "leaderboard.png",
        "difference.png",
        "coverage.png",
        "forgetting.png",
        "cost.png",
        "severity_mini-coco-c-image.png",
    } <= set(found)
    for name, figure in found.items():
        texts = [text.get_text() for text in figure.findobj(match=_has_text)]
        assert any("changed" in " ".join(text.split()) for text in texts), name


def _has_text(artist: Any) -> bool:
    return hasattr(artist, "get_text")


@pytest.mark.parametrize(
    ("results", "expected"),
    [
        (ONLY_NOTHING, ["mini-coco-c-image / keyboard 5: changed nothing"]),
        (shifted("fog", 2.71), ["mini-coco-c-image / fog 5: changed only 2.7 % of the queries"]),
        (shifted("fog", 5.0), []),
        (shifted("composed", 100.0, probes={"coverage_image": 100.0, "coverage_text": 0.0}),
         ["mini-coco-c-image / composed 5: text changed nothing"]),
    ],
)  # fmt: skip
def test_warnings(results: list[CellResult], expected: list[str]) -> None:
    told = [line for line in problems(results) if "robustness" in line]
    assert [line.partition(";")[0] for line in told] == expected


def test_two_shifts_data_sets_or_models_of_one_name_are_said_to_count_twice() -> None:
    one, other = (shifted(ShiftSpec("fog", 5, version=n), 90.0) for n in (1, 2))
    assert not problems(one)
    lines = problems([*one, *other, *shifted("fog", 90.0, data="d2", weights="w2")])
    assert "means count each (average ranks: as one); for one alone use" in lines[0]
    assert [line.partition(", and means count each")[0] for line in lines] == [
        "mini-coco-c-image: 2 data sets of this name (data d1; data d2)",
        "mini-vit: 2 models of this name (weights w1; weights w2)",
        "mini-coco-c-image / fog 5: 2 shifts of this name (version 1; version 2)",
    ]


def test_code_that_changed_within_a_version_is_told_also_of_a_streams_shift() -> None:
    def stream(version: int, code: str) -> CellResult:
        own = ShiftSpec("own", 5, version=version)
        mixed = StreamSpec("mixed", domains=(own, ShiftSpec("fog", 5)))
        return invented("source", "own+fog", stream=mixed, info={"code": {"shift 'own'": code}})

    assert not problems([stream(1, "a"), stream(2, "b")])
    (told,) = problems([stream(1, "a"), stream(1, "b")])
    assert told.startswith("shift 'own': its code changed between these cells")


def test_clean_cells_and_results_without_coverage_are_not_accused() -> None:
    for results in ([cell("source", "none")], [cell("source", "contrast")]):
        assert not problems(results)
        assert set(leaderboard(benchmark_pools(results))["note"]) == {""}
        assert "changed" not in printed(results)


def test_what_changed_nothing_enters_no_mean_beside_shifts_that_do() -> None:
    board = leaderboard(benchmark_pools(MIXED)).set_index("method")
    assert board.loc["source", "R@1"] == 50.0, "keyboard's 100 would make it 66.7"
    assert board.loc["source", "shifts"] == 2
    assert board.loc["source", "coverage"] == pytest.approx((100 + 2.7) / 2)
    note = board.loc["tent", "note"]
    assert note == "changed few queries: fog 5; left out, as it changed nothing: keyboard 5"
    shifts = suite_frame(MIXED, {})["shifts"][0]
    assert shifts == "contrast-5, fog-5, keyboard-5 (changed nothing, left out)"
    assert "left out, as it changed nothing: keyboard 5" in markdown(boards(benchmark_pools(MIXED)))


def test_a_failed_cell_of_another_shift_does_not_push_the_finished_ones_out() -> None:
    failed = cell("source", "contrast", status="failed", reason="no memory")
    board = leaderboard(benchmark_pools([*ONLY_NOTHING, failed])).set_index("method")
    assert (board.loc["source", "R@1"], board.loc["source", "cells_failed"]) == (50.0, 1)
    assert board.loc["source", "note"] == "changed nothing"


def test_a_shift_counts_where_one_of_its_seeds_changes_something() -> None:
    seeds = [*shifted("ocr", 0.0), *shifted("ocr", 10.0, seed=1), *shifted("contrast", 100.0)]
    assert leaderboard(benchmark_pools(seeds))["shifts"].tolist() == [2, 2]


def test_benchmarks_whose_shifts_changed_nothing_have_no_say_in_average_ranks() -> None:
    one = [
        *shifted("contrast", 100.0),
        *shifted("keyboard", 0.0, benchmark="mini-base2fashion-i2t"),
    ]
    (found,) = rankings(benchmark_pools(one))
    assert found.datasets == 1
    both = [*one[:2], *shifted("keyboard", 9.0, benchmark="mini-base2fashion-i2t")]
    assert rankings(benchmark_pools(both))[0].datasets == 2


def test_names_of_files_stay_without_the_mark(tmp_path: Path) -> None:
    names = [name for name, _ in figures(shift_pools(ONLY_NOTHING))]
    assert "stream_mini-coco-c-image.png" in names
