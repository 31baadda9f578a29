"""Converts Fashion-Gen's pickles to the JSON lines that the loader reads, once.

::

    python -m benchmark.data.datasets.convert_fashion_gen FOLDER fashion_gen_validation.jsonl

FOLDER (full_valid_info_PAI) holds one pickled dictionary per image, read in the order of the sorted
file names. Unpickling runs what the file says, so ``RestrictedUnpickler`` knows a few plain
containers and nothing more, under a limit on memory. Of NumPy's values scalars become numbers and
texts, arrays are left out.
"""

from __future__ import annotations

import argparse
import collections
import io
import json
import pickle
import re
import resource
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import IO, Any

import numpy as np

from benchmark.config.files import atomic_write
from benchmark.data.datasets.captioned import product_image
from benchmark.errors import DataError, reason_of

KEYS = ("img_name", "product_id", "captions", "super_cls_id", "super_cls_name")
"""What is taken out of each pickle; the first and the third must be there."""

PICKLE_BYTES = 64 << 20
"""Largest pickle that is read."""

MEMORY_BYTES = 1 << 30
"""What reading may add to the process's memory: a short pickle can ask for any amount."""


class RefusedError(Exception):
    """Raised for a pickle that holds more than plain values, or that is none."""


class Left:
    """Stands for a value that is not read: a NumPy array."""

    def __init__(self, *_: object) -> None:
        pass

    def __setstate__(self, state: object) -> None:
        pass


class _Dtype:
    """A NumPy element type: its code ("i8", "U5") and its order of bytes."""

    def __init__(self, code: object = "", *_: object) -> None:
        self.code, self.order = str(code), "<"

    def __setstate__(self, state: Any) -> None:
        if state[1] in ("<", ">"):
            self.order = state[1]


def _scalar(dtype: object, raw: object = b"", *_: object) -> Any:
    """A NumPy scalar from its element type and its bytes."""
    if isinstance(raw, str):
        raw = raw.encode("latin-1")
    if not isinstance(dtype, _Dtype) or not isinstance(raw, bytes):
        return Left()
    if not _PLAIN_TYPE.fullmatch(dtype.code):
        return Left()
    kind = np.dtype(dtype.order + dtype.code.lstrip("<>=|"))
    return np.frombuffer(raw, kind)[0].item() if raw else ""


_PLAIN_TYPE = re.compile(r"[<>=|]?[?biufSU]\d{0,9}")


def _latin1(text: object, codec: object = "latin1") -> bytes:
    """What Python 3 writes for bytes in old protocols."""
    if not isinstance(text, str) or codec not in ("latin1", "latin-1"):
        raise RefusedError(f"bytes in an unusual spelling ({codec!r})")
    return text.encode("latin-1")


_PLAIN = (dict, list, tuple, set, frozenset, str, bytes, int, float, complex, bool)
_KNOWN: dict[str, Callable[..., Any]] = {
    **{f"builtins.{kind.__name__}": kind for kind in _PLAIN},
    "collections.OrderedDict": collections.OrderedDict,
    "_codecs.encode": _latin1,
    "numpy.ndarray": Left,
    "numpy.dtype": _Dtype,
    "numpy.core.multiarray._reconstruct": Left,
    "numpy.core.multiarray.scalar": _scalar,
    "numpy.core.numeric._frombuffer": Left,
}
"""All that a pickle may name. NumPy's names stand for our own harmless stand-ins."""


class RestrictedUnpickler(pickle.Unpickler):
    """An unpickler to which only plain containers, texts and numbers exist."""

    def find_class(self, module: str, name: str, /) -> Any:
        """The plain class of that name.

        Raises:
            RefusedError: any other name.
        """
        known = module.replace("numpy._core.", "numpy.core.").replace("__builtin__", "builtins")
        if f"{known}.{name}" not in _KNOWN:
            raise RefusedError(
                f"it asks for {module}.{name}; only plain dictionaries, lists, texts and numbers "
                "are read"
            )
        return _KNOWN[f"{known}.{name}"]


def read_plain(raw: bytes, keys: Sequence[str]) -> dict[str, Any]:
    """The values of some keys of a pickled dictionary, as JSON has them.

    Refusing names does not bound memory: see ``read``.

    Args:
        keys: what to take out; keys that are not there are left out.

    Raises:
        RefusedError: not a pickle, more than plain values, no dictionary, or a value under one of
            the keys that is neither a text nor a number nor a list of these.
    """
    try:
        # Texts that Python 2 wrote are bytes; captions are UTF-8.
        found = RestrictedUnpickler(io.BytesIO(raw), encoding="utf-8").load()
        if not isinstance(found, dict):
            raise RefusedError(f"it holds a {type(found).__name__}; expected a dictionary")
        return {key: _plain(found[key], key) for key in keys if key in found}
    except MemoryError:
        raise RefusedError("it needs more memory than a record may") from None
    except RefusedError:
        raise
    except Exception as error:  # a hostile file can make the decoder raise anything
        raise RefusedError(f"it cannot be read ({reason_of(error)})") from None


def _plain(value: Any, key: str) -> Any:
    if isinstance(value, list | tuple):
        return [_plain(part, key) for part in value]
    if isinstance(value, bytes):
        return value.decode("utf-8")
    if value is None or isinstance(value, str | int | float):
        return value
    raise RefusedError(f"key {key!r} holds a {type(value).__name__}; expected a text or a list")


def read(path: Path) -> dict[str, Any]:
    """The wanted values of one pickle; reading may add ``MEMORY_BYTES`` to the process's memory.

    Raises:
        DataError: not readable, too large or refused; names the file and why. Or not on Linux,
            where the process's size cannot be asked for.
    """
    try:
        if path.stat().st_size > PICKLE_BYTES:
            raise DataError(
                f"{path} has more than the {PICKLE_BYTES} bytes of a record of one image"
            )
        raw = path.read_bytes()
        pages = int(Path("/proc/self/statm").read_text().split()[0])
    except OSError as error:
        raise DataError(f"cannot read {error.filename}: {error.strerror or error}") from None
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    limit = pages * resource.getpagesize() + MEMORY_BYTES
    resource.setrlimit(resource.RLIMIT_AS, (limit if soft < 0 else min(soft, limit), hard))
    try:
        return read_plain(raw, KEYS)
    except RefusedError as error:
        raise DataError(f"{path} is refused: {error}") from None
    finally:
        resource.setrlimit(resource.RLIMIT_AS, (soft, hard))


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
    if not out.parent.is_dir():
        raise DataError(f"cannot write {out}: there is no folder {out.parent}")
    if out.exists() and not force:
        raise DataError(f"{out} exists; remove it or give --force")

    def write(file: IO[bytes]) -> None:
        for path in pickles:
            record = read(path)
            # What the loader reads; numbers become texts.
            record |= {
                k: str(found) for k, found in record.items() if isinstance(found, int | float)
            }
            product_image(record, str(path))
            file.write(f"{json.dumps(record, ensure_ascii=False)}\n".encode())

    try:
        atomic_write(out, write)
    except OSError as error:
        raise DataError(f"cannot write {out}: {error.strerror or error}") from None
    return len(pickles)


def main(argv: Sequence[str] | None = None) -> int:
    """The command line; returns the exit code (2: refused)."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmark.data.datasets.convert_fashion_gen",
        description="Converts Fashion-Gen's pickles to JSON lines.",
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
