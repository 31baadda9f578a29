"""Training items drawn in chunks by several processes, and kept on disk."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np

from benchmark.config.atomic import atomic_write
from benchmark.errors import DataError

Draw = Callable[[int, int], dict[str, np.ndarray]]
"""(number of the first item, how many) -> their arrays; can be sent to another process."""


def drawn(
    folder: Path, draw: Draw, facts: Mapping[str, Any], *, count: int, chunk: int, workers: int
) -> dict[str, np.ndarray]:
    """The arrays of ``count`` items; chunks that are missing under ``folder`` are drawn.

    Args:
        folder: where chunks lie.
        draw: makes a chunk, from a generator of its own.
        facts: what items depend on besides their number.
        count: how many items.
        chunk: items of a file.
        workers: processes that draw.

    Raises:
        DataError: the folder holds items of other facts.
    """
    folder.mkdir(parents=True, exist_ok=True)
    note, text = folder / "recipe.json", json.dumps({**facts, "chunk": chunk})
    if note.exists() and note.read_text() != text:
        raise DataError(f"{folder} holds items of {note.read_text()}; empty it or use another")
    atomic_write(note, text.encode())
    files = {start: folder / f"chunk-{start:06d}.npz" for start in range(0, count, chunk)}
    missing = [start for start, file in files.items() if not file.exists()]
    if missing:
        with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
            for job in [pool.submit(_write, files[s], draw, s, chunk) for s in missing]:
                job.result()
    found: dict[str, np.ndarray] = {}
    for start, file in files.items():
        with np.load(file, allow_pickle=False) as stored:
            for name in stored.files:
                rows = stored[name][: count - start]
                if name not in found:
                    found[name] = np.empty((count, *rows.shape[1:]), rows.dtype)
                found[name][start : start + len(rows)] = rows
    return found


def _write(file: Path, draw: Draw, start: int, count: int) -> None:
    arrays = draw(start, count)
    atomic_write(file, lambda stream: np.savez(stream, allow_pickle=False, **arrays))
