"""Loggers: events of running cells in files and on tracking servers, as ``--log`` asks."""

from __future__ import annotations

import csv
import json
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Any

from benchmark.cell import Cell, Record
from benchmark.config.files import user_path
from benchmark.errors import ConfigError
from benchmark.evaluation.callbacks import CallbackList, Logger
from benchmark.evaluation.logger_servers import MLflow, TensorBoard, identity, run_name
from benchmark.store.csv_text import no_formula

COLUMNS = (
    "time",
    "event",
    "suite",
    "benchmark",
    "method",
    "preset",
    "stream",
    "shift",
    "severity",
    "seed",
    "key",
    "batch",
    "batches",
    "queries",
    "R@1",
    "status",
    "reason",
    "values",
)
"""Columns of a CSV log; a JSON line has those of them that its event knows.

``event``: "cell_started", "batch_done" or "cell_done". ``key``: known once the cell has ended.
``batch``: from 1. ``R@1``: of the batch, or of the whole cell (percent). ``values``: the other
numbers, as an object (in CSV its JSON text).
"""

Clock = Callable[[], str]


def now() -> str:
    """The time in UTC, to the millisecond, as ISO 8601."""
    return datetime.now(UTC).isoformat(timespec="milliseconds")


class _Rows:
    """Turns events into rows of ``COLUMNS``, one for each event."""

    def __init__(self, clock: Clock = now) -> None:
        self._clock = clock
        self._batch: dict[str, int] = {}

    def cell_started(self, cell: Cell, batches: int) -> None:
        """Writes the row of a cell that begins."""
        self._batch[run_name(cell.to_dict())] = 0
        self._row("cell_started", {**identity(cell.to_dict()), "batches": batches})

    def batch_done(self, cell: Cell, batch_log: Mapping[str, float]) -> None:
        """Writes the row of a batch."""
        name = run_name(cell.to_dict())
        self._batch[name] = self._batch.get(name, 0) + 1
        numbers = dict(batch_log)
        known = {"queries": int(numbers.pop("queries", 0)), "R@1": numbers.pop("R@1", None)}
        row = {"batch": self._batch[name], **known, "values": numbers}
        self._row("batch_done", {**identity(cell.to_dict()), **row})

    def cell_done(self, record: Record) -> None:
        """Writes the row of a cell that has ended, with its metrics, probes and cost."""
        batches = self._batch.pop(run_name(record.cell), None)
        numbers = {**record.metrics, **record.probes, **record.cost}
        known = {
            "key": record.key,
            "batches": batches,
            "queries": record.info.get("queries"),
            "R@1": numbers.pop("R@1", None),
            "status": record.status.value,
            "reason": record.reason,
        }
        self._row("cell_done", {**identity(record.cell), **known, "values": numbers})

    def _row(self, event: str, row: Mapping[str, Any]) -> None:
        known = {key: value for key, value in row.items() if value not in (None, "", {})}
        self.write({"time": self._clock(), "event": event, **known})

    def write(self, row: Mapping[str, Any]) -> None:
        """Takes one row; only the columns that its event knows."""
        raise NotImplementedError


class JsonLines(_Rows):
    """One JSON object a line, appended to a file; each line is there as soon as it happens.

    Args:
        path: the file; made, with its folder, where there is none.
        clock: gives the time of each row.

    Raises:
        ConfigError: the file cannot be written.
    """

    def __init__(self, path: Path, clock: Clock = now) -> None:
        super().__init__(clock)
        self._file = _opened(path)

    def write(self, row: Mapping[str, Any]) -> None:
        """Appends a row."""
        self._file.write(_text(row) + "\n")
        self._file.flush()

    def close(self) -> None:
        """Closes the file."""
        self._file.close()


class CsvLog(_Rows):
    """Rows of ``COLUMNS``, appended to a CSV file; each is there as soon as it happens.

    Args:
        path: the file; made, with its folder and a header, where there is none.
        clock: gives the time of each row.

    Raises:
        ConfigError: the file cannot be written, or holds a table with other columns.
    """

    def __init__(self, path: Path, clock: Clock = now) -> None:
        super().__init__(clock)
        self._file = _opened(path)
        self._writer = csv.DictWriter(self._file, COLUMNS, lineterminator="\n")
        if self._file.tell() == 0:
            self._writer.writeheader()
            self._file.flush()
        elif _header(path) != list(COLUMNS):
            self._file.close()
            raise ConfigError(
                f"cannot log to {path}: it holds another table; expected the columns "
                f"{', '.join(COLUMNS)}, or a new file"
            )

    def write(self, row: Mapping[str, Any]) -> None:
        """Appends a row."""
        values = {"values": _text(row["values"])} if "values" in row else {}
        self._writer.writerow({name: no_formula(v) for name, v in {**row, **values}.items()})
        self._file.flush()

    def close(self) -> None:
        """Closes the file."""
        self._file.close()


def open_logger(name: str) -> Logger:
    """The logger that a word of ``--log`` means.

    Args:
        name: a file that ends in ``.jsonl`` or ``.csv``; ``tensorboard:FOLDER``; ``mlflow`` or
            ``mlflow:ADDRESS``.

    Raises:
        ConfigError: none of these, a file that cannot be written, a package that is missing.
    """
    kind, _, rest = name.partition(":")
    if kind == "tensorboard" and rest:
        return TensorBoard(user_path(rest))
    if kind == "mlflow":
        try:
            return MLflow(rest)
        except ConfigError:
            raise
        except Exception as error:  # a server that does not answer, an address that is none
            raise ConfigError(f"cannot log to {name!r}: {type(error).__name__}: {error}") from error
    suffix = Path(name).suffix.lower()
    if suffix == ".jsonl":
        return JsonLines(user_path(name))
    if suffix == ".csv":
        return CsvLog(user_path(name))
    raise ConfigError(
        f"cannot log to {name!r}; expected a file ending in .jsonl or .csv, tensorboard:FOLDER, "
        "mlflow or mlflow:ADDRESS"
    )


@contextmanager
def opened(names: Sequence[str]) -> Iterator[CallbackList]:
    """The loggers of these names, which are closed at the end.

    Raises:
        ConfigError: see ``open_logger``.
    """
    loggers: dict[str, Logger] = {}
    try:
        for name in names:
            loggers[name] = open_logger(name)
    except ConfigError:
        CallbackList(loggers).close()
        raise
    callbacks = CallbackList(loggers)
    try:
        yield callbacks
    finally:
        callbacks.close()


def _text(row: Mapping[str, Any]) -> str:
    """JSON on one line; numbers that JSON does not have (NaN, infinity) become null."""
    return json.dumps(_finite(row), ensure_ascii=False, allow_nan=False)


def _finite(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _finite(inner) for key, inner in value.items()}
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _opened(path: Path) -> IO[str]:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        return path.open("a", encoding="utf-8", newline="")
    except OSError as error:
        raise ConfigError(
            f"cannot log to {path}: {error.strerror or error}; name a file that can be written"
        ) from error


def _header(path: Path) -> list[str]:
    try:
        with path.open(encoding="utf-8", newline="") as file:
            return next(csv.reader(file), [])
    except (UnicodeDecodeError, csv.Error):
        return []
