"""The six types of READ's audio corruptions, and the procedural stand-ins for its recordings."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from shifts.audio.base import (
    READ,
    READ_GAIN_DB,
    READ_SIGMA,
    SEVERITIES,
    AudioOptions,
    AudioShift,
    Floats,
)
from shifts.audio.item import Audio, Samples
from shifts.audio.sounds import find_recordings, load_recording, window
from shifts.audio.synthesis import VARIANTS, procedural
from shifts.base import ShiftCard
from shifts.digests import digest_of, digests_of, joined


class AudioGaussianNoise(AudioShift):
    """White noise N(0, c); constant under ``mode="read"``: c, absolute, so quiet clips drown."""

    card = ShiftCard("audio_gaussian_noise", "audio", SEVERITIES, "white Gaussian noise", READ)

    def noise(self, item: Audio, rng: np.random.Generator) -> Floats:
        return rng.standard_normal(len(item.samples))

    def read_gain(self, severity: int) -> float:
        return READ_SIGMA[severity - 1]


@dataclass(frozen=True)
class SoundOptions(AudioOptions):
    """Options of the shifts that add a sound.

    Attributes:
        offset: where in the sound a clip's stretch begins.
    """

    offset: str = field(
        default="random",
        metadata={
            "help": "where a clip's stretch of the sound begins: random, or its start (as READ "
            "does, so that every clip gets the same stretch)",
            "choices": ("random", "start"),
        },
    )


@dataclass(frozen=True)
class RecordingOptions(SoundOptions):
    """Options of the shifts that add a recording.

    Attributes:
        recordings: folder with the user's wav files; there is no default.
    """

    recordings: str = field(
        default="", metadata={"help": "folder with your recordings: NAME.wav, 16-bit PCM"}
    )


class Sound(AudioShift):
    """A stretch of a sound, repeated where the clip is longer; constant: a gain in dB."""

    Options = SoundOptions

    def noise(self, item: Audio, rng: np.random.Generator) -> Floats:
        sound = self.sound(item.rate, rng)
        start = int(rng.integers(len(sound))) if self.options.offset == "random" else 0
        return window(sound, start, len(item.samples))

    def read_gain(self, severity: int) -> float:
        return 10.0 ** (READ_GAIN_DB[severity - 1] / 20.0)

    @abstractmethod
    def sound(self, rate: int, rng: np.random.Generator) -> Samples:
        """A sound at ``rate`` Hz, (n,) float32; one of several is drawn."""


class Recorded(Sound):
    """A recording of the user's. READ's own recordings are not published with its code.

    Raises:
        ShiftError: no folder was named, it does not exist or has no recording of this name.
    """

    Options = RecordingOptions

    def __init__(self, options: Any = None) -> None:
        super().__init__(options)
        self._paths: tuple[Path, ...] = find_recordings(self.options.recordings, self.card.name)

    @property
    def fingerprint(self) -> str:
        """Hash of the recordings' bytes, for a result's identity; 16 hex digits."""
        return joined(digests_of(self._paths))

    def sound(self, rate: int, rng: np.random.Generator) -> Samples:
        # With a single recording nothing is drawn, so that offset="start" draws nothing at all.
        number = int(rng.integers(len(self._paths))) if len(self._paths) > 1 else 0
        path = self._paths[number]
        return load_recording(path, digest_of(path), rate)


class Procedural(Sound):
    """A synthetic sound in place of a recording; an approximation by name and card."""

    kind: ClassVar[str]

    def sound(self, rate: int, rng: np.random.Generator) -> Samples:
        number = int(rng.integers(VARIANTS)) if self.options.offset == "random" else 0
        return procedural(self.kind, number, rate)


def _recorded(name: str, summary: str) -> ShiftCard:
    return ShiftCard(name, "audio", SEVERITIES, summary, READ)


def _procedural(kind: str, summary: str) -> ShiftCard:
    source = f"levels of {READ}; sound of this project"
    return ShiftCard(f"{kind}_procedural", "audio", SEVERITIES, summary, source, exact=False)


class Traffic(Recorded):
    """Traffic, from the user's recording."""

    card = _recorded("traffic", "a recording of traffic added")


class Crowd(Recorded):
    """A crowd, from the user's recording."""

    card = _recorded("crowd", "a recording of a crowd added")


class Rain(Recorded):
    """Rain, from the user's recording."""

    card = _recorded("rain", "a recording of rain added")


class Thunder(Recorded):
    """Thunder, from the user's recording."""

    card = _recorded("thunder", "a recording of thunder added")


class Wind(Recorded):
    """Wind, from the user's recording."""

    card = _recorded("wind", "a recording of wind added")


class TrafficProcedural(Procedural):
    """Passing vehicles: tyre noise and engine tones that swell and fall in pitch."""

    kind = "traffic"
    card = _procedural(kind, "synthetic traffic added (no recording needed)")


class CrowdProcedural(Procedural):
    """Babble: many voices, each a chain of syllables with formants."""

    kind = "crowd"
    card = _procedural(kind, "synthetic babble added (no recording needed)")


class RainProcedural(Procedural):
    """Many short clicks over a hiss."""

    kind = "rain"
    card = _procedural(kind, "synthetic rain added (no recording needed)")


class ThunderProcedural(Procedural):
    """Cracks with long low rumbles."""

    kind = "thunder"
    card = _procedural(kind, "synthetic thunder added (no recording needed)")


class WindProcedural(Procedural):
    """Low noise in slow gusts, with a whistle that rises with them."""

    kind = "wind"
    card = _procedural(kind, "synthetic wind added (no recording needed)")
