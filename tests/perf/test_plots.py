"""How long the slowest figures of 2,000 cells take: each less than 10 s, so the issue asks."""

from __future__ import annotations

import numpy as np
import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from benchmark.cell import ShiftSpec
from benchmark.report import plots
from benchmark.report.plots.recall import curves
from benchmark.report.pools import shift_pools
from benchmark.report.results import CellResult
from methods import BUILTINS
from tests.benchmark.report.cells import invented

QUERIES = 1000
METHODS = sorted(BUILTINS)[:8]
SHIFTS, SEVERITIES, SEEDS, PLACES = 5, 5, 5, 2
"""Times the methods: 2,000 cells."""


def results() -> list[CellResult]:
    """Made-up cells with all numbers that a figure draws."""
    rng = np.random.default_rng(0)
    made = []
    for place, shift, severity, seed in np.ndindex(PLACES, SHIFTS, SEVERITIES, SEEDS):
        for method in METHODS:
            made.append(
                invented(
                    method,
                    ShiftSpec(f"shift_{shift}", severity + 1),
                    hits=rng.random(QUERIES) < 0.4,
                    seed=seed,
                    benchmark=f"mini-{place}",
                    metrics={"R@1": 40.0, "forgetting": -1.0},
                    probes={"uniformity": 0.9, "gap": 0.4, "consistency": 0.7, "angle": 95.0},
                    cost={"ms_per_query": 3.0},
                    batches=[{"angle": float(a)} for a in rng.uniform(0, 180, 16)],
                )
            )
    return made


@pytest.fixture(scope="module")
def cells() -> list[CellResult]:
    made = results()
    assert len(made) == 2000
    return made


DRAW = {
    "difference": plots.heat_map,
    "cost": plots.quality_and_cost,
    "severity": lambda pools: plots.severity_curves(
        [p for p in pools if p.first.benchmark == "mini-0"], "a", curves(pools)
    ),
    "probes": lambda pools: plots.probes([p for p in pools if p.first.benchmark == "mini-0"]),
    "angles": plots.angles,
    "forgetting": plots.forgetting_map,
}


@pytest.mark.parametrize("name", DRAW)
def test_a_figure_of_2000_cells(
    benchmark: BenchmarkFixture, cells: list[CellResult], name: str
) -> None:
    def job() -> bytes:
        # New pools each time: they remember their intervals, which are most of the work.
        return plots.render(DRAW[name](shift_pools(cells)))

    assert benchmark.pedantic(job, rounds=1).startswith(b"\x89PNG")
