"""Loggers: events of running cells in files and on tracking servers, as ``--log`` asks."""

from __future__ import annotations

import csv
import hashlib
import json
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Any

from benchmark.cell import Cell, Record, Status
from benchmark.config.files import user_path
from benchmark.errors import ConfigError, import_extra
from benchmark.evaluation.callbacks import CallbackList, Logger
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


class _RowFile:
    """A file that gets one row of ``COLUMNS`` for each event, as soon as it happens.

    Args:
        path: the file, appended to; made, with its folder, where there is none.
        clock: gives the time of each row.

    Raises:
        ConfigError: the file cannot be written.
    """

    def __init__(self, path: Path, clock: Clock = now) -> None:
        self._clock, self._file = clock, _opened(path)
        self._batch: dict[str, int] = {}

    def cell_started(self, cell: Cell, batches: int, queries: int) -> None:
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

    def close(self) -> None:
        """Closes the file."""
        self._file.close()


class JsonLines(_RowFile):
    """One JSON object a line."""

    def write(self, row: Mapping[str, Any]) -> None:
        """Appends a row."""
        self._file.write(_text(row) + "\n")
        self._file.flush()


class CsvLog(_RowFile):
    """A CSV file with a header; raises ConfigError for one that holds other columns."""

    def __init__(self, path: Path, clock: Clock = now) -> None:
        super().__init__(path, clock)
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


class _Tracker:
    """A run of its own for each cell: each batch's numbers by batch, then the cell's own.

    Cells of several workers may interleave.
    """

    def __init__(self) -> None:
        self._runs: dict[str, tuple[Any, int]] = {}

    def cell_started(self, cell: Cell, batches: int, queries: int) -> None:
        """Opens the cell's run."""
        name = run_name(cell.to_dict())
        self._runs[name] = self.begin(name, cell), 0

    def batch_done(self, cell: Cell, batch_log: Mapping[str, float]) -> None:
        """Adds the batch's numbers."""
        name = run_name(cell.to_dict())
        run, step = self._runs[name]
        self.add(run, "batch", batch_log, step)
        self._runs[name] = run, step + 1

    def cell_done(self, record: Record) -> None:
        """Adds the cell's numbers and ends its run."""
        run, step = self._runs.pop(run_name(record.cell), (None, 0))
        if run is None:  # skipped, or failed before its stream began
            return
        for group in ("metrics", "probes", "cost"):
            self.add(run, group, getattr(record, group), step)
        self.end(run, record.status)

    def close(self) -> None:
        """Ends the runs of cells that were stopped."""
        for run, _ in self._runs.values():
            self.end(run, None)
        self._runs.clear()

    def begin(self, name: str, cell: Cell) -> Any:
        """A new run."""
        raise NotImplementedError

    def add(self, run: Any, group: str, numbers: Mapping[str, float], step: int) -> None:
        """Adds numbers of a run: of a "batch", or of a record's group."""
        raise NotImplementedError

    def end(self, run: Any, status: Status | None) -> None:
        """Ends a run; None of a cell that was stopped."""
        raise NotImplementedError


class TensorBoard(_Tracker):
    """TensorBoard, in its log folder; a cell's run is a folder below it.

    Raises:
        ConfigError: the package is not installed.
    """

    def __init__(self, folder: Path) -> None:
        super().__init__()
        self._writer = _extra("torch.utils.tensorboard", "tensorboard").SummaryWriter
        self._folder = folder

    def begin(self, name: str, cell: Cell) -> Any:
        return self._writer(log_dir=str(self._folder / name))

    def add(self, run: Any, group: str, numbers: Mapping[str, float], step: int) -> None:
        for key, value in numbers.items():
            run.add_scalar(f"{group}/{key}", value, step)

    def end(self, run: Any, status: Status | None) -> None:
        if status is not None:
            run.add_text("status", status.value)
        run.close()


class MLflow(_Tracker):
    """MLflow, by its client; a run's parameters are the cell's settings.

    Args:
        address: tracking server or folder ("http://...", "file:..."); "" takes MLflow's own
            (MLFLOW_TRACKING_URI).

    Raises:
        ConfigError: the package is not installed.
    """

    EXPERIMENT = "queryshift"

    def __init__(self, address: str = "") -> None:
        super().__init__()
        client = _extra("mlflow.tracking", "mlflow").MlflowClient
        self._client = client(tracking_uri=address or None)
        found = self._client.get_experiment_by_name(self.EXPERIMENT)
        self._experiment = (
            found.experiment_id if found else self._client.create_experiment(self.EXPERIMENT)
        )

    def begin(self, name: str, cell: Cell) -> Any:
        run = self._client.create_run(self._experiment, run_name=name).info.run_id
        options = {f"option.{key}": value for key, value in cell.method.options.items()}
        for key, value in {**identity(cell.to_dict()), **options}.items():
            self._client.log_param(run, key, value)
        return run

    def add(self, run: Any, group: str, numbers: Mapping[str, float], step: int) -> None:
        before = "batch/" if group == "batch" else ""
        for key, value in numbers.items():  # MLflow takes no "@" in a name
            self._client.log_metric(run, f"{before}{key}".replace("@", "_at_"), value, step=step)

    def end(self, run: Any, status: Status | None) -> None:
        ended = "FINISHED" if status is Status.DONE else "FAILED"
        self._client.set_terminated(run, status="KILLED" if status is None else ended)


def identity(cell: Mapping[str, Any]) -> dict[str, Any]:
    """What tells a cell from the others of its run, from ``Cell.to_dict()``."""
    method, shift = cell["method"], cell["shift"]
    return {
        "suite": cell["suite"],
        "benchmark": cell["benchmark"],
        "method": method["name"],
        "preset": method["preset"],
        "stream": cell["stream"]["kind"],
        "shift": shift["name"],
        "severity": shift["severity"],
        "seed": cell["seed"],
    }


def run_name(cell: Mapping[str, Any]) -> str:
    """A cell's name, of characters that are safe in a folder's; no two cells share one."""
    digest = hashlib.sha256(json.dumps(cell, sort_keys=True, default=str).encode()).hexdigest()
    parts = [*(str(value) for value in identity(cell).values()), digest[:8]]
    return "_".join("".join(c if c.isalnum() or c in "-." else "-" for c in p) for p in parts)


def _extra(module: str, extra: str) -> Any:
    return import_extra(module, extra, f"logging to {extra} needs the extra")
