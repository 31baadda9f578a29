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

from shifts.base import Audio, Shift, ShiftError, item_generator
from shifts.samples import (
    MODALITIES,
    arrays,
    change,
    describe,
    equal,
    read_only,
    sample_items,
    wrong_items,
)

Factory = Callable[[], Shift]
Check = Callable[[Factory], None]


@dataclass(frozen=True, slots=True)
class CheckResult:
    """Outcome of one check; ``problem`` is "" where it holds."""

    check: str
    problem: str

    @property
    def passed(self) -> bool:
        """Whether the check holds."""
        return not self.problem

    @property
    def note(self) -> str:
        """What is wrong, or what the check means where it holds."""
        return self.problem or str(CHECKS[self.check].__doc__)


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


def check_card(make: Factory) -> None:
    """The card is complete and its severities ascend."""
    card = make().card
    assert card.name, "the card has no name"
    assert re.fullmatch(r"[a-z][a-z0-9_]*", card.name), f"the name {card.name!r} is not lower_case"
    assert card.modality in (*MODALITIES, "any"), f"unknown modality {card.modality!r}"
    assert card.severities, "the card lists no severity"
    assert list(card.severities) == sorted(set(card.severities)), "severities do not ascend"
    assert card.summary, "the card has no summary"
    assert card.source, "the card has no source"
    assert card.version >= 1, "the version starts at 1"


def check_kind(make: Factory) -> None:
    """The result is of the item's kind: same type, shapes and dtypes, but memory of its own."""
    for shift, item, severity in _cases(make):
        result = _apply(shift, item, severity)
        where = _where(item, severity)
        kind = type(item).__name__
        assert type(result) is type(item), f"{where}: got {type(result).__name__}, not {kind}"
        rate, same = getattr(result, "rate", None), getattr(item, "rate", None)
        assert rate == same, f"{where}: the rate became {rate}"
        for before, after in zip(arrays(item), arrays(result), strict=True):
            assert after.dtype == before.dtype, f"{where}: dtype {after.dtype}, not {before.dtype}"
            assert after.shape == before.shape, f"{where}: shape {after.shape}"
            shared = np.shares_memory(after, before)
            assert not shared, f"{where}: the result shares the input's memory"


def check_determinism(make: Factory) -> None:
    """Same item, severity and generator: same result, in any order and from any instance."""
    first = [_apply(shift, item, severity) for shift, item, severity in _cases(make)]
    again = [_apply(shift, item, severity) for shift, item, severity in reversed([*_cases(make)])]
    for case, one, other in zip(_cases(make), first, reversed(again), strict=True):
        assert equal(one, other), f"{_where(*case[1:])}: a second run differs"
        assert equal(one, _apply(make(), *case[1:])), f"{_where(*case[1:])}: new instance differs"


def check_input_untouched(make: Factory) -> None:
    """Works on arrays that cannot be written to, and so cannot change its input."""
    for shift, item, severity in _cases(make):
        if not arrays(item):
            continue
        frozen = read_only(item)
        result = _apply(shift, frozen, severity)
        assert equal(frozen, item), f"{_where(item, severity)}: the input was changed"
        assert equal(result, _apply(shift, item, severity)), (
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
    for item in wrong_items(shift.card.modality):
        _expect_refusal(shift, item, shift.card.severities[0], f"an item ({_wrong(item)})")


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
        differs = differs or not equal(*results)
    assert differs == make().card.randomised, (
        "declared as randomised, but generators make no difference"
        if not differs
        else "generators make a difference, but it is not declared as randomised"
    )


def check_effect(make: Factory) -> None:
    """Every severity changes some item; a monotone shift changes more at its highest (not text)."""
    shift = make()
    if shift.card.severities == (0,):
        for shift, item, severity in _cases(make):
            assert equal(item, _apply(shift, item, severity)), "severity 0 is the clean item"
        return
    items = sample_items(shift.card.modality)
    for severity in shift.card.severities:
        # A draw may happen to change nothing (two frames that keep their order): try several.
        tries = ((item, np.random.default_rng(n)) for n in range(4) for item in items)
        assert any(not equal(item, shift.apply(item, severity, rng)) for item, rng in tries), (
            f"severity {severity} changes none of the {len(items)} sample items"
        )
    if shift.card.monotone and arrays(items[0]):
        lowest, highest = shift.card.severities[0], shift.card.severities[-1]
        small, large = (_mean_change(shift, items[0], s) for s in (lowest, highest))
        assert len(shift.card.severities) == 1 or large > small, (
            f"severity {highest} changes a value by {large:.3g} on average, {lowest} by {small:.3g}"
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


def _mean_change(shift: Shift, item: Any, severity: int) -> float:
    results = (shift.apply(item, severity, np.random.default_rng(n)) for n in range(8))
    return float(np.mean([change(item, result) for result in results]))


def _where(item: Any, severity: int) -> str:
    return f"{describe(item)}, severity {severity}"


def _wrong(item: Any) -> str:
    known = isinstance(item, str | np.ndarray | Audio)
    return describe(item) if known else type(item).__name__


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
