"""Invented cells, as a run would store them."""

from __future__ import annotations

from typing import Any

import numpy as np

from benchmark.cell import BackboneSpec, Cell, MethodSpec, Record, ShiftSpec, Status, StreamSpec
from benchmark.report.results import CellResult

STREAM = StreamSpec(batch_size=2)


def invented(
    method: str = "rest",
    shift: str | ShiftSpec = "contrast",
    *,
    hits: Any = (1, 0),
    ranks: Any = None,
    groups: Any = None,
    order: Any = None,
    seed: int = 0,
    benchmark: str = "mini-coco-c-image",
    **facts: Any,
) -> CellResult:
    """A cell with these hits at rank one, or these ranks; without a result if ``status`` says so.

    Args:
        method: its name; ``options`` and ``preset`` may be given beside it.
        shift: it, or its name (of severity 5 or the ``severity`` given).
        hits: of each query, whether a relevant item is first; else it is the second.
        ranks: instead of the hits.
        groups: cluster of each query; by default its own.
        order: of the stream; by default that of the queries.
        seed: the run's.
        benchmark: its id.
        facts: other parts of the cell, of its record and of the record's ``info``; ``metrics``
            beside R@1.
    """
    named = ShiftSpec(shift, facts.get("severity", 5)) if isinstance(shift, str) else shift
    cell = Cell(
        suite=facts.get("suite", "mini"),
        benchmark=benchmark,
        backbone=facts.get("backbone", BackboneSpec()),
        method=MethodSpec(method, facts.get("preset", "mini"), facts.get("options", {})),
        shift=named,
        stream=facts.get("stream", STREAM),
        seed=seed,
    )
    data, weights = facts.get("data", "d1"), facts.get("weights", "w1")
    key = cell.key(data_fingerprint=data, backbone_fingerprint=weights)
    status = Status(facts.get("status", Status.DONE))
    if status != Status.DONE:
        return CellResult(Record(key, status, cell.to_dict(), facts.get("reason", "")))
    found = np.where(hits, 1, 2) if ranks is None else np.asarray(ranks)
    names = np.arange(len(found))
    sections = {name: facts.get(name, {}) for name in ("probes", "cost", "environment")}
    record = Record(
        key,
        status,
        cell.to_dict(),
        info={
            "data_fingerprint": data,
            "backbone_fingerprint": weights,
            "queries": len(found),
            **facts.get("info", {}),
        },
        metrics={"R@1": 100 * float((found == 1).mean()), **facts.get("metrics", {})},
        batches=tuple(facts.get("batches", ())),
        **sections,
    )
    groups = names if groups is None else np.asarray(groups)
    return CellResult(record, found, groups, names if order is None else order)
