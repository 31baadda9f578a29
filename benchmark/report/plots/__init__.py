"""The figures of a run, and how a figure becomes a file.

Figures are built with matplotlib's ``Figure`` objects alone (no pyplot, so no global state and no
display). Every function returns a figure and leaves missing numbers out visibly. It takes ``pools``
(``shift_pools(results)``, or those of one benchmark), ``whole`` (``benchmark_pools(results)``), and
where it has one the figure's ``title``.
"""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Literal

import matplotlib as mpl
from matplotlib.figure import Figure

from benchmark.report.outputs import write_bytes
from benchmark.report.plots import layout, style
from benchmark.report.plots.geometry import angles, embedding_map, has_probes, probes
from benchmark.report.plots.heat import HEAT_COLUMNS, forgetting_map, heat_map, overview
from benchmark.report.plots.ranks import rank_diagram
from benchmark.report.plots.recall import (
    curves,
    forgetting,
    recall_along_stream,
    recall_by_shift,
    severity_curves,
)
from benchmark.report.plots.scatter import quality_and_cost, reported_and_measured
from benchmark.report.pools import Pool, benchmark_pools
from benchmark.report.ranking_tables import rankings

__all__ = [
    "angles",
    "embedding_map",
    "figures",
    "forgetting",
    "forgetting_map",
    "heat_map",
    "overview",
    "probes",
    "quality_and_cost",
    "rank_diagram",
    "recall_along_stream",
    "recall_by_shift",
    "render",
    "reported_and_measured",
    "severity_curves",
    "write",
]

_METADATA: dict[str, dict[str, Any]] = {
    "png": {"Software": None},
    "pdf": {"Creator": None, "Producer": None, "CreationDate": None},
}
"""What would make two files of one figure differ: dates, the program and its version."""


def render(figure: Figure, kind: Literal["png", "pdf"] = "png") -> bytes:
    """The figure as PNG or PDF; the same figure gives the same bytes.

    PDF holds text as text (TrueType), so that it can be searched and is sharp at any size.
    """
    buffer = io.BytesIO()
    with mpl.rc_context({**style.RC, "pdf.fonttype": 42}):
        figure.savefig(buffer, format=kind, dpi=style.DPI, metadata=_METADATA[kind])
    return buffer.getvalue()


def write(figure: Figure, path: Path, kinds: Sequence[Literal["png", "pdf"]]) -> list[Path]:
    """Writes a figure in each of the kinds; ``path`` is that of the PNG.

    Raises:
        ResultsError: a file cannot be written.
    """
    return [write_bytes(render(figure, kind), path.with_suffix(f".{kind}")) for kind in kinds]


def figures(
    pools: Sequence[Pool], whole: Sequence[Pool] | None = None, *, each: bool = True
) -> Iterator[tuple[str, Figure]]:
    """All figures that the pools have numbers for, as (file name, figure).

    ``each``: also those of each benchmark, not only the ones that hold all of them. A caller that
    has ``whole`` saves comparing again.
    """
    if whole is None:
        whole = benchmark_pools(cell for pool in pools for cell in pool.cells)
    finished = [pool for pool in pools if pool.done]
    places = layout.place_titles(finished)
    for place, name in layout.place_names(finished).items() if each else ():
        here = [pool for pool in finished if pool.first.place == place]
        yield from _of_place(here, layout.slug(name), places[place])
        if len(layout.settings_of(finished)) > HEAT_COLUMNS and any(
            pool.comparison for pool in here
        ):
            yield f"difference_{layout.slug(name)}.png", heat_map(here)
    if sum(pool.comparison is not None for pool in finished) > 1:
        yield "leaderboard.png", overview(finished, whole)
    if any(pool.values("metrics", "forgetting") for pool in finished):
        draw = forgetting if len(places) <= layout.PANELS else forgetting_map
        yield "forgetting.png", draw(finished)
    if len({pool.label for pool in finished if pool.values("cost", "ms_per_query")}) > 1:
        yield "cost.png", quality_and_cost(whole)
    if any(pool.values("probes", "angle") for pool in finished):
        yield "angles.png", angles(finished)
    ranked = [found for found in rankings(whole) if found.critical_difference is not None]
    for found in ranked:
        title = f"{found.suite} {found.stream}"
        name = "ranks.png" if len(ranked) == 1 else f"ranks_{layout.slug(title)}.png"
        ranks = f"Average rank over {found.datasets} data sets"
        yield name, rank_diagram(found, ranks if len(ranked) == 1 else f"{title}: {ranks}")


def _of_place(here: Sequence[Pool], name: str, title: str) -> Iterator[tuple[str, Figure]]:
    """The figures of one benchmark; ``name`` is that of the files."""
    for page, shown in _pages(layout.settings_of(here)):
        some = [pool for pool in here if pool.first.setting in shown]
        yield f"stream_{name}{page}.png", recall_along_stream(some, title)
    yield f"shifts_{name}.png", recall_by_shift(here, title)
    for page, keys in _pages(curves(here)):
        yield f"severity_{name}{page}.png", severity_curves(here, title, keys)
    if has_probes(here):
        yield f"probes_{name}.png", probes(here, title)


def _pages(items: Sequence[Any]) -> Iterator[tuple[str, Sequence[Any]]]:
    """At most ``PANELS`` items at a time, with what a page adds to the file's name."""
    for page, start in enumerate(range(0, len(items), layout.PANELS), 1):
        yield (
            "" if len(items) <= layout.PANELS else f"_{page}",
            items[start : start + layout.PANELS],
        )
