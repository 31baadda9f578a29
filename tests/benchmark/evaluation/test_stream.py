"""The order of the stream comes from the seed alone, and every query comes once."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmark.cell import StreamSpec
from benchmark.errors import ConfigError
from benchmark.evaluation.stream import QueryStream, chosen_queries, derive_seed


@given(st.integers(1, 200), st.integers(1, 70), st.integers(0, 10**9))
def test_every_query_comes_once_in_batches_of_the_asked_size(
    count: int, size: int, seed: int
) -> None:
    batches = list(stream := QueryStream(count, StreamSpec(batch_size=size), seed))
    assert len(batches) == len(stream)
    assert [len(batch) for batch in batches[:-1]] == [size] * (len(batches) - 1)
    assert 1 <= len(batches[-1]) <= size
    assert sorted(np.concatenate([batch.queries for batch in batches])) == list(range(count))
    assert all((batch.shifts == 0).all() and len(batch.shifts) == len(batch) for batch in batches)


def test_order_depends_on_the_seed_and_not_on_the_batch_size() -> None:
    order = QueryStream(100, StreamSpec(batch_size=64), 0).order
    assert np.array_equal(order, QueryStream(100, StreamSpec(batch_size=7), 0).order)
    assert not np.array_equal(order, QueryStream(100, StreamSpec(batch_size=64), 1).order)
    assert not np.array_equal(order, np.arange(100))


def test_order_is_frozen() -> None:
    """Stored results rely on it: a change here must raise the schema version."""
    assert QueryStream(8, StreamSpec(), 0).order.tolist() == [5, 3, 7, 0, 2, 1, 4, 6]
    assert derive_seed("order", 0) == 6470516168107445113


def test_no_queries_no_batches() -> None:
    assert list(QueryStream(0, StreamSpec(), 0)) == []


def test_streams_do_not_touch_the_global_generator() -> None:
    state = np.random.get_state()[1].copy()  # noqa: NPY002
    list(QueryStream(50, StreamSpec(), 0))
    chosen_queries(50, 10)
    assert np.array_equal(state, np.random.get_state()[1])  # noqa: NPY002


def test_limited_queries_are_fixed_nested_and_spread() -> None:
    ten, twenty = chosen_queries(1000, 10), chosen_queries(1000, 20)
    assert np.array_equal(ten, chosen_queries(1000, 10))
    assert set(ten) < set(twenty)
    assert (np.diff(twenty) > 0).all()
    assert twenty.max() > 500
    assert np.array_equal(chosen_queries(5, None), np.arange(5))
    assert np.array_equal(chosen_queries(5, 50), np.arange(5))


def test_bad_settings_are_refused() -> None:
    with pytest.raises(ConfigError, match="'mixt' does not exist; did you mean 'mixed'"):
        QueryStream(5, StreamSpec(kind="mixt"), 0)
    with pytest.raises(ConfigError, match="batch_size is 0"):
        QueryStream(5, StreamSpec(batch_size=0), 0)
    with pytest.raises(ConfigError, match="limit is 0"):
        chosen_queries(5, 0)
