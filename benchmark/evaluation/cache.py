"""Caches of what need not be computed twice: in memory for the next cell, on disk for the next run.

Nothing here may change a result: an entry is used only when it is whole and its key says all that
its content depends on, and whatever goes wrong with the disk costs time and nothing else.
docs/caching.md explains all of it.

An entry is a safetensors file that is written row by row and named when it is whole. It holds one
tensor, ``rows``, and a SHA-256 checksum over header and rows. The header is filled up to 4096
bytes, so that the place of a row is known before the last one is, and rows are read and written in
place: a mapping, as the library reads slices, would count as this process's memory, and end the
process when the disk is full or the file is cut short.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import tempfile
import time
import weakref
from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterable
from contextlib import suppress
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Generic, NamedTuple, TypeVar

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from benchmark.config.files import regular

logger = logging.getLogger(__name__)

T = TypeVar("T")

DIGESTS = "digests"
"""The subfolder that ``shifts.digests`` keeps digests of files in."""

_ABANDONED_SECONDS = 3600.0
"""An unfinished file that nobody has written to for so long has lost its process."""

HEADER_BYTES = 4096
KINDS = {
    "gallery": "embeddings of galleries",
    "queries": "shifted, preprocessed queries",
    "source": "embeddings of queries under the source model",
    "changes": "how many queries a shift changes, and by how much",
}
"""What entries hold."""

SUFFIX = ".safetensors"
PARTIAL = ".part"
_UNSEALED = "0" * 64
_INTEGERS = (torch.int8, torch.int16, torch.int32, torch.int64)
_FLOATS = (torch.float16, torch.float32, torch.float64)
_NAMES = {
    torch.bool: "BOOL",
    torch.uint8: "U8",
    **{dtype: f"I{8 * dtype.itemsize}" for dtype in _INTEGERS},
    **{dtype: f"F{8 * dtype.itemsize}" for dtype in _FLOATS},
}
_DTYPES = {name: dtype for dtype, name in _NAMES.items()}


@dataclass(eq=False)
class Entry:
    """Rows in an open file; whoever has it open can read it, also when it is removed meanwhile.

    Attributes:
        fd: the file.
        path: its name now.
        target: its name once it is whole.
        shape: (rows, ...) of all rows together.
        dtype: of the numbers.
    """

    fd: int
    path: Path
    target: Path
    shape: tuple[int, ...]
    dtype: torch.dtype

    def __post_init__(self) -> None:
        self._row_bytes = prod(self.shape[1:]) * self.dtype.itemsize
        self._written = np.full(self.shape[0], self.path == self.target)
        # Also when the interpreter ends: an entry that was never finished is of no use.
        unfinished = None if self.path == self.target else self.path
        weakref.finalize(self, _close, self.fd, unfinished, os.getpid())

    @classmethod
    def open(cls, path: Path) -> Entry:
        """A finished entry; reads all of it to compare its checksum.

        Raises:
            OSError: no such file, or unreadable.
            SafetensorError, ValueError: a file that is cut short, altered, or not this entry.
        """
        with safe_open(regular(path), "np") as file:
            about, rows = file.metadata() or {}, file.get_slice("rows")
            dtype, shape = _DTYPES.get(rows.get_dtype()), tuple(rows.get_shape())
        if about.get("entry") != path.name or dtype is None or not shape:
            raise ValueError("its header is not that of the entry of this name")
        entry = cls(os.open(path, os.O_RDONLY), path, path, shape, dtype)
        checksum = about.get("sha256", "")
        header = os.pread(entry.fd, HEADER_BYTES, 0)
        if entry._digest(header.replace(checksum.encode(), _UNSEALED.encode(), 1)) != checksum:
            raise ValueError("its checksum does not fit its content")
        return entry

    def fits(self, row: Tensor) -> bool:
        return row.dtype == self.dtype and tuple(row.shape) == self.shape[1:]

    def has(self, number: int) -> bool:
        return bool(self._written[number])

    def row(self, number: int) -> Tensor | None:
        """One row, in memory of its own; None where it is not written yet, or lost."""
        return self._read(number, self.shape[1:]) if self._written[number] else None

    def rows(self) -> Tensor | None:
        return self._read(0, self.shape)

    def write(self, number: int, rows: Tensor) -> bool:
        """Writes a row, or several from this one on; with the last ones the file gets its name.

        Returns:
            Whether it has.

        Raises:
            OSError: no room, or somebody has removed the file.
        """
        raw = np.ascontiguousarray(rows.numpy()).data.cast("B")
        count = len(raw) // self._row_bytes
        place = HEADER_BYTES + number * self._row_bytes
        while raw:
            done = os.pwrite(self.fd, raw, place)
            raw, place = raw[done:], place + done
        self._written[number : number + count] = True
        if not self._written.all():
            return False
        checksum = self._digest(self._header(_UNSEALED))
        os.pwrite(self.fd, self._header(checksum), 0)
        os.replace(self.path, self.target)
        self.path = self.target
        return True

    def discard(self) -> None:
        if self.path != self.target:
            remove(self.path)

    def _read(self, number: int, shape: tuple[int, ...]) -> Tensor | None:
        # Torch's own memory: numpy aligns it otherwise, and sums may depend on that.
        found = torch.empty(shape, dtype=self.dtype)
        raw = found.numpy().data.cast("B")
        place = HEADER_BYTES + number * self._row_bytes
        while raw:
            done = 0
            with suppress(OSError):  # such as on NFS, when another machine has evicted the file
                done = os.preadv(self.fd, [raw], place)
            if not done:
                return None
            raw, place = raw[done:], place + done
        return found

    def _header(self, checksum: str) -> bytes:
        """As https://github.com/huggingface/safetensors#format describes it."""
        values = {
            "__metadata__": {"entry": self.target.name, "sha256": checksum},
            "rows": {
                "dtype": _NAMES[self.dtype],
                "shape": self.shape,
                "data_offsets": (0, self.shape[0] * self._row_bytes),
            },
        }
        text, size = json.dumps(values).encode(), HEADER_BYTES - 8
        return size.to_bytes(8, "little") + text.ljust(size)

    def _digest(self, header: bytes) -> str:
        with open(self.fd, "rb", buffering=0, closefd=False) as file:
            file.seek(HEADER_BYTES)
            return hashlib.file_digest(file, lambda: hashlib.sha256(header)).hexdigest()


def _close(fd: int, unfinished: Path | None, process: int) -> None:
    os.close(fd)
    if unfinished is not None and os.getpid() == process:  # not what a fork has inherited
        unfinished.unlink(missing_ok=True)


class Stored(NamedTuple):
    """An entry as found in the folder: its bytes, and when it was last used (epoch)."""

    path: Path
    kind: str
    size: int
    used: float


class DiskCache:
    """Entries in one folder; the least recently used go when there is no more room.

    A key is one of ``KINDS``, "-", and a digest of everything that the content depends on.

    Several processes may read, write and evict at the same time. Each writes files of its own and
    renames them; a reader keeps what it has opened, even when the file is evicted meanwhile.

    Args:
        folder: made when first written to.
        max_bytes: bound on all entries together, unfinished ones included; 0 keeps nothing.

    Attributes:
        written: paths of the entries written by this object, until somebody empties the list.
    """

    def __init__(self, folder: Path, max_bytes: int) -> None:
        self.folder, self.max_bytes = folder, max_bytes
        self.written: list[Path] = []
        self._writable = max_bytes > 0

    def open(self, key: str | None) -> Entry | None:
        """A sound entry, or None; a damaged one is removed, with a warning."""
        if key is None or not self.max_bytes:
            return None
        path = self.folder / f"{key}{SUFFIX}"
        try:
            found = Entry.open(path)
            with suppress(OSError):  # where the cache is read only: then nobody evicts either
                os.utime(path)
            return found
        except FileNotFoundError:
            pass
        except OSError as error:
            logger.warning("cache entry %s cannot be read (%s); computing it", path, error)
        except (SafetensorError, ValueError) as error:
            logger.warning("cache entry %s is damaged: %s; making it again", path, error)
            remove(path)
        return None

    def find(self, key: str | None) -> Tensor | None:
        """All rows of an entry, on the CPU, or None."""
        return entry.rows() if (entry := self.open(key)) else None

    def get(self, key: str | None, make: Callable[[], Tensor]) -> Tensor:
        """All rows of an entry; made and stored where it is not there."""
        if (found := self.find(key)) is None:
            self.put(key, found := make())
        return found

    def put(self, key: str | None, rows: Tensor) -> None:
        """Stores rows that are known all at once, where that is possible."""
        if key is not None and len(rows) and (entry := self.record(key, len(rows), rows[0])):
            self.write(entry, 0, rows.cpu())

    def record(self, key: str, count: int, row: Tensor) -> Entry | None:
        """Begins an entry of ``count`` rows like ``row``; None where it cannot be kept."""
        entry, target = None, self.folder / f"{key}{SUFFIX}"
        if self._writable and row.ndim and row.numel() and row.dtype in _NAMES:
            try:
                if self._make_room(needed := HEADER_BYTES + count * row.nbytes):
                    fd, path = tempfile.mkstemp(PARTIAL, f"{target.name}.", self.folder)
                    entry = Entry(fd, Path(path), target, (count, *row.shape), row.dtype)
                    os.truncate(fd, needed)  # others must see what it will take
            except OSError as error:
                self._give_up(error, entry)
                return None
        return entry

    def write(self, entry: Entry, number: int, rows: Tensor) -> bool:
        """Writes rows from this one on, and with the last ones gives the entry its name.

        False, and the entry is of no more use, where the disk does not take them.
        """
        try:
            if entry.write(number, rows):
                self.written.append(entry.path)
        except OSError as error:
            self._give_up(error, entry)
            return False
        return True

    def entries(self, *suffixes: str) -> list[Stored]:
        """All finished entries, least recently used first; OSError where they cannot be listed.

        Files that are being written, or that a process has left, have the suffix ``PARTIAL``.
        """
        found = []
        with suppress(FileNotFoundError, NotADirectoryError):
            for item in os.scandir(self.folder):
                kind = item.name.partition("-")[0]
                if item.name.endswith(suffixes or SUFFIX) and kind in KINDS:
                    with suppress(FileNotFoundError):  # evicted meanwhile
                        facts = item.stat()
                        found.append(Stored(Path(item.path), kind, facts.st_size, facts.st_mtime))
        return sorted(found, key=lambda stored: stored.used)

    def clear(self) -> tuple[int, int]:
        """Removes everything that is an entry; returns how many and their bytes.

        The digests of files go too; they are not counted.
        """
        for path in (self.folder / DIGESTS).glob("*.json"):
            remove(path)
        removed = [one.size for one in self.entries(SUFFIX, PARTIAL) if remove(one.path)]
        return len(removed), sum(removed)

    def _give_up(self, error: OSError, entry: Entry | None) -> None:
        """Stops writing for the rest of this process, and says so once; removes what was begun."""
        if entry is not None:
            entry.discard()
        if self._writable:
            said = "the cache in %s cannot be written (%s); going on without"
            logger.warning(said, self.folder, error)
        self._writable = False

    def _make_room(self, needed: int) -> bool:
        """Makes the folder and room in it; False where the entry does not fit."""
        if needed > self.max_bytes:
            return False
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        abandoned = time.time() - _ABANDONED_SECONDS
        found = [
            stored
            for stored in self.entries(SUFFIX, PARTIAL)
            if stored.path.suffix == SUFFIX or stored.used >= abandoned or not remove(stored.path)
        ]
        used = needed + sum(stored.size for stored in found)
        for stored in found:
            if used > self.max_bytes and stored.path.suffix == SUFFIX and remove(stored.path):
                used -= stored.size
        return used <= self.max_bytes


def remove(path: Path) -> bool:
    """Whether a file could be removed that others may have removed already."""
    try:
        path.unlink()
    except OSError:
        return False
    return True


class LRUCache(Generic[T]):
    """Values by key, the last few of them.

    Args:
        dropped: called with a value that has to go, where it must be closed.
    """

    def __init__(self, limit: int, dropped: Callable[[T], object] = lambda value: None) -> None:
        self._limit, self._dropped = limit, dropped
        self._values: OrderedDict[Hashable, T] = OrderedDict()

    def get(self, key: Hashable, make: Callable[[], T]) -> T:
        """The value of a key; made where there is none."""
        return self.put(key, self._values[key] if key in self._values else make())

    def put(self, key: Hashable, value: T) -> T:
        """Keeps the value of a key, and lets the least recently used one go for it."""
        self._values[key] = value
        self._values.move_to_end(key)
        if len(self._values) > self._limit:
            self._dropped(self._values.popitem(last=False)[1])
        return value

    def peek(self, key: Hashable) -> T | None:
        return self._values.get(key)

    def values(self) -> Iterable[T]:
        return self._values.values()

    def clear(self) -> None:
        while self._values:
            self._dropped(self._values.popitem()[1])
