"""The online query stream: in which order queries come, in which batches, under which shift.

Every query comes once. Order and domains follow from the run seed (the order of "arrival" from the
data; "diverse" from the batch size too), never from the method. docs/streams.md shows each kind.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from benchmark.cell import DOMAIN, ShiftSpec, StreamSpec
from benchmark.errors import ConfigError, amount, did_you_mean

SLOTS = 100
"""Time slots of a correlated stream at most, over which each group's queries are spread."""

KINDS: dict[str, str] = {
    "single": "one shift, queries shuffled",
    "arrival": "one shift, queries in the order of the data",
    "continual": "one domain after the other, no reset and no sign of the change",
    "gradual": "one shift, its severities up and down again",
    "mixed": "each query draws its domain, all equally likely",
    "diverse": "each batch holds a few of the domains, and other ones at every step",
    "correlated": "one shift, queries of a group close together",
    "interleaved": "several data sets with their own galleries, batch by batch",
}
"""The stream kinds that exist, with a line on each."""

MIXING = ("continual", "mixed", "diverse")
"""Kinds that bring several shifts into one stream (gradual brings one shift's severities)."""

DELTA_RANGE = (1e-4, 1e4)
"""Concentrations that the Dirichlet draw of a correlated stream takes; beyond, nothing changes."""


def derive_seed(*parts: object) -> int:
    """A 63-bit seed from named parts: same parts, same seed, on every machine and version.

    >>> derive_seed("order", 0) == derive_seed("order", 0) != derive_seed("order", 1)
    True
    """
    digest = hashlib.sha256("\x1f".join(map(str, parts)).encode()).digest()
    return int.from_bytes(digest[:8], "little") >> 1


def chosen_queries(count: int, limit: int | None) -> np.ndarray:
    """Which queries a limited run uses: a fixed draw, ascending, the same for every seed.

    A smaller limit chooses a subset of what a larger one chooses.

    Returns:
        (min(count, limit),) int64 query indices.

    Raises:
        ConfigError: a limit below one.
    """
    if limit is None or limit >= count:
        return np.arange(count, dtype=np.int64)
    if limit < 1:
        raise ConfigError(f"limit is {limit}; it must be at least 1 (or left out for all queries)")
    order = np.random.default_rng(derive_seed("limit", count)).permutation(count)
    return np.sort(order[:limit]).astype(np.int64)


def summary(domains: Sequence[ShiftSpec]) -> ShiftSpec:
    """What stands for several domains where a table has one shift: their names, highest severity.

    >>> summary([ShiftSpec("fog", 3), ShiftSpec("snow", 5)]).label
    'fog+snow-5'
    """
    names = list(dict.fromkeys(domain.name for domain in domains))
    name = "+".join(names) if len(names) <= 3 else f"{len(names)}-shifts"
    return ShiftSpec(name, max(domain.severity for domain in domains))


def check_kind(kind: str) -> None:
    """Raises ConfigError, with the nearest names, for a kind that does not exist."""
    if kind not in KINDS:
        raise ConfigError(
            f"stream kind {kind!r} does not exist{did_you_mean(str(kind), KINDS)}; "
            f"known: {', '.join(KINDS)}"
        )


def check_stream(spec: StreamSpec) -> None:
    """Raises ConfigError for a stream that makes no sense; needs no data."""
    check_kind(spec.kind)
    if spec.batch_size < 1:
        raise ConfigError(f"batch_size is {spec.batch_size}; it must be at least 1")
    if spec.kind == "gradual":
        severities = [domain.severity for domain in spec.domains]
        if len({domain.name for domain in spec.domains}) > 1:
            raise ConfigError("a gradual stream has one shift; its domains are severities of it")
        if len(severities) < 2 or severities != sorted(set(severities)):
            raise ConfigError(
                "a gradual stream needs at least 2 severities of one shift, ascending, not "
                f"{', '.join(map(str, severities)) or 'none'}"
            )
    elif spec.kind in MIXING and spec.group_key:
        if spec.group_key != DOMAIN or spec.domains:
            raise ConfigError(
                f"a {spec.kind} stream is over shifts, or with group_key={DOMAIN} over the domains "
                f"of the data; group_key is {spec.group_key!r}"
            )
    elif spec.kind in MIXING:
        _check_mixing(spec)
    elif spec.domains:
        raise ConfigError(f"a stream of kind {spec.kind!r} has one shift, the cell's; no domains")
    elif spec.kind == "correlated":
        low, high = DELTA_RANGE
        if not spec.group_key:
            raise ConfigError(
                "a correlated stream needs the name of what its queries are grouped by: "
                "--stream-option group_key=NAME (retrieval has no class labels)"
            )
        if not (math.isfinite(spec.delta) and low <= spec.delta <= high):
            raise ConfigError(f"delta is {spec.delta}; it must be between {low:g} and {high:g}")


def _check_mixing(spec: StreamSpec) -> None:
    labels = [domain.label for domain in spec.domains]
    twice = {label for label in labels if labels.count(label) > 1}
    if twice:
        raise ConfigError(
            f"domain {min(twice)!r} is named twice; domains must differ in name or severity"
        )
    needed, why = 2, ""
    if spec.kind == "diverse":
        if spec.domains_per_batch < 1:
            raise ConfigError(
                f"domains_per_batch is {spec.domains_per_batch}; it must be at least 1"
            )
        needed = spec.domains_per_batch + 1
        why = f" with {needed - 1} domains per batch (they change at every step)"
    if len(labels) < needed:
        raise ConfigError(
            f"a {spec.kind} stream{why} needs at least {needed} domains, not {len(labels)} "
            f"({', '.join(labels) or 'none'}); name more shifts (--shift a,b,c) or severities"
        )


@dataclass(frozen=True, slots=True)
class Batch:
    """One batch of the stream.

    Attributes:
        queries: (B,) int64 positions in the stream's list of queries.
        shifts: (B,) int64 which of the stream's domains hits each query; all 0 where there is one.
        section: section that all of its queries belong to; 0 where there is one gallery.
    """

    queries: np.ndarray
    shifts: np.ndarray
    section: int = 0

    def __len__(self) -> int:
        return len(self.queries)


@dataclass(frozen=True, slots=True)
class Block:
    """A stretch of the stream under one domain: places ``start`` to ``stop - 1``."""

    start: int
    stop: int
    domain: int


def blocks(spec: StreamSpec, count: int) -> list[Block]:
    """The blocks of a continual or gradual stream, equally long up to one query; else none.

    Raises:
        ConfigError: fewer queries than blocks.
    """
    several = range(len(spec.domains))
    if spec.kind not in ("continual", "gradual"):
        return []
    schedule = [*several, *several[-2::-1]] if spec.kind == "gradual" else [*several]
    total = len(schedule)
    if count < total:
        raise ConfigError(
            f"a {spec.kind} stream of {total} blocks needs as many queries; there are {count}: "
            "raise the limit or name fewer domains"
        )
    return [
        Block(count * place // total, count * (place + 1) // total, domain)
        for place, domain in enumerate(schedule)
    ]


class QueryStream:
    """Every query once; the last batch, and the last of a block or section, may be short.

    Queries of several sections wait in a queue each, as in a system with several indices: a batch
    goes out when its queue is full, so that all of it meets one gallery.

    Args:
        count: number of queries, N.
        spec: what kind of stream.
        groups: (N,) group of each query; for correlated streams and those over real domains.
        sections: (N,) section of each query, where they have galleries of their own.

    Attributes:
        order: (N,) int64 positions in the list of queries, in the order of the stream.
        shifts: (N,) int64 which domain hits the query at each place of the stream.

    Raises:
        ConfigError: a stream that makes no sense, alone or with these queries.
    """

    def __init__(
        self,
        count: int,
        spec: StreamSpec,
        seed: int,
        groups: np.ndarray | None = None,
        sections: np.ndarray | None = None,
    ) -> None:
        check_stream(spec)
        self.spec = spec
        self.order = np.random.default_rng(derive_seed("order", seed)).permutation(count)
        if spec.kind == "correlated":
            self.order = _correlated_order(count, spec, seed, groups)
        elif spec.kind == "arrival":
            self.order = np.arange(count)
        stretches = blocks(spec, count)
        if spec.group_key and spec.kind in MIXING:
            if groups is None or sections is not None:
                raise ConfigError("a stream over real domains needs one gallery, and each's domain")
            drawn = derive_seed("domains", spec.kind, seed)
            self.order, self._ends = by_domain(spec, drawn, self.order, groups)
        elif sections is None:
            self._ends = batch_ends(count, spec.batch_size, stretches)
        else:
            self.order, self._ends = _queued(self.order, sections, spec.batch_size, stretches)
        self._sections = [0] * len(self._ends)
        if sections is not None:
            self._sections = sections[self.order[[0, *self._ends[:-1]]]].tolist()
        self.shifts = _domains(spec, seed, stretches, self._ends)

    def __len__(self) -> int:
        return len(self._ends)

    def __iter__(self) -> Iterator[Batch]:
        start = 0
        for stop, section in zip(self._ends, self._sections, strict=True):
            yield Batch(self.order[start:stop], self.shifts[start:stop], section)
            start = stop


def batch_ends(count: int, size: int, stretches: Sequence[Block] = ()) -> list[int]:
    """Where batches end. None reaches over the end of a block: its domain would be a mixture."""
    places = [(block.start, block.stop) for block in stretches] or [(0, count)]
    return [min(at + size, stop) for start, stop in places for at in range(start, stop, size)]


def _queued(
    order: np.ndarray, sections: np.ndarray, size: int, stretches: Sequence[Block]
) -> tuple[np.ndarray, list[int]]:
    """The order in which full queues go out, the rest of a block by section; where batches end."""
    placed: list[int] = []
    ends: list[int] = []

    def send(queue: list[int]) -> None:
        placed.extend(queue)
        ends.append(len(placed))
        queue.clear()

    for start, stop in [(b.start, b.stop) for b in stretches] or [(0, len(order))]:
        queues: dict[int, list[int]] = {}
        for query in order[start:stop].tolist():
            queue = queues.setdefault(int(sections[query]), [])
            queue.append(query)
            if len(queue) == size:
                send(queue)
        for section in sorted(queues):
            if queues[section]:
                send(queues[section])
    return np.array(placed, dtype=np.int64), ends


def _domains(
    spec: StreamSpec, seed: int, stretches: Sequence[Block], ends: Sequence[int]
) -> np.ndarray:
    count = ends[-1] if ends else 0
    found = np.zeros(count, dtype=np.int64)
    rng = np.random.default_rng(derive_seed("domains", spec.kind, seed))
    for block in stretches:
        found[block.start : block.stop] = block.domain
    if spec.domains and spec.kind == "mixed":
        found = rng.integers(len(spec.domains), size=count)
    if spec.domains and spec.kind == "diverse":
        start, before = 0, frozenset[int]()
        for stop in ends:  # a few each, equally often up to one query, not those of the one before
            wanted = min(spec.domains_per_batch, stop - start)
            while True:
                drawn = rng.choice(len(spec.domains), size=wanted, replace=False)
                if frozenset(drawn.tolist()) != before:
                    break
            found[start:stop] = rng.permutation(np.resize(drawn, stop - start))
            start, before = stop, frozenset(drawn.tolist())
    return found


def _correlated_order(
    count: int, spec: StreamSpec, seed: int, groups: np.ndarray | None
) -> np.ndarray:
    """Spreads each group over time slots by a Dirichlet draw; within a slot groups stay together.

    A group of n queries falls into slots by a multinomial draw of n with shares from a symmetric
    Dirichlet of concentration delta over the slots (one per group, ``SLOTS`` at most). As delta
    falls to 0 each group lies in one slot: the stream is sorted by group. As it grows each slot
    holds the same share of every group. After the non-i.i.d. streams of RoTTA (Yuan et al., CVPR
    2023) and NOTE (Gong et al., NeurIPS 2022), with groups in place of classes.
    """
    if groups is None or len(groups) != count:
        raise ConfigError("a correlated stream needs the group of each query")
    numbers, sizes = np.unique(groups, return_counts=True)
    if not 1 < len(numbers) < count:
        raise ConfigError(
            f"group key {spec.group_key!r} makes {amount(len(numbers), 'group')} of "
            f"{amount(count, 'query')}; "
            "a correlated stream needs at least 2, and some with several queries"
        )
    rng = np.random.default_rng(derive_seed("order", spec.kind, seed))
    slots = min(len(numbers), SLOTS)
    pieces: list[list[np.ndarray]] = [[] for _ in range(slots)]
    members = np.split(np.argsort(groups, kind="stable"), np.cumsum(sizes)[:-1])
    for group in members:
        shares = rng.dirichlet(np.full(slots, spec.delta))
        ends = np.cumsum(rng.multinomial(len(group), shares))
        shuffled = rng.permutation(group)
        for slot in np.flatnonzero(np.diff(ends, prepend=0)):
            start = ends[slot - 1] if slot else 0
            pieces[slot].append(shuffled[start : ends[slot]])
    placed = [parts[i] for parts in pieces for i in rng.permutation(len(parts))]
    return np.concatenate(placed).astype(np.int64)


def by_domain(
    spec: StreamSpec, seed: int, shuffled: np.ndarray, domains: np.ndarray
) -> tuple[np.ndarray, list[int]]:
    """The order of a stream over real domains, and where its batches end.

    "continual" is one domain after the other, in the order of their names, and no batch is of two;
    "mixed" is as shuffled; in "diverse" each batch holds ``domains_per_batch`` domains, equally
    often up to one query, and not those of the batch before as long as there are others left.

    Args:
        spec: kind, batch size and domains per batch.
        seed: for the draws of "diverse".
        shuffled: (N,) a permutation of the queries.
        domains: (N,) int64 domain of each query.

    Raises:
        ConfigError: fewer domains than the kind needs.
    """
    names = np.unique(domains)
    needed = spec.domains_per_batch + 1 if spec.kind == "diverse" else 2
    if len(names) < needed:
        raise ConfigError(
            f"a {spec.kind} stream over the data's own domains needs at least {needed}; they have "
            f"{len(names)}: take another kind (--stream), or data with more domains"
        )
    if spec.kind == "mixed":
        return shuffled, batch_ends(len(shuffled), spec.batch_size)
    queues = {name: shuffled[domains[shuffled] == name] for name in names.tolist()}
    if spec.kind == "continual":
        stops = np.cumsum([len(queue) for queue in queues.values()]).tolist()
        stretches = [Block(*place, 0) for place in pairwise([0, *stops])]
        order = np.concatenate(list(queues.values()))
        return order, batch_ends(len(order), spec.batch_size, stretches)
    rng = np.random.default_rng(seed)
    placed: list[np.ndarray] = []
    ends: list[int] = []
    before: set[int] = set()
    while queues:
        fresh = [name for name in queues if name not in before] or list(queues)
        others = [name for name in queues if name not in fresh]
        wanted = min(spec.domains_per_batch, len(queues), spec.batch_size)
        drawn = rng.permutation(fresh)[:wanted].tolist()
        drawn += rng.permutation(others)[: wanted - len(drawn)].tolist() if others else []
        shares = [len(part) for part in np.array_split(np.arange(spec.batch_size), len(drawn))]
        batch = [queues[name][:share] for name, share in zip(drawn, shares, strict=True)]
        for name, share in zip(drawn, shares, strict=True):
            queues[name] = queues[name][share:]
            if not len(queues[name]):
                del queues[name]
        placed.append(rng.permutation(np.concatenate(batch)))
        ends.append((ends[-1] if ends else 0) + len(placed[-1]))
        before = set(drawn)
    return np.concatenate(placed), ends
