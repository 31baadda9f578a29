"""Pools: one method variant's cells on one benchmark, for one shift or for all, over all seeds.

With each cell goes its partner: the source cell of the same setting and seed.
"""

from __future__ import annotations

import dataclasses
import math
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TypeVar

import numpy as np

from benchmark.cell import CLEAN, SOURCE
from benchmark.errors import amount
from benchmark.metrics.intervals import Comparison, Interval, mean_interval, paired_comparison
from benchmark.report.results import (
    LITTLE,
    NOTHING,
    CellResult,
    Setting,
    Variant,
    canonical,
    method_rank,
    most_shifted,
    variant_labels,
)


@dataclass(frozen=True)
class Pool:
    """Cells of one method variant on one benchmark, all seeds, for one shift or for all.

    Attributes:
        label: the method's name, with what tells it from its other variants where there are any.
        done: finished cells, ordered by setting and seed.
        undone: failed, skipped, timed out and interrupted cells.
        sources: the source cells of all pools, by setting and seed.
        expected: number of (setting, seed) pairs that some method has finished on this benchmark.
        left_out: shifts of the benchmark that changed nothing and therefore do not enter.
    """

    label: str
    done: tuple[CellResult, ...]
    undone: tuple[CellResult, ...]
    sources: Mapping[tuple[Setting, int], CellResult]
    expected: int
    left_out: tuple[str, ...] = ()

    @property
    def first(self) -> CellResult:
        """Any cell of the pool, for what they all share."""
        return self.cells[0]

    @property
    def cells(self) -> tuple[CellResult, ...]:
        """All of them, the finished ones first."""
        return (*self.done, *self.undone)

    @property
    def headline(self) -> tuple[str, ...]:
        """The metrics besides R@1 that the benchmark is known by."""
        named = (c.record.info["headline"] for c in self.cells if "headline" in c.record.info)
        return tuple(str(name) for name in next(named, ()) if name != "R@1")

    def gain(self, name: str) -> float:
        """A metric minus the source's, points, mean over the paired cells; NaN for the source."""
        both = [[c.record.metrics.get(name, math.nan) for c in pair] for pair in self.pairs]
        found = [ours - theirs for ours, theirs in both]
        return float(np.mean(found)) if found and not self.is_source else math.nan

    @property
    def changed_nothing(self) -> bool:
        """Whether its cells are shifted ones, and no query of any came out different."""
        found = self.values("probes", "coverage")
        return bool(found) and len(found) == len(self.done) and not any(found)

    @property
    def is_source(self) -> bool:
        return self.first.method == SOURCE

    @cached_property
    def pairs(self) -> list[tuple[CellResult, CellResult]]:
        """Finished cells with their source cells, where these exist and fit query by query."""
        both = [(cell, self.sources.get((cell.setting, cell.seed))) for cell in self.done]
        return [(cell, other) for cell, other in both if other is not None and fits(cell, other)]

    @cached_property
    def singles(self) -> tuple[Pool, ...]:
        """Each cell as a pool of its own, in the order of ``cells``."""
        parts = [((cell,), ()) if cell.done else ((), (cell,)) for cell in self.cells]
        return tuple(dataclasses.replace(self, done=one, undone=other) for one, other in parts)

    @property
    def missing(self) -> int:
        """How many (setting, seed) pairs that another method has are not finished here."""
        return self.expected - len({(cell.setting, cell.seed) for cell in self.done})

    @property
    def whole(self) -> bool:
        """Whether it is finished wherever another method is: only then numbers compare."""
        return bool(self.done) and not self.missing

    def values(self, section: str, name: str) -> list[float]:
        """One stored number of every finished cell that has it (NaN included)."""
        found = (getattr(cell.record, section).get(name) for cell in self.done)
        return [float(value) for value in found if value is not None]

    def mean(self, section: str, name: str) -> float:
        """Mean over the cells that have the number; NaN if one of them is NaN or none has it."""
        values = self.values(section, name)
        return float(np.mean(values)) if values else math.nan

    @cached_property
    def comparison(self) -> Comparison | None:
        """R@1 against the source over all paired cells; None for the source itself.

        A query's cells under several shifts and seeds are of one cluster, like the queries of one
        image: they are not independent. Several seeds are a level of their own
        (``intervals.paired_comparison``), of the shifts that all of them have.
        """
        if self.is_source or not self.pairs:
            return None
        if len(self.pairs) == 1:
            return self.by_cell[0]
        return compared(self.pairs)[0]

    @cached_property
    def by_cell(self) -> tuple[Comparison, ...]:
        """Each paired cell against its source cell; none for the source itself."""
        return () if self.is_source else tuple(cell.against(other) for cell, other in self.pairs)

    @cached_property
    def recall(self) -> Interval | None:
        """R@1 (percent) over all finished cells with its own interval."""
        return recall_of(self.done) if self.done else None

    @property
    def sd_over_seeds(self) -> float:
        """Standard deviation (n - 1) over seeds of the mean R@1 over shifts, in points.

        Only shifts that every seed has take part, so that a missing cell does not pass for spread.
        NaN with fewer than two seeds or without a common shift.
        """
        recall: dict[Setting, dict[int, float]] = defaultdict(dict)
        for cell in self.done:
            recall[cell.setting][cell.seed] = float(cell.record.metrics.get("R@1", math.nan))
        seeds = sorted({cell.seed for cell in self.done})
        common = [by_seed for by_seed in recall.values() if len(by_seed) == len(seeds)]
        if len(seeds) < 2 or not common:
            return math.nan
        means = [sum(by_seed[seed] for by_seed in common) / len(common) for seed in seeds]
        return float(np.std(means, ddof=1))

    def ratio(self, section: str, name: str) -> float:
        """A number's sum over the paired cells relative to that of their source cells."""
        found = [[getattr(c.record, section).get(name) for c in pair] for pair in self.pairs]
        both = [(a, b) for a, b in found if a is not None and b]
        return sum(a for a, _ in both) / sum(b for _, b in both) if both else math.nan


def stacked(cells: Sequence[CellResult]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Hits, groups and seeds of finished cells, one after the other, each (all queries,).

    The seed, as a number from 0, is -1 for cells of a setting that not all of the seeds have: a
    shift that one seed lacks must not pass for a difference between seeds.
    """
    seeds = {seed: place for place, seed in enumerate(sorted({cell.seed for cell in cells}))}
    runs = Counter(cell.setting for cell in cells)
    labels = [seeds[c.seed] if runs[c.setting] == len(seeds) else -1 for c in cells]
    return (
        np.concatenate([cell.hits for cell in cells]),
        np.concatenate([cell.group for cell in cells]),
        np.repeat(np.array(labels, dtype=np.int32), [len(cell.group) for cell in cells]),
    )


def recall_of(cells: Sequence[CellResult]) -> Interval:
    """R@1 (percent) over finished cells with its own interval."""
    hits, groups, seeds = stacked(cells)
    return mean_interval(hits, groups, seeds=seeds)


def compared(pairs: Sequence[tuple[CellResult, CellResult]]) -> tuple[Comparison, int]:
    """R@1 of the first cells against the second ones, and in how many clusters.

    Args:
        pairs: at least one, each of the same queries. They may be of several benchmarks: a cluster
            lies within one, whatever the stream, backbone or limit; a seed is the same in all.
    """
    ours, groups, seeds = stacked([cell for cell, _ in pairs])
    theirs = np.concatenate([other.hits for _, other in pairs])
    own = [(cell.benchmark, cell.place[3]) for cell, _ in pairs]  # with the data's fingerprint
    places = {name: number for number, name in enumerate(dict.fromkeys(own))}
    # In few bytes: a report of many cells has a hundred million queries here.
    span = 1 + int(groups.max())
    groups = groups.astype(np.min_scalar_type(span * len(places)))
    first = np.array([span * places[name] for name in own], dtype=groups.dtype)
    groups += np.repeat(first, [len(cell.group) for cell, _ in pairs])
    return paired_comparison(ours, theirs, groups, seeds=seeds), len(np.unique(groups))


def finite_mean(values: Iterable[float]) -> float:
    """The mean over the finite ones; NaN without any."""
    known = [value for value in values if math.isfinite(value)]
    return float(np.mean(known)) if known else math.nan


def has_collapsed(cell: CellResult, partner: CellResult) -> bool:
    """Whether a cell, finite as its numbers are, surely kept under a tenth of its source's R@1.

    Adaptation that diverges need not produce NaN: normalised embeddings stay finite whatever
    happens to the weights. Such a cell is measured and counts, and reports say so beside it.
    """
    kept, before = (found.record.metrics.get("R@1", math.nan) for found in (cell, partner))
    return kept < before / 10 and cell.against(partner).significant


def fits(cell: CellResult, partner: CellResult) -> bool:
    """Whether two cells have numbers of the same queries."""
    return cell.done and partner.done and np.array_equal(cell.group, partner.group)


def prepare(results: Iterable[CellResult]) -> list[CellResult]:
    """Puts results into a fixed order; cells that failed early borrow their neighbours' facts.

    A cell that failed before weights and data were read has no fingerprints. It takes those of a
    finished cell with the same benchmark, backbone and limit, so that it appears beside them.
    """
    ordered = sorted(results, key=lambda r: (r.setting, r.variant, r.seed, r.record.key))
    facts = {_family(r): r.record.info for r in ordered if r.record.info.get("data_fingerprint")}

    def complete(result: CellResult) -> CellResult:
        if result.record.info.get("data_fingerprint") or _family(result) not in facts:
            return result
        info = {**facts[_family(result)], **result.record.info}
        return dataclasses.replace(result, record=dataclasses.replace(result.record, info=info))

    completed = [complete(r) for r in ordered]
    return sorted(completed, key=lambda r: (r.setting, r.variant, r.seed, r.record.key))


def _family(result: CellResult) -> str:
    cell = result.record.cell
    return canonical([cell["suite"], cell["benchmark"], cell["backbone"], cell.get("limit")])


def shift_pools(results: Iterable[CellResult]) -> list[Pool]:
    """One pool per setting and method variant, seeds pooled: the rows of the tables."""
    return _pools(prepare(results), lambda r: r.setting, {})


def benchmark_pools(results: Iterable[CellResult]) -> list[Pool]:
    """One pool per benchmark and method variant over all shifts and seeds.

    Uncorrupted cells are left out, except on benchmarks that have no others (those whose shift is
    that the model was tuned on other data), and so are those whose shift changed nothing.
    """
    counted, left_out = most_shifted(prepare(results))
    return _pools(counted, lambda r: r.place, left_out)


def _pools(
    ordered: Sequence[CellResult],
    scope: Callable[[CellResult], Setting],
    left_out: Mapping[Setting, Sequence[str]],
) -> list[Pool]:
    labels = variant_labels(ordered)
    sources = {(r.setting, r.seed): r for r in ordered if r.method == SOURCE and r.done}
    expected: dict[Setting, set[tuple[Setting, int]]] = defaultdict(set)
    members: dict[tuple[Setting, Variant], list[CellResult]] = defaultdict(list)
    for result in ordered:
        if result.done:
            expected[scope(result)].add((result.setting, result.seed))
        members[scope(result), result.variant].append(result)
    pools = [
        Pool(
            label=labels[cells[0].place, variant],
            done=tuple(c for c in cells if c.done),
            undone=tuple(c for c in cells if not c.done),
            sources=sources,
            expected=len(expected[where]),
            left_out=tuple(left_out.get(where, ())),
        )
        for (where, variant), cells in members.items()
    ]
    return sorted(pools, key=lambda p: (scope(p.first), method_rank(p.first.method), p.label))


K = TypeVar("K")
T = TypeVar("T")


def grouped(items: Iterable[T], key: Callable[[T], K]) -> dict[K, list[T]]:
    """Items by what a function says of them, in the order in which it is first said."""
    groups: dict[K, list[T]] = {}
    for item in items:
        groups.setdefault(key(item), []).append(item)
    return groups


def metrics_of(pools: Iterable[Pool]) -> tuple[str, ...]:
    """R@1, and the headline metrics of any of the pools."""
    return ("R@1", *dict.fromkeys(name for pool in pools for name in pool.headline))


def labels_of(pools: Iterable[Pool]) -> list[str]:
    """Labels of all pools, source first, then the built-ins, then the others by name."""
    ranks = {pool.label: method_rank(pool.first.method) for pool in pools}
    return sorted(ranks, key=lambda label: (ranks[label], label))


def changed_nothing(pools: Iterable[Pool]) -> bool:
    """Whether there are shifted cells among these, and none of their shifts changed a query."""
    shifted = [pool for pool in pools if pool.done and pool.first.shift != CLEAN]
    return bool(shifted) and all(pool.changed_nothing for pool in shifted)


def note(pool: Pool) -> str:
    """What a pool's shifts failed to do and how often its method collapsed, or nothing."""
    if pool.changed_nothing:
        return NOTHING
    few = sorted({cell.named_shift for cell in pool.done if cell.coverage < LITTLE})
    notes = [f"changed few queries: {', '.join(few)}"] if few else []
    if pool.left_out:
        notes.append(f"left out, as it {NOTHING}: {', '.join(pool.left_out)}")
    if collapsed := sum(has_collapsed(cell, partner) for cell, partner in pool.pairs):
        notes.append(f"the method collapsed in {collapsed} of {amount(len(pool.done), 'cell')}")
    return "; ".join(notes)
