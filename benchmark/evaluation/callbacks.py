"""Callbacks: what the runner tells of running cells; logs of it as ``--log`` asks.

Logs are JSON lines or TensorBoard's runs.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from itertools import count
from pathlib import Path
from typing import Any, Protocol

from pydantic_core import to_json

from benchmark.cell import Cell, Record
from benchmark.config.files import user_path
from benchmark.errors import ConfigError, import_extra, reason_of
from benchmark.store.records import cell_from_dict

logger = logging.getLogger(__name__)


class Callback(Protocol):
    """Receives the events of running cells, always in the process that asked for them.

    With several workers the events of different cells interleave.
    """

    def cell_started(self, cell: Cell, batches: int, queries: int) -> None:
        """A cell's stream begins; it has so many batches of so many queries in all."""

    def batch_done(self, cell: Cell, batch_log: Mapping[str, float]) -> None:
        """One batch is adapted on and ranked: ``queries``, ``R@1`` and the method's log."""

    def cell_done(self, record: Record) -> None:
        """A cell has ended, well or not, and its record is saved."""


class Logger(Callback, Protocol):
    """A callback that holds something open until the run ends."""

    def close(self) -> None:
        """Writes what is left and lets go of files and connections."""


class CallbackList:
    """Passes each event on to callbacks and to loggers; empty, to nobody.

    Args:
        loggers: name -> logger. They never change a run: one that raises is warned of, closed and
            told nothing more, since a full disk or a server that went away must not cost the run.
    """

    def __init__(self, loggers: Mapping[str, Logger] | None = None) -> None:
        self._callbacks: list[Callback] = []
        self.loggers = dict(loggers or {})

    def add(self, callback: Callback) -> None:
        """Adds a callback that is told before the loggers and whose errors are the program's."""
        self._callbacks.append(callback)

    def cell_started(self, cell: Cell, batches: int, queries: int) -> None:
        self._tell(lambda callback: callback.cell_started(cell, batches, queries))

    def batch_done(self, cell: Cell, batch_log: Mapping[str, float]) -> None:
        self._tell(lambda callback: callback.batch_done(cell, batch_log))

    def cell_done(self, record: Record) -> None:
        self._tell(lambda callback: callback.cell_done(record))

    def close(self) -> None:
        for name in list(self.loggers):
            self._drop(name)

    def _tell(self, event: Callable[[Callback], None]) -> None:
        for callback in self._callbacks:
            event(callback)
        for name, one in list(self.loggers.items()):
            try:
                event(one)
            except Exception as error:  # whatever a foreign library raises
                line = "the log %s is given up (%s); the run goes on without it"
                logger.warning(line, name, reason_of(error))
                self._drop(name, quiet=True)

    def _drop(self, name: str, *, quiet: bool = False) -> None:
        try:
            self.loggers.pop(name).close()
        except Exception as error:  # as above; a file on a full disk fails once more on closing
            if not quiet:
                logger.warning("the log %s may lack its end: %s", name, error)


class JsonLines:
    """A file that gets one JSON object a line for each event, as soon as it happens.

    ``time``: in UTC, ISO 8601. ``event``: "cell_started", "batch_done" or "cell_done". ``key``:
    known once the cell has ended. ``batch``: from 1. ``R@1``: of the batch, or of the whole cell
    (percent). ``values``: the other numbers. An object has what its event knows.

    Args:
        path: the file, appended to; made, with its folder, where there is none.

    Raises:
        ConfigError: the file cannot be written.
    """

    def __init__(self, path: Path) -> None:
        self._batch: dict[str, int] = {}
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._file = path.open("a", encoding="utf-8", newline="")
        except OSError as error:
            raise ConfigError(
                f"cannot log to {path}: {error.strerror or error}; name a file that can be written"
            ) from error

    def cell_started(self, cell: Cell, batches: int, queries: int) -> None:
        self._batch[_name(cell)] = 0
        self._write("cell_started", cell, {"batches": batches})

    def batch_done(self, cell: Cell, batch_log: Mapping[str, float]) -> None:
        name = _name(cell)
        self._batch[name] = self._batch.get(name, 0) + 1
        known = {"batch": self._batch[name], "queries": int(batch_log.get("queries", 0))}
        others = {name: value for name, value in batch_log.items() if name != "queries"}
        self._write("batch_done", cell, known, others)

    def cell_done(self, record: Record) -> None:
        cell = cell_from_dict(record.cell)
        known = {
            "key": record.key,
            "batches": self._batch.pop(_name(cell), None),
            "queries": record.info.get("queries"),
            "status": record.status.value,
            "reason": record.reason,
        }
        numbers = {**record.metrics, **record.probes, **record.cost}
        self._write("cell_done", cell, known, numbers)

    def close(self) -> None:
        self._file.close()

    def _write(
        self,
        event: str,
        cell: Cell,
        known: Mapping[str, Any],
        numbers: Mapping[str, float] | None = None,
    ) -> None:
        values = dict(numbers or {})
        row = {
            "suite": cell.suite,
            "benchmark": cell.benchmark,
            "method": cell.method.name,
            "preset": cell.method.preset,
            "stream": cell.stream.kind,
            "shift": cell.shift.name,
            "severity": cell.shift.severity,
            "seed": cell.seed,
            **known,
            "R@1": values.pop("R@1", None),
            "values": values,
        }
        row = {key: value for key, value in row.items() if value not in (None, "", {})}
        line = {"time": datetime.now(UTC).isoformat(timespec="milliseconds"), "event": event, **row}
        # JSON has no NaN and no infinity.
        self._file.write(to_json(line, inf_nan_mode="null").decode() + "\n")
        self._file.flush()


class TensorBoard:
    """TensorBoard: a run for each cell, a folder below the log folder.

    A run has each batch's numbers by batch, then the cell's own. Cells of several workers may
    interleave.

    Raises:
        ConfigError: the package is not installed.
    """

    def __init__(self, folder: Path) -> None:
        what = "logging to tensorboard needs the extra"
        module = import_extra("torch.utils.tensorboard", "tensorboard", what)
        self._writer, self._folder = module.SummaryWriter, folder
        self._runs: dict[str, tuple[Any, Iterator[int]]] = {}

    def cell_started(self, cell: Cell, batches: int, queries: int) -> None:
        name = _name(cell)
        self._runs[name] = self._writer(log_dir=str(self._folder / name)), count()

    def batch_done(self, cell: Cell, batch_log: Mapping[str, float]) -> None:
        run, steps = self._runs[_name(cell)]
        _add(run, "batch", batch_log, next(steps))

    def cell_done(self, record: Record) -> None:
        run, steps = self._runs.pop(_name(cell_from_dict(record.cell)), (None, count()))
        if run is None:  # skipped, or failed before its stream began
            return
        step = next(steps)
        for group in ("metrics", "probes", "cost"):
            _add(run, group, getattr(record, group), step)
        run.add_text("status", record.status.value)
        run.close()

    def close(self) -> None:
        for run, _ in self._runs.values():
            run.close()
        self._runs.clear()


def _add(run: Any, group: str, numbers: Mapping[str, float], step: int) -> None:
    for key, value in numbers.items():
        run.add_scalar(f"{group}/{key}", value, step)


def log_folder(name: str) -> str:
    """TensorBoard's folder in a word of ``--log``; "" where that is a ``.jsonl`` file.

    Raises:
        ConfigError: it is neither.
    """
    folder = name.partition(":")[2] if name.startswith("tensorboard:") else ""
    if not folder and Path(name).suffix.lower() != ".jsonl":
        raise ConfigError(
            f"cannot log to {name!r}; expected a file ending in .jsonl, or tensorboard:FOLDER"
        )
    return folder


def open_logger(name: str) -> Logger:
    """The logger that a word of ``--log`` means.

    Raises:
        ConfigError: no such place, a file that cannot be written, a package that is missing.
    """
    folder = log_folder(name)
    return TensorBoard(user_path(folder)) if folder else JsonLines(user_path(name))


@contextmanager
def opened(names: Sequence[str]) -> Iterator[CallbackList]:
    """The loggers of these names, which are closed at the end.

    Raises:
        ConfigError: see ``open_logger``.
    """
    callbacks = CallbackList()
    try:
        for name in names:
            callbacks.loggers[name] = open_logger(name)
        yield callbacks
    finally:
        callbacks.close()


def _name(cell: Cell) -> str:
    """A cell's name, of characters that are safe in a folder's; no two cells share one."""
    return cell.stem(cell.unfinished_key)
