"""Caches of what need not be computed twice: in memory for the next cell, on disk for the next run.

Nothing here may change a result: an entry is used only when it is whole and its key says all that
its content depends on, and whatever goes wrong with the disk costs time and nothing else.
docs/caching.md explains all of it.
"""

from __future__ import annotations

import logging
import os
import time
from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, TypeVar

from pydantic import ByteSize, TypeAdapter, ValidationError
from torch import Tensor

from benchmark.config.files import user_path
from benchmark.errors import ConfigError
from benchmark.evaluation.cache_entry import (
    HEADER_BYTES,
    KINDS,
    PARTIAL,
    SUFFIX,
    CacheKey,
    DamagedEntry,
    Entry,
    storable,
)

logger = logging.getLogger(__name__)

T = TypeVar("T")

FOLDER_VARIABLE = "QUERYSHIFT_CACHE"
BYTES_VARIABLE = "QUERYSHIFT_CACHE_BYTES"
OFF = "off"
DEFAULT_BYTES = 10 * 10**9

DIGESTS = "digests"
"""The subfolder that ``shifts.digests`` keeps digests of files in."""

_ABANDONED_SECONDS = 3600.0
"""An unfinished file that nobody has written to for so long has lost its process."""


@dataclass(frozen=True, slots=True)
class Stored:
    """An entry as found in the folder: its bytes, and when it was last used (epoch)."""

    path: Path
    kind: str
    size: int
    used: float


class DiskCache:
    """Entries in one folder; the least recently used go when there is no more room.

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

    def open(self, key: CacheKey | None) -> Entry | None:
        """A sound entry, or None; a damaged one is removed, with a warning."""
        if key is None or not self.max_bytes:
            return None
        path = self.folder / key.name
        try:
            found = Entry.open(path)
            with suppress(OSError):  # where the cache is read only: then nobody evicts either
                os.utime(path)
            return found
        except FileNotFoundError:
            pass
        except OSError as error:
            logger.warning("cache entry %s cannot be read (%s); computing it", path, error)
        except DamagedEntry as error:
            logger.warning("cache entry %s is damaged: %s; making it again", path, error)
            remove(path)
        return None

    def find(self, key: CacheKey | None) -> Tensor | None:
        """All rows of an entry, on the CPU, or None."""
        entry = self.open(key)
        return None if entry is None else entry.rows()

    def get(self, key: CacheKey | None, make: Callable[[], Tensor]) -> Tensor:
        """All rows of an entry; made and stored where it is not there."""
        found = self.find(key)
        if found is None:
            found = make()
            self.put(key, found)
        return found

    def put(self, key: CacheKey | None, rows: Tensor) -> None:
        """Stores rows that are known all at once, where that is possible."""
        entry = self.record(key, len(rows), rows[0]) if key is not None and len(rows) else None
        if entry is not None:
            self.write(entry, 0, rows.cpu())

    def record(self, key: CacheKey, count: int, row: Tensor) -> Entry | None:
        """Begins an entry of ``count`` rows like ``row``; None where it cannot be kept."""
        if self._writable and count and storable(row):
            try:
                if self._make_room(HEADER_BYTES + count * row.nbytes):
                    return Entry.create(self.folder, key, count, row)
            except OSError as error:
                self._give_up(error)
        return None

    def write(self, entry: Entry, number: int, rows: Tensor) -> bool:
        """Writes rows from this one on, and with the last ones gives the entry its name.

        False, and the entry is of no more use, where the disk does not take them.
        """
        try:
            entry.write(number, rows)
            if entry.complete:
                entry.seal()
                self.written.append(entry.path)
        except OSError as error:
            self._give_up(error)
            entry.discard()
            return False
        return True

    def forget_written(self) -> None:
        """Removes the entries written since ``written`` was emptied last."""
        while self.written:
            remove(self.written.pop())

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
        found = self.entries(SUFFIX, PARTIAL)
        removed = [stored.size for stored in found if remove(stored.path)]
        return len(removed), sum(removed)

    def _give_up(self, error: OSError) -> None:
        """Stops writing for the rest of this process, and says so once."""
        if self._writable:
            logger.warning(
                "the cache in %s cannot be written (%s); going on without", self.folder, error
            )
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
        limit: how many.
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


def disk_cache(chosen: str = "") -> DiskCache | None:
    """The disk cache that the user wants, or None where there is to be none.

    Args:
        chosen: a folder or "off", as given by a flag; "" leaves it to ``QUERYSHIFT_CACHE``, and
            without that to ``queryshift`` in ``XDG_CACHE_HOME`` or ``~/.cache``.

    Raises:
        ConfigError: ``QUERYSHIFT_CACHE_BYTES`` is no size, or the folder is a file.
    """
    value, size = chosen or os.environ.get(FOLDER_VARIABLE, ""), max_bytes()
    if value == OFF or not size:
        return None
    try:
        base = os.environ.get("XDG_CACHE_HOME", "") or "~/.cache"
        folder = user_path(value) if value else user_path(base) / "queryshift"
    except ConfigError:  # in a container or a service without a home folder
        if value:
            raise
        logger.warning(
            "no home folder is known here, so the disk cache is off; name a folder with --cache or "
            "%s, or say off",
            FOLDER_VARIABLE,
        )
        return None
    if folder.exists() and not folder.is_dir():
        origin = "--cache" if chosen else FOLDER_VARIABLE
        raise ConfigError(f"{origin}: {folder} is not a folder; name one, or say {OFF!r}")
    return DiskCache(folder.absolute(), size)


def max_bytes() -> int:
    """The bound in bytes: ``QUERYSHIFT_CACHE_BYTES``, or 10 GB; 0 means no cache.

    Raises:
        ConfigError: the variable holds no size.
    """
    text = os.environ.get(BYTES_VARIABLE, "").strip()
    if not text:
        return DEFAULT_BYTES
    try:
        return int(TypeAdapter(ByteSize).validate_python(text))
    except (ValidationError, OverflowError):
        raise ConfigError(
            f"{BYTES_VARIABLE} is {text!r}; expected a size in bytes, such as 500M or 20G, or 0"
        ) from None
