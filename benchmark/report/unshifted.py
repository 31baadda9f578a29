"""Shifts that change nothing or little: who they are, and how that is said beside their numbers."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence

from benchmark.cell import CLEAN, Status
from benchmark.evaluation.changes import LITTLE, PARTS
from benchmark.report.results import CellResult, Setting

NOTHING = "changed nothing"


def without_effect(results: Iterable[CellResult]) -> set[Setting]:
    """Settings whose shift changed no query of any finished cell."""
    found: dict[Setting, list[float]] = defaultdict(list)
    for result in results:
        if result.record.status == Status.DONE and result.shift != CLEAN:
            found[result.setting].append(result.coverage)
    return {setting for setting, shares in found.items() if not any(shares)}  # NaN counts


def most_shifted(
    results: Sequence[CellResult],
) -> tuple[list[CellResult], dict[Setting, list[str]]]:
    """The cells that stand for their benchmark: the shifted ones, where there are any.

    Of these, the ones whose shift changed nothing are left out, unless no other is finished.

    Returns:
        The cells, and for each place the shifts left out because they changed nothing.
    """
    shifted = [result for result in results if result.shift != CLEAN]
    empty = without_effect(shifted)
    real = {r.place for r in shifted if r.record.status == Status.DONE and r.setting not in empty}
    left_out: dict[Setting, list[str]] = defaultdict(list)
    counted = []
    for result in shifted:
        if result.setting not in empty or result.place not in real:
            counted.append(result)
        elif result.named_shift not in left_out[result.place]:
            left_out[result.place].append(result.named_shift)
    places = {result.place for result in shifted}
    unshifted = [result for result in results if result.place not in places]
    return [*counted, *unshifted], left_out


def warnings(results: Iterable[CellResult]) -> list[str]:
    """A line for each shift, and each part or domain of one, that changes few queries or none."""
    least: dict[tuple[str, str], float] = {}
    for result in results:
        if result.record.status != Status.DONE or result.shift == CLEAN:
            continue
        for of, share in _shares(result).items():
            key = result.where, of
            least[key] = min(share, least.get(key, math.inf))
    lines = []
    for (where, of), share in least.items():
        if share < LITTLE:
            did = f"changed only {share:.1f} % of the queries" if share else NOTHING
            start = f"{where}: {of} {did}" if of else f"{where}: {did}"
            lines.append(f"{start}; its numbers are no sign of robustness")
    return lines


def _shares(result: CellResult) -> Mapping[str, float]:
    """Coverage of a cell; where that does not tell it already, also of its parts and domains."""
    cell, probes = result.record.cell, result.record.probes
    if result.coverage < LITTLE:
        return {"": result.coverage}
    part = cell["shift"].get("options", {}).get("part", "both")
    meant = [name for parts in PARTS.values() for name in parts if part in ("both", name)]
    domains = cell.get("stream", {}).get("domains", ())
    labels = [f"{domain['name']}-{domain['severity']}" for domain in domains]
    known = {name: probes.get(f"coverage_{name}", math.nan) for name in (*meant, *labels)}
    return {name: share for name, share in known.items() if math.isfinite(share)}
