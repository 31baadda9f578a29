"""Audio shifts: READ's six types, their levels, and procedural stand-ins for its recordings."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from shifts.audio.item import FULL_SCALE, level, to_pcm16
from shifts.audio.sounds import find_recordings, load_recording, window
from shifts.audio.synthesis import VARIANTS, procedural
from shifts.base import Audio, Samples, Shift, ShiftCard, ShiftOptions
from shifts.digests import digest_of, digests_of, joined

Floats = NDArray[np.float64]

SEVERITIES = (1, 2, 3, 4, 5)
READ = "READ (Yang et al., ICLR 2024)"
READ_SIGMA = (0.08, 0.12, 0.18, 0.26, 0.38)
"""READ's Gaussian noise: absolute standard deviation on a waveform in [-1, 1]."""
READ_GAIN_DB = (1.0, 2.0, 4.0, 6.0, 8.0)
"""READ's other sounds: gain on the sound file, whatever its level and the clip's."""
SNR_DB = (15.0, 10.0, 5.0, 0.0, -5.0)
"""Signal-to-noise ratios of ``mode="snr"``: this project's own ladder."""


@dataclass(frozen=True)
class AudioOptions(ShiftOptions):
    """Options of every audio shift."""

    mode: str = field(
        default="read",
        metadata={
            "help": "read: levels as in READ (a gain in dB on the sound file; an absolute sigma "
            "for Gaussian noise); snr: scaled to 15, 10, 5, 0, -5 dB below the clip's own level",
            "choices": ("read", "snr"),
        },
    )


class AudioShift(Shift):
    """Something added to a clip. Subclasses write ``noise`` and ``read_gain``."""

    Options = AudioOptions

    @abstractmethod
    def noise(self, item: Audio, rng: np.random.Generator) -> Floats:
        """What is added, (n,) float64, as long as the clip, before any gain."""

    @abstractmethod
    def read_gain(self, severity: int) -> float:
        """Factor on ``noise`` under ``mode="read"``."""

    def mixed(self, item: Audio, severity: int, rng: np.random.Generator) -> Floats:
        """Clip plus noise before anything is cut, (n,) float64; may leave [-1, 1].

        Under ``mode="snr"`` the factor is rms(clip) / rms(noise) / 10^(dB / 20), so that the ratio
        is met exactly before clipping. Silence has no ratio: a silent clip stays as it is, and so
        does one whose stretch of the sound is silent.
        """
        noise = self.noise(item, rng)
        if self.options.mode == "read":
            gain = self.read_gain(severity)
        else:
            loudness = level(noise)
            ratio = 10.0 ** (SNR_DB[severity - 1] / 20.0)
            gain = level(item.samples) / (loudness * ratio) if loudness > 0 else 0.0
        noise *= gain
        noise += item.samples
        return noise

    def corrupt(self, item: Audio, severity: int, rng: np.random.Generator) -> Audio:
        """The sum, clipped and rounded to 16-bit steps as a wav file would hold it."""
        return Audio(to_pcm16(self.mixed(item, severity, rng)), item.rate)

    def clipped_share(self, item: Any, severity: int, rng: np.random.Generator) -> float:
        """Share of the samples, 0 to 1, that ``apply`` with an equal generator has to cut off.

        Raises:
            ShiftError: as ``apply``.
        """
        self.check_severity(severity)
        self.check_item(item)
        steps = np.rint(self.mixed(item, severity, rng) * FULL_SCALE)
        return float(np.mean((steps < -FULL_SCALE) | (steps > FULL_SCALE - 1)))


class AudioGaussianNoise(AudioShift):
    """White noise N(0, c); constant under ``mode="read"``: c, absolute, so quiet clips drown."""

    card = ShiftCard("audio_gaussian_noise", "audio", SEVERITIES, "white Gaussian noise", READ)

    def noise(self, item: Audio, rng: np.random.Generator) -> Floats:
        return rng.standard_normal(len(item.samples))

    def read_gain(self, severity: int) -> float:
        return READ_SIGMA[severity - 1]


@dataclass(frozen=True)
class SoundOptions(AudioOptions):
    """Options of the shifts that add a sound."""

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
    """Options of the shifts that add a recording."""

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


def _recorded(name: str) -> type[Recorded]:
    """A sound from the user's recording."""
    card = ShiftCard(name, "audio", SEVERITIES, f"a recording of {SOUNDS[name]} added", READ)
    return type(name.capitalize(), (Recorded,), {"__module__": __name__, "card": card})


def _synthetic(kind: str, what: str = "") -> type[Procedural]:
    """A sound of this project (``shifts.audio.synthesis``)."""
    summary = f"synthetic {what or kind} added (no recording needed)"
    source = f"levels of {READ}; sound of this project"
    card = ShiftCard(f"{kind}_procedural", "audio", SEVERITIES, summary, source, exact=False)
    own = {"__module__": __name__, "kind": kind, "card": card}
    return type(f"{kind.capitalize()}Procedural", (Procedural,), own)


SOUNDS = {
    "traffic": "traffic",
    "crowd": "a crowd",
    "rain": "rain",
    "thunder": "thunder",
    "wind": "wind",
}
"""READ's sounds, as its summaries call them."""

Traffic, Crowd, Rain, Thunder, Wind = map(_recorded, SOUNDS)
TrafficProcedural = _synthetic("traffic")
CrowdProcedural = _synthetic("crowd", "babble")
RainProcedural = _synthetic("rain")
ThunderProcedural = _synthetic("thunder")
WindProcedural = _synthetic("wind")
