"""LaTeX and Markdown tables: what is marked, and that no name can break out of its cell."""

from __future__ import annotations

import dataclasses
import re
from typing import Any

import numpy as np
import pytest

from benchmark.cell import StreamSpec
from benchmark.report.boards import boards, latex, latex_escape, markdown, markdown_escape
from benchmark.report.frames import by_shift, leaderboard, pairwise_frame
from benchmark.report.pools import benchmark_pools, shift_pools
from benchmark.report.results import CellResult
from tests.benchmark.report.test_report import cell, printed

SOURCE, LOW, HIGH = (np.arange(200) < n for n in (60, 100, 160))
NEARLY = HIGH ^ (np.arange(200) == 3)


def table(**more):
    hits = {"source": SOURCE, "rest": HIGH, "tent": NEARLY, "tcr": LOW}
    return [cell(name, hits=found, **more) for name, found in hits.items()]


def row_of(text: str, name: str) -> str:
    (line,) = [line for line in text.splitlines() if name in line]
    return line


def test_best_is_bold_and_what_is_near_it_underlined() -> None:
    found = boards(benchmark_pools(table()))
    (row,) = found[0].rows
    entries = dict(zip(found[0].methods, row[1], strict=True))
    assert [name for name, entry in entries.items() if entry.best] == ["rest"]
    assert [name for name, entry in entries.items() if entry.near] == ["tent"]
    assert [name for name, e in entries.items() if e.significant] == ["tent", "tcr", "rest"]
    tex = row_of(latex(found), "mini-coco-c-image")
    assert r"\textbf{80.0} {\scriptsize(+50.0)}$^{*}$" in tex
    assert r"\underline{79.5}" in tex
    md = row_of(markdown(found), "mini-coco-c-image")
    cells = ["30.0", r"<u>79.5</u> (+49.5)\*", r"50.0 (+20.0)\*", r"**80.0** (+50.0)\*"]
    assert md.strip("| ").split(" | ") == ["mini-coco-c-image", *cells]


def test_equal_methods_are_all_best() -> None:
    (board,) = boards(benchmark_pools([cell("rest", hits=HIGH), cell("tent", hits=HIGH)]))
    assert [entry.best for entry in board.rows[0][1]] == [True, True]


def test_missing_cells_are_marked_and_never_best() -> None:
    results = table() + table(shift="fog")[:3]
    results[-1] = cell("tcr", "snow", hits=HIGH)
    (board,) = boards(benchmark_pools(results))
    entries = dict(zip(board.methods, board.rows[0][1], strict=True))
    assert all(entry.incomplete and not entry.best for entry in entries.values())
    assert any("cells are missing" in note for note in board.notes)
    assert "$^{*+}$" in latex([board])


def test_a_method_without_a_number_has_dashes() -> None:
    results = [*table(), cell("source", benchmark="other", hits=SOURCE)]
    text = markdown(boards(benchmark_pools(results)))
    assert row_of(text, "| other").count("| --") == 3


def test_summary_and_notes_say_rank_harm_cost_and_caution() -> None:
    (board,) = boards(benchmark_pools(table()))
    assert board.summary["average rank (1 data set)"] == ["4.00", "2.00", "3.00", "1.00"]
    assert board.summary["worse than source, % of cells"] == ["", "0", "0", "0"]
    assert board.summary["ms per query, times source"] == ["1.0"] * 4
    assert board.summary["forgetting, points"] == ["-2.5"] * 4
    notes = " ".join(board.notes)
    assert "No critical difference of ranks: 1 independent data set" in notes
    assert "rest: our reading" in notes
    assert r"the 95 \% interval" in latex([board])


def test_streams_and_suites_have_tables_of_their_own() -> None:
    one, other = table()[0], table()[1]
    changed = {**other.record.cell, "stream": {"kind": "diverse", "batch_size": 2}}
    other = dataclasses.replace(other, record=dataclasses.replace(other.record, cell=changed))
    found = boards(benchmark_pools([one, other]))
    assert [board.stream for board in found] == ["diverse", "single"]
    assert "Suite mini, diverse" in markdown(found)


@pytest.mark.parametrize(
    ("other", "first", "second"),
    [
        ({"weights": "w2"}, "weights w1", "weights w2"),
        ({"stream": StreamSpec(batch_size=4)}, "batch 2", "batch 4"),
    ],
)
def test_benchmarks_of_one_name_are_told_apart(other: dict[str, Any], first: str, second: str):
    results = [*table(), *table(**other)]
    (board,) = boards(benchmark_pools(results))
    titles = [f"mini-coco-c-image · {each}" for each in (first, second)]
    assert [name for name, *_ in board.rows] == titles
    if "stream" in other:  # no other column of the tables says it
        assert all(title in printed(results) for title in titles)
        for frame in (by_shift(shift_pools(results)), leaderboard(benchmark_pools(results))):
            assert list(frame["told_apart"]) == 4 * [first] + 4 * [second]
        assert set(pairwise_frame(benchmark_pools(results))["told_apart"]) == {first, second}
    assert "told_apart" not in leaderboard(benchmark_pools(table()))


def of_cells(*changes: dict[str, Any]) -> list[CellResult]:
    """The table's results, once for each change of their cells."""
    found: list[CellResult] = []
    for change in changes:
        for one in table():
            cell = {**one.record.cell, **change}
            record = dataclasses.replace(one.record, key=str(len(found)), cell=cell)
            found.append(dataclasses.replace(one, record=record))
    return found


@pytest.mark.parametrize("told", ["version", "grain"])
def test_two_shifts_of_one_name_are_told_apart(told: str) -> None:
    shift = {"name": "fog", "severity": 5, "version": 1, "options": {"grain": 1, "mode": "a"}}
    other = {"version": 2} if told == "version" else {"options": {"grain": 2, "mode": "a"}}
    results = of_cells({"shift": shift}, {"shift": shift | other})
    assert all(f"{told} {value}" in printed(results) for value in (1, 2))
    assert set(by_shift(shift_pools(results))["told_apart"]) == {f"{told} 1", f"{told} 2"}


def test_streams_of_several_shifts_say_which_where_a_name_does_not() -> None:
    def mixed(*severities: int) -> dict[str, Any]:
        domains = [{"name": f"a{s}", "severity": s, "options": {"size": 1}} for s in severities]
        shift = {"name": "4-shifts", "severity": 5}
        return {"shift": shift, "stream": {"kind": "mixed", "domains": domains}}

    results = of_cells(mixed(0, 5), mixed(3, 5))  # the columns say "4-shifts" and 5 of both
    assert set(by_shift(shift_pools(results))["told_apart"]) == {
        "domains a0-0, a5-5",
        "domains a3-3, a5-5",
    }
    assert "size" not in printed(results)


# Hostile names

HOSTILE = [
    "\\end{tabular}\\input{/etc/passwd}",
    "[1em] & x \\\\ %",
    "<script>alert(1)</script>",
    "a|b\nc",
    "**bold** _x_ `code` ![i](http://x.y) www.evil.com me@x.y",
    "$x^2$ #1 ~ \x1b[31m",
]


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_names_stay_in_their_cell(name: str) -> None:
    results = [cell("source", hits=SOURCE), cell(name, hits=HIGH, benchmark="mini-coco-c-image")]
    found = boards(benchmark_pools(results))
    tex, md = latex(found), markdown(found)
    assert "\x1b" not in tex + md
    # One row break per row, as many columns as methods, no command but ours.
    (header,) = [line for line in tex.splitlines() if line.startswith("benchmark &")]
    assert len(re.findall(r"(?<!\\)&", header)) == 2
    assert header.endswith(r" \\")
    assert header.count(r"\\") == 1
    allowed = "textbackslash|textbar|textless|textgreater|textasciitilde|textasciicircum"
    allowed += "|textquotedbl|textasciigrave"
    assert set(re.findall(r"\\([a-zA-Z]+)", header)) <= set(allowed.split("|"))
    (line,) = [line for line in md.splitlines() if line.startswith("| benchmark")]
    assert len(re.findall(r"(?<!\\)\|", line)) == 4
    assert "<" not in line
    assert "http://" not in line
    assert "www." not in line
    assert "@" not in line


def test_escapes_of_single_characters() -> None:
    assert latex_escape("a_b 5% [x]") == r"a\_b 5\% {[}x{]}"
    assert latex_escape("\\") == r"\textbackslash{}"
    assert markdown_escape("a_b|c") == r"a\_b\|c"
    assert markdown_escape("<b>&") == "&lt;b&gt;&amp;"
    assert markdown_escape("rest [lr=0.1]") == r"rest \[lr=0.1\]"
