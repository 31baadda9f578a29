from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import pytest

from benchmark.errors import ConfigError, UnknownNameError
from benchmark.options import applicable, complete, convert, parse
from benchmark.preset import preset_names, resolve


@dataclass(frozen=True)
class Options:
    lr: float = 3e-4
    steps: int = 3
    refine: bool = True
    temperature: float | str = 0.02
    optimizer: str = field(default="adamw", metadata={"choices": ("adamw", "sgd")})
    cap: int | None = None

    def __post_init__(self) -> None:
        if self.steps < 1:
            raise ValueError("option 'steps' must be at least 1")


@dataclass(frozen=True)
class Nothing:
    pass


def write(folder: Path, text: str, name: str = "mini") -> Path:
    (folder / f"{name}.yaml").write_text(text)
    return folder


MINI = """
about: tuned on validation scenes
image:
  tent: {lr: 2e-3, steps: 1}
  source:
text:
  tent: {lr: 0.001}
"""


# Conversion


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
    found = convert(value, hint)
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
    with pytest.raises(ValueError, match=r"expected|cannot be given"):
        convert(value, hint)


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
    with pytest.raises(UnknownNameError, match="it has none"):
        parse(Nothing, {"lr": "1"}, "method 'source'")


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ({"lr": "fast"}, "option 'lr' of method 'tent': expected a finite number, not 'fast'"),
        ({"optimizer": "adam"}, "'adam'; did you mean 'adamw'"),
        ({"steps": "0"}, "method 'tent': option 'steps' must be at least 1"),
    ],
)
def test_wrong_values(values: dict[str, str], expected: str) -> None:
    with pytest.raises(ConfigError, match=expected):
        complete(Options, values, "method 'tent'")


def test_applicable_keeps_what_the_dataclass_has() -> None:
    assert applicable(Options, {"lr": 1, "constants": "mini64"}) == {"lr": 1}
    assert applicable(Nothing, {"lr": 1}) == {}


# Presets


def test_published_is_the_code_and_needs_no_file(tmp_path: Path) -> None:
    values, label = resolve("tent", Options, "published", "image", folder=tmp_path)
    assert label == "published"
    assert values["lr"] == 3e-4


def test_preset_per_modality(tmp_path: Path) -> None:
    write(tmp_path, MINI)
    image, label = resolve("tent", Options, "mini", "image", folder=tmp_path)
    text, _ = resolve("tent", Options, "mini", "text", folder=tmp_path)
    assert label == "mini"
    assert (image["lr"], image["steps"]) == (0.002, 1)
    assert (text["lr"], text["steps"]) == (0.001, 3)


def test_settings_by_hand_win_and_are_named(tmp_path: Path) -> None:
    write(tmp_path, MINI)
    values, label = resolve(
        "tent", Options, "mini", "image", {"steps": "5", "lr": "1e-4"}, folder=tmp_path
    )
    assert label == "mini+lr,steps"
    assert (values["lr"], values["steps"]) == (1e-4, 5)
    _, label = resolve("tent", Options, "published", "image", {"steps": "3"}, folder=tmp_path)
    assert label == "published+steps"


def test_falsy_settings_by_hand_count(tmp_path: Path) -> None:
    write(tmp_path, MINI)
    values, label = resolve("tent", Options, "mini", "image", {"refine": False}, folder=tmp_path)
    assert values["refine"] is False
    assert label == "mini+refine"


def test_method_that_the_preset_does_not_speak_of_says_published(tmp_path: Path) -> None:
    write(tmp_path, MINI)
    values, label = resolve("stranger", Options, "mini", "image", folder=tmp_path)
    assert (values["lr"], label) == (3e-4, "published")
    assert resolve("source", Nothing, "mini", "image", folder=tmp_path) == ({}, "mini")
    assert resolve("source", Nothing, "mini", "text", folder=tmp_path) == ({}, "published")


def test_absent_mini_preset_says_how_to_make_it(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"make tune.*PRESET=published"):
        resolve("tent", Options, "mini", "image", folder=tmp_path)


@pytest.mark.parametrize("name", ["mimi", "../mini", ""])
def test_unknown_preset(tmp_path: Path, name: str) -> None:
    write(tmp_path, MINI)
    with pytest.raises(ConfigError, match=r"no option preset.*known: published, mini"):
        resolve("tent", Options, name, "image", folder=tmp_path)


def test_modality_without_presets(tmp_path: Path) -> None:
    write(tmp_path, MINI)
    with pytest.raises(ConfigError, match="not 'smell'"):
        resolve("tent", Options, "mini", "smell", folder=tmp_path)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("- a", "expected a mapping"),
        ("images: {}", "unknown key 'images'; did you mean 'image'"),
        ("image: [tent]", "must map methods"),
        ("image: {tent: 3}", "must map methods"),
        ("image: {", "not a preset file"),
    ],
)
def test_malformed_preset_files(tmp_path: Path, text: str, expected: str) -> None:
    write(tmp_path, text)
    with pytest.raises(ConfigError, match=expected):
        resolve("tent", Options, "mini", "image", folder=tmp_path)


def test_preset_with_an_option_the_method_has_not(tmp_path: Path) -> None:
    write(tmp_path, "image: {tent: {rl: 1}}")
    with pytest.raises(UnknownNameError, match=r"mini\.yaml has no option 'rl'"):
        resolve("tent", Options, "mini", "image", folder=tmp_path)


def test_preset_names(tmp_path: Path) -> None:
    assert preset_names(tmp_path) == ("published",)
    assert preset_names(write(tmp_path, MINI)) == ("published", "mini")
