"""Every built-in shift keeps the contract, and the contract notices who does not."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from shifts import BUILTINS
from shifts.audio.item import FULL_SCALE
from shifts.base import Audio, Composed, Shift, ShiftCard
from shifts.builtin import builtin_class
from shifts.image.base import ImageOptions
from shifts.image.frost import Frost, FrostOptions
from shifts.image.noise import GaussianNoise
from shifts.samples import arrays, equal, read_only
from shifts.testing import CHECKS, Factory, ShiftContract
from tests.shifts.common import apply, offline, problems, scatter

OPTIONS: dict[str, list[dict[str, str]]] = {
    "image": [{"constants": "reference"}, {"constants": "mini64"}],
    "text": [{}],
    "audio": [{"mode": "read"}, {"mode": "snr"}],
    "video": [{}],
    "composed": [{"part": part} for part in ("image", "text", "both")],
    "any": [{}],
}
CASES = [(name, options) for kind in OPTIONS for name in offline(kind) for options in OPTIONS[kind]]
CASES += [(f"video_{name}", {"temporal": "shared"}) for name in ("fog", "motion_blur")]


def maker(name: str, options: dict[str, str]) -> Factory:
    kind = builtin_class(name)
    return lambda: kind(kind.Options(**options))


@pytest.mark.parametrize(("name", "options"), CASES, ids=str)
def test_built_in_keeps_the_contract(name: str, options: dict[str, str]) -> None:
    assert problems(maker(name, options)) == {}


@pytest.mark.parametrize("name", ["glass_blur", "pixelate", "zoom_blur", "fog"])
def test_mm_variant_keeps_the_contract(name: str) -> None:
    # The mm glass is two blurs and draws nothing; an absolute square of 56 to 134 px leaves
    # images of this size almost as they are.
    known = {"glass_blur": {"draws only as declared"}, "pixelate": {"effect"}}
    assert set(problems(maker(name, {"variant": "mm"}))) <= known.get(name, set())


@pytest.mark.parametrize("name", BUILTINS)
def test_listing_and_card_agree(name: str) -> None:
    card = builtin_class(name).card
    assert card.name == name
    home = {"any": "base:", "composed": "composed:"}.get(card.modality, f"{card.modality}.")
    assert BUILTINS[name].startswith(f"shifts.{home}")
    if card.modality == "audio":
        assert card.exact == (not name.endswith("_procedural"))


def made_up_item(modality: str, height: int, width: int, seed: int) -> Any:
    """A picture, four frames with a side of at most a third, or a sound of as many samples."""
    if modality == "audio":
        samples = np.random.default_rng(seed).uniform(-1, 1, height * width)
        return Audio(samples.astype(np.float32), (1, 8000, 11_025, 48_000)[seed % 4])
    if modality == "video":
        height, width = height // 3 + 1, width // 3 + 1
        return scatter(4 * height, width, seed).reshape(4, height, width, 3)
    image = scatter(height, width, seed)
    return image if modality == "image" else Composed(image, "a red dress " * (seed % 9))


@pytest.mark.parametrize(
    ("name", "options"), [case for case in CASES if case[0] not in offline("text")], ids=str
)
@settings(max_examples=12)
@given(
    height=st.integers(1, 70),
    width=st.integers(1, 70),
    severity=st.integers(1, 5),
    seed=st.integers(0, 2**32),
)
def test_any_size_keeps_its_shape(
    name: str, options: dict[str, str], height: int, width: int, severity: int, seed: int
) -> None:
    make = maker(name, options)
    item = read_only(made_up_item(make().card.modality, height, width, seed))
    severity = min(severity, make().card.severities[-1])
    result = apply(make(), item, severity, seed)
    assert type(result) is type(item)
    for before, after in zip(arrays(item), arrays(result), strict=True):
        assert (after.shape, after.dtype) == (before.shape, before.dtype)
        assert not np.shares_memory(after, before)
    if isinstance(item, Audio) and name != "none":
        assert result.rate == item.rate
        steps = result.samples * FULL_SCALE
        np.testing.assert_array_equal(steps, np.rint(steps))
    assert equal(result, apply(make(), item, severity, seed))


def test_frost_keeps_the_contract_on_the_users_photographs(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    for number in range(3):
        photo = rng.integers(0, 256, (70, 90, 3), dtype=np.uint8)
        Image.fromarray(photo).save(tmp_path / f"{number}.png")
    assert problems(lambda: Frost(FrostOptions(photos=str(tmp_path)))) == {}


class TestAsAnOutsiderWouldUseIt(ShiftContract):
    shift_class = GaussianNoise


class TestWithOptions(ShiftContract):
    shift_class = GaussianNoise

    def make(self) -> Shift:
        return GaussianNoise(ImageOptions(constants="mini64"))


class Good(Shift):
    """The smallest shift that keeps the contract; the broken ones below are each one step away."""

    card = ShiftCard("dimmed", "image", (1, 2), "values divided", "none", randomised=False)

    def corrupt(self, item: Any, severity: int, rng: np.random.Generator) -> Any:
        return (item // (severity + 1)).astype(np.uint8)


def broken(corrupt: Callable[..., Any] | None = None, **changes: Any) -> type[Shift]:
    """``Good``, but for its operator or its card."""
    members: dict[str, Any] = {"card": replace(Good.card, **changes)}
    if corrupt is not None:
        members["corrupt"] = lambda self, item, severity, rng: corrupt(item, severity, rng)
    return type("Broken", (Good,), members)


class AnySeverity(Good):
    check_severity = classmethod(lambda cls, severity: None)


class AnyItem(Good):
    check_item = classmethod(lambda cls, item: None)

    def corrupt(self, item: Any, severity: int, rng: np.random.Generator) -> Any:
        return super().corrupt(np.asarray(item), severity, rng) if hasattr(item, "shape") else item


def in_place(item: Any, severity: int, rng: np.random.Generator) -> Any:
    item //= 2
    return item.copy()


def with_global_noise(item: Any, severity: int, rng: np.random.Generator) -> Any:
    noise = np.random.randint(0, 2, item.shape)  # noqa: NPY002 - the fault under test
    return (item // 2 + noise).astype(np.uint8)


CALLS = itertools.count(1)


def test_a_shift_of_a_few_lines_keeps_the_contract() -> None:
    assert problems(Good) == {}


@pytest.mark.parametrize(
    ("shift_class", "check"),
    [
        (broken(lambda item, *_: item.transpose(1, 0, 2).copy()), "kind and shape"),
        (broken(lambda item, *_: item / 2), "kind and shape"),
        (broken(lambda item, *_: item[::-1]), "kind and shape"),
        (broken(lambda item, *_: np.full_like(item, next(CALLS) % 251)), "determinism"),
        (broken(in_place), "input untouched"),
        (AnySeverity, "unknown severities refused"),
        (AnyItem, "wrong items refused"),
        (broken(with_global_noise), "no global generator"),
        (
            broken(lambda item, _, rng: rng.integers(0, 256, item.shape, np.uint8)),
            "draws only as declared",
        ),
        (broken(randomised=True), "draws only as declared"),
        (broken(lambda item, *_: item.copy(), monotone=False), "effect"),
        (broken(lambda item, severity, _: (item // (4 - severity)).astype(np.uint8)), "effect"),
        (broken(severities=(2, 1)), "card"),
    ],
)
def test_a_broken_shift_fails_the_check_that_names_its_fault(
    shift_class: type[Shift], check: str
) -> None:
    assert check in problems(shift_class)


def test_every_check_is_in_the_pytest_class() -> None:
    tests = [name for name in vars(ShiftContract) if name.startswith("test_")]
    assert len(tests) == len(CHECKS)


def test_a_shift_that_raises_is_reported_not_raised() -> None:
    assert problems(broken(lambda *_: 1 / 0))["kind and shape"] == (
        "ZeroDivisionError: division by zero"
    )


@pytest.mark.parametrize(
    "wrong", [{"severities": ()}, {"severities": ("1",)}, {"severities": [1]}, {"version": "1"}]
)
def test_a_card_of_wrong_types_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(TypeError, match="the card of 'dimmed'"):
        broken(**wrong)
