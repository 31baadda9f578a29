"""What audio shifts work on: a mono recording, and how to read one from a wav file."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from shifts.audio.wav import read_samples
from shifts.base import ShiftError

Samples = NDArray[np.float32]
"""(n,) float32 in [-1, 1]."""

FULL_SCALE = 32768
"""Steps of 16-bit PCM between 0 and full scale."""


@dataclass(frozen=True, slots=True, eq=False)
class Audio:
    """A mono recording.

    Attributes:
        samples: (n,) float32 in [-1, 1]; no samples are allowed here, but no shift takes them.
        rate: samples per second, Hz.

    Raises:
        ShiftError: samples of another type, shape or range, or a rate that is no positive int.
    """

    samples: Samples
    rate: int

    def __post_init__(self) -> None:
        if isinstance(self.rate, bool) or not isinstance(self.rate, int) or self.rate < 1:
            raise ShiftError(f"the rate of an Audio is a positive int in Hz, not {self.rate!r}")
        samples = self.samples
        if not isinstance(samples, np.ndarray):
            raise ShiftError(
                f"the samples of an Audio are a float32 array, not a {type(samples).__name__}"
            )
        if samples.dtype != np.float32 or samples.ndim != 1:
            raise ShiftError(
                "the samples of an Audio are one channel of float32, (n,), not a "
                f"{samples.dtype} array of shape {samples.shape}; average channels and divide "
                "16-bit samples by 32768 first"
            )
        # Written so that a NaN, which compares false with everything, is refused as well.
        if samples.size and not np.abs(samples).max() <= 1.0:
            raise ShiftError("the samples of an Audio are finite and within [-1, 1]; these are not")

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Audio):
            return NotImplemented
        return self.rate == other.rate and np.array_equal(self.samples, other.samples)

    __hash__ = None  # type: ignore[assignment]  # holds an array

    @property
    def seconds(self) -> float:
        """Length in seconds."""
        return len(self.samples) / self.rate


def item_problem(item: object) -> str:
    """What an audio shift works on and was not given, or ""."""
    wanted = "Audio items (shifts.audio.item.Audio)"
    if not isinstance(item, Audio):
        return f"{wanted}, not on {type(item).__name__}"
    if not len(item.samples):
        return f"{wanted} with at least one sample; this one is empty"
    return ""


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
    """Reads a wav file (see ``shifts.audio.wav`` for its formats); several channels are averaged.

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
