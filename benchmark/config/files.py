"""Files that appear whole or not at all; paths that a user gives, in which ``~`` means home."""

from __future__ import annotations

import os
import secrets
from collections.abc import Callable
from pathlib import Path
from typing import IO

from benchmark.errors import ConfigError


def atomic_write(path: Path, content: bytes | Callable[[IO[bytes]], object]) -> Path:
    """Writes under a temporary name in the same folder, syncs and renames.

    A process that is killed, or a disk that is full, leaves what was there before; of a kill a
    hidden ``.tmp`` file may stay.

    Args:
        path: of the file; missing folders are made.
        content: its bytes, or what writes them into an open file.

    Returns:
        ``path``.

    Raises:
        OSError: it cannot be written.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}-{secrets.token_hex(4)}.tmp")
    try:
        with temporary.open("xb") as file:
            if isinstance(content, bytes):
                file.write(content)
            else:
                content(file)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
    return path


def expanded(text: str) -> str:
    """A path with ``~`` or ``~name`` in front replaced by that home folder.

    Raises:
        ValueError: that home folder is not known (a container without one, no such user), or the
            text cannot be a path.
    """
    if "\0" in text:
        raise ValueError(f"a path cannot hold a zero byte: {text!r}")
    if not text.startswith("~") or os.path.lexists(text):
        return text
    first = text.partition(os.sep)[0]
    whole = os.path.expanduser(text)
    # With HOME set to nothing, "~/x" would become "/x".
    if whole == text or (first == "~" and os.environ.get("HOME") == ""):
        raise ValueError(f"{text!r}: no home folder {first!r} is known here; write the whole path")
    return whole


def user_path(text: str | Path) -> Path:
    """As ``expanded``, for places that are not read by a reader of settings.

    Raises:
        ConfigError: as ``expanded`` raises ValueError.
    """
    try:
        return Path(expanded(str(text)))
    except ValueError as error:
        raise ConfigError(str(error)) from None
