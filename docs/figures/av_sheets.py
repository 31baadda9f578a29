"""Sheets of audio shifts, as spectrograms, and of video shifts, as strips of frames."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from shifts.audio.noises import (
    AudioGaussianNoise,
    CrowdProcedural,
    RainProcedural,
    ThunderProcedural,
    TrafficProcedural,
    WindProcedural,
)
from shifts.base import Audio, Shift, item_generator
from shifts.image.noise import GaussianNoise
from shifts.image.weather import Fog
from shifts.video.compression import VideoCompressionJpeg
from shifts.video.order import FrameDrop, FrameFreeze, FrameJumble, FrameReverse
from shifts.video.per_frame import per_frame
from shifts.video.sequence import TemporalSequence

SEED = 0
RATE = 16_000
SECONDS = 5
FRAMES = 12
SEVERITY = 2
_GAP, _HEAD, _FONT = 2, 16, 11
_WINDOW, _BANDS, _COLUMNS = 1024, 64, 120
_FLOOR_DB = 60.0

Tiles = Sequence[NDArray[np.uint8]]


def audio_sheet() -> Image.Image:
    """Spectrograms of one clip under every audio shift that needs no recording.

    A row each, the clean clip first, then severity 1 to 5. Time goes to the right over five
    seconds, frequency upwards to 8 kHz; the darker, the louder, over 60 dB.
    """
    clip = calling_clip()
    shifts: list[Shift] = [
        AudioGaussianNoise(),
        TrafficProcedural(),
        CrowdProcedural(),
        RainProcedural(),
        ThunderProcedural(),
        WindProcedural(),
    ]
    rows = []
    for shift in shifts:
        name, severities = shift.card.name, shift.card.severities
        results = (shift.apply(clip, s, item_generator(SEED, name, s, "sheet")) for s in severities)
        rows.append((name, [spectrogram(audio) for audio in (clip, *results)]))
    return tiled(rows, ["clean", *map(str, shifts[0].card.severities)])


def video_sheet(picture: NDArray[np.uint8]) -> Image.Image:
    """The frames of one clip under video shifts at severity 2, a row each.

    Args:
        picture: (S, S, 3) uint8, S at least 136; the clip is a view that moves over it.
    """
    clip = moving_clip(picture)
    fog, noise = per_frame(Fog), per_frame(GaussianNoise)
    rows: list[tuple[str, Shift | None]] = [
        ("clean", None),
        ("video_gaussian_noise", noise()),
        ("video_fog", fog()),
        ("video_fog (shared)", fog(fog.Options(temporal="shared"))),
        ("frame_drop", FrameDrop()),
        ("frame_freeze", FrameFreeze()),
        ("frame_jumble", FrameJumble()),
        ("frame_reverse", FrameReverse()),
        ("video_compression_jpeg", VideoCompressionJpeg()),
        ("temporal_sequence", TemporalSequence()),
    ]
    drawn: list[tuple[str, Tiles]] = []
    for label, shift in rows:
        frames = clip
        if shift is not None:
            rng = item_generator(SEED, shift.card.name, SEVERITY, "a clip")
            frames = shift.apply(clip, SEVERITY, rng)
        drawn.append((label, list(frames)))
    return tiled(drawn, [str(number) for number in range(1, FRAMES + 1)])


def calling_clip() -> Audio:
    """Five seconds of rising and falling calls with harmonics; the same on every machine."""
    time = np.arange(SECONDS * RATE) / RATE
    samples = np.zeros(len(time))
    for start, low, high in ((0.4, 500, 900), (1.6, 900, 600), (2.6, 700, 1500), (3.9, 1200, 500)):
        since = np.clip((time - start) / 0.8, 0.0, 1.0)
        phase = 2 * np.pi * np.cumsum(low + (high - low) * since) / RATE
        loudness = np.sin(np.pi * since) ** 2
        samples += loudness * sum(np.sin(k * phase) / k**1.5 for k in range(1, 5))
    return Audio((0.25 * samples / np.abs(samples).max()).astype(np.float32), RATE)


def spectrogram(audio: Audio) -> NDArray[np.uint8]:
    """(64, 120, 3) uint8: level in dB over frequency (upwards) and time; loud is dark."""
    starts = np.linspace(0, len(audio.samples) - _WINDOW, _COLUMNS).astype(int)
    pieces = np.stack([audio.samples[s : s + _WINDOW] for s in starts]) * np.hanning(_WINDOW)
    power = np.abs(np.fft.rfft(pieces)[:, 1:]) ** 2
    bands = power.reshape(_COLUMNS, _BANDS, -1).mean(axis=2)
    full = (0.25 * _WINDOW / 2) ** 2 / 8  # about the power of the clip's loudest tone in its band
    level = 10 * np.log10(np.maximum(bands / full, 1e-12))
    grey = np.clip(-level / _FLOOR_DB, 0.0, 1.0)
    image = (255 * grey.T[::-1]).astype(np.uint8)
    return np.repeat(image[..., None], 3, axis=2)


def moving_clip(picture: NDArray[np.uint8], side: int = 80) -> NDArray[np.uint8]:
    """(12, side, side, 3) uint8: a view that moves over a picture by five pixels a frame."""
    top = (picture.shape[0] - side) // 2
    return np.stack(
        [picture[top : top + side, 5 * t : 5 * t + side] for t in range(FRAMES)]
    ).astype(np.uint8)


def tiled(
    rows: Sequence[tuple[str, Tiles]], titles: Sequence[str], label: int = 138
) -> Image.Image:
    """A sheet in RGB: each row a label (so many pixels wide) and its tiles, titles above them."""
    height, width = rows[0][1][0].shape[:2]
    size = (label + len(titles) * (width + _GAP), _HEAD + len(rows) * (height + _GAP))
    sheet = Image.new("RGB", size, "white")
    draw, font = ImageDraw.Draw(sheet), ImageFont.load_default(_FONT)
    for column, title in enumerate(titles):
        draw.text((label + column * (width + _GAP) + 2, 1), title, fill="black", font=font)
    for number, (name, tiles) in enumerate(rows):
        top = _HEAD + number * (height + _GAP)
        draw.text((2, top + height // 2 - _FONT), name, fill="black", font=font)
        for column, tile in enumerate(tiles):
            sheet.paste(Image.fromarray(tile), (label + column * (width + _GAP), top))
    return sheet
