"""The small video-audio dual encoder: log-mel front end, two towers, one space; and its loader.

Each tower is a convolutional stem with LayerNorms and a two-layer transformer. In a prototype
linear patch embeddings did not learn this world, and the difference of each frame to the clip's
mean, in which all that moves stands out, was what made the video tower learn.
"""

from __future__ import annotations

import math
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from benchmark.backbones import checkpoint
from benchmark.backbones.audio import at_rate
from benchmark.backbones.base import Staged, TwoTowers, fingerprint
from benchmark.backbones.places import check_name
from benchmark.backbones.weight_file import read_weights
from benchmark.cell import BackboneSpec
from benchmark.errors import ConfigError, WeightsError
from benchmark.mini.clips.events import FRAMES, LENGTH, RATE, SIDE
from methods.base import QueryEncoder
from shifts.base import Audio, Frames

WINDOW, HOP, MELS = 256, 128, 40
"""Samples (32 ms and 16 ms at 8 kHz) and bands of the log-mel spectrogram."""
STEPS = LENGTH // HOP
"""Spectra of a clip: 100."""
MEL_LOW = 60.0
"""Hz, lower edge of the lowest band; the upper edge of the highest is half the rate."""
FLOOR = 1e-4
"""Added to the power before the logarithm."""
LOG_MEAN, LOG_STD = -5.0, 4.0
"""About the mean and standard deviation of training spectrograms; fixed, not fitted."""

ARCHITECTURE: dict[str, Any] = {
    "width": 96,
    "layers": 2,
    "heads": 4,
    "embed_dim": 96,
    "frame_channels": (32, 64),
    "spectrum_channels": (24, 40),
}
"""Sizes of ``ClipEncoder``; part of the fingerprint."""


def _mel(hertz: float) -> float:
    return 2595.0 * math.log10(1.0 + hertz / 700.0)


@cache
def mel_filters() -> Tensor:
    """(40, 129) float32 triangles, equally wide on the mel scale (HTK's formula)."""
    points = torch.linspace(_mel(MEL_LOW), _mel(RATE / 2), MELS + 2, dtype=torch.float64)
    edges = 700.0 * (10.0 ** (points / 2595.0) - 1.0)
    hertz = torch.linspace(0, RATE / 2, WINDOW // 2 + 1, dtype=torch.float64)
    rising = (hertz - edges[:-2, None]) / (edges[1:-1] - edges[:-2])[:, None]
    falling = (edges[2:, None] - hertz) / (edges[2:] - edges[1:-1])[:, None]
    return torch.minimum(rising, falling).clamp(min=0).float()


def log_mel(samples: Tensor) -> Tensor:
    """Normalised log-mel spectrograms.

    Args:
        samples: (..., 12800) float32 in [-1, 1] at 8 kHz.

    Returns:
        (..., 40, 100) float32.
    """
    edge = (WINDOW - HOP) // 2
    frames = F.pad(samples, (edge, edge)).unfold(-1, WINDOW, HOP)
    spectrum = torch.fft.rfft(frames * torch.hann_window(WINDOW)).abs().square()
    power = (spectrum @ mel_filters().T).transpose(-1, -2)
    return ((power + FLOOR).log() - LOG_MEAN) / LOG_STD


class ChannelNorm(nn.LayerNorm):
    """LayerNorm over the channels of (B, C, H, W) maps, at each place on its own."""

    def forward(self, maps: Tensor) -> Tensor:
        return super().forward(maps.movedim(1, -1)).movedim(-1, 1)


class Block(nn.Module):
    """A pre-norm transformer layer with four-fold MLP."""

    def __init__(self) -> None:
        super().__init__()
        width, self.heads = ARCHITECTURE["width"], ARCHITECTURE["heads"]
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.qkv, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.up, self.down = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)

    def forward(self, tokens: Tensor) -> Tensor:
        batch, length, width = tokens.shape
        qkv = self.qkv(self.norm1(tokens)).view(batch, length, 3, self.heads, -1)
        query, key, value = qkv.permute(2, 0, 3, 1, 4)
        mixed = F.scaled_dot_product_attention(query, key, value)
        tokens = tokens + self.out(mixed.transpose(1, 2).reshape(batch, length, width))
        return tokens + self.down(F.gelu(self.up(self.norm2(tokens))))


class Tower(QueryEncoder):
    """Stem, positions, transformer, mean over tokens, projection; all of it is adaptable."""

    def __init__(self, tokens: int) -> None:
        super().__init__()
        width = ARCHITECTURE["width"]
        self.positions = nn.Parameter(0.02 * torch.randn(tokens, width))
        self.blocks = nn.Sequential(*(Block() for _ in range(ARCHITECTURE["layers"])))
        self.norm = nn.LayerNorm(width)
        self.project = nn.Linear(width, ARCHITECTURE["embed_dim"], bias=False)

    def tokens(self, inputs: Tensor) -> Tensor:
        """(B, L, W) tokens of a batch of inputs."""
        raise NotImplementedError

    def mixed(self, inputs: Tensor) -> Tensor:
        """(B, L, W) tokens after the transformer."""
        return self.blocks(self.tokens(inputs) + self.positions)

    def pooled(self, inputs: Tensor) -> Tensor:
        """(B, W) features before the projection."""
        return self.norm(self.mixed(inputs).mean(1))

    def forward(self, inputs: Tensor) -> Tensor:
        return F.normalize(self.project(self.pooled(inputs)), dim=-1)


class VideoTower(Tower):
    """Takes (B, 8, 3, 32, 32) normalised frames; 64 tokens, one for each 4 x 4 pixels.

    Two convolutions look at each frame, as its difference to the clip's mean and that mean; then
    the frames are joined, so that a token holds what happened at its place over time.
    """

    def __init__(self) -> None:
        super().__init__(tokens=(SIDE // 4) ** 2)
        first, second = ARCHITECTURE["frame_channels"]
        self.fine = nn.Conv2d(6, first, 3, stride=2, padding=1)
        self.fine_norm = ChannelNorm(first)
        self.coarse = nn.Conv2d(first, second, 3, stride=2, padding=1)
        self.coarse_norm = ChannelNorm(second)
        self.join = nn.Linear(FRAMES * second, ARCHITECTURE["width"])

    def tokens(self, inputs: Tensor) -> Tensor:
        """(B, 64, W)."""
        mean = inputs.mean(1, keepdim=True)
        # The differences are small beside the mean; brought to about its range.
        seen = torch.cat([3 * (inputs - mean), mean.expand_as(inputs)], 2).flatten(0, 1)
        maps = F.relu(self.fine_norm(self.fine(seen)))
        maps = F.relu(self.coarse_norm(self.coarse(maps)))
        return self.join(maps.reshape(len(inputs), -1, maps[0, 0].numel()).transpose(1, 2))


class AudioTower(Tower):
    """Takes (B, 40, 100) log-mel spectrograms; 25 tokens, one for each 64 ms."""

    def __init__(self) -> None:
        super().__init__(tokens=STEPS // 4)
        first, second = ARCHITECTURE["spectrum_channels"]
        self.low = nn.Conv2d(1, first, 5, stride=2, padding=2)
        self.low_norm = ChannelNorm(first)
        self.high = nn.Conv2d(first, second, 3, stride=2, padding=1)
        self.high_norm = ChannelNorm(second)
        self.join = nn.Linear(second * MELS // 4, ARCHITECTURE["width"])

    def tokens(self, inputs: Tensor) -> Tensor:
        """(B, 25, W)."""
        maps = F.relu(self.low_norm(self.low(inputs[:, None])))
        maps = F.relu(self.high_norm(self.high(maps)))
        return self.join(maps.flatten(1, 2).transpose(1, 2))


class ClipEncoder(nn.Module):
    """Both towers and the learnt logit scale."""

    def __init__(self) -> None:
        super().__init__()
        self.video = VideoTower()
        self.audio = AudioTower()
        self.logit_scale = nn.Parameter(torch.tensor(math.log(1 / 0.07)))


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
        "window": WINDOW,
        "hop": HOP,
        "mels": MELS,
        "low": MEL_LOW,
        "floor": FLOOR,
        "mean": LOG_MEAN,
        "std": LOG_STD,
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


video_input = Staged(video_pixels, _from_pixels, anywhere=True)
"""One video -> (8, 3, 32, 32) float32, as the video tower takes it."""


def audio_input(audio: Audio) -> Tensor:
    """One sound -> (40, 100) float32 log-mel spectrogram; cut or padded with silence to 1.6 s.

    The encoder was trained on sounds of ``RATE``; others are resampled.
    """
    samples = at_rate(audio, RATE)[:LENGTH]
    return log_mel(F.pad(samples, (0, LENGTH - len(samples))))


class ClipBackbone(TwoTowers):
    """A class of its own, because caches hash the code of the part that it is in."""


def backbone_of(model: ClipEncoder, device: str = "cpu") -> TwoTowers:
    """A ``DualEncoder`` over an encoder with its weights, which is owned from now on."""
    facts = {"model": ARCHITECTURE, "preprocess": PREPROCESSING}
    return ClipBackbone(
        {"video": model.video, "audio": model.audio},
        {"video": video_input, "audio": audio_input},
        name=NAME,
        fingerprint=fingerprint(facts, model.float()),
        logit_scale=float(model.logit_scale.detach().exp()),
        device=device,
    )


def load(spec: BackboneSpec) -> TwoTowers:
    """Loads the shipped weights.

    Raises:
        ConfigError: the specification names a model or weights of its own.
        WeightsError: the shipped file is missing or damaged.
    """
    check_name("mini-clips", spec.model)
    if spec.pretrained:
        raise ConfigError("the mini-clips backbone has weights of its own; leave PRETRAINED empty")
    return load_weights(WEIGHTS / WEIGHTS_FILE, spec.device)


def load_weights(path: Path, device: str = "cpu") -> TwoTowers:
    """Loads a file that the recipe has written.

    Raises:
        WeightsError: no such file, unreadable, or of another architecture.
    """
    if not path.is_file():
        raise WeightsError(
            f"there are no weights at {path}; reinstall the package, or train them: "
            "python -m training clips"
        )
    with torch.random.fork_rng(devices=[]):  # torch's initialisers use the global generator
        model = ClipEncoder()
    checkpoint.fill(model, read_weights(path)[0], f"{path} does not fit the mini-clips encoder")
    return backbone_of(model, device)
