"""What a user's own data are called, and the one text that says where they lie.

Importing this module imports neither NumPy nor pandas.
"""

from __future__ import annotations

import dataclasses
import glob
import os
import re
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, quote, unquote, urlencode
from zlib import crc32

from benchmark.data.datasets.nearby import is_junk, packed, unpacking
from benchmark.errors import ConfigError, DataError

HUB = "hf:"
"""Begins the name of a data set in the local cache of Hugging Face's library."""

CONFIGURATION = "@"
"""Between the name of such a data set and the one of its configurations that is wanted."""

TABLES = (".csv", ".tsv", ".jsonl", ".ndjson", ".parquet")
SHARDS = ".tar"
METADATA = ("metadata.csv", "metadata.jsonl", "metadata.parquet")
"""Tables of a folder in the ``imagefolder`` form."""

COLUMNS = (
    *("image", "caption", "video", "audio", "reference", "modification", "target"),
    *("id", "group", "split", "domain", "relevant"),
)
"""Every column that has a meaning."""

PICTURES = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".gif", ".tif", ".tiff")

_BRACES = re.compile(r"\{(\d+)\.\.(\d+)\}")


@dataclass(frozen=True, slots=True)
class OwnSource:
    """A user's own data.

    Attributes:
        place: table, folder, shard (or a pattern of several), "hf:NAME" or "hf:NAME@CONFIGURATION".
        columns: our name of a column -> the user's, as pairs.
        gallery: table of the gallery where ``place`` holds queries only, else "".
        qrels: file of relevance in TREC's form, or "" for the queries' column ``relevant``.
        clean: the clean form of the same queries, where ``place`` holds shifted ones, else "".
        split: the rows to take, "" for "test" where there is a column ``split``.
        unlabelled: whether nothing is known of which gallery item answers which query.
    """

    place: str
    columns: tuple[tuple[str, str], ...] = ()
    gallery: str = ""
    qrels: str = ""
    clean: str = ""
    split: str = ""
    unlabelled: bool = False

    @property
    def name(self) -> str:
        """What the results are called: the file's or folder's name without its suffix."""
        text = self.place.removeprefix(HUB)
        stem = os.path.basename(os.path.normpath(_BRACES.sub("", text).replace("*", "")))
        if stem == SHARDS:  # "shards/*.tar"
            stem = os.path.basename(os.path.dirname(text)) or stem
        root, suffix = os.path.splitext(stem)
        return plain_name(root if suffix.lower() in (*TABLES, SHARDS) else stem)

    @property
    def text(self) -> str:
        """All of it as one text, which travels as a cell's ``data_root``."""
        place = self.place.replace("%", "%25").replace("?", "%3F")
        facts = [(f"column.{ours}", theirs) for ours, theirs in self.columns]
        facts += [
            (name, value)
            for name in ("gallery", "qrels", "clean", "split")
            if (value := getattr(self, name))
        ]
        facts += [("unlabelled", "1")] * self.unlabelled
        return f"{place}?{urlencode(facts, quote_via=quote, safe='')}" if facts else place

    @classmethod
    def of(cls, text: str) -> OwnSource:
        """The inverse of ``text``."""
        place, _, rest = text.partition("?")
        facts = dict(parse_qsl(rest))
        columns = tuple(
            (name.removeprefix("column."), value)
            for name, value in facts.items()
            if name.startswith("column.")
        )
        unlabelled = bool(facts.pop("unlabelled", ""))
        named = {name: value for name, value in facts.items() if "." not in name}
        return cls(unquote(place), columns, **named, unlabelled=unlabelled)

    def absolute(self) -> OwnSource:
        """With whole paths, so that every process finds them."""

        def whole(place: str) -> str:
            begins = HUB if place.startswith(HUB) else ""
            path = place.removeprefix(begins)
            folder = configured(path)[0] if begins else path
            if not folder or (begins and not os.path.isdir(folder)):
                return place
            return begins + os.path.abspath(folder) + path.removeprefix(folder)

        names = ("place", "gallery", "qrels", "clean")
        places: dict[str, Any] = {name: whole(getattr(self, name)) for name in names}
        return dataclasses.replace(self, **places)

    @property
    def cleaned(self) -> OwnSource:
        """The clean queries as a source of their own."""
        return dataclasses.replace(self, place=self.clean, clean="")

    @property
    def exists(self) -> bool:
        """Whether the data lie on this machine, as far as a name tells."""
        return (
            self.place.startswith(HUB) or bool(shards_of(self.place)) or Path(self.place).exists()
        )


def plain_name(text: str) -> str:
    """What a user calls the data, in letters that serve in names of files and benchmarks.

    A name that loses letters gets a number, so that no other one is called the same.

    >>> plain_name("My birds (new)"), plain_name("鳥"), plain_name("魚")
    ('My-birds-new', 'data-30269821', 'data-52018ac3')
    """
    whole = unicodedata.normalize("NFC", text)  # file systems write accents in two ways
    name = re.sub(r"[^\w.-]+", "-", whole, flags=re.ASCII).strip("-.") or "data"
    lost = re.search(r"[^\W\x00-\x7f]", whole)
    return f"{name}-{crc32(whole.encode('utf-8', 'surrogatepass')):08x}" if lost else name


def configured(name: str) -> tuple[str, str]:
    """A data set's name or folder, and the configuration that is wanted, "" where none is named.

    >>> configured("me/birds@en")
    ('me/birds', 'en')
    """
    whole, mark, configuration = name.rpartition(CONFIGURATION)
    return (whole, configuration) if mark and not os.path.isdir(name) else (name, "")


def is_own(place: str) -> bool:
    """Whether a place is a table, shards or a described folder, and no root of data sets."""
    folder = Path(place)
    if not folder.is_dir():
        return place.startswith(HUB) or place.lower().endswith((*TABLES, SHARDS))
    return bool(metadata_of(folder)) or bool(shards_of(place)) or is_saved(folder)


def is_saved(folder: Path) -> bool:
    """Whether a folder is of ``save_to_disk`` of Hugging Face's library."""
    return any((folder / name).is_file() for name in ("dataset_dict.json", "state.json"))


def metadata_of(folder: Path) -> list[Path]:
    """The tables of a folder in the ``imagefolder`` form: its own, else those of its splits."""
    own = [folder / name for name in METADATA if (folder / name).is_file()]
    below = (child / name for child in sorted(folder.iterdir()) for name in METADATA)
    return own[:1] or [path for path in below if path.is_file()]


def shards_of(place: str) -> list[Path]:
    """The tar files that a file, folder or pattern (``a-{000..012}.tar``, ``a-*.tar``) means."""
    if os.path.isdir(place):
        return [path for path in sorted(Path(place).glob(f"*{SHARDS}")) if not is_junk(path.name)]
    if not place.endswith(SHARDS):
        return []
    if os.path.isfile(place):
        return [Path(place)]
    if found := _BRACES.search(place):
        first, last = found.groups()
        numbers = (str(n).zfill(len(first)) for n in range(int(first), int(last) + 1))
        return [Path(_BRACES.sub(number, place, count=1)) for number in numbers]
    return [Path(path) for path in sorted(glob.glob(place))]


def refuse_other_files(place: str, *, own: bool = False) -> None:
    """Refuses files that are no tables, and a folder of pictures that nothing describes.

    Args:
        own: it cannot be the folder of published data sets.

    Raises:
        DataError: says what is expected.
    """
    folder = Path(place)
    if folder.is_file() and not is_own(place):
        if command := unpacking(folder):
            whole = unpacking(folder, folder.suffix.lower()) if SHARDS in folder.suffixes else ""
            shards = f", or of shards the {SHARDS}: {whole}" if whole else ""
            raise DataError(f"{place} is packed; expected what is in it: {command}{shards}")
        if folder.suffix.lower() in (".npy", ".npz", ".safetensors", ".pt", ".pth"):
            raise DataError(
                f"{place} holds numbers, such as embeddings; expected pictures, texts or sounds "
                f"themselves ({', '.join(TABLES)} or {SHARDS}), as methods adapt their encoder"
            )
        listed = f"; of a list: jq -c '.[]' {place} > {folder.with_suffix('.jsonl')}"
        raise DataError(
            f"{place} is no table that can be read; expected {', '.join(TABLES)}, or {SHARDS} with "
            f"files in it: save it as one of these{listed if folder.suffix == '.json' else ''}"
        )
    if folder.is_dir() and not is_own(place) and (said := undescribed(folder, strict=own)):
        raise DataError(f"{folder} {said}")


def undescribed(folder: Path, *, strict: bool = True) -> str:
    """Why a folder is no data of a user's own, and what to do.

    Args:
        folder: without a table of ``METADATA`` and without shards.
        strict: it cannot be the folder of published data sets either, so there is always a reason.
    """
    form = f"a {METADATA[0]} in it with the columns file_name and caption"
    inside = sorted(folder.iterdir())
    if not inside:
        return f"is empty; expected {form}, or the name of a table"
    deep = sorted(folder.glob("*/*")) if strict else []  # Parquet's parts by date
    if tables := [one for one in (*inside, *deep) if one.suffix.lower() in TABLES]:
        return (
            f"is a folder with {len(tables)} of the tables that can be read in it; expected the "
            f"name of one, such as {tables[0]}; or for all of them {HUB}{folder} --split train"
        )
    every = (path for pattern in ("*", "*/*") for path in folder.glob(pattern))
    pictures = sum(path.suffix.lower() in PICTURES and not is_junk(path.name) for path in every)
    if pictures:
        return (
            f"holds {pictures} pictures and nothing that describes them; expected {form}, or "
            "--benchmark NAME if it is a published data set"
        )
    archives = packed([folder])
    if strict or (archives and not any(path.is_dir() for path in inside)):
        return f"is a folder without a table; {archives}expected {form}, or shards (.tar)"
    return ""


def read_columns(columns: Iterable[str]) -> tuple[tuple[str, str], ...]:
    """``--columns image=path,caption=text`` as pairs of our name and the user's.

    Raises:
        ConfigError: not of that form, or no column of ours.
    """
    found: dict[str, str] = {}
    for entry in columns:
        ours, equals, theirs = (part.strip() for part in entry.partition("="))
        if not equals or not theirs or ours not in COLUMNS or ours in found:
            raise ConfigError(
                f"--columns: {entry!r} does not say which column is which; expected our name, '=' "
                f"and yours, once each, such as image=path,caption=text; ours are "
                f"{', '.join(COLUMNS)}"
            )
        found[ours] = theirs
    return tuple(found.items())
