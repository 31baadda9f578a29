"""Style: what each column is called and how it is written, how each method is drawn.

CSV files, terminal and page take the same description of a column; a table is a list of names.
Figures and page share the colours; nothing here needs matplotlib.
"""

from __future__ import annotations

import math
import tomllib
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, Literal, NamedTuple

from benchmark.metrics.intervals import Comparison, harm
from benchmark.report.pools import Pool, note

Kind = Literal["text", "number", "p", "difference"]
Source = Literal["cell", "comparison", "metrics", "probes", "cost", "table"] | Callable[[Pool], Any]


class Column(NamedTuple):
    """A column of a table.

    Attributes:
        key: name in frames, CSV files and rows.
        source: "cell" where all cells of a pool share the attribute of that name; "comparison":
            with the source; the section of a record that has the number; "table" where it takes
            the whole table; or a function.
        label: heading on the page; by default the key.
        kind: "difference" is signed, with the interval's ends ``<key>_low`` and ``<key>_high``.
        digits: shown behind the point.
        note: what it is, for a reader who hovers over the heading.
        lines: the heading on the terminal; by default the label.
    """

    key: str
    source: Source
    label: str = ""
    kind: Kind = "number"
    digits: int = 1
    note: str = ""
    lines: str = ""

    @property
    def title(self) -> str:
        return self.label or self.key.replace("_", " ")

    @property
    def heading(self) -> str:
        return self.lines or self.title

    def of(self, pool: Pool) -> Any:
        """The value of a pool; NaN or None where it does not apply."""
        if callable(self.source):
            return self.source(pool)
        if self.source == "cell":
            return getattr(pool.first, self.key)
        if self.source == "comparison":
            return against_source(pool.comparison)[self.key]
        return math.nan if self.source == "table" else pool.mean(self.source, self.key)


_PARTS = {
    "R@1_difference": "difference",
    "R@1_difference_low": "low",
    "R@1_difference_high": "high",
    "p": "p",
    "significant": "significant",
}
"""Column of a comparison with the source -> its attribute."""


def against_source(found: Comparison | None) -> dict[str, Any]:
    """A comparison with the source by column, with the decision; blank where there is none."""
    if found is None:
        return {**dict.fromkeys(_PARTS, math.nan), "significant": None}
    return {name: getattr(found, part) for name, part in _PARTS.items()}


# fmt: off
COLUMNS: Mapping[str, Column] = {column.key: column for column in (
    Column("suite", "cell", kind="text"),
    Column("benchmark", "cell", kind="text"),
    Column("task", "cell", kind="text"),
    Column("backbone", "cell", kind="text"),
    Column("weights", "cell", kind="text"),
    Column("stream", "cell", kind="text"),
    Column("told_apart", "table", "setting", kind="text", note="what no other column says"),
    Column("shift", "cell", kind="text"),
    Column("severity", "cell", digits=0),
    Column("method", lambda pool: pool.label, kind="text"),
    Column("preset", "cell", kind="text"),
    Column("tuned", "cell", kind="text", note="which options were tuned, and on what data"),
    Column("seed", "cell", digits=0),
    Column("queries", "cell", digits=0),
    Column("gallery", "cell", digits=0),
    Column("R@1", "metrics", note="percent of queries with a relevant item ranked first"),
    Column("R@5", "metrics"),
    Column("R@10", "metrics"),
    Column("mean_recall", "metrics", lines="mean\nrecall", note="mean of the recalls at k"),
    Column("mAP", "metrics"),
    Column("R@1_low", lambda pool: pool.recall.low if pool.recall else math.nan),
    Column("R@1_high", lambda pool: pool.recall.high if pool.recall else math.nan),
    Column("R@1_sd_over_seeds", lambda pool: pool.sd_over_seeds, "sd over seeds",
           note="standard deviation of R@1, points"),
    Column("R@1_difference", "comparison", "against source", "difference",
           lines="R@1 against source\n[95 % interval]",
           note="R@1 minus that of the unadapted model on the same queries, points, 95 % interval; "
           "in brackets where this includes 0"),
    Column("R@1_difference_low", "comparison"),
    Column("R@1_difference_high", "comparison"),
    Column("p", "comparison", kind="p", digits=3,
           note="of the difference to source; below 0.05 the interval excludes 0"),
    Column("significant", "comparison"),
    Column("p_holm", "table", kind="p", digits=3),
    Column("average_rank", "table", digits=2, note="over independent data sets; 1 is the best"),
    Column("rank_datasets", "table", digits=0),
    Column("harm_rate", lambda pool: harm(pool.by_cell).rate, digits=2,
           note="share of cells in which it is worse than source"),
    Column("harm_rate_significant", lambda pool: harm(pool.by_cell).significant, "clearly worse",
           digits=2, note="share of cells whose interval is below 0"),
    Column("clean_R@1_before", "metrics"),
    Column("clean_R@1_after", "metrics"),
    Column("forgetting", "metrics", kind="difference",
           note="clean R@1 after the stream minus before, points; negative means a loss"),
    Column("first_domain_R@1_before", "metrics"),
    Column("first_domain_R@1_during", "metrics"),
    Column("first_domain_R@1_after", "metrics"),
    Column("coverage", "probes", "changed %", lines="queries\nchanged (%)",
           note="share of the queries that the shift changed"),
    Column("coverage_image", "probes"),
    Column("coverage_text", "probes"),
    Column("change_size", "probes", "size %", lines="size of\nchange (%)",
           note="mean size of the change, of full scale"),
    Column("uniformity", "probes", digits=3, lines="uni-\nformity",
           note="small: queries crowd together"),
    Column("gap", "probes", digits=3, note="between the mean query and the mean gallery item"),
    Column("consistency", "probes", digits=3, lines="consis-\ntency",
           note="mean cosine of matched pairs"),
    Column("prediction_entropy", "probes", "entropy", digits=3),
    Column("angle", "probes", digits=0, lines="angle\n(deg)",
           note="between the gradients, degrees"),
    Column("effective_rank", "probes", note="of the query embeddings"),
    Column("hubness", "probes", digits=2, note="skewness; large: few items answer many queries"),
    Column("changed@1", "metrics", lines="first candidate\nchanged (%)"),
    Column("changed@10", "metrics", lines="first ten\nchanged (%)"),
    Column("clean_changed@1", "metrics", lines="first of clean\nqueries (%)"),
    Column("expected_gain", "table", lines="expected\ngain"),
    Column("ms_per_query", "cost", "ms/query", digits=2, lines="ms per\nquery",
           note="compare rows of one machine only"),
    Column("ms_per_query_ratio", lambda pool: pool.ratio("cost", "ms_per_query"),
           "time, x source"),
    Column("peak_mb", "cost", "peak MB", digits=0, lines="peak\nMB"),
    Column("peak_mb_ratio", lambda pool: pool.ratio("cost", "peak_mb"), "memory, x source",
           digits=2),
    Column("forward_per_query", "cost"),
    Column("backward_per_query", "cost"),
    Column("shifts", lambda pool: len({cell.setting for cell in pool.done}), digits=0),
    Column("seeds", lambda pool: len({cell.seed for cell in pool.done}), digits=0),
    Column("cells", lambda pool: len(pool.done), digits=0),
    Column("benchmarks", "table", digits=0),
    Column("cells_missing", lambda pool: pool.missing, "missing", digits=0,
           note="cells that another method has"),
    Column("cells_failed", lambda pool: len(pool.undone), "failed", digits=0),
    Column("status", lambda pool: "+".join(sorted({c.record.status.value for c in pool.cells})),
           kind="text"),
    Column("reason", kind="text", source=lambda pool: "; ".join(
        f"seed {cell.seed}: {cell.record.reason}" for cell in pool.undone)),
    Column("note", note, kind="text", note="what a shift failed to do; a method that collapsed"),
    Column("headline", lambda pool: ", ".join(pool.headline or ("R@1",)), kind="text"),
)}
# fmt: on
"""All columns by name; docs/output.md says what each means."""


def _read(name: str) -> dict[str, Any]:
    return tomllib.loads(Path(__file__).with_name(name).read_text(encoding="utf-8"))


_TABLES = _read("columns.toml")
LEADERBOARD, BY_SHIFT, IDENTITY, FOLDED = (
    tuple(_TABLES[name].split()) for name in ("leaderboard", "by_shift", "identity", "folded")
)
VIEWS = {name: tuple(columns.split()) for name, columns in _TABLES["views"].items()}
"""Columns of ``leaderboard.csv`` and ``by_shift.csv``, and of each table of the page."""


def extent(differences: Iterable[float]) -> float:
    """How far the colours of differences (points) reach on either side of zero.

    At least 5 points, so that noise alone does not glow.
    """
    return max([*map(abs, differences), 5.0])


class Look(NamedTuple):
    """How a method is drawn.

    Colours are those of Okabe and Ito (Color Universal Design, 2008), which people with the common
    forms of colour blindness tell apart; markers and dashes say the same a second time. Methods
    from plugins take the remaining colours (after Paul Tol's "muted" scheme, SRON technical note,
    2021).
    """

    colour: str
    marker: str
    dashes: Literal["-", "--", "-.", ":"] = "-"


LOOKS: dict[str, Look] = {name: Look(*look) for name, look in _read("looks.toml").items()}
"""The built-in methods; fixed, so that figures of different runs can be laid side by side."""

_SPARE_COLOURS = ("#882255", "#999933", "#332288", "#44AA99", "#AA4499", "#117733", "#661100")
_SPARE_MARKERS = ("*", "h", "<", ">", "p", "d", "8")
_SPARE_DASHES: tuple[Literal["-", "-.", ":"], ...] = ("-.", ":", "-")


def looks(names: Iterable[str]) -> dict[str, Look]:
    """A look for each name: the fixed one for built-ins, the next spare one for the others.

    Names with a note in brackets ("rest [lr=0.01]") are variants and count as others, except the
    first variant of a built-in, which keeps its colours. A centred twin is its built-in, dotted.
    """
    chosen: dict[str, Look] = {}
    taken: set[str] = set()
    others = []
    for name in sorted(set(names)):
        base = name.split("[")[0].rstrip()
        if name == f"{base}[centred]" and base in LOOKS:
            chosen[name] = LOOKS[base]._replace(dashes=":")
        elif base in LOOKS and base not in taken:
            chosen[name] = LOOKS[base]
            taken.add(base)
        else:
            others.append(name)
    for index, name in enumerate(others):
        turn, place = divmod(index, len(_SPARE_COLOURS))
        marker = _SPARE_MARKERS[(place + turn) % len(_SPARE_MARKERS)]
        dashes = _SPARE_DASHES[turn % len(_SPARE_DASHES)]
        chosen[name] = Look(_SPARE_COLOURS[place], marker, dashes)
    return chosen
