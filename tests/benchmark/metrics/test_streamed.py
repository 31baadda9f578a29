"""Ranks and candidates of a gallery that is read in parts, against those of the whole."""

from __future__ import annotations

import tracemalloc
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmark.metrics.ranking import item_ranks
from benchmark.metrics.streamed import streamed_ranks, streamed_top


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 10_000),
    queries=st.integers(1, 6),
    size=st.integers(1, 40),
    rows=st.integers(1, 50),
    half=st.booleans(),
)
def test_parts_give_what_the_whole_gives(
    seed: int, queries: int, size: int, rows: int, half: bool
) -> None:
    # Whole numbers from -2 to 2: products are exact, and ties are everywhere.
    generator = np.random.default_rng(seed)
    gallery = generator.integers(-2, 3, (size, 3)).astype(np.float16 if half else np.float32)
    asked = torch.from_numpy(generator.integers(-2, 3, (queries, 3)).astype(np.float32))
    relevant = [
        generator.choice(size, generator.integers(1, min(size, 5) + 1), replace=False)
        for _ in range(queries)
    ]
    scores = asked @ torch.from_numpy(gallery).float().T
    found = streamed_ranks(asked, gallery, relevant, rows_at_once=rows)
    for mine, whole in zip(found, item_ranks(scores, relevant), strict=True):
        assert mine.tolist() == sorted(whole.tolist())
    best, items = streamed_top(asked, torch.from_numpy(gallery), 4, rows_at_once=rows)
    expected = scores.topk(min(4, size), dim=1).values
    assert torch.equal(best, expected)
    assert torch.equal(scores.gather(1, items), expected)
    assert all(len(set(row)) == len(row) for row in items.tolist())


def test_a_file_needs_the_memory_of_one_part(tmp_path: Path) -> None:
    path, size = tmp_path / "gallery.npy", 60_000
    rows = np.lib.format.open_memmap(path, "w+", np.float16, (size, 64))
    rows[:] = np.random.default_rng(0).normal(size=rows.shape)
    rows.flush()
    asked = torch.randn(32, 64, generator=torch.Generator().manual_seed(0))
    relevant = [np.array([7 * number]) for number in range(32)]
    gallery = np.load(path, mmap_mode="r")
    tracemalloc.start()
    found = streamed_ranks(asked, gallery, relevant, rows_at_once=1000)
    peak = tracemalloc.get_traced_memory()[1]  # NumPy's: the parts, not torch's products
    tracemalloc.stop()
    assert peak < 1_000_000 < path.stat().st_size
    whole = item_ranks(asked @ torch.from_numpy(np.array(gallery)).float().T, relevant)
    # Products of other shapes may differ by rounding, which can swap neighbours.
    assert max(abs(int(a[0]) - int(b[0])) for a, b in zip(found, whole, strict=True)) <= 2


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"queries": torch.ones(2, 4)}, r"\(2, 4\) and \(3, 2\)"),
        ({"gallery": [[1.0, 1.0]]}, "as tensors or arrays, not Tensor and list"),
        ({"relevant": [0, 1]}, "query 0 .* expected a list"),
        ({"relevant": [np.array([0])]}, "2 queries but 1 sets"),
        ({"relevant": [np.array([0]), np.array([], dtype=np.int64)]}, "query 1 has no"),
        ({"relevant": [np.array([0]), np.array([3])]}, "outside the gallery of 3"),
        ({"relevant": [np.array([0]), np.array([1, 1])]}, "query 1 names .* twice"),
        ({"relevant": [np.array([0]), np.array([False, True, False])]}, "query 1 .* of bool"),
        ({"relevant": [np.array([0.5]), np.array([1])]}, "query 0 .* of float64"),
        ({"rows_at_once": -5}, "rows_at_once of at least 1"),
        ({"gallery": np.full((3, 2), np.nan, np.float32)}, "NaN"),
        ({"gallery": np.ones((0, 2), np.float32)}, "0 items"),
    ],
)
def test_what_cannot_be_ranked_is_said(change: dict[str, object], message: str) -> None:
    given_: dict[str, object] = {
        "queries": torch.ones(2, 2),
        "gallery": np.ones((3, 2), np.float32),
        "relevant": [np.array([0]), np.array([1])],
    }
    with pytest.raises(ValueError, match=message):
        streamed_ranks(**{**given_, **change})  # type: ignore[arg-type]


def test_no_candidates_are_none() -> None:
    for options in ({"k": 0}, {"k": 1, "rows_at_once": 0}):
        with pytest.raises(ValueError, match="at least 1, not 0"):
            streamed_top(torch.ones(1, 2), np.ones((3, 2), np.float32), **options)
