"""What the page's tables show: one row per benchmark, per shift, or per cell."""

from __future__ import annotations

from typing import Literal, NamedTuple

Kind = Literal["text", "number", "p", "difference"]


class Column(NamedTuple):
    """A column of a table.

    Attributes:
        key: name in the row.
        label: heading.
        kind: "difference" is signed, with the interval's ends ``<key>_low`` and ``<key>_high``.
        digits: shown behind the point.
        note: what it is, for a reader who hovers over the heading.
    """

    key: str
    label: str
    kind: Kind = "number"
    digits: int = 1
    note: str = ""


IDENTITY = (
    Column("suite", "suite", "text"),
    Column("benchmark", "benchmark", "text"),
    Column("task", "task", "text"),
    Column("backbone", "backbone", "text"),
    Column("stream", "stream", "text"),
)
"""In every table; those but ``benchmark`` are left out where all rows say the same."""

_SHIFT = (Column("shift", "shift", "text"), Column("severity", "severity", digits=0))
_METHOD = (
    Column("method", "method", "text"),
    Column("preset", "preset", "text"),
    Column("tuned", "tuned", "text", note="which options were tuned, and on what data"),
)
_RECALL = Column("R@1", "R@1", note="percent of queries with a relevant item ranked first")
_DIFFERENCE = Column(
    "R@1_difference",
    "against source",
    "difference",
    note="R@1 minus that of the unadapted model on the same queries, points, 95 % interval; "
    "in brackets where this includes 0",
)
_P = Column(
    "p", "p", "p", 3, note="of the difference to source; below 0.05 the interval excludes 0"
)
_HARM = Column(
    "harm_rate", "harm rate", digits=2, note="share of cells in which it is worse than source"
)
_SD = Column("R@1_sd_over_seeds", "sd over seeds", note="standard deviation of R@1, points")
_QUALITY = (
    Column("R@5", "R@5"),
    Column("R@10", "R@10"),
    Column("mean_recall", "mean recall", note="mean of R@1, R@5 and R@10"),
    Column("mAP", "mAP"),
)
_FORGETTING = Column(
    "forgetting",
    "forgetting",
    "difference",
    note="clean R@1 after the stream minus before, points; negative means a loss",
)
_COLLAPSE = (
    Column("uniformity", "uniformity", digits=3, note="small: queries crowd together"),
    Column("effective_rank", "effective rank", note="of the query embeddings"),
    Column("hubness", "hubness", digits=2, note="skewness; large: few items answer many queries"),
)
_PROBES = (
    Column("gap", "gap", digits=3, note="between the mean query and the mean gallery item"),
    Column("consistency", "consistency", digits=3, note="mean cosine of matched pairs"),
    Column("angle", "angle", digits=0, note="between the gradients, degrees"),
)
_CHANGED = (
    Column("coverage", "changed %", note="share of the queries that the shift changed"),
    Column("change_size", "size %", note="mean size of the change, of full scale"),
    Column("note", "note", "text", note="what a shift failed to do"),
)
_COST = (
    Column("ms_per_query", "ms/query", digits=2, note="compare rows of one machine only"),
    Column("ms_per_query_ratio", "time, x source", digits=2),
    Column("peak_mb", "peak MB", digits=0),
)
_SEEDS = Column("seeds", "seeds", digits=0)
_STATUS = Column("status", "status", "text")

VIEWS: dict[str, tuple[Column, ...]] = {
    "benchmark": (
        *IDENTITY,
        *_METHOD,
        *_CHANGED,
        _RECALL,
        _DIFFERENCE,
        _P,
        Column("average_rank", "average rank", note="over independent data sets; 1 is the best"),
        _HARM,
        _SD,
        _QUALITY[2],
        _FORGETTING,
        *_COLLAPSE,
        *_COST,
        Column("shifts", "shifts", digits=0),
        _SEEDS,
        Column("cells", "cells", digits=0),
        Column("cells_missing", "missing", digits=0, note="cells that another method has"),
        Column("cells_failed", "failed", digits=0),
    ),
    "shift": (
        *IDENTITY,
        *_SHIFT,
        *_METHOD,
        *_CHANGED,
        _RECALL,
        _DIFFERENCE,
        _P,
        _HARM,
        _SD,
        *_QUALITY,
        _FORGETTING,
        *_COLLAPSE,
        *_PROBES,
        *_COST,
        _SEEDS,
        _STATUS,
    ),
    "cell": (
        *IDENTITY,
        *_SHIFT,
        *_METHOD,
        Column("seed", "seed", digits=0),
        *_CHANGED,
        _RECALL,
        _DIFFERENCE,
        _P,
        *_QUALITY,
        _FORGETTING,
        *_COLLAPSE,
        *_PROBES,
        *_COST[::2],
        _STATUS,
    ),
}
"""Columns of each table; one that is blank in all rows is left out."""
