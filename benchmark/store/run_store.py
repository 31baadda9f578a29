"""Finished cells on disk: one atomic JSON file each, its numbers per query beside it."""

from __future__ import annotations

import fcntl
import json
import logging
import math
import os
import time
from collections.abc import Collection, Container, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from benchmark.cell import SCHEMA_VERSION, STREAM_OPTIONS, Cell, Record, Status
from benchmark.config.atomic import atomic_write
from benchmark.config.presets import tuned
from benchmark.errors import ResultsError
from benchmark.store.csv_text import no_formulas
from benchmark.store.records import (
    OtherSchemaError,
    StoredCell,
    cell_from_dict,
    packed,
    read_cell,
    text_of,
)

logger = logging.getLogger(__name__)

TIDY_COLUMNS = (
    "key",
    "suite",
    "benchmark",
    "task",
    "query_modality",
    "backbone",
    "weights",
    "pretrained",
    "transform",
    "method",
    "preset",
    "tuned",
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
"""Columns of the tidy table. ``weights`` is the backbone's fingerprint, ``pretrained`` their tag or
the name of their file, ``tuned`` which options were tuned and on what, ``variant`` the shift's
options as JSON (for a stream of several domains a list, one entry per domain)."""

_GROUPS = {"metric": "metrics", "probe": "probes", "cost": "cost"}
_LOCK_SECONDS = 30.0


class RunStore:
    """A folder of records: ``cells/<stem>.json`` and, for finished cells, ``cells/<stem>.npz``.

    Each file appears whole or not at all. The JSON file is the commit point: it is written last,
    with the digest of its arrays. What was saved is believed only as a whole (see ``records``).
    Several processes may write to one folder.

    Args:
        path: the run's folder; created when something is saved.
    """

    def __init__(self, path: Path | str) -> None:
        self.path = Path(path)
        self.cells = self.path / "cells"
        self._said: set[str] = set()

    def check_writable(self) -> None:
        """Creates the folder and tries to write into it, so that a long run does not fail late.

        What killed runs have left of files under way is removed.

        Raises:
            ResultsError: it cannot be written.
        """
        try:
            self.cells.mkdir(parents=True, exist_ok=True)
            with _alone(self.path / ".lock") as alone:
                atomic_write(self.cells / ".probe", b"")
                (self.cells / ".probe").unlink()
                for left in self.cells.glob(".*.tmp") if alone else ():
                    left.unlink(missing_ok=True)
        except OSError as error:
            raise _cannot_write(self.cells, error) from error

    def save(self, record: Record, arrays: Mapping[str, np.ndarray] | None = None) -> None:
        """Stores a record, replacing what was stored for the same cell.

        A cell has one record. What has no result is stored under the cell's ``unfinished_key`` and
        goes when a result comes. Only a finished result replaces a finished result: two runs on
        one folder may do the same cell, and one of them may be stopped, be killed or run out of
        memory.

        Args:
            record: of any status; its key is that of the result that it is or would have been.
            arrays: numbers per query; left out for cells without a result.

        Raises:
            ResultsError: the folder cannot be written or the disk is full.
        """
        cell, filed = cell_from_dict(record.cell), as_filed(record)
        numbers = packed(arrays) if arrays else b""
        text = text_of(filed, numbers).encode()
        path = self.cells / f"{cell.stem(filed.key)}.json"
        try:
            self.cells.mkdir(parents=True, exist_ok=True)
            with _alone(self.path / ".lock"):
                if record.status is Status.DONE:
                    # Before the result is there: whenever this is cut short, nothing stands twice.
                    self._unfinished(cell).unlink(missing_ok=True)
                elif self.done(record.key):
                    return
                if numbers:
                    atomic_write(path.with_suffix(".npz"), numbers)
                atomic_write(path, text)
        except OSError as error:
            raise _cannot_write(self.cells, error) from error

    def drop_unfinished(self, cells: Iterable[Cell]) -> None:
        """Removes what is stored of earlier attempts at cells that have a result."""
        try:
            names = {entry.name for entry in os.scandir(self.cells)}
            for cell in cells:
                path = self._unfinished(cell)
                if path.name in names:
                    path.unlink(missing_ok=True)
        except OSError as error:
            raise _cannot_write(self.cells, error) from error

    def _unfinished(self, cell: Cell) -> Path:
        return self.cells / f"{cell.stem(cell.unfinished_key)}.json"

    def done(self, key: str) -> bool:
        """Whether the cell has a finished result that agrees with itself."""
        return key in self.finished({key})

    def finished(self, keys: Collection[str]) -> dict[str, Record]:
        """The finished, good results among these cells, in one pass over the folder."""
        names = [name for name in self._records() if name[:-5].rpartition("_")[2] in keys]
        cells, problems = self._read(names)
        self._say(problems)
        return {
            cell.record.key: cell.record for cell in cells if cell.done and cell.record.key in keys
        }

    def load(self, key: str) -> Record:
        """The stored record of a cell.

        Raises:
            ResultsError: there is none, or it does not agree with itself.
        """
        return self._one(key).record

    def arrays(self, key: str) -> Mapping[str, np.ndarray]:
        """The numbers per query of a finished cell (see ``runner.Arrays``).

        Raises:
            ResultsError: there is no such cell, or it does not agree with itself.
        """
        return self._one(key).arrays

    def _one(self, key: str) -> StoredCell:
        names = [name for name in self._records() if name.endswith(f"_{key}.json")]
        cells, problems = self._read(names)
        for cell in cells:
            return cell
        raise ResultsError("; ".join(problems) or f"no record of cell {key} in {self.cells}")

    def read(self, most: int | None = None) -> tuple[list[StoredCell], list[str]]:
        """Every good cell by file name, and what is wrong with the other files, a line each.

        This is what reports, merges, checks and estimates go by.

        Args:
            most: read so many records at most.
        """
        names = self._records()
        cells, problems = self._read(names[:most])
        return cells, problems + self._foreign(set(names))

    def stored(self) -> list[StoredCell]:
        """The good cells of ``read``; the other files are warned of."""
        cells, problems = self.read()
        self._say(problems)
        return cells

    def records(self) -> list[Record]:
        """The records of all good cells, by file name; other files are warned of."""
        return [cell.record for cell in self.stored()]

    def _listed(self) -> list[str]:
        try:
            return sorted(entry.name for entry in os.scandir(self.cells))
        except (FileNotFoundError, NotADirectoryError):
            return []
        except OSError as error:
            reason = error.strerror or type(error).__name__
            raise ResultsError(f"cannot read {self.cells}: {reason}; check its rights") from error

    def _records(self) -> list[str]:
        return [n for n in self._listed() if n.endswith(".json") and not n.startswith(".")]

    def _read(self, names: Iterable[str]) -> tuple[list[StoredCell], list[str]]:
        cells: list[StoredCell] = []
        problems: list[str] = []
        others: dict[int, list[str]] = {}
        for name in names:
            try:
                cells.append(read_cell(self.cells / name))
            except OtherSchemaError as error:
                others.setdefault(error.schema, []).append(name)
            except ResultsError as error:
                problems.append(str(error))
        problems += [
            f"{self.cells}: {len(found)} of the records have schema {schema} and are left out "
            f"({found[0]}); this version reads {SCHEMA_VERSION} and runs such cells again"
            for schema, found in others.items()
        ]
        return cells, problems

    def _foreign(self, records: Container[str]) -> list[str]:
        """What lies among the records and is neither one nor the numbers of one."""
        return [
            f"{self.cells / name} is no record and belongs to none; it is left out"
            for name in self._listed()
            if not name.startswith(".")
            and name not in records
            and not (name.endswith(".npz") and f"{name[:-4]}.json" in records)
        ]

    def _say(self, problems: Iterable[str]) -> None:
        """Warns of each problem once, however often the folder is read."""
        for problem in problems:
            if problem not in self._said:
                self._said.add(problem)
                logger.warning("%s", problem)

    def tidy(self, records: Iterable[Record] | None = None) -> pd.DataFrame:
        """One row per cell and number, in a fixed order: a pure function of the folder.

        A cell without a result has one row, ``R@1`` without a value, so that it is not overlooked.

        Args:
            records: those of the folder, where the caller has read them.
        """
        found = self.records() if records is None else records
        rows = [row for record in found for row in _rows(record)]
        return pd.DataFrame(rows, columns=list(TIDY_COLUMNS))

    def write_tidy(
        self, path: Path | str | None = None, records: Iterable[Record] | None = None
    ) -> Path:
        """Writes the tidy table as CSV at full precision; the same records give the same bytes.

        Args:
            path: where to, instead of ``tidy.csv`` in the run's folder.
            records: those of the folder, where the caller has read them.

        Raises:
            ResultsError: it cannot be written.
        """
        target = self.path / "tidy.csv" if path is None else Path(path)
        text = no_formulas(self.tidy(records)).to_csv(index=False, lineterminator="\n")
        try:
            return atomic_write(target, text.encode())
        except OSError as error:
            raise _cannot_write(target, error) from error


def as_filed(record: Record) -> Record:
    """The record with the key under which it is stored: without a result that of its cell alone."""
    if record.status is Status.DONE:
        return record
    return replace(record, key=cell_from_dict(record.cell).unfinished_key)


@contextmanager
def _alone(path: Path) -> Iterator[bool]:
    """Holds a lock file, which the system gives back when its holder dies.

    A record and its numbers are two files; one run at a time may replace them. Where files cannot
    be locked, or somebody holds the lock for long, it goes on without (and says False): each file
    alone is whole.
    """
    alone = False
    with path.open("ab") as file:
        patient_until = time.monotonic() + _LOCK_SECONDS
        while True:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                alone = True
                break
            except BlockingIOError:
                if time.monotonic() > patient_until:
                    break
                time.sleep(0.01)
            except OSError:
                break
        yield alone


def _cannot_write(path: Path, error: OSError) -> ResultsError:
    reason = error.strerror or type(error).__name__
    return ResultsError(
        f"cannot write results to {path}: {reason}; free space or choose another folder"
    )


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
        "pretrained": os.path.basename(cell.backbone.pretrained),
        "transform": cell.backbone.transform,
        "method": cell.method.name,
        "preset": cell.method.preset,
        "tuned": tuned(cell.method.options, cell.method.origins),
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
