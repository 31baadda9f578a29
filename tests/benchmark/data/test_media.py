from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from benchmark.data import media
from benchmark.data.media import FrameFiles, ImageFiles, WavFiles, read_audio, read_image
from benchmark.errors import DataError
from tests.benchmark.fixtures_clips import write_wav

RGB = np.arange(2 * 3 * 3, dtype=np.uint8).reshape(2, 3, 3) * 10


def save(path: Path, image: Image.Image) -> Path:
    image.save(path)
    return path


def test_rgb_is_returned_as_stored(tmp_path: Path) -> None:
    array = read_image(save(tmp_path / "a.png", Image.fromarray(RGB)))
    assert array.dtype == np.uint8
    np.testing.assert_array_equal(array, RGB)
    array[:] = 0  # its own memory, writable


GREY = np.array([[0, 257, 32768, 65535]], np.uint16)


@pytest.mark.parametrize(
    ("image", "expected"),
    [
        (Image.fromarray(RGB[:, :, 0]), np.stack([RGB[:, :, 0]] * 3, axis=2)),
        # Alpha is dropped, not blended; 16 bit are scaled, not clipped.
        (Image.fromarray(np.dstack([RGB, np.zeros((2, 3), np.uint8)])), RGB),
        (Image.fromarray(GREY), np.array([[[v] * 3 for v in (0, 1, 128, 255)]])),
        (Image.new("1", (2, 2), 1), np.full((2, 2, 3), 255)),
    ],
    ids=["grey", "alpha", "16 bit", "1 bit"],
)
def test_other_modes_become_rgb(tmp_path: Path, image: Image.Image, expected: np.ndarray) -> None:
    np.testing.assert_array_equal(read_image(save(tmp_path / "a.png", image)), expected)


def test_palette_with_and_without_transparency(tmp_path: Path) -> None:
    image = Image.fromarray(np.array([[0, 1], [2, 1]], np.uint8)).convert("P")
    image.putpalette([255, 0, 0, 0, 255, 0, 0, 0, 255])
    expected = np.array([[[255, 0, 0], [0, 255, 0]], [[0, 0, 255], [0, 255, 0]]], np.uint8)
    np.testing.assert_array_equal(read_image(save(tmp_path / "a.png", image)), expected)
    image.info["transparency"] = b"\x00\xff\x80"
    image.save(tmp_path / "b.png", transparency=b"\x00\xff\x80")
    np.testing.assert_array_equal(read_image(tmp_path / "b.png"), expected)


def test_cmyk_jpeg_becomes_rgb(tmp_path: Path) -> None:
    cmyk = Image.new("CMYK", (8, 8), (0, 255, 255, 0))  # red ink
    array = read_image(save(tmp_path / "a.jpg", cmyk))
    assert array.shape == (8, 8, 3)
    assert array[..., 0].min() > 240
    assert array[..., 1:].max() < 15


@pytest.mark.parametrize("kind", ["text", "truncated jpeg", "damaged png", "empty"])
def test_broken_image_is_named(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "broken_picture.jpg"
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    if kind == "text":
        path.write_text("not an image")
    elif kind == "empty":
        path.touch()
    else:
        Image.fromarray(noise).save(path, format=kind.split()[1])
        raw = bytearray(path.read_bytes())
        if kind == "damaged png":
            raw[60:200] = bytes(140)
        path.write_bytes(raw[: len(raw) // 2])
    with pytest.raises(DataError, match=r"broken_picture\.jpg cannot be decoded"):
        read_image(path)


@pytest.mark.parametrize(
    ("image", "said"),
    [
        (Image.new("F", (2, 2)), "floating-point"),
        (Image.fromarray(np.array([[70000]], np.int32)), "70000"),
    ],
)
def test_pixels_without_an_rgb_form_are_refused(
    tmp_path: Path, image: Image.Image, said: str
) -> None:
    with pytest.raises(DataError, match=said):
        read_image(save(tmp_path / "a.tiff", image))


def test_decompression_bomb_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = save(tmp_path / "a.png", Image.new("RGB", (40, 40)))
    monkeypatch.setattr(media.Image, "MAX_IMAGE_PIXELS", 1000)
    with pytest.raises(DataError, match="too large"):
        read_image(path)
    monkeypatch.setattr(media.Image, "MAX_IMAGE_PIXELS", 100)
    with pytest.raises(DataError, match="too large"):
        read_image(path)


def test_image_files_decode_when_asked(tmp_path: Path) -> None:
    path = save(tmp_path / "a.png", Image.fromarray(RGB))
    items = ImageFiles(["a", "b"], [path, tmp_path / "missing.png"])
    assert len(items) == 2
    np.testing.assert_array_equal(items[0], RGB)
    with pytest.raises(DataError, match=r"missing\.png"):
        items[1]


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
        FrameFiles(["a"], [[]])[0]


def test_sounds_are_read_in_order(tmp_path: Path) -> None:
    paths = [tmp_path / f"{k}.wav" for k in range(2)]
    samples = [write_wav(path, k) for k, path in enumerate(paths)]
    sounds = WavFiles(["a", "b"], paths)
    assert len(sounds) == 2
    assert np.array_equal(sounds[1].samples, (samples[1][:, 0] / 32768).astype(np.float32))


def test_a_file_that_is_gone_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"gone\.jpg does not exist"):
        read_image(tmp_path / "gone.jpg")
    with pytest.raises(DataError, match=r"gone\.jpg does not exist"):
        FrameFiles(["a"], [[tmp_path / "gone.jpg"]])[0]
    with pytest.raises(DataError, match=r"no audio file .*gone\.wav"):
        read_audio(tmp_path / "gone.wav")
