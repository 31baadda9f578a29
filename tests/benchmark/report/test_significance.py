"""Every surface marks the same differences, and says by which rule."""

from __future__ import annotations

import math
import re

import numpy as np
import pytest

from benchmark.metrics.intervals import ALPHA, RULE, excludes_zero
from benchmark.report import plots
from benchmark.report.boards import boards, latex, markdown
from benchmark.report.frames import by_shift, leaderboard, pairwise_frame
from benchmark.report.html.data import page_data
from benchmark.report.pools import benchmark_pools, shift_pools
from tests.benchmark.report.test_report import cell, printed

METHODS = ("tent", "eata", "sar", "tcr", "rest")
QUERIES = 150


def world(seeds: int = 3):
    """A grid in which some methods differ from the source and others do not, one only by luck.

    Per seed the share of hits lost or won beside the source's; 0.05 of the answers change anyway.
    """
    gains = {"tent": 0.0, "eata": 0.07, "sar": -0.2, "tcr": 0.3, "rest": 0.02}
    rng = np.random.default_rng(4)
    difficulty = rng.random((2, QUERIES))
    results = []
    for place, shift in enumerate(("fog", "snow")):
        for seed in range(seeds):
            noise = 0.1 * rng.standard_normal((6, QUERIES))
            bars = {"source": 0.4, **{name: 0.4 + gain for name, gain in gains.items()}}
            bars["eata"] += 0.12 * (seed - 1)  # swings
            for row, (name, bar) in enumerate(bars.items()):
                hits = (difficulty[place] + noise[row] < bar).astype(float)
                results.append(cell(name, shift, hits=hits, seed=seed))
    return results


def decided(frame) -> dict[str, bool]:
    """What a CSV table says of each method."""
    rows = frame[frame["method"] != "source"]
    for row in rows.to_dict("records"):
        ends = row["R@1_difference_low"], row["R@1_difference_high"]
        # Never an interval that excludes zero beside "no difference", nor another p.
        assert row["significant"] == excludes_zero(*ends) == (row["p"] < ALPHA)
        assert ends[1] - ends[0] <= 100
    assert frame[frame["method"] == "source"]["significant"].isna().all()
    return {row["method"]: bool(row["significant"]) for row in rows.to_dict("records")}


@pytest.mark.parametrize("seeds", [1, 2, 3])
def test_all_tables_mark_the_same(seeds: int) -> None:
    results = world(seeds)
    pools = benchmark_pools(results)
    expected = decided(leaderboard(pools))
    if seeds != 2:
        assert set(expected.values()) == {True, False}
    (board,) = boards(pools)
    entries = dict(zip(board.methods, board.rows[0][1], strict=True))
    assert {name: e.significant for name, e in entries.items() if name != "source"} == expected
    (line,) = [row for row in markdown([board]).splitlines() if row.startswith("| mini-coco")]
    texts = dict(zip(board.methods, line.strip("| ").split(" | ")[1:], strict=True))
    assert {name: r"\*" in text for name, text in texts.items() if name in expected} == expected
    (line,) = [row for row in latex([board]).splitlines() if row.startswith("mini-coco")]
    texts = dict(zip(board.methods, line.split(" & ")[1:], strict=True))
    assert {name: "$^{*}$" in text for name, text in texts.items() if name in expected} == expected


@pytest.mark.parametrize("seeds", [1, 2, 3])
def test_terminal_page_and_figures_mark_what_the_csv_does(seeds: int) -> None:
    results = world(seeds)
    pools, whole = shift_pools(results), benchmark_pools(results)
    frame = by_shift(pools)
    expected = {
        (row["shift"], row["method"]): bool(row["significant"])
        for row in frame.to_dict("records")
        if row["method"] != "source"
    }
    for shift in ("fog", "snow"):
        decided(frame[frame["shift"] == shift])
    text = printed(results, 120)
    stars = re.findall(r"(\w+) +[\d. ]+[+-][\d.]+ \[[^]]*\](\*?)", text)
    assert [(name, bool(star)) for name, star in stars] == [
        (method, mark) for (_, method), mark in expected.items()
    ]
    data = page_data(whole, pools)
    for view, table in (("shift", expected), ("cell", None)):
        found = data["tables"][view]
        rows = [dict(zip(found["names"], row, strict=True)) for row in found["rows"]]
        compared = [row for row in rows if row["R@1_difference"] is not None]
        assert all(row["significant"] is None for row in rows if row not in compared)
        for row in compared:
            ends = row["R@1_difference_low"], row["R@1_difference_high"]
            assert bool(row["significant"]) == excludes_zero(*ends) == (row["p"] < ALPHA)
        if table is not None:
            assert [bool(row["significant"]) for row in compared] == list(table.values())
    axis = plots.heat_map(pools).axes[0]
    names = [label.get_text() for label in axis.get_yticklabels()]
    shown = {(("fog", "snow")[round(x)], names[round(y)]): text for x, y, text in texts_of(axis)}
    assert {key: not text.startswith("(") for key, text in shown.items()} == expected


def texts_of(axis):
    return [(*text.get_position(), text.get_text()) for text in axis.texts]


def test_pairs_of_methods_are_marked_by_the_same_rule() -> None:
    for row in pairwise_frame(benchmark_pools(world())).to_dict("records"):
        ends = row["R@1_difference_low"], row["R@1_difference_high"]
        assert excludes_zero(*ends) == (row["p"] < ALPHA)


def test_an_entry_is_near_the_best_where_it_does_not_differ_from_it() -> None:
    results = world()
    (board,) = boards(benchmark_pools(results))
    entries = dict(zip(board.methods, board.rows[0][1], strict=True))
    frame = pairwise_frame(benchmark_pools(results))
    best = next(name for name, entry in entries.items() if entry.best)
    for row in frame.to_dict("records"):
        if best in (row["method"], row["other"]):
            other = row["other"] if row["method"] == best else row["method"]
            assert entries[other].near == (row["p"] >= ALPHA)


def test_every_surface_says_the_rule() -> None:
    results = world()
    (board,) = boards(benchmark_pools(results))
    notes = " ".join(board.notes)
    for text in (printed(results, 400), notes):
        assert RULE in text
        assert "not corrected for several comparisons" in text
        assert "3 seeds say little about others" in text
    below = plots.heat_map(shift_pools(results)).get_supxlabel()
    assert "in brackets: 95 % interval includes 0" in below


def test_the_note_says_how_many_stars_chance_would_give() -> None:
    results = [
        cell(name, benchmark=f"b{n}", hits=np.arange(40) < 20)
        for n in range(10)
        for name in ("source", *METHODS)
    ]
    (board,) = boards(benchmark_pools(results))
    assert any("the 50 comparisons with source about 2 stars" in note for note in board.notes)
    assert not any(math.isnan(entry.value) for _, row, _ in board.rows for entry in row)
