"""Media on disk: images, frames of videos and sounds, decoded when asked for.

Images become (H, W, 3) uint8 arrays whatever their files hold, folders of frames (T, H, W, 3)
ones, wav files ``Audio``.
"""

from __future__ import annotations

import hashlib
import io
import struct
import warnings
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from PIL import ExifTags, Image

from benchmark.errors import DataError, reason_of
from shifts.audio.item import read_wav
from shifts.base import Audio, Frames, ShiftError
from shifts.digests import digest_of

_BROKEN = (OSError, SyntaxError, ValueError, EOFError, IndexError, struct.error)
"""What PIL's decoders are known to raise on damaged files (PNG chunks raise SyntaxError)."""

_UINT16_TO_UINT8 = 257
"""65535 / 255: keeps black black and white white."""


class Stored(ABC):
    """A picture or sound within something larger: a shard, a data set, a table."""

    __slots__ = ()

    @property
    @abstractmethod
    def path(self) -> Path:
        """What messages call it."""

    @property
    def digest(self) -> str:
        """SHA-256 of its content."""
        return hashlib.sha256(self.read()).hexdigest()

    @abstractmethod
    def read(self) -> bytes:
        """Its content, as a file has it; DataError where it is gone."""


@dataclass(frozen=True)
class _Kept:
    """Items kept on disk; are ``benchmark.data.retrieval.Items``.

    Attributes:
        ids: one id per item; corruption derives from it, so it must not depend on the folder.
        paths: where each item lies.
        digests: of each, as the set's fingerprint has them; empty: they are not compared.
    """

    ids: Sequence[str]
    paths: Sequence[Any]
    digests: Sequence[Any] = ()

    def __len__(self) -> int:
        return len(self.paths)

    def _read(self, index: int, read: Callable[..., Any]) -> Any:
        """An item whose path is a file, something stored, or an array as it is."""
        place = self.paths[index]
        if isinstance(place, np.ndarray):
            return place.copy()
        if isinstance(place, Path):
            item = read(place)
            if self.digests:
                refuse_changed(place, self.digests[index])
            return item
        content = place.read()
        if self.digests and hashlib.sha256(content).hexdigest() != self.digests[index]:
            raise _changed(place.path)
        return read(place.path, io.BytesIO(content))


class ImageFiles(_Kept):
    """Images: of any kind that Pillow reads, or (H, W, 3) uint8 arrays."""

    def __getitem__(self, index: int, /) -> np.ndarray:
        return self._read(index, read_image)

    def turned(self) -> list[str]:
        """Ids of those that EXIF turns in viewers, and ``read_image`` does not."""
        found = []
        for key, place in zip(self.ids, self.paths, strict=True):
            with suppress(*_BROKEN, DataError):
                file = io.BytesIO(place.read()) if isinstance(place, Stored) else place
                with Image.open(file) as image:
                    if image.getexif().get(ExifTags.Base.Orientation, 1) != 1:
                        found.append(key)
        return found


class WavFiles(_Kept):
    """Sounds as wav files."""

    def __getitem__(self, index: int, /) -> Audio:
        return self._read(index, read_audio)


class FrameFiles(_Kept):
    """Videos: one image file per frame, in order of time."""

    def __getitem__(self, index: int, /) -> Frames:
        """(T, H, W, 3) uint8, T = number of files; grey, palette and CMYK frames become RGB.

        Raises:
            DataError: no frame, a frame that cannot be decoded (named), or frames of unlike sizes.
        """
        paths, video = self.paths[index], self.ids[index]
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
        if self.digests:
            for path, digest in zip(paths, self.digests[index], strict=True):
                refuse_changed(path, digest)
        return np.stack(frames)


def refuse_changed(path: Path, digest: str) -> None:
    """Refuses a file that is not the one any more that its set's fingerprint stands for.

    Raises:
        DataError: other content, or gone.
    """
    try:
        same = digest_of(path) == digest
    except OSError:
        same = False
    if not same:
        raise _changed(path)


def _changed(path: Path) -> DataError:
    return DataError(
        f"{path} has changed since this run read its data set, so the result would belong to "
        "neither state; run again once nothing writes to the data"
    )


def read_image(path: Path, file: BinaryIO | None = None) -> np.ndarray:
    """Decodes one file to RGB; ``file`` is its content where it lies elsewhere (in an archive).

    Grey, palette, CMYK and other 8-bit modes go through PIL's conversion, as in the reference
    loaders; alpha is dropped, not blended; EXIF rotation is ignored, as they do. 16-bit grey is
    scaled to 8 bit (PIL's own conversion would clip it). Of an animation the first frame is taken.

    Returns:
        A writable (H, W, 3) uint8 array of its own memory.

    Raises:
        DataError: the file is missing, broken, too large to be a photograph, or of a kind that has
            no defined RGB form; the message names the file.
    """
    try:
        with warnings.catch_warnings():
            # PIL only warns between its limit and twice that; beyond, it raises.
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            # Damaged metadata beside sound pixels is no reason to complain.
            warnings.filterwarnings("ignore", category=UserWarning, module=r"PIL\.")
            with Image.open(path if file is None else file) as image:
                image.load()
                return to_rgb(image, path)
    except FileNotFoundError:
        raise DataError(f"image {path} does not exist") from None
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise DataError(f"image {path} is too large: {error} Save it with fewer pixels") from None
    except _BROKEN as error:
        raise DataError(
            f"image {path} cannot be decoded ({reason_of(error)}); "
            "expected a sound JPEG, PNG or other file that Pillow reads; fetch it again"
        ) from None


def read_audio(path: Path, file: BinaryIO | None = None) -> Audio:
    """Reads a wav file at its own rate; several channels are averaged; ``file`` as of images.

    Raises:
        DataError: the file is missing, no such wav file, cut short, or holds no samples; the
            message names it.
    """
    try:
        audio = read_wav(path, None if file is None else file.read())
    except ShiftError as error:
        other = path.suffix.lower() != ".wav"
        command = f": ffmpeg -i {path.name} {path.stem}.wav" if other else ""
        raise DataError(f"{error}; fetch or convert it again{command}") from None
    if not len(audio.samples):
        raise DataError(
            f"{str(path)!r} holds no samples; a clip needs some sound. Fetch it again, or leave "
            "the clip out of the list"
        )
    return audio


def to_rgb(image: Image.Image, path: Path | str) -> np.ndarray:
    """An opened image as ``read_image`` gives it; ``path`` is for messages."""
    mode = image.mode
    if mode.startswith("I"):
        wide: Any = np.asarray(image).astype(np.int64)
        if wide.min() < 0 or wide.max() > 65535:
            raise DataError(
                f"image {path} holds grey values from {wide.min()} to {wide.max()}; "
                "expected at most 16 bit (0 to 65535)"
            )
        grey = np.round(wide / _UINT16_TO_UINT8).astype(np.uint8)
        return np.repeat(grey[:, :, None], 3, axis=2)
    if mode == "F":
        raise DataError(f"image {path} holds floating-point pixels; expected 8 or 16 bit integers")
    if mode == "P" and "transparency" in image.info:
        # PIL warns about P -> RGB in one go when transparency is a table.
        image = image.convert("RGBA")
    return np.array(image.convert("RGB"))
