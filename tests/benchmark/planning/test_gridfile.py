"""Grid files: what they may say, each mistake with its line, and the cells that they make."""

from __future__ import annotations

import argparse
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from benchmark.config.run import BenchConfig
from benchmark.data.card import load_suite
from benchmark.errors import ConfigError, UnknownNameError
from benchmark.planning.gridfile import (
    GridFile,
    grid_names,
    grid_path,
    plan_grid,
    read_grid,
    settings_of,
)
from benchmark.planning.plan import Plan
from benchmark.planning.specs import given
from methods import BUILTINS
from tests.benchmark.fakes import plan


@pytest.fixture
def read(tmp_path):
    def from_text(text: str) -> GridFile:
        path = tmp_path / "my.yaml"
        path.write_text(text, encoding="utf-8")
        return read_grid(path)

    return from_text


def test_every_bundled_grid_can_be_read():
    assert "mini" in grid_names()
    for name in grid_names():
        assert read_grid(grid_path(name)).path.stem == name


def test_methods_may_carry_options_whose_lists_are_sweeps(read):
    grid = read("method:\n  - source\n  - tent:\n      lr: [0.1, 1e-2]\n      steps: [3, 4]\n")
    source, tent = grid.settings["method"].value
    assert (source.name, source.variants()) == ("source", [{}])
    found = [(one["lr"], one["steps"]) for one in tent.variants()]
    assert found == [(0.1, 3), (0.1, 4), (1e-2, 3), (1e-2, 4)]
    assert tent.where.endswith("my.yaml:3")
    assert str(tent) == "tent (lr=0.1|0.01, steps=3|4)"


def test_other_settings_are_those_of_a_run_with_their_places(read):
    grid = read("# a comment\nseed: 0-2\nbatch-size: 32\nbenchmark: [base2flickr]\n")
    assert grid.settings["seed"].value == (0, 1, 2)
    assert grid.settings["seed"].origin.endswith("my.yaml:2")
    assert grid.settings["batch_size"].value == 32
    assert grid.settings["benchmark"].value == ("base2flickr",)


def test_includes_and_excludes(read):
    grid = read(
        "method: tent\n"
        "include:\n  - {method: [tcr], seed: 5}\n"
        "exclude:\n  - {shift: gaussian, severity: [1, 2]}\n  - {benchmark: 'mini-*'}\n"
    )
    (include,) = grid.includes
    assert [entry.name for entry in include["method"].value] == ["tcr"]
    assert include["seed"].value == (5,)
    assert grid.exclude[0].value == {"shift": ("gaussian_noise",), "severity": (1, 2)}
    assert grid.exclude[1].origin.endswith("my.yaml:6")


@pytest.mark.parametrize(
    ("text", "line", "said"),
    [
        ("seed: 0\nmethods: tent\n", 2, "unknown key 'methods'; did you mean 'method'"),
        ("seed: 1.5\n", 1, "'seed': expected whole numbers"),
        ("seed: 0\nlimit: many\n", 2, "'limit': expected a whole number"),
        ("method:\n  - source\n  - tnet\n", 3, "unknown method 'tnet'; did you mean 'tent'"),
        ("method:\n  - tent: 3\n", 2, "'tent': expected a mapping (KEY: VALUE), not 3"),
        ("method:\n  - tent: {lr: []}\n", 2, "'lr': expected a list that is not empty"),
        ("method:\n  - all: {lr: 1}\n", 2, "'all' takes no options"),
        ("method:\n  - {tent: {}, tcr: {}}\n", 2, "expected a name, or one name with its options"),
        ("method: 3\n", 1, "'method': expected a list, not 3"),
        ("method: 'tent,,tcr'\n", 1, "'method': expected a text that is not empty"),
        ("benchmark:\n  - base2flickr\n  - coco\n", 3, "unknown benchmark 'coco'"),
        ("shift: [contrast, gausian]\n", 1, "unknown shift 'gausian'; did you mean"),
        ("stream: [singel]\n", 1, "stream kind 'singel' does not exist; did you mean 'single'"),
        (
            "stream:\n  - diverse: {domains: 3}\n",
            2,
            "stream 'diverse' has no option 'domains'; did you mean 'domains_",
        ),
        ("model:\n  - ViT-B-32: {tag: x}\n", 2, "model 'ViT-B-32' has no option 'tag'"),
        ("suite: minni\n", 1, "unknown suite 'minni'; did you mean 'mini'"),
        ("preset: publisht\n", 1, "unknown option preset 'publisht'; did you mean 'published'"),
        ("seed: 0\ninclude:\n  - {workers: 3}\n", 3, "unknown key 'workers'"),
        ("include:\n  - {}\n", 2, "'include': expected a mapping that is not empty"),
        ("exclude:\n  - {method: tnet}\n", 2, "unknown method 'tnet'; did you mean 'tent'"),
        ("exclude:\n  - {benchmark: 'cocoo*'}\n", 2, "unknown benchmark 'cocoo*'; did you mean"),
        ("exclude: [{stream: Single}]\n", 1, "unknown stream 'Single'; did you mean 'single'"),
        ("exclude:\n  - {metod: tent}\n", 2, "unknown key 'metod'; did you mean 'method'"),
    ],
)
def test_a_mistake_is_one_error_with_file_and_line(read, text, line, said):
    with pytest.raises(ConfigError) as error:
        read(text)
    assert f"my.yaml:{line}: " in str(error.value)
    assert said in str(error.value)


def test_an_unknown_grid_is_said_with_the_nearest():
    with pytest.raises(UnknownNameError, match="unknown grid 'minni'; did you mean 'mini'"):
        grid_path("minni")
    assert grid_path("own/grid.yaml") == Path("own/grid.yaml")


IMAGE, TEXT = "mini-coco-c-image", "mini-coco-c-text"
SMALL = f"preset: published\ndevice: cpu\nbenchmark: [{IMAGE}]\nshift: [contrast]\n"


@pytest.fixture
def planned(tmp_path):
    def from_text(text: str, **flags: str) -> Plan:
        path = tmp_path / "my.yaml"
        path.write_text(text, encoding="utf-8")
        return plan_grid(read_grid(path), argparse.Namespace(**flags))

    return from_text


def methods(grid: Plan) -> list[str]:
    return [p.cell.method.name for p in grid.cells]


@pytest.mark.parametrize(
    ("name", "seeds", "twins"),
    [
        ("mini", {0}, {"tcr", "rest"}),
        ("leaderboard", {0, 1, 2}, {"tent", "eata", "sar", "read", "tcr", "rest"}),
    ],
)
def test_the_board_is_every_method_and_the_twins_on_every_benchmark(name, seeds, twins):
    grid = plan_grid(read_grid(grid_path(name)), argparse.Namespace(device="cpu"))
    cards = load_suite("mini").benchmarks
    assert {p.cell.benchmark for p in grid.cells} == {card.id for card in cards}
    assert not any(p.reason for p in grid.cells)
    labels = {p.cell.method.label for p in grid.cells}
    centred = {label for label in labels if "[centred]" in label}
    assert centred == {f"{name}[centred]" for name in twins}
    plain = {label.partition("[")[0] for label in labels}
    assert plain == set(BUILTINS) - {"bn_adapt"}  # no embedded encoder has BatchNorm
    assert len(grid.cells) == len(labels) * len(seeds) * sum(len(card.shifts) for card in cards)
    assert {p.cell.seed for p in grid.cells} == seeds
    assert {p.cell.shift.severity for p in grid.cells if p.cell.benchmark == IMAGE} == {5}


def test_its_cells_are_those_of_bench(planned):
    own = planned(SMALL + "method: [tent, tcr]\nseed: 0-1\nseverity: [1, 5]\n")
    config = BenchConfig(
        preset="published",
        device="cpu",
        benchmark=(IMAGE,),
        shift=("contrast",),
        method=("tent", "tcr"),
        seed=(0, 1),
        severity=(1, 5),
    )
    by_text = sorted(str(cell) for cell in plan(config))
    assert sorted(str(p.cell) for p in own.cells) == by_text
    assert len(by_text) == 3 * 2 * 2


def test_swept_options_make_variants_and_source_runs_once(planned):
    grid = planned(SMALL + "method:\n  - tent: {lr: [1e-3, 0.01], steps: [1]}\n  - tent\n")
    assert methods(grid) == ["source", "tent", "tent", "tent"]
    labels = [(p.cell.method.preset, p.cell.method.options.get("lr")) for p in grid.cells[1:]]
    assert labels[:2] == [("published+lr,steps", 0.001), ("published+lr,steps", 0.01)]
    assert labels[2][0] == "published"


def test_flags_win_everywhere_and_are_named_as_the_origin(planned, tmp_path):
    text = SMALL + "method:\n  - tent: {lr: 0.5}\ninclude:\n  - {seed: 7, limit: 10}\n"
    flags: dict[str, Any] = {"seed": "3", "option": ["lr=0.25"], "method": "tent,tcr"}
    grid = planned(text, **flags)
    assert {p.cell.seed for p in grid.cells} == {3}
    assert {p.cell.method.options.get("lr") for p in grid.cells} == {None, 0.25}
    assert Counter(p.cell.limit for p in grid.cells) == {None: 3, 10: 3}
    settings = settings_of(read_grid(tmp_path / "my.yaml"), argparse.Namespace(**flags))
    assert settings["seed"].origin == "--seed"
    assert settings["shift"].origin.endswith("my.yaml:4")
    assert settings["workers"].origin == "default"
    assert grid.config.seed == (3,)
    own = settings_of(read_grid(tmp_path / "my.yaml"), argparse.Namespace())
    assert [str(entry) for entry in own["method"].value] == ["tent (lr=0.5)"]


def test_an_options_own_value_wins_over_the_files_and_loses_to_a_flag(planned):
    text = SMALL + "option: {lr: 0.1}\nmethod:\n  - tent: {lr: 0.5}\n  - tcr\n"
    assert [p.cell.method.options.get("lr") for p in planned(text).cells] == [None, 0.5, 0.1]
    flagged = planned(text, option=["lr=0.3"])
    assert [p.cell.method.options.get("lr") for p in flagged.cells] == [None, 0.3, 0.3]


def test_a_shift_on_the_wrong_queries_is_skipped_with_the_reason(planned):
    text = "device: cpu\npreset: published\nmethod: source\n"
    grid = planned(text + f"benchmark: [{IMAGE}, {TEXT}]\nshift: [contrast, char_swap]\n")
    reasons = {(p.cell.benchmark, p.cell.shift.name): p.reason for p in grid.cells}
    assert reasons == {
        (IMAGE, "contrast"): "",
        (IMAGE, "char_swap"): f"shift 'char_swap' works on text queries; {IMAGE!r} has image ones",
        (TEXT, "contrast"): f"shift 'contrast' works on image queries; {TEXT!r} has text ones",
        (TEXT, "char_swap"): "",
    }


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("benchmark: base2flickr\nshift: contrast\n", "there nothing is corrupted"),
        ("benchmark: cirr-c\nmodel: mini\n", "backbone 'mini' encodes image, text; 'cirr-c'"),
        (f"benchmark: {IMAGE}\nshift: contrast\nseverity: 9\n", "has no severity 9"),
        (f"benchmark: {IMAGE}\nshift: contrast\nstream: continual\n", "needs at least 2 domains"),
        (f"benchmark: {IMAGE}\nshift: none\nstream: gradual\n", "needs at least 2 severities"),
        (
            f"benchmark: {IMAGE}\nshift: [contrast, char_swap]\nstream: mixed\n",
            "shift 'char_swap' works on text queries",
        ),
    ],
)
def test_other_impossible_combinations_are_skipped_too(planned, text, said):
    grid = planned("device: cpu\npreset: published\nmethod: tent\n" + text)
    assert grid.cells
    assert all(said in p.reason for p in grid.cells)


def test_all_and_a_named_shift_add_up(planned):
    grid = planned(f"device: cpu\nmethod: source\nbenchmark: {TEXT}\nshift: [all, none]\n")
    assert [p.cell.shift.name for p in grid.cells] == [
        *("char_swap", "char_insert", "char_delete", "none")
    ]


def test_streams_carry_options_and_batch_sizes(planned):
    text = SMALL + (
        "method: source\nstream:\n"
        "  - single: {batch_size: [16, 32]}\n"
        "  - correlated: {group_key: image, delta: [0.1, 10]}\n"
    )
    found = [(s.kind, s.batch_size, s.delta) for s in (p.cell.stream for p in planned(text).cells)]
    assert found == [
        *[("single", 16, 0.1), ("single", 32, 0.1)],
        *[("correlated", 64, 0.1), ("correlated", 64, 10.0)],
    ]


def test_models_are_an_axis(planned):
    text = SMALL + "method: source\nmodel:\n  - default\n  - ViT-B-32: {pretrained: [a, b]}\n"
    backbones = [p.cell.backbone for p in planned(text).cells]
    assert [(b.loader, b.model, b.pretrained) for b in backbones] == [
        *[("mini", "", ""), ("open_clip", "ViT-B-32", "a"), ("open_clip", "ViT-B-32", "b")]
    ]


def test_interleaved_streams_join_their_benchmarks(planned):
    text = "device: cpu\nmethod: source\nstream: interleaved\nshift: contrast\nsuite: paper\n"
    grid = planned(text + "benchmark: [coco-c-image, flickr-c-image]\n")
    assert [p.cell.benchmark for p in grid.cells] == ["coco-c-image+flickr-c-image"]
    with pytest.raises(ConfigError, match=r"my\.yaml:3: shift 'contrast' works on image"):
        planned(text + "benchmark: [coco-c-image, coco-c-text]\n")


def test_excluded_cells_are_left_out(planned):
    text = SMALL + (
        "method: [tent, tcr]\nseed: 0-2\nseverity: [1, 3]\n"
        "exclude:\n  - {method: t*, severity: 1}\n  - {method: tcr, seed: [0, 1]}\n"
    )
    found = [(p.cell.method.name, p.cell.shift.severity, p.cell.seed) for p in planned(text).cells]
    assert sorted(found) == sorted(
        [
            *[("source", severity, seed) for severity in (1, 3) for seed in range(3)],
            *[("tent", 3, seed) for seed in range(3)],
            ("tcr", 3, 2),
        ]
    )
    with pytest.raises(ConfigError, match="nothing is left of the grid"):
        planned(SMALL + "exclude:\n  - {method: '*'}\n")


def test_a_severity_that_no_shift_has_is_said_of_the_shift(planned):
    grid = planned(SMALL + "method: source\n", shift="contrast,none", severity="9")
    assert ["no severity 9" in p.reason for p in grid.cells] == [True, False]


@pytest.mark.parametrize("rule", ["{seed: 7}", "{model: no-such}", "{method: source, seed: 1}"])
def test_a_rule_that_excludes_nothing_is_refused_unless_a_flag_picks_cells(planned, rule):
    text = SMALL + f"exclude:\n  - {{seed: 3}}\n  - {rule}\nmethod: tent\nseed: [0, 3]\n"
    with pytest.raises(ConfigError, match=r"my\.yaml:7: this excludes no cell of the grid"):
        planned(text)
    assert planned(text, seed="0", threads="1").cells


@pytest.mark.parametrize(
    ("text", "line", "said"),
    [
        ("option: {lr: [1, 2]}", 5, "option 'lr' of method 'tent': expected a finite number"),
        ("option: {lrr: 1}", 5, "none of the methods has an option 'lrr'; did you mean 'lr'"),
        ("shift_option: {size: 1}", 5, "shift 'contrast' has no option 'size'"),
        ("stream: correlated\nstream_option: {delta: x}", 6, "option 'delta' of stream"),
    ],
)
def test_a_fault_in_options_for_all_is_said_with_its_line(planned, text, line, said):
    with pytest.raises(ConfigError, match=said) as error:
        planned(SMALL + text + "\nmethod: [tent, tcr]\n")
    assert f"my.yaml:{line}: " in str(error.value)


def test_names_in_a_file_of_settings_and_in_flags_are_looked_up_where_they_stand(tmp_path):
    (tmp_path / "run.yaml").write_text("seed: 1\nmethod: tnet\n", encoding="utf-8")
    with pytest.raises(ConfigError, match=r"run\.yaml:2: 'method': unknown method 'tnet'; did"):
        given(argparse.Namespace(config=str(tmp_path / "run.yaml")))
    with pytest.raises(ConfigError, match="--shift: unknown shift 'gausian'; did you mean"):
        given(argparse.Namespace(shift="all,gausian"))
    assert given(argparse.Namespace(suite="", preset=""))["suite"].value == ""


def test_a_row_stands_for_both_of_its_directions_also_in_excludes(planned):
    text = "device: cpu\nmethod: source\nbenchmark: [base2flickr, base2coco]\n"
    assert [p.cell.benchmark for p in planned(text).cells] == [
        *("base2flickr-i2t", "base2flickr-t2i", "base2coco-i2t", "base2coco-t2i")
    ]
    left = planned(text + "exclude:\n  - {benchmark: base2coco}\n")
    assert left.rows == dict.fromkeys(("base2flickr-i2t", "base2flickr-t2i"), "base2flickr")


def test_an_include_adds_its_combinations_once(planned):
    text = f"method: tent\ninclude:\n  - {{benchmark: {TEXT}, shift: char_swap}}\n  - {{seed: 0}}\n"
    text = SMALL + text
    grid = planned(text)
    assert [(p.cell.benchmark, p.cell.method.name) for p in grid.cells] == [
        *[(IMAGE, "source"), (IMAGE, "tent"), (TEXT, "source"), (TEXT, "tent")]
    ]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("method:\n  - tent: {lrr: 1}\n", r"my\.yaml:6: method 'tent' has no option"),
        ("method:\n  - tent: {lr: [1, x]}\n", r"my\.yaml:6: option 'lr' of method"),
        ("model: ViT-B-33\n", r"my\.yaml:5: unknown open_clip model 'ViT-B-33'; did"),
        ("stream: correlated\n", r"my\.yaml:5: .*group_key"),
        ("stream:\n  - single: {batch_size: 0}\n", r"my\.yaml:6: option 'batch_size' .* exp"),
    ],
)
def test_mistakes_that_need_the_classes_are_found_before_anything_runs(planned, text, said):
    with pytest.raises(ConfigError, match=said):
        planned(SMALL + text)
