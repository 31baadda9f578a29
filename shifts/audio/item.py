"""Samples of a recording: their level, their steps, and how they are read from a wav file.

Wav files hold integers of 8 to 32 bits or floats, with plain or extensible headers. The standard
library's ``wave`` reads neither floats nor, before Python 3.12, extensible headers, which ffmpeg
and audio editors write for more than 16 bits or two channels.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from shifts.base import Audio, Samples, ShiftError

FULL_SCALE = 32768
"""Steps of 16-bit PCM between 0 and full scale."""


def level(samples: NDArray[np.floating[Any]]) -> float:
    """Root mean square of (n,) samples; 0 for silence and for no samples."""
    if not len(samples):
        return 0.0
    return float(np.sqrt(np.mean(np.square(samples, dtype=np.float64))))


def to_pcm16(samples: NDArray[np.floating[Any]]) -> Samples:
    """Rounds to the steps of 16-bit PCM and clips to its range, (n,) float32.

    This is what writing to a wav file does; -1 is a step, +1 is not (the highest is 32767 / 32768).
    """
    steps = np.clip(np.rint(samples * FULL_SCALE), -FULL_SCALE, FULL_SCALE - 1)
    return (steps / FULL_SCALE).astype(np.float32)


def read_wav(path: str | Path, content: bytes | None = None) -> Audio:
    """Reads a wav file (formats: see this module); several channels are averaged.

    Args:
        path: the file.
        content: what it holds, where it has been read already (from an archive).

    Returns:
        The whole recording at its own rate.

    Raises:
        ShiftError: no such file, not a wav file, another sample format, or cut short.
    """
    samples, rate = read_samples(path, content)
    return Audio(samples.mean(axis=1).astype(np.float32), rate)


_PCM, _FLOAT, _EXTENSIBLE = 0x0001, 0x0003, 0xFFFE
_NAMES = {0x0002: "ADPCM", 0x0006: "A-law", 0x0007: "mu-law", 0x0011: "IMA ADPCM", 0x0055: "MP3"}
_MOST_RATE = 2_000_000
"""Hz; hydrophones take up to 1 MHz, and beyond this a header is damaged."""
_UNKNOWN_SIZE = 2**32 - 1
"""What ffmpeg writes into a pipe, where it cannot come back to the header: to the file's end."""

_GUID_TAIL = bytes.fromhex("000000001000800000aa00389b71")
"""Ends every subformat of an extensible header; the format's number stands before it."""

EXPECTED = "expected a RIFF wav file with 16-bit PCM (8, 24 or 32 bits and floats are read as well)"


def read_samples(path: str | Path, content: bytes | None = None) -> tuple[NDArray[np.float64], int]:
    """All samples of a wav file, or of its content where that is given, full scale as 1.

    Returns:
        (n, channels) float64 in [-1, 1] (floats beyond are cut), and samples per second.

    Raises:
        ShiftError: no such file, no wav file, another sample format, or cut short.
    """
    shown = repr(str(path))
    try:
        content = Path(path).read_bytes() if content is None else content
    except FileNotFoundError:
        raise ShiftError(f"there is no audio file {shown}") from None
    except OSError as error:
        raise ShiftError(
            f"cannot read {shown} as a wav file ({error.strerror or error}); {EXPECTED}"
        ) from None
    try:
        return _decoded(content)
    except ValueError as error:
        raise ShiftError(f"cannot read {shown} as a wav file ({error}); {EXPECTED}") from None


def _decoded(content: bytes) -> tuple[NDArray[np.float64], int]:
    if len(content) < 12:
        raise ValueError("it ends too early")
    if content[:4] != b"RIFF" or content[8:12] != b"WAVE":
        raise ValueError(f"it begins with {content[:4]!r} instead of a RIFF header")
    header = b""
    for name, start, size in _chunks(content):
        if name == b"fmt ":
            header = content[start : start + size]
        elif name == b"data":
            if not header:
                raise ValueError("its samples come before their format")
            there = len(content) - start
            if size == _UNKNOWN_SIZE:
                size = there
            if there < size:
                raise ValueError(f"it is cut short: {there} of {size} bytes of samples")
            return _samples(header, content[start : start + size])
    raise ValueError("it has no samples: it ends too early")


def _chunks(content: bytes) -> Iterator[tuple[bytes, int, int]]:
    """Name, start and size in bytes of each chunk."""
    place = 12
    while place + 8 <= len(content):
        name, size = struct.unpack_from("<4sI", content, place)
        yield name, place + 8, size
        place += 8 + size + size % 2


def _samples(header: bytes, data: bytes) -> tuple[NDArray[np.float64], int]:
    if len(header) < 16:
        raise ValueError("its format is cut short")
    kind, channels, rate, _, block, bits = struct.unpack_from("<HHIIHH", header)
    if kind == _EXTENSIBLE:
        if len(header) < 40 or header[26:40] != _GUID_TAIL:
            raise ValueError("its extensible header names no known format")
        (kind,) = struct.unpack_from("<H", header, 24)
    if not channels or not 0 < rate <= _MOST_RATE:
        raise ValueError(f"it has {channels} channels and {rate} samples a second")
    if kind not in (_PCM, _FLOAT) or (kind, bits) not in _DECODERS:
        what = _NAMES.get(kind, f"format {kind:#06x}")
        what = {_PCM: "PCM", _FLOAT: "float"}.get(kind, what)
        raise ValueError(f"it has {bits}-bit {what} samples")
    if block != channels * bits // 8 or len(data) % block:
        raise ValueError(f"it is cut short or damaged: {len(data)} bytes in frames of {block}")
    return _DECODERS[kind, bits](data).reshape(-1, channels), rate


def _integers(data: bytes, dtype: str, zero: int, full: int) -> NDArray[np.float64]:
    return (np.frombuffer(data, dtype=dtype).astype(np.float64) - zero) / full


def _integers24(data: bytes) -> NDArray[np.float64]:
    """Three bytes a sample, as the upper three of four."""
    wide = np.zeros((len(data) // 3, 4), dtype=np.uint8)
    wide[:, 1:] = np.frombuffer(data, dtype=np.uint8).reshape(-1, 3)
    return _integers(wide.tobytes(), "<i4", 0, 2**31)


def _floats(data: bytes, dtype: str) -> NDArray[np.float64]:
    values = np.frombuffer(data, dtype=dtype).astype(np.float64)
    if not np.isfinite(values).all():
        raise ValueError("some of its samples are NaN or infinite")
    clipped: NDArray[np.float64] = np.clip(values, -1.0, 1.0)
    return clipped


_DECODERS: dict[tuple[int, int], Any] = {
    (_PCM, 8): lambda data: _integers(data, "u1", 128, 128),
    (_PCM, 16): lambda data: _integers(data, "<i2", 0, 2**15),
    (_PCM, 24): _integers24,
    (_PCM, 32): lambda data: _integers(data, "<i4", 0, 2**31),
    (_FLOAT, 32): lambda data: _floats(data, "<f4"),
    (_FLOAT, 64): lambda data: _floats(data, "<f8"),
}
"""(format, bits) -> samples in [-1, 1], channel after channel."""
