"""Streams over the data's own domains."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest

from benchmark.cell import DOMAIN, StreamSpec
from benchmark.errors import ConfigError
from benchmark.evaluation.stream import QueryStream

DOMAINS = np.array([0, 1, 2, 3] * 10)


def stream(kind: str, groups: np.ndarray = DOMAINS, **facts) -> QueryStream:
    spec = StreamSpec(kind, facts.pop("batch_size", 4), group_key=DOMAIN, **facts)
    return QueryStream(len(groups), spec, 0, groups)


@pytest.mark.parametrize("kind", ["continual", "mixed", "diverse"])
def test_every_query_comes_once(kind):
    found = stream(kind)
    assert sorted(found.order.tolist()) == list(range(40))
    assert sum(map(len, found)) == 40
    assert not found.shifts.any()


def test_continual_is_one_domain_after_the_other():
    batches = [set(DOMAINS[b.queries].tolist()) for b in stream("continual")]
    assert batches == [{d} for d in range(4) for _ in range(3)]  # 4, 4 and 2 queries


def test_diverse_batches_hold_a_few_domains_and_other_ones_each_time():
    batches = [DOMAINS[b.queries].tolist() for b in stream("diverse", domains_per_batch=2)]
    for left, right in pairwise(batches[:7]):
        assert len(set(left)) == 2
        assert sorted(left.count(d) for d in set(left)) == [2, 2]
        assert not set(left) & set(right)


def test_too_few_domains():
    two = np.array([0, 1] * 5)
    assert len(stream("continual", two)) == 4
    with pytest.raises(ConfigError, match="diverse stream over the data's own domains needs at"):
        stream("diverse", two)
    with pytest.raises(ConfigError, match="group_key is 'image'"):
        QueryStream(10, StreamSpec("mixed", group_key="image"), 0, two)


def test_a_stream_without_real_domains_keeps_its_identity():
    spec = StreamSpec("continual")
    assert "group_key" not in spec.to_dict()
    assert StreamSpec.from_dict(StreamSpec("mixed", group_key=DOMAIN).to_dict()).group_key == DOMAIN
