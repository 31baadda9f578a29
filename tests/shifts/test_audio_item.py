"""Audio items and wav files: what is accepted, and one clear error for what is not."""

from __future__ import annotations

import struct
import wave
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from shifts.audio.item import level, read_wav, to_pcm16
from shifts.base import Audio, ShiftError


def write(path: Path, steps: np.ndarray, rate: int = 8000, width: int = 2) -> Path:
    """(n,) or (n, channels) integer steps as a wav file."""
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1 if steps.ndim == 1 else steps.shape[1])
        file.setsampwidth(width)
        file.setframerate(rate)
        file.writeframes(steps.astype(f"<i{width}" if width > 1 else "u1").tobytes())
    return path


@pytest.mark.parametrize(
    ("samples", "rate", "message"),
    [
        (np.zeros(4), 8000, "float64 array"),
        (np.zeros(4, dtype=np.int16), 8000, "divide 16-bit samples by 32768"),
        (np.zeros((4, 2), dtype=np.float32), 8000, r"shape \(4, 2\)"),
        ([0.0, 0.1], 8000, "not a list"),
        (np.full(4, 1.01, dtype=np.float32), 8000, "within"),
        (np.array([0.0, np.nan], dtype=np.float32), 8000, "finite"),
        (np.array([0.0, np.inf], dtype=np.float32), 8000, "finite"),
        (np.zeros(4, dtype=np.float32), 0, "positive int in Hz"),
        (np.zeros(4, dtype=np.float32), 16e3, "positive int in Hz"),
        (np.zeros(4, dtype=np.float32), True, "positive int in Hz"),
    ],
)
def test_what_is_no_mono_recording_is_refused(samples: Any, rate: Any, message: str) -> None:
    with pytest.raises(ShiftError, match=message):
        Audio(samples, rate)


def test_equality_is_that_of_rate_and_samples() -> None:
    one = Audio(np.array([0.0, 0.5], dtype=np.float32), 8000)
    assert one == Audio(one.samples.copy(), 8000)
    assert one != Audio(one.samples, 16_000)
    assert one != Audio(one.samples[:1], 8000)
    assert one != "audio"


def test_length_in_seconds_and_level() -> None:
    audio = Audio(np.full(4000, -0.5, dtype=np.float32), 8000)
    assert audio.seconds == 0.5
    assert level(audio.samples) == 0.5
    assert level(audio.samples[:0]) == 0.0


def test_16_bit_steps_round_and_clip() -> None:
    steps = to_pcm16(np.array([-2.0, -1.0, -1.4 / 32768, 0.0, 1.6 / 32768, 1.0, 2.0])) * 32768
    assert steps.tolist() == [-32768, -32768, -1, 0, 2, 32767, 32767]


def test_a_wav_file_comes_back_as_written(tmp_path: Path) -> None:
    steps = np.array([-32768, -1, 0, 1, 32767])
    audio = read_wav(write(tmp_path / "a.wav", steps, rate=22_050))
    assert audio.rate == 22_050
    np.testing.assert_array_equal(audio.samples * 32768, steps)
    np.testing.assert_array_equal(to_pcm16(audio.samples), audio.samples)


def test_channels_are_averaged(tmp_path: Path) -> None:
    audio = read_wav(write(tmp_path / "a.wav", np.array([[100, 300], [-32768, 0]])))
    assert (audio.samples * 32768).tolist() == [200, -16384]


def test_no_frames_read_as_no_samples(tmp_path: Path) -> None:
    assert read_wav(write(tmp_path / "a.wav", np.zeros(0, dtype=np.int16))).samples.shape == (0,)


def riff(kind: int, bits: int, data: bytes, *, extensible: bool, channels: int = 1) -> bytes:
    """A wav file byte by byte, with a chunk between header and samples that readers skip."""
    block = channels * bits // 8
    header = struct.pack("<HIIHH", channels, 8000, 8000 * block, block, bits)
    if extensible:
        tail = bytes.fromhex("000000001000800000aa00389b71")
        header = struct.pack("<H", 0xFFFE) + header + struct.pack("<HHIH", 22, bits, 4, kind) + tail
    else:
        header = struct.pack("<H", kind) + header
    chunks = b"".join(
        name + struct.pack("<I", len(body)) + body + b"\0" * (len(body) % 2)
        for name, body in ((b"fmt ", header), (b"LIST", b"odd"), (b"data", data))
    )
    return b"RIFF" + struct.pack("<I", 4 + len(chunks)) + b"WAVE" + chunks


VALUES = [-1.0, -0.5, 0.0, 0.25]
FORMATS = {
    "u8": (1, 8, bytes(int(v * 128) + 128 for v in VALUES)),
    "s16": (1, 16, b"".join(struct.pack("<h", int(v * 2**15)) for v in VALUES)),
    "s24": (1, 24, b"".join(struct.pack("<i", int(v * 2**31))[1:] for v in VALUES)),
    "s32": (1, 32, b"".join(struct.pack("<i", int(v * 2**31)) for v in VALUES)),
    "f32": (3, 32, struct.pack("<4f", *VALUES)),
    "f64": (3, 64, struct.pack("<4d", *VALUES)),
}


@pytest.mark.parametrize("extensible", [False, True], ids=["plain", "extensible"])
@pytest.mark.parametrize("name", FORMATS)
def test_every_common_sample_format_is_read_right(
    tmp_path: Path, name: str, extensible: bool
) -> None:
    path = tmp_path / "a.wav"
    path.write_bytes(riff(*FORMATS[name], extensible=extensible))
    assert read_wav(path).samples.tolist() == VALUES
    path.write_bytes(riff(*FORMATS[name], extensible=extensible, channels=2))
    assert read_wav(path).samples.tolist() == [-0.75, 0.125]


def test_floats_beyond_full_scale_are_cut_and_nan_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.wav"
    path.write_bytes(riff(3, 32, struct.pack("<3f", 1.5, -2.0, 0.5), extensible=False))
    assert read_wav(path).samples.tolist() == [1.0, -1.0, 0.5]
    path.write_bytes(riff(3, 32, struct.pack("<f", float("nan")), extensible=True))
    with pytest.raises(ShiftError, match="NaN or infinite"):
        read_wav(path)


@pytest.mark.parametrize(
    ("kind", "bits", "message"),
    [(2, 4, "4-bit ADPCM"), (6, 8, "8-bit A-law"), (1, 12, "12-bit PCM"), (0x55, 0, "MP3")],
)
def test_other_sample_formats_are_named(tmp_path: Path, kind: int, bits: int, message: str) -> None:
    path = tmp_path / "a.wav"
    for extensible in (False, True):
        path.write_bytes(riff(kind, bits, b"0123", extensible=extensible))
        with pytest.raises(ShiftError, match=rf"a\.wav.*{message} samples\); expected"):
            read_wav(path)


def test_a_wav_file_from_a_pipe_goes_to_the_end_of_the_file(tmp_path: Path) -> None:
    path = tmp_path / "a.wav"
    content = riff(*FORMATS["s16"], extensible=False)
    path.write_bytes(content.replace(b"data\x08\0\0\0", b"data\xff\xff\xff\xff"))
    assert read_wav(path).samples.tolist() == VALUES


@pytest.mark.parametrize("content", [b"", b"RIFF", b"an mp3, perhaps", b"RIFF\x24\0\0\0WAVEfmt "])
def test_what_is_no_wav_file_is_refused_by_name(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "strange.wav"
    path.write_bytes(content)
    with pytest.raises(ShiftError, match=r"strange\.wav.*16-bit PCM"):
        read_wav(path)


def test_a_rate_that_no_recording_has_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "damaged.wav", np.arange(9), rate=10**9)
    with pytest.raises(ShiftError, match=r"damaged\.wav.* and 1000000000 samples a second"):
        read_wav(path)


def test_a_file_cut_short_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "short.wav", np.arange(100))
    path.write_bytes(path.read_bytes()[:-50])
    with pytest.raises(ShiftError, match=r"short\.wav"):
        read_wav(path)


def test_an_absent_file_and_a_folder_are_named(tmp_path: Path) -> None:
    with pytest.raises(ShiftError, match=r"no audio file.*gone\.wav"):
        read_wav(tmp_path / "gone.wav")
    with pytest.raises(ShiftError, match="cannot read"):
        read_wav(tmp_path)
