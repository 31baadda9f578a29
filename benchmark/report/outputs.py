"""Files of outputs, and their manifest, written last: of which records they are, their digests.

Outputs are a pure function of the records, the version and a few options. Where all of these are
those of the manifest and each file is as it was written, there is nothing to write; after a kill, a
full disk or a hand in between there is.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any

import pandas as pd

from benchmark import __version__
from benchmark.cell import Record
from benchmark.config.atomic import atomic_write
from benchmark.errors import ResultsError
from benchmark.store.csv_text import no_formulas

NAME = "outputs.json"

VERSION = 2
"""Raised when the same records give other tables or figures within a version of the package."""

Options = Mapping[str, Any]


@contextmanager
def _writing(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise ResultsError(
            f"cannot write {path}: {error.strerror or type(error).__name__}; free space, check that"
            " the folder exists and is writable, or choose another one"
        ) from error


def write_bytes(data: bytes, path: Path) -> Path:
    """Writes a file in one piece.

    Raises:
        ResultsError: the folder or file cannot be written.
    """
    with _writing(path):
        return atomic_write(path, data)


def write_text(text: str, path: Path) -> Path:
    """``write_bytes`` of the text as UTF-8."""
    return write_bytes(text.encode("utf-8"), path)


def write_csv(frame: pd.DataFrame, path: Path) -> Path:
    """Writes a frame as CSV with five significant digits, in one piece; same frame, same bytes.

    Five digits tell one query of 10,000, and small enough files. The records have all digits.
    """
    return write_csvs([frame], path)


def write_csvs(frames: Iterable[pd.DataFrame], path: Path) -> Path:
    """``write_csv`` of frames with the same columns, one below the other, one at a time.

    Raises:
        ResultsError: the folder or file cannot be written.
    """

    def lines(file: IO[bytes]) -> None:
        for number, frame in enumerate(frames):
            safe = no_formulas(frame)
            text = safe.to_csv(
                index=False, header=not number, lineterminator="\n", float_format="%.5g"
            )
            file.write(text.encode("utf-8"))

    with _writing(path):
        return atomic_write(path, lines)


def up_to_date(folder: Path, records: Iterable[Record], options: Options) -> bool:
    """Whether the folder's outputs are those of these records and whole."""
    stored = _read(folder)
    if {**stored, "files": None} != {**_made_of(records, options), "files": None}:
        return False
    files = stored["files"]
    return bool(files) and all(_digest(folder / name) == files[name] for name in files)


def write_manifest(
    folder: Path, records: Iterable[Record], options: Options, written: Sequence[Path]
) -> Path:
    """Writes the manifest; removes outputs that the one before named and that are no longer made.

    Only what is still as it was written is removed, and only where the options are the same.

    Args:
        folder: of the outputs.
        records: what the outputs are made of.
        options: how they were made.
        written: the outputs, all below the folder.

    Raises:
        ResultsError: it cannot be written.
    """
    files = {path.relative_to(folder).as_posix(): _digest(path) for path in sorted(written)}
    before = _read(folder)
    same = before.get("options") == dict(options)
    root = folder.resolve()
    for name, digest in before["files"].items() if same else ():
        path = folder / name
        # A folder from elsewhere could name files outside it.
        if name not in files and path.resolve().is_relative_to(root) and _digest(path) == digest:
            with _writing(folder / NAME):
                path.unlink(missing_ok=True)
    values = {**_made_of(records, options), "files": files}
    return write_text(f"{json.dumps(values, indent=1)}\n", folder / NAME)


def _made_of(records: Iterable[Record], options: Options) -> dict[str, Any]:
    lines = sorted(f"{record.key} {record.digest}" for record in records)
    return {
        "version": f"{__version__}-{VERSION}",
        "options": dict(options),
        "records": hashlib.sha256("\n".join(lines).encode()).hexdigest(),
    }


def _read(folder: Path) -> dict[str, Any]:
    with suppress(OSError, ValueError, RecursionError):
        values = json.loads((folder / NAME).read_text(encoding="utf-8"))
        if isinstance(values, dict) and isinstance(values.get("files"), dict):
            return values
    return {}


def _digest(path: Path) -> str:
    """SHA-256 of a file, "" where there is none."""
    try:
        if not path.is_file():
            return ""
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except (OSError, ValueError):
        return ""
