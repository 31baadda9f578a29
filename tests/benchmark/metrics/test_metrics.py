"""Ranks and recall against a loop-written oracle, and the closed forms of the protocol."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from benchmark.metrics import ranking as metrics
from benchmark.metrics import recall
from benchmark.metrics.recall import ndcg_at


def oracle(scores: list[list[float]], relevant: list[list[int]]) -> list[list[int]]:
    """Places in a stable descending sort, one loop per definition and no shared code."""
    found = []
    for row, answers in zip(scores, relevant, strict=True):
        places = []
        for item in answers:
            place = 1
            for other, score in enumerate(row):
                if score > row[item] or (score == row[item] and other < item):
                    place += 1
            places.append(place)
        found.append(places)
    return found


def ndcg_oracle(scores: list[float], grades: dict[int, float], k: int) -> float:
    """nDCG@k of one query by walking down its results, and down the best order of them."""

    def gain(results: list[int]) -> float:
        total = 0.0
        for place, item in enumerate(results[:k], start=1):
            total += grades.get(item, 0.0) / math.log2(place + 1)
        return total

    items = list(range(len(scores)))
    shown = sorted(items, key=lambda item: (-scores[item], item))
    return gain(shown) / gain(sorted(items, key=lambda item: -grades.get(item, 0.0)))


@pytest.mark.parametrize("k", [1, 3, 10])
@pytest.mark.parametrize(("gallery", "positives"), [(1, 1), (12, 3), (30, 15), (120, 40)])
def test_ndcg_agrees_with_oracle(gallery: int, positives: int, k: int) -> None:
    generator = np.random.default_rng([gallery, positives, k])
    scores = np.round(generator.normal(size=(5, gallery)), 1).astype(np.float32)  # with ties
    answers = [
        np.sort(generator.choice(gallery, positives, replace=False)) for _ in range(len(scores))
    ]
    grades = generator.choice([0.5, 1.0, 2.0, 3.0], size=(5, positives))
    found = metrics.item_ranks(torch.from_numpy(scores), answers)
    for query in range(5):
        stated = dict(zip(answers[query].tolist(), grades[query].tolist(), strict=True))
        expected = ndcg_oracle(scores[query].tolist(), stated, k)
        assert ndcg_at(found[query], grades[query], k) == pytest.approx(expected, abs=1e-12)


def test_ndcg_by_hand() -> None:
    """trec_eval's ndcg_cut_10 of grades 0, 1, 3 in the first three places: the gain is linear."""
    expected = (1 / math.log2(3) + 3 / 2) / (3 + 1 / math.log2(3))
    assert ndcg_at(np.array([2, 3]), np.array([1.0, 3.0]), 10) == pytest.approx(expected)
    assert ndcg_at(np.array([11]), np.array([2.0]), 10) == 0.0


SHAPES = [(1, 1, 1), (1, 7, 1), (5, 1, 1), (3, 4, 4), (8, 50, 5), (64, 33, 1), (4, 120, 40)]


@pytest.mark.parametrize(("queries", "gallery", "positives"), SHAPES)
@pytest.mark.parametrize("values", ["distinct", "ties", "constant", "negative", "infinite"])
def test_ranks_agree_with_oracle(queries: int, gallery: int, positives: int, values: str) -> None:
    generator = np.random.default_rng([queries, gallery, positives])
    scores = generator.normal(size=(queries, gallery)).astype(np.float32)
    if values == "ties":
        scores = np.round(scores)
        scores[generator.random(scores.shape) < 0.3] = -0.0
    elif values == "constant":
        scores[:] = 0.25
    elif values == "negative":
        scores = -np.abs(np.round(scores, 1)) - 1
    elif values == "infinite":
        scores[generator.random(scores.shape) < 0.3] = np.inf
        scores[generator.random(scores.shape) < 0.3] = -np.inf
    relevant = [
        np.sort(generator.choice(gallery, positives, replace=False)) for _ in range(queries)
    ]
    found = metrics.item_ranks(torch.from_numpy(scores), relevant)
    assert [part.tolist() for part in found] == oracle(
        scores.tolist(), [part.tolist() for part in relevant]
    )
    best, ap = zip(*((p.min(), recall.average_precision(p)) for p in found), strict=True)
    summary = recall.of_queries({"best_rank": np.array(best), "ap": np.array(ap)})
    for k in (1, 5, 10):  # also where k is larger than the gallery
        hits = [any(place <= k for place in part) for part in found]
        assert summary[f"R@{k}"] == pytest.approx(100 * sum(hits) / len(hits), abs=1e-12)


@given(
    arrays(
        np.float32,
        st.tuples(st.integers(1, 4), st.integers(1, 9)),
        elements=st.sampled_from([-2.0, -0.0, 0.0, 0.5, np.inf, -np.inf]),
    ),
    st.data(),
)
def test_ranks_of_all_items_are_a_stable_descending_sort(
    scores: np.ndarray, data: st.DataObject
) -> None:
    size = scores.shape[1]
    some = st.lists(st.integers(0, size - 1), min_size=1, unique=True)
    relevant = [np.array(sorted(data.draw(some))) for _ in scores]
    found = metrics.item_ranks(torch.from_numpy(scores), relevant)
    for row, answers, places in zip(scores, relevant, found, strict=True):
        order = sorted(range(size), key=lambda item: -row[item])  # Python's sort is stable
        assert places.tolist() == [order.index(item) + 1 for item in answers]


@pytest.mark.parametrize("limit", ["_SORT_FROM", "_BLOCK_ELEMENTS"])
def test_both_ways_of_ranking_agree(monkeypatch: pytest.MonkeyPatch, limit: str) -> None:
    generator = np.random.default_rng(0)
    scores = torch.from_numpy(generator.integers(-3, 3, (6, 40)).astype(np.float32))
    relevant = [generator.choice(40, size, replace=False) for size in (1, 2, 5, 31, 32, 40)]
    usual = metrics.item_ranks(scores, relevant)
    monkeypatch.setattr(metrics, limit, 1)  # sort always; compare one pair at a time
    for one, other in zip(usual, metrics.item_ranks(scores, relevant), strict=True):
        assert one.tolist() == other.tolist()


def test_ranks_leave_the_scores_alone() -> None:
    scores = torch.tensor([[0.1, -0.0, 0.3]])
    before = scores.clone()
    metrics.item_ranks(scores, [np.arange(3)])
    assert torch.equal(scores, before)
    assert torch.signbit(scores[0, 1])


@pytest.mark.parametrize(
    ("places", "expected"),
    [([1, 4], 0.75), ([3, 6, 7], 0.365079), ([1], 1.0), ([4], 0.25), ([2, 1], 1.0)],
)
def test_average_precision(places: list[int], expected: float) -> None:
    assert recall.average_precision(np.array(places)) == pytest.approx(expected, abs=1e-6)


def test_summary_of_known_ranks() -> None:
    # The protocol's second example: relevant at 3, 6 and 7 misses at 1 and hits at 5.
    summary = recall.of_queries(
        {"best_rank": np.array([3, 1, 8, 11]), "ap": np.array([0.365079, 1.0, 0.125, 1 / 11])}
    )
    assert summary["R@1"] == 25.0
    assert summary["R@5"] == 50.0
    assert summary["R@10"] == 75.0
    assert summary["mean_recall"] == 50.0
    assert summary["mAP"] == pytest.approx(100 * (0.365079 + 1.125 + 1 / 11) / 4)


def test_summary_is_not_rounded() -> None:
    assert recall.of_queries({"best_rank": np.array([1, 2, 2]), "ap": np.ones(3)})["R@1"] == 100 / 3


@pytest.mark.parametrize(
    ("scores", "relevant", "message"),
    [
        (torch.tensor([[0.0, 1.0], [torch.nan, 1.0]]), [[0], [1]], r"NaN \(row 1"),
        (torch.zeros(2, 3), [[0]], "2 queries but 1"),
        (torch.zeros(2, 3), [[0], []], "query 1 has no relevant"),
        (torch.zeros(1, 3), [[3]], "outside the gallery of 3"),
        (torch.zeros(1, 3), [[-1]], "outside the gallery of 3"),
        (torch.zeros(3), [[0]], "matrix"),
        (torch.zeros(1, 3, dtype=torch.int64), [[0]], "floating-point"),
    ],
)
def test_what_cannot_be_ranked_is_refused(
    scores: torch.Tensor, relevant: list[list[int]], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        metrics.item_ranks(scores, [np.array(items, dtype=np.int64) for items in relevant])


def test_no_queries_are_refused() -> None:
    with pytest.raises(ValueError, match="no queries"):
        recall.of_queries({"best_rank": np.array([]), "ap": np.array([])})


def test_counting_on_a_device_gives_the_same_ranks() -> None:
    """The way that is taken on a GPU, tried on the CPU: ties, both zeros and infinities too."""
    generator = torch.Generator().manual_seed(5)
    scores = torch.randint(-3, 4, (20, 50), generator=generator).float() / 2
    scores[0, 3], scores[1, 4], scores[2, :5] = -0.0, torch.inf, -torch.inf
    rows = np.repeat(np.arange(20), 50)
    items = np.tile(np.arange(50), 20)
    here = metrics._by_counting(scores, rows, items)
    there = metrics._by_counting_on_device(scores, rows, items)
    assert here.tolist() == there.tolist()


def test_a_row_with_both_infinities_is_no_nan() -> None:
    scores = torch.tensor([[torch.inf, -torch.inf, 0.5]])
    assert metrics.item_ranks(scores, [np.array([2])])[0].tolist() == [2]
