"""Finished cells on disk: one atomic JSON file each, its numbers per query beside it."""

from __future__ import annotations

import errno
import fcntl
import hashlib
import json
import logging
import os
import sys
import time
from collections.abc import Collection, Container, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from benchmark.cell import SCHEMA_VERSION, Cell, Record, Status
from benchmark.config.files import atomic_write
from benchmark.errors import ResultsError
from benchmark.store.records import (
    OtherSchemaError,
    StoredCell,
    cell_from_dict,
    packed,
    read_cell,
    text_of,
)

logger = logging.getLogger(__name__)

NAMED = 8
"""Problems of a folder that are spelled out; the rest are counted."""

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
        with self._writing(), _alone(self.path / ".lock") as alone:
            atomic_write(self.cells / ".probe", b"")
            (self.cells / ".probe").unlink()
            for left in self.cells.glob(".*.tmp") if alone else ():
                left.unlink(missing_ok=True)

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
        with self._writing(), _alone(self.path / ".lock"):
            if record.status is Status.DONE:
                # Before the result is there: whenever this is cut short, nothing stands twice.
                self._unfinished(cell).unlink(missing_ok=True)
            elif self._has_result(cell, record.key):
                return
            if numbers:
                atomic_write(path.with_suffix(".npz"), numbers)
            atomic_write(path, text)

    def drop_unfinished(self, finished: Mapping[str, Cell]) -> None:
        """Removes what is stored of earlier attempts at cells that have a result, given by key."""
        with self._writing():
            names = {name for name in os.listdir(self.cells) if name.endswith(".json")}
            names -= {f"{cell.stem(key)}.json" for key, cell in finished.items()}
            for cell in finished.values() if names else ():
                path = self._unfinished(cell)
                if path.name in names:
                    path.unlink(missing_ok=True)

    @contextmanager
    def _writing(self) -> Iterator[None]:
        """Makes the folder and turns what goes wrong into an error that says so."""
        try:
            self.cells.mkdir(parents=True, exist_ok=True)
            yield
        except OSError as error:
            reason = error.strerror or type(error).__name__
            full = error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
            more = "free space and give the same command again, which goes on, or " if full else ""
            raise ResultsError(
                f"cannot write results to {self.cells}: {reason}; {more}choose another folder"
            ) from error

    def _unfinished(self, cell: Cell) -> Path:
        return self.cells / f"{cell.stem(cell.unfinished_key)}.json"

    def _has_result(self, cell: Cell, key: str) -> bool:
        """Whether a cell is finished, by its file's name: a large folder need not be listed."""
        name = f"{cell.stem(key)}.json"
        return (self.cells / name).exists() and any(one.done for one in self._each([name]))

    def finished(self, keys: Collection[str]) -> dict[str, Record]:
        """The finished, good results among these cells, in one pass over the folder."""
        names = [name for name in self._records() if name[:-5].rpartition("_")[2] in keys]
        shared = Shared()
        done = (cell.record for cell in self._each(names) if cell.done)
        return {record.key: shared.record(record) for record in done}

    def read(self, most: int | None = None) -> tuple[list[StoredCell], list[str]]:
        """Every good cell by file name, and what is wrong with the other files, a line each.

        This is what reports, merges, checks and estimates go by.

        Args:
            most: read so many records at most.
        """
        names, problems = self._records(), list[str]()
        cells = list(self._good(names[:most], problems))
        return cells, problems + self._foreign(set(names))

    def stored(self) -> Iterator[StoredCell]:
        """The good cells of ``read``, one at a time; at the end the other files are warned of."""
        names = self._records()
        yield from self._each(names)
        self._say(self._foreign(set(names)))

    def records(self) -> list[Record]:
        """The records of all good cells, by file name; other files are warned of."""
        shared = Shared()
        return [shared.record(cell.record) for cell in self.stored()]

    def _listed(self) -> list[str]:
        try:
            return sorted(os.listdir(self.cells))
        except (FileNotFoundError, NotADirectoryError):
            return []
        except OSError as error:
            reason = error.strerror or type(error).__name__
            raise ResultsError(f"cannot read {self.cells}: {reason}; check its rights") from error

    def _records(self) -> list[str]:
        return [n for n in self._listed() if n.endswith(".json") and not n.startswith(".")]

    def _each(self, names: Iterable[str]) -> Iterator[StoredCell]:
        """The good ones of these cells, one at a time; what is wrong is warned of at the end."""
        problems: list[str] = []
        yield from self._good(names, problems)
        self._say(problems)

    def _good(self, names: Iterable[str], problems: list[str]) -> Iterator[StoredCell]:
        """The good ones of these cells; once all are read, ``problems`` has the others."""
        others: dict[int, list[str]] = {}
        for name in names:
            try:
                yield read_cell(self.cells / name)
            except OtherSchemaError as error:
                others.setdefault(error.schema, []).append(name)
            except ResultsError as error:
                problems.append(str(error))
        problems += [
            f"{self.cells}: {len(found)} of the records have schema {schema} and are left out "
            f"({found[0]}); this version reads {SCHEMA_VERSION} and runs such cells again"
            for schema, found in others.items()
        ]

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
        """Warns of each problem once, however often the folder is read; many are counted."""
        new = [problem for problem in problems if problem not in self._said]
        self._said.update(new)
        for problem in new[:NAMED]:
            logger.warning("%s", problem)
        if len(new) > NAMED:
            logger.warning("and %d more such files; queryshift verify names all", len(new) - NAMED)


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
    alone, patient_until = False, time.monotonic() + _LOCK_SECONDS
    with path.open("a+b", buffering=0) as file:  # a pipe would wait for a reader, but for "+"
        while not alone and time.monotonic() <= patient_until:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                alone = True
            except BlockingIOError:
                time.sleep(0.01)
            except OSError:
                break
        yield alone


class Shared:
    """Makes records and arrays share what is equal among them; nobody may write into it."""

    def __init__(self) -> None:
        self._parts: dict[str, Any] = {}
        self._arrays: dict[tuple[str, bytes], np.ndarray] = {}

    def record(self, record: Record) -> Record:
        """The record, equal to the given one, in less memory."""
        names = ("cell", "environment", "metrics", "probes", "cost")
        parts: dict[str, Any] = {name: self._each(getattr(record, name)) for name in names}
        parts["batches"] = tuple(map(self._each, record.batches))
        return replace(record, info=self._part(record.info), **parts)

    def array(self, array: np.ndarray) -> np.ndarray:
        """An array with the same content, the first one that had it."""
        content = hashlib.sha256(array.tobytes()).digest()
        return self._arrays.setdefault((array.dtype.str, content), array)

    def _each(self, values: Mapping[str, Any]) -> dict[str, Any]:
        return {sys.intern(name): self._part(value) for name, value in values.items()}

    def _part(self, value: Any) -> Any:
        if isinstance(value, str):
            return sys.intern(value)
        if not isinstance(value, Mapping):
            return value
        # In the order in which it is stored, which the page shows.
        return self._parts.setdefault(json.dumps(value, default=str), value)
