"""Shards: one part in n of a list of cells, the same parts wherever they are computed."""

from __future__ import annotations

import json
from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import asdict

from benchmark.cell import Cell

_WHOLE_BENCHMARKS = 0.25
_WHOLE_STREAMS = 0.5
"""How far a border may move, in parts of a shard, to leave a benchmark or a stream in one piece."""


def split(cells: Sequence[Cell], count: int) -> list[list[Cell]]:
    """Splits cells into parts of about equal number, which together are all cells.

    Cells of one benchmark stay together where that leaves the parts about equal, else at least
    those of one stream (all methods under one shift and seed): each part loads few data sets and
    has the source model beside its methods. The parts depend on which cells there are, not on
    their order, nor on where data lie or on which device is used.

    Args:
        cells: without duplicates.
        count: number of parts; no part is empty unless there are fewer cells.
    """
    named = sorted(((_names(cell), cell) for cell in cells), key=lambda pair: pair[0])
    names = [name for name, _ in named]
    total = len(named)
    # Where one benchmark, or one stream, ends and the next begins.
    benchmarks, streams = (
        [i for i in range(total + 1) if i in (0, total) or names[i - 1][:n] != names[i][:n]]
        for n in (1, 2)
    )
    size = total / count
    borders = [0]
    for number in range(1, count):
        ideal = number * size
        place = _nearest(benchmarks, ideal, _WHOLE_BENCHMARKS * size)
        if place is None:
            place = _nearest(streams, ideal, _WHOLE_STREAMS * size)
        place = round(ideal) if place is None else place
        # At least one cell for this part and for each that follows, as far as there are cells.
        borders.append(max(min(max(place, borders[-1] + 1), total - count + number), borders[-1]))
    borders.append(total)
    ordered = [cell for _, cell in named]
    return [ordered[borders[i] : borders[i + 1]] for i in range(count)]


def _names(cell: Cell) -> tuple[str, str, str]:
    """Benchmark and weights, the stream of queries, and the cell itself, as texts to sort by."""
    backbone = asdict(cell.backbone)
    del backbone["device"]
    world = json.dumps([cell.suite, cell.benchmark, backbone], sort_keys=True)
    stream = [cell.stream.to_dict(), asdict(cell.shift), cell.seed, cell.limit]
    key = cell.key(data_fingerprint="", backbone_fingerprint="")
    return world, json.dumps(stream, sort_keys=True), key


def _nearest(places: Sequence[int], ideal: float, reach: float) -> int | None:
    """The place nearest to the ideal one, if it is within reach."""
    at = bisect_left(places, ideal)
    near = min(places[max(0, at - 1) : at + 1], key=lambda place: abs(place - ideal), default=None)
    return near if near is not None and abs(near - ideal) <= reach else None
