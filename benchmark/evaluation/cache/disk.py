"""A folder of content-addressed entries, bounded, shared by any number of processes.

Nothing here may change a result: an entry is used only when it is whole and its key says all that
its content depends on, and whatever goes wrong with the disk costs time and nothing else.
"""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor

from benchmark.evaluation.cache.entry import (
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

DIGESTS = "digests"
"""The subfolder that ``shifts.digests`` keeps digests of files in."""

_FORMER = ".rows"
"""What older versions wrote: counted, evicted and cleared with the rest, never read."""

_ABANDONED_SECONDS = 3600.0
"""An unfinished file that nobody has written to for so long has lost its process."""


@dataclass(frozen=True, slots=True)
class Stored:
    """An entry as found in the folder.

    Attributes:
        path: its file.
        size: bytes.
        used: when it was last used, seconds since the epoch.
    """

    path: Path
    size: int
    used: float

    @property
    def kind(self) -> str:
        """What it holds."""
        return self.path.name.partition("-")[0]


class DiskCache:
    """Entries in one folder; the least recently used go when there is no more room.

    Several processes may read, write and evict at the same time. Each writes files of its own and
    renames them; a reader keeps what it has opened, even when the file is evicted meanwhile.

    Args:
        folder: made when first written to.
        max_bytes: bound on all entries together, unfinished ones included.

    Attributes:
        written: paths of the entries written by this object, until somebody empties the list.
    """

    def __init__(self, folder: Path, max_bytes: int) -> None:
        self.folder = folder
        self.max_bytes = max_bytes
        self.written: list[Path] = []
        self._writable = True

    def open(self, key: CacheKey) -> Entry | None:
        """A sound entry, or None; a damaged one is removed, with a warning."""
        path = self.folder / key.name
        try:
            found = Entry.open(path)
        except FileNotFoundError:
            return None
        except OSError as error:
            logger.warning("cache entry %s cannot be read (%s); computing it", path, error)
            return None
        except DamagedEntry as error:
            logger.warning("cache entry %s is damaged: %s; making it again", path, error)
            _done(path.unlink)
            return None
        _done(os.utime, path)  # fails where the cache is read only: then nobody evicts either
        return found

    def record(self, key: CacheKey, count: int, row: Tensor) -> Entry | None:
        """Begins an entry of ``count`` rows like ``row``; None where it cannot be kept."""
        if not self._writable or not count or not storable(row):
            return None
        try:
            if self._make_room(HEADER_BYTES + count * row.nbytes):
                return Entry.create(self.folder, key, (count, *row.shape), row.dtype)
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

    def put(self, key: CacheKey, rows: Tensor) -> None:
        """Stores rows that are known all at once, where there is room."""
        entry = self.record(key, len(rows), rows[0]) if len(rows) else None
        if entry is not None:
            self.write(entry, 0, rows)

    def forget_written(self) -> None:
        """Removes the entries written since ``written`` was emptied last."""
        for path in self.written:
            _done(path.unlink)
        self.written.clear()

    def entries(self) -> list[Stored]:
        """All finished entries, least recently used first."""
        return sorted(self._files(SUFFIX, _FORMER), key=lambda stored: stored.used)

    def unfinished(self) -> list[Stored]:
        """Files that are being written, or that a process has left behind."""
        return list(self._files(PARTIAL))

    def clear(self) -> tuple[int, int]:
        """Removes everything that is an entry; returns how many and their bytes.

        The digests of files go too; they are not counted.
        """
        for path in (self.folder / DIGESTS).glob("*.json"):
            _done(path.unlink)
        found = (*self.entries(), *self.unfinished())
        removed = [stored.size for stored in found if self.remove(stored)]
        return len(removed), sum(removed)

    def verify(self) -> Iterator[tuple[Stored, str]]:
        """Reads every entry whole; yields it with what is wrong with it ("" where nothing is)."""
        for stored in self.entries():
            try:
                Entry.open(stored.path)
            except FileNotFoundError:
                continue  # evicted meanwhile
            except (OSError, DamagedEntry) as error:
                yield stored, str(error)
            else:
                yield stored, ""

    def remove(self, stored: Stored) -> bool:
        """Removes one entry; False where that fails."""
        return _done(stored.path.unlink)

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
        writing = self.unfinished()
        old = [stored for stored in writing if stored.used < abandoned and self.remove(stored)]
        entries = self.entries()
        used = sum(stored.size for stored in (*writing, *entries))
        used -= sum(stored.size for stored in old)
        for stored in entries:
            if used + needed <= self.max_bytes:
                break
            if self.remove(stored):
                used -= stored.size
        return used + needed <= self.max_bytes

    def _files(self, *suffixes: str) -> Iterator[Stored]:
        try:
            found = list(os.scandir(self.folder))
        except OSError:
            return
        for item in found:
            if item.name.endswith(suffixes) and item.name.partition("-")[0] in KINDS:
                try:
                    facts = item.stat()
                except OSError:
                    continue  # evicted meanwhile
                yield Stored(Path(item.path), facts.st_size, facts.st_mtime)


def _done(action: Callable[..., object], *args: object) -> bool:
    """Whether something succeeded that may fail, such as removing what others have removed."""
    try:
        action(*args)
    except OSError:
        return False
    return True
