"""Data sets in the user's folder: how each must be laid out, and finding its files there.

The layouts are the entries of ``layout.json``: ``queryshift data check`` shows them, and
docs/catalogue.md is made from them. Nothing is looked for outside of the folder.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from benchmark.data.datasets.nearby import composed, folded, misplaced, missing_files, packed, walk
from benchmark.errors import DataError

_DOUBLED = 3  # folders of one name within each other that are gone into


@dataclass(frozen=True, slots=True)
class Layout:
    """How a data set lies below the folder given as DATA.

    Attributes:
        name: data set name.
        title: the data set and its split.
        files: path of each file or folder -> what it is.
        access: where to get the files, and under which conditions.
        folders: folders that may hold it, in order; "." is the folder given as DATA.
        pictures: folders below these that may hold its pictures, likewise.
        annotations: its annotation files, first hit wins, "{split}" where a split has its own.
        within: folders below ``folders`` that may hold these.
        instead: what to do -> the files that known copies have in place of the annotations.
        split: the one that is loaded where none is named.
        note: what else a reader must know, or "".
    """

    name: str
    title: str
    files: Mapping[str, str]
    access: str
    folders: Sequence[str]
    pictures: Sequence[str] = (".",)
    annotations: Sequence[str] = ()
    within: Sequence[str] = ("annotations/", "annotation/", "")
    instead: Mapping[str, Sequence[str]] = field(default_factory=dict)
    split: str = "test"
    note: str = ""

    @property
    def tree(self) -> str:
        """The files, one a line, with what each is in a second column."""
        width = max(map(len, self.files))
        return "\n".join(f"{path:<{width}}  {what}".rstrip() for path, what in self.files.items())

    def places(self, root: Path | None) -> list[Path]:
        """Those of the folders that exist.

        Raises:
            DataError: no data root, or one that is no folder.
        """
        if root is None:
            raise DataError(
                f"data set {self.name!r} needs your own copy: give its folder with DATA=/path "
                f"(--data /path). {self.access}"
            )
        if not root.is_dir():
            raise DataError(
                f"the data folder {root} does not exist or is not a folder (DATA=/path)"
            )
        return existing(root, self.folders)

    def annotation(self, root: Path | None, split: str, names: Sequence[str] = ()) -> Path:
        """The first of the annotation files that is there.

        Args:
            names: files relative to the data set's folder, in place of ``annotations``.

        Raises:
            DataError: none is; names every place that was looked at.
        """
        names = names or [folder + name for folder in self.within for name in self.annotations]
        names = [name.replace("{split}", split) for name in names]
        places = self.places(root)
        for place in places:
            for name in names:
                if (place / name).is_file():
                    return place / name
        assert root is not None  # refused above
        folders = (
            os.path.normpath(f"{f}/{os.path.dirname(n)}") for f in self.folders for n in names
        )
        looked = ", ".join(dict.fromkeys(map(os.path.basename, names)))
        raise DataError(
            f"no annotations of {self.name!r} under {root}; looked for {looked}\n"
            f"in {', '.join(dict.fromkeys(folders))}\n"
            f"{self._advice(root, names)}{self.access}"
        )

    def _advice(self, root: Path, names: Sequence[str]) -> str:
        own = [place for place in self.places(root) if place != root]
        for path in walk(*(own or [root])) if self.instead else ():
            for advice, files in self.instead.items():
                if path.name in files:
                    return f"{path} is there, but {advice}\n"
        if said := misplaced(root, names, own):
            return said
        said = packed(own or [root], called=() if own else self.folders)
        return f"{said.rstrip('; ')}\n" if said else ""

    def find_pictures(
        self,
        root: Path | None,
        wanted: Mapping[str, PurePosixPath],
        spellings: Callable[[PurePosixPath], Iterable[PurePosixPath]],
        *,
        allow_missing: bool,
    ) -> dict[str, Path]:
        """The files of the pictures that are there, by id in the order of ``wanted``.

        Args:
            wanted: id -> annotated path.
            spellings: annotated path -> the paths that the picture may have, in order.
            allow_missing: leave out pictures that are not there, if any is.

        Raises:
            DataError: pictures are missing; a link that leads out of the data, or a folder that
                cannot be listed.
        """
        places = [path for place in self.places(root) for path in existing(place, self.pictures)]
        assert root is not None  # refused above
        files = Files(list(dict.fromkeys(places)), within=[root])
        hits = ((item, files.find_any(spellings(path))) for item, path in wanted.items())
        found = {item: hit for item, hit in hits if hit is not None}
        missing = [str(path) for item, path in wanted.items() if item not in found]
        if missing and not (allow_missing and found):
            said = missing_files(missing, len(wanted), f"images of {self.name!r}", files.places)
            raise DataError(f"{said}. {self.access}")
        return found


_ENTRIES = json.loads(Path(__file__).with_name("layout.json").read_text(encoding="utf-8"))

LAYOUTS = {name: Layout(name, **entry) for name, entry in _ENTRIES.items()}
"""Data set name -> layout. Variants ("nocaps-in") share the entry of their stem."""


def layout_of(dataset: str) -> Layout | None:
    """The layout of a data set or of a variant of one; None where none is known.

    >>> layout_of("nocaps-in") is layout_of("nocaps")
    True
    """
    stems = [name for name in LAYOUTS if f"{dataset}-".startswith(f"{name}-")]
    return LAYOUTS[max(stems, key=len)] if stems else None


def existing(root: Path, folders: Iterable[str]) -> list[Path]:
    """Those of the folders below ``root`` that exist, each once, capitals aside.

    An archive that was unpacked into a folder of its own name gives a doubled folder
    ("images/images"); the inner ones follow the outer one.
    """
    found: dict[Path, None] = {}
    for folder in folders:
        path = _below(root, PurePosixPath(folder).parts)
        for _ in range(1 + (_DOUBLED if path != root else 0)):
            if not path.is_dir():
                break
            found[path] = None
            path = _below(path, [path.name])
    return list(found)


class Files:
    """Files below some folders. Each folder is listed once, far cheaper than asking for each file.

    A name is also found in its other Unicode form: macOS and archives made there store an accent
    beside its letter (NFD), annotations mostly have both as one character (NFC). A folder is found
    with other capitals too, and within an empty one of its own name.

    Args:
        places: folders to look in, in order.
        within: further folders that a link may point into (the user's data root, say). A link
            inside a place that leads out of all of these is refused: the places are chosen by
            the user, what lies in them may come out of somebody's archive.
    """

    def __init__(self, places: Sequence[Path], within: Sequence[Path] = ()) -> None:
        self.places = list(places)
        self._within = [path.resolve() for path in (*places, *within)]
        self._listings: dict[Path, dict[str, bool]] = {}
        self._folders: dict[Path, Path] = {}

    def find(self, path: PurePosixPath) -> Path | None:
        """The first place's file of that relative path, or None.

        Raises:
            DataError: the file is reached by a link that leads outside, or a folder cannot be
                listed.
        """
        for place in self.places:
            folder = self._folder(place, path.parent)
            listing = self._list(folder)
            name = path.name if path.name in listing else ""
            if not name and not path.name.isascii():
                name = _same(path.name, listing, composed)
            if name:
                hit = folder / name
                if listing[name]:
                    self._refuse_outside(hit)
                return hit
        return None

    def inside(self, path: PurePosixPath) -> list[Path]:
        """All files of the first place's folder of that relative path; raises as ``find``."""
        folder = self._folder(self.places[0], path)
        found = [(folder / name, link) for name, link in self._list(folder).items()]
        for file, link in found:
            if link:
                self._refuse_outside(file)
        return [file for file, _ in found]

    def _folder(self, place: Path, parent: PurePosixPath) -> Path:
        """The folder below a place, under its own name or one of another Unicode form or case."""
        folder = place / parent
        if folder not in self._folders:
            found = _below(place, parent.parts)
            for _ in range(_DOUBLED if parent.name else 0):
                if self._list(found) or not (found / found.name).is_dir():
                    break
                found /= found.name
            self._folders[folder] = found
        return self._folders[folder]

    def find_any(self, paths: Iterable[PurePosixPath]) -> Path | None:
        """The first of several spellings that is found."""
        return next((hit for hit in map(self.find, paths) if hit is not None), None)

    def _list(self, folder: Path) -> dict[str, bool]:
        """File name -> whether it is a link."""
        if folder not in self._listings:
            names: dict[str, bool] = {}
            try:
                with os.scandir(folder) as entries:
                    names = {e.name: e.is_symlink() for e in entries if e.is_file()}
            except (FileNotFoundError, NotADirectoryError):
                pass
            except OSError as error:
                raise DataError(f"cannot list {folder}: {error.strerror or error}") from None
            if names:
                self._refuse_outside(folder)
            self._listings[folder] = names
        return self._listings[folder]

    def _refuse_outside(self, path: Path) -> None:
        target = path.resolve()
        if not any(target.is_relative_to(allowed) for allowed in self._within):
            raise DataError(
                f"{path} is a link to {target}, outside the data folder, and is refused; put the "
                "files below the data folder, or link the data set's whole folder there"
            )


def _below(folder: Path, parts: Iterable[str]) -> Path:
    """A folder within another, under its own name or one of another Unicode form or case."""
    for part in parts:
        if not os.path.isdir(folder / part):  # unlike Path's, of a name that is too long as well
            with suppress(OSError):
                there = [entry.name for entry in os.scandir(folder) if entry.is_dir()]
                part = _same(part, there, folded) or part
        folder /= part
    return folder


def _same(name: str, there: Iterable[str], form: Callable[[str], str]) -> str:
    """The only one of the names that has the same form; "" where none or several have."""
    hits = [other for other in there if form(other) == form(name)]
    return hits[0] if len(hits) == 1 else ""
