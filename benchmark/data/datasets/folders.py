"""Finding a data set's files below the folder that the user gave, and nowhere else."""

from __future__ import annotations

import difflib
import os
import re
import shlex
import unicodedata
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, reduce
from itertools import islice
from pathlib import Path, PurePosixPath

from benchmark.errors import DataError

_MOST = 5_000  # names that are compared with a missing one
_WALKED = 50_000  # entries of a data folder that are looked through
_DEPTH = 4
_COMMON = re.compile(r"[a-z]+\.\w+")  # test.json: any data set may have it
_DOUBLED = 3  # folders of one name within each other that are gone into
_ARCHIVES_NAMED = 3
_JUNK = ("._", "__MACOSX")  # how names of what macOS adds to archives begin

_TAR = (".tar", ".tgz", ".tbz2", ".txz", ".tar.gz", ".tar.bz2", ".tar.xz")
_UNPACK = {
    (".zip",): "unzip -q {archive} -d {folder}",
    _TAR: "tar -xf {archive} -C {folder}",
    (".7z",): "7z x {archive} -o{folder}",
    (".rar",): "unrar x {archive} {folder}/",
}
"""Suffixes of archives -> the command that unpacks them."""


@dataclass(frozen=True, slots=True)
class Source:
    """How a data set is called and laid out.

    Attributes:
        name: data set name.
        folders: folders below the data root that may hold it, in order; "." is the root itself.
    """

    name: str
    folders: tuple[str, ...]

    @property
    def access(self) -> str:
        from benchmark.data.datasets.layout import LAYOUTS  # read where something is missing

        return LAYOUTS[self.name].access

    def places(self, root: Path | None) -> list[Path]:
        """Those of the folders that exist; DataError where there is no data root."""
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

    def picture_places(self, root: Path | None, folders: Sequence[str]) -> list[Path]:
        """Those of the folders below ``places`` that exist."""
        every = (path for place in self.places(root) for path in existing(place, folders))
        return list(dict.fromkeys(every))

    def annotation(
        self, root: Path | None, names: Sequence[str], instead: Mapping[str, str] | None = None
    ) -> Path:
        """The first of the files, given relative to the data set's folder, that is there.

        ``instead``: name of a file that known copies have in their place -> what to do.

        Raises:
            DataError: none is; names every place that was looked at.
        """
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
            f"{self._advice(root, names, instead or {})}{self.access}"
        )

    def _advice(self, root: Path, names: Sequence[str], instead: Mapping[str, str]) -> str:
        own = [place for place in self.places(root) if place != root]
        for path in walk(*(own or [root])) if instead else ():
            if path.name in instead:
                return f"{path} is there, but {instead[path.name]}\n"
        if said := misplaced(root, names, own):
            return said
        said = packed(own or [root], called=() if own else self.folders)
        return f"{said.rstrip('; ')}\n" if said else ""

    def missing(self, names: Sequence[str], total: int, what: str, looked: Iterable[Path]) -> str:
        """The message about files that are not there: how many, the first five, what to do."""
        more = ", ..." if len(names) > 5 else ""
        advice = (
            "none is there, so there is nothing to run on"
            if len(names) == total
            else "complete the copy, or run on what is there with --allow-missing"
        )
        places = list(looked)
        return (
            f"{len(names)} of {total} {what} of {self.name!r} are missing and "
            f"{total - len(names)} are there: "
            f"{', '.join(names[:5])}{more}; looked under {', '.join(map(str, places))}; "
            f"{nearest(names[:5], places) or packed(places)}{advice}. {self.access}"
        )


def existing(root: Path, folders: Iterable[str]) -> list[Path]:
    """Those of the folders below ``root`` that exist, each once, capitals aside.

    An archive that was unpacked into a folder of its own name gives a doubled folder
    ("images/images"); the inner ones follow the outer one.
    """
    below = cache(_folders_in)

    def child(folder: Path, name: str) -> Path:
        if (folder / name).is_dir():
            return folder / name
        return folder / (_same(name, below(folder), folded) or name)

    found: dict[Path, None] = {}
    for folder in folders:
        path = reduce(child, PurePosixPath(folder).parts, root)
        if path.is_dir():
            found[path] = None
            for _ in range(_DOUBLED if path != root else 0):
                if not (path := child(path, path.name)).is_dir():
                    break
                found[path] = None
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
            DataError: a link that leads outside, or a folder that cannot be listed.
        """
        for place in self.places:
            folder = self._folder(place, path.parent)
            listing = self._list(folder)
            name = path.name if path.name in listing else ""
            if not name and not path.name.isascii():
                name = _same(path.name, listing, _composed)
            if name:
                hit = folder / name
                if listing[name]:
                    self._refuse_outside(hit)
                return hit
        return None

    def _folder(self, place: Path, parent: PurePosixPath) -> Path:
        """The folder below a place, under its own name or one of another Unicode form or case."""
        folder = place / parent
        if folder not in self._folders:
            found = place
            for part in parent.parts:
                if not (found / part).is_dir():
                    part = _same(part, _folders_in(found), folded) or part
                found /= part
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


def _same(name: str, there: Iterable[str], form: Callable[[str], str]) -> str:
    """The only one of the names that has the same form; "" where none or several have."""
    hits = [other for other in there if form(other) == form(name)]
    return hits[0] if len(hits) == 1 else ""


def _composed(name: str) -> str:
    return unicodedata.normalize("NFC", name)


def _folders_in(folder: Path) -> list[str]:
    try:
        return [entry.name for entry in os.scandir(folder) if entry.is_dir()]
    except OSError:
        return []


def nearest(names: Sequence[str], places: Sequence[Path]) -> str:
    """What is there instead of missing files: one that differs in capitals or suffix only, one of
    the same name elsewhere below the places, or similar names; "" where there is nothing of these.
    """
    for name in names:
        path = PurePosixPath(name)
        for folder, there in _listed(path, places):
            for key in (folded, lambda text: folded(PurePosixPath(text).stem)):
                hit = next((n for n in there if key(n) in (key(path.name), folded(path.name))), "")
                if hit:
                    return (
                        f"instead of {name!r} there is {str(folder / hit)!r}: the annotation and "
                        "the file must have the same name, capitals and suffix included; "
                    )
    return _elsewhere(names[:1], places) or _similar(names, places)


def misplaced(root: Path, names: Sequence[str], own: Sequence[Path]) -> str:
    """Where one of some files lies below a data folder, and the command that mends it.

    ``names`` are relative to the data set's folders, which are ``own``.
    """
    shortest = sorted(map(PurePosixPath, names), key=lambda path: -len(path.parts))
    wanted = {path.name: path for path in shortest}  # the last of a name counts
    wanted = {name: path for name, path in wanted.items() if not _COMMON.fullmatch(name)}
    for path in walk(root):
        name = next((name for name in wanted if folded(name) == folded(path.name)), "")
        if not name:
            continue
        place = next((place for place in own if path.is_relative_to(place)), None)
        if place is not None:
            return f"{path} is there: mv {path} {place / wanted[name]}\n"
        if path.name == name:
            fitting = max(
                (n for n in names if path.as_posix().endswith(f"/{n}")), key=len, default=name
            )
            return f"{path} is there: --data {path.parents[fitting.count('/')]} reads it\n"
    return ""


def unpacking(path: Path) -> str:
    """The command that unpacks an archive into the folder that it lies in; "" for other files."""
    command = next((how for ends, how in _UNPACK.items() if path.name.lower().endswith(ends)), "")
    return command.format(archive=shlex.quote(str(path)), folder=shlex.quote(str(path.parent)))


def packed(places: Sequence[Path], called: Sequence[str] = ()) -> str:
    """The archives that lie where unpacked files are expected, with the command for each, or "".

    Args:
        places: folders; the first with an archive counts. Of one that holds others of them only
            the files in the folder itself count: below it lie other data sets too.
        called: names that the archive's may begin with; where one does, the others do not count.
    """
    names = [folded(name) for name in called if name != "."]
    for place in places:
        shared = any(other != place and other.is_relative_to(place) for other in places)
        files = [path for path in walk(place) if unpacking(path)]
        files = [path for path in files if not (shared or called) or path.parent == place]
        files = [path for path in files if folded(path.name).startswith(tuple(names))] or files
        if files:
            return (
                "; ".join(
                    f"{path} is still packed: {unpacking(path)}" for path in files[:_ARCHIVES_NAMED]
                )
                + "; "
            )
    return ""


def is_junk(name: str) -> bool:
    """Whether a file or folder is one that macOS adds to archives."""
    return name.startswith(_JUNK)


def walk(*tops: Path) -> Iterator[Path]:
    """The files below some folders: the nearer ones first, not deep, and not more than many."""
    level, seen = [(top, 0) for top in tops], 0
    for folder, depth in level:  # grows while it is gone through
        try:
            entries = sorted(islice(os.scandir(folder), _WALKED), key=lambda entry: entry.name)
        except OSError:
            continue
        seen += len(entries)
        entries = [entry for entry in entries if not is_junk(entry.name)]
        yield from (Path(entry.path) for entry in entries if entry.is_file())
        if seen < _WALKED and depth < _DEPTH:
            level += [
                (Path(entry.path), depth + 1)
                for entry in entries
                if entry.is_dir(follow_symlinks=False)
            ]


def folded(name: str) -> str:
    """A name without capitals, in one Unicode form."""
    return _composed(name).casefold()


def _elsewhere(names: Sequence[str], places: Sequence[Path]) -> str:
    for name in names:
        wanted = {folded(part) for part in (PurePosixPath(name).name, PurePosixPath(name).stem)}
        for path in walk(*places):
            if not wanted.isdisjoint((folded(path.name), folded(path.stem))):
                return f"the nearest to {name!r} is {str(path)!r}; "
    return ""


def _similar(names: Iterable[str], places: Sequence[Path]) -> str:
    """The names that are most like a missing one."""
    for name in names:
        path = PurePosixPath(name)
        for folder, there in _listed(path, places, folders=True):
            if near := difflib.get_close_matches(path.name, there, n=2, cutoff=0.75):
                return f"the nearest to {name!r} in {folder} are {', '.join(sorted(near))}; "
    return ""


def _listed(
    path: PurePosixPath, places: Sequence[Path], *, folders: bool = False
) -> Iterator[tuple[Path, list[str]]]:
    """The folders that a missing path may lie in, each with the names in it."""
    for folder in dict.fromkeys(f for place in places for f in (place / path.parent, place)):
        try:
            entries = os.scandir(folder)
            if folders:
                names = [entry.name for entry in islice(entries, _MOST)]
            else:
                names = sorted(entry.name for entry in entries if entry.is_file())
            yield folder, [name for name in names if not is_junk(name)]
        except OSError:
            continue
