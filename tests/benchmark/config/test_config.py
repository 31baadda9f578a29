"""Settings and options: one reader, flags over YAML over defaults, errors with their place."""

from __future__ import annotations

import argparse
import dataclasses
import enum
from typing import Any, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmark.config import run as config
from benchmark.config.presets import applicable, attributes, complete, parse
from benchmark.config.run import BenchConfig
from benchmark.config.validate import check, from_text
from benchmark.errors import ConfigError, UnknownNameError
from methods.options import option
from tests.benchmark.config.fixtures_options import Nothing, Options, resolve


class Level(enum.IntEnum):
    LOW, HIGH = 1, 2


def settings(*words: str, **preset) -> BenchConfig:
    parser = argparse.ArgumentParser(allow_abbrev=False)
    config.add_flags(parser)
    return resolve(parser.parse_args(words), **preset)


@pytest.fixture
def yaml_file(tmp_path):
    def write(text: str | bytes) -> str:
        path = tmp_path / "settings.yaml"
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return str(path)

    return write


def test_nothing_given_is_the_default():
    assert settings() == BenchConfig()


def test_every_setting_has_help_and_takes_its_default():
    for setting in dataclasses.fields(BenchConfig):
        assert attributes(BenchConfig)[setting.name]
        default = getattr(BenchConfig(), setting.name)
        if default not in (None, ()):
            assert check(config.KINDS[setting.name], default) == default


def test_flags_are_read():
    found = settings(
        *("--method", "tcr, rest,tcr", "--seed", "0-2,7", "--limit", "10", "--no-figures"),
        *("--option", "steps=1", "--option", "lr=1e-4"),
    )
    assert found.method == ("tcr", "rest")
    assert found.seed == (0, 1, 2, 7)
    assert found.limit == 10
    assert found.no_figures is True
    assert found.option == {"steps": "1", "lr": "1e-4"}


def test_order_is_default_preset_yaml_flag(yaml_file):
    path = yaml_file("seed: [1, 2]\nbatch-size: 8\nlimit: 5\n")
    found = settings("--config", path, "--limit", "3", seed=(9,), workers=2)
    assert (found.seed, found.batch_size, found.limit, found.workers) == ((1, 2), 8, 3, 2)


def test_yaml_keeps_the_types_of_options(yaml_file):
    path = yaml_file("option: {steps: 2, lr: 0.1, flag: true}\n")
    assert settings("--config", path).option == {"steps": 2, "lr": 0.1, "flag": True}


def test_an_option_by_flag_keeps_the_others_of_the_file(yaml_file):
    path = yaml_file("option: {steps: 2, lr: 0.1}\n")
    assert settings("--config", path, "--option", "steps=3").option == {"steps": "3", "lr": 0.1}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("method: rest\nsead: 1\n", r"settings\.yaml:2: .*'sead'; did you mean 'seed'"),
        ("\nseed: 1.5\n", r"settings\.yaml:2: 'seed': expected whole numbers"),
        ("seed: true\n", r"settings\.yaml:1: 'seed': expected whole numbers"),
        ("quiet: 1\n", r"settings\.yaml:1: 'quiet': expected true or false"),
        ("limit: 1e3\n", r"settings\.yaml:1: 'limit': expected a whole number"),
        ("method: [rest, 3]\n", r"settings\.yaml:1: 'method': expected a text, not 3"),
        ("transform: resise\n", r"did you mean 'resize'"),
        ("batch-size: 1\nbatch_size: 2\n", r"settings\.yaml:2: 'batch_size': given twice"),
        ("# nothing\n", "is empty"),
    ],
)
def test_a_mistake_in_yaml_is_one_error_with_its_place(yaml_file, text, said):
    with pytest.raises(ConfigError, match=said):
        settings("--config", yaml_file(text))


def test_a_missing_settings_file_is_named(tmp_path):
    with pytest.raises(ConfigError, match=r"nowhere\.yaml"):
        settings("--config", str(tmp_path / "nowhere.yaml"))


@pytest.mark.parametrize(
    "words",
    [
        ("--seed", "2-1"),
        ("--seed", "-1"),
        ("--seed", str(2**32)),
        ("--seed", "0-4000000000"),
        ("--severity", "five"),
        ("--limit", "0"),
        ("--method", ","),
        ("--option", "steps"),
        ("--option", "=1"),
        ("--if-exists", "never"),
    ],
)
def test_a_mistake_in_a_flag_names_the_flag(words):
    with pytest.raises(ConfigError, match=f"^{words[0]}: "):
        settings(f"{words[0]}={words[1]}")


def test_an_option_given_twice_is_refused():
    with pytest.raises(ConfigError, match="'lr' is given twice"):
        settings("--option", "lr=1", "--option", "lr=2")


def test_an_option_value_may_hold_an_equals_sign_or_be_empty():
    assert settings("--option", "a=b=c", "--option", "d=").option == {"a": "b=c", "d": ""}


@given(st.lists(st.integers(0, 1000), min_size=1, max_size=20))
def test_integers_survive_text_in_order_without_repeats(numbers):
    assert check(config.INTEGERS, ",".join(map(str, numbers))) == tuple(dict.fromkeys(numbers))


@given(st.integers(0, 5000), st.integers(0, 300))
def test_a_range_is_inclusive(first, more):
    assert check(config.INTEGERS, f"{first}-{first + more}") == tuple(
        range(first, first + more + 1)
    )


@given(st.text(max_size=12))
def test_no_text_makes_integers_fail_otherwise_than_declared(text):
    try:
        numbers = check(config.INTEGERS, text)
    except ConfigError:
        return
    assert numbers
    assert all(number >= 0 for number in numbers)


@pytest.mark.parametrize(
    ("value", "hint", "expected"),
    [
        ("1e-3", float, 0.001),
        ("7", int, 7),
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
        ("HIGH", Level, Level.HIGH),
        (2, Level, Level.HIGH),
    ],
)
def test_convert(value: Any, hint: Any, expected: Any) -> None:
    found = check(from_text(hint), value)
    assert found == expected
    assert type(found) is type(expected)


@pytest.mark.parametrize(
    ("value", "hint"),
    [
        ("nan", float),
        (True, float),
        ("3.5", int),
        (True, int),
        ("maybe", bool),
        (1, bool),
        (5, str),
        (None, int),
        ("c", Literal["a", "b"]),
        (3, Level),
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


def test_a_choice_is_a_number_however_it_is_written() -> None:
    kind = dataclasses.make_dataclass("K", [("k", float, option(1, "k", choices=(0.5, 1, 2.0)))])
    for text, value in {"2": 2.0, "0.50": 0.5, "1.0": 1}.items():
        assert complete(kind, {"k": text}, "") == {"k": value}


def test_applicable_keeps_what_the_dataclass_has() -> None:
    assert applicable(Options, {"lr": 1, "constants": "mini64"}) == {"lr": 1}
    assert applicable(Nothing, {"lr": 1}) == {}
