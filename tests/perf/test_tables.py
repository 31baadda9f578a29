"""Tables of 2,000 cells; each is meant to stay below 10 s."""

from __future__ import annotations

import functools

import numpy as np
import pytest

from benchmark.data.card import load_suite
from benchmark.report.boards import boards, latex, markdown
from benchmark.report.frames import by_shift, leaderboard, pairwise_frame, ranking_frame, rankings
from benchmark.report.pools import benchmark_pools, shift_pools
from benchmark.report.results import CellResult
from benchmark.report.table import results_table
from benchmark.report.writing import load_results, write_all
from tests.benchmark.report.test_report import cell, stored

METHODS = ("source", "recentre", "tent", "eata", "sar", "read", "tcr", "rest")
SHIFTS = ("gaussian_noise", "defocus_blur", "contrast", "jpeg_compression")
SEEDS = (0, 1, 2)
CELLS, QUERIES, CAPTIONS = 2000, 1000, 5


@functools.cache
def cells() -> tuple[CellResult, ...]:
    """2,000 cells of 1,000 queries in clusters of five captions."""
    generator = np.random.default_rng(0)
    groups = np.arange(QUERIES) // CAPTIONS
    names = [card.id for card in load_suite("mini").benchmarks]
    found = [
        cell(
            method,
            shift,
            benchmark=name,
            seed=seed,
            groups=groups,
            hits=generator.random(QUERIES) < 0.4 + 0.02 * place,
        )
        for name in names
        for shift in SHIFTS
        for seed in SEEDS
        for place, method in enumerate(METHODS)
    ]
    assert len(found) >= CELLS
    return tuple(found[:CELLS])


def once(benchmark, function):
    return benchmark.pedantic(function, rounds=1, iterations=1)


def test_leaderboard(benchmark) -> None:
    found = once(benchmark, lambda: leaderboard(benchmark_pools(cells())))
    assert found["R@1_difference"].notna().sum() > 100


def test_by_shift(benchmark) -> None:
    found = once(benchmark, lambda: by_shift(shift_pools(cells())))
    assert found["p_holm"].notna().sum() > 500


def test_pairwise_and_ranking(benchmark) -> None:
    def tables():
        pools = benchmark_pools(cells())
        return pairwise_frame(pools), ranking_frame(rankings(pools))

    pairs, ranks = once(benchmark, tables)
    assert len(pairs) > 500
    assert len(ranks) == len(METHODS)


def test_latex_and_markdown(benchmark) -> None:
    def texts():
        found = boards(benchmark_pools(cells()))
        return latex(found) + markdown(found)

    assert once(benchmark, texts).count(r"\toprule") == 1


def test_printed_table(benchmark) -> None:
    assert once(benchmark, lambda: results_table(cells())) is not None


@pytest.fixture
def store(tmp_path):
    return stored(tmp_path, cells())


def test_everything_from_the_folder(benchmark, store) -> None:
    once(benchmark, lambda: write_all(store, figures=False))
    assert len(load_results(store)) == CELLS
