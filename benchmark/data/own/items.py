"""Items of a user's table: packed texts, ids made when asked for, media wherever they lie."""

from __future__ import annotations

import hashlib
import io
import os
import tempfile
import weakref
from abc import abstractmethod
from array import array
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO, Any, Protocol, cast, overload

import numpy as np

from benchmark.data.datasets.annotations import relative_path
from benchmark.data.datasets.base import file_digests
from benchmark.data.datasets.folders import Files
from benchmark.data.datasets.nearby import is_junk
from benchmark.data.media import FrameFiles, ImageFiles, WavFiles, read_audio, read_image
from benchmark.data.numbered import Numbered
from benchmark.data.own.hub import HubFile
from benchmark.data.own.shards import Member
from benchmark.data.own.source import PICTURES
from benchmark.data.own.tables import refuse_missing
from benchmark.data.retrieval import Items
from benchmark.errors import DataError


class Stored(Protocol):
    """A picture or sound within something larger: a shard, a data set, a table."""

    @property
    def path(self) -> Path:
        """What messages call it."""
        ...

    @property
    def digest(self) -> str:
        """SHA-256 of its content."""
        ...

    def read(self) -> bytes:
        """Its content, as a file has it."""
        ...


Media = Path | Stored | np.ndarray | tuple[Path, ...]
"""A file, one within something, an (H, W, 3) uint8 array, or a video's frames."""

STORED = (Member, HubFile)


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


class _Packed:
    """Contents one after the other in a temporary file."""

    def __init__(self) -> None:
        with _temporary():
            self._file = tempfile.TemporaryFile()  # noqa: SIM115  # as long as the contents
        weakref.finalize(self, _close, self._file)
        self._ends = array("q", [0])
        self._written = 0  # of them, in bytes: the rest may still be in the file's buffer

    def __len__(self) -> int:
        return len(self._ends) - 1

    def _add(self, raw: bytes) -> None:
        with _temporary():
            self._file.write(raw)
        self._ends.append(self._ends[-1] + len(raw))

    def content(self, index: int) -> bytes:
        start, stop = self._ends[index], self._ends[index + 1]
        if stop > self._written:
            with _temporary():
                self._file.flush()
            self._written = self._ends[-1]
        return os.pread(self._file.fileno(), stop - start, start)  # a mapped file is memory too


class _Texts(Sequence[str]):
    """Texts that are made when asked for."""

    @abstractmethod
    def _text(self, index: int) -> str: ...

    @overload
    def __getitem__(self, index: int) -> str: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[str]: ...
    def __getitem__(self, index: int | slice) -> str | Sequence[str]:
        if isinstance(index, slice):
            return [self._text(place) for place in range(*index.indices(len(self)))]
        return self._text(index)


class Ids(_Texts):
    """Distinct ids, which know their places: ten million are a few hundred MB."""

    def __init__(self) -> None:
        self._known = Numbered()

    def __len__(self) -> int:
        return len(self._known)

    def __contains__(self, text: object) -> bool:
        return isinstance(text, str) and self._known.find(text.encode()) >= 0

    def add(self, text: str) -> int:
        """The place of an id, which is the next one where it is new."""
        return self._known.add(text.encode())

    def place(self, text: str) -> int:
        """The place of an id that is there."""
        return self._known.find(text.encode())

    def _text(self, index: int) -> str:
        return self._known.content(range(len(self))[index]).decode()


class PackedTexts(_Packed, _Texts):
    """Texts in a temporary file instead of memory: ten million captions are a few hundred MB.

    Attributes:
        digest: hash of all texts and their boundaries.
    """

    def __init__(self) -> None:
        super().__init__()
        self._hash = hashlib.sha256()

    def append(self, text: str) -> None:
        """Adds a text that is not empty."""
        raw = text.encode()
        self._add(raw)
        self._hash.update(len(raw).to_bytes(8, "little") + raw)

    @property
    def digest(self) -> str:
        return self._hash.hexdigest()

    def _text(self, index: int) -> str:
        return self.content(range(len(self))[index]).decode()


class PackedFiles(_Packed):
    """Pictures or sounds that a table holds itself, in a temporary file instead of memory."""

    def add(self, content: bytes, where: str) -> PackedFile:
        """Adds a content that is not empty; ``where`` is for messages."""
        self._add(content)
        return PackedFile(self, len(self) - 1, Path(where), _digest(content))


@dataclass(frozen=True, slots=True)
class PackedFile:
    """One of ``PackedFiles``."""

    files: PackedFiles
    index: int
    path: Path
    digest: str

    def read(self) -> bytes:
        """Its content."""
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


@dataclass(frozen=True)
class Embedded:
    """Pictures or sounds that are no files of their own; are ``benchmark.data.retrieval.Items``.

    Attributes:
        ids: one id per item.
        places: where each lies.
        digests: of their content.
        sounds: whether they are sounds.
    """

    ids: Sequence[str]
    places: Sequence[Media]
    digests: Sequence[str]
    sounds: bool = False

    def __len__(self) -> int:
        return len(self.places)

    def __getitem__(self, index: int, /) -> Any:
        place = self.places[index]
        if isinstance(place, np.ndarray):
            return place.copy()
        read = read_audio if self.sounds else read_image
        if isinstance(place, Path):
            return read(place)
        stored = cast(Stored, place)
        content = stored.read()
        if _digest(content) != self.digests[index]:
            raise DataError(f"{stored.path} has changed since this run read it; run again")
        return read(stored.path, io.BytesIO(content))


class MediaFinder:
    """Finds what a table's values stand for, and notes what is not there.

    Args:
        root: the folder that paths start from; None where none are expected.
    """

    def __init__(self, root: Path | None) -> None:
        self.root = root
        self.files = Files([root]) if root is not None else None
        self._packed = PackedFiles()

    def find(self, value: Any, column: str, where: str) -> Media | None:
        """What a value stands for; None for a file that is not there.

        Raises:
            DataError: a path outside the root, or a value that is no medium.
        """
        value = _plain(value)
        if isinstance(value, STORED):
            return value
        if isinstance(value, bytes) and value:
            return self._packed.add(value, f"{where}, {column}")
        if isinstance(value, np.ndarray):
            return _picture(value, f"{where}: {column}")
        if isinstance(value, Path):
            value = str(value)
        if not isinstance(value, str) or not value:
            kind = "empty" if value is None or value == "" else f"a {type(value).__name__}"
            raise DataError(
                f"{where}: {column} is {kind}; expected one path, or one file's content"
            )
        if self.files is None or self.root is None:
            raise DataError(
                f"{where}: {column} is the path {value!r}, and no folder is known that it starts "
                "from; expected the content itself, or with a DataFrame root=FOLDER"
            )
        path = self.below(value, column, where)
        found = self._frames(path, where) if column == "video" else self.files.find(path)
        if found is None:
            refuse_missing(value, f"{where}: {column}", "expected a path: leave the row out")
        return found

    def _frames(self, path: PurePosixPath, where: str) -> tuple[Path, ...] | None:
        assert self.root is not None
        folder = self.root / path
        if path.suffix.lower() in (".mp4", ".avi", ".mkv", ".mov", ".webm") or folder.is_file():
            film = path.suffix.lower() not in PICTURES
            command = f": ffmpeg -i {path.name} -vf fps=1 {path.stem}/%04d.jpg" if film else ""
            raise DataError(
                f"{where}: video '{path}' is not decoded here; expected a folder of frames{command}"
            )
        frames = sorted(folder.iterdir()) if folder.is_dir() else []
        frames = [frame for frame in frames if not is_junk(frame.name)]
        return tuple(f for f in frames if f.suffix.lower() in PICTURES) or None

    def below(self, value: str, column: str, where: str) -> PurePosixPath:
        """A path relative to the root, which it must not leave."""
        assert self.root is not None
        if "://" in value:
            raise DataError(
                f"{where}: {column} {value!r} is a URL, and nothing is downloaded here; expected a "
                f"path below {self.root}: download the files first"
            )
        text = value.replace("\\", "/")
        whole = Path(os.path.abspath(self.root / text))
        for root in (Path(os.path.abspath(self.root)), self.root.resolve()):
            if whole.is_relative_to(root):
                text = whole.relative_to(root).as_posix()
        try:
            return relative_path(text, where)
        except DataError:
            if any(letter < " " for letter in text):
                raise
            raise DataError(
                f"{where}: {column} {value!r} lies outside {self.root}, the folder of the table, "
                "and is refused; put the table into a folder above its files"
            ) from None


def media_items(ids: Sequence[str], places: Sequence[Media], modality: str) -> tuple[Items, str]:
    """The items, and a hash of their content.

    Raises:
        DataError: a file that cannot be read.
    """
    if modality == "video":
        frames = [cast(tuple[Path, ...], place) for place in places]
        every = iter(file_digests([path for paths in frames for path in paths]))
        own = [[next(every) for _ in paths] for paths in frames]
        whole = [_digest("".join(digests).encode()) for digests in own]
        return FrameFiles(ids, frames, own), _joined(whole)
    paths = [place for place in places if isinstance(place, Path)]
    of_files = iter(file_digests(paths))
    digests = [next(of_files) if isinstance(p, Path) else _digest_of(p) for p in places]
    if len(paths) == len(places):
        kind = WavFiles if modality == "audio" else ImageFiles
        return kind(ids, paths, digests), _joined(digests)
    return Embedded(ids, places, digests, modality == "audio"), _joined(digests)


def _digest_of(place: Media) -> str:
    return content_digest(place) if isinstance(place, np.ndarray) else cast(Stored, place).digest


def content_digest(value: Any) -> str:
    """SHA-256 of the content that a table holds itself; "" for a path or a file of a shard."""
    value = _plain(value)
    if isinstance(value, HubFile):
        return value.digest
    if isinstance(value, np.ndarray):
        return _digest(str(value.shape).encode() + np.ascontiguousarray(value).tobytes())
    return _digest(value) if isinstance(value, bytes) else ""


def _plain(value: Any) -> Any:
    """Bytes or a path of what Hugging Face's tables hold: {bytes, path}."""
    if isinstance(value, dict) and {"bytes", "path"} >= value.keys() and value:
        return value["bytes"] if value.get("bytes") is not None else value.get("path")
    return value


def _picture(value: np.ndarray, what: str) -> np.ndarray:
    if value.dtype != np.uint8 or value.ndim != 3 or value.shape[2] != 3 or not value.size:
        raise DataError(
            f"{what} is an array of {value.dtype}, shape {value.shape}; expected uint8, (height, "
            "width, 3)"
        )
    return value


def numbers_digest(numbers: array[int] | np.ndarray) -> str:
    """SHA-256 of whole numbers, without turning them into text."""
    return _digest(np.asarray(numbers, dtype="<i8").tobytes())


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _joined(digests: Sequence[str]) -> str:
    return _digest("".join(digests).encode())
