"""The contact sheet of the video-audio twins: frames and spectrograms."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFont

from benchmark.mini.clips.backbone import STEPS, log_mel
from benchmark.mini.clips.data import load_as, load_vgg, scripts
from benchmark.mini.clips.events import FRAMES, SIDE, Clip

_ZOOM, _GAP, _HEAD, _TEXT = 2, 2, 16, 12
_ROWS = 6
_WIDTH = 3 * STEPS
"""Pixels of a spectrogram."""


def spectrogram(picture: np.ndarray) -> np.ndarray:
    """(40, 100) log-mel as the encoder takes it -> uint8, low bands at the bottom, loud is dark."""
    low, high = np.quantile(picture, [0.05, 0.995])
    grey = 1 - np.clip((picture - low) / (high - low), 0, 1)
    return (255 * grey[::-1]).astype(np.uint8)


def described(clip: Clip) -> str:
    """What happens in a clip, in a line."""
    events = (
        f"{e.size} {e.texture} {e.shape}, {e.period}+{e.phase}, {e.motion}" for e in clip.events
    )
    return f"{clip.background}: {'; '.join(events)}"


def sheet() -> Image.Image:
    """The first test clips of each set: eight frames, and the log-mel spectrogram beside them."""
    tile = SIDE * _ZOOM
    row = tile + _TEXT + _GAP
    width = FRAMES * (tile + _GAP) + _WIDTH
    canvas = Image.new("RGB", (width, 2 * (_HEAD + _ROWS * row)), "white")
    draw, font = ImageDraw.Draw(canvas), ImageFont.load_default(11)
    top = 0
    for style, load in (("as", load_as), ("vgg", load_vgg)):
        pairs = load()
        title = f"mini-{style}  (background: size, texture, shape, period + phase, motion)"
        draw.text((2, top), title, fill="black", font=ImageFont.load_default(13))
        top += _HEAD
        for i, clip in enumerate(scripts(style, "test")[:_ROWS]):
            draw.text((2, top - 1), described(clip), fill="black", font=font)
            for t, frame in enumerate(pairs.videos[i]):
                big = Image.fromarray(frame).resize((tile, tile), Image.Resampling.NEAREST)
                canvas.paste(big, (t * (tile + _GAP), top + _TEXT))
            heard = log_mel(torch.from_numpy(pairs.audios[i].samples)).numpy()
            drawn = Image.fromarray(spectrogram(heard)).resize((_WIDTH, tile))
            canvas.paste(drawn.convert("RGB"), (FRAMES * (tile + _GAP), top + _TEXT))
            top += row
    return canvas


def write(path: Path) -> None:
    """Writes the sheet as a PNG with a palette, which keeps it small."""
    sheet().quantize(128, dither=Image.Dither.NONE).save(path, optimize=True)
