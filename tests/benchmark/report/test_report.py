"""Report numbers by hand, on invented cells."""

from __future__ import annotations

import logging
import math
import os
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
from rich.console import Console

from benchmark.cell import Status
from benchmark.errors import ResultsError
from benchmark.report.frames import by_shift, leaderboard, tidy
from benchmark.report.pools import benchmark_pools, shift_pools
from benchmark.report.problems import problems
from benchmark.report.results import CellResult, method_rank
from benchmark.report.table import results_table
from benchmark.report.writing import write_all, write_csv
from benchmark.store.run_store import RunStore
from tests.benchmark.report.cells import invented


def cell(method="rest", shift="contrast", *, hits=(0, 0, 0, 0), seed=0, **more) -> CellResult:
    """A cell with the given hits at rank one; a dict given for a section updates its numbers."""
    share = 100 * float(np.mean(hits))
    metrics = dict.fromkeys(("R@1", "R@5", "R@10", "mean_recall"), share)
    clean = {"clean_R@1_before": 60.0, "clean_R@1_after": 57.5, "forgetting": -2.5}
    probes = {"uniformity": 0.9, "gap": 0.7, "consistency": 0.2}
    cost = {"ms_per_query": 8.0, "peak_mb": 512.0}
    passes = {"forward_per_query": 3.0, "backward_per_query": 3.0}
    sections = {
        "info": {"backbone_name": "mini-vit", "gallery": 20},
        "metrics": {**metrics, **clean, "mAP": 1.0, **more.pop("metrics", {})},
        "probes": {**probes, **more.pop("probes", {})},
        "cost": {**cost, **passes, **more.pop("cost", {})},
    }
    order = np.random.default_rng(seed).permutation(len(hits))
    return invented(method, shift, hits=hits, seed=seed, order=order, **sections, **more)


def printed(results, width=100) -> str:
    console = Console(width=width, color_system=None, force_terminal=False, record=True, file=None)
    with console.capture() as capture:
        console.print(results_table(results))
    return capture.get()


def test_which_weights_of_a_file_were_taken_is_said() -> None:
    source = cell("source")
    assert "weights w1, " in printed([source])
    source.record.info["weights_taken"] = "state_dict_ema"
    assert "weights w1 (state_dict_ema), " in printed([source])


# Differences


def test_difference_to_source_is_paired_and_in_points():
    pools = shift_pools([cell("source", hits=[1, 0, 0, 0]), cell("rest", hits=[1, 1, 1, 0])])
    source, rest = pools
    assert source.comparison is None
    assert rest.comparison.difference == pytest.approx(50.0)
    # Four queries show nothing: all is open, from one hit lost to three misses won.
    assert rest.comparison[1:3] == (-25.0, 75.0)


def test_equal_hits_have_a_difference_of_exactly_zero():
    hits = [1, 0] * 10
    rest = shift_pools([cell("source", hits=hits), cell("rest", hits=hits)])[1]
    assert (rest.comparison.difference, rest.comparison.p) == (0.0, 1.0)
    assert rest.comparison.low < 0 < rest.comparison.high
    assert not rest.comparison.significant


def test_difference_uses_clusters():
    # Forty queries are many, those of a single cluster are one, which shows nothing.
    source, rest = np.zeros(40), np.arange(40) % 2
    many = shift_pools([cell("source", hits=source), cell("rest", hits=rest)])[1].comparison
    groups = [7] * 40
    found = [cell("source", hits=source, groups=groups), cell("rest", hits=rest, groups=groups)]
    one = shift_pools(found)[1].comparison
    assert many.difference == one.difference == pytest.approx(50.0)
    assert many.significant
    assert (one.low, one.high, one.p) == (0.0, 100.0, 1.0)


def test_seeds_are_pooled_and_each_is_compared_with_its_own_source_cell():
    results = [
        cell("source", hits=[1, 1], seed=0),
        cell("rest", hits=[1, 1], seed=0),
        cell("source", hits=[0, 0], seed=1),
        cell("rest", hits=[1, 1], seed=1),
    ]
    rest = shift_pools(results)[1]
    assert len(rest.done) == 2
    assert rest.comparison.difference == pytest.approx(50.0)
    assert rest.mean("metrics", "R@1") == pytest.approx(100.0)


@pytest.mark.parametrize(
    "other",
    [
        {"shift": "jpeg_compression"},
        {"severity": 3},
        {"seed": 1},
        {"weights": "w2"},
        {"benchmark": "mini-coco-c-text"},
    ],
)
def test_a_source_cell_of_another_setting_is_no_partner(other):
    results = [cell("source", hits=[1, 0], **other), cell("rest", hits=[1, 1])]
    rest = next(p for p in shift_pools(results) if p.label == "rest")
    assert rest.comparison is None
    assert any("rest" in line and "no source cell" in line for line in problems(results))


def test_other_queries_than_the_source_are_named_and_not_compared():
    results = [cell("source", hits=[1, 0, 0]), cell("rest", hits=[1, 1])]
    assert shift_pools(results)[1].comparison is None
    assert [line for line in problems(results) if "not those of the source" in line]


# Leaderboard and table by shift


def test_a_benchmark_without_corruption_is_on_the_leaderboard_with_its_uncorrupted_cells():
    results = [cell("source", "none", hits=[1, 0], severity=0), cell("source", "fog", hits=[1, 1])]
    other = cell("source", "none", hits=[0, 0], severity=0, benchmark="base2coco-i2t")
    board = leaderboard(benchmark_pools([*results, other])).set_index("benchmark")
    assert board["R@1"].to_dict() == {"mini-coco-c-image": 100.0, "base2coco-i2t": 0.0}


def test_leaderboard_numbers_by_hand():
    results = [
        cell("source", "contrast", hits=[1, 0, 0, 0], cost={"ms_per_query": 2.0}),
        cell("source", "jpeg_compression", hits=[1, 1, 0, 0], cost={"ms_per_query": 2.0}),
        cell("rest", "contrast", hits=[1, 1, 0, 0], cost={"ms_per_query": 9.0}),
        cell("rest", "jpeg_compression", hits=[1, 1, 1, 1], cost={"ms_per_query": 11.0}),
    ]
    frame = leaderboard(benchmark_pools(results)).set_index("method")
    rest = frame.loc["rest"]
    assert rest["R@1"] == pytest.approx(75.0)
    assert rest["R@1_difference"] == pytest.approx(37.5)
    assert rest["R@1_difference_low"] <= 37.5 <= rest["R@1_difference_high"]
    assert rest["ms_per_query_ratio"] == pytest.approx(5.0)
    assert rest["forgetting"] == pytest.approx(-2.5)
    assert (rest["shifts"], rest["seeds"], rest["cells"], rest["queries"]) == (2, 1, 2, 4)
    assert (rest["weights"], rest["backbone"], rest["preset"]) == ("w1", "mini-vit", "mini")
    assert math.isnan(rest["R@1_sd_over_seeds"])
    assert math.isnan(frame.loc["source", "R@1_difference"])
    assert frame.loc["source", "ms_per_query_ratio"] == 1.0


def test_spread_over_seeds_is_that_of_the_mean_over_shifts():
    hits = {0: ([1, 0, 0, 0], [1, 1, 1, 0]), 1: ([1, 1, 0, 0], [1, 1, 1, 1])}
    results = [
        cell("source", shift, hits=hits[seed][place], seed=seed)
        for seed in (0, 1)
        for place, shift in enumerate(("contrast", "jpeg_compression"))
    ]
    # Means over shifts: 50 and 75; standard deviation with n - 1: 25 / sqrt(2).
    assert leaderboard(benchmark_pools(results))["R@1_sd_over_seeds"].item() == pytest.approx(
        25 / math.sqrt(2)
    )


def test_a_shift_that_one_seed_lacks_does_not_pass_for_spread():
    results = [
        cell("source", "contrast", hits=[1, 0], seed=0),
        cell("source", "contrast", hits=[1, 0], seed=1),
        cell("source", "jpeg_compression", hits=[1, 1], seed=1),
    ]
    assert leaderboard(benchmark_pools(results))["R@1_sd_over_seeds"].item() == 0.0


def test_clean_cells_do_not_enter_the_leaderboard_mean():
    results = [cell("source", "none", hits=[1, 1]), cell("source", "contrast", hits=[1, 0])]
    assert leaderboard(benchmark_pools(results))["R@1"].item() == pytest.approx(50.0)
    assert list(by_shift(shift_pools(results))["shift"]) == ["contrast", "none"]


def test_missing_and_failed_cells_are_counted_and_listed():
    results = [
        cell("source", "contrast"),
        cell("source", "jpeg_compression"),
        cell("rest", "contrast"),
        cell("tent", "contrast", status=Status.FAILED, reason="ValueError: odd"),
        cell("tent", "jpeg_compression", status=Status.SKIPPED, reason="needs a GPU"),
    ]
    board = leaderboard(benchmark_pools(results)).set_index("method")
    assert list(board.loc["rest", ["cells", "cells_missing", "cells_failed"]]) == [1, 1, 0]
    assert list(board.loc["tent", ["cells", "cells_missing", "cells_failed"]]) == [0, 2, 2]
    assert math.isnan(board.loc["tent", "R@1"])
    # A cell that failed before its data were read stands beside the cells it belongs to.
    assert set(board["weights"]) == {"w1"}
    tent = by_shift(shift_pools(results)).query("method == 'tent'")
    assert list(tent["status"]) == ["failed", "skipped"]
    assert list(tent["reason"]) == ["seed 0: ValueError: odd", "seed 0: needs a GPU"]


def test_variants_of_a_method_are_told_apart_by_what_differs():
    results = [
        cell("rest", options={"lr": 0.1, "steps": 3}, preset="mini+lr"),
        cell("rest", options={"lr": 0.2, "steps": 3}, preset="mini+lr"),
        cell("tcr", options={"lr": 0.1}, preset="mini"),
        cell("tcr", options={"lr": 0.2}, preset="published"),
    ]
    labels = [pool.label for pool in shift_pools(results)]
    assert labels == ["tcr [mini]", "tcr [published]", "rest [lr=0.1]", "rest [lr=0.2]"]


def test_methods_come_source_first_then_built_ins_then_others():
    names = ["zebra", "rest", "aardvark", "tent", "source"]
    pools = shift_pools([cell(name) for name in names])
    assert [p.label for p in pools] == ["source", "tent", "rest", "aardvark", "zebra"]


def test_a_nan_is_kept_and_named_but_an_absent_number_is_not():
    results = [cell("source"), cell("rest", metrics={"R@5": math.nan})]
    row = by_shift(shift_pools(results)).set_index("method").loc["rest"]
    assert math.isnan(row["R@5"])
    assert math.isnan(row["angle"])  # never stored: does not apply
    named = problems(results)
    assert named == ["mini-coco-c-image / contrast 5 / rest / seed 0: R@5 is nan"]
    assert "nan" in printed(results)


# Printed table


def test_table_shows_quality_behaviour_and_cost_within_100_columns():
    results = [
        cell("source", "jpeg_compression", hits=[1, 0, 0, 0]),
        cell("rest", "jpeg_compression", hits=[1, 1, 1, 0], probes={"angle": 121.34}),
    ]
    text = printed(results)
    assert max(len(line) for line in text.splitlines()) <= 100
    for part in ("suite mini", "mini-vit", "preset mini", "4 queries", "+50.0 [", "121.3"):
        assert part in text
    for part in ("60.0->57.5", "3.0+3.0", "512", "8.00", "0.900", "rest: our reading of"):
        assert part in text


def test_rest_is_called_our_reading_only_where_it_appears():
    assert "our reading" not in printed([cell("source")])


def test_names_with_markup_or_control_characters_are_shown_not_obeyed():
    names = ["evil[red]x[/red]", "[/]", "back\\", "a\x1b[31mb", "x" * 70]
    text = printed([cell(name, hits=[1, 0]) for name in names])
    assert "evil[red]x[/red]" in text
    assert "[/]" in text
    assert "\x1b" not in text
    assert "a?[31mb" in text
    assert "".join(line.strip() for line in text.splitlines()).count("x" * 20) >= 2
    assert max(len(line) for line in text.splitlines()) <= 100


def test_failed_cells_are_rows_with_their_reason():
    reason = "ValueError: [bold]broken\nsecond line"
    text = printed([cell("source"), cell("tent", status=Status.FAILED, reason=reason)])
    assert "tent" in text
    assert "seed 0 failed: ValueError: [bold]broken" in text
    assert "second line" not in text


def test_an_empty_run_has_a_table_that_says_so():
    assert "no results yet" in printed([])


# Files


def stored(folder, results) -> RunStore:
    store = RunStore(folder)
    for result in results:
        arrays = {}
        if result.done:
            arrays = {
                "query": np.arange(len(result.hits)),
                "best_rank": np.where(result.hits > 0, 1, 11),
                "ap": np.full(len(result.hits), 0.01),
                "group": result.group,
                "order": result.order,
            }
        store.save(result.record, arrays)
    return store


RUN = [
    ("source", {"hits": [1, 0, 0, 0]}),
    ("rest", {"hits": [1, 1, 1, 0]}),
    ("tent", {"status": Status.FAILED, "reason": "ValueError: odd"}),
]


def test_write_all_writes_everything_and_twice_the_same_bytes(tmp_path):
    store = stored(tmp_path, [cell(name, **more) for name, more in RUN])
    first = {path: path.read_bytes() for path in write_all(store)}
    names = {str(path.relative_to(tmp_path)) for path in first}
    assert {"tidy.csv", "leaderboard.csv", "by_shift.csv", "ranking.csv"} <= names
    assert {"leaderboard.tex", "leaderboard.md", "leaderboard.html"} <= names
    assert {f"figures/{n}_mini-coco-c-image.png" for n in ("stream", "shifts")} <= names
    assert {path: path.read_bytes() for path in write_all(store)} == first
    assert not [p for p in tmp_path.rglob(".*") if p.name != ".lock"]
    board = pd.read_csv(tmp_path / "leaderboard.csv").set_index("method")
    assert board.loc["rest", "R@1_difference"] == 50.0


def test_the_order_in_which_cells_arrive_does_not_matter():
    results = [cell(name, **more) for name, more in RUN] + [cell("tcr", "jpeg_compression")]
    assert leaderboard(benchmark_pools(results)).equals(leaderboard(benchmark_pools(results[::-1])))
    forth, back = (by_shift(shift_pools(r)) for r in (results, results[::-1]))
    assert forth.equals(back)


def test_write_all_without_figures_and_into_another_folder(tmp_path):
    store = stored(tmp_path / "run", [cell("source")])
    written = write_all(store, figures=False, folder=tmp_path / "out")
    assert [path.relative_to(tmp_path / "out").name for path in written] == [
        "tidy.csv",
        "leaderboard.csv",
        "by_shift.csv",
        "pairwise.csv.gz",
        "ranking.csv",
        "leaderboard.tex",
        "leaderboard.md",
        "leaderboard.html",
        "outputs.json",
    ]


def test_write_all_warns_of_what_a_reader_must_know(tmp_path, caplog):
    results = [cell("rest"), cell("tent", status=Status.SKIPPED, reason="needs a GPU")]
    with caplog.at_level(logging.WARNING):
        write_all(stored(tmp_path, results), figures=False)
    assert "rest / seed 0: no source cell to compare with" in caplog.text
    assert "1 skipped" in caplog.text
    board = (tmp_path / "leaderboard.csv").read_text()
    assert pd.read_csv(tmp_path / "leaderboard.csv")["R@1_difference"].isna().all()
    assert "nan" not in board


def test_an_empty_run_is_one_clear_error(tmp_path):
    with pytest.raises(ResultsError, match="no results in"):
        write_all(RunStore(tmp_path))


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_that_cannot_be_written_is_one_clear_error(tmp_path):
    tmp_path.chmod(0o500)
    try:
        with pytest.raises(ResultsError, match="cannot write"):
            write_csv(pd.DataFrame({"a": [1]}), tmp_path / "x.csv")
    finally:
        tmp_path.chmod(0o700)


def test_a_file_in_the_way_is_one_clear_error(tmp_path):
    (tmp_path / "figures").write_text("not a folder")
    with pytest.raises(ResultsError, match="cannot write"):
        write_csv(pd.DataFrame({"a": [1]}), tmp_path / "figures" / "x.csv")


def test_csv_has_five_significant_digits(tmp_path):
    frame = pd.DataFrame({"a": [100 / 3, math.nan, 0.1 + 0.2, 1e-17 / 3], "b": 12345678})
    write_csv(frame, tmp_path / "x.csv")
    assert (tmp_path / "x.csv").read_text() == (
        "a,b\n33.333,12345678\n,12345678\n0.3,12345678\n3.3333e-18,12345678\n"
    )


def test_the_bank_is_part_of_a_methods_name():
    banks = ("past_queries", "transductive")
    results = [cell("nnn", hits=[1, 0, 1, 0], options={"bank": bank, "k": 4}) for bank in banks]
    results += [cell("source", hits=[0, 0, 0, 0]), cell("rest", hits=[1, 1, 1, 1])]
    board = leaderboard(benchmark_pools(results))
    assert set(board["method"]) == {"source", "rest", *(f"nnn[{bank}]" for bank in banks)}
    rows = tidy([result.record for result in results])
    assert set(rows["method"]) == set(board["method"])
    assert method_rank("nnn[past_queries]")[0] == method_rank("nnn")[0] > method_rank("rest")[0]


def test_a_report_does_without_torch():
    rooms = ("writing", "table", "unlabelled", "reported", "claims", "plots")
    imports = "; ".join(f"import benchmark.report.{room}" for room in rooms)
    code = f"import sys; {imports}; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)
