"""Claim files: runs on one shared folder, on whatever machines, share the cells among themselves.

A run that wants a cell creates ``claims/<key>.<n>``, which the file system gives to one run only.
While it works, it keeps changing that file. The claim of a run that has died is passed over by
creating ``<key>.<n+1>``: again only one run can, and nobody ever removes what another may still
hold. After a claim is won the folder is asked once more whether the cell has ended meanwhile.

No clock is read, neither this machine's nor the file server's: a claim counts as abandoned when
its file (content and modification time, as the server gives them) has not changed at all while
this run watched for ``patience`` seconds of its own monotonic clock. A clock that jumps, or
machines that disagree on the time, change nothing. If its owner ran on this very machine and is
gone, there is no need to wait. An owner that was only suspended finishes a cell twice; both
records are of the same key, and only one is kept.
"""

from __future__ import annotations

import json
import os
import platform
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any

from benchmark.cell import Cell, Status
from benchmark.errors import ResultsError
from benchmark.executors.todo import Entry
from benchmark.store import RunStore

BEAT_SECONDS = 10.0
"""How often a run shows that it is alive."""

PATIENCE_SECONDS = 60.0
"""How long a claim must stay unchanged to be passed over: several beats, so that a slow file
server or a busy machine does not look dead."""

_COUNTER = "{:012d}\n"


class Claims:
    """The gate (see ``Gate``) of a run that shares its folder. Use as a context manager.

    Args:
        store: where results and claims lie. Cells that ended before this object was made may be
            run (the caller has chosen them); those that end elsewhere later are not run again.
        key_of: a cell's key.
        beat: seconds between signs of life.
        patience: seconds without a sign of life after which a claim is passed over.
    """

    def __init__(
        self,
        store: RunStore,
        key_of: Callable[[Cell], str],
        *,
        beat: float = BEAT_SECONDS,
        patience: float = PATIENCE_SECONDS,
    ) -> None:
        self.folder = store.path / "claims"
        self._store, self._key_of = store, key_of
        self._beat, self._patience = beat, patience
        self._owner = {**_self(), "run": os.urandom(8).hex()}
        self._before = self._versions()
        self._watched: dict[str, tuple[object, float]] = {}
        self._held: dict[str, Path] = {}
        self._lock = threading.Lock()
        self._closing = threading.Event()
        self._heart: threading.Thread | None = None

    def __enter__(self) -> Claims:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def enter(self, cell: Cell) -> Entry:
        """Claims a cell, or says who has it or what came of it.

        Raises:
            ResultsError: the folder cannot be written.
        """
        key = self._key_of(cell)
        ended = self._ended(cell, key)
        if ended is not None:
            return ended
        try:
            path = self._claim(key)
        except OSError as error:
            raise ResultsError(
                f"cannot claim cells in {self.folder}: {error.strerror or type(error).__name__}; "
                "free space or choose another folder"
            ) from error
        if path is None:
            return "taken"
        self._hold(key, path)
        ended = self._ended(cell, key)
        if ended is not None:
            self._release(key)
            return ended
        return "mine"

    def leave(self, cell: Cell) -> None:
        """Gives the claim of a cell back."""
        self._release(self._key_of(cell))

    def close(self) -> None:
        """Gives back what is still held and stops the signs of life."""
        self._closing.set()
        if self._heart is not None:
            self._heart.join()
        for key in list(self._held):
            self._release(key)
        with suppress(OSError):  # others still have claims, or there never was one
            self.folder.rmdir()

    def _claim(self, key: str) -> Path | None:
        """Creates the next claim file of a cell, unless somebody alive has the last one."""
        self.folder.mkdir(parents=True, exist_ok=True)
        numbers = self._numbers(key)
        newest = max(numbers, default=-1)
        if numbers and not self._abandoned(self.folder / f"{key}.{newest}"):
            return None
        path = self.folder / f"{key}.{newest + 1}"
        try:
            with path.open("x", encoding="utf-8") as file:
                file.write(json.dumps(self._owner) + "\n" + _COUNTER.format(0))
        except FileExistsError:
            return None  # another was quicker
        except FileNotFoundError:
            return None  # another run ended and took the empty folder away: asked again soon
        return path

    def _numbers(self, key: str) -> list[int]:
        found = (path.name.rpartition(".") for path in self.folder.glob(f"{key}.*"))
        return [int(number) for _, _, number in found if number.isdecimal()]

    def _abandoned(self, path: Path) -> bool:
        try:
            # Opening makes a network file system ask its server instead of its cache.
            with path.open("rb") as file:
                content, version = file.read(), os.fstat(file.fileno()).st_mtime_ns
        except FileNotFoundError:
            return False  # given back just now
        alive = _alive(content)
        if alive is not None:
            return not alive
        seen, now = (content, version), time.monotonic()
        before, since = self._watched.get(path.name, (None, now))
        if before != seen:
            self._watched[path.name] = (seen, now)
            return False
        return now - since >= self._patience

    def _hold(self, key: str, path: Path) -> None:
        with self._lock:
            self._held[key] = path
        if self._heart is None:
            self._heart = threading.Thread(target=self._live, name="claims", daemon=True)
            self._heart.start()

    def _live(self) -> None:
        beats = 0
        while not self._closing.wait(self._beat):
            beats += 1
            with self._lock:
                for path in self._held.values():
                    _sign(path, beats)

    def _release(self, key: str) -> None:
        with self._lock:
            own = self._held.pop(key, None)
            if own is None:
                return
            # Those that this one passed over go first: what stays is passed over once more.
            for number in sorted(self._numbers(key)):
                path = self.folder / f"{key}.{number}"
                if number <= int(own.suffix[1:]):
                    with suppress(OSError):  # if it must stay, it is passed over in time
                        path.unlink()

    def _ended(self, cell: Cell, key: str) -> Entry | None:
        """The record of a cell that has ended elsewhere since this object was made."""
        path = self._store.cells / f"{cell.stem(key)}.json"
        try:
            with os.scandir(self._store.cells):
                pass  # as for files: opening a folder brings its cached listing up to date
            version = _version(path.stat())
        except FileNotFoundError:
            return None
        if self._before.get(path.name) == version:
            return None
        try:
            record = self._store.load(key)
        except ResultsError:
            return None
        return None if record.status == Status.INTERRUPTED else record

    def _versions(self) -> dict[str, tuple[int, ...]]:
        try:
            with os.scandir(self._store.cells) as entries:
                return {e.name: _version(e.stat()) for e in entries if e.name.endswith(".json")}
        except FileNotFoundError:
            return {}


def _version(stat: os.stat_result) -> tuple[int, ...]:
    return stat.st_ino, stat.st_size, stat.st_mtime_ns


def _sign(path: Path, beats: int) -> None:
    """Counts up in place: that needs no space on a full disk."""
    counter = _COUNTER.format(beats)
    # Passed over while this machine was suspended, or the server is away: then not now.
    with suppress(OSError), path.open("r+b") as file:
        file.seek(-len(counter), os.SEEK_END)
        file.write(counter.encode())


def _self() -> dict[str, Any]:
    """Who this process is, so that processes on the same machine can tell whether it lives."""
    pid = os.getpid()
    return {"host": platform.node(), "machine": _machine(), "pid": pid, "start": _start(pid)}


def _machine() -> str:
    """This boot of this machine and its name space of process numbers; "" where unknown."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
        return f"{boot} {os.readlink('/proc/self/ns/pid')}"
    except OSError:
        return ""


def _start(pid: int) -> str:
    """When a process started, in the kernel's ticks since the boot; "" where there is none."""
    try:
        # The name in parentheses may hold blanks; the start is the 20th field behind it.
        text = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
    fields = text.rpartition(")")[2].split()
    # A zombie has ended, though its number is not free yet.
    return "" if fields[0] in "ZX" else fields[19]


def _alive(content: bytes) -> bool | None:
    """Whether the owner of a claim lives; None where that cannot be told from here."""
    try:
        owner = json.loads(content.partition(b"\n")[0])
        machine, pid, start = str(owner["machine"]), int(owner["pid"]), str(owner["start"])
    except (ValueError, KeyError, TypeError):
        return None  # written only in part
    if not machine or machine != _machine():
        return None
    return bool(start) and _start(pid) == start
