"""Rows of a user's table with their values checked: split, texts, ids, groups, media."""

from __future__ import annotations

import ast
import json
import math
import os
import posixpath
import re
from array import array
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import zip_longest
from pathlib import Path, PurePosixPath
from typing import Any, cast

import numpy as np

from benchmark.data.datasets.annotations import relative_path, valid
from benchmark.data.datasets.folders import Files
from benchmark.data.datasets.nearby import is_junk, missing_files
from benchmark.data.media import Stored
from benchmark.data.own.items import Media, Packed, PackedFile, PackedTexts, content_digest, plain
from benchmark.data.own.source import PICTURES
from benchmark.data.own.stored import HubFile, Member
from benchmark.data.own.tables import Table, refuse_missing
from benchmark.errors import DataError, did_you_mean, shown

_STRING = re.compile(r"""'(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*\"""")

TEST = "test"
"""The split that is taken where there are several and the user names none."""

PAIRS = "a table of pairs"
"""What needs both sides in each row, in messages."""


def rows_of(table: Table, split: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """The rows of a split, each with its place for messages.

    Raises:
        DataError: no such split, or no split said where ``TEST`` is not one.
    """
    splits: set[str] = set()
    wanted, taken = split or TEST, 0
    has_splits = "split" in table.columns
    if split and not has_splits:
        raise DataError(f"{table.name} has no column split, so there is no split {split!r} in it")
    for number, row in enumerate(table.rows(), start=1):
        if has_splits:
            own = text_of(row["split"])
            splits.add(own)
            if own != wanted:
                continue
        taken += 1
        yield f"{table.name}, row {number}", row
    if not taken:
        if not has_splits:
            raise DataError(f"{table.name} has no rows; expected at least one")
        raise DataError(
            f"{table.name} has no rows of split {wanted!r}{did_you_mean(wanted, splits)}; it has "
            f"{', '.join(map(repr, sorted(splits)))}: say which with --split"
        )


def text_of(value: Any) -> str:
    """A value as text; "" for none."""
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return ""
    if isinstance(value, float) and value.is_integer():
        value = int(value)  # ids of a column with gaps
    return valid(str(value).strip(), "a value of the table")


def in_group(row: Mapping[str, Any], where: str, alone: str) -> str:
    """The group of a row, ``alone`` where there is none.

    Raises:
        DataError: a word that stands for a missing value, which would make one large group.
    """
    text = text_of(row.get("group"))
    refuse_missing(text, f"{where}: group", "leave it empty where there is none")
    return text or alone


def in_domain(row: Mapping[str, Any], where: str) -> str:
    """The domain of a row, "" in a table without domains.

    Raises:
        DataError: a table with domains does not say this one.
    """
    text = text_of(row.get("domain"))
    if not text and "domain" in row:
        raise DataError(f"{where}: domain is empty; expected a name in every row")
    return text


def literal(value: Any, where: str) -> Any:
    """A list or object that a text holds as JSON or as Python (pandas) writes it.

    Returns:
        The list or dictionary; any other value as it is, such as a text in brackets.

    Raises:
        DataError: a list as NumPy writes it, whose texts Python would join.
    """
    if not isinstance(value, str) or value[:1] + value[-1:] not in ("[]", "{}"):
        return value
    with suppress(ValueError):
        return json.loads(value)
    with suppress(ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
        read = ast.literal_eval(value)
        if isinstance(read, dict):
            return read
        if all(isinstance(one, str) for one in read):
            if len(_STRING.findall(value)) > len(read):
                raise DataError(
                    f"{where} is {shown(value)}, a list without commas, as NumPy writes it; "
                    "expected JSON: frame[column].map(lambda a: json.dumps(list(a)))"
                )
            return read
    return value


def several(value: Any, column: str, where: str) -> list[Any]:
    """One or several values: one, a list, or a list as text, see ``literal``.

    Raises:
        DataError: an empty list.
    """
    if isinstance(value, str) and value.startswith("["):
        read = literal(value, f"{where}: {column}")
        value = read if isinstance(read, list) else value
    if not isinstance(value, list | tuple) and not (
        isinstance(value, np.ndarray) and value.ndim == 1
    ):
        return [value]
    if not len(value):
        raise DataError(f"{where}: {column} is an empty list; expected at least one")
    return list(value)


def texts_of(value: Any, column: str, where: str) -> list[str]:
    """One or several texts, see ``several``.

    Raises:
        DataError: none, an empty one, or something else.
    """
    texts = several(value, column, where)
    for text in texts:
        if not isinstance(text, str):
            empty = text is None or text_of(text) == ""
            kind = "number" if isinstance(text, int | float) else type(text).__name__
            found = "empty" if empty else f"{text!r}, a {kind}"
            raise DataError(f"{where}: {column} is {found}; expected a text or a list of texts")
        if not text.strip():
            raise DataError(f"{where}: {column} is empty; expected a text: leave the row out")
        refuse_missing(text, f"{where}: {column}", "expected a text: leave the row out")
        valid(text, f"{where}: {column}")
    return texts


def refuse_numbers(table: Table, texts: PackedTexts) -> None:
    """Raises DataError where every text of the column caption is a number."""
    if len(texts) and texts.numbers:
        raise DataError(
            f"{table.name}: every caption is a number, such as {texts[0]!r}; expected texts: name "
            "the right column, --columns caption=NAME"
        )


@dataclass
class Codes:
    """Names as numbers, of groups or domains.

    Attributes:
        numbers: name -> its number.
        rows: numbers of the rows' names.
    """

    numbers: dict[str, int] = field(default_factory=dict)
    rows: array[int] = field(default_factory=lambda: array("q"))

    def of(self, name: str) -> int:
        return self.numbers.setdefault(name, len(self.numbers))

    def sorted(
        self, rows: Sequence[int] | None = None, key: Callable[[str], Any] | None = None
    ) -> tuple[np.ndarray, list[str]]:
        """The rows' numbers in order of the names, from 0, and the names."""
        names = sorted(self.numbers, key=key)
        places = {name: place for place, name in enumerate(names)}
        place = np.array([places[name] for name in self.numbers], dtype=np.int64)
        return place[np.asarray(self.rows if rows is None else rows, dtype=np.int64)], names

    @property
    def said(self) -> list[str]:
        """The names of domains for a fingerprint; they were in alphabetical order once."""
        plain = sorted(self.numbers, key=by_number) == sorted(self.numbers)
        return [*self.numbers, *([] if plain else ["by number"])]


class MediaFinder:
    """Finds what a table's values stand for, and notes what is not there.

    Args:
        allow_missing: whether files may be missing.

    Attributes:
        absent: names of what is not there.
    """

    def __init__(self, table: Table, *, allow_missing: bool) -> None:
        self.absent: dict[str, None] = {}
        self._table, self._allowed, self._root = table, allow_missing, table.root
        self._files = Files([table.root] if table.root else [])
        self._packed = Packed()

    def find(self, value: Any, column: str, where: str) -> Media | None:
        """What a value stands for; None for a file that is not there.

        Raises:
            DataError: a path outside the root, or a value that is no medium.
        """
        value = plain(value)
        if isinstance(value, Stored):
            return value
        if isinstance(value, bytes) and value:
            return PackedFile(self._packed, self._packed.add(value), f"{where}, {column}")
        if isinstance(value, np.ndarray):
            if value.dtype != np.uint8 or value.ndim != 3 or value.shape[2] != 3 or not value.size:
                raise DataError(
                    f"{where}: {column} is an array of {value.dtype}, shape {value.shape}; "
                    "expected uint8, (height, width, 3)"
                )
            return value
        if isinstance(value, Path):
            value = str(value)
        if not isinstance(value, str) or not value:
            kind = f"a {type(value).__name__}" if text_of(value) else "empty"
            raise DataError(
                f"{where}: {column} is {kind}; expected one path, or one file's content"
            )
        if self._root is None:
            raise DataError(
                f"{where}: {column} is the path {value!r}, and no folder is known that it starts "
                "from; expected the content itself, or with a DataFrame root=FOLDER"
            )
        path = _below(self._root, value, column, where)
        files = self._files
        found = _frames(files, path, where) if column == "video" else files.find(path)
        if found is None:
            refuse_missing(value, f"{where}: {column}", "expected a path: leave the row out")
        return found

    def check(self, found: int, what: str) -> None:
        """Raises DataError where files are missing and that is not allowed, or none is there."""
        if not self.absent or (self._allowed and found):
            return
        of, places = f"{what}s of {self._table.name}", [self._root] if self._root else []
        none = "paths start from the folder of the table"
        total = len(self.absent) + found
        raise DataError(missing_files(list(self.absent), total, of, places, none=none))


def _frames(files: Files, path: PurePosixPath, where: str) -> tuple[Path, ...] | None:
    if path.suffix.lower() in (".mp4", ".avi", ".mkv", ".mov", ".webm") or files.find(path):
        film = path.suffix.lower() not in PICTURES
        command = f": ffmpeg -i {path.name} -vf fps=1 {path.stem}/%04d.jpg" if film else ""
        raise DataError(
            f"{where}: video '{path}' is not decoded here; expected a folder of frames{command}"
        )
    frames = [f for f in files.inside(path) if f.suffix.lower() in PICTURES and not is_junk(f.name)]
    return tuple(sorted(frames, key=lambda frame: by_number(frame.name))) or None


def by_number(name: str) -> tuple[list[int | str], str]:
    """Sorts 2.jpg before 10.jpg."""
    parts = re.split(r"(\d+)", name)
    return [int(part) if place % 2 else part for place, part in enumerate(parts)], name


def _below(root: Path, value: str, column: str, where: str) -> PurePosixPath:
    """A path relative to the root, which it must not leave."""
    if "://" in value:
        raise DataError(
            f"{where}: {column} {value!r} is a URL, and nothing is downloaded here; expected a "
            f"path below {root}: download the files first"
        )
    text = value.replace("\\", "/")
    whole = Path(os.path.abspath(root / text))
    for top in (Path(os.path.abspath(root)), root.resolve()):
        if whole.is_relative_to(top):
            text = whole.relative_to(top).as_posix()
    try:
        return relative_path(text, where)
    except DataError:
        if any(letter < " " for letter in text):
            raise
        raise DataError(
            f"{where}: {column} {value!r} lies outside {root}, the folder of the table, "
            "and is refused; put the table into a folder above its files"
        ) from None


class Things(MediaFinder):
    """Pictures or sounds by id, each once, in the order of their first rows."""

    def __init__(self, table: Table, *, allow_missing: bool) -> None:
        super().__init__(table, allow_missing=allow_missing)
        self.ids: dict[str, int] = {}
        self.places: list[Media] = []
        self._said: dict[str, tuple[str, str]] = {}  # id -> value and place of its first row
        self._contents: dict[tuple[str, str], str] = {}  # name and digest -> id

    def number(self, value: Any, column: str, where: str, own_id: str = "") -> int | None:
        """The thing's number; None where it is missing.

        Raises:
            DataError: one id for two things, or no path.
        """
        said, content = shown_name(value), content_digest(value)
        if isinstance(value, Member) and not own_id:
            content = value.digest
        key = own_id or self._key(said, content, where)
        if "id" in self._table.columns and (said or content):
            said = said or f"content {content[:8]}"
            before = self._said.setdefault(key, (said, where))
            if before[0] != said:
                raise DataError(
                    f"{where}: id {key!r} stands for {said!r} here and for {before[0]!r} in "
                    f"{before[1].rpartition(', ')[2]}; an id is for one {column}"
                )
        if key in self.ids:
            first = self.places[self.ids[key]]
            if own_id and isinstance(value, Member) and value.digest != cast(Member, first).digest:
                both = f"{value.path} here and {cast(Member, first).path} before"
                advice = f"an id is for one {column}: say others in the .json of each sample"
                raise DataError(f"{where}: id {key!r} is {both}; {advice}")
            return self.ids[key]
        if key in self.absent:
            return None
        place = self.find(value, column, where)
        if place is None:
            self.absent[key] = None
            return None
        self.ids[key] = len(self.places)
        self.places.append(place)
        return self.ids[key]

    def _key(self, said: str, content: str, where: str) -> str:
        """The id of a thing without one: its name; the same content is the same thing."""
        key = said or row_id(where)
        if not content:
            return key
        if key in self.ids:  # data sets keep names without folders, which may be the same
            key = f"{key}~{content[:8]}"
        return self._contents.setdefault((said, content), key)


def row_id(where: str) -> str:
    """The id of a row that has none."""
    return f"row-{where.rpartition(' ')[2]}"


def shown_name(value: Any) -> str:
    """A medium as its table says it, "./a.jpg" as "a.jpg"; "" where it has no name."""
    if isinstance(value, HubFile):
        return value.named
    if isinstance(value, dict):
        value = value.get("path")
    named = isinstance(value, str | Path) and str(value)
    return posixpath.normpath(str(value).replace("\\", "/")) if named else ""


def need(table: Table, forms: Mapping[str, tuple[str, ...]], what: str) -> str:
    """The form of which a table has every column.

    Raises:
        DataError: none; says what is there and how to say which column is which.
    """
    have = {*table.columns}
    fitting = [name for name, columns in forms.items() if {*columns} <= have]
    if fitting:
        return fitting[0]
    listed = "; or ".join(" and ".join(columns) for columns in forms.values())
    # Of a table without any, a text is likelier than a pair of columns.
    likely = max(forms.values(), key=lambda form: (len({*form} & have), form == ("caption",)))
    lacking = [ours for ours in likely if ours not in have]
    pairs = zip_longest(lacking, table.free[: len(lacking)], fillvalue="NAME")
    example = ",".join(f"{ours}={name}" for ours, name in pairs)
    advice = f"say which is which, such as --columns {example}"
    if "relevant" in have and what == PAIRS:
        advice = "of queries with a column relevant, name the table of the gallery: --gallery TABLE"
    raise DataError(
        f"{table.name} has the columns {', '.join(map(repr, table.there))}; {what} needs {listed}: "
        f"{advice}"
    )
