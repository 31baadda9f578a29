"""WebDataset shards: samples of tar archives, read in place; nothing is ever extracted."""

from __future__ import annotations

import json
import os
import tarfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from benchmark.data.datasets.nearby import unpacking
from benchmark.data.media import Stored
from benchmark.data.own.source import METADATA, PICTURES
from benchmark.errors import DataError

_TEXT = 1 << 20  # bytes of a caption or of a sample's JSON


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
    ``.1.txt``: several); the entries of ``.json`` become columns of their names. ``id`` is the
    sample's name where ``.json`` has none.

    Raises:
        DataError: an archive that is missing, compressed or broken; says which.
    """
    for shard in shards:
        key, row = "", dict[str, Any]()
        for member in _members(shard):
            path = PurePosixPath(member.name)
            stem, _, kind = path.name.partition(".")
            name = str(path.with_name(stem))
            if name != key and row:
                yield {"id": key, **row}
                row = {}
            key = name
            found = _fields(member, kind.lower())
            if kind.lower().endswith(".txt") and "caption" in row:  # "0.txt", "1.txt"
                before = row["caption"]
                said = before if isinstance(before, list) else [before]
                found["caption"] = [*said, found["caption"]]
            row |= found
        if row:
            yield {"id": key, **row}


def _fields(member: Member, kind: str) -> dict[str, Any]:
    suffix = f".{kind.rpartition('.')[2]}"
    if suffix in PICTURES:
        named = kind.rpartition(".")[0]  # "reference.jpg", "target.jpg"
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
        values = {"caption": text.strip()} if suffix == ".txt" else json.loads(text)
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
