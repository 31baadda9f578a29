"""The order of the stream comes from the seed alone, and every query comes once."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmark.cell import StreamSpec
from benchmark.errors import ConfigError
from benchmark.evaluation.stream import QueryStream, chosen_queries, derive_seed


@given(st.integers(1, 200), st.integers(1, 70))
def test_every_batch_but_the_last_has_the_asked_size(count: int, size: int) -> None:
    batches = list(QueryStream(count, StreamSpec(batch_size=size), 0))
    assert [len(batch) for batch in batches[:-1]] == [size] * (len(batches) - 1)
    assert all((batch.shifts == 0).all() for batch in batches)


def test_the_order_is_shuffled() -> None:
    assert not np.array_equal(QueryStream(100, StreamSpec(), 0).order, np.arange(100))


def test_order_is_frozen() -> None:
    """Stored results rely on it: a change here must raise the schema version."""
    assert QueryStream(8, StreamSpec(), 0).order.tolist() == [5, 3, 7, 0, 2, 1, 4, 6]
    assert derive_seed("order", 0) == 6470516168107445113


def test_no_queries_no_batches() -> None:
    assert list(QueryStream(0, StreamSpec(), 0)) == []


def test_limited_queries_are_fixed_nested_and_spread() -> None:
    ten, twenty = chosen_queries(1000, 10), chosen_queries(1000, 20)
    assert np.array_equal(ten, chosen_queries(1000, 10))
    assert set(ten) < set(twenty)
    assert (np.diff(twenty) > 0).all()
    assert twenty.max() > 500
    assert np.array_equal(chosen_queries(5, None), np.arange(5))
    assert np.array_equal(chosen_queries(5, 50), np.arange(5))


def test_a_limit_of_no_queries_is_refused() -> None:
    with pytest.raises(ConfigError, match="limit is 0"):
        chosen_queries(5, 0)
