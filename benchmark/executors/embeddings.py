"""The embeddings of one cell, computed again: records keep ranks only."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from benchmark.cell import Cell, MethodSpec, Record, Status
from benchmark.errors import ResultsError
from benchmark.evaluation.resources import Resources
from benchmark.evaluation.runner import run_cell
from benchmark.store.records import cell_from_dict
from methods.base import Method, Setup, StepOutput


@dataclass(frozen=True)
class Embeddings:
    """What a cell's scores came from, all float32 unit rows.

    Attributes:
        gallery: (N, D).
        before: (Q, D) queries under the source weights, in the order of the stream.
        after: (Q, D) the same queries as the method embedded them when their batch passed.
    """

    gallery: np.ndarray
    before: np.ndarray
    after: np.ndarray


def embeddings_of(record: Record, resources: Resources) -> Embeddings:
    """Runs a stored cell once more and keeps its embeddings.

    Args:
        record: a finished cell.
        resources: data and weights; those of the record.

    Raises:
        ResultsError: the cell is not done, its data, weights or method are no longer those that
            it was run with, or it does not run.
    """
    if record.status is not Status.DONE:
        raise ResultsError(
            f"cell {record.key} is {record.status.value}, not done: it has no embeddings"
        )
    cell = cell_from_dict(record.cell)
    key = resources.key(cell)
    if key != record.key:
        raise ResultsError(
            f"cell {record.key} cannot be run again as it was: its data or weights have changed "
            f"(its key would be {key}); run the bench anew"
        )
    made = resources.make_method
    after: list[Tensor] = []
    before: list[Tensor] = []

    def recorded(spec: MethodSpec, setup: Setup) -> Method:
        method = made(spec, setup)
        step, source = method.step, resources.source_rows(cell)

        def noted(queries: Tensor) -> StepOutput:
            before.append(source.batch(queries).detach().float().cpu())
            output = step(queries)
            after.append(output.embeddings.detach().float().cpu())
            return output

        method.__dict__["step"] = noted  # of this one object
        return method

    resources.make_method = recorded
    try:
        again, _ = run_cell(cell, resources)
    finally:
        resources.make_method = made
    if again.status is not Status.DONE:
        raise ResultsError(f"cell {record.key} does not run again: {again.reason}")
    return Embeddings(
        _array(resources.gallery(cell)), _array(torch.cat(before)), _array(torch.cat(after))
    )


def _array(rows: Tensor) -> np.ndarray:
    return rows.detach().float().cpu().numpy()


def title_of(cell: Cell) -> str:
    """Benchmark, shift and method of a cell in one line."""
    return f"{cell.benchmark}, {cell.shift.label.replace('_', ' ')}, {cell.method.name}"
