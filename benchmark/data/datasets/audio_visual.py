"""AudioSet and VGGSound clips in the list form of CAV-MAE, which READ uses too.

Where the files are looked for is in ``layout.json``. ``wav`` and ``video_path`` are those of the
list: relative to the list's folder or the data set's, or absolute below the data folder. A path
that leads elsewhere, also by a link, is refused.

Every user's copy differs, because videos are withdrawn. So ``info`` always says how many clips
were used and a hash of their ids. Of a clip all ten frames are given; which of them a model looks
at is the backbone's concern (CAV-MAE's retrieval reads the sixth). Sounds keep their own rate.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path, PurePosixPath

from benchmark.data.datasets.annotations import no_split, placed, read_json, relative_path, value
from benchmark.data.datasets.base import (
    ClipPairs,
    content_fingerprint,
    file_digests,
    numbered,
    refuse_duplicates,
)
from benchmark.data.datasets.folders import LAYOUTS, Files, Layout
from benchmark.data.datasets.nearby import missing_files
from benchmark.data.media import FrameFiles, WavFiles
from benchmark.errors import DataError

_UNREAD = (".flac", ".mp3", ".m4a", ".ogg")  # sounds that copies have, or lists name, for wav

FRAMES = 10
"""Frames of each clip in CAV-MAE's form."""


@dataclass(frozen=True, slots=True)
class _Clip:
    id: str
    frames: tuple[PurePosixPath, ...]
    wav: PurePosixPath
    labels: tuple[str, ...]


def _load(
    layout: Layout, root: Path | None, *, split: str = "", allow_missing: bool = False
) -> ClipPairs:
    """The clips of a list, or with ``allow_missing`` those whose frames and sound are all there.

    Raises:
        DataError: files missing or malformed, or a path that leads out of the data folder.
    """
    if split not in ("", layout.split):
        raise no_split(repr(layout.name), split, [layout.split])
    file = layout.annotation(root, layout.split)
    assert root is not None  # annotation() refuses None
    places = list(dict.fromkeys([file.parent, *layout.places(root)]))
    clips = _read(file, [path for p in places for path in (p.absolute(), p.resolve())])
    files = Files(places, within=[root])
    kept: list[tuple[_Clip, list[Path], Path]] = []
    missing: dict[str, str] = {}
    lost: list[str] = []
    advice = ""
    for clip in clips:
        there = [path for path in map(files.find, clip.frames) if path is not None]
        other = clip.wav.suffix.lower() in _UNREAD
        wav = files.find(clip.wav.with_suffix(".wav") if other else clip.wav)
        if wav is not None and len(there) == FRAMES:
            kept.append((clip, there, wav))
            continue
        lacks = [f"{len(there)} of {FRAMES} frames"] * (len(there) < FRAMES)
        lacks += ["no wav"] * (wav is None)
        missing[clip.id] = f"{clip.id} ({', '.join(lacks)})"
        advice = advice or ("" if wav else _to_wav(clip.wav, files))
        sought = ((clip.wav, wav), (clip.frames[0], there))
        lost += [str(path) for path, found in sought if not found]
    if missing and (not allow_missing or not kept):
        named, of = [*missing.values()], f"clips of {layout.name!r}"
        said = missing_files(named, len(clips), of, places, files=lost)
        raise DataError(f"{said}. {layout.access}{advice}")
    return _pairs(f"{layout.name} {layout.split}", kept, list(missing))


load_audioset = partial(_load, LAYOUTS["audioset"])
"""AudioSet's evaluation clips, five a class."""

load_vggsound = partial(_load, LAYOUTS["vggsound"])
"""VGGSound's test clips, five a class."""


def _read(file: Path, allowed: Sequence[Path]) -> list[_Clip]:
    records = value(read_json(file), "data", list, str(file))
    clips: list[_Clip] = []
    for where, record in placed(records, file, "data record"):
        name = value(record, "video_id", str, where)
        folder = value(record, "video_path", str, where) or "."
        frames = tuple(
            _below(f"{folder}/frame_{k}/{name}.jpg", "video_path or video_id", where, allowed)
            for k in range(FRAMES)
        )
        wav = _below(value(record, "wav", str, where), "wav", where, allowed)
        labels = tuple(part.strip() for part in value(record, "labels", str, where).split(","))
        if not all(labels):
            raise DataError(
                f"{where}: key 'labels' is {record['labels']!r}; expected class ids joined by "
                "commas, such as '/m/01,/m/02'"
            )
        clips.append(_Clip(name, frames, wav, labels))
    if not clips:
        raise DataError(f"{file} has no record")
    refuse_duplicates([clip.id for clip in clips], f"{file}: video_id")
    return clips


def _below(text: str, key: str, where: str, allowed: Sequence[Path]) -> PurePosixPath:
    """A path of the list, relative to one of the allowed folders."""
    for folder in allowed:
        if Path(text).is_absolute() and Path(text).is_relative_to(folder):
            text = Path(text).relative_to(folder).as_posix()
    try:
        return relative_path(text, where)
    except DataError:
        advice = ""
        if Path(text).is_absolute():
            begins = _beginning(text, allowed)
            advice = f": sed -i 's#\"{begins}/#\"#' {where.partition(', data record')[0]}"
        raise DataError(
            f"{where}: {key} leads to {text!r}, which is refused; expected a path below the data "
            f"folder, such as 'audio/aaaaaaaaaaa.wav' or 'frames/'{advice}"
        ) from None


def _beginning(text: str, allowed: Sequence[Path]) -> str:
    """The part of an absolute path that is another machine's: the rest, if any, is there."""
    path = PurePosixPath(text)
    for above in reversed(path.parents):
        rest = path.relative_to(above)
        if len(rest.parts) > 1 and any((f / rest).parent.is_dir() for f in allowed):
            return str(above)
    return "/ITS/BEGINNING"


def _to_wav(path: PurePosixPath, files: Files) -> str:
    """How to make a wav of a sound that is there in another form, else ""."""
    other = files.find_any([path, *(path.with_suffix(suffix) for suffix in _UNREAD)])
    if other is None:
        return ""
    old = other.suffix
    return (
        f". Only wav is read, and there is {other}: for f in {other.parent}/*{old}; do "
        f'ffmpeg -i "$f" -ar 16000 -ac 1 "${{f%{old}}}.wav"; done'
    )


def _pairs(
    name: str, kept: Sequence[tuple[_Clip, list[Path], Path]], missing: Sequence[str]
) -> ClipPairs:
    ids = [clip.id for clip, *_ in kept]
    every = iter(file_digests([path for _, frames, wav in kept for path in (*frames, wav)]))
    digests = [[next(every) for _ in range(FRAMES + 1)] for _ in kept]
    described = (
        part
        for (clip, *_), own in zip(kept, digests, strict=True)
        for part in (clip.id, *own, str(len(clip.labels)), *clip.labels)
    )
    return ClipPairs(
        name=name,
        videos=FrameFiles(
            ids, [frames for _, frames, _ in kept], [own[:FRAMES] for own in digests]
        ),
        audios=WavFiles(ids, [wav for *_, wav in kept], [own[FRAMES] for own in digests]),
        fingerprint=content_fingerprint([*name.split(), *described, *missing]),
        info={
            "missing_clips": len(missing),
            "id_hash": content_fingerprint(ids),
            "classes": len({label for clip, *_ in kept for label in clip.labels}),
        },
        # Of several classes the first that the list names counts, or all of them together.
        clip_groups={
            "label": numbered([clip.labels[0] for clip, *_ in kept]),
            "label_set": numbered([",".join(sorted(set(clip.labels))) for clip, *_ in kept]),
        },
    )
