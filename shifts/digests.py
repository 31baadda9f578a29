"""Digests of files: data, weights and recordings are what they hold, not their name, size or date.

A digest is taken once for each state of a file: its path, size, times of the content and of the
inode, inode and device. The time of the inode cannot be set by hand, so a file that was replaced or
edited is found out even where size and date were kept (``cp -p``, ``touch -r``, ``rsync --times``).
What changed a moment before it was read may change once more within the same tick of the file
system's clock, so such a digest is not kept and taken again, as git does with its index.

Digests are kept in this process and, once ``keep_in`` has named a folder, in small JSON files
there: one for each folder of the user's that is asked about. Several processes may share them: a
file appears whole or not at all, a damaged one or one of another folder is as good as none, and
where nothing can be written, nothing is kept.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import re
import secrets
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

State = tuple[int, int, int, int, int]
"""Size (bytes), times of content and of inode (ns), inode, device."""

TICK = 2_000_000_000
"""Nanoseconds: the coarsest clock of file systems in use (FAT)."""

_SCHEMA = 1
_THREADS = 8  # hashing lets other threads run; on network drives they wait for each other's files
_CHUNK = 16  # files that a thread takes at once
_MOST = 200_000  # digests kept in this process
_READS = 3  # of a file that somebody is writing to
_DIGEST = re.compile(r"[0-9a-f]{64}")

_recent: dict[str, tuple[State, str]] = {}
_folder: Path | None = None


def keep_in(folder: Path | None) -> None:
    """Names the folder that digests are kept in from now on; None keeps them in this process."""
    global _folder
    _folder = folder


def digest_of(path: Path) -> str:
    """SHA-256 of a file's content, 64 hex digits; what is kept on disk is not asked.

    Raises:
        OSError: it cannot be read, or is being written to.
    """
    place = os.path.abspath(path)
    if _known(place, _state(os.stat(place))):
        return _recent[place][1]
    return _read(place)[1]


def digests_of(paths: Sequence[Path]) -> list[str]:
    """``digest_of`` of many files, by several threads; each is streamed, none is held in memory.

    Raises:
        OSError: as ``digest_of``; its ``filename`` is the file.
    """
    places = [os.path.abspath(path) for path in paths]
    if not places:
        return []
    states = {place: _state(os.stat(place)) for place in places}
    digests = {place: _recent[place][1] for place in states if _known(place, states[place])}
    if len(digests) < len(states):
        digests |= _looked_up({place: states[place] for place in states.keys() - digests.keys()})
    return [digests[place] for place in places]


def _looked_up(states: dict[str, State]) -> dict[str, str]:
    """Digests of files, from what is kept on disk or by reading; what was read is kept."""
    root = os.path.commonpath([os.path.dirname(place) for place in states])
    memo = _load(root)
    for place, state in states.items():
        kept = memo.get(_below(place, root))
        if kept is not None and kept[0] == state:
            _remember(place, *kept)
    digests = {place: _recent[place][1] for place in states if _known(place, states[place])}
    stale = sorted(states.keys() - digests.keys())
    read: dict[str, tuple[State | None, str]] = {}
    try:
        _read_all(stale, read)
    finally:  # what an interrupted reading has achieved is not lost
        settled = {
            _below(place, root): (state, digest)
            for place, (state, digest) in read.items()
            if state is not None
        }
        if settled:
            _save(root, {**_load(root), **settled})  # others may have written meanwhile
    return digests | {place: digest for place, (_, digest) in read.items()}


def joined(digests: Sequence[str]) -> str:
    """Hash of the digests of several files, in their order; 16 hex digits."""
    digest = hashlib.sha256()
    for one in digests:
        digest.update(bytes.fromhex(one))
    return digest.hexdigest()[:16]


def folder_fingerprint(folder: str) -> str:
    """Hash of the names and content of all files of a folder but hidden ones; 16 hex digits.

    Hidden files (``.git``, the hub's ``.cache``) hold dates of the download and are not read by
    what loads models.

    Raises:
        OSError: as ``digests_of``.
    """
    root = Path(os.path.expanduser(folder))
    found = {path.relative_to(root): path for path in root.rglob("*") if path.is_file()}
    names = sorted(name for name in found if not any(part.startswith(".") for part in name.parts))
    digest = hashlib.sha256()
    for name, one in zip(names, digests_of([found[name] for name in names]), strict=True):
        digest.update(os.fsencode(name.as_posix()) + b"\0" + bytes.fromhex(one))
    return digest.hexdigest()[:16]


def _known(place: str, state: State) -> bool:
    return place in _recent and _recent[place][0] == state


def _below(place: str, root: str) -> str:
    return place.removeprefix(root).lstrip(os.sep)


def _state(found: os.stat_result) -> State:
    return (found.st_size, found.st_mtime_ns, found.st_ctime_ns, found.st_ino, found.st_dev)


def _read(place: str) -> tuple[State | None, str]:
    """Digest of a file, and the state that it belongs to; None where that may change unseen."""
    for _ in range(_READS):
        now = time.time_ns()
        try:
            with open(place, "rb", buffering=0) as file:
                before = _state(os.fstat(file.fileno()))
                digest = hashlib.file_digest(file, "sha256").hexdigest()
                after = _state(os.fstat(file.fileno()))
        except OSError as error:
            error.filename = place  # reading says none
            raise
        if before != after:
            continue
        if before[2] > now - TICK:
            return None, digest
        _remember(place, before, digest)
        return before, digest
    raise OSError(errno.EBUSY, "it is being written to", place)


def _read_all(places: Sequence[str], into: dict[str, tuple[State | None, str]]) -> None:
    def read(chunk: Sequence[str]) -> None:
        for place in chunk:
            into[place] = _read(place)

    chunks = [places[start : start + _CHUNK] for start in range(0, len(places), _CHUNK)]
    if len(chunks) < 2:
        for chunk in chunks:
            read(chunk)
        return
    pool = ThreadPoolExecutor(_THREADS)
    try:
        for _ in pool.map(read, chunks):
            pass
    finally:
        pool.shutdown(cancel_futures=True)


def _remember(place: str, state: State, digest: str) -> None:
    if len(_recent) >= _MOST:
        _recent.clear()
    _recent[place] = state, digest


def _memo(folder: Path, root: str) -> Path:
    return folder / f"{hashlib.sha256(os.fsencode(root)).hexdigest()[:32]}.json"


def _load(root: str) -> dict[str, tuple[State, str]]:
    """What is kept of the files below a folder, as far as it makes sense."""
    if (
        _folder is None or not (memo := _memo(_folder, root)).is_file()
    ):  # a pipe would be waited for
        return {}
    try:
        values = json.loads(memo.read_bytes())
        if values["schema"] != _SCHEMA or values["root"] != root:
            return {}
        return {
            name: ((size, content, inode, number, device), digest)
            for name, (size, content, inode, number, device, digest) in values["files"].items()
            if isinstance(digest, str) and _DIGEST.fullmatch(digest)
        }
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return {}  # none, or a damaged one


def _save(root: str, files: dict[str, tuple[State, str]]) -> None:
    if _folder is None:
        return
    values = {
        "schema": _SCHEMA,
        "root": root,
        "files": {name: [*state, digest] for name, (state, digest) in files.items()},
    }
    target = _memo(_folder, root)
    temporary = target.with_name(f".{target.name}.{os.getpid()}-{secrets.token_hex(4)}.tmp")
    try:
        _folder.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        _folder.mkdir(exist_ok=True)
        temporary.write_text(json.dumps(values), encoding="utf-8")
        os.replace(temporary, target)
    except OSError:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)
