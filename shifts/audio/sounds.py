"""Sounds in a loop: the user's recordings by name, at a clip's rate and cut to its length."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from shifts.audio.item import level, read_wav
from shifts.base import Audio, Samples, ShiftError, user_folder


def find_recordings(folder: str, name: str) -> tuple[Path, ...]:
    """The wav files of one sound in the user's folder: ``NAME.wav``, ``NAME_2.wav``, by name.

    Raises:
        ShiftError: the folder is not given, not there or has no such file.
    """
    advice = (
        f"give a folder with {name}.wav (16-bit PCM; more of them as {name}_2.wav ...) as option "
        f"'recordings', or use the shift '{name}_procedural', which needs none"
    )
    if not folder:
        raise ShiftError(f"shift {name!r} needs a recording and was given no folder; {advice}")
    path = user_folder(folder)
    if not path.is_dir():
        raise ShiftError(f"shift {name!r} found no folder {folder!r}; {advice}")
    found = tuple(
        sorted(
            file
            for file in path.iterdir()
            if file.suffix.lower() == ".wav" and _is_of(file.stem.lower(), name)
        )
    )
    if not found:
        raise ShiftError(f"shift {name!r} found no {name}.wav in {folder!r}; {advice}")
    return found


def _is_of(stem: str, name: str) -> bool:
    rest = stem.removeprefix(name)
    return stem.startswith(name) and (not rest or rest[0] in "_- " or rest.isdigit())


@lru_cache(maxsize=8)
def load_recording(path: Path, digest: str, rate: int) -> Samples:
    """A recording at ``rate`` Hz, (n,) float32, not writable.

    It is read and resampled once per process and content (``digest``).

    Raises:
        ShiftError: it cannot be read, is empty or holds nothing but silence.
    """
    audio = read_wav(path)
    if level(audio.samples) == 0:
        what = "holds only silence" if len(audio.samples) else "is empty"
        raise ShiftError(f"the recording {str(path)!r} {what}; there is nothing to add")
    return resampled(audio, rate)


def resampled(audio: Audio, rate: int) -> Samples:
    """A loop at another rate, band-limited: its spectrum is cut or extended with zeros.

    The sound is taken as periodic, which is how it is used, so there is no border. Pitch is kept;
    the length is rounded to a whole number of samples, at least one.

    Returns:
        (round(n * rate / audio.rate),) float32, not writable.
    """
    count = len(audio.samples)
    target = max(1, round(count * rate / audio.rate))
    if rate == audio.rate:
        result = audio.samples.copy()
    else:
        spectrum = np.fft.rfft(audio.samples.astype(np.float64))
        wanted = target // 2 + 1
        kept = np.zeros(wanted, dtype=np.complex128)
        # Below the Nyquist bin of the shorter one, which stands for two frequencies at once.
        common = min(len(spectrum), wanted, (min(count, target) + 1) // 2)
        kept[:common] = spectrum[:common]
        result = (np.fft.irfft(kept, n=target) * (target / count)).astype(np.float32)
    result.setflags(write=False)
    return result


def window(sound: Samples, start: int, length: int) -> NDArray[np.float64]:
    """``length`` samples of a loop from ``start`` on, repeated as often as needed, float64."""
    return np.take(sound, np.arange(start, start + length), mode="wrap").astype(np.float64)
