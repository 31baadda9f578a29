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
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from shifts.base import NoOptions, Shift, ShiftCard, ShiftError, item_generator
from shifts.builtin import builtin_class, names_of
from shifts.testing import run_contract
from shifts.video import per_frame as module
from shifts.video.per_frame import PerFrame, frame_generators, per_frame

VIDEO = names_of("video")
IMAGE = names_of("image")
NEEDS_PHOTOGRAPHS = "frost"


def load(name: str) -> Any:
    return builtin_class(name)


def clip(frames: int = 4, height: int = 20, width: int = 24, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    blocks = rng.integers(20, 236, (frames, height // 4, width // 4, 3), dtype=np.uint8)
    return blocks.repeat(4, axis=1).repeat(4, axis=2)


def apply(shift: Shift, item: np.ndarray, severity: int, seed: int = 0) -> np.ndarray:
    return shift.apply(item, severity, item_generator(seed, shift.card.name, severity, "v"))


def test_every_image_shift_has_its_video_shift() -> None:
    assert {f"video_{name}" for name in IMAGE} <= set(VIDEO)
    for name in IMAGE:
        video, image = load(f"video_{name}"), load(name)
        assert issubclass(video, PerFrame)
        assert video.image_class is image
        assert video is per_frame(image)
        assert video is getattr(importlib.import_module(video.__module__), video.__qualname__)


@pytest.mark.parametrize("name", [n for n in VIDEO if n != f"video_{NEEDS_PHOTOGRAPHS}"])
def test_built_in_keeps_the_contract(name: str) -> None:
    assert {r.check: r.problem for r in run_contract(load(name)) if not r.passed} == {}


@pytest.mark.parametrize("name", ["fog", "motion_blur"])
def test_shared_draws_keep_the_contract(name: str) -> None:
    kind = load(f"video_{name}")
    found = run_contract(kind, lambda: kind(kind.Options(temporal="shared")))
    assert {r.check: r.problem for r in found if not r.passed} == {}


@pytest.mark.parametrize("name", VIDEO)
def test_listing_and_card_agree(name: str) -> None:
    card = load(name).card
    assert (card.name, card.modality) == (name, "video")


@pytest.mark.parametrize("name", [n for n in IMAGE if n != NEEDS_PHOTOGRAPHS])
def test_each_frame_is_the_image_shifts_result(name: str) -> None:
    item, severity = clip(3), 4
    generators = frame_generators(np.random.default_rng(5), 3, "independent")
    image_shift = load(name)()
    expected = [image_shift.apply(f, severity, g) for f, g in zip(item, generators, strict=True)]
    result = load(f"video_{name}")().apply(item, severity, np.random.default_rng(5))
    np.testing.assert_array_equal(result, expected)


@pytest.mark.parametrize("name", [n for n in IMAGE if n != NEEDS_PHOTOGRAPHS])
def test_equal_frames_stay_equal_exactly_when_draws_are_shared(name: str) -> None:
    item = clip(1).repeat(5, axis=0)
    kind = load(f"video_{name}")
    shared = apply(kind(kind.Options(temporal="shared")), item, 4)
    assert (shared == shared[0]).all()
    independent = apply(kind(), item, 4)
    assert (independent == independent[0]).all() != kind.card.randomised
    assert kind.card.randomised == load(name).card.randomised
    # The first frame draws the same numbers either way.
    np.testing.assert_array_equal(independent[0], shared[0])


def test_a_frame_does_not_depend_on_how_many_follow() -> None:
    item = clip(6)
    shift = load("video_gaussian_noise")()
    long, short = (shift.apply(clip_, 3, np.random.default_rng(1)) for clip_ in (item, item[:2]))
    np.testing.assert_array_equal(long[:2], short)


def test_options_are_the_image_shifts_and_temporal() -> None:
    names = [field.name for field in dataclasses.fields(load("video_fog").Options)]
    assert names == [*(f.name for f in dataclasses.fields(load("fog").Options)), "temporal"]
    kind = load("video_gaussian_blur")
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
        load("video_fog").Options(**options)


def test_imagenet224_crops_every_frame() -> None:
    kind = load("video_contrast")
    options = kind.Options(resolution_policy="imagenet224")
    assert apply(kind(options), clip(2, 40, 60), 1).shape == (2, 224, 224, 3)


def test_frost_on_video_needs_photographs_and_names_the_way_out(tmp_path: Path) -> None:
    kind = load("video_frost")
    with pytest.raises(ShiftError, match=r"'video_frost'.*frost_procedural.*begin with video_"):
        kind()
    Image.fromarray(clip(1)[0]).save(tmp_path / "a.png")
    shift = kind(kind.Options(photos=str(tmp_path)))
    assert apply(shift, clip(), 3).shape == clip().shape
    assert (
        shift.fingerprint == load("frost")(load("frost").Options(photos=str(tmp_path))).fingerprint
    )


@pytest.mark.parametrize("name", VIDEO)
def test_a_video_without_frames_is_one_clear_error(name: str, tmp_path: Path) -> None:
    Image.fromarray(clip(1)[0]).save(tmp_path / "a.png")
    kind = load(name)
    shift = kind(kind.Options(photos=str(tmp_path))) if name == "video_frost" else kind()
    with pytest.raises(ShiftError, match=f"'{name}' works on .* at least one frame"):
        shift.apply(clip()[:0], 1, np.random.default_rng(0))


@pytest.mark.parametrize("severity", [0, 6, "high", True, None])
def test_other_severities_are_refused(severity: Any) -> None:
    with pytest.raises(ShiftError, match="'video_snow' has no severity"):
        load("video_snow")().apply(clip(), severity, np.random.default_rng(0))


def test_an_image_is_no_video() -> None:
    with pytest.raises(ShiftError, match=r"\(T, H, W, 3\).*shape \(20, 24, 3\)"):
        load("video_snow")().apply(clip()[0], 1, np.random.default_rng(0))


def test_an_unknown_class_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="VideoNothing"):
        module.VideoNothing  # noqa: B018


class Dim(Shift):
    """An outsider's image shift without options."""

    card = ShiftCard("dim", "image", (1, 2), "halved", "none", randomised=False)

    def corrupt(self, item: Any, severity: int, rng: np.random.Generator) -> Any:
        return item // (severity + 1)


def test_an_outsiders_image_shift_can_be_wrapped() -> None:
    kind = per_frame(Dim)
    assert kind.card.name == "video_dim"
    assert issubclass(kind.Options, NoOptions)
    assert {r.check: r.problem for r in run_contract(kind) if not r.passed} == {}
    np.testing.assert_array_equal(apply(kind(), clip(), 1), clip() // 2)
    with pytest.raises(ShiftError, match="temporal"):
        kind.Options(temporal="never")


@settings(max_examples=25, deadline=None)
@given(
    name=st.sampled_from([n for n in VIDEO if n != "video_frost"]),
    frames=st.integers(1, 7),
    height=st.integers(1, 24),
    width=st.integers(1, 24),
    severity=st.integers(1, 5),
    seed=st.integers(0, 2**32),
)
def test_shape_dtype_and_determinism(
    name: str, frames: int, height: int, width: int, severity: int, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    item = rng.integers(0, 256, (frames, height, width, 3), dtype=np.uint8)
    before = item.copy()
    result = apply(load(name)(), item, severity, seed)
    assert result.shape == item.shape
    assert result.dtype == np.uint8
    np.testing.assert_array_equal(item, before)
    np.testing.assert_array_equal(result, apply(load(name)(), item, severity, seed))


def test_listing_names_makes_no_video_class() -> None:
    script = (
        "import sys, shifts; sys.exit(any(m in sys.modules for m in ('numpy', 'shifts.video')))"
    )
    subprocess.run([sys.executable, "-c", script], check=True, cwd=Path(__file__).parents[2])
