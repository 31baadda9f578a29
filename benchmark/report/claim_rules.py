"""From numbers to verdicts and their tables: intervals, and the rules of docs/claims.md.

The rules stand here before any number: a measurement *holds* if its 95 % interval excludes zero in
the claimed direction, *does not hold* if it excludes zero in the other one, and is *inconclusive*
otherwise. A claim holds if all of its parts do, and does not hold if one of them does not.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from rich.console import Group, RenderableType
from rich.text import Text
from scipy.special import stdtrit

from benchmark.cell import CLEAN
from benchmark.errors import amount
from benchmark.metrics.intervals import ALPHA, excludes_zero, possible
from benchmark.report.boards import markdown_escape, markdown_row
from benchmark.report.display import data_table, plain
from benchmark.report.pools import compared, fits
from benchmark.report.results import CellResult
from benchmark.report.writing import write_csv, write_text


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
        missing: number of cells that it should rest on and does not.
    """

    value: float = math.nan
    low: float = math.nan
    high: float = math.nan
    units: int = 0
    of: str = "query"
    each: Mapping[str, float] = field(default_factory=dict)
    missing: int = 0

    def against(self, sign: int) -> str:
        """The benchmarks on which it goes the other way, with their values."""
        other = {name: value for name, value in self.each.items() if value * sign < 0}
        listed = ", ".join(f"{name} {value:+.3g}" for name, value in other.items())
        return f"; the other way on {listed}" if listed else ""


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
        why: why it likely does not come out as claimed where it is measured.
        counts: whether the claim's verdict depends on it; others are there to explain.
    """

    name: str
    measured: str
    sign: int
    estimate: Estimate
    why: str = ""
    counts: bool = True

    @property
    def verdict(self) -> Verdict:
        return judge(self.estimate, self.sign)

    @property
    def reason(self) -> str:
        """Why it likely does not hold, and what its number lacks; empty where neither is so."""
        found = self.estimate
        lacks = f"{amount(found.missing, 'cell')} missing" if found.missing else ""
        if not found.units:
            return "no finished cells to measure it on"
        if not math.isfinite(found.low):
            return f"one {'seed' if found.of == 'run' else found.of} gives no interval"
        within = "within noise" if self.verdict is Verdict.OPEN else ""
        why = "" if self.verdict is Verdict.HOLDS else self.why
        return "; ".join(filter(None, (lacks, within, why)))


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
    return replace(over_seeds({"all": list(each.values())}), of="benchmark", each=each)


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
    value, half = float(np.mean(list(each.values()))), math.nan
    if freedom:
        of_means = sum(squares / freedom / len(one) for one in found.values())
        half = -float(stdtrit(freedom, ALPHA / 2)) * math.sqrt(of_means) / len(found)
    units = sum(map(len, found.values()))
    return Estimate(value, value - half, value + half, units, "run", each)


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

    def recall(self, a: Cells, b: Cells, every: Cells = ()) -> Estimate:
        """R@1 of ``a`` minus ``b`` in points, paired by query, with its interval.

        ``every``: those of ``a`` or ``b`` that should all have a partner.
        """
        pairs = self.pairs(a, b)
        if not pairs:
            return Estimate()
        found, clusters = compared(pairs)
        interval = (found.low, found.high) if clusters > 1 else (math.nan, math.nan)
        missing = max(0, len(every) - len(pairs))
        return Estimate(found.difference, *interval, clusters, missing=missing)

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
    options = result.options
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


RULES = (
    "A part holds if its 95 % interval excludes 0 in the claimed direction (the rule of all tables:"
    " p < 0.05, each for itself), does not hold if it excludes 0 in the other one, and is"
    " inconclusive otherwise. A claim holds if all of its"
    " parts do, and does not hold if one of them does not. Parts in brackets explain and do not"
    " count."
)
CAUTION = (
    "Measured on the embedded synthetic benchmarks with our reading of REST, whose equations and"
    " tables we did not have. This tests the logic of the claims, not the paper's numbers."
)
_STYLES = {Verdict.HOLDS: "green", Verdict.FAILS: "red", Verdict.OPEN: "yellow"}

_COLUMNS: dict[str, dict[str, Any]] = {
    "part": {"overflow": "fold", "min_width": 16},
    "measurement": {"overflow": "fold", "min_width": 16},
    "value": {"justify": "right", "no_wrap": True},
    "95 % interval": {"justify": "right", "no_wrap": True},
    "over": {"no_wrap": True},
    "verdict": {"no_wrap": True},
    "likely reason": {"overflow": "fold"},
}
"""Columns that a reader sees, with their form on the terminal; ``_texts`` has their content."""


def claims_table(found: Sequence[Claim]) -> RenderableType:
    """A row for each part, the claim and its verdict above them; for a rich console."""
    blocks: list[RenderableType] = []
    for claim in found:
        heading = Text(f"{plain(claim.text)}: ", style="bold")
        heading.append(claim.verdict.value, style=_STYLES[claim.verdict])
        table = data_table()
        for name, form in _COLUMNS.items():
            table.add_column(name, **form)
        for part in claim.parts:
            texts = dict(zip(_COLUMNS, map(Text, map(plain, _texts(part))), strict=True))
            texts["verdict"].style = _STYLES[part.verdict]
            table.add_row(*texts.values())
        blocks += [heading, table, Text()]
    return Group(*blocks, Text(RULES, style="dim"), Text(CAUTION, style="dim"))


def _texts(part: Part) -> tuple[str, ...]:
    """What stands in ``_COLUMNS``; dashes where there is no number."""
    found = part.estimate
    digits = 1 if part.measured.endswith(("points", "degrees")) else 3
    value, low, high = (f"{one:+.{digits}f}" for one in (found.value, found.low, found.high))
    known = math.isfinite(found.value)
    return (
        part.name if part.counts else f"({part.name})",
        part.measured,
        value if known else "-",
        f"{low} to {high}" if known and math.isfinite(found.low) else "-",
        amount(found.units, found.of) if found.units else "-",
        part.verdict.value,
        part.reason,
    )


def claims_frame(found: Iterable[Claim]) -> pd.DataFrame:
    """One row per part, numbers in full precision; see docs/claims.md for the columns."""
    rows = [
        {
            "claim": claim.id,
            "claim_verdict": claim.verdict.value,
            "part": part.name,
            "measurement": part.measured,
            "claimed": "above 0" if part.sign > 0 else "below 0",
            "value": part.estimate.value,
            "low": part.estimate.low,
            "high": part.estimate.high,
            "interval_over": part.estimate.of,
            "units": part.estimate.units,
            "counts": part.counts,
            "verdict": part.verdict.value,
            "likely_reason": part.reason,
        }
        for claim in found
        for part in claim.parts
    ]
    return pd.DataFrame(rows)


def write_claims(found: Sequence[Claim], folder: Path) -> list[Path]:
    """Writes ``claims.csv`` and ``claims.md``; the same claims give the same bytes."""
    lines = ["# Claims", "", RULES, "", CAUTION, ""]
    ruler = ("---:" if form.get("justify") else "---" for form in _COLUMNS.values())
    head = [markdown_row(_COLUMNS), markdown_row(ruler)]
    for claim in found:
        lines += [f"## {markdown_escape(claim.text)}: {claim.verdict.value}", "", *head]
        lines += [markdown_row(map(markdown_escape, _texts(part))) for part in claim.parts]
        lines.append("")
    page = "\n".join(lines).rstrip() + "\n"
    return [
        write_csv(claims_frame(found), folder / "claims.csv"),
        write_text(page, folder / "claims.md"),
    ]
