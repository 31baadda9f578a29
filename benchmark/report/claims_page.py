"""The claims and their verdicts as a table on the terminal, as CSV and as Markdown."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from pathlib import Path

import pandas as pd
from rich.console import Group, RenderableType
from rich.text import Text

from benchmark.report.claim_rules import Verdict
from benchmark.report.claims import Claim, Part
from benchmark.report.display import data_table
from benchmark.report.leaderboard import write_bytes, write_csv
from benchmark.report.table import plain
from benchmark.report.text_tables import markdown_escape

RULES = (
    "A part holds if its 95 % interval excludes 0 in the claimed direction (the rule of all tables:"
    " p < 0.05, each for itself), does not hold if it excludes 0 in the other one, and is"
    " inconclusive otherwise. A claim holds if all of its"
    " parts do, and does not hold if one of them does not. Parts in brackets explain and do not"
    " count."
)
CAUTION = (
    "Measured on the embedded synthetic benchmarks with our reading of REST, whose equations and"
    " tables were not at hand: this tests the claims' logic here, not the paper's numbers."
)
_STYLES = {Verdict.HOLDS: "green", Verdict.FAILS: "red", Verdict.OPEN: "yellow"}


def claims_table(claims: Sequence[Claim]) -> RenderableType:
    """A row for each part, the claim and its verdict above them; for a rich console."""
    blocks: list[RenderableType] = []
    for claim in claims:
        heading = Text(f"{plain(claim.text)}: ", style="bold")
        heading.append(claim.verdict.value, style=_STYLES[claim.verdict])
        table = data_table()
        table.add_column("part", overflow="fold", min_width=16)
        table.add_column("measurement", overflow="fold", min_width=16)
        table.add_column("value", justify="right", no_wrap=True)
        table.add_column("95 % interval", justify="right", no_wrap=True)
        table.add_column("over", no_wrap=True)
        table.add_column("verdict", no_wrap=True)
        table.add_column("likely reason", overflow="fold")
        for part in claim.parts:
            value, interval, over = _numbers(part)
            verdict = Text(part.verdict.value, style=_STYLES[part.verdict])
            texts = (_name(part), part.measured, value, interval, over)
            table.add_row(*(Text(plain(one)) for one in texts), verdict, Text(plain(part.reason)))
        blocks += [heading, table, Text()]
    return Group(*blocks, Text(RULES, style="dim"), Text(CAUTION, style="dim"))


def claims_frame(claims: Iterable[Claim]) -> pd.DataFrame:
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
        for claim in claims
        for part in claim.parts
    ]
    return pd.DataFrame(rows)


def claims_markdown(claims: Sequence[Claim]) -> str:
    """The same as a page: the rules first, then a table per claim."""
    lines = ["# Claims", "", RULES, "", CAUTION, ""]
    for claim in claims:
        head = ("part", "measurement", "value", "95 % interval", "over", "verdict", "likely reason")
        lines += [f"## {markdown_escape(claim.text)}: {claim.verdict.value}", ""]
        lines += [_row(head), _row(("---", "---", "---:", "---:", "---", "---", "---"))]
        for part in claim.parts:
            texts = (_name(part), part.measured, *_numbers(part))
            cells = [*texts, part.verdict.value, part.reason]
            lines.append(_row(markdown_escape(plain(text)) for text in cells))
        lines.append("")
    return "\n".join(lines).rstrip() + "\n"


def write_claims(claims: Sequence[Claim], folder: Path) -> list[Path]:
    """Writes ``claims.csv`` and ``claims.md``; the same claims give the same bytes.

    Raises:
        ResultsError: they cannot be written.
    """
    return [
        write_csv(claims_frame(claims), folder / "claims.csv"),
        write_bytes(claims_markdown(claims).encode("utf-8"), folder / "claims.md"),
    ]


def _row(cells: Iterable[str]) -> str:
    return "| " + " | ".join(cells) + " |"


def _name(part: Part) -> str:
    return part.name if part.counts else f"({part.name})"


def _numbers(part: Part) -> tuple[str, str, str]:
    """Value, interval and what it is over; dashes where there is nothing."""
    found = part.estimate
    over = f"{found.units} {_plural(found.of, found.units)}" if found.units else "-"
    if not math.isfinite(found.value):
        return "-", "-", over
    digits = 1 if part.measured.endswith(("points", "degrees")) else 3
    value = f"{found.value:+.{digits}f}"
    if not math.isfinite(found.low):
        return value, "-", over
    return value, f"{found.low:+.{digits}f} to {found.high:+.{digits}f}", over


def _plural(noun: str, count: int) -> str:
    if count == 1:
        return noun
    return {"query": "queries"}.get(noun, f"{noun}s")
