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
from statistics import fmean
from typing import Any, Literal

import matplotlib as mpl
from matplotlib.figure import Figure

from benchmark.errors import amount
from benchmark.report.frames import Ranking, rankings
from benchmark.report.plots import layout
from benchmark.report.plots.geometry import (
    PER_PAGE,
    PROBES,
    angles,
    angles_of,
    coverage,
    measured,
    probes,
)
from benchmark.report.plots.heat import HEAT_COLUMNS, benchmark_map, forgetting_map, heat_map
from benchmark.report.plots.methods import by_method, quality_and_cost, rank_diagram
from benchmark.report.plots.recall import (
    curves,
    lines,
    recall_along_stream,
    recall_by_shift,
    sensitivity,
    severity_curves,
)
from benchmark.report.pools import Pool, benchmark_pools, labels_of
from benchmark.report.verdict import summaries_of
from benchmark.report.writing import write_bytes

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
    with mpl.rc_context(layout.RC):
        figure.savefig(buffer, format=kind, dpi=layout.DPI, metadata=_METADATA[kind])
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
    ranked, titles = rankings(whole), layout.place_titles(finished)
    wide = len(layout.settings_of(finished)) > HEAT_COLUMNS
    for place, name in layout.place_slugs(finished).items() if each else ():
        here = [pool for pool in finished if pool.first.place == place]
        yield from _of_place(here, name, titles[place])
        if wide and any(pool.comparison for pool in here):
            yield f"difference_{name}.png", heat_map(here)
    if sum(pool.comparison is not None for pool in finished) > 1:
        for name, start, found in _of_suites("leaderboard", ranked):
            rows = summaries_of(found)
            methods = sum(row.gain is not None for row in rows)
            places = len({pool.first.place for pool in found.pools})
            title = f"{amount(methods, 'method')} on {amount(places, 'benchmark')}"
            if methods:
                yield name, by_method(rows, f"{start}{title}")
        yield "difference.png", benchmark_map(whole) if wide else heat_map(finished)
        if any(pool.values("metrics", "forgetting") for pool in whole):
            yield "forgetting.png", forgetting_map([pool for pool in whole if pool.done])
    if len({pool.label for pool in finished if pool.values("cost", "ms_per_query")}) > 1:
        yield "cost.png", quality_and_cost(whole)
    if any(angles_of(pool).size for pool in finished):
        yield "angles.png", angles(finished)
    for page, shown in _pages(measured(finished), PER_PAGE):
        yield f"coverage{page}.png", coverage(shown)
    for setting, known in lines(finished).items():
        for page, some in _pages(list(dict.fromkeys(line.place for line in known))):
            drawn = [line for line in known if line.place in some]
            yield (
                f"sensitivity_{layout.slug(setting)}{page}.png",
                sensitivity(finished, setting, drawn),
            )
    for name, start, found in _of_suites("ranks", [found for found in ranked if found.tested]):
        yield name, rank_diagram(found, f"{start}Average rank over {found.datasets} data sets")


def _of_suites(stem: str, found: Sequence[Ranking]) -> Iterator[tuple[str, str, Ranking]]:
    """File of the figure of each suite and kind of stream, and how its title starts."""
    for ranking in found:
        title = f"{ranking.suite} {ranking.stream}"
        several = (f"{stem}_{layout.slug(title)}.png", f"{title}: ")
        yield *((f"{stem}.png", "") if len(found) == 1 else several), ranking


def _of_place(here: Sequence[Pool], name: str, title: str) -> Iterator[tuple[str, Figure]]:
    """The figures of one benchmark; ``name`` is that of the files."""
    recall = {
        label: fmean(pool.mean("metrics", "R@1") for pool in here if pool.label == label)
        for label in labels_of(here)
    }
    labels, note = layout.best_of(recall)
    if lacking := layout.lacking(here) & set(labels):
        note = "; ".join(filter(None, (note, f"cells missing: {', '.join(sorted(lacking))}")))
    best = [pool for pool in here if pool.label in labels]
    for page, shown in _pages(layout.settings_of(best)):
        some = [pool for pool in best if pool.first.setting in shown]
        yield f"stream_{name}{page}.png", recall_along_stream(some, title, note)
    yield f"shifts_{name}.png", recall_by_shift(here, title)
    for page, keys in _pages(curves(best)):
        yield f"severity_{name}{page}.png", severity_curves(best, title, keys, note)
    if any(pool.values("probes", probe) for pool in here for probe in PROBES):
        yield f"probes_{name}.png", probes(here, title)


def _pages(items: Sequence[Any], most: int = layout.PANELS) -> Iterator[tuple[str, Sequence[Any]]]:
    """At most so many items at a time, with what a page adds to the file's name."""
    for page, start in enumerate(range(0, len(items), most), 1):
        yield ("" if len(items) <= most else f"_{page}", items[start : start + most])
