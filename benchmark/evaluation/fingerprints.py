"""Fingerprints of data, weights and code; the first two are kept as long as they hold.

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

import hashlib
import json
import math
import os
import platform
import time
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

import torch
from torch import Tensor, nn

from benchmark.backbones.places import weight_files
from benchmark.cell import BackboneSpec, Cell, PartTexts, data_identity
from benchmark.config.files import atomic_write, regular
from benchmark.data.card import PREFIX, SEPARATOR, SPLIT, BenchmarkCard
from benchmark.data.datasets import BUILTINS as DATASETS
from benchmark.data.tasks import files_of
from benchmark.evaluation.environment import LIBRARIES, version_of
from benchmark.registry import BACKBONES, BENCHMARKS, BUILTIN

if TYPE_CHECKING:
    from benchmark.evaluation.resources import Resources

T = TypeVar("T")

_EMBEDDED = "benchmark.mini."
_MARGIN = 2.0  # seconds: the coarsest time stamps of file systems in use
_STARTED = time.time()

PACKAGE = Path(__file__).parents[1]
"""The folder whose content stands for embedded data and weights."""

_DEPTH = 3
"""Annotations lie so deep at most (``cirr_dataset/cirr/captions``)."""

_MEDIA = (
    *(".jpg", ".jpeg", ".png", ".tif", ".tiff", ".bmp", ".gif", ".webp"),
    *(".wav", ".flac", ".mp3", ".mp4"),
)


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
        self._tried: set[str] = set()
        self._found: dict[Hashable, Any] = {}
        self._texts = PartTexts()

    def key(self, cell: Cell, resources: Resources) -> str:
        """The cell's identity as ``Resources.key`` gives it, or "" where that has to be asked."""
        data, weights = self.of_data(cell), self.of_backbone(cell.backbone)
        if not data or not weights or any(spec.ready_made for spec in cell.domains):
            return ""
        try:
            homes = resources.homes.fingerprints(cell, self._of_home)
        except LookupError:  # not known, or the user does not have it
            return ""
        parts = self._texts.of(cell.shift), self._texts.of(cell.stream)
        files = self._once(parts, lambda: resources.shift_files(cell))
        identity = data_identity(data, files, *homes)
        return cell.key(data_fingerprint=identity, backbone_fingerprint=weights)

    def of_data(self, cell: Cell) -> str:
        """The fingerprint of the cell's data, or "" where it is not known to hold."""
        place = cell.suite, cell.benchmark, cell.data_root
        return self._read(self._once(place, lambda: _data_subject(cell)))

    def of_backbone(self, spec: BackboneSpec) -> str:
        """The fingerprint of a backbone, or "" where it is not known to hold."""
        return self._read(self._once(spec, lambda: _backbone_subject(spec)))

    def _of_home(self, cell: Cell) -> str:
        if found := self.of_data(cell):
            return found
        raise LookupError(cell.benchmark)

    def _once(self, about: Hashable, make: Callable[[], T]) -> T:
        """What is the same for many cells, made once."""
        if about not in self._found:
            self._found[about] = make()
        found: T = self._found[about]
        return found

    def remember(self, cell: Cell, resources: Resources) -> None:
        """Keeps the fingerprints of a cell's data and backbone, which must be loaded already."""
        for place in filter(None, (cell, resources.homes.of(cell), resources.homes.training(cell))):
            if self._is_new(subject := _data_subject(place)):
                data = resources.data(place)
                files = None if _embedded_data(_cards(place.benchmark)) else files_of(data)
                if not data.info.get("allow_missing"):
                    self._write(subject, data.fingerprint, files, place.data_root)
        if self._is_new(subject := _backbone_subject(cell.backbone)):
            fingerprint = resources.backbone(cell).fingerprint
            self._write(subject, fingerprint, _weight_files(cell.backbone), "")

    def _is_new(self, subject: str) -> bool:
        """Whether to try and keep it, once: it may be refused."""
        new = bool(subject) and subject not in self._tried and not self._read(subject)
        self._tried.add(subject)
        return new

    def _path(self, subject: str) -> Path:
        return self.folder / f"{hashlib.sha256(subject.encode()).hexdigest()[:16]}.json"

    def _read(self, subject: str) -> str:
        """The fingerprint kept for a subject, if all that it depends on is as it was."""
        if subject and subject not in self._known:
            self._known[subject] = ""
            # There may be none, or a damaged one.
            with suppress(OSError, ValueError, KeyError, TypeError, AttributeError):
                entry = json.loads(regular(self._path(subject)).read_bytes())
                files = None if entry["files"] is None else [Path(name) for name in entry["files"]]
                state = self._state(files, entry["root"])
                if (entry["subject"], entry["state"]) == (subject, state.digest):
                    self._known[subject] = str(entry["fingerprint"])
        return self._known.get(subject, "")

    def _write(
        self, subject: str, fingerprint: str, files: Sequence[Path] | None, root: str
    ) -> None:
        if files is not None and not files:
            return  # it lies on disk, but nobody can say where
        state = self._state(files, root)
        if state.changed > _STARTED - _MARGIN:
            return
        entry = {
            "subject": subject,
            "fingerprint": fingerprint,
            "state": state.digest,
            "root": root,
            "files": None if files is None else [str(file) for file in files],
        }
        with suppress(OSError):
            atomic_write(self._path(subject), json.dumps(entry).encode())
            self._known[subject] = fingerprint

    def _state(self, files: Sequence[Path] | None, root: str) -> FileState:
        """The state of the package, of these files and of the data folder."""
        parts = [state_of_package(PACKAGE)]
        if files is not None:
            parts.append(state_of(files))
            if root:
                parts.append(self._once(root, lambda: state_of(annotations_below(Path(root)))))
        digest = hashlib.sha256("\n".join(part.digest for part in parts).encode()).hexdigest()
        return FileState(digest, max(part.changed for part in parts))


def data_here(cell: Cell) -> bool:
    """Whether a cell's data lie on this machine, as far as its data folder tells."""
    if cell.benchmark.startswith(PREFIX):
        from benchmark.data.own.source import OwnSource

        return OwnSource.of(cell.data_root).exists
    if cell.data_root:
        return os.path.isdir(os.path.expanduser(cell.data_root))
    return _embedded_data(_cards(cell.benchmark))


def weights_here(spec: BackboneSpec) -> bool:
    """Whether a backbone's weights lie on this machine, so that nothing is fetched for them."""
    if spec.loader not in BACKBONES:
        return False
    if BACKBONES.origin(spec.loader) != BUILTIN:
        return True
    files = _weight_files(spec)
    return files is None or bool(files)


def _data_subject(cell: Cell) -> str:
    """What is asked for, as text; "" where no entry could be trusted."""
    embedded = _embedded_data(cards := _cards(cell.benchmark))
    if not cards or not (embedded or cell.data_root):
        return ""
    # An absolute path, but not a resolved one: where a link leads is part of the files' state.
    root = "" if embedded else os.path.abspath(cell.data_root)
    return json.dumps(["data", cell.suite, cell.benchmark, root])


def _backbone_subject(spec: BackboneSpec) -> str:
    if spec.loader not in BACKBONES or BACKBONES.origin(spec.loader) != BUILTIN:
        return ""
    files = _weight_files(spec)
    if files is not None and not files:
        return ""
    way = [spec.precision, "compiled"[: 8 * spec.compile]]  # the fingerprint says how it computes
    named = [spec.loader, spec.model, spec.pretrained, spec.transform]
    return json.dumps(["weights", *named, *way, *map(str, files or ())])


def _weight_files(spec: BackboneSpec) -> list[Path] | None:
    """The files that a backbone is read from; None for an embedded one, empty if not known."""
    if BACKBONES.info(spec.loader).target.startswith(_EMBEDDED) and not spec.pretrained:
        return None
    return weight_files(spec)


def _cards(benchmark: str) -> list[BenchmarkCard]:
    """The cards of a benchmark that this package ships; none of any other."""
    names = [name.partition(SPLIT)[0] for name in benchmark.split(SEPARATOR)]
    shipped = all(name in BENCHMARKS and BENCHMARKS.origin(name) == BUILTIN for name in names)
    return [BENCHMARKS.get(name) for name in names] if shipped else []


def _embedded_data(cards: Sequence[BenchmarkCard]) -> bool:
    """Whether all of these data are made by this package alone."""
    targets = [DATASETS.get(card.dataset, card.dataset) for card in cards]
    return all(target.startswith(_EMBEDDED) for target in targets)


class FileState(NamedTuple):
    """What some files are, as a hash, and when the youngest of them changed (seconds)."""

    digest: str
    changed: float


def state_of(paths: Iterable[Path]) -> FileState:
    """Names, sizes, times, inodes and devices of files and folders; a missing one is a state."""
    digest, changed = hashlib.sha256(), 0
    for path in paths:
        state: tuple[int, ...] = ()
        with suppress(OSError):
            found = path.stat()
            # The time of the inode's change too: a copy can keep the old time of the content.
            times = found.st_mtime_ns, found.st_ctime_ns
            state = (found.st_size, *times, found.st_ino, found.st_dev)
            changed = max(changed, *times)
        digest.update(f"{path}\0{state}\n".encode())
    return FileState(digest.hexdigest(), changed / 1e9)


def annotations_below(root: Path, depth: int = _DEPTH) -> Iterator[Path]:
    """A folder, its folders, and their files but for pictures and sounds, some folders deep."""
    yield root
    try:
        entries = sorted(os.scandir(root), key=lambda entry: entry.name)
    except OSError:
        return
    for entry in entries:
        path = Path(entry.path)
        if entry.is_dir() and depth:
            yield from annotations_below(path, depth - 1)
        elif entry.is_dir() or path.suffix.lower() not in _MEDIA:
            yield path


@cache
def state_of_package(folder: Path) -> FileState:
    """Content of all files of a package, and versions of the libraries below it."""
    digest = hashlib.sha256(platform.python_version().encode())
    for library in ("torch", *LIBRARIES):
        digest.update(f"{library} {version_of(library) or 'none'}\n".encode())
    changed = 0
    for path in sorted(folder.rglob("*")):
        if not path.is_file() or "__pycache__" in path.parts:
            continue
        try:
            content = path.read_bytes()
            changed = max(changed, path.stat().st_ctime_ns)
        except OSError:  # somebody is at work on the package
            return FileState("", math.inf)
        digest.update(f"{path.relative_to(folder)} {len(content)}\n".encode())
        digest.update(content)
    return FileState(digest.hexdigest(), changed / 1e9)


def digest(tensors: Iterable[Tensor]) -> bytes:
    """A digest of the bits of tensors, at about the speed at which memory is read.

    Each row is summed up as 64-bit integers with fixed random weights, modulo 2^64; SHA-256 is
    taken of these sums alone. A change in one place, or rows that change places, alter it.
    """
    found = hashlib.sha256()
    generator = torch.Generator().manual_seed(20)
    for tensor in tensors:
        rows = tensor.detach()
        rows = rows.reshape(1, -1) if rows.ndim < 2 else rows.reshape(len(rows), -1)
        bits = rows.contiguous().view(torch.uint8)
        if bits.shape[1] % 8:
            bits = nn.functional.pad(bits, (0, 8 - bits.shape[1] % 8))
        words = bits.view(torch.int64)
        weights = torch.randint(-(2**62), 2**62, (words.shape[1],), generator=generator)
        weights = (weights * 2 + 1).to(words.device)
        with torch.no_grad():
            sums = words @ weights if words.device.type == "cpu" else (words * weights).sum(1)
        found.update(repr((tuple(tensor.shape), str(tensor.dtype))).encode())
        found.update(sums.cpu().numpy().tobytes())
    return found.digest()


def weights_of(backbone: object) -> Iterator[Tensor]:
    """Parameters and buffers of the modules that a backbone, or one within it, holds."""
    waiting, seen = [backbone], set[int]()
    while waiting:
        thing = waiting.pop()
        if id(thing) in seen:
            continue
        seen.add(id(thing))
        if isinstance(thing, nn.Module):
            yield from thing.parameters()
            yield from thing.buffers()
        elif isinstance(thing, Mapping):
            waiting += thing.values()
        elif isinstance(thing, list | tuple):
            waiting += thing
        elif hasattr(thing, "query_encoder"):
            waiting += vars(thing).values()
