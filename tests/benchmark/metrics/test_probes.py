"""Closed forms of the geometry probes and of the means over logs."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from benchmark.data.retrieval import Relevance
from benchmark.metrics import probes


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


def test_geometry_does_not_depend_on_how_many_rows_are_held_at_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    generator = torch.Generator().manual_seed(0)
    queries, gallery = torch.rand(23, 4, generator=generator), torch.rand(9, 4, generator=generator)

    def found() -> list[float]:
        kept = queries.clone()
        values = [probes.uniformity(kept), probes.gap(kept, gallery), probes.effective_rank(kept)]
        assert torch.equal(kept, queries), "the embeddings are used again"
        return values

    whole = found()
    monkeypatch.setattr(probes, "_ROWS_AT_ONCE", 5)
    assert found() == pytest.approx(whole, abs=1e-12)


def test_effective_rank_of_closed_forms() -> None:
    assert probes.effective_rank(plane(20, 20, 20)) == pytest.approx(1.0, abs=1e-4)
    assert probes.effective_rank(torch.eye(6)) == pytest.approx(6.0, abs=1e-9)
    # Singular values 3 and 1: shares 3/4 and 1/4.
    entropy = -(0.75 * math.log(0.75) + 0.25 * math.log(0.25))
    found = probes.effective_rank(torch.diag(torch.tensor([3.0, 1.0])))
    assert found == pytest.approx(math.exp(entropy), abs=1e-9)


def test_effective_rank_agrees_with_a_full_decomposition() -> None:
    points = torch.randn(40, 7, generator=torch.Generator().manual_seed(0)).double()
    values = torch.linalg.svdvals(points)
    share = values / values.sum()
    expected = float((-(share * share.log()).sum()).exp())
    assert probes.effective_rank(points) == pytest.approx(expected, abs=1e-9)


def slow_skewness(lists: list[list[int]], size: int) -> float:
    counts = [sum(item in found for found in lists) for item in range(size)]
    mean = sum(counts) / size
    second = sum((c - mean) ** 2 for c in counts) / size
    return float(sum((c - mean) ** 3 for c in counts) / size / second**1.5)


def test_hubness_is_the_skewness_of_how_often_items_are_among_the_best() -> None:
    generator = torch.Generator().manual_seed(1)
    scores = torch.rand(30, 12, generator=generator)
    scores[:, 4] += 0.6  # a hub
    lists = [sorted(range(12), key=lambda i: -row[i])[:3] for row in scores.tolist()]
    found = probes.KOccurrences(3)
    for batch in scores.split(8):
        found.add(batch)
    assert found.skewness() == pytest.approx(slow_skewness(lists, 12), abs=1e-9)
    assert found.skewness() > 1


def test_excluded_items_and_short_galleries_are_not_counted() -> None:
    scores = torch.tensor([[3.0, 2.0, -torch.inf, 1.0], [-torch.inf, 2.0, 3.0, 1.0]])
    found = probes.KOccurrences(4)
    found.add(scores)
    # Items 0 and 2 are in one list each, 1 and 3 in both: symmetric.
    assert found.skewness() == pytest.approx(0.0, abs=1e-12)
    found = probes.KOccurrences(10)
    found.add(torch.rand(5, 10, generator=torch.Generator().manual_seed(0)))
    assert math.isnan(found.skewness())
    assert math.isnan(probes.KOccurrences().skewness())


def test_hubness_is_the_mean_over_sections() -> None:
    generator = torch.Generator().manual_seed(2)
    parts = [torch.rand(9, 6, generator=generator), torch.rand(7, 8, generator=generator)]
    both, alone = probes.KOccurrences(2), []
    for section, scores in enumerate(parts):
        both.add(scores, section)
        one = probes.KOccurrences(2)
        one.add(scores)
        alone.append(one.skewness())
    assert both.skewness() == pytest.approx(sum(alone) / 2, abs=1e-12)


@pytest.mark.parametrize(
    ("logs", "expected"),
    [
        (
            [{"loss": 2.0, "angle": math.nan}, {"loss": 4.0, "angle": 120.0}, {"angle": 60.0}],
            {"loss": 3.0, "angle": 90.0, "conflict": 0.5},
        ),
        ([{"angle": 90.0}], {"angle": 90.0, "conflict": 0.0}),  # a right angle is none
        (
            [{"angle": 120.0, "conflict": 0.5}, {"angle": 80.0, "conflict": 0.0}],
            {"angle": 100.0, "conflict": 0.25},
        ),
        ([{"angle": math.nan}, {"angle": math.inf}], {}),
    ],
)
def test_log_means_skip_absent_and_undefined_values(logs: list, expected: dict) -> None:
    assert probes.log_means(logs) == expected
