from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from benchmark.data.datasets.audio_visual import load_audioset, load_vggsound
from benchmark.data.datasets.base import ClipPairs
from benchmark.data.media import read_image
from benchmark.errors import DataError
from shifts.base import Audio
from tests.benchmark.fixtures_clips import clip_id, make_clips, write_wav
from tests.benchmark.fixtures_composed import picture
from tests.benchmark.fixtures_karpathy import write_json


@pytest.fixture(autouse=True)
def file(tmp_path: Path) -> Path:
    """The list of four clips of AudioSet, whose data folder is ``tmp_path``."""
    return make_clips(tmp_path)


def change(file: Path, record: int, **values: object) -> None:
    """Changes one record of a list; a value of None takes its key away."""
    data = json.loads(file.read_text())
    for key, value in values.items():
        data["data"][record][key] = value
        if value is None:
            del data["data"][record][key]
    write_json(file, data)


# Loading


@pytest.mark.parametrize(
    ("name", "load"), [("audioset", load_audioset), ("vggsound", load_vggsound)]
)
def test_clips_have_ten_frames_and_a_sound(
    tmp_path: Path, name: str, load: Callable[..., ClipPairs]
) -> None:
    make_clips(tmp_path, name)
    pairs = load(tmp_path)
    assert pairs.counts == {"clips": 4}
    assert list(pairs.videos.ids) == [clip_id(i) for i in range(4)]
    video, audio = pairs.videos[2], pairs.audios[2]
    assert (video.shape, video.dtype) == ((10, 8, 12, 3), np.uint8)
    for k in range(10):
        file = tmp_path / name / "frames" / f"frame_{k}" / f"{clip_id(2)}.jpg"
        assert np.array_equal(video[k], read_image(file))
    assert isinstance(audio, Audio)
    assert (audio.rate, len(audio.samples)) == (16000, 160)
    samples = write_wav(tmp_path / "again.wav", 2)[:, 0]
    assert np.array_equal(audio.samples, (samples / 32768).astype(np.float32))


def test_classes_are_groups(tmp_path: Path) -> None:
    pairs = load_audioset(tmp_path)
    # first class 01 02 02 03; sets {01, 02} {02} {01, 02} {03}
    assert pairs.clip_groups["label"].tolist() == [0, 1, 1, 2]
    assert pairs.clip_groups["label_set"].tolist() == [0, 1, 0, 2]
    assert pairs.info["classes"] == 3


def test_fingerprint_follows_labels(tmp_path: Path, file: Path) -> None:
    before = load_audioset(tmp_path).fingerprint
    change(file, 0, labels="/m/09")
    assert load_audioset(tmp_path).fingerprint != before


def test_absolute_paths_below_the_data_folder_are_fine(tmp_path: Path, file: Path) -> None:
    expected = load_audioset(tmp_path).fingerprint
    folder = tmp_path / "audioset"
    change(file, 1, wav=str(folder / "audio" / f"{clip_id(1)}.wav"), video_path=f"{folder}/frames")
    assert load_audioset(tmp_path).fingerprint == expected


def test_frames_beside_the_list_may_have_no_folder_of_their_own(tmp_path: Path, file: Path) -> None:
    expected = load_audioset(tmp_path).fingerprint
    for path in (tmp_path / "audioset" / "frames").iterdir():
        path.rename(tmp_path / "audioset" / path.name)
    for record in range(4):
        change(file, record, video_path="")
    assert load_audioset(tmp_path).fingerprint == expected


# Incomplete copies


def test_incomplete_clips_are_counted_and_named(tmp_path: Path) -> None:
    folder = tmp_path / "audioset"
    (folder / "audio" / f"{clip_id(1)}.wav").unlink()
    for k in range(10):
        (folder / "frames" / f"frame_{k}" / f"{clip_id(2)}.jpg").unlink()
    (folder / "frames" / "frame_7" / f"{clip_id(3)}.jpg").unlink()
    with pytest.raises(DataError) as caught:
        load_audioset(tmp_path)
    message = str(caught.value)
    assert "3 of 4 clips of 'audioset' are missing" in message
    assert f"{clip_id(1)} (no wav)" in message
    assert f"{clip_id(2)} (0 of 10 frames)" in message
    assert f"{clip_id(3)} (9 of 10 frames)" in message
    assert "--allow-missing" in message


def test_the_nearest_to_a_missing_sound_is_a_sound(tmp_path: Path) -> None:
    sound = tmp_path / "audioset" / "audio" / f"{clip_id(1)}.wav"
    sound.rename(sound.with_stem(f"{clip_id(1)}_16k"))
    with pytest.raises(DataError, match=f"nearest to '.*{sound.name}' in .*_16k.wav"):
        load_audioset(tmp_path)


def test_at_most_five_incomplete_clips_are_named(tmp_path: Path) -> None:
    make_clips(tmp_path / "more", clips=7, frames=0)
    with pytest.raises(DataError, match=r"7 of 7 clips .*, \.\.\.; .*nothing to run on") as caught:
        load_audioset(tmp_path / "more", allow_missing=True)
    assert clip_id(4) in str(caught.value)
    assert clip_id(5) not in str(caught.value)


def test_allow_missing_runs_on_complete_clips_and_says_so(tmp_path: Path) -> None:
    whole = load_audioset(tmp_path)
    (tmp_path / "audioset" / "audio" / f"{clip_id(1)}.wav").unlink()
    pairs = load_audioset(tmp_path, allow_missing=True)
    assert list(pairs.audios.ids) == [clip_id(i) for i in (0, 2, 3)]
    assert (whole.info["missing_clips"], pairs.info["missing_clips"]) == (0, 1)
    assert pairs.info["id_hash"] != whole.info["id_hash"]
    assert pairs.clip_groups["label"].shape == (3,)
    assert np.array_equal(pairs.videos[1], whole.videos[2])


# Damaged files


def test_frames_of_unlike_sizes_are_refused(tmp_path: Path) -> None:
    picture(tmp_path / "audioset" / "frames" / "frame_4" / f"{clip_id(0)}.jpg", 5, (16, 8))
    videos = load_audioset(tmp_path).videos
    with pytest.raises(DataError, match=rf"{clip_id(0)}.*12 x 8.*frame_4.*16 x 8"):
        videos[0]
    assert videos[1].shape == (10, 8, 12, 3)


@pytest.mark.parametrize("content", [None, b"", b"RIFF", b"<html>404</html>"])
def test_what_is_no_whole_sound_is_named(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "audioset" / "audio" / f"{clip_id(0)}.wav"
    path.write_bytes(path.read_bytes()[:-30] if content is None else content)
    said = rf"{path.name}.*cut short" if content is None else f"cannot read .*{path.name}"
    with pytest.raises(DataError, match=said):
        load_audioset(tmp_path).audios[0]


def test_a_sound_without_samples_is_named(tmp_path: Path) -> None:
    write_wav(tmp_path / "audioset" / "audio" / f"{clip_id(0)}.wav", 0, count=0)
    with pytest.raises(DataError, match=rf"{clip_id(0)}\.wav' holds no samples"):
        load_audioset(tmp_path).audios[0]


def test_a_stereo_sound_is_averaged_and_another_rate_is_kept(tmp_path: Path) -> None:
    path = tmp_path / "audioset" / "audio" / f"{clip_id(0)}.wav"
    samples = write_wav(path, 0, channels=2, rate=44100)
    audio = load_audioset(tmp_path).audios[0]
    assert audio.rate == 44100
    assert np.allclose(audio.samples, samples.astype(float).mean(axis=1) / 32768, atol=1e-7)


# Faults of the list


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"video_id": clip_id(0)}, "occurs twice, as entry 1 and as entry 2"),
        ({"video_id": "../../x"}, "refused"),
        ({"wav": "../../x.wav"}, "wav leads to .*refused"),
        ({"wav": "/etc/passwd"}, "wav leads to '/etc/passwd', which is refused"),
        ({"video_path": "/data/theirs/frames/"}, "video_path or video_id leads to .*refused"),
        ({"video_path": "C:\\frames"}, "refused"),
        ({"wav": None}, "key 'wav' is missing"),
        ({"labels": ["/m/01"]}, "key 'labels' must be a string"),
        ({"labels": "/m/01,,/m/02"}, "class ids joined by commas"),
    ],
)
def test_bad_records_are_named(
    tmp_path: Path, file: Path, values: dict[str, object], said: str
) -> None:
    change(file, 1, **values)
    record = "" if "twice" in said else "data record 2: .*"
    with pytest.raises(DataError, match=f"{record}{said}"):
        load_audioset(tmp_path)


@pytest.mark.parametrize(
    ("split", "said"), [("test", "expected 'eval'|it has 'eval'"), ("evall", "did you mean 'eval'")]
)
def test_wrong_splits(tmp_path: Path, split: str, said: str) -> None:
    with pytest.raises(DataError, match=said):
        load_audioset(tmp_path, split=split)


@pytest.mark.parametrize(
    ("data", "said"),
    [
        ([], "expected an object with key 'data'"),
        ({"clips": []}, "key 'data' is missing"),
        ({"data": []}, "has no record"),
        ({"data": ["a"]}, "data record 1: expected an object"),
    ],
)
def test_lists_of_another_form_are_refused(
    tmp_path: Path, file: Path, data: object, said: str
) -> None:
    write_json(file, data)
    with pytest.raises(DataError, match=said):
        load_audioset(tmp_path)
