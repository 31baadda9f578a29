"""Results of a run as an object: a frame, figures, the verdict in words."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from benchmark.cell import Status
from benchmark.cli.runs import find_run
from benchmark.errors import ResultsError, amount, did_you_mean
from benchmark.report.frames import by_shift
from benchmark.report.pools import benchmark_pools, shift_pools
from benchmark.report.results import CellResult
from benchmark.report.unlabelled import unlabelled_frame, unlabelled_verdict
from benchmark.report.verdict import verdict
from benchmark.store.run_store import RunStore

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_TOLD = {"backbone": "backbone", "stream": "stream", "told_apart": "setting"}
_MISSING = {"cells_missing": "missing"}
"""Columns that a notebook shows where rows differ, or cells are missing -> their headings."""

_SHOWN = {
    "benchmark": "benchmark",
    **_TOLD,
    "shift": "shift",
    "severity": "severity",
    "method": "method",
    "R@1": "R@1",
    "R@1_difference": "against source",
    "R@1_difference_low": "from",
    "R@1_difference_high": "to",
    "R@5": "R@5",
    "forgetting": "forgetting",
    "ms_per_query": "ms per query",
    **_MISSING,
}
"""Columns of ``by_shift`` that a notebook shows -> their headings."""

_UNLABELLED = {
    "benchmark": "benchmark",
    **_TOLD,
    "shift": "shift",
    "method": "method",
    "changed@1": "first candidate changed, %",
    "changed@10": "first ten changed, %",
    "ms_per_query": "ms per query",
}
"""The same of ``unlabelled_frame``."""


class Result:
    """What came of a run.

    Attributes:
        cells: one ``CellResult`` for each cell, the source model's among them.
    """

    def __init__(self, cells: Sequence[CellResult]) -> None:
        # Reports keep small types, which wrap round where a caller computes.
        self.cells = [replace(cell, ranks=cell.ranks.astype(np.int64)) for cell in cells]

    def to_frame(self) -> pd.DataFrame:
        """One row a cell: what was run, its status, and every metric, probe and cost.

        Percentages are in percent. A cell without a result has NaN, and the reason beside it.
        """
        rows = []
        for cell in self.cells:
            record, spec = cell.record, cell.record.cell
            done = record.status is Status.DONE
            numbers = record.metrics, record.probes, record.cost
            names = ("benchmark", "backbone", "method", "shift", "severity")
            row = {name: getattr(cell, name) for name in names}
            row["stream"] = spec["stream"]["kind"]
            row |= {
                name: getattr(cell, name) for name in ("batch_size", "seed", "queries", "gallery")
            }
            row |= {"status": record.status.value, "reason": record.reason}
            row |= {name: value for part in numbers if done for name, value in part.items()}
            rows.append({**row, "options": dict(spec["method"]["options"]), "key": record.key})
        return pd.DataFrame(rows)

    def verdict(self) -> str:
        """At most three lines: what the best method gains, what it costs, how sure that is."""
        log = [cell for cell in self.cells if cell.unlabelled]
        lines = unlabelled_verdict(log) or verdict(benchmark_pools(self.cells))
        if lines:
            return "\n".join(lines)
        return "Nothing was compared: no method beside source is finished on all benchmarks."

    def plot(self, kind: str = "shifts", benchmark: str = "") -> Figure:
        """One figure of the run.

        Args:
            kind: "shifts" (R@1 for each shift), "stream" (along the stream), "severity", "probes",
                "cost", "forgetting", "angles", "leaderboard" ...: what the run has numbers for.
            benchmark: its name, or a part of it: the figure is of its cells alone.

        Raises:
            ResultsError: no such figure or benchmark of this run.
        """
        if any(cell.unlabelled for cell in self.cells):
            raise ResultsError(
                "figures show recall, which a query log without labels does not have; expected "
                ".to_frame() or .verdict()"
            )
        from benchmark.report import plots

        run = sorted({cell.benchmark for cell in self.cells})
        of = [benchmark] if benchmark in run else [name for name in run if benchmark in name]
        if not of:
            near = did_you_mean(benchmark, run)
            raise ResultsError(
                f"there is no benchmark {benchmark!r}{near}; this run has {', '.join(run)}"
            )
        cells, names = [cell for cell in self.cells if cell.benchmark in of], []
        for name, figure in plots.figures(shift_pools(cells), benchmark_pools(cells)):
            stem = Path(name).stem.partition("_")[0]
            if stem == kind:
                # A notebook shows a figure that can write itself, whatever its backend.
                setattr(figure, "_repr_png_", partial(plots.render, figure))  # noqa: B010
                return figure
            names.append(stem)
        known = list(dict.fromkeys(names))
        of_benchmark = f" of {benchmark}" if benchmark else ""
        raise ResultsError(
            f"there is no figure {kind!r}{of_benchmark}{did_you_mean(str(kind), known)}; this run "
            f"has {', '.join(known) or 'none'}"
        )

    def __repr__(self) -> str:
        done = sum(cell.record.status is Status.DONE for cell in self.cells)
        return f"<Result: {done} of {amount(len(self.cells), 'cell')} finished>\n{self.verdict()}"

    def _repr_html_(self) -> str:
        log = [cell for cell in self.cells if cell.unlabelled]
        frame = unlabelled_frame(log) if log else by_shift(shift_pools(self.cells))
        names = _UNLABELLED if log else _SHOWN
        same = {name for name in _TOLD if name in frame and frame[name].nunique() < 2}
        same |= {name for name in _MISSING if name in frame and not frame[name].any()}
        shown = frame[[name for name in names if name in frame and name not in same]]
        shown = shown.rename(columns=names).dropna(axis="columns", how="all")
        lines = f"<p>{'<br>'.join(map(escape, self.verdict().splitlines()))}</p>"
        table = shown.to_html(index=False, na_rep="", float_format=lambda x: f"{x:.1f}", border=0)
        reasons = {cell.record.reason for cell in self.cells if cell.record.reason}
        notes = "".join(f"<p>without a result: {escape(reason)}</p>" for reason in sorted(reasons))
        return f"{table}{lines}{notes}"


def load_results(path: Path | str) -> Result:
    """A stored run.

    Args:
        path: its folder, or its name in results/runs.

    Raises:
        ResultsError: there is none, or it has no good cell.
    """
    from benchmark.report.writing import load_results as load

    folder = find_run(str(path))
    cells = load(RunStore(folder))
    if not cells:
        raise ResultsError(f"{folder} has no cell that can be read; run it again")
    return Result(cells)
