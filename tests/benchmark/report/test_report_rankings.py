"""Harm rate, families of p-values, average ranks and pairs of methods, on invented cells."""

from __future__ import annotations

import math

import numpy as np
import pytest

from benchmark.metrics.intervals import holm, paired_comparison
from benchmark.report.frames import (
    by_shift,
    leaderboard,
    pairwise,
    pairwise_frame,
    ranking_frame,
    rankings,
)
from benchmark.report.pools import benchmark_pools, shift_pools
from tests.benchmark.report.test_report import cell

SETS = ("mini-coco-c-image", "mini-fiq-c", "mini-cirr-c", "mini-as-c-video", "mini-vgg-c-video")


def hits(share: float, seed: int, count: int = 60) -> np.ndarray:
    return (np.random.default_rng(seed).permutation(count) < share * count).astype(float)


def run(benchmarks, recalls):
    """A cell for each benchmark and method, with the given share of hits."""
    return [
        cell(method, benchmark=name, hits=hits(share, place))
        for place, name in enumerate(benchmarks)
        for method, share in recalls.items()
    ]


# Beside quality


def test_harm_rate_is_the_share_of_cells_below_the_source() -> None:
    better, same, worse = hits(0.9, 1), hits(0.5, 2), hits(0.1, 3)
    results = []
    for seed, shift, found in ((0, "fog", better), (1, "fog", worse), (0, "snow", same)):
        results.append(cell("source", shift, seed=seed, hits=same))
        results.append(cell("rest", shift, seed=seed, hits=found))
    board = leaderboard(benchmark_pools(results)).set_index("method")
    assert board.loc["rest", "harm_rate"] == pytest.approx(1 / 3)
    assert board.loc["rest", "harm_rate_significant"] == pytest.approx(1 / 3)
    assert math.isnan(board.loc["source", "harm_rate"])
    fog = by_shift(shift_pools(results)).query("method == 'rest' and shift == 'fog'")
    assert fog["harm_rate"].item() == 0.5


def test_a_chance_loss_is_counted_but_not_as_significant() -> None:
    source = np.array([1.0, 1, 0, 0] * 20)
    rest = source.copy()
    rest[0] = 0
    board = leaderboard(
        benchmark_pools([cell("source", hits=source), cell("rest", hits=rest)])
    ).set_index("method")
    assert (board.loc["rest", "harm_rate"], board.loc["rest", "harm_rate_significant"]) == (1, 0)


def test_p_is_corrected_over_the_suite() -> None:
    results = run(SETS[:2], {"source": 0.5, "rest": 0.6, "tent": 0.9})
    for frame in (leaderboard(benchmark_pools(results)), by_shift(shift_pools(results))):
        compared = frame[frame["method"] != "source"]
        assert len(compared) == 4
        assert list(compared["p_holm"]) == pytest.approx(list(holm(compared["p"].to_numpy())))
        assert (compared["p_holm"] >= compared["p"]).all()
        assert frame[frame["method"] == "source"]["p_holm"].isna().all()
    one = leaderboard(benchmark_pools(results)).query(
        "benchmark == 'mini-coco-c-image' and method == 'rest'"
    )
    expected = paired_comparison(hits(0.6, 0), hits(0.5, 0), np.arange(60))
    columns = ["R@1_difference", "R@1_difference_low", "R@1_difference_high", "p"]
    assert one[columns].to_numpy()[0] == pytest.approx(np.array(expected))
    assert one["significant"].item() is expected.significant is True


def test_cost_and_collapse_stand_beside_quality() -> None:
    probes = {"effective_rank": 12.5, "hubness": 3.0}
    results = [
        cell("source", cost={"peak_mb": 400.0, "ms_per_query": 2.0}, probes=probes),
        cell("rest", cost={"peak_mb": 500.0, "ms_per_query": 9.0}),
    ]
    board = leaderboard(benchmark_pools(results)).set_index("method")
    assert board.loc["rest", ["peak_mb_ratio", "ms_per_query_ratio"]].tolist() == [1.25, 4.5]
    assert board.loc["source", ["effective_rank", "hubness"]].tolist() == [12.5, 3.0]
    # A record of before these were measured has no number, which is no error.
    assert board.loc["rest", ["effective_rank", "hubness"]].isna().all()
    assert board.loc["rest", ["ms_per_query", "forward_per_query"]].tolist() == [9.0, 3.0]


def test_more_seeds_that_differ_widen_the_interval() -> None:
    def interval(shares):
        results = []
        for seed, share in enumerate(shares):
            results.append(cell("source", seed=seed, hits=hits(0.5, 40 + seed, 400)))
            results.append(cell("rest", seed=seed, hits=hits(share, 50 + seed, 400)))
        row = leaderboard(benchmark_pools(results)).set_index("method").loc["rest"]
        return row["R@1_difference"], row["R@1_difference_high"] - row["R@1_difference_low"]

    steady, swinging = interval([0.7, 0.7, 0.7]), interval([0.5, 0.7, 0.9])
    assert steady[0] == pytest.approx(swinging[0])
    assert swinging[1] > 3 * steady[1]


# Average ranks


def test_twins_that_share_a_data_set_count_once() -> None:
    # tent is first on both twins of one data set, rest on the other data set.
    twins = run(["mini-coco-c-image", "mini-coco-c-text"], {"rest": 0.4, "tent": 0.6})
    other = run(["mini-fiq-c"], {"rest": 0.6, "tent": 0.4})
    (ranking,) = rankings(benchmark_pools([*twins, *other]))
    assert ranking.datasets == 2
    assert ranking.average == {"rest": 1.5, "tent": 1.5}
    board = leaderboard(benchmark_pools([*twins, *other]))
    assert set(board["rank_datasets"]) == {2}
    assert set(board["average_rank"]) == {1.5}


def test_interleaved_streams_join_the_data_sets_that_they_share() -> None:
    names = ["mini-coco-c-image+mini-fiq-c", "mini-fiq-c", "mini-cirr-c"]
    (ranking,) = rankings(benchmark_pools(run(names, {"rest": 0.4, "tent": 0.6})))
    assert ranking.datasets == 2


def test_a_benchmark_of_no_suite_stands_for_itself() -> None:
    (ranking,) = rankings(benchmark_pools(run(["my-own", "my-other"], {"rest": 0.4, "tent": 0.6})))
    assert ranking.datasets == 2


def test_too_few_data_sets_are_refused_with_the_reason() -> None:
    (ranking,) = rankings(benchmark_pools(run(SETS, {"source": 0.3, "rest": 0.5, "tent": 0.7})))
    assert ranking.tested is None
    assert "5 independent data sets; a critical difference needs at least 6" in ranking.reason
    frame = ranking_frame([ranking])
    assert list(frame["method"]) == ["tent", "rest", "source"]
    assert frame["critical_difference"].isna().all()
    assert frame["reason"].str.contains("at least 6").all()


def test_enough_data_sets_give_a_critical_difference() -> None:
    recalls = {"source": 0.3, "rest": 0.5, "tent": 0.7}
    (ranking,) = rankings(benchmark_pools(run([*SETS, "mini-cuhk2icfg-i2t", "my-own"], recalls)))
    assert ranking.reason == ""
    assert ranking.average == {"source": 3.0, "rest": 2.0, "tent": 1.0}
    # q of three methods is 2.343; 7 data sets.
    assert ranking.tested is not None
    difference = ranking.tested.critical_difference
    assert difference == pytest.approx(2.343 * math.sqrt(12 / 42), abs=1e-3)
    assert ranking.tested.p < 0.01


def test_a_method_that_lacks_a_number_is_left_out_and_named() -> None:
    results = run(SETS[:2], {"source": 0.3, "rest": 0.5})
    results += run(SETS[:1], {"tent": 0.9})
    (ranking,) = rankings(benchmark_pools(results))
    assert set(ranking.average) == {"source", "rest"}
    assert dict(ranking.left_out) == {"tent": "no complete number on mini-fiq-c"}
    row = ranking_frame([ranking]).set_index("method").loc["tent"]
    assert math.isnan(row["average_rank"])
    assert row["reason"] == "no complete number on mini-fiq-c"
    assert (
        leaderboard(benchmark_pools(results)).set_index("method").loc["tent", "average_rank"].item()
        != 1
    )


def test_a_mean_over_fewer_shifts_is_not_ranked() -> None:
    results = [cell(m, s, hits=hits(0.5, 1)) for m in ("source", "rest") for s in ("fog", "snow")]
    results.append(cell("tent", "fog", hits=hits(0.9, 1)))
    (ranking,) = rankings(benchmark_pools(results))
    assert set(ranking.left_out) == {"tent"}


# Every two methods


def test_pairs_are_compared_on_the_cells_that_both_have() -> None:
    results = [cell(m, "fog", hits=hits(s, 1)) for m, s in (("source", 0.2), ("rest", 0.5))]
    results += [cell(m, "snow", hits=hits(s, 2)) for m, s in (("source", 0.3), ("rest", 0.5))]
    results.append(cell("tent", "snow", hits=hits(0.9, 2)))
    frame = pairwise_frame(benchmark_pools(results)).set_index(["method", "other"])
    assert frame.loc[("source", "rest"), "R@1_difference"] == pytest.approx(-25.0)
    assert frame.loc[("source", "rest"), "cells"] == 2
    assert frame.loc[("tent", "rest"), "R@1_difference"] == pytest.approx(40.0)
    assert frame.loc[("tent", "rest"), "cells"] == 1
    assert list(frame["p_holm"]) == pytest.approx(list(holm(frame["p"].to_numpy())))
    low, high = frame.loc[("tent", "rest"), ["R@1_difference_low", "R@1_difference_high"]]
    assert low < 40 < high


def test_pairs_without_a_common_cell_have_no_row() -> None:
    results = [cell("rest", "fog", hits=[1, 0]), cell("tent", "snow", hits=[1, 1])]
    assert pairwise(benchmark_pools(results)) == {}
    assert pairwise_frame(benchmark_pools(results)).empty


def test_pairs_of_other_queries_are_not_compared() -> None:
    assert (
        pairwise(benchmark_pools([cell("rest", hits=[1, 0]), cell("tent", hits=[1, 1, 0])])) == {}
    )
