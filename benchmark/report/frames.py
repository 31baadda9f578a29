"""The tables of a run as data frames: leaderboard, by shift, ranks and pairs, one row per cell.

``pools`` are ``benchmark_pools(results)``; those of ``by_shift`` are ``shift_pools(results)``.
"""

from __future__ import annotations

import itertools
import json
import math
import os
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd

from benchmark.cell import STREAM_OPTIONS, Record, Status
from benchmark.data.card import SEPARATOR, benchmark_cards, own_card
from benchmark.metrics.average_ranks import RankTest, average_ranks, compare_ranks
from benchmark.metrics.intervals import Comparison, all_comparisons, holm
from benchmark.report.pools import Pool, fits, grouped, metrics_of, stacked
from benchmark.report.results import SECTIONS, CellResult, Setting, place_names, told_apart
from benchmark.report.style import BY_SHIFT, COLUMNS, LEADERBOARD, against_source
from benchmark.store.records import cell_from_dict


def leaderboard(pools: Sequence[Pool]) -> pd.DataFrame:
    """One row per method and benchmark, over all shifts and seeds that were run.

    Uncorrupted cells (shift "none") do not enter the means, except on benchmarks that have no
    others. The difference to the source and its interval use the cells that have a source cell.
    ``cells_missing`` counts the (shift, seed) pairs that another method has on this benchmark and
    this one has not: rows with different numbers of cells are not comparable. ``p_holm`` is
    corrected over all rows of the suite.

    Returns:
        Columns ``columns.LEADERBOARD`` and the headline metrics; percentages in percent,
        differences in points; NaN where a number does not apply.
    """
    frame = _frame(pools, LEADERBOARD)
    ranks = {
        (ranking.suite, ranking.stream, method): (rank, ranking.datasets)
        for ranking in rankings(pools)
        for method, rank in ranking.average.items()
    }
    keys = zip(frame["suite"], frame["stream"], frame["method"], strict=True)
    found = [ranks.get(key, (math.nan, None)) for key in keys]
    frame["average_rank"] = [rank for rank, _ in found]
    frame["rank_datasets"] = pd.array([count for _, count in found], dtype="Int64")
    return frame


def by_shift(pools: Sequence[Pool]) -> pd.DataFrame:
    """One row per benchmark, shift, severity and method; seeds pooled.

    Cells that did not finish have a row too, with blank numbers, ``status`` and ``reason``.

    Returns:
        Columns ``columns.BY_SHIFT``, as for ``leaderboard``.
    """
    return _frame(pools, BY_SHIFT)


def numbers_of(pool: Pool, names: Iterable[str]) -> dict[str, Any]:
    """Column -> value, those of the headline metrics and their differences too."""
    row = {name: COLUMNS[name].of(pool) for name in names}
    for name in pool.headline:
        row |= {name: pool.mean("metrics", name), f"{name}_difference": pool.gain(name)}
    return row


def _frame(pools: Sequence[Pool], names: Sequence[str]) -> pd.DataFrame:
    """A row per pool; the family of ``p_holm`` is every comparison with the source in a suite."""
    _, *headline = metrics_of(pools)
    more = [column for name in headline for column in (name, f"{name}_difference")]
    rows = [numbers_of(pool, names) for pool in pools]
    frame = pd.DataFrame(rows, columns=list(dict.fromkeys([*names, *more])))
    for _, p in frame.groupby("suite")["p"]:
        frame.loc[p.index, "p_holm"] = holm(p.to_numpy())
    if any(told := told_apart([pool.first for pool in pools], shifts="shift" in names)):
        frame["told_apart"] = told
    # Counts that a failed cell may lack stay whole numbers ("Int64" knows missing ones).
    return frame.astype({"queries": "Int64", "gallery": "Int64"})


RANKING_COLUMNS = (
    *("suite", "stream", "method", "average_rank", "datasets", "friedman", "friedman_p"),
    *("critical_difference", "reason"),
)
"""Columns of ``ranking.csv``; ``reason`` says why a number is blank."""

PAIRWISE_COLUMNS = (
    *("suite", "benchmark", "stream", "method", "other", "R@1_difference", "R@1_difference_low"),
    *("R@1_difference_high", "p", "p_holm", "cells", "backbone", "weights", "told_apart"),
)
"""Columns of ``pairwise.csv.gz``: ``method`` minus ``other`` over the ``cells`` that both have.

The last three are left out where they tell no rows apart."""

_FACTS = ("suite", "benchmark", "stream", "backbone", "weights")


@dataclass(frozen=True)
class Ranking:
    """Average ranks of a suite's methods under one kind of stream.

    Attributes:
        suite: name of the suite.
        stream: kind of the stream.
        average: method -> mean rank over the data sets; 1 is the best.
        datasets: number of independent data sets ranked on.
        left_out: method -> why it has no rank.
        tested: Friedman's test and the critical difference; None where refused.
        reason: why they are refused, or an empty string.
        pools: all of the suite and kind of stream.
    """

    suite: str
    stream: str
    average: Mapping[str, float]
    datasets: int
    left_out: Mapping[str, str]
    tested: RankTest | None = None
    reason: str = ""
    pools: Sequence[Pool] = ()


def rankings(pools: Iterable[Pool]) -> list[Ranking]:
    """One ranking for each suite and kind of stream, by R@1 over shifts and seeds.

    Benchmarks that share a data set (its two directions, or base2coco and coco-c) are not
    independent: a method's numbers on them are averaged before it is ranked there. Benchmarks whose
    shifts changed nothing are left out, unless there are no others. A method is
    ranked if it has a number wherever another one has; others are named in ``left_out``.
    """
    groups = grouped(pools, lambda pool: (pool.first.suite, pool.first.stream))
    return [_ranking(*here, group) for here, group in sorted(groups.items())]


def _ranking(suite: str, stream: str, group: Sequence[Pool]) -> Ranking:
    empty = {pool.first.place for pool in group if pool.changed_nothing}
    pools = [pool for pool in group if pool.first.place not in empty] or group
    recall: dict[str, dict[Setting, float]] = defaultdict(dict)
    for pool in pools:
        # A cell that is missing would make the mean one over other shifts than its neighbours'.
        if pool.whole and not math.isnan(number := pool.mean("metrics", "R@1")):
            recall[pool.label][pool.first.place] = number
    cells = {pool.first.place: pool.first for pool in pools if pool.done}
    benchmarks = {place: cell.benchmark for place, cell in cells.items()}
    names = place_names({place: (cell.benchmark, cell) for place, cell in cells.items()})
    left_out = {}
    for label in dict.fromkeys(pool.label for pool in pools):
        if lacking := [name for place, name in names.items() if place not in recall[label]]:
            left_out[label] = f"no complete number on {', '.join(lacking)}"
    methods = [label for label in recall if label not in left_out]
    parts = _independent(sorted(set(benchmarks.values())))
    scores = np.empty((len(parts), len(methods)))
    for row, part in enumerate(parts):
        here = [place for place, name in benchmarks.items() if name in part]
        scores[row] = [np.mean([recall[method][place] for place in here]) for method in methods]
    average = dict(zip(methods, map(float, average_ranks(scores)), strict=True)) if methods else {}
    found = Ranking(suite, stream, average, len(parts), left_out, pools=group)
    try:
        return replace(found, tested=compare_ranks(scores))
    except ValueError as error:
        return replace(found, reason=str(error))


def _independent(benchmarks: Sequence[str]) -> list[set[str]]:
    """Benchmarks in parts that share no data set."""
    parts: list[tuple[set[str], set[str]]] = []
    for name in benchmarks:
        names, data = {name}, set()
        for one in name.split(SEPARATOR):
            card = benchmark_cards().get(one) or own_card(one)
            # A benchmark of no known suite stands for itself.
            data.add(card.dataset if card else f"benchmark {one}")
        for other in [part for part in parts if part[1] & data]:
            parts.remove(other)
            names, data = names | other[0], data | other[1]
        parts.append((names, data))
    return [names for names, _ in parts]


def ranking_frame(found: Sequence[Ranking]) -> pd.DataFrame:
    """Columns ``RANKING_COLUMNS``, a row per method, the best first, then those without a rank."""
    rows: list[dict[str, Any]] = []
    for ranking in found:
        names = ("suite", "stream", "datasets", "reason")
        shared = {name: getattr(ranking, name) for name in names}
        if tested := ranking.tested:
            shared |= {"friedman": tested.friedman, "friedman_p": tested.p}
            shared["critical_difference"] = tested.critical_difference
        for method, rank in sorted(ranking.average.items(), key=lambda item: item[1]):
            rows.append(shared | {"method": method, "average_rank": rank})
        for method, reason in ranking.left_out.items():
            rows.append(shared | {"method": method, "reason": reason})
    frame = pd.DataFrame(rows, columns=list(RANKING_COLUMNS))
    numbers = ("average_rank", "friedman", "friedman_p", "critical_difference")
    return frame.astype(dict.fromkeys(numbers, "float64"))


Pairs = dict[tuple[Setting, str, str], tuple[Comparison, int]]
"""(place, method, other) -> their comparison and the number of cells that it rests on."""


def pairwise(pools: Iterable[Pool]) -> Pairs:
    """Every two methods on each benchmark, over the (shift, seed) pairs that both have."""
    finished = (pool for pool in pools if pool.done)
    found: Pairs = {}
    for place, here in grouped(finished, lambda pool: pool.first.place).items():
        cells = [{(c.setting, c.seed): c for c in pool.done} for pool in here]
        # Pairs that have the same cells with the same queries are compared at once.
        blocks: dict[tuple[tuple[Setting, int], ...], list[tuple[int, int]]] = defaultdict(list)
        for i, j in itertools.combinations(range(len(here)), 2):
            both = sorted(cells[i].keys() & cells[j].keys())
            fitting = tuple(key for key in both if fits(cells[i][key], cells[j][key]))
            if fitting:
                blocks[fitting].append((i, j))
        for common, pairs in blocks.items():
            members = sorted({index for pair in pairs for index in pair})
            columns = [stacked([cells[m][key] for key in common]) for m in members]
            values = np.stack([hits for hits, _, _ in columns], axis=1)
            _, groups, seeds = columns[0]
            compared = all_comparisons(values, groups, seeds=seeds)
            for i, j in pairs:
                one = compared[members.index(i), members.index(j)]
                found[place, here[i].label, here[j].label] = one, len(common)
    return found


def pairwise_frame(pools: Sequence[Pool], found: Pairs | None = None) -> pd.DataFrame:
    """Columns of ``PAIRWISE_COLUMNS``; ``p_holm`` is corrected over the pairs of a benchmark.

    ``found``: ``pairwise(pools)``, where it is there already.
    """
    first = {pool.first.place: pool.first for pool in pools}
    pairs = pairwise(pools) if found is None else found
    told = dict(zip(first, told_apart([*first.values()], shifts=False), strict=True))
    rows: list[dict[str, Any]] = []
    for place, here in grouped(pairs.items(), lambda item: item[0][0]).items():
        adjusted = holm([comparison.p for _, (comparison, _) in here])
        for ((_, method, other), (comparison, cells)), p in zip(here, adjusted, strict=True):
            rows.append(
                {
                    **{name: getattr(first[place], name) for name in _FACTS},
                    **against_source(comparison),
                    "method": method,
                    "other": other,
                    "p_holm": float(p),
                    "cells": cells,
                    "told_apart": told[place],
                }
            )
    # With many methods this is the longest table: what leaderboard.csv says once is not repeated.
    names = [(cell.suite, cell.benchmark, cell.stream) for cell in first.values()]
    repeated = [] if len(set(names)) < len(names) else ["backbone", "weights"]
    repeated += [] if any(told.values()) else ["told_apart"]
    return pd.DataFrame(rows, columns=[c for c in PAIRWISE_COLUMNS if c not in repeated])


TIDY_COLUMNS = (
    *("key", "suite", "benchmark", "task", "query_modality", "backbone", "weights", "pretrained"),
    *("transform", "method", "preset", "tuned", "shift", "severity", "variant", "stream"),
    *("batch_size", "stream_options", "domains", "seed", "queries", "gallery", "status"),
)
"""First columns of the tidy table. ``weights`` is the backbone's fingerprint, ``pretrained`` their
tag or the name of their file, ``tuned`` which options were tuned and on what, ``variant`` the
shift's options as JSON (for a stream of several domains a list, one entry per domain)."""

_PROBES = ("conflict", *(name for name, column in COLUMNS.items() if column.source == "probes"))
_PROBES_OF_PARTS = ("coverage_", "change_size_")


Numbers = Mapping[tuple[str, str], str]
"""Section of a record and name of a number -> its column."""


def tidy(records: Iterable[Record], numbers: Numbers | None = None) -> pd.DataFrame:
    """One row per cell, in the order of the records: ``TIDY_COLUMNS``, then the numbers.

    A cell without a result has no number.

    Args:
        numbers: their ``number_columns``, or those of more records; by default found here.
    """
    given = list(records)
    names = number_columns(given) if numbers is None else numbers
    rows = [
        _identity(record)
        | {
            column: getattr(record, section).get(name, math.nan)
            for (section, name), column in names.items()
            if record.status == Status.DONE
        }
        for record in given
    ]
    return pd.DataFrame(rows, columns=[*TIDY_COLUMNS, *names.values()])


def number_columns(records: Sequence[Record]) -> Numbers:
    """The metrics, probes and costs that any cell has, each with a column of its name.

    A name that is taken has its section in front (``cost_seed``). What a method logs (losses,
    counts) and how the seconds divide stay in the records.
    """
    names: dict[tuple[str, str], str] = {}
    for section in SECTIONS:
        for record in records:
            for name in getattr(record, section) if record.status == Status.DONE else ():
                probe = name in _PROBES or name.startswith(_PROBES_OF_PARTS)
                shown = probe if section == "probes" else not name.startswith("seconds_")
                if shown and (section, name) not in names:
                    free = name not in TIDY_COLUMNS and name not in names.values()
                    names[section, name] = name if free else f"{section}_{name}"
    return names


def _identity(record: Record) -> dict[str, Any]:
    cell, info, found = cell_from_dict(record.cell), record.info, CellResult(record)
    names = ("suite", "benchmark", "task", "weights", "method", "preset", "tuned", "shift")
    options = [dict(domain.options) for domain in cell.domains]
    variant = options if cell.stream.domains else options[0]
    return {
        **{name: getattr(found, name) for name in (*names, "severity", "stream", "batch_size")},
        "key": record.key,
        "query_modality": info.get("query_modality", ""),
        "backbone": info.get("backbone_name", cell.backbone.model or cell.backbone.loader),
        "pretrained": os.path.basename(cell.backbone.pretrained),
        "transform": cell.backbone.transform,
        "variant": json.dumps(variant, sort_keys=True) if any(options) else "",
        "stream_options": ", ".join(
            f"{name}={getattr(cell.stream, name)}"
            for name in STREAM_OPTIONS.get(cell.stream.kind, ())
            if getattr(cell.stream, name) != ""
        ),
        "domains": ", ".join(domain.label for domain in cell.stream.domains),
        "seed": cell.seed,
        "queries": info.get("queries", ""),
        "gallery": info.get("gallery", ""),
        "status": record.status.value,
    }
