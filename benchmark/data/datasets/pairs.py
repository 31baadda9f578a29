"""Image-text pairs from the records of an annotation file: their images are found on disk."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from benchmark.data.datasets.annotations import captions_of, no_split, value
from benchmark.data.datasets.base import ImageTextPairs, content_fingerprint, file_digests
from benchmark.data.datasets.folders import Files, Source
from benchmark.data.media import ImageFiles
from benchmark.errors import DataError

_ANNOTATION_FOLDERS = ("annotations", "annotation", ".")


@dataclass(frozen=True, slots=True)
class AnnotatedImage:
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
class PairLoader:
    """The loader of a data set of image-text pairs (see ``base.Loader``).

    Attributes:
        source: the data set and its folders.
        files: annotation file names, first hit wins, "{split}" where a split has its own; looked
            for in annotations/, annotation/ and the data set's folder itself.
        image_folders: below the data set's folder; "." is the folder itself.
        read: gives the images of a split of an annotation file, in order.
        spellings: annotated path -> other paths that known copies have instead of it.
        instead: files that known copies have in place of the annotations, each with what to do.
        split: the one that is loaded where none is named.
        part: what of a split is loaded, for its name ("in-domain"); "" for all.
    """

    source: Source
    files: tuple[str, ...]
    image_folders: tuple[str, ...]
    read: Callable[[Path, str], Iterable[AnnotatedImage]]
    spellings: Callable[[PurePosixPath], Iterable[PurePosixPath]] = lambda path: ()
    instead: tuple[tuple[str, str], ...] = ()
    split: str = "test"
    part: str = ""

    def __call__(
        self, root: Path | None, *, split: str = "", allow_missing: bool = False
    ) -> ImageTextPairs:
        """Reads the annotations, finds the images and makes pairs of both.

        Args:
            root: the user's data folder.
            split: "" for the data set's own default.
            allow_missing: go on with the images that are there; ``info`` says how many are not.

        Raises:
            DataError: no such split, annotations missing or malformed, no image in them, an id that
                occurs twice, images missing (counted, five named), all images missing, or an image
                outside the data.
        """
        split = split or self.split
        annotation = self.annotation(root, split)
        assert root is not None  # refused above
        images = list(self.read(annotation, split))
        split = f"{split} {self.part}".strip()
        if not images:
            raise DataError(f"{annotation} has no record of split {split!r}")
        _refuse_duplicates(images, annotation)
        found = self.images(root, [image.path for image in images])
        kept = [(image, hit) for image, hit in zip(images, found, strict=True) if hit is not None]
        absent = [image for image, hit in zip(images, found, strict=True) if hit is None]
        if absent and not (allow_missing and kept):
            names = [str(image.path) for image in absent]
            message = self.source.missing(names, len(images), "images", self.places(root))
            raise DataError(message)
        return _assemble(
            f"{self.source.name} {split}",
            [image for image, _ in kept],
            [path for _, path in kept],
            [image.id for image in absent],
        )

    def annotation(self, root: Path | None, split: str = "") -> Path:
        """The first of the annotation files that is there, for a split where it has its own.

        Raises:
            DataError: no data folder, or none of the files in it; says what was looked for.
        """
        files = [name.replace("{split}", split) for name in self.files]
        folders = ("" if sub == "." else f"{sub}/" for sub in _ANNOTATION_FOLDERS)
        names = [folder + name for folder in folders for name in files]
        return self.source.annotation(root, names, dict(self.instead))

    def images(self, root: Path, paths: Sequence[PurePosixPath]) -> list[Path | None]:
        """Each image's file: annotated path in any folder first, then the bare name.

        Folders of corrupted images are usually flat, hence the bare name. One that several
        annotated paths share says nothing in a flat folder, so it is not used.

        Raises:
            DataError: a link that leads out of the data, or a folder that cannot be listed.
        """
        files = Files(self.places(root), [root])
        names = Counter(path.name for path in paths)

        def spelled(path: PurePosixPath) -> Iterator[PurePosixPath]:
            for one in (path, *self.spellings(path)):
                yield one
                if names[path.name] == 1:
                    yield PurePosixPath(one.name)

        return [files.find_any(spelled(path)) for path in paths]

    def places(self, root: Path) -> list[Path]:
        """The folders below which images may lie, of those that exist."""
        return self.source.picture_places(root, self.image_folders)


def other_suffixes(*suffixes: str) -> Callable[[PurePosixPath], Iterable[PurePosixPath]]:
    """Paths whose pictures were saved as another kind of file."""

    def spelled(path: PurePosixPath) -> Iterable[PurePosixPath]:
        return [path.with_suffix(suffix) for suffix in suffixes if suffix != path.suffix]

    return spelled


def records_of(
    records: Sequence[Any], split: str, file: Path, what: str
) -> Iterator[tuple[str, Any]]:
    """The records of one split in a list of all.

    Args:
        records: objects with a key "split".
        split: the wanted one.
        file: where they come from, for messages.
        what: what one is called there ("record").

    Yields:
        (file and number for messages, record).

    Raises:
        DataError: a record without split, or no record of this one; says which splits there are.
    """
    splits: set[str] = set()
    for number, record in enumerate(records, start=1):
        where = f"{file}, {what} {number}"
        splits.add(value(record, "split", str, where))
        if record["split"] == split:
            yield where, record
    if split not in splits:
        raise no_split(str(file), split, sorted(splits))


def sentences_of(record: Any, where: str) -> tuple[str, ...]:
    """The texts of Karpathy's form: ``"sentences": [{"raw": text}, ...]``.

    Raises:
        DataError: another form, or no text.
    """
    sentences = value(record, "sentences", list, where)
    texts = [value(sentence, "raw", str, where) for sentence in sentences]
    return tuple(captions_of(texts, where, "sentences"))


def _refuse_duplicates(entries: Sequence[AnnotatedImage], where: Path) -> None:
    first: dict[str, int] = {}
    for number, entry in enumerate(entries, start=1):
        if entry.id in first:
            raise DataError(
                f"{where}: image {entry.id!r} occurs twice in the split, as entry "
                f"{first[entry.id]} and as entry {number}; each image must have one record"
            )
        first[entry.id] = number


def _assemble(
    name: str, entries: Sequence[AnnotatedImage], paths: Sequence[Path], missing: Sequence[str]
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
