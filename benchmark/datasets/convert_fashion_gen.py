"""Converts Fashion-Gen's pickles to the JSON lines that the loader reads, once.

::

    python -m benchmark.datasets.convert_fashion_gen FOLDER fashion_gen_validation.jsonl

FOLDER (full_valid_info_PAI) holds one pickled dictionary per image, read in the order of the sorted
file names. The pickles are opened by ``restricted_pickle`` in a process of its own, shut in as far
as the standard library and the system allow; what comes back is text, and is checked again here.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import IO, Any

from benchmark.datasets import restricted_pickle
from benchmark.datasets.annotations import captions_of, relative_path, value
from benchmark.errors import DataError

KEYS = ("img_name", "product_id", "captions", "super_cls_id", "super_cls_name")
"""What is taken out of each pickle; the first and the third must be there."""

PICKLE_BYTES = 64 << 20
ANSWER_BYTES = 4 << 20
"""Largest pickle that is read and longest answer that is taken, in bytes."""


class Sandbox:
    """A process that reads pickles; use it as a context.

    Args:
        keys: what to take out of each pickled dictionary.

    Raises:
        DataError: the process cannot be started or cannot be limited.
    """

    def __init__(self, keys: Sequence[str] = KEYS) -> None:
        program = restricted_pickle.__file__
        self._process = subprocess.Popen(
            # Isolated, without site: neither the environment nor installed packages have a say.
            [sys.executable, "-I", "-S", program, *keys],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env={},
            cwd=os.path.abspath(os.sep),
        )
        try:
            answer = self._answer()
        except DataError:
            answer = {"refused": "it ended before it was ready"}
        if "refused" in answer:
            self.close()
            raise DataError(f"no sandbox to read pickles in: {answer['refused']}")

    def read(self, path: Path) -> dict[str, Any]:
        """The wanted values of one pickle.

        Raises:
            DataError: not readable, too large, refused, or too much for the process; names the
                file and why.
        """
        try:
            size = path.stat().st_size
            if size > PICKLE_BYTES:
                raise DataError(
                    f"{path} has {size} bytes; a record of one image has at most {PICKLE_BYTES}"
                )
            raw = path.read_bytes()
        except OSError as error:
            raise DataError(f"cannot read {path}: {error.strerror or error}") from None
        try:
            self._stream("stdin").write(restricted_pickle.HEADER.pack(len(raw)) + raw)
            self._stream("stdin").flush()
            answer = self._answer()
        except (BrokenPipeError, DataError):
            raise DataError(
                f"{path} is refused: the process that read it ended (limits: "
                f"{restricted_pickle.MEMORY_BYTES >> 20} MiB of memory, "
                f"{restricted_pickle.CPU_SECONDS} s for all files)"
            ) from None
        if "refused" in answer:
            raise DataError(f"{path} is refused: {answer['refused']}")
        return value(answer, "record", dict, str(path))

    def _answer(self) -> dict[str, Any]:
        line = self._stream("stdout").readline(ANSWER_BYTES)
        try:
            answer = json.loads(line)
        except ValueError:
            raise DataError("no answer") from None
        return answer if isinstance(answer, dict) else {}

    def _stream(self, name: str) -> IO[bytes]:
        stream: IO[bytes] | None = getattr(self._process, name)
        assert stream is not None  # all are pipes
        return stream

    def close(self) -> None:
        """Ends the process."""
        self._process.kill()
        self._process.wait()
        for name in ("stdin", "stdout"):
            with contextlib.suppress(BrokenPipeError):  # what it did not read any more
                self._stream(name).close()

    def __enter__(self) -> Sandbox:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


def convert(folder: Path, out: Path, *, force: bool = False) -> int:
    """Writes one JSON line per pickle, in the order of the sorted file names.

    The file appears when it is complete.

    Returns:
        The number of records.

    Raises:
        DataError: no pickles, a refused or malformed one, an existing file without ``force``, or a
            file that cannot be written.
    """
    if not folder.is_dir():
        raise DataError(f"{folder} is no folder; expected full_valid_info_PAI with its *.pkl files")
    pickles = sorted(folder.glob("*.pkl"))
    if not pickles:
        raise DataError(f"{folder} holds no *.pkl file")
    if out.exists() and not force:
        raise DataError(f"{out} exists; remove it or give --force")
    try:
        with tempfile.NamedTemporaryFile(
            "w", encoding="utf-8", dir=out.parent, prefix=f".{out.name}.", delete=False
        ) as file:
            part = Path(file.name)
            try:
                for record in _records(pickles):
                    file.write(json.dumps(record, ensure_ascii=False) + "\n")
            except BaseException:
                part.unlink()
                raise
        part.chmod(0o644)
        part.replace(out)
    except OSError as error:
        raise DataError(f"cannot write {out}: {error.strerror or error}") from None
    return len(pickles)


def _records(pickles: Sequence[Path]) -> Iterator[dict[str, Any]]:
    with Sandbox() as sandbox:
        for path in pickles:
            yield _checked(sandbox.read(path), str(path))


def _checked(record: dict[str, Any], where: str) -> dict[str, Any]:
    """What the loader expects: texts, a name below the image folder, at least one caption."""
    relative_path(value(record, "img_name", str, where), where)
    found = record.get("captions")
    texts = found if isinstance(found, list) else [value(record, "captions", str, where)]
    captions_of(texts, where, "captions")
    for key in ("product_id", "super_cls_id", "super_cls_name"):
        if isinstance(record.get(key), int | float):
            record[key] = str(record[key])
        if key in record:
            value(record, key, str, where)
    return record


def main(argv: Sequence[str] | None = None) -> int:
    """The command line; returns the exit code (2: refused)."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmark.datasets.convert_fashion_gen",
        description="Converts Fashion-Gen's pickles to JSON lines, in a sandbox.",
    )
    parser.add_argument("folder", type=Path, help="folder with one *.pkl per image")
    parser.add_argument("out", type=Path, help="the .jsonl file to write")
    parser.add_argument("--force", action="store_true", help="replace the file if it exists")
    args = parser.parse_args(argv)
    try:
        count = convert(args.folder, args.out, force=args.force)
    except DataError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    print(f"{count} records in {args.out}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
