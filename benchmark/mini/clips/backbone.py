"""The shipped clip encoder as a ``DualEncoder`` of the modalities "video" and "audio"."""

from __future__ import annotations

from importlib import resources
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from benchmark.backbones import checkpoint
from benchmark.backbones.base import Staged
from benchmark.backbones.device import check_device
from benchmark.backbones.two_towers import TwoTowers
from benchmark.backbones.weight_file import read_weights
from benchmark.cell import BackboneSpec
from benchmark.errors import ConfigError, DataError, WeightsError
from benchmark.mini.clips import encoder
from benchmark.mini.clips.encoder import ARCHITECTURE, ClipEncoder, log_mel
from benchmark.mini.clips.events import FRAMES, SIDE
from benchmark.mini.clips.sounds import LENGTH, RATE
from shifts.audio.item import Audio
from shifts.video.item import Frames

NAME = "mini-clips"
WEIGHTS = Path(str(resources.files("benchmark"))) / "mini" / "weights" / "clips"
WEIGHTS_FILE = "clips.safetensors"
MEAN, STD = 0.5, 0.25
"""Of frames, in units of full scale; fixed, not fitted."""
PREPROCESSING = {
    "video": {"frames": FRAMES, "side": SIDE, "mean": MEAN, "std": STD},
    "audio": {
        "rate": RATE,
        "samples": LENGTH,
        "window": encoder.WINDOW,
        "hop": encoder.HOP,
        "mels": encoder.MELS,
        "low": encoder.MEL_LOW,
        "floor": encoder.FLOOR,
        "mean": encoder.LOG_MEAN,
        "std": encoder.LOG_STD,
    },
}
"""Part of the backbone's fingerprint."""


def normalised(frames: Tensor) -> Tensor:
    """Frames in [0, 1] as the video tower takes them."""
    return (frames - MEAN) / STD


def video_pixels(frames: Frames) -> Tensor:
    """One video -> (8, 3, 32, 32) uint8, or float32 in [0, 1] where it had to be resized.

    Other lengths are sampled evenly, other sizes resized (bilinear, antialiased), so that every
    shift's output can be encoded.
    """
    chosen = np.linspace(0, len(frames) - 1, FRAMES).round().astype(np.intp)
    pixels = torch.from_numpy(frames[chosen]).permute(0, 3, 1, 2)
    if pixels.shape[2:] == (SIDE, SIDE):
        return pixels
    x = pixels.float() / 255
    return F.interpolate(x, (SIDE, SIDE), mode="bilinear", antialias=True).clamp(0, 1)


def _from_pixels(pixels: Tensor) -> Tensor:
    return normalised(pixels.float() / 255 if pixels.dtype == torch.uint8 else pixels)


video_input = Staged(video_pixels, _from_pixels)
"""One video -> (8, 3, 32, 32) float32, as the video tower takes it."""


def audio_input(audio: Audio) -> Tensor:
    """One sound -> (40, 100) float32 log-mel spectrogram; cut or padded with silence to 1.6 s.

    Raises:
        DataError: another sampling rate than 8 kHz.
    """
    if audio.rate != RATE:
        raise DataError(
            f"the mini-clips backbone hears sounds of {RATE} Hz; this one has {audio.rate} Hz"
        )
    samples = torch.from_numpy(audio.samples[:LENGTH])
    return log_mel(F.pad(samples, (0, LENGTH - len(samples))))


class ClipBackbone(TwoTowers):
    """A ``DualEncoder`` over a ``ClipEncoder``, in float32 and eval mode.

    Args:
        model: the model, weights loaded; frozen and owned from now on.
        name: as shown in tables.
        device: torch device string.
    """

    def __init__(self, model: ClipEncoder, *, name: str = NAME, device: str = "cpu") -> None:
        model = model.float()
        facts = {"model": ARCHITECTURE, "preprocess": PREPROCESSING}
        super().__init__(
            {"video": model.video, "audio": model.audio},
            {"video": video_input, "audio": audio_input},
            name=name,
            fingerprint=checkpoint.fingerprint(facts, model),
            logit_scale=float(model.logit_scale.detach().exp()),
            device=device,
        )


def load(spec: BackboneSpec) -> ClipBackbone:
    """Loads the shipped weights.

    Raises:
        ConfigError: the specification names a model or weights of its own, or a device that is
            not there.
        WeightsError: the shipped file is missing or damaged.
    """
    if spec.model or spec.pretrained:
        raise ConfigError(
            "the mini-clips backbone has one set of weights, its own; leave MODEL and PRETRAINED "
            "empty"
        )
    check_device(spec.device)
    return load_weights(WEIGHTS / WEIGHTS_FILE, spec.device)


def load_weights(path: Path, device: str = "cpu") -> ClipBackbone:
    """Loads a file that the recipe has written.

    Raises:
        WeightsError: no such file, unreadable, or of another architecture.
    """
    if not path.is_file():
        raise WeightsError(
            f"there are no weights at {path}; reinstall the package, or train them: "
            "python -m benchmark.mini.training clips"
        )
    state = read_weights(path)[0]
    with torch.random.fork_rng(devices=[]):  # torch's initialisers use the global generator
        model = ClipEncoder(**ARCHITECTURE)
    problem = checkpoint.difference(model.state_dict(), state)
    if problem:
        raise WeightsError(f"{path} does not fit the mini-clips encoder: {problem}")
    model.load_state_dict(state)
    return ClipBackbone(model, device=device)
