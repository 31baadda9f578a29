"""Image-text pairs from the records of an annotation file: their images are found on disk."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

import numpy as np

from benchmark.data.datasets.base import ImageTextPairs, content_fingerprint, file_digests
from benchmark.data.datasets.folders import Files, Source, existing
from benchmark.data.images import ImageFiles
from benchmark.errors import DataError, did_you_mean

_ANNOTATION_FOLDERS = ("annotations", "annotation", ".")


@dataclass(frozen=True, slots=True)
class Entry:
    """One image of an annotation file.

    Attributes:
        id: unique in the split, and the same in every folder and annotation form.
        path: annotated path.
        captions: at least one.
        identity: what it shares with other images whose captions are also relevant to it (person,
            product); "" where an image stands for itself.
        groups: key -> name of its group (category ...).
    """

    id: str
    path: PurePosixPath
    captions: tuple[str, ...]
    identity: str = ""
    groups: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class PairSource:
    """How the files of image-text pairs are called.

    Attributes:
        source: the data set and its folders.
        files: annotation file names, first hit wins, "{split}" where a split has its own; looked
            for in annotations/, annotation/ and the data set's folder itself.
        image_folders: below the data set's folder; "." is the folder itself.
    """

    source: Source
    files: tuple[str, ...]
    image_folders: tuple[str, ...]

    def annotation(self, root: Path | None, split: str = "") -> Path:
        """The first of the annotation files that is there, for a split where it has its own.

        Raises:
            DataError: no data folder, or none of the files in it; says what was looked for.
        """
        files = [name.replace("{split}", split) for name in self.files]
        folders = ("" if sub == "." else f"{sub}/" for sub in _ANNOTATION_FOLDERS)
        names = [folder + name for folder in folders for name in files]
        return self.source.annotation(root, names)

    def images(self, root: Path, paths: Sequence[PurePosixPath]) -> list[Path | None]:
        """Each image's file: annotated path in any folder first, then the bare name.

        Folders of corrupted images are usually flat, hence the bare name. One that several
        annotated paths share says nothing in a flat folder, so it is not used.

        Raises:
            DataError: a link that leads out of the data, or a folder that cannot be listed.
        """
        files = Files(self.places(root), [root])
        names = Counter(path.name for path in paths)
        return [
            files.find_any((path, PurePosixPath(path.name)) if names[path.name] == 1 else (path,))
            for path in paths
        ]

    def places(self, root: Path) -> list[Path]:
        """The folders below which images may lie, of those that exist."""
        return existing(
            root, [f"{place}/{sub}" for place in self.source.folders for sub in self.image_folders]
        )

    def pairs(
        self, root: Path, split: str, entries: Sequence[Entry], *, allow_missing: bool, where: Path
    ) -> ImageTextPairs:
        """Finds the images of the entries and makes pairs of both.

        Args:
            root: the user's data folder.
            split: name of the split.
            entries: one per image, in order.
            allow_missing: go on with the images that are there; ``info`` says how many are not.
            where: the file that the entries come from, for messages.

        Raises:
            DataError: no entry, an id that occurs twice, images missing (counted, five named), all
                images missing, or an image outside the data.
        """
        if not entries:
            raise DataError(f"{where} has no record of split {split!r}")
        _refuse_duplicates(entries, where)
        found = self.images(root, [entry.path for entry in entries])
        missing = [str(e.path) for e, hit in zip(entries, found, strict=True) if hit is None]
        if missing and (not allow_missing or len(missing) == len(entries)):
            message = self.source.missing(missing, len(entries), "images", self.places(root))
            raise DataError(message)
        kept = [(e, hit) for e, hit in zip(entries, found, strict=True) if hit is not None]
        name = f"{self.source.name} {split}"
        absent = [entry.id for entry, hit in zip(entries, found, strict=True) if hit is None]
        return _assemble(name, [e for e, _ in kept], [path for _, path in kept], absent)


def no_split(what: str, split: str, known: Sequence[str]) -> DataError:
    """The error for a split that is not there; says which are."""
    return DataError(
        f"{what} has no split {split!r}{did_you_mean(split, known)}; "
        f"it has {', '.join(map(repr, known)) or 'none'}"
    )


def _refuse_duplicates(entries: Sequence[Entry], where: Path) -> None:
    first: dict[str, int] = {}
    for number, entry in enumerate(entries, start=1):
        if entry.id in first:
            raise DataError(
                f"{where}: image {entry.id!r} occurs twice in the split, as entry "
                f"{first[entry.id]} and as entry {number}; each image must have one record"
            )
        first[entry.id] = number


def _assemble(
    name: str, entries: Sequence[Entry], paths: Sequence[Path], missing: Sequence[str]
) -> ImageTextPairs:
    digests = file_digests(paths)
    counts = np.array([len(entry.captions) for entry in entries], dtype=np.int64)
    described = (
        part
        for entry, digest in zip(entries, digests, strict=True)
        for part in (
            *(entry.id, digest, entry.identity),
            *(text for pair in sorted(entry.groups.items()) for text in pair),
            *(str(len(entry.captions)), *entry.captions),
        )
    )
    keys = entries[0].groups
    ids = [entry.id for entry in entries]
    caption_ids = [f"{e.id}#{k}" for e in entries for k in range(len(e.captions))]
    shared = any(entry.identity for entry in entries)
    return ImageTextPairs(
        name=name,
        images=ImageFiles(ids, paths, digests),
        captions=[text for entry in entries for text in entry.captions],
        caption_ids=caption_ids,
        caption_image=np.repeat(np.arange(len(entries), dtype=np.int64), counts),
        fingerprint=content_fingerprint([name, *described, *missing]),
        info={"missing_images": len(missing), "id_hash": content_fingerprint([*ids, *caption_ids])},
        image_groups={key: _numbered([entry.groups[key] for entry in entries]) for key in keys},
        identities=_numbered([entry.identity for entry in entries]) if shared else None,
    )


def _numbered(names: Sequence[str]) -> np.ndarray:
    """(names,) int64: equal names have equal numbers, in alphabetical order from 0."""
    return np.unique(np.array(names), return_inverse=True)[1].astype(np.int64)
