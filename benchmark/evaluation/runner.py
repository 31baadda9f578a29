"""Runs one cell: contains what it raises, puts back what it changes, gives its record."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from types import FrameType
from typing import Any

from benchmark.backbones.precision import matmul_precision
from benchmark.cell import CLEAN, Cell, Record, Status, unfinished
from benchmark.data.card import SEPARATOR
from benchmark.errors import DataError, reason_of
from benchmark.evaluation.callbacks import Callback, CallbackList
from benchmark.evaluation.cell_run import Arrays, CellRun
from benchmark.evaluation.environment import environment
from benchmark.evaluation.isolation import Isolation
from benchmark.evaluation.resources import Resources
from benchmark.evaluation.workers import frames_of
from benchmark.registry import BACKBONES, BENCHMARKS, BUILTIN, METHODS, SHIFTS, Registry
from methods.base import NotApplicable


def run_cell(
    cell: Cell, resources: Resources, *, progress: Callback | None = None
) -> tuple[Record, Arrays]:
    """Runs one cell.

    Whatever goes wrong in the cell becomes a record with status "failed" and the reason (for
    errors that are not the user's the last frames too, in ``info["frames"]``), so that a grid goes
    on; ``sys.exit`` too. Only the user's Ctrl-C passes through. What the cell did to this process
    is put back (see ``isolation``).

    Args:
        cell: what to run.
        resources: data, weights and caches; kept for the next cell.
        progress: told of the start and of every batch.

    Returns:
        The record and, where the cell is done, its numbers per query (else an empty dict).

    Raises:
        KeyboardInterrupt: the user pressed Ctrl-C, whatever the cell made of it.
    """
    with _noticed() as pressed:
        before = Isolation(foreign=_foreign(cell))
        resources.disk.written.clear()  # from now on it is the cell's own
        try:
            record, arrays = _contained(cell, resources, progress, pressed)
        finally:
            broken, tainted = before.restore()
            if tainted:
                resources.forget()
        if pressed():
            raise KeyboardInterrupt
    if broken and record.status is not Status.SKIPPED:
        reason = (
            f"MethodError: the code of this cell (method {cell.method.name!r}) replaced "
            f"{', '.join(broken[:5])}, which all cells share; they were put back, and the cell "
            "does not count"
        )
        info = {name: value for name, value in record.info.items() if name != "embed_dim"}
        failed = unfinished(cell, record.key, Status.FAILED, reason)
        return replace(failed, info=info, environment=environment(cell.backbone.device)), {}
    return record, arrays


def _foreign(cell: Cell) -> bool:
    """Whether the cell names anything that this package does not ship."""
    named: list[tuple[Registry, str]] = [
        (METHODS, cell.method.name),
        (BACKBONES, cell.backbone.loader),
        *((BENCHMARKS, name) for name in cell.benchmark.split(SEPARATOR)),
        *((SHIFTS, domain.name) for domain in cell.domains),
    ]
    return any(name not in found or found.origin(name) != BUILTIN for found, name in named)


def _contained(
    cell: Cell, resources: Resources, progress: Callback | None, pressed: Callable[[], bool]
) -> tuple[Record, Arrays]:
    """The cell's record and arrays, whatever is raised in it."""
    key = ""
    info: dict[str, Any] = {}
    facts: dict[str, Any] = {}
    try:
        facts = environment(cell.backbone.device)
        key = resources.key(cell)
        info = _info(cell, resources)
        reason = _cannot_run(cell, resources)
        if not reason:
            with matmul_precision(cell.backbone):
                done = CellRun(cell, resources, progress or CallbackList()).record(key, info, facts)
            if resources.shift_files(cell) != info.get("shift_files", ""):
                raise DataError(
                    "the files that the shift works with have changed while the cell ran, so its "
                    "result would belong to neither state; run again once nothing writes to them"
                )
            return done
        record = unfinished(cell, key, Status.SKIPPED, reason)
    except BaseException as error:
        if pressed():
            raise KeyboardInterrupt from None
        if isinstance(error, NotApplicable):
            record = unfinished(cell, key, Status.SKIPPED, str(error))
        else:
            record = unfinished(cell, key, Status.FAILED, reason_of(error))
            info |= frames_of(error)
    return replace(record, info=info, environment=facts), {}


def _info(cell: Cell, resources: Resources) -> dict[str, Any]:
    data, backbone = resources.data(cell), resources.backbone(cell)
    files = resources.shift_files(cell)
    homes = resources.homes
    home, homeless, training = homes.of(cell), homes.why_missing(cell), homes.training(cell)
    home_print, train_print = homes.fingerprints(cell)
    found = {
        "shift_files": files or None,
        "home": "" if home is None else resources.data(home).name,
        "home_queries": None if home is None else len(resources.queries(home)),
        "home_fingerprint": home_print or None,
        "homeless": homeless or None,
        "train_queries": None if training is None else len(resources.queries(training)),
        "train_fingerprint": train_print or None,
        "ready_made": any(spec.ready_made for spec in cell.domains) or None,
        "unlabelled": not data.labelled or None,
        "data": dict(data.info),
        "data_fingerprint": data.fingerprint,
        "backbone_fingerprint": backbone.fingerprint,
        "backbone_name": backbone.name,
        "weights_taken": getattr(backbone, "taken", "") or None,
        "queries": len(resources.queries(cell)),
        "gallery": len(data.gallery),
        "headline": list(data.headline),
        "query_modality": data.query_modality,
        "task": f"{data.query_modality}-to-{data.gallery_modality}",
    }
    return {name: value for name, value in found.items() if value is not None}


def _cannot_run(cell: Cell, resources: Resources) -> str:
    """Why the cell makes no sense, or an empty string."""
    given = resources.data(cell).query_modality
    for domain in cell.domains:
        if domain.name == CLEAN or domain.ready_made:
            continue
        needed = resources.make_shift(domain).card.modality
        if needed not in ("any", given):
            return (
                f"shift {domain.name!r} works on {needed} queries; "
                f"{cell.benchmark!r} has {given} ones"
            )
    return ""


@contextmanager
def _noticed() -> Iterator[Callable[[], bool]]:
    """Gives a function that says whether the user has pressed Ctrl-C within the block.

    Only the main thread gets signals; elsewhere, and where they are ignored, it says no.
    """
    pressed = False
    before = signal.getsignal(signal.SIGINT)

    def note(number: int, frame: FrameType | None) -> None:
        nonlocal pressed
        pressed = True
        if callable(before):
            before(number, frame)

    main = threading.current_thread() is threading.main_thread()
    if not main or not callable(before):
        yield lambda: pressed
        return
    signal.signal(signal.SIGINT, note)
    try:
        yield lambda: pressed
    finally:
        signal.signal(signal.SIGINT, before)
