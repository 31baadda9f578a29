"""What lies near a file that is missing, as parts of messages."""

from __future__ import annotations

import difflib
import os
import re
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path, PurePosixPath

_MOST = 5_000  # names that are compared with a missing one
_WALKED = 50_000  # entries of a data folder that are looked through
_DEPTH = 4
_COMMON = re.compile(r"[a-z]+\.\w+")  # test.json: any data set may have it


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

    Args:
        root: the data folder.
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


def walk(*tops: Path) -> Iterator[Path]:
    """The files below some folders: the nearer ones first, not deep, and not more than many."""
    level, seen = [(top, 0) for top in tops], 0
    for folder, depth in level:  # grows while it is gone through
        try:
            entries = sorted(islice(os.scandir(folder), _WALKED), key=lambda entry: entry.name)
        except OSError:
            continue
        seen += len(entries)
        yield from (Path(entry.path) for entry in entries if entry.is_file())
        if seen < _WALKED and depth < _DEPTH:
            level += [
                (Path(entry.path), depth + 1)
                for entry in entries
                if entry.is_dir(follow_symlinks=False)
            ]


def folded(name: str) -> str:
    """A name without capitals, in one Unicode form."""
    return unicodedata.normalize("NFC", name).casefold()


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
                yield folder, [entry.name for entry in islice(entries, _MOST)]
            else:
                yield folder, sorted(entry.name for entry in entries if entry.is_file())
        except OSError:
            continue
