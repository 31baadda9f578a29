"""Every built-in image shift keeps the contract, and the contract notices who does not."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from shifts.base import Shift, ShiftCard
from shifts.builtin import builtin_class, names_of
from shifts.image.base import ImageOptions
from shifts.image.frost import Frost, FrostOptions
from shifts.image.noise import GaussianNoise
from shifts.testing import CHECKS, ShiftContract, run_contract

NAMES = names_of("image", "any")


def load(name: str) -> type[Shift]:
    return builtin_class(name)


def problems(shift_class: type[Shift], make: Any = None) -> dict[str, str]:
    return {r.check: r.problem for r in run_contract(shift_class, make) if not r.passed}


@pytest.mark.parametrize("constants", ["reference", "mini64"])
@pytest.mark.parametrize("name", [n for n in NAMES if n not in ("none", "frost")])
def test_built_in_keeps_the_contract(name: str, constants: str) -> None:
    shift_class = load(name)
    make = lambda: shift_class(shift_class.Options(constants=constants))  # noqa: E731
    assert problems(shift_class, make) == {}


@pytest.mark.parametrize("name", ["glass_blur", "pixelate", "zoom_blur", "fog"])
def test_mm_variant_keeps_the_contract(name: str) -> None:
    shift_class = load(name)
    found = problems(shift_class, lambda: shift_class(shift_class.Options(variant="mm")))
    # The mm glass is two blurs and draws nothing; an absolute square of 56 to 134 px leaves
    # images of this size almost as they are.
    assert set(found) <= {"glass_blur": {"draws only as declared"}, "pixelate": {"effect"}}.get(
        name, set()
    )


@pytest.mark.parametrize("name", NAMES)
def test_listing_and_card_agree(name: str) -> None:
    card = load(name).card
    assert card.name == name


def test_none_keeps_the_contract_of_a_shift_that_is_not_randomised() -> None:
    assert problems(load("none")) == {}


def test_frost_keeps_the_contract_on_the_users_photographs(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    for number in range(3):
        photo = rng.integers(0, 256, (70, 90, 3), dtype=np.uint8)
        Image.fromarray(photo).save(tmp_path / f"{number}.png")
    assert problems(Frost, lambda: Frost(FrostOptions(photos=str(tmp_path)))) == {}


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


def card(**changes: Any) -> ShiftCard:
    fields = {
        "name": "broken",
        "modality": "image",
        "severities": (1, 2),
        "summary": "broken on purpose",
        "source": "none",
        "randomised": False,
        "monotone": False,
    }
    return ShiftCard(**{**fields, **changes})


class OtherShape(Good):
    def corrupt(self, item: Any, severity: int, rng: np.random.Generator) -> Any:
        return np.ascontiguousarray(item.transpose(1, 0, 2))


class OtherType(Good):
    def corrupt(self, item: Any, severity: int, rng: np.random.Generator) -> Any:
        return item / 2


class Alias(Good):
    def corrupt(self, item: Any, severity: int, rng: np.random.Generator) -> Any:
        return item[::-1]


class Stateful(Good):
    def corrupt(self, item: Any, severity: int, rng: np.random.Generator) -> Any:
        self.calls = getattr(self, "calls", 0) + 1
        return np.full_like(item, self.calls % 251)


class InPlace(Good):
    def corrupt(self, item: Any, severity: int, rng: np.random.Generator) -> Any:
        item //= 2
        return item.copy()


class AnySeverity(Good):
    @classmethod
    def check_severity(cls, severity: object) -> None:
        return None


class AnyItem(Good):
    @classmethod
    def check_item(cls, item: object) -> None:
        return None

    def corrupt(self, item: Any, severity: int, rng: np.random.Generator) -> Any:
        return super().corrupt(np.asarray(item), severity, rng) if hasattr(item, "shape") else item


class Global(Good):
    def corrupt(self, item: Any, severity: int, rng: np.random.Generator) -> Any:
        noise = np.random.randint(0, 2, item.shape)  # noqa: NPY002 - the fault under test
        return (item // 2 + noise).astype(np.uint8)


class SecretlyRandom(Good):
    card = card()

    def corrupt(self, item: Any, severity: int, rng: np.random.Generator) -> Any:
        return rng.integers(0, 256, item.shape, dtype=np.uint8)


class NeverRandom(Good):
    card = card(randomised=True)


class NoEffect(Good):
    card = card()

    def corrupt(self, item: Any, severity: int, rng: np.random.Generator) -> Any:
        return item.copy()


class WrongWayRound(Good):
    def corrupt(self, item: Any, severity: int, rng: np.random.Generator) -> Any:
        return (item // (4 - severity)).astype(np.uint8)


class BadCard(Good):
    card = card(severities=(2, 1))


def test_a_shift_of_a_few_lines_keeps_the_contract() -> None:
    assert problems(Good) == {}


@pytest.mark.parametrize(
    ("shift_class", "check"),
    [
        (OtherShape, "kind and shape"),
        (OtherType, "kind and shape"),
        (Alias, "kind and shape"),
        (Stateful, "determinism"),
        (InPlace, "input untouched"),
        (AnySeverity, "unknown severities refused"),
        (AnyItem, "wrong items refused"),
        (Global, "no global generator"),
        (SecretlyRandom, "draws only as declared"),
        (NeverRandom, "draws only as declared"),
        (NoEffect, "effect"),
        (WrongWayRound, "effect"),
        (BadCard, "card"),
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
    class Raises(Good):
        def corrupt(self, item: Any, severity: int, rng: np.random.Generator) -> Any:
            raise ZeroDivisionError("no")

    assert problems(Raises)["kind and shape"] == "ZeroDivisionError: no"


@pytest.mark.parametrize(
    "wrong",
    [{"severities": ()}, {"severities": ("1",)}, {"severities": [1]}, {"version": "1"}],
)
def test_a_card_of_wrong_types_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(TypeError, match="the card of 'broken'"):
        card(**wrong)
