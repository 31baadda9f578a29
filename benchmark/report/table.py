"""The tables that ``make bench`` prints: quality, behaviour and cost; a suite's row per benchmark.

They fit 100 columns; on narrower terminals they are split (``display.FittedTable``). Every name
comes from data, so it is put into ``Text`` objects (after ``plain``), which rich prints as they
are: markup in a name is shown, not obeyed.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
import pandas as pd
from rich.console import Group, RenderableType
from rich.text import Text

from benchmark.cell import CLEAN, StreamSpec, domain_labels
from benchmark.errors import amount
from benchmark.metrics.intervals import RULE, Comparison
from benchmark.report.display import FittedTable, data_table, plain
from benchmark.report.pools import (
    Pool,
    benchmark_pools,
    grouped,
    labels_of,
    metrics_of,
    shift_pools,
)
from benchmark.report.results import (
    LITTLE,
    NOTHING,
    CellResult,
    Setting,
    canonical,
    place_names,
    told_apart,
)
from benchmark.report.style import COLUMNS, Column
from benchmark.report.verdict import NOTES, seed_notes, tuned_by_method, tuned_notes

Numbers = Mapping[str, Callable[[Pool], Text]]
"""Heading of a column of numbers -> what stands in it."""


def results_table(results: Iterable[CellResult]) -> RenderableType:
    """Tables of all results, one quality and one behaviour table per benchmark and backbone.

    For a rich console, readable from 100 columns on.
    """
    pools = shift_pools(results)
    if not pools:
        return Text("no results yet")
    parts: list[RenderableType] = []
    places = grouped(pools, lambda pool: pool.first.place)
    told = told_apart([rows[0].first for rows in places.values()], shifts=False)
    for rows, apart in zip(places.values(), told, strict=True):
        done = [pool for pool in rows if pool.done]
        parts += [_heading(rows, apart), Text()]
        if any(pool.values("probes", "coverage") for pool in rows):
            parts += [_changes(rows), Text()]
        parts += [_table(rows, _QUALITY, ("without a result", _reasons)), Text()]
        if rows[0].headline:
            names = {f"{plain(name)}\n(against source)": name for name in rows[0].headline}
            against = {heading: partial(_against, name=name) for heading, name in names.items()}
            parts += [_table(done, against), Text()]
        if done:
            parts += [_table(done, _BEHAVIOUR), Text()]
        if any(pool.values("metrics", "first_domain_R@1_after") for pool in rows):
            parts += [_table(done, _FIRST_DOMAIN, ("R@1 by domain", _by_domain)), Text()]
    return Group(*parts, *_footnotes(pools))


def _heading(rows: Sequence[Pool], apart: str) -> Text:
    """Suite, benchmark, backbone, preset and number of queries; what tells it from others."""
    cells = [cell for pool in rows for cell in pool.cells]
    first = next((cell for cell in cells if cell.record.info), cells[0])
    info = first.record.info
    taken = f" ({plain(info['weights_taken'])})" if info.get("weights_taken") else ""
    parts = first.record.cell.get("stream", {}).items()
    options = [f"{k} {value}" for k, value in parts if k not in ("kind", "batch_size", "domains")]
    seeds = sorted({cell.seed for cell in cells})
    listed = ", ".join(map(str, seeds))
    facts = [
        f"suite {plain(first.suite)}",
        f"backbone {plain(first.backbone)}",
        f"weights {plain(info.get('backbone_fingerprint', '?'))[:12]}{taken}",
        "preset " + ", ".join(sorted({plain(c.preset) for c in cells})),
        f"seed {listed}" if len(seeds) == 1 else f"seeds {listed} pooled",
    ]
    if first.stream != "single":
        facts.insert(0, " ".join(map(plain, ("stream", first.stream, *options))))
    if first.queries is not None:
        limit = "" if first.record.cell.get("limit") is None else " (a fixed subset)"
        facts.append(f"{amount(first.queries, 'query')}{limit} on a gallery of {first.gallery}")
        for name, count in info.get("data", {}).items():
            if name.startswith(("missing_", "unanswered_")) and count:
                facts.append(f"{name.replace('_', ' ')} left out: {count}")
    if any(c.record.info.get("ready_made") for c in cells):
        facts.append("corrupted queries ready-made")
    name = Text(plain(" · ".join(filter(None, (first.benchmark, apart)))), style="bold")
    return name.append("\n" + ", ".join(facts), style="not bold")


def _table(
    rows: Sequence[Pool],
    numbers: Numbers,
    texts: tuple[str, Callable[[Pool], list[Text]]] | None = None,
) -> FittedTable:
    """Shift and method of each row, its numbers by heading, and a last column of text."""
    table = data_table()
    table.add_column("shift", overflow="fold", max_width=20)
    table.add_column("method", overflow="fold", min_width=8, max_width=24)
    _add_numbers(table, *numbers)
    listed = [texts[1](pool) if texts else [] for pool in rows]
    if texts and any(text.plain for found in listed for text in found):
        table.add_column(texts[0], overflow="fold")
    shifts = _shifts(rows)
    for pool, found in zip(rows, listed, strict=True):
        shift = Text(shifts.pop(pool.first.setting, ""))  # on the first row of its block only
        name = Text(plain(pool.label), style="dim" if pool.is_source else "")
        shown = [number(pool) if pool.done else Text() for number in numbers.values()]
        last = found if len(table.columns) > 2 + len(numbers) else []
        table.add_row(shift, name, *shown, *last[:1])
        for text in last[1:]:
            table.add_row(*[""] * (2 + len(numbers)), text)
    return table


def _against(pool: Pool, name: str) -> Text:
    """A headline metric with its difference to the source."""
    gain = pool.gain(name)
    return _number(pool, name).append(f" ({gain:+.1f})" if math.isfinite(gain) else "")


def _by_domain(pool: Pool) -> list[Text]:
    """Recall on every domain as it passed."""
    record = pool.first.record
    stream = StreamSpec.from_dict(record.cell.get("stream", {}))
    labels = domain_labels(stream, record.info.get("data", {}))
    recalls = [(label, _number(pool, f"R@1_{label}").plain) for label in labels]
    return [Text(", ".join(f"{plain(label)} {recall}" for label, recall in recalls if recall))]


def _numbers(*names: str) -> Numbers:
    return {COLUMNS[name].heading: partial(_number, name=name) for name in names}


def _add_numbers(table: FittedTable, *headings: str) -> None:
    for heading in headings:
        table.add_column(heading, justify="right", no_wrap=True)


def _number(pool: Pool, name: str, digits: int | None = None) -> Text:
    """The mean over seeds; blank where it does not apply, "nan" where a seed's number is NaN."""
    column = COLUMNS.get(name, Column(name, "metrics"))
    section = str(column.source)
    if not pool.values(section, name):
        return Text("")
    value = pool.mean(section, name)
    shown = column.digits if digits is None else digits
    return Text(f"{value:.{shown}f}", style="" if math.isfinite(value) else "bold red")


def _changes(rows: Sequence[Pool]) -> FittedTable:
    """What each shift did to the queries: the same for all methods."""
    table = data_table()
    table.add_column("shift", overflow="fold")
    _add_numbers(table, *(COLUMNS[name].heading for name in ("coverage", "change_size")))
    shifts = _shifts(rows)
    for pool in rows:
        if pool.first.setting not in shifts or not pool.values("probes", "coverage"):
            continue
        style = "red" if pool.mean("probes", "coverage") < LITTLE else ""
        numbers = [_number(pool, name).plain for name in ("coverage", "change_size")]
        name = Text(shifts.pop(pool.first.setting))
        table.add_row(name, *(Text(number, style=style) for number in numbers))
    return table


def _shifts(rows: Sequence[Pool]) -> dict[Setting, str]:
    """Each shift, with what tells it apart; says so where it changed nothing."""
    shifts = grouped(rows, lambda pool: pool.first.setting)
    told = told_apart([pools[0].first for pools in shifts.values()], shifts=True)
    names = {}
    for (setting, pools), apart in zip(shifts.items(), told, strict=True):
        name = plain(" · ".join(filter(None, (pools[0].first.named_shift, apart))))
        nothing = f" ({NOTHING})" if any(pool.changed_nothing for pool in pools) else ""
        names[setting] = name.replace("+", " + ") + nothing
    return names


def _joined(pool: Pool, sign: str, names: Sequence[str]) -> Text:
    numbers = [_number(pool, name).plain for name in names]
    return Text(sign.join(numbers) if all(numbers) else "")


def _difference(found: Comparison | None) -> Text:
    if found is None:
        return Text("")
    text = f"{found.difference:+.1f} [{found.low:+.1f}, {found.high:+.1f}]"
    if not found.significant:
        return Text(text + " ")
    return Text(text + "*", style="green" if found.difference > 0 else "red")


def _reasons(pool: Pool) -> list[Text]:
    """Why cells of this row have no numbers; below its numbers where it has some."""
    reasons = [Text()] if pool.done else []
    for cell in pool.undone:
        reason = cell.record.reason.strip() or "no reason stored"
        if cell.record.status == "done":
            reason = "its numbers per query are missing"
        short = Text(plain(reason.splitlines()[0]))
        short.truncate(60, overflow="ellipsis")
        said = f"seed {cell.seed} {cell.record.status.value}: {short.plain}"
        reasons.append(Text(said, style="red"))
    if pool.done and pool.missing > len(pool.undone):
        said = f"{pool.missing} of {pool.expected} seeds missing"
        reasons.append(Text(said, style="red"))
    return reasons


_QUALITY: Numbers = {
    **_numbers("R@1", "R@5", "R@10", "mean_recall", "mAP"),
    COLUMNS["R@1_difference"].heading: lambda pool: _difference(pool.comparison),
}
_BEHAVIOUR: Numbers = {
    **_numbers("uniformity", "gap", "consistency"),
    COLUMNS["angle"].heading: partial(_number, name="angle", digits=1),
    "clean R@1\nbefore->after": partial(
        _joined, sign="->", names=("clean_R@1_before", "clean_R@1_after")
    ),
    **_numbers("ms_per_query", "peak_mb"),
    "fwd+bwd\nper query": partial(
        _joined, sign="+", names=("forward_per_query", "backward_per_query")
    ),
}
_FIRST_DOMAIN: Numbers = {
    "first domain's R@1\nbefore->during->after": partial(
        _joined,
        sign="->",
        names=[f"first_domain_R@1_{when}" for when in ("before", "during", "after")],
    )
}


def _footnotes(pools: Sequence[Pool]) -> list[Text]:
    methods = {pool.first.method for pool in pools}
    notes = [
        f"R@k, recall and mAP in percent. *: {RULE}, not corrected for several comparisons.",
        *seed_notes(pools),
        *tuned_notes(pools),
    ]
    if any(pool.values("probes", "coverage") for pool in pools):
        notes.append(
            "Queries changed: as the encoder gets them. Size of the change: of full scale, of text"
            " the share of its characters."
        )
    notes += [note for name, note in NOTES.items() if name in methods]
    return [Text(note, style="dim") for note in notes]


FACTS = ("row", "directions", "shifts", "queries", "gallery", "clean", "tuned", "note")
"""Columns of the frame beside the methods' own."""


def suite_frame(results: Iterable[CellResult], rows: Mapping[str, str]) -> pd.DataFrame:
    """One row per benchmark, the mean over its directions and, within each, over its shifts.

    Streams, backbones and limits have rows of their own.

    Args:
        results: cells with their numbers per query, in any order.
        rows: benchmark id -> name of its row; others stand for themselves. Rows come in the order
            of this mapping.

    Returns:
        ``FACTS`` (``queries`` and ``gallery`` as the largest direction's; ``clean``: R@1 of the
        source model on clean queries, percent; ``tuned``: which options of which method were tuned
        and on what; ``note``: why cells have no result) and one column of R@1 (percent) per method,
        NaN where a direction lacks a cell that another method has. Below a benchmark that is known
        by other metrics it has a row for each of them.
    """
    found = benchmark_pools(results)
    names = {pool.first.benchmark: pool.first.benchmark for pool in found} | dict(rows)
    order = list(dict.fromkeys([*rows.values(), *names.values()]))
    pools = grouped(found, lambda pool: (names[pool.first.benchmark], *_apart(pool.first)))
    firsts = {key: own[0].first for key, own in pools.items()}
    titles = place_names(
        {
            key: (key[0] + f" {cell.stream}" * (cell.stream != "single"), cell)
            for key, cell in firsts.items()
        }
    )
    listed = [
        _row(titles[key], pools[key], metric)
        for key in sorted(pools, key=lambda key: order.index(key[0]))
        for metric in metrics_of(pools[key])
    ]
    return pd.DataFrame(listed, columns=[*FACTS[:-1], *labels_of(found), FACTS[-1]])


def _apart(cell: CellResult) -> Setting:
    """What parts cells of one benchmark into rows; known of cells that failed early, too."""
    suite, *_, stream, limit = cell.place
    backbone = {k: v for k, v in cell.record.cell["backbone"].items() if k != "device"}
    return suite, stream, limit, canonical(backbone)


def _row(name: str, pools: Sequence[Pool], metric: str) -> dict[str, Any]:
    cells = [cell for pool in pools for cell in pool.cells]
    directions = sorted({cell.benchmark for cell in cells})
    means = {}
    for label, own in grouped(pools, lambda pool: pool.label).items():
        found = {p.first.benchmark: p.mean("metrics", metric) for p in own if p.whole}
        each = sorted(p.first.benchmark for p in own) == directions == sorted(found)
        means[label] = sum(found.values()) / len(found) if each else math.nan
    clean = [_clean(pool) for pool in pools if pool.is_source and pool.done]
    shifts = [
        f"{c.shift}-{c.severities}" + f" ({NOTHING})" * (c.coverage == 0)
        for c in [cell for cell in cells if cell.done] or cells
        if c.shift != CLEAN
    ]
    shifts += [
        f"{name.replace(' ', '-')} ({NOTHING}, left out)" for p in pools for name in p.left_out
    ]
    reasons = [
        f"{cell.method} {cell.record.status.value}: {cell.record.reason or 'no reason stored'}"
        for pool in pools
        for cell in pool.undone
    ]
    reasons += [
        f"{pool.label}: {pool.missing} of {pool.expected} cells missing"
        for pool in pools
        if pool.done and pool.missing
    ]
    return {
        "row": name if metric == "R@1" else f"{name}, {metric}",
        "directions": len(directions),
        "shifts": ", ".join(dict.fromkeys(shifts)) or "none",
        "queries": max((c.queries for c in cells if c.queries is not None), default=None),
        "gallery": max((c.gallery for c in cells if c.gallery is not None), default=None),
        "clean": np.mean(clean) if len(clean) == len(directions) and metric == "R@1" else math.nan,
        "tuned": "; ".join(map(": ".join, tuned_by_method(pools))),
        "note": "; ".join(dict.fromkeys(reasons)) if metric == "R@1" else "",
        **means,
    }


def _clean(pool: Pool) -> float:
    """R@1 of the source model on the benchmark's own queries uncorrupted; NaN if not measured."""
    if pool.first.shift == CLEAN:
        return pool.mean("metrics", "R@1")
    own = pool.first.record.info.get("home", pool.first.benchmark) == pool.first.benchmark
    return pool.mean("metrics", "clean_R@1_before") if own else math.nan


def suite_table(frame: pd.DataFrame) -> FittedTable:
    """The frame for a terminal: R@1 without marks, since a row's directions have no common test."""
    table = data_table()
    table.add_column("benchmark", no_wrap=True)
    table.add_column("shifts", overflow="fold", max_width=34)
    _add_numbers(table, "queries", "gallery", "clean")
    methods = [name for name in frame.columns if name not in FACTS]
    for method in methods:
        table.add_column(Text(plain(method)), justify="right", overflow="fold")
    if frame["note"].any():
        table.add_column("without a result", overflow="fold")
    for row in frame.to_dict("records"):
        facts = [Text(plain(row["row"])), Text(plain(row["shifts"]))]
        facts += [Text("" if pd.isna(row[key]) else f"{row[key]:.0f}") for key in FACTS[3:5]]
        facts.append(_percent(row["clean"]))
        values = [_percent(row[method]) for method in methods]
        note = [Text(plain(row["note"]), style="red")] if frame["note"].any() else []
        table.add_row(*facts, *values, *note)
    return table


def _percent(value: float) -> Text:
    return Text(f"{value:.1f}") if math.isfinite(value) else Text("-", style="dim")
