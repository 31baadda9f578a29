"""AudioSet and VGGSound folders in CAV-MAE's list form, with invented clips."""

from __future__ import annotations

import wave
from pathlib import Path

import numpy as np

from tests.benchmark.fixtures_composed import picture
from tests.benchmark.fixtures_karpathy import write_json

AUDIOSET_LIST = "audioset_eval_5_per_class_for_retrieval_cleaned.json"
VGGSOUND_LIST = "vgg_test_5_per_class_for_retrieval_cleaned.json"
LABELS = ("/m/01,/m/02", "/m/02", "/m/02,/m/01", "/m/03")


def clip_id(index: int) -> str:
    """Eleven characters as the real ids have, the first one a dash."""
    return f"-clip_{index:05d}"


def make_clips(root: Path, name: str = "audioset", clips: int = 4, frames: int = 10) -> Path:
    """Writes ``root/<name>`` with its list, frames and sounds; returns the list file."""
    folder = root / name
    records = []
    for index in range(clips):
        item = clip_id(index)
        for k in range(frames):
            picture(folder / "frames" / f"frame_{k}" / f"{item}.jpg", 100 * index + k, (12, 8))
        write_wav(folder / "audio" / f"{item}.wav", index)
        records.append(
            {
                "video_id": item,
                "wav": f"audio/{item}.wav",
                "video_path": "frames/",
                "labels": LABELS[index % len(LABELS)],
            }
        )
    listed = AUDIOSET_LIST if name == "audioset" else VGGSOUND_LIST
    return write_json(folder / listed, {"data": records})


def write_wav(
    path: Path, seed: int, *, count: int = 160, channels: int = 1, rate: int = 16000
) -> np.ndarray:
    """A wav file of 16-bit noise; returns its (count, channels) samples."""
    path.parent.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(seed)
    samples = rng.integers(-20000, 20000, size=(count, channels), dtype=np.int16)
    with wave.open(str(path), "wb") as file:
        file.setnchannels(channels)
        file.setsampwidth(2)
        file.setframerate(rate)
        file.writeframes(samples.astype("<i2").tobytes())
    return samples
