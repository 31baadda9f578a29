"""Finished cells on disk: one atomic JSON file each, its numbers per query beside it."""

from __future__ import annotations

import fcntl
import io
import json
import logging
import math
import os
import secrets
import time
import zipfile
from collections.abc import Callable, Collection, Container, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import fields
from pathlib import Path
from typing import IO, Any

import numpy as np
import pandas as pd

from benchmark.cell import (
    SCHEMA_VERSION,
    STREAM_OPTIONS,
    BackboneSpec,
    Cell,
    MethodSpec,
    Record,
    ShiftSpec,
    Status,
    StreamSpec,
)
from benchmark.errors import ResultsError

logger = logging.getLogger(__name__)

TIDY_COLUMNS = (
    "key",
    "suite",
    "benchmark",
    "task",
    "query_modality",
    "backbone",
    "weights",
    "method",
    "preset",
    "shift",
    "severity",
    "variant",
    "stream",
    "batch_size",
    "stream_options",
    "domains",
    "seed",
    "queries",
    "gallery",
    "status",
    "group",
    "name",
    "value",
)
"""Columns of the tidy table. ``weights`` is the backbone's fingerprint, ``variant`` the shift's
options as JSON (for a stream of several domains a list, one entry per domain)."""

_GROUPS = {"metric": "metrics", "probe": "probes", "cost": "cost"}
_MEASURED = ("metrics", "probes", "cost")
_LOCK_SECONDS = 30.0


def cell_from_dict(values: Mapping[str, Any]) -> Cell:
    """The inverse of ``Cell.to_dict``.

    Raises:
        TypeError: names that a cell does not have.
        KeyError: a part is missing.
    """
    parts = {
        "backbone": BackboneSpec(**values["backbone"]),
        "method": MethodSpec(**values["method"]),
        "shift": ShiftSpec(**values["shift"]),
        "stream": StreamSpec.from_dict(values["stream"]),
    }
    return Cell(**{**values, **parts})


class RunStore:
    """A folder of records: ``cells/<stem>.json`` and, for finished cells, ``cells/<stem>.npz``.

    Each file appears whole or not at all. The JSON file is the commit point: it is written last,
    so a record that can be read has its arrays. Several processes may write to one folder.

    Args:
        path: the run's folder; created when something is saved.
    """

    def __init__(self, path: Path | str) -> None:
        self.path = Path(path)
        self.cells = self.path / "cells"

    def check_writable(self) -> None:
        """Creates the folder and tries to write into it, so that a long run does not fail late.

        Raises:
            ResultsError: it cannot be written.
        """
        probe = self.cells / f".probe-{secrets.token_hex(4)}.tmp"
        try:
            self.cells.mkdir(parents=True, exist_ok=True)
            probe.write_bytes(b"")
            probe.unlink()
        except OSError as error:
            raise _cannot_write(self.cells, error) from error

    def save(self, record: Record, arrays: Mapping[str, np.ndarray] | None = None) -> None:
        """Stores a record, replacing what was stored for the same cell.

        Only a finished result replaces a finished result: two runs on one folder may do the same
        cell, and one of them may be stopped, be killed or run out of memory.

        Args:
            record: of any status.
            arrays: numbers per query; left out for cells without a result.

        Raises:
            ResultsError: the folder cannot be written or the disk is full.
        """
        stem = cell_from_dict(record.cell).stem(record.key)
        numbers = self.cells / f"{stem}.npz"
        text = json.dumps(_plain(record), indent=1, allow_nan=False) + "\n"
        try:
            self.cells.mkdir(parents=True, exist_ok=True)
            with _alone(self.path / ".lock"):
                if record.status != Status.DONE and self.done(record.key):
                    return
                if arrays:
                    _write(numbers, lambda file: _savez(file, arrays))
                _write(self.cells / f"{stem}.json", lambda file: file.write(text.encode()))
                if not arrays:
                    numbers.unlink(missing_ok=True)
        except OSError as error:
            raise _cannot_write(self.cells, error) from error

    def done(self, key: str) -> bool:
        """Whether the cell has a finished, readable result."""
        return any(
            record.status == Status.DONE and zipfile.is_zipfile(path.with_suffix(".npz"))
            for path, record in self._read(f"*_{key}.json")
        )

    def finished(self, keys: Collection[str]) -> dict[str, Record]:
        """The finished, readable results among these cells, in one pass over the folder."""
        if not keys:
            return {}
        return {
            record.key: record
            for path, record in self._read("*.json", set(keys))
            if record.status == Status.DONE and zipfile.is_zipfile(path.with_suffix(".npz"))
        }

    def load(self, key: str) -> Record:
        """The stored record of a cell.

        Raises:
            ResultsError: there is none.
        """
        for _, record in self._read(f"*_{key}.json"):
            return record
        raise ResultsError(f"no record of cell {key} in {self.cells}")

    def arrays(self, key: str) -> dict[str, np.ndarray]:
        """The numbers per query of a finished cell (see ``runner.Arrays``).

        Raises:
            ResultsError: they are missing or damaged.
        """
        for path in sorted(self.cells.glob(f"*_{key}.npz")):
            return _read_arrays(path)
        raise ResultsError(f"no numbers per query of cell {key} in {self.cells}")

    def arrays_of(self, record: Record) -> dict[str, np.ndarray]:
        """As ``arrays``; finds the file by the record, without a search through the folder.

        Raises:
            ResultsError: they are missing or damaged.
        """
        path = self.cells / f"{cell_from_dict(record.cell).stem(record.key)}.npz"
        return _read_arrays(path) if path.exists() else self.arrays(record.key)

    def records(self) -> list[Record]:
        """All readable records, by file name; others are warned of by name and left out."""
        return [record for _, record in self._read("*.json")]

    def tidy(self) -> pd.DataFrame:
        """One row per cell and number, in a fixed order: a pure function of the folder.

        A cell without a result has one row, ``R@1`` without a value, so that it is not overlooked.
        """
        rows = [row for record in self.records() for row in _rows(record)]
        return pd.DataFrame(rows, columns=list(TIDY_COLUMNS))

    def write_tidy(self, path: Path | str | None = None) -> Path:
        """Writes the tidy table as CSV at full precision; the same records give the same bytes.

        Args:
            path: where to, instead of ``tidy.csv`` in the run's folder.

        Raises:
            ResultsError: it cannot be written.
        """
        target = self.path / "tidy.csv" if path is None else Path(path)
        text = self.tidy().to_csv(index=False, lineterminator="\n")
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            _write(target, lambda file: file.write(text.encode()))
        except OSError as error:
            raise _cannot_write(target, error) from error
        return target

    def _read(
        self, pattern: str, keys: Container[str] | None = None
    ) -> Iterator[tuple[Path, Record]]:
        for path in sorted(self.cells.glob(pattern)):
            if path.name.startswith("."):
                continue
            if keys is not None and path.stem.rpartition("_")[2] not in keys:
                continue
            try:
                record = _record_in(path)
            except _UNREADABLE as error:
                reason = " ".join(str(error).split())
                logger.warning("%s is no readable record and is ignored: %s", path, reason)
                continue
            yield path, record


def read_record(path: Path) -> Record:
    """The record that a file holds.

    Raises:
        ResultsError: none that this version can read, or that of another cell than the name says.
    """
    try:
        return _record_in(path)
    except _UNREADABLE as error:
        reason = " ".join(str(error).split())
        raise ResultsError(f"{path} is no readable record: {reason}") from error


_UNREADABLE = (OSError, ValueError, TypeError, KeyError, AttributeError, RecursionError)


def _record_in(path: Path) -> Record:
    record = _parse(path.read_text(encoding="utf-8"))
    if not path.stem.endswith(f"_{record.key}"):
        raise ValueError(f"it holds the record of another cell ({record.key})")
    return record


def _read_arrays(path: Path) -> dict[str, np.ndarray]:
    try:
        # Opened here: numpy leaves the file open when it turns out to be damaged.
        with path.open("rb") as file, np.load(file, allow_pickle=False) as stored:
            return {name: stored[name] for name in stored.files}
    except (OSError, ValueError, zipfile.BadZipFile) as error:
        raise ResultsError(
            f"{path} is damaged ({error}); delete it to run its cell again"
        ) from error


def _savez(file: IO[bytes], arrays: Mapping[str, np.ndarray]) -> None:
    # Made in memory first: on a full disk zipfile fails a second time while it closes the file.
    buffer = io.BytesIO()
    np.savez_compressed(buffer, allow_pickle=False, **arrays)
    file.write(buffer.getbuffer())


@contextmanager
def _alone(path: Path) -> Iterator[None]:
    """Holds a lock file, which the system gives back when its holder dies.

    A record and its numbers are two files; one run at a time may replace them. Where files cannot
    be locked, or somebody holds the lock for long, it goes on without: each file alone is whole.
    """
    with path.open("ab") as file:
        patient_until = time.monotonic() + _LOCK_SECONDS
        while True:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > patient_until:
                    break
                time.sleep(0.01)
            except OSError:
                break
        yield


def _write(path: Path, write: Callable[[IO[bytes]], object]) -> None:
    """Writes to a temporary name in the same folder and renames: all of the file or nothing."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}-{secrets.token_hex(4)}.tmp")
    try:
        with temporary.open("xb") as file:
            write(file)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def _cannot_write(path: Path, error: OSError) -> ResultsError:
    reason = error.strerror or type(error).__name__
    return ResultsError(
        f"cannot write results to {path}: {reason}; free space or choose another folder"
    )


def _plain(record: Record) -> dict[str, Any]:
    """The record as JSON values; numbers that are not finite become null."""
    plain = {item.name: getattr(record, item.name) for item in fields(record)}
    for name in _MEASURED:
        plain[name] = _nulls(plain[name])
    plain["batches"] = [_nulls(batch) for batch in record.batches]
    return plain


def _nulls(numbers: Mapping[str, float]) -> dict[str, float | None]:
    return {name: value if math.isfinite(value) else None for name, value in numbers.items()}


def _numbers(values: Mapping[str, float | None]) -> dict[str, float]:
    return {name: math.nan if value is None else float(value) for name, value in values.items()}


def _parse(text: str) -> Record:
    values = json.loads(text)
    if not isinstance(values, dict):
        raise ValueError("it is not a JSON object")
    if values.get("schema") != SCHEMA_VERSION:
        raise ValueError(
            f"its schema is {values.get('schema')!r}; this version reads {SCHEMA_VERSION}"
        )
    for name in ("info", "environment"):
        if not isinstance(values.get(name, {}), dict):
            raise ValueError(f"its {name!r} is {values[name]!r}, not an object")
    for name in _MEASURED:
        values[name] = _numbers(values[name])
    values["batches"] = tuple(_numbers(batch) for batch in values["batches"])
    values["status"] = Status(values["status"])
    cell_from_dict(values["cell"])  # refuses what is not a cell
    return Record(**values)


def _variant(cell: Cell) -> str:
    options = [dict(domain.options) for domain in cell.domains]
    if not any(options):
        return ""
    return json.dumps(options if cell.stream.domains else options[0], sort_keys=True)


def _rows(record: Record) -> Iterator[dict[str, Any]]:
    cell, info = cell_from_dict(record.cell), record.info
    shared = {
        "key": record.key,
        "suite": cell.suite,
        "benchmark": cell.benchmark,
        "task": info.get("task", ""),
        "query_modality": info.get("query_modality", ""),
        "backbone": info.get("backbone_name", cell.backbone.model or cell.backbone.loader),
        "weights": info.get("backbone_fingerprint", ""),
        "method": cell.method.name,
        "preset": cell.method.preset,
        "shift": cell.shift.name,
        "severity": cell.shift.severity,
        "variant": _variant(cell),
        "stream": cell.stream.kind,
        "batch_size": cell.stream.batch_size,
        "stream_options": ", ".join(
            f"{name}={getattr(cell.stream, name)}"
            for name in STREAM_OPTIONS.get(cell.stream.kind, ())
        ),
        "domains": ", ".join(domain.label for domain in cell.stream.domains),
        "seed": cell.seed,
        "queries": info.get("queries", ""),
        "gallery": info.get("gallery", ""),
        "status": record.status.value,
    }
    if record.status != Status.DONE:
        yield {**shared, "group": "metric", "name": "R@1", "value": math.nan}
        return
    for group, section in _GROUPS.items():
        for name, value in getattr(record, section).items():
            yield {**shared, "group": group, "name": name, "value": value}
