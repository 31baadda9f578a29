"""What a reader must know before trusting the numbers of a run."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Sequence

import numpy as np

from benchmark.cell import CLEAN, SOURCE, Status
from benchmark.evaluation.plugins import CODE, MEMORY
from benchmark.report.pools import fits, has_collapsed, prepare
from benchmark.report.results import (
    LITTLE,
    NOTHING,
    PARTS,
    SECTIONS,
    CellResult,
    Setting,
    canonical,
    told_apart,
)


def problems(results: Iterable[CellResult]) -> list[str]:
    """What a reader must know before trusting the numbers, one line each, in a fixed order.

    Of shifts, options, missing sources, and of what did not finish, adapt or give finite numbers.
    """
    ordered = prepare(results)
    sources = {(r.setting, r.seed): r for r in ordered if r.method == SOURCE and r.done}
    lines = [*_unshifted(ordered), *_doubled(ordered), *_plugins(ordered)]
    lines += dict.fromkeys(
        f"{own} / {result.method}: its options were chosen on the same data, so a gain may be "
        "fitted to these queries; tune on a split of its own"
        for result in ordered
        if (own := result.benchmark.rpartition("-")[0]) in result.origins.values()
    )
    for result in ordered:
        record = result.record
        name = f"{result.where} / {result.method} / seed {result.seed}"
        if record.status != Status.DONE:
            lines.append(f"{name}: {record.status.value}: {record.reason or 'no reason stored'}")
            continue
        if not result.done:
            lines.append(f"{name}: its numbers per query are missing; the cell is left out")
            continue
        for section in SECTIONS:
            numbers = sorted(getattr(record, section).items())
            lines += [f"{name}: {key} is {v}" for key, v in numbers if not math.isfinite(v)]
        if result.method == SOURCE:
            continue
        skipped = record.probes.get("skipped_updates", 0.0) > 0
        blind = skipped and record.cost.get("backward_per_query") == 0
        if blind:
            lines.append(f"{name}: its loss had no gradient in any batch: nothing was adapted")
        partner = sources.get((result.setting, result.seed))
        if partner is None:
            lines.append(f"{name}: no source cell to compare with; its difference is left blank")
        elif not fits(result, partner):
            lines.append(f"{name}: its queries are not those of the source cell; not compared")
        elif has_collapsed(result, partner):
            kept, before = (found.record.metrics["R@1"] for found in (result, partner))
            lines.append(f"{name}: the method collapsed: R@1 {kept:.1f} %, source {before:.1f} %")
        elif skipped and not blind and np.array_equal(result.ranks, partner.ranks):
            lines.append(f"{name}: it skipped updates and ranks every query as source does")
    return lines


def _doubled(results: Sequence[CellResult]) -> list[str]:
    """A line for each data set, model, and shift of a benchmark, that there is several times."""
    found = defaultdict[tuple[Setting, str, str], set[str]](set)
    for one in (r for r in results if r.done):
        spec = canonical({**one.record.cell["backbone"], "device": ""})
        found[(one.suite,), one.benchmark, "data sets"].add(f"data {one.place[3][:8]}")
        found[(spec,), one.backbone, "models"].add(f"weights {one.weights[:8]}")
    single = (r for r in results if not r.record.cell.get("stream", {}).get("domains"))
    cells = [*{r.setting: r for r in single if r.shift != CLEAN}.values()]
    for one, facts in zip(cells, told_apart(cells, shifts=True), strict=True):
        found[one.place, one.where, "shifts"].add(facts)
    return [
        f"{name}: {len(facts)} {what} of this name ({'; '.join(sorted(facts))}), and means count "
        f"each{' (average ranks: as one)' * (what == 'data sets')}; for one alone use another --out"
        for (_, name, what), facts in found.items()
        if len(facts) > 1
    ]


def _plugins(results: Sequence[CellResult]) -> list[str]:
    """A line for each plugin of several states, and each method that remembers other cells."""
    states, kept = defaultdict[tuple[str, int], set[str]](set), dict[str, list[str]]()
    for result in results:
        cell, info = result.record.cell, result.record.info
        specs = (cell["method"], cell["shift"], *cell.get("stream", {}).get("domains", ()))
        for name, code in info.get(CODE, {}).items():
            versions = [0, *(one["version"] for one in specs if name.endswith(f" {one['name']!r}"))]
            states[name, versions[-1]].add(code)
        kept |= {result.method: info[MEMORY]} if MEMORY in info else {}
    changed = [name for (name, _), codes in states.items() if len(codes) > 1]
    return [
        *(f"{n}: its code changed between these cells; run the older ones again" for n in changed),
        *(
            f"{name}: {', '.join(found)} changed during a cell, and the next cell of the process "
            "saw that; keep such things in self"
            for name, found in kept.items()
        ),
    ]


def _unshifted(results: Iterable[CellResult]) -> list[str]:
    """A line for each shift, and each part or domain of one, that changes few queries or none."""
    least: dict[tuple[str, str], float] = {}
    for result in results:
        if result.record.status != Status.DONE or result.shift == CLEAN:
            continue
        shares = {"": result.coverage}
        if not result.coverage < LITTLE:  # that would tell it already
            part = result.record.cell["shift"].get("options", {}).get("part", "both")
            meant = [name for name in PARTS if part in ("both", name)]
            domains = result.record.cell.get("stream", {}).get("domains", ())
            labels = [f"{domain['name']}-{domain['severity']}" for domain in domains]
            probes = result.record.probes
            shares = {of: probes.get(f"coverage_{of}", math.nan) for of in (*meant, *labels)}
        for of, share in shares.items():
            if math.isfinite(share):
                key = result.where, of
                least[key] = min(share, least.get(key, math.inf))
    lines = []
    for (where, of), share in least.items():
        if share < LITTLE:
            did = f"changed only {share:.1f} % of the queries" if share else NOTHING
            start = f"{where}: {of} {did}" if of else f"{where}: {did}"
            lines.append(f"{start}; its numbers are no sign of robustness")
    return lines
