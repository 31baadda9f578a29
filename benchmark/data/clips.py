"""Decoding clips: folders of frames to (T, H, W, 3) uint8 arrays, wav files to ``Audio``."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from benchmark.data.images import read_image, refuse_changed
from benchmark.errors import DataError
from shifts.audio.item import Audio, read_wav
from shifts.base import ShiftError
from shifts.video.item import Frames


@dataclass(frozen=True)
class FrameFiles:
    """Videos kept as one image file per frame, decoded when asked for.

    Satisfies ``benchmark.data.retrieval.Items``.

    Attributes:
        ids: one id per video; corruption derives from it, so it must not depend on the folder.
        paths: each video's frames in order of time.
        digests: of each frame's file, as the set's fingerprint has them; empty: they are not
            compared.
    """

    ids: Sequence[str]
    paths: Sequence[Sequence[Path]]
    digests: Sequence[Sequence[str]] = ()

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: int, /) -> Frames:
        frames = read_frames(self.paths[index], video=self.ids[index])
        if self.digests:
            for path, digest in zip(self.paths[index], self.digests[index], strict=True):
                refuse_changed(path, digest)
        return frames


@dataclass(frozen=True)
class WavFiles:
    """Sounds kept as wav files, read when asked for; satisfies ``benchmark.data.retrieval.Items``.

    Attributes:
        ids: one id per sound; corruption derives from it, so it must not depend on the folder.
        paths: one file per sound.
        digests: of each file, as the set's fingerprint has them; empty: they are not compared.
    """

    ids: Sequence[str]
    paths: Sequence[Path]
    digests: Sequence[str] = ()

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: int, /) -> Audio:
        audio = read_audio(self.paths[index])
        if self.digests:
            refuse_changed(self.paths[index], self.digests[index])
        return audio


def read_frames(paths: Sequence[Path], *, video: str) -> Frames:
    """Decodes the frames of one video; grey, palette and CMYK frames become RGB.

    Args:
        paths: one image file per frame, in order of time.
        video: the video's id, for error messages.

    Returns:
        (T, H, W, 3) uint8, T = number of files.

    Raises:
        DataError: no frame, a frame that cannot be decoded (named), or frames of unlike sizes.
    """
    if not paths:
        raise DataError(f"video {video!r} has no frames; expected at least one image file")
    frames = [read_image(path) for path in paths]
    first = frames[0].shape
    for path, frame in zip(paths, frames, strict=True):
        if frame.shape != first:
            raise DataError(
                f"video {video!r} has frames of unlike sizes: {paths[0]} is {first[1]} x "
                f"{first[0]}, {path} is {frame.shape[1]} x {frame.shape[0]} (width x height); "
                "extract its frames again"
            )
    return np.stack(frames)


def read_audio(path: Path) -> Audio:
    """Reads a wav file of 16-bit PCM at its own rate; several channels are averaged.

    Raises:
        DataError: the file is missing, no such wav file, cut short, or holds no samples; the
            message names it.
    """
    try:
        audio = read_wav(path)
    except ShiftError as error:
        raise DataError(f"{error}; fetch or convert it again") from None
    if not len(audio.samples):
        raise DataError(
            f"{str(path)!r} holds no samples; a clip needs some sound. Fetch it again, or leave "
            "the clip out of the list"
        )
    return audio
