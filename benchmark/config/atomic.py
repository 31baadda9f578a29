"""Files that appear whole or not at all."""

from __future__ import annotations

import os
import secrets
from collections.abc import Callable
from pathlib import Path
from typing import IO


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
