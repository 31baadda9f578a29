"""Items of a user's table: packed texts and files, ids made when asked for."""

from __future__ import annotations

import hashlib
import os
import re
import tempfile
import weakref
from array import array
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, cast

import numpy as np

from benchmark.data.datasets.base import Numbered, file_digests
from benchmark.data.media import FrameFiles, ImageFiles, Stored, WavFiles
from benchmark.data.own.stored import HubFile
from benchmark.data.retrieval import Items
from benchmark.errors import DataError

_NUMBER = re.compile(r"\s*[-+]?\d+([.,]\d+)?\s*")


Media = Path | Stored | np.ndarray | tuple[Path, ...]
"""A file, one within something, an (H, W, 3) uint8 array, or a video's frames."""


@contextmanager
def _temporary() -> Iterator[None]:
    """Turns what goes wrong with a temporary file into an error that says so."""
    try:
        yield
    except OSError as error:
        raise DataError(
            f"cannot keep the table's contents in {tempfile.gettempdir()}: "
            f"{error.strerror or error}; free space there, or name another folder (TMPDIR=/path)"
        ) from None


def _close(file: IO[bytes]) -> None:
    with suppress(OSError):  # of a full disk; the file goes anyway
        file.close()


class Packed:
    """Contents one after the other in a temporary file."""

    def __init__(self) -> None:
        with _temporary():
            self._file = tempfile.TemporaryFile()  # noqa: SIM115  # as long as the contents
        weakref.finalize(self, _close, self._file)
        self._ends = array("q", [0])
        self._written = 0  # of them, in bytes: the rest may still be in the file's buffer

    def __len__(self) -> int:
        return len(self._ends) - 1

    def add(self, raw: bytes) -> int:
        """Adds a content that is not empty; gives its number."""
        with _temporary():
            self._file.write(raw)
        self._ends.append(self._ends[-1] + len(raw))
        return len(self) - 1

    def content(self, index: int) -> bytes:
        start, stop = self._ends[index], self._ends[index + 1]
        if stop > self._written:
            with _temporary():
                self._file.flush()
            self._written = self._ends[-1]
        return os.pread(self._file.fileno(), stop - start, start)  # a mapped file is memory too


class _Texts(Sequence[str]):
    """Texts that are made when asked for, of contents in bytes unless a class says otherwise."""

    content: Callable[[int], bytes]

    def _text(self, index: int) -> str:
        return self.content(index).decode()

    def __getitem__(self, index: Any) -> Any:
        found = range(len(self))[index]
        return self._text(found) if isinstance(found, int) else [*map(self._text, found)]


class Ids(Numbered, _Texts):
    """Distinct ids, which know their places: ten million are a few hundred MB."""

    def __contains__(self, text: object) -> bool:
        return isinstance(text, str) and self.place(text) >= 0

    def place(self, text: str) -> int:
        """The place of an id; below 0 where it is not there."""
        return self.find(text.encode())


class PackedTexts(Packed, _Texts):
    """Texts in a temporary file instead of memory: ten million captions are a few hundred MB.

    Attributes:
        numbers: whether all of them are numbers.
    """

    def __init__(self) -> None:
        super().__init__()
        self.numbers = True
        self._hash = hashlib.sha256()

    def append(self, text: str) -> None:
        """Adds a text that is not empty."""
        self.numbers = self.numbers and _NUMBER.fullmatch(text) is not None
        raw = text.encode()
        self.add(raw)
        self._hash.update(len(raw).to_bytes(8, "little") + raw)

    @property
    def digest(self) -> str:
        """Hash of all texts and their boundaries."""
        return self._hash.hexdigest()


@dataclass(frozen=True, slots=True)
class PackedFile(Stored):
    """A picture or sound that a table holds itself; ``where`` is for messages."""

    files: Packed
    index: int
    where: str

    @property
    def path(self) -> Path:
        return Path(self.where)

    def read(self) -> bytes:
        return self.files.content(self.index)


@dataclass(frozen=True)
class CaptionIds(_Texts):
    """Ids of captions, "<id of what they describe>#<number>", made when asked for.

    Attributes:
        owners: ids of what is described.
        owner: (captions,) int64 index of each caption's owner.
        number: (captions,) int64 number of each among its owner's captions.
    """

    owners: Sequence[str]
    owner: np.ndarray
    number: np.ndarray

    def __len__(self) -> int:
        return len(self.owner)

    def _text(self, index: int) -> str:
        return f"{self.owners[self.owner[index]]}#{self.number[index]}"

    def __iter__(self) -> Iterator[str]:
        for owner, number in zip(self.owner.tolist(), self.number.tolist(), strict=True):
            yield f"{self.owners[owner]}#{number}"


def media_items(ids: Sequence[str], places: Sequence[Media], modality: str) -> tuple[Items, str]:
    """The items, and a hash of their content.

    Raises:
        DataError: a file that cannot be read.
    """
    if modality == "video":
        frames = [cast(tuple[Path, ...], place) for place in places]
        every = iter(file_digests([path for paths in frames for path in paths]))
        own = [[next(every) for _ in paths] for paths in frames]
        return FrameFiles(ids, frames, own), _joined([_joined(digests) for digests in own])
    of_files = iter(file_digests([place for place in places if isinstance(place, Path)]))
    digests = [
        next(of_files) if isinstance(p, Path) else getattr(p, "digest", "") or content_digest(p)
        for p in places
    ]
    kind = WavFiles if modality == "audio" else ImageFiles
    return kind(ids, places, digests), _joined(digests)


def content_digest(value: Any) -> str:
    """SHA-256 of the content that a table holds itself; "" for a path or a file of a shard."""
    value = plain(value)
    if isinstance(value, HubFile):
        return value.digest
    if isinstance(value, np.ndarray):
        return _digest(str(value.shape).encode() + np.ascontiguousarray(value).tobytes())
    return _digest(value) if isinstance(value, bytes) else ""


def plain(value: Any) -> Any:
    """Bytes or a path of what Hugging Face's tables hold: {bytes, path}."""
    if isinstance(value, dict) and {"bytes", "path"} >= value.keys() and value:
        return value["bytes"] if value.get("bytes") is not None else value.get("path")
    return value


def numbers_digest(numbers: array[int] | np.ndarray) -> str:
    """SHA-256 of whole numbers, without turning them into text."""
    return _digest(np.asarray(numbers, dtype="<i8").tobytes())


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _joined(digests: Sequence[str]) -> str:
    return _digest("".join(digests).encode())
