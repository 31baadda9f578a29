"""Streams of several domains and in correlated order: what holds for all, and each kind's own."""

from __future__ import annotations

import itertools
from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmark.cell import DOMAIN, BackboneSpec, Cell, MethodSpec, ShiftSpec, StreamSpec
from benchmark.errors import ConfigError
from benchmark.evaluation.stream import (
    KINDS,
    MIXING,
    QueryStream,
    blocks,
    check_stream,
    chosen_queries,
    derive_seed,
    summary,
)
from tests.benchmark import fakes


def domains(count: int) -> tuple[ShiftSpec, ...]:
    return tuple(ShiftSpec(f"shift_{number}", 5) for number in range(count))


def ramp(count: int) -> tuple[ShiftSpec, ...]:
    return tuple(ShiftSpec("noise", severity) for severity in range(1, count + 1))


def spec(kind: str, batch_size: int = 8, count: int = 4, **more: object) -> StreamSpec:
    several = {"gradual": ramp(count)} | {kind: domains(count) for kind in MIXING}
    values: dict = {"domains": several.get(kind, ()), **more}
    if kind == "correlated":
        values.setdefault("group_key", "image")
    return StreamSpec(kind, batch_size, **values)


def stream(kind: str, queries: int = 100, seed: int = 0, **more: object) -> QueryStream:
    groups = np.arange(queries) % 7 if kind == "correlated" else None
    return QueryStream(queries, spec(kind, **more), seed, groups)


@pytest.mark.parametrize("kind", KINDS)
@given(st.integers(12, 150), st.integers(1, 40), st.integers(0, 10**9))
def test_every_query_comes_once_under_a_domain_that_exists(
    kind: str, queries: int, size: int, seed: int
) -> None:
    batches = list(made := stream(kind, queries, seed, batch_size=size))
    assert len(batches) == len(made)
    assert all(1 <= len(batch) <= size for batch in batches)
    if kind not in ("continual", "gradual"):  # whose blocks end in short ones
        assert all(len(batch) == size for batch in batches[:-1])
    assert sorted(np.concatenate([batch.queries for batch in batches])) == list(range(queries))
    assert all(batch.shifts.shape == batch.queries.shape for batch in batches)
    used = np.concatenate([batch.shifts for batch in batches])
    assert used.dtype == np.int64
    assert used.min() >= 0
    assert used.max() < max(1, len(made.spec.domains))


def test_arrival_keeps_the_order_of_the_data() -> None:
    made = stream("arrival", 10, seed=3, batch_size=4)
    assert [batch.queries.tolist() for batch in made] == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9]]


@pytest.mark.parametrize("kind", sorted(set(KINDS) - {"arrival"}))
def test_order_and_domains_follow_from_the_seed(kind: str) -> None:
    one, two, other = (stream(kind, seed=seed) for seed in (3, 3, 4))
    assert np.array_equal(one.order, two.order)
    assert np.array_equal(one.shifts, two.shifts)
    assert not np.array_equal(one.order, other.order)
    if kind in ("mixed", "diverse"):
        assert not np.array_equal(one.shifts, other.shifts)


@pytest.mark.parametrize("kind", sorted(set(KINDS) - {"diverse"}))
def test_neither_order_nor_domains_depend_on_the_batch_size(kind: str) -> None:
    one, two = (stream(kind, batch_size=size) for size in (7, 64))
    assert np.array_equal(one.order, two.order)
    assert np.array_equal(one.shifts, two.shifts)


@pytest.mark.parametrize("kind", sorted(set(KINDS) - {"correlated", "arrival"}))
def test_all_kinds_share_the_order_of_the_single_stream(kind: str) -> None:
    assert np.array_equal(stream(kind).order, stream("single").order)


def test_streams_are_frozen() -> None:
    """Stored results rely on them: a change here must raise the schema version."""
    shown = {kind: stream(kind, 12, batch_size=4) for kind in ("mixed", "diverse", "correlated")}
    assert {kind: made.shifts.tolist() for kind, made in shown.items()} == FROZEN_SHIFTS
    assert shown["correlated"].order.tolist() == FROZEN_ORDER
    assert stream("single", 8).order.tolist() == [5, 3, 7, 0, 2, 1, 4, 6]
    assert derive_seed("order", 0) == 6470516168107445113


FROZEN_SHIFTS = {
    "mixed": [2, 3, 3, 1, 3, 3, 3, 2, 3, 2, 2, 0],
    "diverse": [1, 3, 3, 1, 3, 3, 0, 0, 1, 0, 1, 0],
    "correlated": [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0],
}
FROZEN_ORDER = [11, 5, 4, 0, 7, 6, 9, 2, 1, 10, 3, 8]


def test_the_global_generator_is_left_alone() -> None:
    state = np.random.get_state()[1].copy()  # noqa: NPY002
    for kind in KINDS:
        list(stream(kind))
    chosen_queries(50, 10)
    assert np.array_equal(state, np.random.get_state()[1])  # noqa: NPY002


# Blocks


def test_a_continual_stream_is_blocks_in_the_stated_order() -> None:
    made = stream("continual", queries=10, batch_size=3, count=3)
    assert made.shifts.tolist() == [0, 0, 0, 1, 1, 1, 2, 2, 2, 2]
    assert [len(batch) for batch in made] == [3, 3, 3, 1]
    assert [set(batch.shifts.tolist()) for batch in made] == [{0}, {1}, {2}, {2}]


def test_a_gradual_stream_goes_up_and_down() -> None:
    made = stream("gradual", queries=90, batch_size=64, count=5)
    assert [len(batch) for batch in made] == [10] * 9
    steps = [made.spec.domains[batch.shifts[0]].severity for batch in made]
    assert steps == [1, 2, 3, 4, 5, 4, 3, 2, 1]


@pytest.mark.parametrize("kind", ["continual", "gradual"])
@given(st.integers(9, 300), st.integers(2, 5), st.integers(1, 70))
def test_blocks_are_equally_long_and_no_batch_reaches_over_an_end(
    kind: str, queries: int, count: int, size: int
) -> None:
    made = stream(kind, queries, batch_size=size, count=count)
    found = blocks(made.spec, queries)
    lengths = [block.stop - block.start for block in found]
    assert sum(lengths) == queries
    assert max(lengths) - min(lengths) <= 1
    assert all(len(set(batch.shifts.tolist())) == 1 for batch in made)


def test_other_kinds_have_no_blocks() -> None:
    assert all(blocks(spec(kind), 50) == [] for kind in ("single", "mixed", "diverse"))


# Mixtures


def test_a_mixed_stream_draws_domains_uniformly_and_independently() -> None:
    used = stream("mixed", queries=40_000).shifts
    shares = np.bincount(used, minlength=4) / len(used)
    assert shares == pytest.approx(np.full(4, 0.25), abs=0.01)
    # The next query's domain is as likely to be the same as any other.
    assert np.mean(used[1:] == used[:-1]) == pytest.approx(0.25, abs=0.01)


@given(st.integers(1, 200), st.integers(1, 20), st.integers(1, 4), st.integers(0, 10**6))
def test_diverse_batches_hold_few_domains_evenly_and_change_at_every_step(
    queries: int, size: int, wanted: int, seed: int
) -> None:
    made = stream("diverse", queries, seed, batch_size=size, count=5, domains_per_batch=wanted)
    sets = []
    for batch in made:
        counts = Counter(batch.shifts.tolist())
        assert len(counts) == min(wanted, len(batch))
        assert max(counts.values()) - min(counts.values()) <= 1
        sets.append(frozenset(counts))
    assert all(one != two for one, two in itertools.pairwise(sets))


def test_diverse_sets_are_all_equally_likely() -> None:
    made = stream("diverse", 40_000, batch_size=4)
    seen = Counter(frozenset(batch.shifts.tolist()) for batch in made)
    assert len(seen) == 6  # pairs of 4 domains
    assert max(seen.values()) / min(seen.values()) < 1.15


def test_the_place_in_a_batch_does_not_tell_the_domain() -> None:
    firsts = [int(batch.shifts[0] < batch.shifts[-1]) for batch in stream("diverse", 8000)]
    differing = [b for b in stream("diverse", 8000) if b.shifts[0] != b.shifts[-1]]
    assert sum(firsts) / len(differing) == pytest.approx(0.5, abs=0.1)


# Correlated order


def neighbours(delta: float, queries: int = 1000, groups: int = 10) -> float:
    """Share of queries whose successor is of the same group."""
    of_query = np.random.default_rng(1).permutation(np.arange(queries) % groups)
    made = QueryStream(queries, spec("correlated", delta=delta), 0, of_query)
    along = of_query[made.order]
    return float(np.mean(along[1:] == along[:-1]))


def test_groups_spread_as_delta_grows() -> None:
    shares = [neighbours(delta) for delta in (1e-4, 0.1, 1.0, 100.0)]
    assert shares == sorted(shares, reverse=True)
    # 1000 queries in 10 groups have 990 neighbours of the same group when sorted.
    assert shares[0] == pytest.approx(990 / 999, abs=0.003)
    assert shares[0] - shares[-1] > 0.05


def test_for_a_large_delta_every_fifth_of_the_stream_holds_all_groups() -> None:
    of_query = np.arange(1000) % 10
    made = QueryStream(1000, spec("correlated", delta=1e4), 0, of_query)
    parts = of_query[made.order].reshape(5, 200)
    counts = np.stack([np.bincount(part, minlength=10) for part in parts])
    assert counts.mean() == 20
    assert counts.min() >= 5


@pytest.mark.parametrize(
    ("groups", "said"),
    [
        (np.arange(20), "makes 20 group"),
        (np.zeros(20, int), "makes 1 group"),
        (None, "needs the group of each query"),
        (np.zeros(3, int), "needs the group of each query"),
    ],
)
def test_groups_that_order_nothing_are_refused(groups: np.ndarray | None, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        QueryStream(20, spec("correlated"), 0, groups)


# What makes no sense


@pytest.mark.parametrize(
    ("bad", "said"),
    [
        (StreamSpec("divrese"), "'divrese' does not exist; did you mean 'diverse'"),
        (spec("diverse", count=2), "needs at least 3 domains, not 2"),
        (spec("diverse", count=3, domains_per_batch=3), "needs at least 4 domains, not 3"),
        (spec("diverse", domains_per_batch=0), "domains_per_batch is 0"),
        (spec("mixed", count=1), "a mixed stream needs at least 2 domains, not 1"),
        (StreamSpec("continual"), "needs at least 2 domains, not 0 .none."),
        (StreamSpec("mixed", domains=domains(2) + domains(1)), "'shift_0-5' is named twice"),
        (StreamSpec("single", domains=domains(1)), "has one shift"),
        (StreamSpec("gradual", domains=domains(3)), "has one shift"),
        (spec("gradual", count=1), "at least 2 severities"),
        (StreamSpec("gradual", domains=ramp(3)[::-1]), "ascending, not 3, 2, 1"),
        (spec("correlated", group_key=""), "group_key=NAME"),
        (spec("correlated", delta=0.0), "delta is 0.0"),
        (spec("correlated", delta=float("nan")), "delta is nan"),
        (spec("mixed", batch_size=0), "batch_size is 0"),
    ],
)
def test_bad_streams_are_one_clear_error(bad: StreamSpec, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        check_stream(bad)


@pytest.mark.parametrize("kind", ["continual", "gradual"])
def test_fewer_queries_than_blocks_are_refused(kind: str) -> None:
    with pytest.raises(ConfigError, match="blocks needs as many queries; there are 3"):
        stream(kind, queries=3)


# Identity


def test_the_single_stream_keeps_the_identity_of_stored_results() -> None:
    cell = Cell("test", "fake", BackboneSpec("fake"), MethodSpec("source", "published", {}),
                ShiftSpec("noise", 5))  # fmt: skip
    key = cell.key(data_fingerprint="d", backbone_fingerprint="w")
    assert key == "c863fb6b8fa75dd7"
    assert cell.to_dict()["stream"] == {"kind": "single", "batch_size": 64}


def test_what_defines_a_stream_is_in_the_key_and_the_rest_is_not() -> None:
    def key(stream: StreamSpec) -> str:
        return fakes.cell(stream=stream).key(data_fingerprint="d", backbone_fingerprint="w")

    different = [
        *(spec(kind) for kind in KINDS),
        spec("diverse", domains_per_batch=3),
        spec("diverse", count=5),
        spec("mixed", batch_size=9),
        spec("correlated", delta=0.2),
        spec("correlated", group_key="shape"),
        StreamSpec("mixed", 8, domains(4)[::-1]),
    ]
    assert len({key(one) for one in different}) == len(different)
    assert key(spec("mixed", delta=0.7)) == key(spec("mixed"))


@pytest.mark.parametrize("kind", KINDS)
def test_a_spec_survives_its_dictionary(kind: str) -> None:
    assert StreamSpec.from_dict(spec(kind).to_dict()) == spec(kind)


def test_a_summary_names_few_domains_and_counts_many() -> None:
    assert summary(ramp(5)).label == "noise-5"
    assert summary(domains(2)).label == "shift_0+shift_1-5"
    assert summary(domains(16)).label == "16-shifts-5"


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


# Over the data's own domains

DOMAINS = np.array([0, 1, 2, 3] * 10)


def over_domains(kind: str, groups: np.ndarray = DOMAINS, **facts) -> QueryStream:
    spec = StreamSpec(kind, facts.pop("batch_size", 4), group_key=DOMAIN, **facts)
    return QueryStream(len(groups), spec, 0, groups)


@pytest.mark.parametrize("kind", ["continual", "mixed", "diverse"])
def test_over_real_domains_every_query_comes_once(kind):
    found = over_domains(kind)
    assert sorted(found.order.tolist()) == list(range(40))
    assert sum(map(len, found)) == 40
    assert not found.shifts.any()


def test_over_real_domains_continual_is_one_domain_after_the_other():
    batches = [set(DOMAINS[b.queries].tolist()) for b in over_domains("continual")]
    assert batches == [{d} for d in range(4) for _ in range(3)]  # 4, 4 and 2 queries


def test_over_real_domains_diverse_batches_hold_a_few_domains_and_other_ones_each_time():
    batches = [DOMAINS[b.queries].tolist() for b in over_domains("diverse", domains_per_batch=2)]
    for left, right in itertools.pairwise(batches[:7]):
        assert len(set(left)) == 2
        assert sorted(left.count(d) for d in set(left)) == [2, 2]
        assert not set(left) & set(right)


def test_too_few_real_domains():
    two = np.array([0, 1] * 5)
    assert len(over_domains("continual", two)) == 4
    with pytest.raises(ConfigError, match="diverse stream over the data's own domains needs at"):
        over_domains("diverse", two)
    with pytest.raises(ConfigError, match="group_key is 'image'"):
        QueryStream(10, StreamSpec("mixed", group_key="image"), 0, two)


def test_a_stream_without_real_domains_keeps_its_identity():
    assert "group_key" not in StreamSpec("continual").to_dict()
    assert StreamSpec.from_dict(StreamSpec("mixed", group_key=DOMAIN).to_dict()).group_key == DOMAIN
