"""Rows of a user's tables, folders and data sets, a chunk at a time."""

from __future__ import annotations

import codecs
import csv
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain, islice, zip_longest
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from benchmark.data.datasets.annotations import not_utf8, read_json_lines
from benchmark.data.datasets.nearby import unpacking
from benchmark.data.own.source import COLUMNS, HUB, is_saved, metadata_of, shards_of, undescribed
from benchmark.data.own.stored import hub_rows, open_hub, shard_rows
from benchmark.errors import DataError, import_extra, reason_of

if TYPE_CHECKING:
    import pandas as pd

CHUNK = 50_000
"""Rows that are held at once."""

_VALUE = 1 << 30  # letters of one value of a table

FILE_ROWS = 64
"""Rows of a Parquet table with pictures or sounds in it that are held at once."""

_MISSING = frozenset({"nan", "none", "null", "na", "n/a", "#n/a", "<na>", r"\n"})

_FOLDER_NAMES = {"image": "file_name", "caption": "text"}
"""What Hugging Face's folders call them."""


Rows = list[dict[Any, Any]]
"""Some rows, with the columns that each of them has."""


@dataclass(frozen=True)
class Table:
    """A table of the user's.

    Attributes:
        name: for messages.
        columns: those of ``COLUMNS`` that it has.
        there: all of its columns, as the user calls them.
        free: those of them without a meaning.
        rows: gives the rows in order, each as column -> value.
        root: the folder that paths start from; None where the table holds its media itself.
    """

    name: str
    columns: tuple[str, ...]
    there: tuple[str, ...]
    free: tuple[str, ...]
    rows: Callable[[], Iterator[dict[str, Any]]]
    root: Path | None


def open_table(place: str, columns: Mapping[str, str]) -> Table:
    """Opens a table, folder, shards or a data set of the hub's cache.

    Args:
        place: see ``OwnSource``.
        columns: our name of a column -> the user's.

    Raises:
        DataError: it is not there, cannot be read, or lacks a column that ``columns`` names.
    """
    return open_tables([place], columns)[0]


def open_tables(places: Sequence[str], columns: Mapping[str, str]) -> list[Table]:
    """Opens several, as ``open_table``; a column that ``columns`` names may be in any of them."""
    tables = [_opened(place, columns) for place in places]
    _refuse_lacking(tables, columns)
    return tables


def _opened(place: str, columns: Mapping[str, str]) -> Table:
    if place.startswith(HUB) or is_saved(Path(place)):
        name = place.removeprefix(HUB)
        parts = open_hub(name)
        return _table(place, lambda: _batches(hub_rows(parts, name)), columns, None)
    path = Path(place)
    described = metadata_of(path) if path.is_dir() else []
    if described:
        return _table(place, lambda: _folder_rows(path, described), columns, path, _FOLDER_NAMES)
    if shards := shards_of(place):
        return _table(place, lambda: _batches(shard_rows(shards)), columns, None)
    if path.is_dir():
        raise DataError(f"{place} {undescribed(path)}")
    if not path.is_file():
        raise DataError(f"there is no table {place!r}; expected a file, a folder or shards")
    return _table(place, lambda: _rows(path), columns, path.parent)


def of_frame(frame: pd.DataFrame, columns: Mapping[str, str], root: Path | None) -> Table:
    """A DataFrame as a table; media are paths below ``root``, bytes or arrays.

    Raises:
        DataError: an index with duplicates, or a column that is not there.
    """
    if not frame.index.is_unique:
        twice = frame.index[frame.index.duplicated()][0]
        raise DataError(
            f"the index of the DataFrame has {twice} more than once, so its rows cannot be told "
            "apart; expected each once: frame.reset_index(drop=True)"
        )
    frame = frame.reset_index(drop=True).rename(columns=str)
    _refuse_double("the DataFrame", frame.columns.tolist())
    frame = frame.astype(object).where(frame.notna(), None)  # pandas has several missing values
    table = _table("the DataFrame", lambda: iter([frame.to_dict("records")]), columns, root)
    _refuse_lacking([table], columns)
    return table


def _refuse_lacking(tables: Sequence[Table], columns: Mapping[str, str]) -> None:
    for ours, theirs in columns.items():
        if not any(theirs in table.there for table in tables):
            listed = "; ".join(f"{t.name} has {', '.join(map(repr, t.there))}" for t in tables)
            raise DataError(f"there is no column {theirs!r} to be the {ours}; {listed}")


def refuse_missing(text: str, what: str, advice: str) -> None:
    """Refuses a word that tables write for a missing value.

    Raises:
        DataError: ``what`` (row and column) is such a word; ``advice`` says what to do.
    """
    if len(text) < 8 and text.strip().casefold() in _MISSING:
        raise DataError(f"{what} is {text!r}, which stands for a missing value; {advice}")


def _table(
    name: str,
    chunks: Callable[[], Iterator[Rows]],
    columns: Mapping[str, str],
    root: Path | None,
    usual: Mapping[str, str] = MappingProxyType({}),
) -> Table:
    """Those of ``columns`` and ``usual`` (likewise our name -> theirs) count that are there."""
    there = tuple(dict.fromkeys(column for row in next(chunks(), ()) for column in row))
    if not there:
        raise DataError(f"{name} has no rows; expected at least one")
    mapping = {name: name for name in COLUMNS if name in there}
    known = {**usual, **columns}.items()
    mapping |= {ours: theirs for ours, theirs in known if theirs in there}

    def rows() -> Iterator[dict[str, Any]]:
        for row in chain.from_iterable(chunks()):
            yield {ours: row.get(theirs) for ours, theirs in mapping.items()}

    free = tuple(column for column in there if column not in ("", *COLUMNS, *mapping.values()))
    return Table(name, tuple(mapping), there, free, rows, root)


_OTHER_FILES = {
    b"\xff\xfe": "UTF-16 text: iconv -f UTF-16 -t UTF-8 {path} > {new}",
    b"\xfe\xff": "UTF-16 text: iconv -f UTF-16 -t UTF-8 {path} > {new}",
    b"\x1f\x8b": "compressed: gunzip -c {path} > {new}",
    b"PK\x03\x04": "a zip archive or an Excel workbook: unpack it, or save it as CSV",
}
"""First bytes of files that are no UTF-8 text -> what they are and what to do."""


def _rows(path: Path) -> Iterator[Rows]:
    """The rows of one file.

    Raises:
        DataError: it cannot be read, or is no text; says what it is, where that is plain to see.
    """
    suffix = path.suffix.lower()
    if suffix == ".parquet":
        return _parquet(path)
    try:
        with path.open("rb") as file:
            head = file.read(4096)
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror or error}") from None
    found = next((text for first, text in _OTHER_FILES.items() if head.startswith(first)), "")
    if command := unpacking(path):
        found = f"packed; expected what is in it: {command}"
    if not found and b"\0" in head:
        found = "no text, as it holds zero bytes: save it as text in UTF-8"
    if found:
        names = {"path": path, "new": path.with_stem(f"{path.stem}-utf8")}
        raise DataError(f"{path} is {found.format(**names)}")
    if suffix not in (".jsonl", ".ndjson"):
        return _batches(_separated(path, "\t" if suffix == ".tsv" else ","))
    if head.removeprefix(codecs.BOM_UTF8).lstrip().startswith(b"["):
        raise DataError(
            f"{path}, line 1: expected an object, {{...}}, and one in each line; of a list: "
            f"jq -c '.[]' {path} > {path.with_stem(f'{path.stem}-lines')}"
        )
    return _batches(_json_lines(path))


def _json_lines(path: Path) -> Iterator[dict[str, Any]]:
    for where, record in read_json_lines(path):
        if not isinstance(record, dict):
            raise DataError(f"{where}: expected an object, {{...}}")
        yield record


def _separated(path: Path, separator: str) -> Iterator[dict[str, Any]]:
    csv.field_size_limit(_VALUE)
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            head = csv.reader(file, delimiter=separator)
            names = [name.strip() for name in next(filter(_filled, head), [""])]
            _refuse_double(str(path), names)
            _refuse_odd_names(path, names, separator)
            rows = csv.reader(file, delimiter=separator, strict=True)
            line = head.line_num
            for row in filter(_filled, rows):
                if len(row) > len(names):
                    raise csv.Error(f"{len(row)} values for {len(names)} columns")
                yield dict(zip_longest(names, row, fillvalue=""))
                line = head.line_num + rows.line_num
    except UnicodeDecodeError as error:
        raise not_utf8(path, error) from None
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror or error}") from None
    except csv.Error as error:
        raise DataError(
            f"{path} cannot be read as a table from line {line + 1} on ({error}); expected quotes "
            "around values with separators, line breaks or quotes, and those within doubled"
        ) from None


def _filled(row: list[str]) -> bool:
    """Whether a line of a table is not blank."""
    return len(row) > 1 or bool("".join(row).strip())


def _refuse_double(where: str, names: list[str]) -> None:
    if twice := [name for name in names if name and names.count(name) > 1]:
        raise DataError(
            f"{where} has the column {twice[0]!r} {names.count(twice[0])} times; expected each "
            "name once: several captions are rows, or a list in one column"
        )


def _refuse_odd_names(path: Path, names: list[str], separator: str) -> None:
    """Refuses a first line that is a comment, or whose names have another separator."""
    if names[0].startswith(("# ", "//")) or names[0] == "#":
        raise DataError(
            f"{path} begins with a comment, {names[0][:60]!r}; expected the names of the columns "
            "in the first line: take the comment out"
        )
    other = [one for one in (";", "\t", "|", ",") if one != separator and one in names[0]]
    # Commas within a name may have parted one that has semicolons before them.
    if other and "".join(names).count(other[0]) >= len(names) - 1:
        raise DataError(
            f"{path} has values with {other[0]!r} between them; expected {separator!r}, as its "
            "name says: save it as CSV with commas"
            + (", or name it .tsv" if other[0] == "\t" else "")
        )


def _batches(records: Iterator[dict[str, Any]]) -> Iterator[Rows]:
    while rows := list(islice(records, CHUNK)):
        yield rows


def _parquet(path: Path) -> Iterator[Rows]:
    other = ", or save it as CSV or JSON lines"
    what = f"reading {path} needs pyarrow"
    parquet = import_extra("pyarrow.parquet", "parquet", what, DataError, other)
    try:
        with parquet.ParquetFile(path) as file:
            large = any("binary" in str(field.type) for field in file.schema_arrow)
            for batch in file.iter_batches(batch_size=FILE_ROWS if large else CHUNK):
                yield batch.to_pylist()
    except (OSError, ValueError) as error:  # pyarrow's own are of these
        raise DataError(f"{path} cannot be read as Parquet ({reason_of(error)})") from None


def _folder_rows(folder: Path, tables: list[Path]) -> Iterator[Rows]:
    """A described folder; the tables of its splits say paths from their own folders."""
    for table in tables:
        below = table.parent.relative_to(folder).as_posix()
        for rows in _rows(table):
            for row in rows if below != "." else ():
                for name in row:
                    if name == "file_name" or name.endswith("_file_name"):
                        row[name] = f"{below}/{row[name]}"
                row.setdefault("split", below)
            yield rows
