"""The audio and video sheets: what is on them, and that it is the shifts' own output."""

from __future__ import annotations

import numpy as np

from docs.figures.av_sheets import (
    FRAMES,
    SEVERITY,
    audio_sheet,
    calling_clip,
    moving_clip,
    spectrogram,
    video_sheet,
)
from shifts.audio.noises import RainProcedural
from shifts.base import Audio, item_generator
from shifts.builtin import builtin_class, names_of
from shifts.video.order import FrameReverse

LEFT, HEAD, GAP = 138, 16, 2


def tile(sheet: np.ndarray, row: int, column: int, size: tuple[int, int]) -> np.ndarray:
    top, left = HEAD + row * (size[0] + GAP), LEFT + column * (size[1] + GAP)
    return sheet[top : top + size[0], left : left + size[1]]


def test_a_tone_is_one_dark_line_at_its_height() -> None:
    time = np.arange(16_000) / 16_000
    tone = Audio((0.25 * np.sin(2 * np.pi * 4060 * time)).astype(np.float32), 16_000)
    picture = spectrogram(tone)[..., 0]
    # 64 bands of 125 Hz, the highest on top: 4060 Hz lies in band 32.
    assert (picture.argmin(axis=0) == 63 - 32).all()
    assert picture.min() < 20
    assert (picture[:20] == 255).all()
    assert (spectrogram(Audio(0 * tone.samples, 16_000)) == 255).all()


def test_audio_rows_are_the_clean_clip_and_five_severities() -> None:
    sheet = np.array(audio_sheet())
    offline = [name for name in names_of("audio") if "synth" in builtin_class(name).card.summary]
    assert sheet.shape[0] == HEAD + (len(offline) + 1) * (64 + GAP)
    clip = calling_clip()
    rain = 3
    np.testing.assert_array_equal(tile(sheet, rain, 0, (64, 120)), spectrogram(clip))
    noisy = RainProcedural().apply(clip, 4, item_generator(0, "rain_procedural", 4, "sheet"))
    np.testing.assert_array_equal(tile(sheet, rain, 4, (64, 120)), spectrogram(noisy))


def test_video_rows_are_the_clips_frames() -> None:
    picture = np.random.default_rng(0).integers(0, 256, (140, 140, 3), dtype=np.uint8)
    clip = moving_clip(picture)
    assert clip.shape == (FRAMES, 80, 80, 3)
    np.testing.assert_array_equal(clip[1, :, :75], clip[0, :, 5:])
    sheet = np.array(video_sheet(picture))
    reverse = 7
    expected = FrameReverse().apply(clip, SEVERITY, np.random.default_rng(0))
    for t in (0, 5, 11):
        np.testing.assert_array_equal(tile(sheet, 0, t, (80, 80)), clip[t])
        np.testing.assert_array_equal(tile(sheet, reverse, t, (80, 80)), expected[t])
