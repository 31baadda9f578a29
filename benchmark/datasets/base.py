"""What a loader of image-text pairs returns."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from benchmark.errors import DataError
from benchmark.retrieval import Items


@dataclass(frozen=True)
class ImageTextPairs:
    """Images and their captions, before a query side is chosen.

    Attributes:
        name: data set and split, for example "coco test".
        images: raw images, (H, W, 3) uint8, decoded when asked for.
        captions: raw captions, those of one image in a row.
        caption_ids: one unique id per caption.
        caption_image: (captions,) int64 index of each caption's image.
        fingerprint: hash of the content (see ``content_fingerprint``).
        info: facts that a result must say, such as the number of missing images.
        image_groups: key -> (images,) int64 group of each image (its category, say), for streams
            in correlated order; the fingerprint must stand for them too.
    """

    name: str
    images: Items
    captions: Sequence[str]
    caption_ids: Sequence[str]
    caption_image: np.ndarray
    fingerprint: str
    info: Mapping[str, Any] = field(default_factory=dict)
    image_groups: Mapping[str, np.ndarray] = field(default_factory=dict)

    def __post_init__(self) -> None:
        images, captions = len(self.images), len(self.captions)
        if not images or not captions:
            raise DataError(f"{self.name}: {images} images and {captions} captions; expected some")
        if len(self.caption_ids) != captions or self.caption_image.shape != (captions,):
            raise DataError(f"{self.name}: captions, their ids and their images differ in number")
        per_image = np.bincount(self.caption_image, minlength=images)
        if len(per_image) > images or not per_image.all():
            raise DataError(f"{self.name}: a caption without image or an image without caption")
        for key, groups in self.image_groups.items():
            if groups.shape != (images,):
                raise DataError(f"{self.name}: group key {key!r} must give each image its group")
        for kind, ids in (("image", self.images.ids), ("caption", self.caption_ids)):
            refuse_duplicates(ids, f"{self.name}: {kind} id")


class Loader(Protocol):
    """Reads one split of a data set.

    ``root`` is the user's data folder (None for embedded data). With ``allow_missing`` a run goes
    on with the images that are there, and ``info`` says how many are not.
    """

    def __call__(self, root: Path | None, *, split: str, allow_missing: bool) -> ImageTextPairs: ...


def refuse_duplicates(ids: Iterable[str], what: str) -> None:
    """Raises DataError naming the first id that occurs twice."""
    seen: set[str] = set()
    for item in ids:
        if item in seen:
            raise DataError(f"{what} {item!r} occurs twice; ids must be unique")
        seen.add(item)


def content_fingerprint(parts: Iterable[str]) -> str:
    """16 hex digits over a sequence of strings; the boundaries between them count.

    >>> content_fingerprint(["ab", "c"]) == content_fingerprint(["a", "bc"])
    False
    """
    digest = hashlib.sha256()
    for part in parts:
        raw = part.encode()
        digest.update(len(raw).to_bytes(8, "little"))
        digest.update(raw)
    return digest.hexdigest()[:16]
