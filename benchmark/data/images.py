"""Decoding image files to (H, W, 3) uint8 arrays, whatever they hold."""

from __future__ import annotations

import struct
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from benchmark.errors import DataError
from shifts.digests import digest_of

_BROKEN = (OSError, SyntaxError, ValueError, EOFError, IndexError, struct.error)
"""What PIL's decoders are known to raise on damaged files (PNG chunks raise SyntaxError)."""

_UINT16_TO_UINT8 = 257
"""65535 / 255: keeps black black and white white."""


@dataclass(frozen=True)
class ImageFiles:
    """Images on disk, decoded when asked for; satisfies ``benchmark.data.retrieval.Items``.

    Attributes:
        ids: one id per image; corruption derives from it, so it must not depend on the folder.
        paths: one file per image.
        digests: of each file, as the set's fingerprint has them; empty: they are not compared.
    """

    ids: Sequence[str]
    paths: Sequence[Path]
    digests: Sequence[str] = ()

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: int, /) -> np.ndarray:
        image = read_image(self.paths[index])
        if self.digests:
            refuse_changed(self.paths[index], self.digests[index])
        return image


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
        raise DataError(
            f"{path} has changed since this run read its data set, so the result would belong to "
            "neither state; run again once nothing writes to the data"
        )


def read_image(path: Path) -> np.ndarray:
    """Decodes one file to RGB.

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
            with Image.open(path) as image:
                image.load()
                return _to_rgb(image, path)
    except FileNotFoundError:
        raise DataError(f"image {path} does not exist") from None
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise DataError(f"image {path} is too large: {error}") from None
    except _BROKEN as error:
        raise DataError(
            f"image {path} cannot be decoded ({type(error).__name__}: {error}); "
            "expected a sound JPEG, PNG or other file that Pillow reads; fetch it again"
        ) from None


def _to_rgb(image: Image.Image, path: Path) -> np.ndarray:
    mode = image.mode
    if mode.startswith("I"):
        return _grey16(np.asarray(image), path)
    if mode == "F":
        raise DataError(f"image {path} holds floating-point pixels; expected 8 or 16 bit integers")
    if mode == "P" and "transparency" in image.info:
        # PIL warns about P -> RGB in one go when transparency is a table.
        image = image.convert("RGBA")
    return np.array(image.convert("RGB"))


def _grey16(values: np.ndarray, path: Path) -> np.ndarray:
    wide: Any = values.astype(np.int64)
    if wide.min() < 0 or wide.max() > 65535:
        raise DataError(
            f"image {path} holds grey values from {wide.min()} to {wide.max()}; "
            "expected at most 16 bit (0 to 65535)"
        )
    grey = np.round(wide / _UINT16_TO_UINT8).astype(np.uint8)
    return np.repeat(grey[:, :, None], 3, axis=2)
