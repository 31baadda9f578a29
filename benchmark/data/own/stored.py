"""What tables only point to: files of tar shards and of data sets of Hugging Face's library.

Both are read where they lie; of archives nothing is ever extracted, of data sets nothing decoded.
"""

from __future__ import annotations

import importlib
import json
import os
import re
import tarfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import groupby
from pathlib import Path, PurePosixPath
from typing import Any

from benchmark.data.datasets.nearby import unpacking
from benchmark.data.media import Stored
from benchmark.data.own.source import CONFIGURATION, METADATA, PICTURES, configured, is_saved
from benchmark.errors import DataError, did_you_mean, import_extra

_TEXT = 1 << 20  # bytes of a caption or of a sample's JSON

HUB_ROWS = 1_000
"""Rows that are turned from Arrow into Python at once."""

_CONFIGURATIONS = re.compile(
    r"(?:(?:configs|configurations)(?: in the cache)?|Available): (.*?)(?: Ex| Pl|$)"
)
"""Where the library's errors list the configurations of a data set."""


@dataclass(frozen=True, slots=True)
class Member(Stored):
    """One file within a tar archive.

    Attributes:
        archive: the archive.
        name: the member's.
        start: where its content begins, in bytes.
        size: of its content, in bytes.
    """

    archive: Path
    name: str
    start: int
    size: int

    @property
    def path(self) -> Path:
        return self.archive / self.name

    def read(self) -> bytes:
        try:
            with self.archive.open("rb") as file:
                file.seek(self.start)
                content = file.read(self.size)
        except OSError as error:
            raise DataError(f"cannot read {self.archive}: {error.strerror or error}") from None
        if len(content) < self.size:
            raise _broken(self.archive, f"it ends within {self.name}")
        return content


def shard_rows(shards: Sequence[Path]) -> Iterator[dict[str, Any]]:
    """One row for each sample: files of one name up to the first dot.

    A picture becomes ``image``, ``.wav`` becomes ``audio``, ``.txt`` ``caption`` (``.0.txt``,
    ``.1.txt``: several), ``.NAME.jpg`` and ``.NAME.txt`` become NAME; the entries of ``.json``
    become columns of their names. ``id`` is the sample's name where ``.json`` has none.

    Raises:
        DataError: an archive that is missing, compressed, broken or out of order; says which.
    """
    for shard in shards:
        seen: set[str] = set()
        for key, members in groupby(_members(shard), key=_sample):
            if key in seen:
                raise DataError(
                    f"{shard}: the files of {key!r} do not lie one after the other; expected each "
                    "sample's files together: unpack it, and tar --sort=name -cf NEW.tar FOLDER"
                )
            seen.add(key)
            row: dict[str, Any] = {}
            texts: list[str] = []  # "0.txt", "1.txt"
            for member in members:
                found = _fields(member)
                twice = [name for name in found if isinstance(row.get(name), Member)]
                if member.name.lower().endswith(".json"):  # the file is what it names
                    found = {name: value for name, value in found.items() if name not in twice}
                elif twice:
                    raise DataError(
                        f"{shard}: {member.name} is the second file for the {twice[0]} of {key!r}; "
                        f"expected one: name it {key}.OTHER{member.path.suffix}"
                    )
                if member.name.lower().endswith(".txt") and "caption" in found:
                    texts.append(found.pop("caption"))
                row |= found
            if texts:  # img2dataset says the caption in .json too
                row["caption"] = texts
            if row:
                yield {"id": key, **row}


def _sample(member: Member) -> str:
    path = PurePosixPath(member.name)
    return str(path.with_name(path.name.partition(".")[0]))


def _fields(member: Member) -> dict[str, Any]:
    kind = PurePosixPath(member.name).name.partition(".")[2].lower()
    suffix = f".{kind.rpartition('.')[2]}"
    named = kind.rpartition(".")[0]  # "reference.jpg", "modification.txt"
    if suffix in PICTURES:
        return {named or "image": member}
    if suffix == ".wav":
        return {"audio": member}
    if suffix not in (".txt", ".json"):
        return {}
    where = f"{member.archive}, {member.name}"
    if member.size > _TEXT:
        raise DataError(f"{where} has {member.size:,} bytes; expected at most {_TEXT:,} of text")
    try:
        text = member.read().decode()
        column = "caption" if not named or named.isdecimal() else named
        values = {column: text.strip()} if suffix == ".txt" else json.loads(text)
    except ValueError as error:
        raise DataError(f"{where} is no {suffix[1:]} in UTF-8 ({error})") from None
    if not isinstance(values, dict):
        raise DataError(f"{where} must hold an object, {{...}}")
    return values


def _members(shard: Path) -> Iterator[Member]:
    """The plain files of an archive; links, folders and devices are passed over."""
    try:
        size = shard.stat().st_size
        with tarfile.open(shard, "r:") as archive:
            for member in archive:
                if os.path.basename(member.name) in METADATA:
                    command = unpacking(shard)
                    raise DataError(f"{shard} is a packed folder ({member.name}): {command}")
                if os.path.basename(member.name).startswith("."):
                    continue  # what macOS adds; it would part the files of a sample
                if member.isreg() and not member.issparse():
                    if member.offset_data + member.size > size:
                        raise _broken(shard, f"it ends within {member.name}")
                    yield Member(shard, member.name, member.offset_data, member.size)
                archive.members.clear()  # type: ignore[attr-defined]  # a shard has many
            with shard.open("rb") as file:  # tarfile takes whatever is no header for the end
                file.seek(archive.offset)
                if file.read(tarfile.BLOCKSIZE) != bytes(tarfile.BLOCKSIZE):
                    raise _broken(shard, "it stops before its end")
    except FileNotFoundError:
        raise DataError(f"there is no shard {shard}") from None
    except tarfile.TarError as error:
        raise _broken(shard, str(error)) from None
    except OSError as error:
        raise DataError(f"cannot read {shard}: {error.strerror or error}") from None


def _broken(shard: Path, why: str) -> DataError:
    return DataError(
        f"{shard} is no sound tar archive ({why}); expected an uncompressed one: fetch it again, "
        "or unpack a compressed one to .tar"
    )


@dataclass(frozen=True)
class HubFile(Stored):
    """A picture or sound of a data set, read where it lies when asked for.

    Attributes:
        rows: a memory-mapped ``datasets.Dataset`` of the column that decodes nothing.
        column: the column.
        place: the row, from 0.
        named: what the data set calls the file; "" for nothing.
        roots: the folders below which files may lie that the data set only names.
    """

    rows: Any
    column: str
    place: int
    named: str
    roots: tuple[Path, ...]

    @property
    def path(self) -> Path:
        return Path(self.named or f"{self.column} {self.place}")

    @cached_property
    def digest(self) -> str:
        return super().digest

    def read(self) -> bytes:
        value = self.rows[self.place][self.column] or {}
        if (content := value.get("bytes")) is not None:
            return bytes(content)
        path = Path(value.get("path") or "").absolute()
        if not any(path.resolve().is_relative_to(root.resolve()) for root in self.roots):
            raise DataError(
                f"{self.column} of row {self.place + 1} is the file {str(value.get('path'))!r}, "
                f"outside {' and '.join(map(str, self.roots))}, and is refused; save the data set "
                "with its files: save_to_disk(FOLDER)"
            )
        try:
            return path.read_bytes()
        except OSError as error:
            raise DataError(f"cannot read {path}: {error.strerror or error}") from None


def open_hub(place: str) -> Mapping[str, Any]:
    """The splits of a data set, from this machine alone.

    Args:
        place: its name on the hub, if it is in the local cache; or a folder of data files or of
            ``save_to_disk``. "@" and a configuration may follow (see ``configured``).

    Raises:
        DataError: no library, it finds no such data set here, or there are several configurations
            of which none was chosen.
    """
    what = f"the data set hf:{place} needs the library datasets"
    library = import_extra("datasets", "datasets", what, DataError)
    name, configuration = configured(place)
    folder = Path(name)
    # Off the network and the terminal; the library reads its switches at each use.
    config, utils = library.config, library.utils
    before, level = config.HF_HUB_OFFLINE, utils.logging.get_verbosity()
    quiet = utils.are_progress_bars_disabled()
    config.HF_HUB_OFFLINE = True
    utils.logging.set_verbosity_error()
    utils.disable_progress_bars()
    try:
        if is_saved(folder):
            found = library.load_from_disk(str(folder))
        else:
            found = library.load_dataset(name, configuration or None)
    except Exception as error:  # the library's own, and those of every builder
        raise DataError(_not_found(name, configuration, error, library)) from None
    finally:
        config.HF_HUB_OFFLINE = before
        utils.logging.set_verbosity(level)
        if not quiet:
            utils.enable_progress_bars()
    return found if isinstance(found, Mapping) else {"": found}


def _not_found(name: str, configuration: str, error: Exception, library: Any) -> str:
    said = " ".join(str(error).split())
    if listed := _CONFIGURATIONS.search(said):
        known = re.findall(r"[^\s,'\"\[\]]+", listed[1])
        wrong = f", and {configuration!r} is none of them" if configuration else ""
        return (
            f"the data set {name!r} has {len(known)} configurations here, {', '.join(known)}"
            f"{wrong}{did_you_mean(configuration, known)}: say which, hf:{name}{CONFIGURATION}"
            f"{known[0]}"
        )
    call = ", ".join(repr(part) for part in (name, configuration) if part)
    advice = f'fetch it once: python -c "import datasets; datasets.load_dataset({call})"'
    if Path(name).is_dir():
        advice = "expected a folder of data files or of save_to_disk"
    cache = Path(library.config.HF_DATASETS_CACHE)
    there = [p.name.replace("___", "/") for p in cache.glob("*") if p.is_dir()]
    return (
        f"the data set {name!r} cannot be loaded from this machine ({type(error).__name__}: "
        f"{said[:200]}){did_you_mean(name, there)}; {advice}"
    )


def hub_rows(parts: Mapping[str, Any], name: str) -> Iterator[dict[str, Any]]:
    """The rows of all splits, with a column ``split`` where splits have names.

    Pictures and sounds are ``HubFile``; nothing is decoded.
    """
    library = importlib.import_module("datasets")
    name, _ = configured(name)
    roots = (Path(library.config.HF_CACHE_HOME), *((Path(name),) if Path(name).is_dir() else ()))
    for split, rows in parts.items():
        media = [
            column
            for column, feature in rows.features.items()
            if isinstance(feature, library.Image | library.Audio)
        ]
        for column in media:
            rows = rows.cast_column(column, type(rows.features[column])(decode=False))
        plain = rows.remove_columns(media)
        alone = {column: rows.select_columns([column]) for column in media}
        arrow = rows.with_format("arrow")
        named = {"split": split} if split else {}
        for start in range(0, len(rows), HUB_ROWS):
            stop = min(start + HUB_ROWS, len(rows))
            columns = dict(plain[start:stop]) if plain.features else {}
            for column in media:
                said = _names(arrow[start:stop].column(column))
                columns[column] = [
                    None if name is None else HubFile(alone[column], column, start + i, name, roots)
                    for i, name in enumerate(said)
                ]
            for i in range(stop - start):
                yield {**named, **{column: columns[column][i] for column in rows.features}}


def _names(column: Any) -> list[str | None]:
    """The names of files in an Arrow column of {bytes, path}; None where there is no file."""
    return [
        (name or "") if there else None
        for chunk in column.chunks
        for there, name in zip(
            chunk.is_valid().to_pylist(), chunk.field("path").to_pylist(), strict=True
        )
    ]
