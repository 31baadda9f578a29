"""The finished cells behind claims: found by what they are, compared in pairs."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from benchmark.cell import CLEAN
from benchmark.metrics.intervals import paired_comparison, possible
from benchmark.report.claim_rules import Estimate, over_seeds
from benchmark.report.pools import fits, stacked
from benchmark.report.results import CellResult

PARTS: dict[str, tuple[str, Any]] = {
    "refined predictions": ("refine", False),
    "uniformity": ("uniformity", 0.0),
    "gap": ("gap", 0.0),
    "consistency": ("consistency", 0.0),
    "gradient decoupling": ("decouple", "off"),
}
"""Part of REST -> the option and value that switch it off."""

CENTRE, TWIN = "centre", "[centred]"
"""The option of centred twins, and how their names end (``method_label``)."""

Cells = Sequence[CellResult]


class ClaimCells:
    """The finished cells, found by what they are."""

    def __init__(self, results: Iterable[CellResult]) -> None:
        self._found: dict[tuple[str, str], list[CellResult]] = defaultdict(list)
        for result in sorted(results, key=lambda r: (r.setting, r.seed, r.variant, r.record.key)):
            if result.done:
                self._found[result.method, switched(result)].append(result)

    def methods(self) -> set[str]:
        """Names of the methods, centred twins apart, that run as their preset has them."""
        return {method for method, without in self._found if not without}

    def of(self, method: str, without: str = "") -> list[CellResult]:
        """Cells of a method as its preset has it, or with one part switched off."""
        return self._found.get((method, without), [])

    def pairs(self, a: Cells, b: Cells) -> list[tuple[CellResult, CellResult]]:
        """Cells of both under the same setting and seed, on the same queries."""
        other = {(cell.setting, cell.seed): cell for cell in b}
        both = [(cell, other.get((cell.setting, cell.seed))) for cell in a]
        return [(x, y) for x, y in both if y is not None and fits(x, y)]

    def recall(self, a: Cells, b: Cells) -> Estimate:
        """R@1 of ``a`` minus ``b`` in points, paired by query, with its interval."""
        pairs = self.pairs(a, b)
        if not pairs:
            return Estimate()
        ours, groups, seeds = stacked([x for x, _ in pairs])
        theirs = stacked([y for _, y in pairs])[0]
        # A group is one of a benchmark's; all benchmarks are pooled here.
        places = list(dict.fromkeys(x.place for x, _ in pairs))
        counts = [0 if x.hits is None else len(x.hits) for x, _ in pairs]
        numbers = np.repeat([places.index(x.place) for x, _ in pairs], counts)
        groups = numbers * (1 + int(groups.max())) + groups
        found = paired_comparison(ours, theirs, groups, seeds=seeds)
        clusters = len(np.unique(groups))
        interval = (found.low, found.high) if clusters > 1 else (math.nan, math.nan)
        return Estimate(found.difference, *interval, clusters)

    def clean_recall(self, a: Cells, b: Cells) -> Estimate:
        """Clean R@1 after the stream, ``a`` minus ``b`` in points, with an interval over seeds."""
        values: dict[str, list[float]] = defaultdict(list)
        theirs = []
        for x, y in self.pairs(a, b):
            both = [c.record.metrics.get("clean_R@1_after", math.nan) for c in (x, y)]
            if all(map(math.isfinite, both)):
                values[" ".join(map(str, x.setting))].append(both[0] - both[1])
                theirs.append(both[1])
        found = over_seeds(values)
        if not math.isfinite(found.low):
            return found
        low, high = possible(found.low / 100, found.high / 100, float(np.mean(theirs)) / 100)
        return replace(found, low=100 * float(low), high=100 * float(high))


def switched(result: CellResult) -> str:
    """Which part the cell's method runs without; "" for none, "?" for any other hand-set option."""
    if "+" not in result.preset:
        return ""
    options = result.record.cell["method"].get("options", {})
    by_hand = result.preset.partition("+")[2]
    if by_hand == CENTRE and options.get(CENTRE) is True:
        return ""
    for part, (name, value) in PARTS.items():
        if by_hand == name and options.get(name) == value:
            return part
    return "?"


def single(cells: Iterable[CellResult]) -> list[CellResult]:
    return [cell for cell in cells if cell.stream == "single" and cell.shift != CLEAN]


def diverse(cells: Iterable[CellResult]) -> list[CellResult]:
    return [cell for cell in cells if cell.stream == "diverse"]
