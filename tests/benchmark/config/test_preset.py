from __future__ import annotations

import dataclasses
import functools
from io import StringIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rich.console import Console

from benchmark.cell import MethodSpec, Record, Status
from benchmark.cli.bench import say_untuned
from benchmark.config import presets as preset
from benchmark.config.presets import Place, preset_names, published, tuned
from benchmark.config.run import BenchConfig
from benchmark.errors import ConfigError, UnknownNameError
from benchmark.planning.specs import untuned
from benchmark.registry import METHODS
from benchmark.report.boards import boards
from benchmark.report.frames import leaderboard
from benchmark.report.pools import benchmark_pools
from benchmark.report.results import CellResult
from benchmark.report.table import results_table
from tests.benchmark import fakes
from tests.benchmark.config.fixtures_options import Nothing, Options
from tests.benchmark.fakes import plan


@pytest.fixture
def shipped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Writes a preset; the test's own folder stands for that of the shipped ones."""
    monkeypatch.setattr(preset, "_FOLDER", tmp_path)
    return functools.partial(write, tmp_path)


def resolve(
    method: str, options: type, name: str, query: str, by_hand: Any = None
) -> tuple[dict[str, Any], str]:
    found = preset.resolve(method, options, name, Place(query), by_hand)
    return found.options, found.preset


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


# Presets


def test_published_is_the_code_and_needs_no_file(shipped) -> None:
    values, label = resolve("tent", Options, "published", "image")
    assert label == "published"
    assert values["lr"] == 3e-4


def test_preset_per_modality(shipped) -> None:
    shipped(MINI)
    image, label = resolve("tent", Options, "mini", "image")
    text, _ = resolve("tent", Options, "mini", "text")
    assert label == "mini"
    assert (image["lr"], image["steps"]) == (0.002, 1)
    assert (text["lr"], text["steps"]) == (0.001, 3)


def test_settings_by_hand_win_and_are_named(shipped) -> None:
    shipped(MINI)
    values, label = resolve("tent", Options, "mini", "image", {"steps": "5", "lr": "1e-4"})
    assert label == "mini+lr,steps"
    assert (values["lr"], values["steps"]) == (1e-4, 5)
    _, label = resolve("tent", Options, "published", "image", {"steps": "3"})
    assert label == "published+steps"
    values, label = resolve("tent", Options, "mini", "image", {"refine": False})
    assert (values["refine"], label) == (False, "mini+refine")


def test_method_that_the_preset_does_not_speak_of_says_published(shipped) -> None:
    shipped(MINI)
    values, label = resolve("stranger", Options, "mini", "image")
    assert (values["lr"], label) == (3e-4, "published")
    assert resolve("source", Nothing, "mini", "image") == ({}, "mini")
    assert resolve("source", Nothing, "mini", "text") == ({}, "published")


def test_absent_mini_preset_says_how_to_make_it(shipped) -> None:
    with pytest.raises(ConfigError, match=r"make tune.*PRESET=published"):
        resolve("tent", Options, "mini", "image")


@pytest.mark.parametrize("name", ["mimi", "../mini", ""])
def test_unknown_preset(shipped, name: str) -> None:
    shipped(MINI)
    with pytest.raises(ConfigError, match=r"unknown option preset.*known: published, mini"):
        resolve("tent", Options, name, "image")


def test_modality_without_presets(shipped) -> None:
    shipped(MINI)
    with pytest.raises(ConfigError, match="not 'smell'"):
        resolve("tent", Options, "mini", "smell")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("- a", "expected a mapping"),
        ("images: {}", r"mini\.yaml:1: unknown key 'images'; did you mean 'image'"),
        ("image: [tent]", "'image': expected a mapping"),
        ("image: {tent: 3}", "'tent': expected a mapping"),
        ("image: {", "not valid YAML"),
    ],
)
def test_malformed_preset_files(shipped, text: str, expected: str) -> None:
    shipped(text)
    with pytest.raises(ConfigError, match=expected):
        resolve("tent", Options, "mini", "image")


def test_preset_with_an_option_the_method_has_not(shipped) -> None:
    shipped("image: {tent: {rl: 1}}")
    with pytest.raises(UnknownNameError, match=r"mini\.yaml:1: method 'tent' has no option 'rl'"):
        resolve("tent", Options, "mini", "image")


def test_preset_names(shipped) -> None:
    assert preset_names() == ("published",)
    shipped(MINI)
    assert preset_names() == ("published", "mini")


# Published settings


@pytest.mark.parametrize(
    "method",
    ["tent", "eata", "sar", "read", "tcr", "rest", "shot", "deyo", "cotta", "memo", "roid"],
)
def test_blip_text_queries_have_their_own_learning_rate(method: str) -> None:
    for query, backbone, rate in (
        ("text", "blip", 3e-5),
        ("image", "blip", 3e-4),
        ("text", "open_clip", 3e-4),
    ):
        place = Place(query, "coco", backbone)
        found = preset.resolve(method, METHODS.get(method).Options, "published", place)
        assert found.options["lr"] == rate
        assert found.preset == "published"
        assert found.origins.get("lr") == ("published" if rate == 3e-5 else None)


@pytest.mark.parametrize(
    ("dataset", "temperature"),
    [("fashion-gen", 1e-3), ("cuhk-pedes", 1e-4), ("icfg-pedes", 1e-4), ("coco", 1e-2)],
)
def test_published_temperatures_by_data_set(dataset: str, temperature: float) -> None:
    for query in ("image", "text"):
        place = Place(query, dataset, "open_clip")
        for method in ("tent", "sar", "read", "eata"):
            found = preset.resolve(method, METHODS.get(method).Options, "published", place)
            assert found.options["temperature"] == temperature
        for method in ("tcr", "rest"):
            found = preset.resolve(method, METHODS.get(method).Options, "published", place)
            assert found.options["temperature"] == 0.02
    # Methods that TCR's repository has not are treated as those that it has; others are left alone.
    for method in ("shot", "come", "memo", "lame", "vte"):
        expected = {} if dataset == "coco" else {"temperature": temperature}
        assert published(method, place) == expected
    assert published("mine", place) == {}


def test_hat_vtrs_learning_rate_is_lower_for_text_and_its_queue_a_batch() -> None:
    options = METHODS.get("hat_vtr").Options
    for query, rate in (("text", 3e-5), ("video", 3e-4)):
        place = Place(query, "coco", "open_clip", batch_size=48)
        values = preset.resolve("hat_vtr", options, "published", place).options
        assert (values["lr"], values["queue_size"]) == (rate, 48)


def test_deyo_disturbs_texts_only_by_hand() -> None:
    options = METHODS.get("deyo").Options
    found = {
        query: preset.resolve("deyo", options, "published", Place(query, "coco")).options
        for query in ("image", "text")
    }
    for query, margin, kind in (("image", 0.0, "auto"), ("text", -1.0, "none")):
        assert found[query]["form"] == "tcr"
        assert (found[query]["plpd_margin"], found[query]["perturbation"]) == (margin, kind)
    mine = preset.resolve("deyo", options, "published", Place("text"), {"perturbation": "auto"})
    assert mine.options["perturbation"] == "auto"


def test_tcr_queue_is_as_long_as_a_batch_and_by_hand_wins() -> None:
    options = METHODS.get("tcr").Options
    place = Place("image", "coco", "open_clip", batch_size=16)
    assert preset.resolve("tcr", options, "published", place).options["queue_size"] == 16
    by_hand = preset.resolve("tcr", options, "published", place, {"queue_size": "5"})
    assert by_hand.options["queue_size"] == 5
    assert (by_hand.preset, by_hand.origins) == ("published+queue_size", {"queue_size": "by hand"})


def test_published_settings_reach_the_cells_of_the_paper_suite() -> None:
    def option(benchmark: str, method: str, name: str, **settings: Any) -> Any:
        config = BenchConfig(benchmark=(benchmark,), method=(method,), **settings)
        return next(c for c in plan(config) if c.method.name == method).method.options[name]

    blip = {"model": "blip:Salesforce/blip-itm-base-coco", "shift": ("char_swap",)}
    assert option("coco-c-text", "tcr", "lr", **blip) == 3e-5
    assert option("base2fashion-i2t", "tent", "temperature") == 1e-3
    assert option("cuhk2icfg-t2i", "sar", "temperature") == 1e-4
    assert option("base2coco-i2t", "tcr", "queue_size", batch_size=32) == 32
    assert option("base2coco-i2t", "eata", "form") == "tcr"
    assert option("mini-base2coco-i2t", "eata", "form") == "paper"  # the preset mini


# A preset file of the user's own, and what tables say


def test_a_file_extends_the_shipped_preset(shipped, tmp_path: Path) -> None:
    shipped("data: some-validation\n" + MINI)
    own = tmp_path / "own.yaml"
    own.write_text("data: my-validation\nextends: mini\nimage:\n  mine: {lr: 0.5}\n")
    place = Place("image")
    mine = preset.resolve("mine", Options, str(own), place)
    assert (mine.options["lr"], mine.preset) == (0.5, "own")
    assert tuned(mine.options, mine.origins) == "lr on my-validation"
    tent = preset.resolve("tent", Options, str(own), place, {"steps": 2})
    assert (tent.options["lr"], tent.preset) == (0.002, "mini+steps")
    assert tuned(tent.options, tent.origins) == "lr on some-validation; steps by hand"
    other = preset.resolve("other", Options, str(own), place)
    assert tuned(other.options, other.origins) == "untuned"
    assert tuned({}, {}) == ""


@pytest.mark.parametrize(
    ("text", "expected"),
    [(None, "there is no preset file"), ("extends: own.yaml", "extend one another")],
)
def test_files_that_cannot_be_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str | None, expected: str
) -> None:
    monkeypatch.chdir(tmp_path)
    if text is not None:
        Path("own.yaml").write_text(text)
    with pytest.raises(ConfigError, match=expected):
        preset.resolve("tent", Options, "own.yaml", Place("image"))


def test_untuned_methods_of_the_embedded_default_are_named() -> None:
    def names(**settings: Any) -> tuple[str, ...]:
        return untuned(plan(BenchConfig(method=("tent", "source"), **settings)))

    assert names() == ()
    assert names(preset="published") == ("tent",)
    assert names(preset="published", option={"lr": "0.01"}) == ()
    assert names(benchmark=("base2coco-i2t",)) == ()


def test_one_line_names_the_command_that_tunes() -> None:
    console = Console(file=StringIO(), width=60)
    say_untuned(console, plan(BenchConfig(method=("tent", "sar"), preset="published")))
    (line,) = console.file.getvalue().splitlines()
    assert "queryshift tune --method tent,sar" in line
    assert "--preset queryshift-preset.yaml" in line


def test_an_installed_method_without_the_options_of_a_rule_is_left_alone() -> None:
    found = preset.resolve("shot", Nothing, "published", Place("image", "fashion-gen"))
    assert (found.options, found.origins) == ({}, {})


def result(name: str, *options: str, origin: str = "") -> CellResult:
    """Of a method with these options, all chosen by or on this; "" for its own defaults."""
    origins = dict.fromkeys(options, origin) if origin else {}
    spec = MethodSpec(name, "mini", dict.fromkeys(options, 0.1), origins=origins)
    cell = dataclasses.replace(fakes.cell(), method=spec)
    record = Record("k", Status.DONE, cell.to_dict(), info={}, metrics={"R@1": 50.0})
    return CellResult(record, np.ones(4), np.arange(4), np.arange(4))


def test_many_different_answers_are_left_to_the_column() -> None:
    console = Console(file=StringIO(), width=200)
    tuned = [result(f"m{n}", f"option_of_m{n}", origin="mini-validation") for n in range(1, 8)]
    results = [result("m0", "option_of_m0"), *tuned]
    console.print(results_table(results))
    text = console.file.getvalue()
    assert "Options tuned: in column 'tuned' of leaderboard.csv, by method; not tuned: m0." in text
    assert "option_of_m1" not in text
    assert leaderboard(benchmark_pools(results))["tuned"].nunique() == 8


def test_every_table_says_per_method_what_was_tuned() -> None:
    tent = result("tent", "lr", origin="mini-validation")
    results = [result("source"), tent, result("mine", "lr")]
    console = Console(file=StringIO(), width=200)
    console.print(results_table(results))
    notes = " ".join(note for board in boards(benchmark_pools(results)) for note in board.notes)
    for text in (console.file.getvalue(), notes):
        assert "Options tuned: " in text
        assert "mine: untuned" in text
        assert "tent: lr on mini-validation" in text
    frame = leaderboard(benchmark_pools(results))
    assert dict(zip(frame["method"], frame["tuned"], strict=True)) == {
        "source": "",
        "tent": "lr on mini-validation",
        "mine": "untuned",
    }


def test_where_options_come_from_is_recorded_and_not_part_of_the_identity() -> None:
    cell = fakes.cell()
    spec = dataclasses.replace(cell.method, origins={"lr": "by hand"})
    other = dataclasses.replace(cell, method=spec)
    prints = {"data_fingerprint": "d", "backbone_fingerprint": "b"}
    assert other.key(**prints) == cell.key(**prints)
    assert other.to_dict()["method"]["origins"] == {"lr": "by hand"}


def test_fixed_options_hold_on_every_side_and_count_as_set_by_hand(tmp_path: Path) -> None:
    base, own = tmp_path / "base.yaml", tmp_path / "own.yaml"
    base.write_text("fixed: {memo: {views: 8, steps: 2}}\nimage: {memo: {lr: 0.1}}\n")
    own.write_text(
        f"extends: {base}\ndata: mine\nfixed: {{memo: {{views: 4}}}}\ntext: {{memo: {{lr: 0.2}}}}\n"
    )
    kind = METHODS.get("memo").Options
    image = preset.resolve("memo", kind, str(own), Place("image"))
    assert [image.options[n] for n in ("views", "steps", "lr")] == [4, 2, 0.1]
    assert image.origins == {"views": "by hand", "steps": "by hand", "lr": "base"}
    audio = preset.resolve("memo", kind, str(own), Place("audio"))
    assert (audio.options["views"], audio.preset) == (4, "published")
    own.write_text("fixed: {memo: {view: 4}}\n")
    with pytest.raises(ConfigError, match=r"own.yaml:1: .*no option 'view'; did you mean 'views'"):
        preset.resolve("memo", kind, str(own), Place("image"))
