"""A folder of content-addressed entries, bounded, shared by any number of processes.

Nothing here may change a result: an entry is used only when it is whole and its key says all that
its content depends on, and whatever goes wrong with the disk costs time and nothing else.
"""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from benchmark.evaluation.cache import entry as files
from benchmark.evaluation.cache.entry import DamagedEntry, Entry, Header, Recording

logger = logging.getLogger(__name__)

DIGESTS = "digests"
"""The subfolder that ``shifts.digests`` keeps digests of files in."""

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

    def open(self, kind: str, key: str) -> Entry | None:
        """A sound entry, or None; a damaged one is removed, with a warning."""
        path = self.folder / files.file_name(kind, key)
        try:
            found = Entry(path)
        except FileNotFoundError:
            return None
        except OSError as error:
            logger.warning("cache entry %s cannot be read (%s); computing it", path, error)
            return None
        except DamagedEntry as error:
            logger.warning("cache entry %s is damaged: %s; making it again", path, error)
            self._remove(path)
            return None
        self._touch(path)
        return found

    def record(
        self, kind: str, key: str, count: int, row: Tensor, about: Mapping[str, Any]
    ) -> Recording | None:
        """Begins an entry of ``count`` rows like ``row``; None where it cannot be kept."""
        if not self._writable or not files.storable(row):
            return None
        header = files.header_of(kind, key, count, row, about)
        if not self._fits(header):
            return None
        try:
            return Recording(self.folder, header)
        except OSError as error:
            self.give_up(error)
            return None

    def finish(self, recording: Recording) -> Entry | None:
        """Gives a complete recording its name and opens it; None where that fails."""
        try:
            path = recording.seal()
            self.written.append(path)
            return Entry(path, verify=False)
        except (OSError, DamagedEntry) as error:
            self.give_up(error)
            return None
        finally:
            recording.discard()

    def put(self, kind: str, key: str, rows: Tensor, about: Mapping[str, Any]) -> None:
        """Stores rows that are known all at once, where there is room."""
        if not self._writable or not len(rows) or not files.storable(rows[0]):
            return
        header = files.header_of(kind, key, len(rows), rows[0], about)
        if self._fits(header):
            try:
                files.write_whole(self.folder, header, rows)
                self.written.append(self.folder / files.file_name(kind, key))
            except OSError as error:
                self.give_up(error)

    def forget_written(self) -> None:
        """Removes the entries written since ``written`` was emptied last."""
        for path in self.written:
            self._remove(path)
        self.written.clear()

    def give_up(self, error: Exception) -> None:
        """Stops writing for the rest of this process, and says so once."""
        if self._writable:
            logger.warning(
                "the cache in %s cannot be written (%s); going on without", self.folder, error
            )
        self._writable = False

    def entries(self) -> list[Stored]:
        """All finished entries, least recently used first."""
        return sorted(self._files(files.SUFFIX), key=lambda stored: stored.used)

    def unfinished(self) -> list[Stored]:
        """Files that are being written, or that a process has left behind."""
        return list(self._files(files.PARTIAL))

    def clear(self) -> tuple[int, int]:
        """Removes everything that is an entry; returns how many and their bytes.

        The digests of files go too; they are not counted.
        """
        for path in (self.folder / DIGESTS).glob("*.json"):
            self._remove(path)
        removed = [
            stored for stored in (*self.entries(), *self.unfinished()) if self._remove(stored.path)
        ]
        return len(removed), sum(stored.size for stored in removed)

    def verify(self) -> Iterator[tuple[Stored, str]]:
        """Reads every entry whole; yields it with what is wrong with it ("" where nothing is)."""
        for stored in self.entries():
            try:
                with stored.path.open("rb") as file:
                    files.check(file, stored.path.name)
            except FileNotFoundError:
                continue  # evicted meanwhile
            except (OSError, DamagedEntry) as error:
                yield stored, str(error)
            else:
                yield stored, ""

    def remove(self, stored: Stored) -> None:
        """Removes one entry."""
        self._remove(stored.path)

    def _fits(self, header: Header) -> bool:
        """Makes the folder and room in it; False where the entry can never fit."""
        needed = files.HEADER_BYTES + header.data_bytes
        if needed > self.max_bytes:
            return False
        try:
            self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as error:
            self.give_up(error)
            return False
        present, abandoned = [], time.time() - _ABANDONED_SECONDS
        for stored in self.unfinished():
            if stored.used < abandoned:
                self._remove(stored.path)
            else:
                present.append(stored)
        entries = self.entries()
        used = sum(stored.size for stored in (*present, *entries))
        for stored in entries:
            if used + needed <= self.max_bytes:
                break
            if self._remove(stored.path):
                used -= stored.size
        return used + needed <= self.max_bytes

    def _files(self, suffix: str) -> Iterator[Stored]:
        try:
            found = list(os.scandir(self.folder))
        except OSError:
            return
        for item in found:
            if item.name.endswith(suffix) and item.name.partition("-")[0] in files.KINDS:
                try:
                    facts = item.stat()
                except OSError:
                    continue  # evicted meanwhile
                yield Stored(Path(item.path), facts.st_size, facts.st_mtime)

    def _touch(self, path: Path) -> None:
        try:
            os.utime(path)
        except OSError:
            return  # a cache that is read only: then nobody evicts either

    def _remove(self, path: Path) -> bool:
        try:
            path.unlink()
        except OSError:
            return False
        return True
