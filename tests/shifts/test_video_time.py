"""Shifts in time, the codec stand-in and sequences of distributions."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shifts.base import Shift, ShiftError, item_generator
from shifts.builtin import make_shift
from shifts.image.digital import JpegCompression
from shifts.video.compression import KEY_EVERY, VideoCompressionJpeg
from shifts.video.order import (
    KEEP_EVERY,
    KEEP_PERCENT,
    SEGMENT,
    FrameDrop,
    FrameFreeze,
    FrameJumble,
    FrameOrder,
    FrameReverse,
)
from shifts.video.sequence import TYPES, SequenceOptions, TemporalSequence

ORDERS = [FrameDrop, FrameFreeze, FrameJumble, FrameReverse]


def numbered(frames: int) -> np.ndarray:
    """Frame t is filled with t."""
    return np.arange(frames, dtype=np.uint8)[:, None, None, None].repeat(3, axis=3)


def shown(shift: Shift, frames: int, severity: int, seed: int = 0) -> list[int]:
    rng = item_generator(seed, shift.card.name, severity, "v")
    return shift.apply(numbered(frames), severity, rng)[:, 0, 0, 0].tolist()


def scene(frames: int, speed: int = 1) -> np.ndarray:
    """A smooth picture that moves to the left by ``speed`` pixels a frame."""
    rows, columns = np.mgrid[0:32, 0 : 48 + speed * frames]
    picture = np.stack(
        (128 + 90 * np.sin(columns / 5), 60 + 4 * rows, 128 + 90 * np.cos(rows / 4)), axis=-1
    ).astype(np.uint8)
    return np.stack([picture[:, speed * t : speed * t + 48] for t in range(frames)])


def test_dropping_keeps_every_kth_frame_and_holds_it() -> None:
    assert shown(FrameDrop(), 7, 1) == [0, 0, 2, 2, 4, 4, 6]
    assert shown(FrameDrop(), 9, 2) == [0, 0, 0, 0, 4, 4, 4, 4, 8]
    for severity, step in enumerate(KEEP_EVERY, start=1):
        assert shown(FrameDrop(), 70, severity) == [t - t % step for t in range(70)]


def test_reversing_plays_the_dropped_clip_backwards() -> None:
    assert shown(FrameReverse(), 7, 1) == [6, 4, 4, 2, 2, 0, 0]
    for severity in range(1, 6):
        assert shown(FrameReverse(), 40, severity) == shown(FrameDrop(), 40, severity)[::-1]


@pytest.mark.parametrize("severity", [1, 2, 3, 4, 5])
def test_freezing_keeps_its_share_and_holds_each_until_the_next(severity: int) -> None:
    order = shown(FrameFreeze(), 200, severity)
    kept = sorted(set(order))
    assert len(kept) == 200 * KEEP_PERCENT[severity - 1] // 100
    for t, frame in enumerate(order):
        assert frame == max([k for k in kept if k <= t], default=kept[0])
    assert order != shown(FrameFreeze(), 200, severity, seed=1)


def test_freezing_keeps_one_frame_of_a_short_clip() -> None:
    for frames in (1, 2, 9):
        assert len(set(shown(FrameFreeze(), frames, 4))) == 1


@pytest.mark.parametrize("severity", [1, 2, 3, 4, 5])
def test_jumbling_shuffles_inside_segments_only(severity: int) -> None:
    length = SEGMENT[severity - 1]
    order = shown(FrameJumble(), 75, severity)
    assert order != list(range(75))
    for start in range(0, 75, length):
        segment = list(range(start, min(start + length, 75)))
        assert sorted(order[start : start + length]) == segment


def test_jumbling_moves_frames_less_far_at_higher_severity() -> None:
    far = [np.abs(np.array(shown(FrameJumble(), 96, s)) - np.arange(96)).max() for s in range(1, 6)]
    assert far == sorted(far, reverse=True)
    assert not FrameJumble.card.monotone
    assert not FrameFreeze.card.monotone


@pytest.mark.parametrize("kind", ORDERS)
@settings(max_examples=25, deadline=None)
@given(frames=st.integers(1, 80), severity=st.integers(1, 5), seed=st.integers(0, 2**32))
def test_orders_show_frames_of_the_clip(
    kind: type[FrameOrder], frames: int, severity: int, seed: int
) -> None:
    order = shown(kind(), frames, severity, seed)
    assert len(order) == frames
    assert set(order) <= set(range(frames))
    assert order == shown(kind(), frames, severity, seed)


def test_key_frames_are_plain_jpeg() -> None:
    item = scene(KEY_EVERY + 2)
    result = VideoCompressionJpeg().apply(item, 3, np.random.default_rng(0))
    for t in (0, KEY_EVERY):
        alone = JpegCompression().apply(item[t], 3, np.random.default_rng(0))
        np.testing.assert_array_equal(result[t], alone)
    second = JpegCompression().apply(item[1], 3, np.random.default_rng(0))
    assert (result[1] != second).any()


def test_still_clips_stay_still_and_near_the_key_frame() -> None:
    item = scene(1).repeat(KEY_EVERY, axis=0)
    result = VideoCompressionJpeg().apply(item, 5, np.random.default_rng(0)).astype(int)
    assert np.abs(np.diff(result, axis=0)).mean() < 1.0
    # What is coded later can only bring the picture nearer to the original.
    error = np.abs(result - item).mean(axis=(1, 2, 3))
    assert error[-1] <= error[0] + 0.5


@pytest.mark.parametrize("speed", [0, 1, 4])
def test_compression_loses_more_at_higher_severity_and_stays_near(speed: int) -> None:
    item = scene(KEY_EVERY + 4, speed)
    errors = [
        np.abs(VideoCompressionJpeg().apply(item, s, np.random.default_rng(0)) - item.astype(int))
        .mean()
        .item()
        for s in range(1, 6)
    ]
    assert 0.5 < errors[0] < errors[2] < errors[4] < 30


def segments_of(frames: int, seed: int, **options: Any) -> list[Any]:
    shift = TemporalSequence(SequenceOptions(**options))
    return shift.segments(frames, np.random.default_rng(seed))


@settings(max_examples=60, deadline=None)
@given(
    frames=st.integers(1, 40),
    most=st.integers(1, 6),
    clean=st.booleans(),
    seed=st.integers(0, 2**32),
)
def test_segments_cover_the_clip_under_different_shifts(
    frames: int, most: int, clean: bool, seed: int
) -> None:
    types = TYPES[:6]
    segments = segments_of(frames, seed, most=most, clean=clean, types=types)
    assert segments[0].start == 0
    assert segments[-1].stop == frames
    assert all(a.stop == b.start for a, b in itertools.pairwise(segments))
    assert all(s.start < s.stop for s in segments)
    kinds = [s.shift for s in segments if s.shift is not None]
    assert 1 <= len(kinds) == len(set(kinds)) <= min(most, frames)
    assert len(segments) - len(kinds) == int(clean and frames > len(kinds))


def test_every_number_of_types_every_order_and_every_place_of_the_clean_part_occurs() -> None:
    drawn = [segments_of(30, seed) for seed in range(300)]
    counts = np.bincount([sum(s.shift is not None for s in d) for d in drawn])
    assert counts.tolist()[0] == 0
    assert (counts[1:] > 70).all()  # 100 each on average
    assert {s.shift for d in drawn for s in d} == {None, *range(len(TYPES))}
    places = {[s.shift for s in d].index(None) for d in drawn if len(d) == 4}
    assert places == {0, 1, 2, 3}
    assert {d[0].stop for d in drawn} >= set(range(1, 26))


def test_segments_hold_what_their_shift_makes_and_clean_ones_the_clip() -> None:
    item = scene(20)
    shift = TemporalSequence(SequenceOptions(types=("contrast", "brightness"), most=2))
    for seed in range(10):
        result = shift.apply(item, 4, np.random.default_rng(seed))
        for part in shift.segments(20, np.random.default_rng(seed)):
            frames = slice(part.start, part.stop)
            expected = item[frames]
            if part.shift is not None:
                image_shift = make_shift(shift.options.types[part.shift], "image")
                rng = np.random.default_rng(0)
                expected = np.stack([image_shift.apply(f, 4, rng) for f in expected])
            np.testing.assert_array_equal(result[frames], expected)


def test_shared_draws_hold_within_a_segment() -> None:
    item = scene(1).repeat(12, axis=0)
    options = SequenceOptions(types=("gaussian_noise",), most=1, clean=False, temporal="shared")
    result = TemporalSequence(options).apply(item, 3, np.random.default_rng(0))
    assert (result == result[0]).all()
    assert (result != item).any()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"most": 0}, "1 to 15"),
        ({"most": 3, "types": ("fog",)}, "1 to 1"),
        ({"types": ()}, "at least one"),
        ({"types": ("fog", "fog", "snow")}, "none of them twice"),
        ({"temporal": "x"}, "independent"),
        ({"constants": "x"}, "mini64"),
    ],
)
def test_wrong_options_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ShiftError, match=message):
        SequenceOptions(**options)


def test_unknown_types_are_refused_with_the_nearest_names() -> None:
    with pytest.raises(ShiftError, match=r"no built-in image shift 'snw'.*snow"):
        TemporalSequence(SequenceOptions(types=("snw", "fog", "contrast")))
    with pytest.raises(ShiftError, match="photographs"):
        TemporalSequence(SequenceOptions(types=("frost",), most=1))
