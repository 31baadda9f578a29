"""The world of clips: the same on every run, splits apart, seen and heard as it says."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import numpy as np
import pytest

from benchmark.data.datasets.base import ClipPairs
from benchmark.errors import ConfigError
from benchmark.mini.clips.data import SEED, draw_frames, draw_samples, load_as, load_vgg, scripts
from benchmark.mini.clips.events import FRAMES, LENGTH, RATE, RHYTHMS, Clip, Event, clips, draw_clip
from benchmark.mini.worlds.drawn import SPLITS, item_generator
from shifts.base import item_problem

EVENT = Event("circle", "medium", "plain", 3, 1, "red", "grow", 16.0, 16.0)
CLIP = Clip("as", "brick", (EVENT,))


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.Generator(np.random.PCG64(seed))


@pytest.fixture(scope="module", params=[load_as, load_vgg], ids=["as", "vgg"])
def pairs(request: pytest.FixtureRequest) -> ClipPairs:
    return request.param(None, split="test", allow_missing=False)


def test_the_sets_are_those_of_the_first_release() -> None:
    """Whoever changes a clip must raise WORLD_VERSION, and then these."""
    found = [load(split=split).fingerprint for load in (load_as, load_vgg) for split in SETS]
    assert found == ["cb2f8541801b6764", "a4e6831fab5a1df6", "b5685ceb23691cb0", "58d963ca7e717cd0"]


def test_items_are_those_of_the_first_release() -> None:
    """Coarse sums, since the last bits of floating-point sums depend on the machine."""
    pairs = load_as()
    frames = np.stack([pairs.videos[i] for i in range(8)]).astype(float)
    assert frames.mean(axis=(1, 2, 3, 4)) == pytest.approx(
        [128.26, 117.22, 98.18, 104.18, 94.35, 114.69, 30.87, 90.09], abs=0.05
    )
    levels = [float(np.sqrt(np.mean(np.square(pairs.audios[i].samples)))) for i in range(8)]
    assert levels == pytest.approx(
        [0.04989, 0.02623, 0.08920, 0.02888, 0.04683, 0.13936, 0.02376, 0.12629], rel=1e-3
    )


SETS = ("val", "test")


def test_items_are_what_video_and_audio_shifts_take(pairs: ClipPairs) -> None:
    assert pairs.counts == {"clips": 504}
    assert list(pairs.videos.ids) == list(pairs.audios.ids)
    for i in (0, 503):
        video, audio = pairs.videos[i], pairs.audios[i]
        assert not item_problem("video", video)
        assert not item_problem("audio", audio)
        assert video.shape == (8, 32, 32, 3)
        assert (audio.rate, len(audio.samples), audio.seconds) == (8000, 12800, 1.6)
        assert np.abs(audio.samples).max() > 0.2


def test_items_do_not_depend_on_the_order_of_asking(pairs: ClipPairs) -> None:
    forwards = [pairs.videos[i] for i in range(3)], [pairs.audios[i] for i in range(3)]
    backwards = [pairs.videos[i] for i in (2, 1, 0)], [pairs.audios[i] for i in (2, 1, 0)]
    for one, other in zip(forwards[0], reversed(backwards[0]), strict=True):
        assert np.array_equal(one, other)
    assert forwards[1] == backwards[1][::-1]


def test_unknown_splits_are_refused() -> None:
    with pytest.raises(ConfigError, match="mini-vgg has no split 'train'; it has test and val"):
        load_vgg(split="train")


def test_signatures_differ_within_a_split_and_between_splits() -> None:
    """Also between styles: nothing that can be told apart in training recurs in a test set."""
    found = {
        split: [c.signature() for style in ("as", "vgg") for c in clips(style, split, 72, 5)]
        for split in SPLITS
    }
    for style in ("as", "vgg"):
        test = [clip.signature() for clip in scripts(style, "test")]
        assert len(set(test)) == len(test)
        assert set(test).isdisjoint(found["train"])
        assert set(test).isdisjoint(found["val"])
    assert set(found["train"]).isdisjoint(found["val"])


def test_the_split_hangs_on_what_is_both_seen_and_heard_alone() -> None:
    silent = replace(EVENT, colour="blue", motion="jump", x=9.0, y=20.0)
    assert replace(CLIP, style="vgg", events=(silent,)).split() == CLIP.split()
    assert replace(CLIP, events=(silent,)).signature() == CLIP.signature()
    heard = [
        replace(EVENT, **change)
        for change in ({"shape": "ring"}, {"size": "large"}, {"texture": "striped"}, {"phase": 2})
    ]
    signatures = {replace(CLIP, events=(e,)).signature() for e in heard} | {CLIP.signature()}
    assert len(signatures) == 5


def test_the_sets_differ_as_their_originals_do() -> None:
    assert Counter(len(clip.events) for clip in scripts("as", "test"))[2] > 0.75 * 504
    single = scripts("vgg", "test")
    assert {len(clip.events) for clip in single} == {1}
    assert set(Counter(clip.label for clip in single).values()) == {14}  # 36 classes


def test_groups_are_classes_and_backgrounds(pairs: ClipPairs) -> None:
    style = "as" if "mini-as" in pairs.name else "vgg"
    drawn = scripts(style, "test")
    for key, names in (
        ("class", [clip.label for clip in drawn]),
        ("background", [clip.background for clip in drawn]),
    ):
        groups = pairs.clip_groups[key]
        assert groups.dtype == np.int64
        assert len(set(zip(groups.tolist(), names, strict=True))) == len(set(names))


@pytest.mark.parametrize("rhythm", RHYTHMS)
def test_a_thing_moves_in_its_rhythm(rhythm: tuple[int, int]) -> None:
    period, phase = rhythm
    event = replace(EVENT, size="large", motion="flash", period=period, phase=phase)
    frames = draw_frames(replace(CLIP, events=(event,)), rng()).astype(float)
    rest = frames[next(t for t in range(FRAMES) if t not in event.frames())]
    # Sensor noise alone differs by some 4.5 grey levels.
    changed = np.abs(frames - rest).mean(axis=(1, 2, 3)) > 8.0
    assert np.flatnonzero(changed).tolist() == list(range(phase, FRAMES, period))


@pytest.mark.parametrize("rhythm", RHYTHMS)
def test_a_thing_sounds_in_its_rhythm(rhythm: tuple[int, int]) -> None:
    period, phase = rhythm
    clip = replace(CLIP, events=(replace(EVENT, shape="heart", period=period, phase=phase),))
    samples = draw_samples(clip, rng())
    # A "heart" beats twice within 0.2 s of its onset, and is then silent.
    level = np.sqrt(np.square(samples).reshape(FRAMES, LENGTH // FRAMES).mean(1))
    assert np.flatnonzero(level > 2.5 * level.min()).tolist() == list(clip.events[0].frames())


def test_small_things_sound_high() -> None:
    peaks = []
    for size in ("large", "medium", "small"):
        clip = replace(CLIP, background="snow", events=(replace(EVENT, size=size, period=2),))
        power = np.abs(np.fft.rfft(draw_samples(clip, rng()))) ** 2
        peaks.append(float(np.argmax(power)) * RATE / LENGTH)
    assert peaks == pytest.approx([240, 430, 760], rel=0.06)


def test_colour_motion_and_place_are_silent() -> None:
    silent = replace(CLIP, events=(replace(EVENT, colour="blue", motion="jump", x=8.0),))
    assert np.array_equal(draw_samples(CLIP, rng()), draw_samples(silent, rng()))
    assert not np.array_equal(draw_frames(CLIP, rng()), draw_frames(silent, rng()))


def test_styles_change_look_and_recording_of_the_same_clip() -> None:
    close = replace(CLIP, style="vgg")
    assert not np.array_equal(draw_samples(CLIP, rng()), draw_samples(close, rng()))
    corners = [draw_frames(clip, rng())[:, ::31, ::31].mean() for clip in (CLIP, close)]
    assert corners[1] < corners[0]


def test_video_and_sound_draw_from_different_generators() -> None:
    draws = {
        item_generator(SEED, f"{k}/mini-as-test", i).random()
        for k in ("video", "audio")
        for i in (0, 1)
    }
    assert len(draws) == 4


def test_two_things_of_a_clip_differ_in_shape_and_stay_apart() -> None:
    generator = rng(3)
    for _ in range(200):
        clip = draw_clip(generator, "as")
        if len(clip.events) == 2:
            one, other = clip.events
            assert one.shape != other.shape
            assert np.hypot(one.x - other.x, one.y - other.y) > 8.0
