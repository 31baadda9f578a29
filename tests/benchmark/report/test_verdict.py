"""The verdict in words."""

from __future__ import annotations

import numpy as np
import pytest

from benchmark.cell import StreamSpec
from benchmark.report.boards import boards
from benchmark.report.claim_rules import ClaimCells
from benchmark.report.frames import leaderboard, rankings
from benchmark.report.pools import benchmark_pools
from benchmark.report.verdict import gain_over_source, verdict
from tests.benchmark.report.test_report import cell

FALSE, TRUE = np.zeros(60), np.ones(60)
HALF = np.arange(60) % 2.0


def test_a_clear_gain_is_said_with_its_price() -> None:
    found = verdict(
        benchmark_pools(
            [
                cell("source", hits=FALSE, cost={"ms_per_query": 2.0}),
                cell("tcr", hits=HALF, cost={"ms_per_query": 7.0}),
                cell("tent", hits=np.arange(60) % 4 == 0),
            ]
        )
    )
    gain, price, trust = found
    assert gain.startswith("tcr does best: R@1 +50.0 points against no adaptation (95 % interval ")
    assert gain.endswith("from 0.0 to 50.0.")
    assert price == (
        "It takes 7.0 ms a query instead of 2.0, 3.5 times as long, "
        "and R@1 on clean queries changes by -2.5 points."
    )
    assert trust == (
        "The evidence suffices to call it a gain (60 answers, 1 seed); "
        "as the best of 2 it may look better here than it is."
    )


def test_what_may_be_luck_is_no_gain() -> None:
    ours = HALF.copy()
    ours[0] = 1
    found = verdict(benchmark_pools([cell("source", hits=HALF), cell("tcr", hits=ours)]))
    assert found[2].startswith("The evidence does not suffice to call it a gain")


def test_harm_is_said() -> None:
    found = verdict(
        benchmark_pools(
            [cell("source", hits=TRUE), cell("tcr", hits=HALF), cell("tent", hits=FALSE)]
        )
    )
    assert found[0].startswith("No method beats doing nothing; tcr comes closest: R@1 -50.0 points")
    assert "no method helps here" in found[2]


@pytest.mark.parametrize("only", ["source", "tcr"])
def test_nothing_to_compare_is_no_verdict(only: str) -> None:
    assert verdict(benchmark_pools([cell(only, hits=HALF)])) == []
    assert verdict(benchmark_pools([])) == []


def test_a_method_that_is_not_finished_everywhere_cannot_be_best() -> None:
    cells = [
        cell("source", "fog", hits=FALSE),
        cell("source", "snow", hits=FALSE),
        cell("tcr", "fog", hits=HALF),
        cell("tcr", "snow", hits=HALF),
        cell("tent", "fog", hits=TRUE),
    ]
    assert verdict(benchmark_pools(cells))[0].startswith("tcr ")


def test_what_no_method_has_finished_lacks_to_none() -> None:
    lost = [
        cell(method, shift, benchmark=benchmark, status="skipped")
        for method in ("source", "tcr", "tent")
        for shift, benchmark in (("snow", "mini-coco-c-image"), ("fog", "other"))
    ]
    done = [cell("source", hits=FALSE), cell("tcr", hits=HALF), cell("tent", hits=TRUE)]
    alone = cell("tcr", benchmark="without source", hits=TRUE)
    assert verdict(benchmark_pools([*done, alone]))[0].startswith("tent does best")
    pools = benchmark_pools([*done, *lost])
    assert verdict(pools)[0].startswith("tent does best")
    assert rankings(pools)[0].average == {"source": 3.0, "tent": 1.0, "tcr": 2.0}
    assert leaderboard(pools)["cells_missing"].sum() == 0
    row = boards(pools)[0].rows[0][1]
    assert [value.best for value in row] == [False, True, False]


def test_several_benchmarks_are_one_comparison() -> None:
    cells = [
        cell(method, hits=hits, benchmark=name)
        for name, gain in (("mini-coco-c-image", TRUE), ("mini-flickr-c-image", HALF))
        for method, hits in (("source", FALSE), ("tcr", gain))
    ]
    line = verdict(benchmark_pools(cells))[0]
    assert "+75.0 points" in line
    assert line.endswith("ahead on 2 of 2 benchmarks, surely on 2.")
    other = [cell("source", hits=FALSE, weights="w2"), cell("tcr", hits=HALF, weights="w2")]
    line = verdict(benchmark_pools([*cells, *other]))[0]
    assert line.endswith("ahead on 3 of 3 rows of leaderboard.csv, surely on 3.")


def test_the_difference_is_that_of_its_two_ends() -> None:
    cells = [
        cell(method, hits=hits, benchmark=name)
        for name, both in (
            ("mini-coco-c-image", (FALSE, TRUE)),
            ("mini-coco-c-text", (FALSE[:20], FALSE[:20])),
        )
        for method, hits in zip(("source", "tcr"), both, strict=True)
    ]
    line = verdict(benchmark_pools(cells))[0]
    assert "+75.0 points" in line
    assert "from 0.0 to 75.0 over all queries;" in line


@pytest.mark.parametrize("other", [{"stream": StreamSpec(batch_size=4)}, {"weights": "w2"}])
def test_the_same_queries_again_are_no_further_evidence(other) -> None:
    def run(**more):
        return [cell("source", hits=FALSE, **more), cell("tcr", hits=HALF, **more)]

    once, twice = verdict(benchmark_pools(run())), verdict(benchmark_pools([*run(), *run(**other)]))
    assert twice[0].startswith(once[0].removesuffix("."))


def test_what_is_not_compared_is_no_evidence() -> None:
    cells = [cell("source", hits=FALSE), *(cell("tcr", hits=HALF, seed=seed) for seed in (0, 1))]
    assert "(60 answers, 1 seed)" in verdict(benchmark_pools(cells))[2]


def test_the_price_holds_the_source_models_pass() -> None:
    cells = [
        cell("source", hits=FALSE, cost={"ms_per_query": 2.0}),
        cell("rest", hits=HALF, cost={"ms_per_query": 7.0, "seconds_source": 0.0}),
    ]
    assert verdict(benchmark_pools(cells))[1].startswith(
        "It takes 9.0 ms a query, with the source model's pass that it needs, instead of 2.0, 4.5"
    )


@pytest.mark.parametrize(("preset", "labels"), [("mini+lr", 2), ("mini", 1)])
def test_options_set_by_hand_otherwise_elsewhere_are_not_averaged(preset, labels) -> None:
    cells = [
        cell(name, hits=hits, benchmark=benchmark, options={"lr": lr}, preset=preset)
        for benchmark, lr in (("mini-coco-c-image", 0.1), ("mini-flickr-c-image", 0.2))
        for name, hits in (("source", FALSE), ("tcr", HALF))
    ]
    pools = benchmark_pools(cells)
    assert len({pool.label for pool in pools if pool.first.method == "tcr"}) == labels
    (found, *_) = verdict(pools)
    assert found.startswith("No verdict" if labels > 1 else "tcr does best")


def test_numbers_are_never_nan() -> None:
    nothing = {"clean_R@1_before": np.nan, "clean_R@1_after": np.nan, "forgetting": np.nan}
    cells = [
        cell(name, hits=hits, metrics=nothing) for name, hits in (("source", FALSE), ("tcr", HALF))
    ]
    lines = verdict(benchmark_pools(cells))
    assert "what it forgets was not measured" in lines[1]
    assert "nan" not in " ".join(lines)


def test_a_cost_that_was_not_measured_is_no_number() -> None:
    nothing: dict[str, float] = {"ms_per_query": float("nan")}
    runs = [cell("source", hits=FALSE, cost=nothing), cell("tcr", hits=HALF, cost=nothing)]
    price = verdict(benchmark_pools(runs))[1]
    assert price.startswith("What it takes was not measured")
    assert "nan" not in price


def test_seeds_are_the_same_in_all_benchmarks_as_in_claims() -> None:
    rng = np.random.default_rng(0)
    results = [
        cell(method, hits=rng.random(60) < share, benchmark=name, seed=seed)
        for name, seeds in (("mini-coco-c-image", (0, 1)), ("mini-flickr-c-image", (1, 2)))
        for seed in seeds
        for method, share in (("source", 0.3), ("tcr", 0.3 + 0.2 * seed))
    ]
    pools = [pool for pool in benchmark_pools(results) if not pool.is_source]
    cells = ClaimCells(results)
    gain, claimed = gain_over_source(pools), cells.recall(cells.of("tcr"), cells.of("source"))
    assert gain is not None
    assert (gain.difference, gain.low, gain.high) == pytest.approx(
        (claimed.value, claimed.low, claimed.high)
    )


def test_gain_time_and_forgetting_are_means_over_the_same_queries() -> None:
    rng, cells, rows = np.random.default_rng(1), [], []
    for place, queries in enumerate((60, 20, 100)):
        for seed in range(2):
            hits, costs = rng.random((2, queries)) < [[0.3], [0.7]], rng.uniform(1, 9, 2)
            forgot = float(rng.uniform(-9, 0))
            for name, own, ms in zip(("source", "tcr"), hits, costs, strict=True):
                facts = {"cost": {"ms_per_query": ms}, "metrics": {"forgetting": forgot}}
                cells.append(cell(name, hits=own, benchmark=f"b{place}", seed=seed, **facts))
            rows += [(*of_query, *costs, forgot) for of_query in hits.T]
    before, after, base, own, forgot = np.mean(rows, axis=0)
    gain, price, _ = verdict(benchmark_pools(cells))
    assert f"R@1 {100 * (after - before):+.1f} points against" in gain
    assert f"from {100 * before:.1f} to {100 * after:.1f} over all queries; ahead" in gain
    assert price == (
        f"It takes {own:.1f} ms a query instead of {base:.1f}, {own / base:.1f} times as long, "
        f"and R@1 on clean queries changes by {forgot:+.1f} points."
    )
