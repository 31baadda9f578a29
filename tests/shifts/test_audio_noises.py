"""Audio shifts: levels by their definition, recordings of the user's, silence and clipping."""

from __future__ import annotations

import wave
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from shifts.audio.item import level
from shifts.audio.noises import (
    READ_GAIN_DB,
    READ_SIGMA,
    SNR_DB,
    AudioGaussianNoise,
    AudioShift,
    Rain,
    RainProcedural,
    RecordingOptions,
    Traffic,
    TrafficProcedural,
)
from shifts.base import Audio, ShiftError
from shifts.builtin import builtin_class
from tests.shifts.common import RECORDED, apply, offline, problems

OFFLINE = offline("audio")
STEP = 1 / 32768


def load(name: str) -> type[AudioShift]:
    return builtin_class(name)


def record(path: Path, samples: np.ndarray, rate: int = 8000) -> None:
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(rate)
        file.writeframes(np.rint(samples * 32767).astype("<i2").tobytes())


def tone(count: int = 4000, rate: int = 8000, peak: float = 0.1) -> Audio:
    wave_form = peak * np.sin(2 * np.pi * 220 * np.arange(count) / rate)
    return Audio(wave_form.astype(np.float32), rate)


def added(shift: AudioShift, item: Audio, severity: int, seed: int = 0) -> np.ndarray:
    return apply(shift, item, severity, seed).samples.astype(float) - item.samples


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    rng = np.random.default_rng(5)
    for name in RECORDED:
        record(tmp_path / f"{name}.wav", 0.05 * rng.standard_normal(3000))
    return tmp_path


@pytest.mark.parametrize("name", RECORDED)
def test_recorded_sounds_keep_the_contract_on_the_users_files(name: str, folder: Path) -> None:
    options = RecordingOptions(recordings=str(folder))
    assert problems(lambda: load(name)(options)) == {}


@pytest.mark.parametrize("severity", [1, 2, 3, 4, 5])
def test_gaussian_noise_has_the_published_deviation_whatever_the_clip(severity: int) -> None:
    for item in (tone(40_000, peak=0.01), tone(40_000, peak=0.2)):
        mixed = AudioGaussianNoise().mixed(item, severity, np.random.default_rng(severity))
        noise = mixed - item.samples
        assert np.std(noise) == pytest.approx(READ_SIGMA[severity - 1], rel=0.02)
        assert abs(noise.mean()) < 0.02 * READ_SIGMA[severity - 1] * 3


@pytest.mark.parametrize("severity", [1, 2, 3, 4, 5])
def test_read_mode_gains_the_recording_by_so_many_db(severity: int, tmp_path: Path) -> None:
    sound = 0.05 * np.sin(np.arange(500))
    record(tmp_path / "rain.wav", sound)
    shift = Rain(RecordingOptions(recordings=str(tmp_path), offset="start"))
    item = Audio(np.zeros(1200, dtype=np.float32), 8000)
    expected = np.tile(sound, 3)[:1200] * 10 ** (READ_GAIN_DB[severity - 1] / 20)
    np.testing.assert_allclose(added(shift, item, severity), expected, atol=4 * STEP)


@pytest.mark.parametrize("name", OFFLINE)
@pytest.mark.parametrize("severity", [1, 2, 3, 4, 5])
def test_snr_mode_meets_its_ratio(name: str, severity: int) -> None:
    shift = load(name)(load(name).Options(mode="snr"))
    for peak in (0.003, 0.08):
        item = tone(peak=peak)
        mixed = shift.mixed(item, severity, np.random.default_rng(3))
        ratio = 20 * np.log10(level(item.samples) / level(mixed - item.samples))
        assert ratio == pytest.approx(SNR_DB[severity - 1], abs=1e-9)


@pytest.mark.parametrize("name", OFFLINE)
def test_silence_has_no_ratio_and_stays_silent(name: str) -> None:
    silence = Audio(np.zeros(300, dtype=np.float32), 16_000)
    assert apply(load(name)(load(name).Options(mode="snr")), silence, 5) == silence
    assert level(apply(load(name)(), silence, 5).samples) > 0


def test_a_silent_stretch_of_a_recording_adds_nothing(tmp_path: Path) -> None:
    record(tmp_path / "rain.wav", np.r_[np.zeros(500), 0.5 * np.ones(10)])
    options = RecordingOptions(mode="snr", offset="start", recordings=str(tmp_path))
    item = tone(400)
    result = apply(Rain(options), item, 5)
    assert np.isfinite(result.samples).all()
    np.testing.assert_allclose(result.samples, item.samples, atol=STEP)


def test_the_clipped_share_counts_what_apply_cuts_off() -> None:
    count = 20_000
    full = Audio(np.full(count, 0.999, dtype=np.float32), 8000)
    shift = AudioGaussianNoise()
    share = shift.clipped_share(full, 5, np.random.default_rng(1))
    cut = apply(shift, full, 5, 1).samples
    # What lands on the highest step by itself is not cut.
    railed = np.mean((cut == cut.max()) | (cut == -1.0))
    assert share == pytest.approx(railed, abs=2 / count)
    # Half of the noise goes up, and a value below -1 is over five sigma away.
    assert share == pytest.approx(0.5, abs=0.02)
    assert shift.clipped_share(tone(peak=0.01), 1, np.random.default_rng(0)) == 0.0


def test_the_clipped_share_checks_its_arguments() -> None:
    with pytest.raises(ShiftError, match="severity 'high'"):
        AudioGaussianNoise().clipped_share(tone(), "high", np.random.default_rng(0))  # type: ignore[arg-type]
    with pytest.raises(ShiftError, match="not on NoneType"):
        AudioGaussianNoise().clipped_share(None, 1, np.random.default_rng(0))


@pytest.mark.parametrize("name", OFFLINE)
def test_empty_audio_is_one_clear_error(name: str) -> None:
    empty = Audio(np.zeros(0, dtype=np.float32), 8000)
    with pytest.raises(ShiftError, match=f"'{name}' works on .*at least one sample; .*empty"):
        load(name)().apply(empty, 1, np.random.default_rng(0))


def test_unknown_modes_and_offsets_are_refused() -> None:
    with pytest.raises(ShiftError, match="'read', 'snr'"):
        AudioGaussianNoise.Options(mode="loud")
    with pytest.raises(ShiftError, match="'random', 'start'"):
        RainProcedural.Options(offset="middle")


@pytest.mark.parametrize("name", RECORDED)
def test_without_a_folder_the_way_out_is_named(name: str, tmp_path: Path) -> None:
    shift = load(name)
    with pytest.raises(ShiftError, match=f"given no folder; .*{name}_procedural"):
        shift()
    with pytest.raises(ShiftError, match=r"no folder .*nowhere"):
        shift(shift.Options(recordings=str(tmp_path / "nowhere")))
    (tmp_path / f"{name}.mp3").write_bytes(b"no wav")
    (tmp_path / f"{name}way.wav").write_bytes(b"another word")
    with pytest.raises(ShiftError, match=rf"found no {name}\.wav"):
        shift(shift.Options(recordings=str(tmp_path)))


@pytest.mark.parametrize(("samples", "message"), [(np.zeros(5), "silence"), ([], "empty")])
def test_recordings_without_sound_are_refused(tmp_path: Path, samples: Any, message: str) -> None:
    record(tmp_path / "rain.wav", np.asarray(samples, dtype=float))
    with pytest.raises(ShiftError, match=rf"rain\.wav.*{message}"):
        apply(Rain(RecordingOptions(recordings=str(tmp_path))), tone(), 1)


def test_a_broken_recording_is_named(tmp_path: Path) -> None:
    (tmp_path / "rain.wav").write_bytes(b"RIFF and no more")
    with pytest.raises(ShiftError, match=r"rain\.wav"):
        apply(Rain(RecordingOptions(recordings=str(tmp_path))), tone(), 1)


def test_recording_and_place_are_drawn_from_the_items_generator(tmp_path: Path) -> None:
    for number, height in enumerate((0.1, 0.2, 0.3)):
        record(tmp_path / f"traffic_{number}.wav", height * np.linspace(0.5, 1, 700))
    shift = Traffic(RecordingOptions(recordings=str(tmp_path)))
    results = [apply(shift, tone(300), 1, seed).samples.tobytes() for seed in range(12)]
    assert len(set(results)) == 12
    assert apply(shift, tone(300), 1, 4).samples.tobytes() == results[4]
    from_start = Traffic(RecordingOptions(recordings=str(tmp_path), offset="start"))
    results = [apply(from_start, tone(300), 1, seed).samples.tobytes() for seed in range(20)]
    assert len(set(results)) == 3


def test_reads_own_offset_gives_every_clip_the_same_stretch(folder: Path) -> None:
    shift = Traffic(RecordingOptions(recordings=str(folder), offset="start"))
    item = tone(500)
    assert apply(shift, item, 2, 0) == apply(shift, item, 2, 1)
    procedural = TrafficProcedural(TrafficProcedural.Options(offset="start"))
    assert apply(procedural, item, 2, 0) == apply(procedural, item, 2, 1)


def test_fingerprint_follows_the_bytes_not_the_folder(tmp_path: Path) -> None:
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        record(tmp_path / name / "rain.wav", np.full(9, 0.5))
    one, two = (Rain(RecordingOptions(recordings=str(tmp_path / n))) for n in ("one", "two"))
    assert one.fingerprint == two.fingerprint != ""
    assert two.sound(8000, np.random.default_rng(0))[0] == pytest.approx(0.5, abs=1e-3)
    record(tmp_path / "two" / "rain.wav", np.full(9, 0.4))
    assert one.fingerprint != two.fingerprint
    assert two.sound(8000, np.random.default_rng(0))[0] == pytest.approx(0.4, abs=1e-3)
