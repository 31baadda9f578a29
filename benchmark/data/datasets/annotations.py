"""Reading annotation files so that every fault is named: file, line, record and key."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any

from benchmark.errors import DataError, did_you_mean


def read_json(path: Path, *, drop: str = "") -> Any:
    """Parses a UTF-8 JSON file.

    Args:
        drop: key to leave out of every object; saves most of the memory where it is a list of
            words beside a text that is kept.

    Raises:
        DataError: not readable, not UTF-8 or not JSON; says the file and the line.
    """

    def dropping(record: dict[str, Any]) -> dict[str, Any]:
        record.pop(drop, None)
        return record

    try:
        raw = path.read_bytes()
        text = raw.decode("utf-8-sig")
    except OSError as error:
        raise DataError(f"cannot read {path}: {error.strerror or error}") from None
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        raise not_utf8(path, error, f" in line {line}") from None
    return _parsed(text, f"{path}", hook=dropping if drop else None)


def read_json_lines(path: Path) -> Iterator[tuple[str, Any]]:
    """Parses a UTF-8 file of one JSON value a line, passing over blank lines.

    Yields:
        (file and line for messages, value) of each.

    Raises:
        DataError: not readable, not UTF-8 or not JSON; says the file, the line and the column.
    """
    number = 0
    try:
        with path.open(encoding="utf-8-sig") as file:
            for number, line in enumerate(file, start=1):
                if line.strip():
                    yield f"{path}, line {number}", _parsed(line, f"{path}", number)
    except OSError as error:
        raise DataError(f"cannot read {path}: {error.strerror or error}") from None
    except UnicodeDecodeError as error:
        raise not_utf8(path, error, f" after line {number}" if number else "") from None


def not_utf8(path: Path, error: UnicodeDecodeError, place: str = "") -> DataError:
    """The error for a text file in another encoding; ``place`` is the byte's in it."""
    return DataError(
        f"{path} is not UTF-8: byte 0x{error.object[error.start]:02x}{place}; save it as UTF-8, "
        "such as by iconv -f WINDOWS-1252 -t UTF-8"
    )


def _parsed(text: str, file: str, line: int = 0, hook: Callable[..., Any] | None = None) -> Any:
    """The value of a JSON text: a whole file, or one of its lines by number."""
    kind, where = ("JSON lines", f"{file}, line {line}") if line else ("JSON", file)
    try:
        return json.loads(text, object_hook=hook)
    except json.JSONDecodeError as error:
        place = f"line {line or error.lineno}, column {error.colno}"
        raise DataError(f"{file} is not valid {kind}: {place}: {error.msg}") from None
    except ValueError as error:  # a number of thousands of digits
        raise DataError(f"{where} is not usable JSON: {error}") from None
    except RecursionError:
        raise DataError(f"{where} is nested too deeply to be an annotation file") from None


def read_records(path: Path, *keys: str) -> Iterator[tuple[str, Any]]:
    """The records of a JSON list, each with its place for messages.

    Args:
        keys: those of a record, for the message where the file holds something else.

    Raises:
        DataError: see ``read_json``; or no list, or an empty one.
    """
    records = read_json(path)
    if not isinstance(records, list) or not records:
        *first, last = map(repr, keys)
        raise DataError(f"{path}: expected a list of records with {', '.join(first)} and {last}")
    return placed(records, path)


def placed(records: Iterable[Any], path: Path, what: str = "record") -> Iterator[tuple[str, Any]]:
    """Each record with its place for messages: the file, ``what`` it is there, its number."""
    return ((f"{path}, {what} {number}", one) for number, one in enumerate(records, start=1))


def of_split(
    records: Sequence[Any], split: str, path: Path, what: str = "record"
) -> Iterator[tuple[str, Any]]:
    """The records of one split in a list of all, as ``placed``.

    Raises:
        DataError: a record without split, or no record of this one; says which splits there are.
    """
    splits: set[str] = set()
    for where, record in placed(records, path, what):
        splits.add(value(record, "split", str, where))
        if record["split"] == split:
            yield where, record
    if split not in splits:
        raise no_split(str(path), split, sorted(splits))


def value(record: Any, key: str, kind: type, where: str) -> Any:
    """``record[key]``, checked to be of ``kind``.

    Raises:
        DataError: no object, no such key (with the nearest key) or a value of another type;
            ``where`` names the file and the record.
    """
    if not isinstance(record, Mapping):
        raise DataError(f"{where}: expected an object with key {key!r}, found {_kind(record)}")
    if key not in record:
        raise DataError(
            f"{where}: key {key!r} is missing; its keys are {', '.join(map(repr, record))}"
            f"{did_you_mean(key, map(str, record))}"
        )
    found = record[key]
    fits = isinstance(found, kind) and not isinstance(found, bool)
    if not fits or (isinstance(found, int) and abs(found) > _LARGEST):
        expected = "a whole number" if kind is int else _NAMES[kind]
        raise DataError(f"{where}: key {key!r} must be {expected}, found {_kind(found)}")
    return valid(found, f"{where}: key {key!r}") if isinstance(found, str) else found


def valid(text: str, what: str) -> str:
    """A text that is valid Unicode.

    Raises:
        DataError: it holds a lone surrogate, which JSON escapes can smuggle in.
    """
    try:
        text.encode()
    except UnicodeEncodeError:
        raise DataError(f"{what} is not valid Unicode: {text!r}") from None
    return text


def no_split(what: str, split: str, known: Sequence[str]) -> DataError:
    """The error for a split that is not there; says which are."""
    return DataError(
        f"{what} has no split {split!r}{did_you_mean(split, known)}; "
        f"it has {', '.join(map(repr, known)) or 'none'}"
    )


def captions_of(texts: Sequence[Any], where: str, key: str) -> list[str]:
    """Checks a non-empty list of captions.

    Raises:
        DataError: an empty list, an entry that is no string, or see ``valid``.
    """
    if not texts:
        raise DataError(f"{where}: key {key!r} is empty; expected at least one caption")
    for number, text in enumerate(texts, start=1):
        if not isinstance(text, str):
            raise DataError(f"{where}: caption {number} must be a string, found {_kind(text)}")
        valid(text, f"{where}: caption {number}")
    return list(texts)


def texts_of(record: Any, key: str, where: str) -> list[str]:
    """The captions that a record has as a list."""
    return captions_of(value(record, key, list, where), where, key)


def path_of(record: Any, key: str, where: str) -> PurePosixPath:
    """The image path of a record."""
    return relative_path(value(record, key, str, where), where)


def relative_path(text: str, where: str) -> PurePosixPath:
    """An image path from an annotation file, which must stay below the image folder.

    Raises:
        DataError: empty, absolute, with a drive, with ``..`` or with control characters.
    """
    path = PurePosixPath(text)
    windows = PureWindowsPath(text)
    if (
        not path.name
        or path.is_absolute()
        or windows.drive
        or ".." in windows.parts
        or "\\" in text
    ):
        raise DataError(
            f"{where}: image path {text!r} is refused; expected a path below the image folder, "
            "such as 'val2014/COCO_val2014_000000000001.jpg'"
        )
    if _CONTROL.search(text):
        raise DataError(
            f"{where}: image path {text!r} is refused: it holds a control character, which no file "
            "of a data set needs; rename the file and correct the annotation"
        )
    return path


_CONTROL = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")
"""Not the rest of what Python calls unprintable: macOS puts U+202F into names of screenshots, and
U+00A0, U+200D, U+200E and others are common in names as well."""

_LARGEST = 2**63 - 1  # of the whole numbers that arrays hold

_NAMES: dict[type, str] = {str: "a string", list: "a list", dict: "an object"}


def _kind(found: Any) -> str:
    for kind, name in _NAMES.items():
        if isinstance(found, kind):
            return name
    return "null" if found is None else f"{found!r}"
