"""Fingerprints of data and weights, kept on disk as long as what they stand for is unchanged.

A cell's key needs the fingerprints of its data and weights, and so their loading. For cells that
are done already that is all that they are loaded for. An entry here spares it. It is believed only
while nothing has changed that the fingerprint could depend on:

* embedded data and weights: the content of every file of this package and the versions of the
  libraries;
* data on disk: also size, times, inode and device of every file that the data set names, of
  everything else at most three folders below the data folder, and of those folders themselves;
* weights on disk: the same of the file, or of all files of the folder; of weights by tag, of the
  file in the local cache.

What is not covered (plugins, ready-made queries, incomplete data, names on a hub) is not kept, and
neither is what has changed since this process started, which may have read either state. An entry
that does not hold is computed again, by loading.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import math
import os
import platform
import time
from collections.abc import Hashable, Iterator, Mapping, Sequence
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING

from benchmark.backbones.places import weight_files
from benchmark.cell import BackboneSpec, Cell, PartTexts, data_identity
from benchmark.config.atomic import atomic_write
from benchmark.data.datasets import BUILTINS as DATASETS
from benchmark.data.datasets.ready_made import is_ready_made
from benchmark.data.fingerprint import files_of
from benchmark.data.interleave import SEPARATOR
from benchmark.errors import UnknownNameError
from benchmark.registry import BACKBONES, BENCHMARKS, BUILTIN

if TYPE_CHECKING:
    from benchmark.evaluation.resources import Resources

PACKAGE = Path(__file__).parents[1]
"""The folder whose content stands for embedded data and weights."""

LARGEST = 300_000
"""Files and folders that an entry may stand for; beyond, nothing is kept."""

_DEPTH = 3
"""Annotations lie so deep at most (``cirr_dataset/cirr/captions``)."""

_LIBRARIES = ("torch", "torchvision", "open_clip_torch", "numpy", "pillow", "transformers")
_EMBEDDED = "benchmark.mini."
_PICTURES = (".jpg", ".jpeg", ".png", ".tif", ".tiff", ".bmp", ".gif", ".webp")
_SOUNDS = (".wav", ".flac", ".mp3", ".mp4")
_MARGIN = 2.0  # seconds: the coarsest time stamps of file systems in use
_STARTED = time.time()


@dataclasses.dataclass(frozen=True, slots=True)
class _Stamp:
    """What a fingerprint depends on: a hash, and when the youngest part of it changed (seconds)."""

    digest: str
    changed: float


class Fingerprints:
    """The fingerprints that a run has come across, one small file each.

    Safe for several processes on one folder: a file appears whole or not at all, and a damaged one
    is as good as none. What cannot be written is not kept; nothing fails for it.

    Args:
        folder: where they are kept; created when something is.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._known: dict[str, str] = {}
        self._refused: set[str] = set()
        self._subjects: dict[Hashable, str] = {}
        self._stamps: dict[Path, _Stamp | None] = {}
        self._texts = PartTexts()
        self._shift_files: dict[tuple[str, ...], str] = {}

    def key(self, cell: Cell, resources: Resources) -> str:
        """The cell's identity as ``Resources.key`` gives it, or "" where that has to be asked."""
        data, weights = self.of_data(cell), self.of_backbone(cell.backbone)
        if not data or not weights or any(map(is_ready_made, cell.domains)):
            return ""
        named, home = resources.homes.named(cell), ""
        if named is not None and not (home := self.of_data(named)):
            return ""  # not known, or the user does not have it
        shifts = self._texts.of(cell.shift), self._texts.of(cell.stream)
        if shifts not in self._shift_files:
            self._shift_files[shifts] = resources.shift_files(cell)
        files = self._shift_files[shifts]
        identity = data_identity(data, files, home)
        return cell.key(data_fingerprint=identity, backbone_fingerprint=weights)

    def of_data(self, cell: Cell) -> str:
        """The fingerprint of the cell's data, or "" where it is not known to hold."""
        place = cell.suite, cell.benchmark, cell.data_root
        if place not in self._subjects:
            self._subjects[place] = _data_subject(cell)
        return self._read(self._subjects[place])

    def of_backbone(self, spec: BackboneSpec) -> str:
        """The fingerprint of a backbone, or "" where it is not known to hold."""
        if spec not in self._subjects:
            self._subjects[spec] = _backbone_subject(spec)
        return self._read(self._subjects[spec])

    def remember(self, cell: Cell, resources: Resources) -> None:
        """Keeps the fingerprints of a cell's data and backbone, which must be loaded already."""
        home = resources.homes.of(cell)
        for place in (cell,) if home is None else (cell, home):
            self._remember_data(place, resources)
        subject = _backbone_subject(cell.backbone)
        if self._wanted(subject):
            fingerprint = resources.backbone(cell).fingerprint
            self._write(subject, fingerprint, _weight_files(cell.backbone), "")

    def _remember_data(self, cell: Cell, resources: Resources) -> None:
        subject = _data_subject(cell)
        if self._wanted(subject):
            data = resources.data(cell)
            if not data.info.get("allow_missing"):
                files = None if _embedded_data(cell.benchmark) else files_of(data)
                self._write(subject, data.fingerprint, files, cell.data_root)

    def _wanted(self, subject: str) -> bool:
        """Whether to try and keep it: not what is kept already, and what was refused only once."""
        if not subject or subject in self._refused or self._read(subject):
            return False
        self._refused.add(subject)
        return True

    def _path(self, subject: str) -> Path:
        return self.folder / f"{hashlib.sha256(subject.encode()).hexdigest()[:16]}.json"

    def _read(self, subject: str) -> str:
        """The fingerprint kept for a subject, if all that it depends on is as it was."""
        if subject and subject not in self._known:
            self._known[subject] = self._checked(subject)
        return self._known.get(subject, "")

    def _checked(self, subject: str) -> str:
        try:
            entry = json.loads(self._path(subject).read_text(encoding="utf-8"))
            files = entry["files"] and list(_unpacked(entry["files"]))
            stamp = self._stamp(files, entry["root"])
            holds = stamp is not None and stamp.digest == entry["stamp"]
            if holds and entry["subject"] == subject:
                return str(entry["fingerprint"])
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            return ""  # none, or a damaged one
        return ""

    def _write(
        self, subject: str, fingerprint: str, files: Sequence[Path] | None, root: str
    ) -> None:
        if files is not None and not files:
            return  # it lies on disk, but nobody can say where
        stamp = self._stamp(files, root)
        if stamp is None or stamp.changed > _STARTED - _MARGIN:
            return
        entry = {
            "subject": subject,
            "fingerprint": fingerprint,
            "stamp": stamp.digest,
            "root": root,
            "files": None if files is None else _packed(files),
        }
        try:
            atomic_write(self._path(subject), json.dumps(entry).encode())
        except OSError:
            return
        self._known[subject] = fingerprint

    def _stamp(self, files: Sequence[Path] | None, root: str) -> _Stamp | None:
        """The state of the package, of these files and of the data folder; None for too much."""
        parts = [_package(PACKAGE)]
        if files is not None:
            if len(files) > LARGEST:
                return None
            parts.append(_stamp_of(files))
            if root:
                tree = self._tree(Path(root))
                if tree is None:
                    return None
                parts.append(tree)
        digest = hashlib.sha256("\n".join(part.digest for part in parts).encode()).hexdigest()
        return _Stamp(digest, max(part.changed for part in parts))

    def _tree(self, root: Path) -> _Stamp | None:
        if root not in self._stamps:
            paths = list(_below(root))
            self._stamps[root] = _stamp_of(paths) if len(paths) <= LARGEST else None
        return self._stamps[root]


def _data_subject(cell: Cell) -> str:
    """What is asked for, as text; "" where no entry could be trusted."""
    names = cell.benchmark.split(SEPARATOR)
    if not all(_shipped_benchmark(name) for name in names):
        return ""
    embedded = _embedded_data(cell.benchmark)
    if not embedded and not cell.data_root:
        return ""
    # An absolute path, but not a resolved one: where a link leads is part of the files' state.
    root = "" if embedded else os.path.abspath(cell.data_root)
    return json.dumps(["data", cell.suite, cell.benchmark, root])


def _backbone_subject(spec: BackboneSpec) -> str:
    try:
        info = BACKBONES.info(spec.loader)
    except UnknownNameError:
        return ""
    files = _weight_files(spec)
    if info.origin != BUILTIN or (files is not None and not files):
        return ""
    way = [spec.precision, "compiled"[: 8 * spec.compile]]  # the fingerprint says how it computes
    named = [spec.loader, spec.model, spec.pretrained, spec.transform]
    return json.dumps(["weights", *named, *way, *map(str, files or ())])


def _weight_files(spec: BackboneSpec) -> list[Path] | None:
    """The files that a backbone is read from; None for an embedded one, empty if not known."""
    if BACKBONES.info(spec.loader).target.startswith(_EMBEDDED) and not spec.pretrained:
        return None
    return weight_files(spec)


def data_here(cell: Cell) -> bool:
    """Whether a cell's data lie on this machine, as far as its data folder tells."""
    if cell.data_root:
        return os.path.isdir(os.path.expanduser(cell.data_root))
    names = cell.benchmark.split(SEPARATOR)
    return not all(map(_shipped_benchmark, names)) or _embedded_data(cell.benchmark)


def weights_here(spec: BackboneSpec) -> bool:
    """Whether a backbone's weights lie on this machine, so that nothing is fetched for them."""
    try:
        if BACKBONES.info(spec.loader).origin != BUILTIN:
            return True
    except UnknownNameError:
        return False
    files = _weight_files(spec)
    return files is None or bool(files)


def _shipped_benchmark(name: str) -> bool:
    return name in BENCHMARKS and BENCHMARKS.origin(name) == BUILTIN


def _embedded_data(benchmark: str) -> bool:
    """Whether all of these data are made by this package alone."""
    cards = [BENCHMARKS.get(name) for name in benchmark.split(SEPARATOR)]
    targets = [DATASETS.get(card.dataset, card.dataset) for card in cards]
    return all(target.startswith(_EMBEDDED) for target in targets)


def _below(root: Path, depth: int = _DEPTH) -> Iterator[Path]:
    """A folder, its folders, and their files but for pictures and sounds, some folders deep."""
    yield root
    try:
        entries = sorted(os.scandir(root), key=lambda entry: entry.name)
    except OSError:
        return
    for entry in entries:
        path = Path(entry.path)
        if entry.is_dir():
            if depth:
                yield from _below(path, depth - 1)
            else:
                yield path
        elif path.suffix.lower() not in (*_PICTURES, *_SOUNDS):
            yield path


def _stamp_of(paths: Sequence[Path]) -> _Stamp:
    """Names, sizes and times of files and folders; a missing one has a state of its own."""
    digest, changed = hashlib.sha256(), 0
    for path in paths:
        try:
            found = path.stat()
        except OSError:
            state = "missing"
        else:
            # The time of the inode's change too: a copy can keep the old time of the content.
            state = (
                f"{found.st_size} {found.st_mtime_ns} {found.st_ctime_ns} "
                f"{found.st_ino} {found.st_dev}"
            )
            changed = max(changed, found.st_mtime_ns, found.st_ctime_ns)
        digest.update(f"{path}\0{state}\n".encode())
    return _Stamp(digest.hexdigest(), changed / 1e9)


@cache
def _package(folder: Path) -> _Stamp:
    """Content of all files of a package and versions of the libraries below it."""
    digest = hashlib.sha256(platform.python_version().encode())
    for library in _LIBRARIES:
        try:
            version = metadata.version(library)
        except metadata.PackageNotFoundError:
            version = "none"
        digest.update(f"{library} {version}\n".encode())
    changed = 0
    for path in sorted(folder.rglob("*")):
        if not path.is_file() or "__pycache__" in path.parts:
            continue
        try:
            content = path.read_bytes()
            changed = max(changed, path.stat().st_ctime_ns)
        except OSError:  # somebody is at work on the package
            return _Stamp("", math.inf)
        digest.update(f"{path.relative_to(folder)} {len(content)}\n".encode())
        digest.update(content)
    return _Stamp(digest.hexdigest(), changed / 1e9)


def _packed(files: Sequence[Path]) -> Mapping[str, list[str]]:
    """Files by folder: a folder's name is written once."""
    packed: dict[str, list[str]] = {}
    for file in files:
        packed.setdefault(str(file.parent), []).append(file.name)
    return packed


def _unpacked(packed: Mapping[str, Sequence[str]]) -> Iterator[Path]:
    for folder, names in packed.items():
        for name in names:
            yield Path(folder) / name
