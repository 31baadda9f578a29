"""State of files on disk, and when the youngest of them changed, without reading them."""

from __future__ import annotations

import hashlib
import math
import os
import platform
from collections.abc import Iterable, Iterator
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import NamedTuple

PACKAGE = Path(__file__).parents[1]
"""The folder whose content stands for embedded data and weights."""

_DEPTH = 3
"""Annotations lie so deep at most (``cirr_dataset/cirr/captions``)."""

_LIBRARIES = ("torch", "torchvision", "open_clip_torch", "numpy", "pillow", "transformers")
_MEDIA = (
    *(".jpg", ".jpeg", ".png", ".tif", ".tiff", ".bmp", ".gif", ".webp"),
    *(".wav", ".flac", ".mp3", ".mp4"),
)


class FileState(NamedTuple):
    """What some files are, as a hash, and when the youngest of them changed (seconds)."""

    digest: str
    changed: float


def state_of(paths: Iterable[Path]) -> FileState:
    """Names, sizes, times, inodes and devices of files and folders; a missing one is a state."""
    digest, changed = hashlib.sha256(), 0
    for path in paths:
        state: tuple[int, ...] = ()
        try:
            found = path.stat()
        except OSError:
            pass
        else:
            # The time of the inode's change too: a copy can keep the old time of the content.
            times = found.st_mtime_ns, found.st_ctime_ns
            state = (found.st_size, *times, found.st_ino, found.st_dev)
            changed = max(changed, *times)
        digest.update(f"{path}\0{state}\n".encode())
    return FileState(digest.hexdigest(), changed / 1e9)


def annotations_below(root: Path, depth: int = _DEPTH) -> Iterator[Path]:
    """A folder, its folders, and their files but for pictures and sounds, some folders deep."""
    yield root
    try:
        entries = sorted(os.scandir(root), key=lambda entry: entry.name)
    except OSError:
        return
    for entry in entries:
        path = Path(entry.path)
        if entry.is_dir() and depth:
            yield from annotations_below(path, depth - 1)
        elif entry.is_dir() or path.suffix.lower() not in _MEDIA:
            yield path


@cache
def state_of_package(folder: Path) -> FileState:
    """Content of all files of a package, and versions of the libraries below it."""
    digest = hashlib.sha256(platform.python_version().encode())
    for library in _LIBRARIES:
        try:
            version = metadata.version(library)
        except metadata.PackageNotFoundError:
            version = "none"
        digest.update(f"{library} {version}\n".encode())
    changed = 0
    for path in sorted(folder.rglob("*")):
        if not path.is_file() or "__pycache__" in path.parts:
            continue
        try:
            content = path.read_bytes()
            changed = max(changed, path.stat().st_ctime_ns)
        except OSError:  # somebody is at work on the package
            return FileState("", math.inf)
        digest.update(f"{path.relative_to(folder)} {len(content)}\n".encode())
        digest.update(content)
    return FileState(digest.hexdigest(), changed / 1e9)
