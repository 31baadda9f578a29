"""Records of cells that have no result, and what they say of the reason."""

from __future__ import annotations

import traceback
from pathlib import Path
from typing import Any

from benchmark.cell import Cell, Record, Status
from benchmark.errors import QueryShiftError
from shifts.base import ShiftError

_FRAMES_KEPT = 6


def unfinished(cell: Cell, key: str, status: Status, reason: str) -> Record:
    """The record of a cell that has no result, and why.

    Where no key is known (data or weights could not be loaded, a worker died before it told) it
    has the cell's ``unfinished_key``.
    """
    return Record(
        key=key or cell.unfinished_key,
        status=status,
        cell=cell.to_dict(),
        reason=reason,
    )


def reason_of(error: BaseException) -> str:
    """An error as one line: its type and its message."""
    if isinstance(error, SystemExit):
        return f"SystemExit: the code of the cell called sys.exit({error.code!r})"
    return f"{type(error).__name__}: {' '.join(str(error).split())}"


def frames_of(error: BaseException) -> dict[str, Any]:
    """Where an error that is not the user's came from: the innermost frames, outermost first."""
    if isinstance(error, QueryShiftError | ShiftError):
        return {}
    frames = traceback.extract_tb(error.__traceback__)[-_FRAMES_KEPT:]
    return {
        "frames": [
            f"{Path(*Path(frame.filename).parts[-2:])}:{frame.lineno} in {frame.name}"
            for frame in frames
        ]
    }
