from __future__ import annotations

from typing import Any, Literal

import pytest

from benchmark.config.presets import applicable, complete, parse
from benchmark.config.validate import check, from_text
from benchmark.errors import ConfigError, UnknownNameError
from tests.benchmark.config.fixtures_options import Nothing, Options


@pytest.mark.parametrize(
    ("value", "hint", "expected"),
    [
        ("1e-3", float, 0.001),
        (1, float, 1.0),
        ("7", int, 7),
        ("-2", int, -2),
        ("true", bool, True),
        ("Off", bool, False),
        (False, bool, False),
        ("learnt", float | str, "learnt"),
        ("0.5", float | str, 0.5),
        ("none", int | None, None),
        ("4", int | None, 4),
        ("b", Literal["a", "b"], "b"),
        ("2", Literal[1, 2], 2),
        ("1,2", tuple[int, ...], (1, 2)),
        ([1, "2"], tuple[int, ...], (1, 2)),
        ("3,x", tuple[int, str], (3, "x")),
    ],
)
def test_convert(value: Any, hint: Any, expected: Any) -> None:
    found = check(from_text(hint), value)
    assert found == expected
    assert type(found) is type(expected)


@pytest.mark.parametrize(
    ("value", "hint"),
    [
        ("fast", float),
        ("nan", float),
        ("inf", float),
        (True, float),
        ("3.5", int),
        (3.0, int),
        (True, int),
        ("maybe", bool),
        (1, bool),
        (5, str),
        (None, int),
        ("c", Literal["a", "b"]),
        (3, tuple[int, ...]),
        ("1,2,3", tuple[int, int]),
        ("x", dict),
    ],
)
def test_convert_refuses(value: Any, hint: Any) -> None:
    with pytest.raises(ConfigError, match=r"expected"):
        check(from_text(hint), value)


# Options


def test_complete_fills_in_defaults() -> None:
    assert complete(Options, {"lr": "1e-3", "refine": "no"}, "method 'tent'") == {
        "lr": 0.001,
        "steps": 3,
        "refine": False,
        "temperature": 0.02,
        "optimizer": "adamw",
        "cap": None,
    }


def test_unknown_option_names_the_nearest() -> None:
    with pytest.raises(UnknownNameError, match=r"method 'tent' has no option 'step'.*'steps'"):
        parse(Options, {"step": "1"}, "method 'tent'")


def test_option_of_a_thing_without_options() -> None:
    with pytest.raises(UnknownNameError, match="known: none"):
        parse(Nothing, {"lr": "1"}, "method 'source'")


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ({"lr": "fast"}, "option 'lr' of method 'tent': expected a finite number, not 'fast'"),
        ({"optimizer": "adam"}, "expected 'adamw' or 'sgd', not 'adam'; did you mean 'adamw'"),
        ({"steps": "0"}, "method 'tent': option 'steps' must be at least 1"),
    ],
)
def test_wrong_values(values: dict[str, str], expected: str) -> None:
    with pytest.raises(ConfigError, match=expected):
        complete(Options, values, "method 'tent'")


def test_applicable_keeps_what_the_dataclass_has() -> None:
    assert applicable(Options, {"lr": 1, "constants": "mini64"}) == {"lr": 1}
    assert applicable(Nothing, {"lr": 1}) == {}
