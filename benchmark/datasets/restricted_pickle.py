"""Reading pickles of plain values in a process that can do nothing else.

Unpickling runs what the file says. So ``RestrictedUnpickler`` knows a few plain containers and
nothing more, and ``convert_fashion_gen`` runs this file as a program of its own: in Python's
isolated mode, without the package and without other libraries, under limits on memory, processor
time, written files, open files and child processes that are set before the first byte is read. It
gets one pickle after the other on standard input and answers each with one line of JSON.

Values of NumPy are read without NumPy: scalars become numbers and texts, arrays are left out.
"""

from __future__ import annotations

import codecs
import collections
import io
import json
import pickle
import struct
import sys
from collections.abc import Callable, Sequence
from typing import Any, BinaryIO

MEMORY_BYTES = 1 << 30
"""Address space of the process."""

CPU_SECONDS = 900
"""Processor time for all pickles together; 35,000 small ones take about ten seconds."""

HEADER = struct.Struct(">Q")
"""Goes before each pickle: its length."""


class RefusedError(Exception):
    """Raised for a pickle that holds more than plain values, or that is none."""


class Left:
    """Stands for a value that is not read: a NumPy array."""

    def __init__(self, *_: object) -> None:
        pass

    def __setstate__(self, state: object) -> None:
        pass


class _Dtype:
    """A NumPy element type, as far as scalars need it: "<i8", "<U5", "S3", "<f4", "?"."""

    def __init__(self, code: object = "", *_: object) -> None:
        self.code = code if isinstance(code, str) else ""
        self.order = "<"

    def __setstate__(self, state: object) -> None:
        if isinstance(state, tuple) and len(state) > 1 and state[1] in ("<", ">"):
            self.order = state[1]


def _scalar(dtype: object, raw: object = b"", *_: object) -> Any:
    """A NumPy scalar from its element type and its bytes."""
    if isinstance(raw, str):
        raw = raw.encode("latin-1")
    if not isinstance(dtype, _Dtype) or not isinstance(raw, bytes):
        return Left()
    kind = dtype.code.lstrip("<>=|")[:1]
    big = dtype.order == ">"
    if kind in ("i", "u"):
        return int.from_bytes(raw, "big" if big else "little", signed=kind == "i")
    if kind in ("b", "?"):
        return raw != b"\0"
    if kind == "U":
        return raw.decode("utf-32-be" if big else "utf-32-le").rstrip("\0")
    if kind == "S":
        return raw.rstrip(b"\0").decode("utf-8")
    if kind == "f" and len(raw) in (2, 4, 8):
        return struct.unpack(dtype.order + {2: "e", 4: "f", 8: "d"}[len(raw)], raw)[0]
    return Left()


def _latin1(text: object, codec: object = "latin1") -> bytes:
    """What Python 3 writes for bytes in old protocols."""
    if not isinstance(text, str) or codec not in ("latin1", "latin-1"):
        raise RefusedError(f"bytes in an unusual spelling ({codec!r})")
    return text.encode("latin-1")


_PLAIN: dict[str, Callable[..., Any]] = {
    kind.__name__: kind
    for kind in (dict, list, tuple, set, frozenset, str, bytes, int, float, complex, bool)
}
_KNOWN: dict[tuple[str, str], Callable[..., Any]] = {
    **{
        (module, name): kind
        for module in ("builtins", "__builtin__")
        for name, kind in _PLAIN.items()
    },
    ("collections", "OrderedDict"): collections.OrderedDict,
    ("_codecs", "encode"): _latin1,
    ("numpy", "ndarray"): Left,
    ("numpy", "dtype"): _Dtype,
    **{
        (f"numpy.{core}.{module}", name): stand_in
        for core in ("core", "_core")
        for module, name, stand_in in (
            ("multiarray", "_reconstruct", Left),
            ("multiarray", "scalar", _scalar),
            ("numeric", "_frombuffer", Left),
        )
    },
}
"""All that a pickle may name. NumPy's names stand for our own harmless stand-ins."""


class RestrictedUnpickler(pickle.Unpickler):
    """An unpickler to which only plain containers, texts and numbers exist."""

    def find_class(self, module: str, name: str, /) -> Any:
        """The plain class of that name.

        Raises:
            RefusedError: any other name.
        """
        try:
            return _KNOWN[module, name]
        except KeyError:
            raise RefusedError(
                f"it asks for {module}.{name}; only plain dictionaries, lists, texts and numbers "
                "are read"
            ) from None

    def persistent_load(self, pid: Any, /) -> Any:
        """Refused: nothing outside of the file is looked up."""
        raise RefusedError("it refers to an object outside of the file")


def read_plain(raw: bytes, keys: Sequence[str]) -> dict[str, Any]:
    """The values of some keys of a pickled dictionary, as JSON has them.

    To be called in the sandbox: refusing names does not bound memory.

    Args:
        raw: the pickle.
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
        raise RefusedError(f"it cannot be read ({type(error).__name__}: {error})") from None


def _plain(value: Any, key: str) -> Any:
    if isinstance(value, list | tuple):
        return [_plain(part, key) for part in value]
    if isinstance(value, bytes):
        return value.decode("utf-8")
    if value is None or isinstance(value, str | int | float):
        return value
    raise RefusedError(f"key {key!r} holds a {type(value).__name__}; expected a text or a list")


def serve(source: BinaryIO, sink: BinaryIO, keys: Sequence[str]) -> None:
    """Answers each pickle with ``{"record": ...}`` or ``{"refused": why}``, a line each."""
    while header := source.read(HEADER.size):
        raw = source.read(HEADER.unpack(header)[0])
        try:
            answer = json.dumps({"record": read_plain(raw, keys)})
        except (RefusedError, ValueError) as error:
            answer = json.dumps({"refused": str(error)})
        sink.write(answer.encode() + b"\n")
        sink.flush()


def shut_in() -> None:
    """Takes from this process all it does not need; cannot be undone.

    Raises:
        ImportError, OSError, ValueError: the system does not know such limits.
    """
    import resource

    for codec in ("utf-8", "latin-1", "ascii", "utf-32-le", "utf-32-be"):
        codecs.lookup(codec)  # loads its module, while files can still be opened
    limits = {
        resource.RLIMIT_AS: MEMORY_BYTES,
        resource.RLIMIT_CPU: CPU_SECONDS,
        resource.RLIMIT_FSIZE: 0,
        resource.RLIMIT_CORE: 0,
        resource.RLIMIT_NPROC: 0,
        resource.RLIMIT_NOFILE: 3,  # the three standard streams: no file, no connection
    }
    for limit, most in limits.items():
        resource.setrlimit(limit, (most, most))


def main() -> None:
    """The program: shuts itself in, says so, and serves."""
    try:
        shut_in()
    except (ImportError, OSError, ValueError) as error:
        ready: dict[str, Any] = {"refused": f"limits cannot be set on this system: {error}"}
    else:
        ready = {"ready": True}
    sys.stdout.buffer.write(json.dumps(ready).encode() + b"\n")
    sys.stdout.buffer.flush()
    if "ready" in ready:
        serve(sys.stdin.buffer, sys.stdout.buffer, sys.argv[1:])


if __name__ == "__main__":
    main()
