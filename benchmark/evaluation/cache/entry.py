"""One file of the disk cache: rows of numbers, with what they are and a checksum.

Layout: a header of 4096 bytes (one line of JSON, filled up with blanks), then the rows in C order.
The checksum covers the rows and the rest of the header. A file is written under a temporary name
and renamed when it is whole, so that no reader ever meets half of one.
"""

from __future__ import annotations

import hashlib
import json
import mmap
import os
import secrets
import weakref
from collections.abc import Mapping
from dataclasses import dataclass, field
from math import prod
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import torch
from torch import Tensor

HEADER_BYTES = 4096
FORMAT = 1
"""Raised when the layout changes; entries of another format are not read."""

KINDS = ("gallery", "queries", "source", "changes")
"""What entries hold: gallery embeddings, preprocessed queries, embeddings of the source model, what
shifts did to queries."""

SUFFIX = ".rows"
PARTIAL = ".part"
_DTYPES = ("uint8", "int8", "int16", "int32", "int64", "float16", "float32", "float64", "bool")
_CHUNK = 1 << 20


class DamagedEntry(Exception):
    """Raised for a file that is cut short, altered, or no entry of the name that it has."""


@dataclass(frozen=True, slots=True)
class Header:
    """What an entry says of itself.

    Attributes:
        kind: one of ``KINDS``.
        key: content address; the file's name holds it too.
        dtype: numpy's name of the numbers' type.
        shape: (rows, ...) of all rows together.
        about: what the key stands for, in words, for ``queryshift cache info``.
    """

    kind: str
    key: str
    dtype: str
    shape: tuple[int, ...]
    about: Mapping[str, str] = field(default_factory=dict)

    @property
    def row_bytes(self) -> int:
        """Size of one row."""
        return prod(self.shape[1:]) * np.dtype(self.dtype).itemsize

    @property
    def data_bytes(self) -> int:
        """Size of all rows."""
        return self.shape[0] * self.row_bytes

    @property
    def file_name(self) -> str:
        """Name of the entry's file."""
        return file_name(self.kind, self.key)

    def text(self) -> bytes:
        """The header without its checksum, as bytes that the checksum covers."""
        values = {
            "format": FORMAT,
            "kind": self.kind,
            "key": self.key,
            "dtype": self.dtype,
            "shape": list(self.shape),
            "about": dict(self.about),
        }
        return json.dumps(values, sort_keys=True).encode()

    def packed(self, checksum: str) -> bytes:
        """The header as it stands in the file, ``HEADER_BYTES`` long.

        Raises:
            ValueError: a description that is too long.
        """
        line = json.dumps({**json.loads(self.text()), "sha256": checksum}, sort_keys=True).encode()
        if len(line) >= HEADER_BYTES:
            raise ValueError(f"a header of {len(line)} bytes does not fit into {HEADER_BYTES}")
        return line.ljust(HEADER_BYTES - 1) + b"\n"


def file_name(kind: str, key: str) -> str:
    """Name of an entry's file."""
    return f"{kind}-{key}{SUFFIX}"


def storable(row: Tensor) -> bool:
    """Whether an entry can hold such rows: arrays of plain numbers, not empty."""
    return row.ndim > 0 and row.numel() > 0 and str(row.dtype).removeprefix("torch.") in _DTYPES


def read_header(file: BinaryIO, name: str) -> tuple[Header, str]:
    """The header and the checksum of an open entry; the file is then at its rows.

    Raises:
        DamagedEntry: no sound header of an entry of that file name, or the file's size is wrong.
    """
    raw = file.read(HEADER_BYTES)
    try:
        values = json.loads(raw)
        shape = tuple(int(size) for size in values["shape"])
        about = {str(key): str(value) for key, value in values["about"].items()}
        header = Header(values["kind"], values["key"], values["dtype"], shape, about)
        checksum = values["sha256"]
        sound = values["format"] == FORMAT and header.dtype in _DTYPES and len(shape) > 0
        sound = sound and min(shape) > 0 and header.file_name == name
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise DamagedEntry(f"its header cannot be read ({type(error).__name__})") from None
    if not sound:
        raise DamagedEntry("its header is not that of the entry of this name")
    size = os.fstat(file.fileno()).st_size
    if size != HEADER_BYTES + header.data_bytes:
        raise DamagedEntry(f"it has {size} bytes instead of {HEADER_BYTES + header.data_bytes}")
    return header, checksum


def check(file: BinaryIO, name: str) -> Header:
    """Reads a whole entry and compares its checksum.

    Raises:
        DamagedEntry: anything is not as it was written.
    """
    header, expected = read_header(file, name)
    digest = hashlib.sha256(header.text())
    while piece := file.read(_CHUNK):
        digest.update(piece)
    if digest.hexdigest() != expected:
        raise DamagedEntry("its checksum does not fit its content")
    return header


class Entry:
    """A finished entry, memory-mapped: processes that read it share the system's copy of it.

    Args:
        path: the file.
        verify: compare the checksum first, which reads all of it.

    Raises:
        OSError: no such file, or unreadable.
        DamagedEntry: a file that must not be used.
    """

    def __init__(self, path: Path, *, verify: bool = True) -> None:
        with path.open("rb") as file:
            self.header = check(file, path.name) if verify else read_header(file, path.name)[0]
            self._map = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        self._rows = np.frombuffer(self._map, dtype=self.header.dtype, offset=HEADER_BYTES).reshape(
            self.header.shape
        )

    def row(self, number: int) -> Tensor:
        """One row, in memory of its own."""
        return _copied(self._rows[number])

    def rows(self) -> Tensor:
        """All rows, in memory of their own."""
        found = _copied(self._rows)
        self.rest()
        return found

    def rest(self) -> None:
        """Lets go of the pages read so far, so that they do not count as this process's memory.

        They stay in the system's cache of files, from where they come back when asked for.
        """
        if hasattr(mmap, "MADV_DONTNEED"):
            self._map.madvise(mmap.MADV_DONTNEED)


class Recording:
    """An entry being written, row by row in any order, under a temporary name.

    Args:
        folder: where the entry is to lie.
        header: what it will be.

    Raises:
        OSError: the file cannot be made.
    """

    def __init__(self, folder: Path, header: Header) -> None:
        self.header = header
        self.path = folder / f"{header.file_name}.{os.getpid()}-{secrets.token_hex(4)}{PARTIAL}"
        self._fd = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
        self._target = folder / header.file_name
        self._written = np.zeros(header.shape[0], dtype=bool)
        # Also when the interpreter ends: a recording that was never finished is of no use.
        self._discard = weakref.finalize(self, _close, self._fd, self.path)

    @property
    def complete(self) -> bool:
        """Whether every row has been written."""
        return bool(self._written.all())

    def fits(self, value: Tensor) -> bool:
        """Whether a value can be one of the rows."""
        dtype = str(value.dtype).removeprefix("torch.")
        return dtype == self.header.dtype and tuple(value.shape) == self.header.shape[1:]

    def write(self, number: int, value: Tensor) -> None:
        """Writes one row; raises OSError where there is no room."""
        self._put(number, value)
        self._written[number] = True

    def write_all(self, rows: Tensor) -> None:
        """Writes all rows at once; raises OSError where there is no room."""
        self._put(0, rows)
        self._written[:] = True

    def _put(self, number: int, values: Tensor) -> None:
        raw = np.ascontiguousarray(values.numpy()).data.cast("B")
        place = HEADER_BYTES + number * self.header.row_bytes
        # Not through a mapping: on a full disk that would end the process instead of raising.
        while raw:
            done = os.pwrite(self._fd, raw, place)
            raw, place = raw[done:], place + done

    def read(self, number: int) -> Tensor | None:
        """A row written before, or None."""
        if not self._written[number]:
            return None
        size, place = self.header.row_bytes, HEADER_BYTES + number * self.header.row_bytes
        found = torch.empty(self.header.shape[1:], dtype=getattr(torch, self.header.dtype))
        if os.preadv(self._fd, [found.numpy().data.cast("B")], place) != size:
            raise OSError(f"{self.path} was cut short")
        return found

    def seal(self) -> Path:
        """Adds header and checksum and gives the file its name; returns the path.

        Raises:
            OSError: no room, or somebody has removed the file.
        """
        digest = hashlib.sha256(self.header.text())
        place, end = HEADER_BYTES, HEADER_BYTES + self.header.data_bytes
        while place < end:
            piece = os.pread(self._fd, min(_CHUNK, end - place), place)
            if not piece:
                raise OSError(f"{self.path} was cut short")
            digest.update(piece)
            place += len(piece)
        os.pwrite(self._fd, self.header.packed(digest.hexdigest()), 0)
        os.replace(self.path, self._target)
        self.discard()
        return self._target

    def discard(self) -> None:
        """Closes the file and removes it, unless it has its final name."""
        self._discard()


def _copied(rows: np.ndarray) -> Tensor:
    """A tensor of torch's own: numpy aligns memory otherwise, and sums may depend on that."""
    found = torch.empty(rows.shape, dtype=getattr(torch, rows.dtype.name))
    found.numpy()[...] = rows
    return found


def _close(fd: int, path: Path) -> None:
    os.close(fd)
    path.unlink(missing_ok=True)


def write_whole(folder: Path, header: Header, rows: Tensor) -> Path:
    """Writes an entry in one go; returns its path.

    Raises:
        OSError: it cannot be written.
    """
    recording = Recording(folder, header)
    try:
        recording.write_all(rows)
        return recording.seal()
    finally:
        recording.discard()


def header_of(kind: str, key: str, count: int, row: Tensor, about: Mapping[str, Any]) -> Header:
    """The header of ``count`` rows like this one."""
    words = {name: str(value)[:200] for name, value in about.items()}
    dtype = str(row.dtype).removeprefix("torch.")
    return Header(kind, key, dtype, (count, *row.shape), words)
