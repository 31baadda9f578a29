"""The metrics that a benchmark is known by stand in every table, on the page and in the figures."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest

from benchmark.data.card import benchmark_card, read_suite
from benchmark.data.retrieval import Sections
from benchmark.errors import ConfigError
from benchmark.report.boards import boards, latex, markdown
from benchmark.report.frames import by_shift, leaderboard
from benchmark.report.html.data import page_data
from benchmark.report.plots import figures
from benchmark.report.plots.heat import benchmark_map
from benchmark.report.pools import benchmark_pools, shift_pools
from benchmark.report.results import CellResult
from benchmark.report.table import suite_frame
from tests.benchmark import fakes
from tests.benchmark.data.test_suite import GOOD, write
from tests.benchmark.report.test_report import cell, printed

HEADLINE = ("section_R@10", "section_R@50")


def known_by(result: CellResult, names: tuple[str, ...] = HEADLINE) -> CellResult:
    record = result.record
    info = {**record.info, "headline": list(names)}
    return dataclasses.replace(result, record=dataclasses.replace(record, info=info))


def results() -> list[CellResult]:
    numbers = {"source": (31.25, 52.5), "tent": (34.5, 51.25)}
    composed = [
        known_by(cell(method, "composed", hits=[1, 0], benchmark="mini-fiq-c",
                      metrics=dict(zip(HEADLINE, found, strict=True))))
        for method, found in numbers.items()
    ]  # fmt: skip
    return [*composed, cell("source", hits=[1, 0]), cell("tent", hits=[1, 1])]


def test_the_cards_name_them() -> None:
    for prefix in ("", "mini-"):
        assert benchmark_card(f"{prefix}fiq-c").headline == HEADLINE
        subset = ("R_subset@1", "R_subset@2", "R_subset@3")
        assert benchmark_card(f"{prefix}cirr-c").headline == subset
        assert benchmark_card(f"{prefix}coco-c-image").headline == ("R@1",)


@pytest.mark.parametrize("name", ["section_R@10", "R_subset@1", "recall"])
def test_a_metric_that_the_task_has_not_is_refused_with_its_line(tmp_path: Path, name: str) -> None:
    text = GOOD.replace("    severity: 3\n", f"    severity: 3\n    headline: ['{name}']\n")
    with pytest.raises(ConfigError, match=f"mine.yaml:25.*'image_text' has no metric '{name}'"):
        read_suite(write(tmp_path, text))


def test_a_data_set_says_which_metrics_it_gives() -> None:
    plain = fakes.world()
    assert plain.metrics == ("R@1", "R@5", "R@10", "mean_recall", "mAP")
    parts = Sections(("a",), plain.groups * 0, plain.groups[:2] * 0 + [0, 60])
    whole = dataclasses.replace(plain, sections=parts, subset=plain.relevance)
    assert {"section_R@10", "R_subset@3"} <= set(whole.metrics)


def test_csv_has_a_column_for_each_with_its_difference() -> None:
    for frame in (leaderboard(benchmark_pools(results())), by_shift(shift_pools(results()))):
        row = frame[(frame["benchmark"] == "mini-fiq-c") & (frame["method"] == "tent")].iloc[0]
        assert row["headline"] == "section_R@10, section_R@50"
        assert (row["section_R@10"], row["section_R@10_difference"]) == (34.5, 3.25)
        assert (row["section_R@50"], row["section_R@50_difference"]) == (51.25, -1.25)
        other = frame[frame["benchmark"] != "mini-fiq-c"]
        assert set(other["headline"]) == {"R@1"}
        assert other["section_R@10"].isna().all()
    assert "section_R@10" not in leaderboard(benchmark_pools(results()[2:]))


def test_terminal_suite_markdown_and_latex_show_them() -> None:
    terminal = printed(results())
    assert "34.5 (+3.2)" in terminal
    assert "51.2 (-1.2)" in terminal
    frame = suite_frame(results(), {}).set_index("row")
    assert frame.loc["mini-fiq-c, section_R@10", "tent"] == 34.5
    tables = boards(benchmark_pools(results()))
    assert "| mini-fiq-c, section\\_R&#64;10 | 31.2 | **34.5** (+3.2) |" in markdown(tables)
    assert r"mini-fiq-c, section\_R@50 & \textbf{52.5} & 51.2" in latex(tables)


def test_the_page_has_columns_for_them_in_each_view() -> None:
    data = page_data(benchmark_pools(results()), shift_pools(results()))
    for view in ("benchmark", "shift", "cell"):
        table = data["tables"][view]
        assert {*HEADLINE, "section_R@10_difference"} <= set(table["names"]), view
        at = table["names"].index("section_R@10_difference")
        assert 3.2 in [row[at] for row in table["rows"]]  # 3.25 as tables and figures round it
    json.dumps(data, allow_nan=False)


def test_rows_and_heat_maps_show_them() -> None:
    found = dict(figures(shift_pools(results())))
    bars = found["shifts_mini-fiq-c.png"].axes
    labels = [axis.get_xlabel() for axis in bars]
    assert labels == ["R@1 (%), 95 % interval", "section_R@10 (%)", "section_R@50 (%)"]
    points = [line.get_xdata()[0] for line in bars[1].lines if len(line.get_xdata()) == 1]
    assert points == [31.25, 34.5]
    drawn = found["difference.png"].axes
    names = [label.get_text() for axis in drawn for label in axis.get_xticklabels()]
    assert "composed 5, section_R@10" in names
    axis = benchmark_map(benchmark_pools(results())).axes[0]
    rows = [label.get_text() for label in axis.get_yticklabels()]
    assert "mini-fiq-c, section_R@50" in rows
    assert "-1.2" in [text.get_text() for text in axis.texts]  # no brackets: it has no interval
    assert "tested: only R@1" in axis.figure.get_supxlabel()
