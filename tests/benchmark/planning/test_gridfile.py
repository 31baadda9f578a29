"""Grid files: what they may say, and that every mistake is one error with file and line."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmark.errors import ConfigError, UnknownNameError
from benchmark.planning.gridfile import GridFile, grid_names, grid_path, read_grid


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
        ("include: tent\n", 1, "'include': expected a list, not 'tent'"),
        ("exclude:\n  - {method: tnet}\n", 2, "unknown method 'tnet'; did you mean 'tent'"),
        ("exclude:\n  - {benchmark: 'cocoo*'}\n", 2, "applies to no benchmark"),
        ("exclude: [{stream: Single}]\n", 1, "stream kind 'Single' does not exist; did you mean"),
        ("exclude:\n  - {metod: tent}\n", 2, "unknown key 'metod'; did you mean 'method'"),
        ("exclude:\n  - {severity: high}\n", 2, "'severity': expected whole numbers"),
        ("exclude:\n  - {method: [3]}\n", 2, "'method': expected a text, not 3"),
        ("batch-size: 1\nbatch_size: 2\n", 2, "'batch_size': given twice"),
        ("seed: 0\nseed: 1\n", 2, "already in line 1"),
        ("- seed\n", 1, "expected a mapping"),
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
