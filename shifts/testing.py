"""The contract that every shift keeps, as checks that outside packages can run on theirs.

Two ways in: subclass ``ShiftContract`` in a pytest module, or call ``run_contract``. Example::

    from shifts.testing import ShiftContract
    from my_package import Sepia

    class TestSepia(ShiftContract):
        shift_class = Sepia
"""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch

from shifts.base import Shift, ShiftError, item_generator

Factory = Callable[[], Shift]
Check = Callable[[Factory], None]

_IMAGE_SIZES = ((48, 56), (32, 32), (40, 33), (1, 40), (37, 1))
_TEXTS = (
    "a man riding a wave on top of a surfboard",
    "Two dogs, one black-and-white, run after a red ball.",
    "",
    "word",
    "\U0001f600 un gar\u00e7on souriant \u05e9\u05dc\u05d5\u05dd",
    "a plate with " + "very " * 60 + "fresh fruit",
)


@dataclass(frozen=True, slots=True)
class CheckResult:
    """Outcome of one check; ``problem`` is "" where it holds."""

    check: str
    problem: str

    @property
    def passed(self) -> bool:
        """Whether the check holds."""
        return not self.problem


def run_contract(shift_class: type[Shift], make: Factory | None = None) -> list[CheckResult]:
    """Runs every check on a shift; never raises for a check that fails.

    Args:
        shift_class: the class under test.
        make: builds an instance (default: ``shift_class()``); two calls must give equal shifts.

    Returns:
        One result per check, in the order of ``CHECKS``.
    """
    results = []
    for name, check in CHECKS.items():
        try:
            check(make or shift_class)
            problem = ""
        except Exception as error:  # a plugin may raise anything; the report names it
            problem = str(error) or type(error).__name__
            if not isinstance(error, AssertionError):
                problem = f"{type(error).__name__}: {problem}"
        results.append(CheckResult(name, problem))
    return results


class ShiftContract:
    """Pytest class with one test per check; set ``shift_class``, override ``make`` for options."""

    shift_class: ClassVar[type[Shift]]

    def make(self) -> Shift:
        """A fresh instance of the shift under test."""
        return self.shift_class()

    def test_card(self) -> None:
        check_card(self.make)

    def test_keeps_kind_and_shape(self) -> None:
        check_kind(self.make)

    def test_is_deterministic(self) -> None:
        check_determinism(self.make)

    def test_leaves_its_input_alone(self) -> None:
        check_input_untouched(self.make)

    def test_refuses_unknown_severities(self) -> None:
        check_bad_severity(self.make)

    def test_refuses_wrong_items(self) -> None:
        check_bad_item(self.make)

    def test_touches_no_global_generator(self) -> None:
        check_global_generators(self.make)

    def test_draws_only_as_declared(self) -> None:
        check_randomised(self.make)

    def test_changes_what_it_should(self) -> None:
        check_effect(self.make)


def sample_items(modality: str) -> list[Any]:
    """Items that a shift of this modality must work on: odd sizes, one pixel, empty text."""
    rng = np.random.default_rng(20)
    images = [rng.integers(0, 256, (*size, 3), dtype=np.uint8) for size in _IMAGE_SIZES]
    images[0] = _scene(*_IMAGE_SIZES[0])
    images.append(np.zeros((32, 32, 3), dtype=np.uint8))
    images.append(np.full((32, 32, 3), 255, dtype=np.uint8))
    if modality == "image":
        return images
    return list(_TEXTS) if modality == "text" else [*images, *_TEXTS]


def check_card(make: Factory) -> None:
    """The card is complete and its severities ascend."""
    card = make().card
    assert card.name, "the card has no name"
    assert re.fullmatch(r"[a-z][a-z0-9_]*", card.name), f"the name {card.name!r} is not lower_case"
    assert card.modality in ("image", "text", "any"), f"unknown modality {card.modality!r}"
    assert card.severities, "the card lists no severity"
    assert list(card.severities) == sorted(set(card.severities)), "severities do not ascend"
    assert card.summary, "the card has no summary"
    assert card.source, "the card has no source"
    assert card.version >= 1, "the version starts at 1"


def check_kind(make: Factory) -> None:
    """Text gives text; an image gives a uint8 image of the same shape, of its own memory."""
    for shift, item, severity in _cases(make):
        result = _apply(shift, item, severity)
        where = _where(item, severity)
        if isinstance(item, str):
            assert isinstance(result, str), f"{where}: got {type(result).__name__}, not str"
            continue
        assert isinstance(result, np.ndarray), f"{where}: got {type(result).__name__}"
        assert result.dtype == np.uint8, f"{where}: dtype {result.dtype}, not uint8"
        assert result.shape == item.shape, f"{where}: shape {result.shape}"
        assert not np.shares_memory(result, item), f"{where}: the result shares the input's memory"


def check_determinism(make: Factory) -> None:
    """Same item, severity and generator: same result, in any order and from any instance."""
    first = [_apply(shift, item, severity) for shift, item, severity in _cases(make)]
    again = [_apply(shift, item, severity) for shift, item, severity in reversed([*_cases(make)])]
    for case, one, other in zip(_cases(make), first, reversed(again), strict=True):
        assert _equal(one, other), f"{_where(*case[1:])}: a second run differs"
        assert _equal(one, _apply(make(), *case[1:])), f"{_where(*case[1:])}: new instance differs"


def check_input_untouched(make: Factory) -> None:
    """Works on arrays that cannot be written to, and so cannot change its input."""
    for shift, item, severity in _cases(make):
        if isinstance(item, str):
            continue
        frozen = item.copy()
        frozen.setflags(write=False)
        result = _apply(shift, frozen, severity)
        assert np.array_equal(frozen, item), f"{_where(item, severity)}: the input was changed"
        assert _equal(result, _apply(shift, item, severity)), (
            f"{_where(item, severity)}: a read-only input gives another result"
        )


def check_bad_severity(make: Factory) -> None:
    """A severity that the card does not list raises ShiftError."""
    shift = make()
    item = sample_items(shift.card.modality)[0]
    known = shift.card.severities
    for severity in (min(known) - 1, max(known) + 1, "high", True, 1.5, None):
        _expect_refusal(shift, item, severity, f"severity {severity!r}")


def check_bad_item(make: Factory) -> None:
    """An item of another kind raises ShiftError; a shift for any modality has nothing to refuse."""
    shift = make()
    image = np.zeros((32, 32, 3), dtype=np.uint8)
    wrong: list[Any] = [None, 7, b"bytes"]
    if shift.card.modality == "any":
        return
    if shift.card.modality == "image":
        wrong += ["text", image[..., 0], image.astype(np.float32), image[..., :2], image[:0]]
    else:
        wrong += [image, ["a", "list"]]
    for item in wrong:
        _expect_refusal(shift, item, shift.card.severities[0], f"an item {type(item).__name__}")


def check_global_generators(make: Factory) -> None:
    """The global generators of random, NumPy and torch are neither used nor seeded."""
    before = _global_states()
    for shift, item, severity in _cases(make):
        _apply(shift, item, severity)
        assert _global_states() == before, f"{_where(item, severity)}: a global generator moved"


def check_randomised(make: Factory) -> None:
    """``card.randomised`` is true exactly when the generator is used and matters."""
    differs = False
    for shift, item, severity in _cases(make):
        one, other = np.random.default_rng(1), np.random.default_rng(2)
        state = one.bit_generator.state
        results = shift.apply(item, severity, one), shift.apply(item, severity, other)
        if not shift.card.randomised:
            where = _where(item, severity)
            assert one.bit_generator.state == state, f"{where}: draws, but is not randomised"
        differs = differs or not _equal(*results)
    assert differs == make().card.randomised, (
        "declared as randomised, but generators make no difference"
        if not differs
        else "generators make a difference, but it is not declared as randomised"
    )


def check_effect(make: Factory) -> None:
    """Every severity changes some item; on images a monotone shift ends above where it starts."""
    shift = make()
    if shift.card.severities == (0,):
        for shift, item, severity in _cases(make):
            assert _equal(item, _apply(shift, item, severity)), "severity 0 is the clean item"
        return
    items = sample_items(shift.card.modality)
    for severity in shift.card.severities:
        assert any(not _equal(item, _apply(shift, item, severity)) for item in items), (
            f"severity {severity} changes none of the {len(items)} sample items"
        )
    if shift.card.monotone and shift.card.modality == "image":
        lowest, highest = shift.card.severities[0], shift.card.severities[-1]
        small, large = (_mean_change(shift, items[0], s) for s in (lowest, highest))
        assert len(shift.card.severities) == 1 or large > small, (
            f"severity {highest} changes a pixel by {large:.2f} levels, {lowest} by {small:.2f}"
        )


CHECKS: dict[str, Check] = {
    "card": check_card,
    "kind and shape": check_kind,
    "determinism": check_determinism,
    "input untouched": check_input_untouched,
    "unknown severities refused": check_bad_severity,
    "wrong items refused": check_bad_item,
    "no global generator": check_global_generators,
    "draws only as declared": check_randomised,
    "effect": check_effect,
}
"""Name -> check, in the order in which ``run_contract`` runs them."""


def _cases(make: Factory) -> Iterator[tuple[Shift, Any, int]]:
    shift = make()
    for item in sample_items(shift.card.modality):
        for severity in shift.card.severities:
            yield shift, item, severity


def _apply(shift: Shift, item: Any, severity: int) -> Any:
    return shift.apply(item, severity, item_generator(3, shift.card.name, severity, "item"))


def _scene(height: int, width: int) -> np.ndarray:
    """A picture with smooth areas, edges and colour; noise alone would hide what blurs do."""
    rows, columns = np.mgrid[0:height, 0:width]
    image = np.stack((60 + 2 * rows, 40 + 3 * columns, 200 - rows - columns), axis=-1)
    image[(rows - height // 2) ** 2 + (columns - width // 3) ** 2 < (height // 5) ** 2] = (
        220,
        40,
        30,
    )
    image[(rows // 7 + columns // 7) % 2 == 0] //= 2
    return np.clip(image, 0, 255).astype(np.uint8)


def _mean_change(shift: Shift, image: np.ndarray, severity: int) -> float:
    changes = [
        np.abs(shift.apply(image, severity, np.random.default_rng(n)).astype(int) - image).mean()
        for n in range(8)
    ]
    return float(np.mean(changes))


def _equal(one: Any, other: Any) -> bool:
    return bool(np.array_equal(one, other)) if isinstance(one, np.ndarray) else bool(one == other)


def _where(item: Any, severity: int) -> str:
    kind = (
        f"text {item[:20]!r}" if isinstance(item, str) else f"{item.shape[0]}x{item.shape[1]} image"
    )
    return f"{kind}, severity {severity}"


def _expect_refusal(shift: Shift, item: Any, severity: Any, what: str) -> None:
    try:
        shift.apply(item, severity, np.random.default_rng(0))
    except ShiftError:
        return
    raise AssertionError(f"{what} is not refused with ShiftError")


def _global_states() -> tuple[Any, ...]:
    state = np.random.get_state(legacy=False)  # noqa: NPY002 - read only, to see that nobody moved it
    return (
        random.getstate(),
        state["state"]["key"].tobytes(),
        state["state"]["pos"],
        torch.random.get_rng_state().numpy().tobytes(),
    )
