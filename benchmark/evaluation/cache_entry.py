"""Cache entry: a safetensors file that is written row by row and named when it is whole.

It holds one tensor, ``rows``, and a SHA-256 checksum over header and rows. The header is filled up
to 4096 bytes, so that the place of a row is known before the last one is, and rows are read and
written in place: a mapping, as the library reads slices, would count as this process's memory, and
end the process when the disk is full or the file is cut short.
"""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
import weakref
from dataclasses import dataclass
from math import prod
from pathlib import Path

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

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
_DTYPES = {
    "U8": torch.uint8,
    "I8": torch.int8,
    "I16": torch.int16,
    "I32": torch.int32,
    "I64": torch.int64,
    "F16": torch.float16,
    "F32": torch.float32,
    "F64": torch.float64,
    "BOOL": torch.bool,
}
_NAMES = {dtype: name for name, dtype in _DTYPES.items()}


class DamagedEntry(Exception):
    """Raised for a file that is cut short, altered, or no entry of the name that it has."""


@dataclass(frozen=True)
class CacheKey:
    """Where something lies in the disk cache.

    Attributes:
        kind: one of ``KINDS``.
        digest: of everything that the content depends on.
    """

    kind: str
    digest: str

    @property
    def name(self) -> str:
        return f"{self.kind}-{self.digest}{SUFFIX}"


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
            DamagedEntry: a file that must not be used.
        """
        try:
            with safe_open(path, "np") as file:
                about, rows = file.metadata() or {}, file.get_slice("rows")
                dtype, shape = _DTYPES.get(rows.get_dtype()), tuple(rows.get_shape())
        except SafetensorError as error:
            raise DamagedEntry(str(error)) from None
        if about.get("entry") != path.name or dtype is None or not shape:
            raise DamagedEntry("its header is not that of the entry of this name")
        entry = cls(os.open(path, os.O_RDONLY), path, path, shape, dtype)
        checksum = about.get("sha256", "")
        header = os.pread(entry.fd, HEADER_BYTES, 0)
        if entry._digest(header.replace(checksum.encode(), _UNSEALED.encode(), 1)) != checksum:
            raise DamagedEntry("its checksum does not fit its content")
        return entry

    @classmethod
    def create(cls, folder: Path, key: CacheKey, count: int, row: Tensor) -> Entry:
        """An entry to be written, of so many rows like this one, under a temporary name.

        Raises:
            OSError: the file cannot be made.
        """
        fd, path = tempfile.mkstemp(PARTIAL, f"{key.name}.", folder)
        return cls(fd, Path(path), folder / key.name, (count, *row.shape), row.dtype)

    @property
    def complete(self) -> bool:
        return bool(self._written.all())

    def fits(self, row: Tensor) -> bool:
        return row.dtype == self.dtype and tuple(row.shape) == self.shape[1:]

    def has(self, number: int) -> bool:
        return bool(self._written[number])

    def row(self, number: int) -> Tensor | None:
        """One row, in memory of its own; None where it has not been written yet."""
        return self._read(number, self.shape[1:]) if self._written[number] else None

    def rows(self) -> Tensor:
        return self._read(0, self.shape)

    def write(self, number: int, rows: Tensor) -> None:
        """Writes a row, or several from this one on; raises OSError where there is no room."""
        raw = np.ascontiguousarray(rows.numpy()).data.cast("B")
        count = len(raw) // self._row_bytes
        place = HEADER_BYTES + number * self._row_bytes
        while raw:
            done = os.pwrite(self.fd, raw, place)
            raw, place = raw[done:], place + done
        self._written[number : number + count] = True

    def seal(self) -> None:
        """Adds header and checksum and gives the file its name.

        Raises:
            OSError: no room, or somebody has removed the file.
        """
        checksum = self._digest(self._header(_UNSEALED))
        os.pwrite(self.fd, self._header(checksum), 0)
        os.replace(self.path, self.target)
        self.path = self.target

    def discard(self) -> None:
        if self.path != self.target:
            self.path.unlink(missing_ok=True)

    def _read(self, number: int, shape: tuple[int, ...]) -> Tensor:
        # Torch's own memory: numpy aligns it otherwise, and sums may depend on that.
        found = torch.empty(shape, dtype=self.dtype)
        raw = found.numpy().data.cast("B")
        place = HEADER_BYTES + number * self._row_bytes
        while raw:
            done = os.preadv(self.fd, [raw], place)
            if not done:
                raise OSError(f"{self.path} was cut short")
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


def storable(row: Tensor) -> bool:
    """Whether an entry can hold such rows: arrays of plain numbers, not empty."""
    return row.ndim > 0 and row.numel() > 0 and row.dtype in _NAMES


def _close(fd: int, unfinished: Path | None, process: int) -> None:
    os.close(fd)
    if unfinished is not None and os.getpid() == process:  # not what a fork has inherited
        unfinished.unlink(missing_ok=True)
