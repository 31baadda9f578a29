"""Image-text data sets: their loader and the formats of their annotations.

COCO, Flickr30K, RSICD and RSITMD have Karpathy's (the first two also BLIP's), NoCaps the official
one or TCR's, CUHK-PEDES and ICFG-PEDES one list for all splits, Fashion-Gen the JSON lines that
``convert_fashion_gen`` makes of its pickles. Where the files are looked for is in
``layout.json``.

Captions stay as they are in the files; what a benchmark cleans is on its card.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from benchmark.data.datasets.annotations import (
    captions_of,
    no_split,
    of_split,
    path_of,
    placed,
    read_json,
    read_json_lines,
    relative_path,
    texts_of,
    value,
)
from benchmark.data.datasets.base import (
    ImageTextPairs,
    content_fingerprint,
    file_digests,
    numbered,
    refuse_duplicates,
)
from benchmark.data.datasets.folders import LAYOUTS, Layout
from benchmark.data.media import ImageFiles
from benchmark.errors import DataError, did_you_mean

CAPTIONS_PER_IMAGE = 5
"""The first five count; some COCO images have six or seven (25,010 in all, 25,000 used)."""

DOMAINS = ("in-domain", "near-domain", "out-domain")
"""NoCaps: images with objects that COCO's captions know, nearly know, and do not know."""

_FETCH_NOCAPS = "curl -O https://nocaps.s3.amazonaws.com/nocaps_val_4500_captions.json"

_OF_ALL = "caption_all.json"
"""CUHK-PEDES's other file: some copies say splits in it, the published one does not."""


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


def _load(
    layout: Layout,
    read: Callable[[Path, str], Iterable[AnnotatedImage]],
    root: Path | None,
    *,
    split: str = "",
    allow_missing: bool = False,
    spellings: Callable[[PurePosixPath], Iterable[PurePosixPath]] = lambda path: (),
    part: str = "",
) -> ImageTextPairs:
    """Reads the annotations, finds the images and makes pairs of both.

    Args:
        read: gives the images of a split of an annotation file, in order.
        root: the user's data folder.
        split: "" for the data set's own default.
        allow_missing: go on with the images that are there; ``info`` says how many are not.
        spellings: annotated path -> other paths that known copies have instead of it.
        part: what of a split is loaded, for its name ("in-domain"); "" for all.

    Raises:
        DataError: no such split, annotations missing or malformed, no image in them, an id that
            occurs twice, images missing (counted, five named), all images missing, or an image
            outside the data.
    """
    split = split or layout.split
    annotation = layout.annotation(root, split)
    images = list(read(annotation, split))
    split = f"{split} {part}".strip()
    if not images:
        raise DataError(f"{annotation} has no record of split {split!r}")
    refuse_duplicates([image.id for image in images], f"{annotation}: image")
    counts = Counter(image.path.name for image in images)

    def spelled(path: PurePosixPath) -> Iterator[PurePosixPath]:
        """Folders of corrupted images are usually flat, hence the bare name.

        One that several annotated paths share says nothing in a flat folder.
        """
        for one in (path, *spellings(path)):
            yield one
            if counts[path.name] == 1:
                yield PurePosixPath(one.name)

    wanted = {image.id: image.path for image in images}
    found = layout.find_pictures(root, wanted, spelled, allow_missing=allow_missing)
    return _assemble(f"{layout.name} {split}", images, found)


def _assemble(
    name: str, images: Sequence[AnnotatedImage], found: Mapping[str, Path]
) -> ImageTextPairs:
    """The pairs of the images that were found."""
    entries = [image for image in images if image.id in found]
    missing = [image.id for image in images if image.id not in found]
    ids, paths = list(found), list(found.values())
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


def _karpathy(file: Path, split: str) -> Iterator[AnnotatedImage]:
    """Karpathy's form, ``{"images": [{"filename", "split", "sentences": [{"raw"}]}]}``, or BLIP's.

    An image's id is its file's bare name: the same in both forms and in every folder. Many texts
    of RSICD and RSITMD occur under several images; only a text's own image is relevant, as in TCR's
    left-over loaders.
    """
    data = read_json(file, drop="tokens")
    if isinstance(data, list):  # BLIP's: [{"image": path, "caption": [text, ...]}, ...], one split
        for where, record in placed(data, file):
            path = path_of(record, "image", where)
            yield _first_captions(path, texts_of(record, "caption", where))
        return
    records = value(data, "images", list, str(file))
    for where, record in of_split(records, split, file, "images record"):
        folder = value(record, "filepath", str, where) if "filepath" in record else ""
        name = value(record, "filename", str, where)
        path = relative_path(f"{folder}/{name}" if folder else name, where)
        said = [value(one, "raw", str, where) for one in value(record, "sentences", list, where)]
        yield _first_captions(path, captions_of(said, where, "sentences"))


def _first_captions(path: PurePosixPath, texts: Sequence[str]) -> AnnotatedImage:
    return AnnotatedImage(path.stem, path, tuple(texts[:CAPTIONS_PER_IMAGE]))


def _as_in_2017(path: PurePosixPath) -> Iterator[PurePosixPath]:
    """COCO's release of 2017 has the same pictures under their bare numbers, divided anew."""
    prefix, _, number = path.name.rpartition("_")
    if prefix.startswith("COCO_"):
        yield PurePosixPath(number)


def _as_png_or_jpg(path: PurePosixPath) -> Iterator[PurePosixPath]:
    return (path.with_suffix(suffix) for suffix in (".png", ".jpg") if suffix != path.suffix)


load_coco = partial(_load, LAYOUTS["coco"], _karpathy, spellings=_as_in_2017)
"""COCO, Karpathy split."""

load_flickr30k = partial(_load, LAYOUTS["flickr30k"], _karpathy)
"""Flickr30K, Karpathy split."""

load_rsicd = partial(_load, LAYOUTS["rsicd"], _karpathy)
"""RSICD, aerial views with five sentences each, only the own image relevant."""

load_rsitmd = partial(_load, LAYOUTS["rsitmd"], _karpathy, spellings=_as_png_or_jpg)
"""RSITMD, likewise."""


def _nocaps(file: Path, split: str, *, domain: str = "") -> Iterator[AnnotatedImage]:
    """NoCaps in the official form or as TCR's list, of one domain or of all.

    Images are ordered by file name and keep their captions' order, so that the two forms give one
    fingerprint.
    """
    if split != "val":
        raise no_split("nocaps (whose test captions are hidden)", split, ["val"])
    data = read_json(file)
    read = _listed if isinstance(data, list) else _official
    every = sorted(read(data, file), key=lambda image: image.id)
    return (image for image in every if domain in ("", image.groups["domain"]))


def _listed(data: list[Any], file: Path) -> Iterator[AnnotatedImage]:
    """TCR's form: ``[{"domain", "image", "caption": [text, ...]}, ...]``."""
    for where, record in placed(data, file):
        if isinstance(record, dict) and "img_id" in record and "domain" not in record:
            raise DataError(
                f"{file} is BLIP's list, without the domains of the images; fetch the official "
                f"file into the same folder: {_FETCH_NOCAPS}"
            )
        texts = texts_of(record, "caption", where)
        yield _in_domain(path_of(record, "image", where), record, texts, where)


def _official(data: Any, file: Path) -> Iterator[AnnotatedImage]:
    """COCO's form: ``images`` with id, file name and domain; ``annotations`` with image id."""
    images = list(placed(value(data, "images", list, str(file)), file, "images record"))
    annotations = value(data, "annotations", list, str(file))
    texts: dict[int, list[str]] = {}
    for where, record in images:
        key = value(record, "id", int, where)
        if key in texts:
            raise DataError(f"{where}: image id {key} occurs twice; ids must be unique")
        texts[key] = []
    for where, record in placed(annotations, file, "annotations record"):
        key = value(record, "image_id", int, where)
        if key not in texts:
            raise DataError(f"{where}: there is no image with id {key}")
        texts[key].append(value(record, "caption", str, where))
    for (key, own), (where, record) in zip(texts.items(), images, strict=True):
        if not own:
            raise DataError(
                f"{where}: image {key} has no annotation; expected at least one caption"
            )
        yield _in_domain(path_of(record, "file_name", where), record, own, where)


def _in_domain(path: PurePosixPath, record: Any, texts: list[str], where: str) -> AnnotatedImage:
    domain = value(record, "domain", str, where)
    if domain not in DOMAINS:
        raise DataError(
            f"{where}: domain {domain!r} is unknown{did_you_mean(domain, DOMAINS)}; "
            f"expected one of {', '.join(DOMAINS)}"
        )
    return AnnotatedImage(path.stem, path, tuple(texts), groups={"domain": domain})


load_nocaps = partial(_load, LAYOUTS["nocaps"], _nocaps)
"""All domains (4,500 images)."""

load_nocaps_in, load_nocaps_near, load_nocaps_out = (
    partial(_load, LAYOUTS["nocaps"], partial(_nocaps, domain=domain), part=domain)
    for domain in DOMAINS
)
"""One domain (648, 2,938 and 914 images); its gallery holds that domain only."""


def _persons(file: Path, split: str, *, one_text: bool = False) -> Iterator[AnnotatedImage]:
    """One list for all splits: ``split``, ``captions``, ``file_path``, ``id``.

    All captions of all images of a person are relevant to all of them, both ways. Ids are annotated
    paths, because the folders of CUHK-PEDES come from other data sets whose file names may
    coincide. With ``one_text`` the captions may be the one text itself, as in some copies.
    """
    data = read_json(file, drop="processed_tokens")
    if not isinstance(data, list):
        raise DataError(f"{file}: expected a list of records with 'split', 'captions', 'file_path'")
    if file.name == _OF_ALL and not any("split" in r for r in data if isinstance(r, dict)):
        raise DataError(
            f"{file} is there, but has no splits; take reid_raw.json of the same archive: "
            f"cp /path/to/archive/reid_raw.json {file.parent}"
        )
    for where, record in of_split(data, split, file):
        path = path_of(record, "file_path", where)
        if one_text and isinstance(record.get("captions"), str):
            texts = [value(record, "captions", str, where)]
        else:
            texts = texts_of(record, "captions", where)
        person = str(value(record, "id", int, where))
        yield AnnotatedImage(str(path), path, tuple(texts), identity=person)


load_cuhk_pedes = partial(_load, LAYOUTS["cuhk-pedes"], _persons)
"""CUHK-PEDES; splits train, val and test."""

load_icfg_pedes = partial(_load, LAYOUTS["icfg-pedes"], partial(_persons, one_text=True))
"""ICFG-PEDES; splits train and test."""


def _products(file: Path, split: str) -> Iterator[AnnotatedImage]:
    """Fashion-Gen: ``img_name`` (``<product>_<k>.png``), ``captions``, ``super_cls_name`` if any.

    Every caption of a product is relevant to every image of it, both ways, so the repeated text of
    a product's images does no harm. Several texts are joined by blanks, as TCR's cleaning does.
    """
    if split != "val":
        raise no_split("fashion-gen", split, ["val"])
    for where, record in read_json_lines(file):
        yield product_image(record, where)


def product_image(record: Any, where: str) -> AnnotatedImage:
    """An image of Fashion-Gen; DataError for a malformed record."""
    path = path_of(record, "img_name", where)
    product, underscore, _ = path.name.partition("_")
    if not product or not underscore:
        raise DataError(
            f"{where}: img_name {path.name!r} names no product; expected <product>_<number>.png"
        )
    category = value(record, "super_cls_name", str, where) if "super_cls_name" in record else ""
    found = record.get("captions")
    texts = found if isinstance(found, list) else [value(record, "captions", str, where)]
    text = " ".join(captions_of(texts, where, "captions"))
    groups = {"category": category}
    return AnnotatedImage(path.stem, path, (text,), identity=product, groups=groups)


load_fashion_gen = partial(_load, LAYOUTS["fashion-gen"], _products)
"""Fashion-Gen, validation."""
