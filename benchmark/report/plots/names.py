"""Names beside points, where they cover least."""

from __future__ import annotations

import math
from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from benchmark.report.plots import style

NamedPoint = tuple[float, float, str, str]
"""x and y in data, label and colour of a point."""


def name_points(
    figure: Figure, axis: Axes, points: Sequence[NamedPoint], size: float = 7.0
) -> None:
    """Writes its name beside each point where it covers least, with a line where that is far.

    The panel's limits and scale must be final.
    """
    figure.draw_without_rendering()  # places the panel
    scale = figure.dpi / 72
    pixels = [axis.transData.transform((x, y)) / scale for x, y, _, _ in points]
    box = axis.bbox
    frame = (box.x0 / scale, box.y0 / scale, box.x1 / scale, box.y1 / scale)
    taken = [(x - 5, y - 5, x + 5, y + 5) for x, y in pixels]
    order = sorted(range(len(points)), key=lambda i: (-pixels[i][1], pixels[i][0]))
    for i in order:
        text = style.label(points[i][2], 22)
        width, height = 0.6 * size * len(text), 1.15 * size
        x, y = pixels[i]
        places = [_beside(x, y, away, turn, width, height)
                  for away in (7, 13, 20, 28, 38, 50) for turn in range(0, 360, 30)]  # fmt: skip
        best = min(places, key=lambda box: _covered(box, taken, frame))
        taken.append(best)
        centre = ((best[0] + best[2]) / 2 - x, (best[1] + best[3]) / 2 - y)
        far = max(abs(centre[0]) - width / 2, abs(centre[1]) - height / 2) > 9
        line = {"arrowstyle": "-", "color": points[i][3], "linewidth": 0.5, "shrinkB": 3}
        axis.annotate(text, points[i][:2], centre, textcoords="offset points", ha="center",
                      va="center", fontsize=size, color=points[i][3], zorder=4,
                      bbox={"facecolor": "white", "edgecolor": "none", "alpha": 0.75, "pad": 0.4},
                      arrowprops=line if far else None)  # fmt: skip


_Box = tuple[float, float, float, float]


def _beside(x: float, y: float, away: float, turn: int, width: float, height: float) -> _Box:
    """A text's box whose edge is so far from a point, in a direction in degrees."""
    across, up = math.cos(math.radians(turn)), math.sin(math.radians(turn))
    left = x + away * across + width * (across - 1) / 2
    low = y + away * up + height * (up - 1) / 2
    return left, low, left + width, low + height


def _covered(box: _Box, taken: Sequence[_Box], frame: _Box) -> float:
    """The area that a box shares with others and has outside of the panel."""
    shared = sum(
        max(0.0, min(box[2], other[2]) - max(box[0], other[0]))
        * max(0.0, min(box[3], other[3]) - max(box[1], other[1]))
        for other in taken
    )
    inside = max(0.0, min(box[2], frame[2]) - max(box[0], frame[0])) * max(
        0.0, min(box[3], frame[3]) - max(box[1], frame[1])
    )
    return shared + 2 * ((box[2] - box[0]) * (box[3] - box[1]) - inside)
