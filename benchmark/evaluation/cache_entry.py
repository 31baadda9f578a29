"""Entries of the disk cache: keys over everything that their content depends on, and files.

A file is a safetensors file that is written row by row and named when it is whole. It holds one
tensor, ``rows``, and a SHA-256 checksum over header and rows. The header is filled up to 4096
bytes, so that the place of a row is known before the last one is, and rows are read and written in
place: a mapping, as the library reads slices, would count as this process's memory, and end the
process when the disk is full or the file is cut short.
"""

from __future__ import annotations

import hashlib
import json
import os
import platform
import sys
import tempfile
import weakref
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cache
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from benchmark.backbones.base import DualEncoder
from benchmark.cell import Cell
from benchmark.data.retrieval import RetrievalSet
from benchmark.evaluation.changes import Changes
from benchmark.evaluation.environment import version_of
from benchmark.evaluation.stream import QueryStream
from shifts.base import Shift

HEADER_BYTES = 4096
KINDS = {
    "gallery": "embeddings of galleries",
    "queries": "shifted, preprocessed queries",
    "source": "embeddings of queries under the source model",
    "changes": "how many queries a shift changes, and by how much",
}
"""What entries hold."""

SCHEMA = 3
"""Raised when the harness computes cached content in another way."""

_ISA_VARIABLES = ("ONEDNN_MAX_CPU_ISA", "MKL_ENABLE_INSTRUCTIONS", "ATEN_CPU_CAPABILITY")
"""Variables that keep torch's libraries from using instructions that the processor has."""

_LIBRARIES = ("numpy", "pillow", "torchvision", "open_clip_torch", "transformers")

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


def of_gallery(data: RetrievalSet, backbone: DualEncoder, cell: Cell) -> CacheKey | None:
    """Where the gallery's embeddings lie; None where that cannot be said."""
    return _key("gallery", _facts(data, backbone, cell, backbone.device))


def of_inputs(
    data: RetrievalSet,
    backbone: DualEncoder,
    cell: Cell,
    *,
    stream: QueryStream | None,
    shifts: Sequence[Shift],
    files: str,
    queries: np.ndarray,
) -> CacheKey | None:
    """Where a stream's preprocessed queries lie; None where that cannot be said.

    Args:
        data: the retrieval set.
        backbone: whose preprocessing.
        cell: names shifts and seed.
        stream: decides which query comes under which domain; None for clean queries.
        shifts: the shifts at work.
        files: what is known of the files that they read.
        queries: the indices of the queries used.
    """
    facts: dict[str, Any] = {"queries": _digest(queries)}
    if stream is not None:
        facts |= {"files": files, "seed": cell.seed, "domains": [asdict(d) for d in cell.domains]}
        if cell.stream.domains:
            facts["assignment"] = _digest(stream.order, stream.shifts)
    # Made on the CPU, wherever they are encoded.
    return _key("queries", _facts(data, backbone, cell, "cpu", *shifts), **facts)


def of_source(
    inputs: CacheKey | None,
    backbone: DualEncoder,
    parts: Sequence[np.ndarray],
    *,
    alone: bool = False,
) -> CacheKey | None:
    """Where the source model's embeddings of inputs lie; None where that cannot be said.

    Args:
        inputs: where the inputs lie; it stands for all that they depend on.
        backbone: whose embeddings.
        parts: the queries of each batch: who shares a batch decides the last bits.
        alone: each query for itself, and ``parts`` only says which.
    """
    known = None if inputs is None else {"inputs": inputs.digest}
    facts = {"numerics": _numerics(backbone.device), "parts": _digest(*parts), "alone": alone}
    return _key("source", known, **facts)


def of_changes(inputs: CacheKey | None) -> CacheKey | None:
    """Where it lies what the shifts did to the queries of these inputs."""
    known = None if inputs is None else {"inputs": inputs.digest}
    return _key("changes", known, code=_code_of(Changes))


def _key(kind: str, known: Mapping[str, Any] | None, **facts: Any) -> CacheKey | None:
    """The key of plain facts; equal facts, equal key, on every machine. None where none is known.

    Its digest has 32 hex digits.
    """
    if known is None:
        return None
    values = {**known, **facts, "what": kind, "schema": SCHEMA}
    text = json.dumps(values, sort_keys=True, default=str)
    return CacheKey(kind, hashlib.sha256(text.encode()).hexdigest()[:32])


def _facts(
    data: RetrievalSet, backbone: DualEncoder, cell: Cell, device: str, *shifts: Shift
) -> dict[str, Any] | None:
    """What everything depends on; None where code takes part whose source cannot be found."""
    code = _code_of(backbone, data.queries, data.gallery, data.clean_text, *shifts)
    if not code:
        return None
    spec = asdict(cell.backbone) | {"model": cell.backbone.model_name}
    del spec["device"], spec["pretrained"]  # numerics and the fingerprint say them
    return {
        "data": data.fingerprint,
        "queries_are": data.query_modality,
        "gallery_is": data.gallery_modality,
        "backbone": backbone.fingerprint,
        "spec": spec,
        "numerics": _numerics(device),
        "code": code,
    }


def _digest(*arrays: np.ndarray) -> str:
    digest = hashlib.sha256()
    for array in arrays:
        digest.update(len(array).to_bytes(8, "little"))
        digest.update(np.ascontiguousarray(array, dtype=np.int64).tobytes())
    return digest.hexdigest()


def _numerics(device: str) -> dict[str, Any]:
    """What decides the last bits of what torch computes: build, device, threads, precision.

    An entry is only shared where these agree, so that a cached number is the one that would have
    been computed.
    """
    facts: dict[str, Any] = {
        "torch": str(torch.__version__),
        "libraries": _versions(),
        "machine": platform.machine(),
        "cpu": torch.backends.cpu.get_cpu_capability(),
        "amx": torch.cpu._is_amx_tile_supported(),
        "isa": {name: os.environ.get(name, "") for name in _ISA_VARIABLES},
        "threads": torch.get_num_threads(),
        "matmul": torch.get_float32_matmul_precision(),
    }
    if device.startswith("cuda"):
        facts |= {
            "device": torch.cuda.get_device_name(device),
            "cuda": torch.version.cuda,
            "tf32": (torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32),
            "benchmark": torch.backends.cudnn.benchmark,
        }
    return facts


@cache
def _versions() -> dict[str, str]:
    return {name: found for name in _LIBRARIES if (found := version_of(name))}


def _code_of(*things: object) -> str:
    """A hash of the source files that functions and objects come from; "" where one has none.

    Versions are raised by hand, and while a shift or a backbone is being written they are not:
    cached inputs must not outlive the code that made them. All files of the top-level package
    count, of this package those of the part that it is in (``benchmark.backbones``).
    """
    hashes = [_code(str(thing.__module__)) for thing in things if thing is not None]
    return "" if "" in hashes else "+".join(sorted(set(hashes)))


@cache
def _code(module: str) -> str:
    parts = module.split(".")
    package = sys.modules.get(".".join(parts[: 2 if parts[0] == "benchmark" else 1]))
    folders = list(getattr(package, "__path__", []))
    files = sorted(path for folder in folders for path in Path(folder).rglob("*.py"))
    if not folders:
        own = getattr(package or sys.modules.get(module), "__file__", None)
        files = [Path(own)] if own else []
    digest = hashlib.sha256()
    for path in files:
        try:
            digest.update(path.read_bytes())
        except OSError:
            return ""
    return digest.hexdigest()[:16] if files else ""
