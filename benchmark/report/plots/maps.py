"""Where queries and gallery lie, before and after adaptation, on two principal components."""

from __future__ import annotations

from typing import TYPE_CHECKING

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from benchmark.report import style
from benchmark.report.layout import headline

if TYPE_CHECKING:
    from benchmark.executors.rerun import Embeddings

SHOWN = 1500
"""Points of a kind in a panel, evenly spaced; more hide each other and make the file large."""


def axes_of(points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean and first two principal axes of points (P, D).

    Returns:
        (D,) mean and (D, 2) orthonormal axes. An axis' sign is arbitrary; it is chosen so that
        its largest entry is positive, for the same picture everywhere.
    """
    centre = points.mean(axis=0)
    centred = points - centre
    _, vectors = np.linalg.eigh(centred.T @ centred)
    chosen = vectors[:, :-3:-1]
    largest = chosen[np.abs(chosen).argmax(axis=0), np.arange(2)]
    return centre, chosen * np.where(largest < 0, -1.0, 1.0)


def embedding_map(found: Embeddings, title: str = "", method: str = "") -> Figure:
    """Queries and gallery under the source weights, and with the queries as they were scored.

    The axes are the principal components of gallery and unadapted queries together, the same in
    both panels, so that only what adaptation moved is seen to move.

    Args:
        found: embeddings of one cell.
        title: the figure's.
        method: whose colour the queries take.
    """
    centre, axes = axes_of(np.concatenate([found.gallery, found.before]))
    look = style.looks([method])[method] if method else style.LOOKS["rest"]
    with mpl.rc_context(style.RC):
        figure = Figure(figsize=(style.WIDTH, 3.7), layout="constrained")
        panels = figure.subplots(1, 2, sharex=True, sharey=True)
        gallery = (found.gallery - centre) @ axes
        for axis, name, queries in zip(
            panels, ("before", "after"), (found.before, found.after), strict=True
        ):
            _points(axis, gallery, (queries - centre) @ axes, look.colour)
            gap = float(np.linalg.norm(queries.mean(axis=0) - found.gallery.mean(axis=0)))
            spread = float(np.linalg.norm(queries - queries.mean(axis=0), axis=1).mean())
            axis.set_title(f"{name}: gap {gap:.2f}, uniformity {spread:.2f}")
            axis.set_xlabel("first component")
        panels[0].set_ylabel("second component")
        headline(figure, title, 90)
        handles, names = panels[0].get_legend_handles_labels()
        figure.legend(handles, names, loc="outside lower center", ncols=4)
    return figure


def _points(axis: Axes, gallery: np.ndarray, queries: np.ndarray, colour: str) -> None:
    kinds = (("gallery", gallery, "#b5b5b5", "s"), ("queries", queries, colour, "o"))
    for name, points, paint, marker in kinds:
        some = points[:: max(1, -(-len(points) // SHOWN))]
        axis.plot(*some.T, marker, color=paint, markersize=2.6, markeredgewidth=0, alpha=0.55,
                  label=name)  # fmt: skip
    for name, points, paint, marker in kinds:
        axis.plot(*points.mean(axis=0), marker, color=paint if name == "queries" else "#5f5f5f",
                  markersize=9, markeredgecolor="white", markeredgewidth=1.4,
                  label=f"mean of {name}")  # fmt: skip
    axis.grid(axis="both")
    axis.set_aspect("equal")
