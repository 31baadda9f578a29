"""Image-text pairs from the records of an annotation file: their images are found on disk."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

import numpy as np

from benchmark.data.datasets.base import (
    ImageTextPairs,
    content_fingerprint,
    file_digests,
    numbered,
    refuse_duplicates,
)
from benchmark.data.datasets.folders import Layout
from benchmark.data.media import ImageFiles
from benchmark.errors import DataError


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


@dataclass(frozen=True, slots=True, eq=False)
class PairLoader:
    """The loader of a data set of image-text pairs (see ``base.DataSet``).

    Attributes:
        layout: the data set's.
        read: gives the images of a split of an annotation file, in order.
        spellings: annotated path -> other paths that known copies have instead of it.
        part: what of a split is loaded, for its name ("in-domain"); "" for all.
    """

    layout: Layout
    read: Callable[[Path, str], Iterable[AnnotatedImage]]
    spellings: Callable[[PurePosixPath], Iterable[PurePosixPath]] = lambda path: ()
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
        split = split or self.layout.split
        annotation = self.layout.annotation(root, split)
        images = list(self.read(annotation, split))
        split = f"{split} {self.part}".strip()
        if not images:
            raise DataError(f"{annotation} has no record of split {split!r}")
        refuse_duplicates([image.id for image in images], f"{annotation}: image")
        counts = Counter(image.path.name for image in images)

        def spelled(path: PurePosixPath) -> Iterator[PurePosixPath]:
            """Folders of corrupted images are usually flat, hence the bare name.

            One that several annotated paths share says nothing in a flat folder.
            """
            for one in (path, *self.spellings(path)):
                yield one
                if counts[path.name] == 1:
                    yield PurePosixPath(one.name)

        wanted = [(str(image.path), spelled(image.path)) for image in images]
        found = self.layout.find_pictures(root, wanted, allow_missing=allow_missing)
        there = {image.id: path for image, path in zip(images, found, strict=True) if path}
        return _assemble(
            f"{self.layout.name} {split}",
            [image for image in images if image.id in there],
            list(there.values()),
            [image.id for image in images if image.id not in there],
        )


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
        image_groups={key: numbered([entry.groups[key] for entry in entries]) for key in keys},
        identities=numbered([entry.identity for entry in entries]) if shared else None,
    )
