from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from benchmark.data.clips import FrameFiles, WavFiles, read_audio, read_frames
from benchmark.errors import DataError
from tests.benchmark.fixtures_clips import write_wav


@pytest.mark.parametrize("mode", ["L", "P", "CMYK", "RGB"])
def test_frames_of_every_colour_mode_are_stacked_in_order(tmp_path: Path, mode: str) -> None:
    paths = []
    for k, level in enumerate((10, 120, 230)):
        path = tmp_path / f"{k}{'.jpg' if mode == 'CMYK' else '.png'}"
        source = Image.new("L", (6, 4), level)
        (source if mode == "P" else source.convert("RGB")).convert(mode).save(path)
        paths.append(path)
    video = FrameFiles(["a"], [paths])[0]
    assert (video.shape, video.dtype) == ((3, 4, 6, 3), np.uint8)
    levels = video.reshape(3, -1).astype(int)
    assert np.abs(levels - np.array([[10], [120], [230]])).max() <= 4


def test_a_video_without_frames_is_refused() -> None:
    with pytest.raises(DataError, match="video 'a' has no frames"):
        read_frames([], video="a")


def test_a_frame_that_is_gone_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"gone\.jpg does not exist"):
        read_frames([tmp_path / "gone.jpg"], video="a")


def test_sounds_are_read_in_order(tmp_path: Path) -> None:
    paths = [tmp_path / f"{k}.wav" for k in range(2)]
    samples = [write_wav(path, k) for k, path in enumerate(paths)]
    sounds = WavFiles(["a", "b"], paths)
    assert len(sounds) == 2
    assert np.array_equal(sounds[1].samples, (samples[1][:, 0] / 32768).astype(np.float32))


def test_a_sound_that_is_gone_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"no audio file .*gone\.wav"):
        read_audio(tmp_path / "gone.wav")
