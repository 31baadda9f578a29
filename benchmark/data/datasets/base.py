"""What a loader returns: image-text pairs, clips, or composed queries with their gallery."""

from __future__ import annotations

import hashlib
from array import array
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from benchmark.data.retrieval import Items, Sections
from benchmark.errors import DataError, amount
from shifts.digests import digests_of


@dataclass(frozen=True)
class ImageTextPairs:
    """Images (or sounds) and their captions, before a query side is chosen.

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
        identities: (images,) int64 or None. Images of one identity (person, product) share their
            captions: each caption of the identity is relevant to each of its images, both ways.
            None: a caption belongs to its own image alone.
        caption_groups: key -> (captions,) int64 group of each caption, where it is not its image's.
        modality: "image", or "audio" where sounds stand in place of the images.
    """

    name: str
    images: Items
    captions: Sequence[str]
    caption_ids: Sequence[str]
    caption_image: np.ndarray
    fingerprint: str
    info: Mapping[str, Any] = field(default_factory=dict)
    image_groups: Mapping[str, np.ndarray] = field(default_factory=dict)
    identities: np.ndarray | None = None
    caption_groups: Mapping[str, np.ndarray] = field(default_factory=dict)
    modality: str = "image"

    @property
    def counts(self) -> dict[str, int]:
        """What a benchmark's card counts."""
        return {f"{self.modality}s": len(self.images), "captions": len(self.captions)}

    def __post_init__(self) -> None:
        images, captions = len(self.images), len(self.captions)
        if not images or not captions:
            raise DataError(
                f"{self.name}: {amount(images, 'image')} and {amount(captions, 'caption')}"
            )
        if len(self.caption_ids) != captions or self.caption_image.shape != (captions,):
            raise DataError(f"{self.name}: captions, their ids and their images differ in number")
        per_image = np.bincount(self.caption_image, minlength=images)
        if len(per_image) > images or not per_image.all():
            raise DataError(f"{self.name}: a caption without image or an image without caption")
        _check_groups(self.name, "image", self.image_groups, images)
        if self.identities is not None and self.identities.shape != (images,):
            raise DataError(f"{self.name}: identities must give each image its own")
        for kind, ids in (("image", self.images.ids), ("caption", self.caption_ids)):
            refuse_duplicates(ids, f"{self.name}: {kind} id")


@dataclass(frozen=True)
class ClipPairs:
    """Videos with their sound, one to one.

    Attributes:
        name: data set and split.
        videos: (T, H, W, 3) uint8 frames, decoded when asked for.
        audios: ``shifts.base.Audio``, read when asked for; ``audios[i]`` is that of
            ``videos[i]``, with the same id.
        fingerprint: hash of the content (see ``content_fingerprint``).
        info: facts that a result must say, such as the number of missing clips.
        clip_groups: key -> (clips,) int64 group of each clip, for streams in correlated order.
    """

    name: str
    videos: Items
    audios: Items
    fingerprint: str
    info: Mapping[str, Any] = field(default_factory=dict)
    clip_groups: Mapping[str, np.ndarray] = field(default_factory=dict)

    @property
    def counts(self) -> dict[str, int]:
        """What a benchmark's card counts."""
        return {"clips": len(self.videos)}

    def __post_init__(self) -> None:
        clips = len(self.videos)
        if not clips:
            raise DataError(f"{self.name}: no clips; expected some")
        if len(self.audios) != clips or list(self.audios.ids) != list(self.videos.ids):
            raise DataError(f"{self.name}: videos and audios are not one to one")
        refuse_duplicates(self.videos.ids, f"{self.name}: clip id")
        _check_groups(self.name, "clip", self.clip_groups, clips)


@dataclass(frozen=True)
class ComposedQueries:
    """Queries of a reference image and a modification text, and the images to be found.

    Attributes:
        name: data set and split.
        images: the gallery; with ``sections`` the sections' images one after the other.
        references: (queries,) int64 gallery index of each query's reference image.
        texts: the modification texts.
        targets: for each query the gallery indices that answer it.
        query_ids: one unique id per query.
        fingerprint: hash of the content (see ``content_fingerprint``).
        sections: parts with galleries of their own, or None.
        exclude_reference: whether a query's reference is left out of its ranking.
        subset: for each query the candidates of the subset recall, or None.
        recall_at: cut-offs to report.
        info: facts that a result must say, such as the number of missing images.
        query_groups: key -> (queries,) int64 group of each query, for correlated streams.
    """

    name: str
    images: Items
    references: np.ndarray
    texts: Sequence[str]
    targets: Sequence[Sequence[int]]
    query_ids: Sequence[str]
    fingerprint: str
    sections: Sections | None = None
    exclude_reference: bool = False
    subset: Sequence[Sequence[int]] | None = None
    recall_at: tuple[int, ...] = (1, 10, 50)
    info: Mapping[str, Any] = field(default_factory=dict)
    query_groups: Mapping[str, np.ndarray] = field(default_factory=dict)

    @property
    def counts(self) -> dict[str, int]:
        """What a benchmark's card counts."""
        return {"queries": len(self.texts), "images": len(self.images)}

    def __post_init__(self) -> None:
        queries, images = len(self.texts), len(self.images)
        if not queries or not images:
            raise DataError(
                f"{self.name}: {amount(queries, 'query')} and {amount(images, 'image')}"
            )
        per_query = (self.references, self.targets, self.query_ids, self.subset)
        if any(part is not None and len(part) != queries for part in per_query):
            raise DataError(f"{self.name}: texts, references, targets and ids differ in number")
        named = [*self.references, *(i for found in self.targets for i in found)]
        if min(named) < 0 or max(named) >= images:
            raise DataError(f"{self.name}: a query names an image outside the {images} there are")
        _check_groups(self.name, "query", self.query_groups, queries)
        refuse_duplicates(self.query_ids, f"{self.name}: query id")


def _check_groups(name: str, what: str, keys: Mapping[str, np.ndarray], count: int) -> None:
    for key, groups in keys.items():
        if groups.shape != (count,):
            raise DataError(f"{name}: group key {key!r} must give each {what} its group")


DataSet = ImageTextPairs | ClipPairs | ComposedQueries
"""What a loader returns: ``load(root, *, split, allow_missing)``.

``root`` is the user's data folder (None for embedded data). With ``allow_missing`` a run goes on
with the images that are there, and ``info`` says how many are not.
"""


def refuse_duplicates(ids: Sequence[str], what: str) -> None:
    """Raises DataError naming the first id that occurs twice."""
    hashes = np.fromiter(map(hash, ids), dtype=np.int64, count=len(ids))
    if len(np.unique(hashes)) == len(ids):
        return  # without a set of all ids, which takes a hundred bytes for each
    first: dict[str, int] = {}
    for number, item in enumerate(ids, start=1):
        if first.setdefault(item, number) != number:
            raise DataError(
                f"{what} {item!r} occurs twice, as entry {first[item]} and as entry {number}; each "
                "must be there once"
            )


def numbered(names: Sequence[str]) -> np.ndarray:
    """(names,) int64: equal names have equal numbers, in alphabetical order from 0."""
    return np.unique(np.array(names), return_inverse=True)[1].astype(np.int64)


def file_digests(paths: Sequence[Path]) -> list[str]:
    """SHA-256 of each file's content: what a picture or sound adds to a set's fingerprint.

    Raises:
        DataError: a file that cannot be read; names it.
    """
    try:
        return digests_of(paths)
    except OSError as error:
        reason = error.strerror or error
        raise DataError(f"cannot read {error.filename}: {reason}; fetch it again") from None


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


class Numbered:
    """Distinct contents, numbered from 0 in the order in which they come.

    Each takes its own bytes and about 25 more; an entry of a dict takes 200.
    """

    def __init__(self) -> None:
        self._contents, self._ends = bytearray(), array("q", [0])
        self._slots = array("q", bytes(8 * 1024))  # of a hash table: number + 1, 0 where free

    def __len__(self) -> int:
        return len(self._ends) - 1

    def content(self, number: int) -> bytes:
        """The content of that number."""
        return bytes(self._contents[self._ends[number] : self._ends[number + 1]])

    def find(self, content: bytes) -> int:
        """The number of a content, -1 where it has not come."""
        return self._slots[self._slot(content)] - 1

    def add(self, content: bytes) -> int:
        """The number of a content, which is the next one where it has not come before."""
        slot = self._slot(content)
        if not self._slots[slot]:
            self._contents += content
            self._ends.append(len(self._contents))
            self._slots[slot] = len(self)
            if 3 * len(self) > 2 * len(self._slots):
                self._slots = array("q", bytes(16 * len(self._slots)))
                for number in range(len(self)):
                    self._slots[self._slot(self.content(number))] = number + 1
            return len(self) - 1
        return self._slots[slot] - 1

    def _slot(self, content: bytes) -> int:
        """Where the content stands in the table, or would."""
        last = len(self._slots) - 1
        slot = hash(content) & last
        while (after := self._slots[slot]) and self.content(after - 1) != content:
            slot = (slot + 1) & last
        return slot
