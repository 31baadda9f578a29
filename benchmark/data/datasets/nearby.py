"""What lies below a folder in place of missing files: near names, archives still packed."""

from __future__ import annotations

import difflib
import mimetypes
import os
import re
import shlex
import unicodedata
from collections.abc import Iterator, Sequence
from contextlib import suppress
from itertools import islice
from pathlib import Path, PurePosixPath

_MOST = 5_000  # names that are compared with a missing one
_WALKED = 50_000  # entries of a data folder that are looked through
_DEPTH = 4
_COMMON = re.compile(r"[a-z]+\.\w+")  # test.json: any data set may have it
_ARCHIVES_NAMED = 3
_JUNK = ("._", "__MACOSX")  # how names of what macOS adds to archives begin

_TAR = (".tar", ".tgz", ".tbz2", ".txz", ".tar.gz", ".tar.bz2", ".tar.xz", ".tar.zst")
_UNPACK: dict[tuple[str, ...], str] = {
    (".zip",): "unzip -q {archive} -d {folder}",
    _TAR: "tar -xf {archive} -C {folder}",
    (".7z",): "7z x {archive} -o{folder}",
    (".rar",): "unrar x {archive} {folder}/",
    (".gz",): "gzip -dk {archive}",
    (".bz2",): "bzip2 -dk {archive}",
    (".xz",): "xz -dk {archive}",
    (".zst",): "zstd -dk {archive}",
}
"""Suffixes of archives and compressed files -> the command that unpacks them."""


def nearest(names: Sequence[str], places: Sequence[Path]) -> str:
    """What is there instead of missing files: one that differs in capitals or suffix only, one of
    the same name elsewhere below the places, or similar names; "" where there is nothing of these.
    """
    for name in names:
        missing = PurePosixPath(name)
        for folder, entries in _listed(missing, places):
            there = sorted(entry.name for entry in entries if entry.is_file())
            for key in (folded, lambda text: folded(PurePosixPath(text).stem)):
                hit = next(
                    (n for n in there if key(n) in (key(missing.name), folded(missing.name))), ""
                )
                if hit:
                    return (
                        f"instead of {name!r} there is {str(folder / hit)!r}: the annotation and "
                        "the file must have the same name, capitals and suffix included; "
                    )
    for name in names[:1]:
        wanted = {folded(part) for part in (PurePosixPath(name).name, PurePosixPath(name).stem)}
        for path in walk(*places):
            same = not wanted.isdisjoint((folded(path.name), folded(path.stem)))
            if same and len({_kind(path.name), _kind(name)} - {""}) < 2:
                return f"the nearest to {name!r} is {str(path)!r}; "
    for name in names:
        missing = PurePosixPath(name)
        for folder, entries in _listed(missing, places):
            there = [entry.name for entry in entries[:_MOST]]
            near = [other for other in there if missing.stem in other][:2]
            if near := near or difflib.get_close_matches(missing.name, there, n=2, cutoff=0.75):
                return f"the nearest to {name!r} in {folder} are {', '.join(sorted(near))}; "
    return ""


def missing_files(
    names: Sequence[str],
    total: int,
    of: str,
    places: Sequence[Path],
    *,
    files: Sequence[str] = (),
    none: str = "none is there, so there is nothing to run on",
) -> str:
    """The message about files that are not there: how many, the first five, what to do.

    Args:
        names: what is not there.
        of: whose and of which kind ("images of 'coco'").
        places: folders that were looked in.
        files: what is looked for there in place of the names, where these say more than a file.
        none: the advice where nothing is there.
    """
    advice = "complete them, or run on what is there with --allow-missing"
    return (
        f"{len(names):,} of {total:,} {of} are missing, {total - len(names):,} are there: "
        f"{few(names)}; looked under {', '.join(map(str, places))}; "
        f"{nearest((files or names)[:5], places) or packed(places)}"
        f"{none if len(names) == total else advice}"
    )


def few(names: Sequence[str]) -> str:
    """The first five of some names."""
    return ", ".join(names[:5]) + ", ..." * (len(names) > 5)


def misplaced(root: Path, names: Sequence[str], own: Sequence[Path]) -> str:
    """Where one of some files lies below a data folder, and the command that mends it.

    Args:
        names: files that are missing, relative to a data set's folder.
        own: the data set's folders.
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


def unpacking(path: Path, suffix: str = "") -> str:
    """The command that unpacks an archive into the folder that it lies in; "" for other files.

    ``suffix`` counts in place of the path's own.
    """
    name = suffix or path.name.lower()
    command = next((how for ends, how in _UNPACK.items() if name.endswith(ends)), "")
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
            few = files[:_ARCHIVES_NAMED]
            return "".join(f"{path} is still packed: {unpacking(path)}; " for path in few)
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
    return composed(name).casefold()


def _kind(name: str) -> str:
    """image, audio ... by the suffix; "" without one that is known."""
    return (mimetypes.guess_type(name, strict=False)[0] or "").partition("/")[0]


def _listed(
    path: PurePosixPath, places: Sequence[Path]
) -> Iterator[tuple[Path, list[os.DirEntry[str]]]]:
    """The folders that a missing path may lie in, each with what is in it."""
    for folder in dict.fromkeys(f for place in places for f in (place / path.parent, place)):
        with suppress(OSError):
            yield folder, [entry for entry in os.scandir(folder) if not is_junk(entry.name)]


def composed(name: str) -> str:
    """A name with each accent and its letter as one character."""
    return unicodedata.normalize("NFC", name)
