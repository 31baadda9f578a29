"""From numbers to a verdict: intervals over benchmarks or seeds, and the rules of docs/claims.md.

The rules stand here before any number: a measurement *holds* if its 95 % interval excludes zero in
the claimed direction, *does not hold* if it excludes zero in the other one, and is *inconclusive*
otherwise. A claim holds if all of its parts do, and does not hold if one of them does not.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Any

import numpy as np
from scipy.special import stdtrit

from benchmark.cell import CLEAN
from benchmark.metrics.intervals import ALPHA, excludes_zero, possible
from benchmark.report.pools import compared, fits
from benchmark.report.results import CellResult


class Verdict(StrEnum):
    """What the numbers say of a claim."""

    HOLDS = "holds"
    FAILS = "does not hold"
    OPEN = "inconclusive"


@dataclass(frozen=True)
class Estimate:
    """A measurement with its 95 % interval.

    Attributes:
        value: NaN where there is nothing to measure.
        low, high: NaN where there are too few units for an interval.
        units: how many independent units it rests on.
        of: what a unit is: "benchmark", "run" (one seed of one setting) or "query".
        each: a unit's name -> its own value, where units are benchmarks.
    """

    value: float = math.nan
    low: float = math.nan
    high: float = math.nan
    units: int = 0
    of: str = "query"
    each: Mapping[str, float] = field(default_factory=dict)


def judge(estimate: Estimate, sign: int) -> Verdict:
    """The rule for one measurement."""
    if not excludes_zero(estimate.low, estimate.high):
        return Verdict.OPEN
    return Verdict.HOLDS if sign * estimate.low > 0 else Verdict.FAILS


def together(verdicts: Sequence[Verdict]) -> Verdict:
    """The rule for a claim: all parts must hold; one that does not refutes it."""
    if Verdict.FAILS in verdicts:
        return Verdict.FAILS
    return Verdict.HOLDS if verdicts and set(verdicts) == {Verdict.HOLDS} else Verdict.OPEN


@dataclass(frozen=True)
class Part:
    """One measurement that a claim rests on.

    Attributes:
        name: what is compared.
        measured: what the number is, with its unit.
        sign: +1 if the claim says that it is above zero, -1 if below.
        estimate: the number.
        counts: whether the claim's verdict depends on it; others are there to explain.
        reason: why it likely does not come out as claimed; empty where it holds.
    """

    name: str
    measured: str
    sign: int
    estimate: Estimate
    counts: bool = True
    reason: str = ""

    @property
    def verdict(self) -> Verdict:
        return judge(self.estimate, self.sign)


@dataclass(frozen=True)
class Claim:
    """A claim: ``text`` says it, all ``parts`` that count must hold."""

    id: str
    text: str
    parts: tuple[Part, ...]

    @property
    def verdict(self) -> Verdict:
        return together([part.verdict for part in self.parts if part.counts])


def over_benchmarks(values: Mapping[str, Sequence[float]]) -> Estimate:
    """Mean over benchmarks, each the mean of its cells, with Student's interval over benchmarks.

    It says how far a finding would carry over to other benchmarks of the kind. ``values``:
    benchmark -> a number of each of its cells; benchmarks without any are left out.
    """
    each = {name: float(np.mean(found)) for name, found in sorted(values.items()) if len(found)}
    means = np.array(list(each.values()))
    if not len(means):
        return Estimate(of="benchmark")
    error = float(means.std(ddof=1)) / math.sqrt(len(means)) if len(means) > 1 else math.nan
    return _student(float(means.mean()), error, len(means) - 1, len(means), "benchmark", each)


def over_seeds(values: Mapping[str, Sequence[float]]) -> Estimate:
    """Mean over settings, each the mean over its seeds, with Student's interval over seeds.

    The settings are taken as they are (strata): it says how far a finding depends on the order of
    the stream and the draws of the corruption, for these benchmarks and these queries.
    ``values``: setting -> a number for each of its seeds.
    """
    found = {name: np.asarray(one, dtype=np.float64) for name, one in values.items() if len(one)}
    if not found:
        return Estimate(of="run")
    freedom = sum(len(one) - 1 for one in found.values())
    squares = sum(float(((one - one.mean()) ** 2).sum()) for one in found.values())
    each = {name: float(one.mean()) for name, one in sorted(found.items())}
    error = math.nan
    if freedom:
        of_means = sum(squares / freedom / len(one) for one in found.values())
        error = math.sqrt(of_means) / len(found)
    value = float(np.mean(list(each.values())))
    return _student(value, error, freedom, sum(map(len, found.values())), "run", each)


def _student(
    value: float, error: float, freedom: int, units: int, of: str, each: Mapping[str, float]
) -> Estimate:
    half = -float(stdtrit(freedom, ALPHA / 2)) * error if freedom > 0 else math.nan
    return Estimate(value, value - half, value + half, units, of, each)


def with_reason(part: Part, why: Callable[[Part], str] = lambda part: "") -> Part:
    """The part with the likely reason, where it does not hold."""
    found = part.estimate
    if part.verdict is Verdict.HOLDS:
        return part
    if not found.units:
        reason = "no finished cells to measure it on"
    elif not math.isfinite(found.low):
        reason = f"one {'seed' if found.of == 'run' else found.of} gives no interval"
    else:
        within = "within noise" if part.verdict is Verdict.OPEN else ""
        reason = "; ".join(filter(None, (within, why(part))))
    return replace(part, reason=reason)


def against(part: Part) -> str:
    """The benchmarks on which it goes the other way, with their values."""
    other = {n: v for n, v in part.estimate.each.items() if v * part.sign < 0}
    listed = ", ".join(f"{name} {value:+.3g}" for name, value in other.items())
    return f"; the other way on {listed}" if listed else ""


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
        found, clusters = compared(pairs)
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
