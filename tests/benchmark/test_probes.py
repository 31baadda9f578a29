"""Closed forms of the geometry probes and of the means over logs."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from benchmark import probes
from benchmark.retrieval import Relevance


def plane(*degrees: float) -> torch.Tensor:
    angles = torch.deg2rad(torch.tensor(degrees))
    return torch.stack([angles.cos(), angles.sin()], dim=1)


def test_uniformity_of_opposite_points_is_one_and_of_equal_points_zero() -> None:
    assert probes.uniformity(plane(0, 180)) == pytest.approx(1.0, abs=1e-7)
    assert probes.uniformity(plane(30, 30, 30)) == pytest.approx(0.0, abs=1e-7)


def test_uniformity_of_two_points_is_half_their_chord() -> None:
    assert probes.uniformity(plane(0, 60)) == pytest.approx(0.5, abs=1e-7)


def test_gap_is_the_distance_of_the_means() -> None:
    assert probes.gap(plane(0, 180), plane(90, 90)) == pytest.approx(1.0, abs=1e-7)
    assert probes.gap(plane(10, 50), plane(10, 50)) == 0.0
    # TCR's worked example: queries against their candidates.
    found = probes.gap(plane(2, 27, 56, 84), plane(10, 30, 50, 90))
    assert found == pytest.approx(0.035223, abs=1e-6)


def test_consistency_weighs_pairs_alike_and_follows_the_order() -> None:
    gallery = plane(0, 60, 90)
    relevance = Relevance.from_lists([[0, 1], [2]])
    # Rows come in stream order: first query 1 (90 degrees), then query 0 (0 degrees).
    found = probes.consistency(plane(90, 0), gallery, relevance, np.array([1, 0]))
    assert found == pytest.approx((1.0 + 1.0 + 0.5) / 3, abs=1e-6)


def test_consistency_does_not_depend_on_the_block_size(monkeypatch: pytest.MonkeyPatch) -> None:
    generator = torch.Generator().manual_seed(0)
    queries, gallery = torch.rand(7, 3, generator=generator), torch.rand(9, 3, generator=generator)
    relevance = Relevance.from_lists([[q, q + 1, q + 2] for q in range(7)])
    whole = probes.consistency(queries, gallery, relevance, np.arange(7))
    monkeypatch.setattr(probes, "_PAIRS_AT_ONCE", 4)
    parts = probes.consistency(queries, gallery, relevance, np.arange(7))
    assert parts == pytest.approx(whole, abs=1e-12)


def test_log_means_skip_absent_and_undefined_values() -> None:
    logs = [{"loss": 2.0, "angle": math.nan}, {"loss": 4.0, "angle": 120.0}, {"angle": 60.0}]
    assert probes.log_means(logs) == {"loss": 3.0, "angle": 90.0, "conflict": 0.5}


def test_a_right_angle_is_no_conflict() -> None:
    assert probes.log_means([{"angle": 90.0}])["conflict"] == 0.0


def test_a_logged_conflict_share_is_kept() -> None:
    logs = [{"angle": 120.0, "conflict": 1 / 3}, {"angle": 80.0, "conflict": 0.0}]
    assert probes.log_means(logs)["conflict"] == pytest.approx(1 / 6)


def test_a_value_that_is_never_defined_is_left_out() -> None:
    assert probes.log_means([{"angle": math.nan}, {"angle": math.inf}]) == {}
