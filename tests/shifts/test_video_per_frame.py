"""Image shifts frame by frame: one wrapper, independent or shared draws, and what it refuses."""

from __future__ import annotations

import dataclasses
import importlib
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from shifts.base import NoOptions, Shift, ShiftCard, ShiftError
from shifts.builtin import builtin_class, names_of
from shifts.video.per_frame import PerFrame, frame_generators, per_frame
from tests.shifts.common import apply, offline, problems

VIDEO = names_of("video")
IMAGE = names_of("image")


def clip(frames: int = 4, height: int = 20, width: int = 24, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    blocks = rng.integers(20, 236, (frames, height // 4, width // 4, 3), dtype=np.uint8)
    return blocks.repeat(4, axis=1).repeat(4, axis=2)


def test_every_image_shift_has_its_video_shift() -> None:
    assert {f"video_{name}" for name in IMAGE} <= set(VIDEO)
    for name in IMAGE:
        video, image = builtin_class(f"video_{name}"), builtin_class(name)
        assert issubclass(video, PerFrame)
        assert video.image_class is image
        assert video is per_frame(image)
        assert video is getattr(importlib.import_module(video.__module__), video.__qualname__)


@pytest.mark.parametrize("name", offline("image"))
def test_each_frame_is_the_image_shifts_result(name: str) -> None:
    item, severity = clip(3), 4
    generators = frame_generators(np.random.default_rng(5), 3, "independent")
    image_shift = builtin_class(name)()
    expected = [image_shift.apply(f, severity, g) for f, g in zip(item, generators, strict=True)]
    result = builtin_class(f"video_{name}")().apply(item, severity, np.random.default_rng(5))
    np.testing.assert_array_equal(result, expected)


@pytest.mark.parametrize("name", offline("image"))
def test_equal_frames_stay_equal_exactly_when_draws_are_shared(name: str) -> None:
    item = clip(1).repeat(5, axis=0)
    kind = builtin_class(f"video_{name}")
    shared = apply(kind(kind.Options(temporal="shared")), item, 4)
    assert (shared == shared[0]).all()
    independent = apply(kind(), item, 4)
    assert (independent == independent[0]).all() != kind.card.randomised
    assert kind.card.randomised == builtin_class(name).card.randomised
    # The first frame draws the same numbers either way.
    np.testing.assert_array_equal(independent[0], shared[0])


def test_a_frame_does_not_depend_on_how_many_follow() -> None:
    item = clip(6)
    shift = builtin_class("video_gaussian_noise")()
    long, short = (shift.apply(clip_, 3, np.random.default_rng(1)) for clip_ in (item, item[:2]))
    np.testing.assert_array_equal(long[:2], short)


def test_options_are_the_image_shifts_and_temporal() -> None:
    names = [field.name for field in dataclasses.fields(builtin_class("video_fog").Options)]
    assert names == [
        *(f.name for f in dataclasses.fields(builtin_class("fog").Options)),
        "temporal",
    ]
    kind = builtin_class("video_gaussian_blur")
    mild = apply(kind(kind.Options(constants="mini64")), clip(), 5)
    assert (mild != apply(kind(), clip(), 5)).any()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"temporal": "sometimes"}, "'independent', 'shared'"),
        ({"constants": "mini32"}, "constants"),
        ({"variant": "MM"}, "variant"),
    ],
)
def test_wrong_options_are_refused(options: dict[str, str], message: str) -> None:
    with pytest.raises(ShiftError, match=message):
        builtin_class("video_fog").Options(**options)


def test_imagenet224_crops_every_frame() -> None:
    kind = builtin_class("video_contrast")
    options = kind.Options(resolution_policy="imagenet224")
    assert apply(kind(options), clip(2, 40, 60), 1).shape == (2, 224, 224, 3)


def test_frost_on_video_needs_photographs_and_names_the_way_out(tmp_path: Path) -> None:
    kind = builtin_class("video_frost")
    with pytest.raises(ShiftError, match=r"'video_frost'.*frost_procedural.*begin with video_"):
        kind()
    Image.fromarray(clip(1)[0]).save(tmp_path / "a.png")
    shift = kind(kind.Options(photos=str(tmp_path)))
    assert apply(shift, clip(), 3).shape == clip().shape
    assert (
        shift.fingerprint
        == builtin_class("frost")(builtin_class("frost").Options(photos=str(tmp_path))).fingerprint
    )


@pytest.mark.parametrize("name", VIDEO)
def test_a_video_without_frames_is_one_clear_error(name: str, tmp_path: Path) -> None:
    Image.fromarray(clip(1)[0]).save(tmp_path / "a.png")
    kind = builtin_class(name)
    shift = kind(kind.Options(photos=str(tmp_path))) if name == "video_frost" else kind()
    with pytest.raises(ShiftError, match=f"'{name}' works on .* at least one frame"):
        shift.apply(clip()[:0], 1, np.random.default_rng(0))


def test_an_image_is_no_video() -> None:
    with pytest.raises(ShiftError, match=r"\(T, H, W, 3\).*shape \(20, 24, 3\)"):
        builtin_class("video_snow")().apply(clip()[0], 1, np.random.default_rng(0))


class Dim(Shift):
    """An outsider's image shift without options."""

    card = ShiftCard("dim", "image", (1, 2), "halved", "none", randomised=False)

    def corrupt(self, item: Any, severity: int, rng: np.random.Generator) -> Any:
        return item // (severity + 1)


def test_an_outsiders_image_shift_can_be_wrapped() -> None:
    kind = per_frame(Dim)
    assert kind.card.name == "video_dim"
    assert issubclass(kind.Options, NoOptions)
    assert problems(kind) == {}
    np.testing.assert_array_equal(apply(kind(), clip(), 1), clip() // 2)
    with pytest.raises(ShiftError, match="temporal"):
        kind.Options(temporal="never")


def test_listing_names_makes_no_video_class() -> None:
    script = (
        "import sys, shifts; sys.exit(any(m in sys.modules for m in ('numpy', 'shifts.video')))"
    )
    subprocess.run([sys.executable, "-c", script], check=True, cwd=Path(__file__).parents[2])
