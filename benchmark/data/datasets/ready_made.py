"""Corrupted queries that somebody else made: the files of TCR and MM_Robustness.

They are used in place of generating, and are the only way to compare with published numbers. Names
of folders and files, below the folder given as READY_MADE, are in ``ready_made.json``; docs/data.md
shows them. Captions are in BLIP's form.

An image is looked for under its annotated path first, then under its bare file name (the published
generator writes flat folders). A caption may be a list of texts, as one release of nlpaug returns
it; it is joined by blanks, as TCR does. Nothing is guessed: images and captions must be those of
the clean set, one by one.
"""

from __future__ import annotations

import json
from collections.abc import Container, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

from benchmark.cell import READY_MADE, ShiftSpec
from benchmark.data.datasets.annotations import captions_of, path_of, read_records, value
from benchmark.data.datasets.base import content_fingerprint, file_digests, refuse_duplicates
from benchmark.data.datasets.captioned import CAPTIONS_PER_IMAGE
from benchmark.data.datasets.nearby import few, packed
from benchmark.data.media import ImageFiles
from benchmark.data.retrieval import Items, RetrievalSet, Texts
from benchmark.errors import ConfigError, DataError, amount, did_you_mean


@dataclass(frozen=True, slots=True)
class Corruption:
    """A published type of corruption.

    Attributes:
        folder: its spelling in folder names.
        modality: "image" or "text".
        severities: the severities that the published generator makes.
    """

    folder: str
    modality: str
    severities: tuple[int, ...]


_DATA = json.loads(Path(__file__).with_suffix(".json").read_text(encoding="utf-8"))
_LAYOUTS: dict[str, dict[str, str]] = _DATA["layouts"]
CORRUPTIONS: dict[str, Corruption] = {
    name: Corruption(folder, kind["modality"], tuple(range(1, kind["severities"] + 1)))
    for kind in _DATA["corruptions"]
    for name, folder in kind["folders"].items()
}
"""Our name of a shift -> the published corruption. ``stylize`` has no shift of ours; approximations
of ours (``*_lite``, ``*_rules``, ``*_procedural``) have no files."""


@dataclass(frozen=True)
class ReadyMade:
    """Corrupted queries in the order of the clean ones.

    Attributes:
        items: as ``RetrievalSet.queries``, with the same ids.
        fingerprint: hash of the corrupted content; part of a result's identity.
    """

    items: Items
    fingerprint: str


def specify(name: str, severity: int) -> ShiftSpec:
    """The spec of a ready-made shift: none of the generator's options apply to it.

    Raises:
        ConfigError: no files of that name or severity are known.
    """
    known = corruption(name).severities
    if severity not in known:
        raise ConfigError(
            f"there are no ready-made files of {name!r} at severity {severity}; "
            f"it has {', '.join(map(str, known))}"
        )
    return ShiftSpec(name, severity, {READY_MADE: True})


def corruption(name: str) -> Corruption:
    """The published corruption of a name.

    Raises:
        ConfigError: files of that name are not known.
    """
    if name not in CORRUPTIONS:
        raise ConfigError(
            f"there are no ready-made files of {name!r}{did_you_mean(name, CORRUPTIONS)}; "
            f"known: {', '.join(CORRUPTIONS)}"
        )
    return CORRUPTIONS[name]


def load(root: Path, dataset: str, spec: ShiftSpec, clean: RetrievalSet) -> ReadyMade:
    """Finds the corrupted queries of a clean set.

    Args:
        root: the user's folder with them.
        dataset: "coco" or "flickr30k".
        spec: type and severity.
        clean: the set whose queries they stand for, one by one.

    Raises:
        ConfigError: unknown type, or a data set that has no such files.
        DataError: files not found or malformed, or other images or captions than the clean set's.
    """
    if dataset not in _LAYOUTS:
        raise ConfigError(
            f"ready-made queries are known for {' and '.join(_LAYOUTS)}, not for {dataset!r}"
        )
    kind = corruption(spec.name)
    find = _images if kind.modality == "image" else _captions
    return find(root, _LAYOUTS[dataset], kind.folder, spec.severity, clean)


def _images(
    root: Path, layout: dict[str, str], folder: str, severity: int, clean: RetrievalSet
) -> ReadyMade:
    name = f"{layout['prefix']}_{folder}_{severity}"
    source = _find(root, layout["images"], name, "folder of corrupted images")
    annotated = layout["annotated_folder"]
    files = _by_stem(source) | _by_stem(source / annotated)
    ids = clean.queries.ids
    looked = f"; looked for the annotated path ({annotated}/...), then for the bare "
    _refuse_lacking(source, ids, files, clean.name, f"{looked}file name")
    paths = [files[item] for item in ids]
    digests = file_digests(paths)
    described = chain.from_iterable(zip(ids, digests, strict=True))
    return ReadyMade(ImageFiles(ids, paths, digests), content_fingerprint(described))


def _by_stem(folder: Path) -> dict[str, Path]:
    """Image files by bare name without suffix; a JPEG before its twin of another kind."""
    suffixes = (".jpg", ".jpeg", ".png")
    files = [path for path in folder.glob("*") if path.suffix.lower() in suffixes]
    files.sort(key=lambda path: (suffixes.index(path.suffix.lower()), path.name), reverse=True)
    return {path.stem: path for path in files}


def _captions(
    root: Path, layout: dict[str, str], folder: str, severity: int, clean: RetrievalSet
) -> ReadyMade:
    below = f"annotation_{folder}/{severity}/{layout['file']}"
    source = _find(root, layout["annotations"], below, "file of corrupted captions")
    texts: dict[str, list[str]] = {}
    names = []
    for where, record in read_records(source, "image", "caption"):
        names.append(path_of(record, "image", where).stem)
        said = value(record, "caption", list, where)
        for number, caption in enumerate(said):
            if isinstance(caption, list):
                parts = captions_of(caption, f"{where}, caption {number + 1}", "caption")
                said[number] = " ".join(parts)
        texts[names[-1]] = captions_of(said, where, "caption")[:CAPTIONS_PER_IMAGE]
    refuse_duplicates(names, f"{source}: image")
    ids = clean.queries.ids
    wanted: dict[str, list[str]] = {}
    for item in ids:
        wanted.setdefault(item.rpartition("#")[0], []).append(item)
    _refuse_lacking(source, list(wanted), texts, clean.name)
    spare = sorted(texts.keys() - wanted.keys())
    if spare and not clean.info.get("missing_images"):  # an incomplete clean copy explains them
        raise DataError(
            f"{source} has {amount(len(spare), 'image')} that {clean.name!r} does not have: "
            f"{few(spare)}; expected the same set"
        )
    by_id: dict[str, str] = {}
    for image, own in wanted.items():
        if len(texts[image]) != len(own):
            raise DataError(
                f"{source} has {amount(len(texts[image]), 'caption')} of image {image!r}; the "
                f"clean set has {len(own)} (the first {CAPTIONS_PER_IMAGE} count)"
            )
        by_id |= dict(zip(own, texts[image], strict=True))
    values = [by_id[item] for item in ids]
    described = chain.from_iterable(zip(ids, values, strict=True))
    return ReadyMade(Texts(ids, values), content_fingerprint(described))


def _find(root: Path, above: str, name: str, what: str) -> Path:
    """A file or folder below a folder of the root, or in the root itself."""
    candidates = [root / above / name, root / name]
    for path in candidates:
        if path.exists():
            return path
    raise DataError(
        f"no {what}; looked for {', '.join(map(str, candidates))}; {packed([root])}"
        "READY_MADE=/path (--ready-made /path) names the folder that holds TCR's or MM_Robustness' "
        "files"
    )


def _refuse_lacking(
    source: Path, wanted: Sequence[str], there: Container[str], name: str, more: str = ""
) -> None:
    if missing := [image for image in wanted if image not in there]:
        raise DataError(
            f"{source} lacks {len(missing)} of {amount(len(wanted), 'image')} of {name!r}: "
            f"{few(missing)}{more}"
        )
