"""``grid``, ``plan`` and ``config show`` as a user meets them, on the toy plugin's world."""

from __future__ import annotations

import io
import json
from pathlib import Path

import pandas as pd
import pytest
from rich.console import Console

from benchmark.cli.claims import ClaimsPage
from benchmark.cli.command import FAILED, INTERRUPTED, OK, Command, UsageError
from benchmark.cli.config_show import Config
from benchmark.cli.grid import Grid
from benchmark.cli.leaderboard import Leaderboard
from benchmark.cli.planning import Plan
from benchmark.errors import ConfigError
from benchmark.store import RunStore

GRID = """\
title: Toys
device: cpu
quiet: true
no_figures: true
benchmark: [toy-image, toy-text]
method:
  - toy-nudge: {size: [0.01, 0.02]}
shift: [contrast, char_swap]
severity: 3
batch_size: 8
exclude:
  - {benchmark: toy-text, method: toy-nudge}
"""


@pytest.fixture(autouse=True)
def grid(toy, tmp_path):
    (tmp_path / "toys.yaml").write_text(GRID, encoding="utf-8")


@pytest.fixture
def call():
    """Runs a command; gives its exit code and what it printed."""

    def run(command: Command, *words: str) -> tuple[int, str]:
        out = io.StringIO()
        console = Console(file=out, width=200)
        code = command.run(command.parser().parse_strictly(list(words)), console)
        return code, out.getvalue()

    return run


def test_a_grid_is_planned_run_and_not_run_twice(call):
    code, before = call(Plan(), "toys.yaml")
    assert code == OK
    assert "8 cells: 0 done in results/runs/grid-toys, 4 to run, 4 skipped" in before
    assert "2 skipped: shift 'contrast' works on image queries; 'toy-text' has text" not in before
    assert "1 skipped: shift 'contrast' works on image queries; 'toy-text' has text ones" in before
    assert "3 skipped: shift 'char_swap' works on text queries; 'toy-image' has image" in before
    assert "time, memory and disk: unknown" in before

    code, first = call(Grid(), "toys.yaml")
    assert code == OK
    assert "3 cells skipped: shift 'char_swap' works on text queries" in first
    folder = Path("results/runs/grid-toys")
    statuses = [record.status.value for record in RunStore(folder).records()]
    assert sorted(statuses) == ["done"] * 4 + ["skipped"] * 4
    table = pd.read_csv(folder / "suite.csv")
    assert list(table["row"]) == ["toy-image", "toy-text"]
    assert table["source"].notna().all()

    written = (folder / "tidy.csv").stat().st_mtime_ns
    code, second = call(Grid(), "toys.yaml")
    assert code == OK
    assert "reused 4 finished cells; nothing to do" in second
    assert (folder / "tidy.csv").stat().st_mtime_ns == written
    assert second.count("toy-image") >= 1  # the table is shown all the same

    code, after = call(Plan(), "toys.yaml")
    assert "4 done in results/runs/grid-toys, 0 to run, 4 skipped" in after
    assert "nothing to do" in after
    more = json.loads(call(Plan(), "toys.yaml", "--seed", "0,1", "--workers", "2", "--json")[1])
    assert (more["cells"], more["done"], more["to_run"], more["skipped"]) == (16, 4, 4, 8)
    assert more["estimate"]["unknown"] == 0
    assert more["estimate"]["how"] == {"measured": 4}
    assert 0 < more["estimate"]["seconds"] < 60
    assert {row["benchmark"]: row["to_run"] for row in more["by_benchmark"]}["toy-text"] == 1
    assert sum(more["reasons"].values()) == 8


def test_flags_override_the_file_and_the_run_goes_where_it_is_told(call):
    code, _ = call(
        Grid(), "toys.yaml", "--out", "here", "--benchmark", "toy-image", "--shift", "contrast"
    )
    assert code == OK
    records = RunStore("here").records()
    assert {record.cell["benchmark"] for record in records} == {"toy-image"}
    assert [record.cell["method"]["options"].get("size") for record in records].count(0.01) == 1


def test_a_failing_cell_fails_the_command_and_the_rest_is_kept(call):
    words = ("--method", "toy-spoiler", "--benchmark", "toy-image", "--shift", "contrast")
    code, out = call(Grid(), "toys.yaml", *words)
    assert code == FAILED
    assert "1 cell failed: RuntimeError: spoiled" in out
    assert [r.status.value for r in RunStore("results/runs/grid-toys").records()].count("done") == 1


def test_a_grid_that_can_run_nothing_says_so(call):
    code, out = call(Grid(), "toys.yaml", "--benchmark", "toy-image", "--shift", "char_swap")
    assert code == OK
    assert "nothing can be run: all 3 cells are skipped" in out
    assert "3 cells skipped: shift 'char_swap'" in out
    assert len(RunStore("results/runs/grid-toys").records()) == 3


def test_nothing_runs_before_the_whole_file_is_right(call):
    Path("toys.yaml").write_text(GRID + "  - {shfit: contrast}\n", encoding="utf-8")
    for command in (Grid(), Plan()):
        with pytest.raises(ConfigError, match=r"toys\.yaml:13: unknown key 'shfit'"):
            call(command, "toys.yaml")
    assert not Path("results").exists()


def test_calibration_measures_what_is_unknown(call):
    code, out = call(Plan(), "toys.yaml", "--calibrate")
    assert code == OK
    assert "unknown" not in out
    assert "(cells: 4 measured before)" in out
    again = call(Plan(), "toys.yaml")[1]
    assert "4 to run" in again
    assert "memory: " in again


def test_config_show_says_where_each_value_comes_from(call):
    Path("mine.yaml").write_text("workers: 2\nseed: 5\n", encoding="utf-8")
    words = ("show", "--grid", "toys.yaml", "--config", "mine.yaml", "--limit", "0-1")
    with pytest.raises(ConfigError, match="--limit"):
        call(Config(), *words)
    code, out = call(Config(), *words[:-1], "10", "--severity", "1")
    assert code == OK
    lines = {line.split()[0]: " ".join(line.split()[1:]) for line in out.splitlines() if line}
    assert lines["limit"] == "10 --limit"
    assert lines["severity"] == "1 --severity"
    assert lines["workers"] == "2 mine.yaml:1"
    assert lines["seed"] == "5 mine.yaml:2"
    assert lines["batch_size"] == "8 toys.yaml:10"
    assert lines["method"] == "toy-nudge (size=0.01|0.02) toys.yaml:6"
    assert lines["device"] == "cpu toys.yaml:2"
    assert lines["preset"] == "- default"
    assert "exclude 1" in out
    plain = call(Config(), "show", "--config", "mine.yaml")[1]
    assert "mine.yaml:1" in plain
    with pytest.raises(UsageError, match="expected 'config show'"):
        call(Config(), "list")


@pytest.mark.parametrize(
    ("command", "grid"), [(Leaderboard, "leaderboard"), (ClaimsPage, "claims")]
)
def test_commands_with_a_grid_of_their_own_use_its_folder(call, monkeypatch, command, grid):
    stores = []

    def interrupted(cells, store, *rest):
        stores.append(store.path)
        return INTERRUPTED, []

    monkeypatch.setattr(f"{command.__module__}.run_all", interrupted)
    code, _ = call(command(), "--benchmark", "mini-cirr-c", "--seed", "0")
    assert code == INTERRUPTED
    assert stores == [Path(f"results/runs/grid-{grid}")]
    code, planned = call(Plan(), grid, "--benchmark", "mini-cirr-c", "--seed", "0")
    assert f"in results/runs/grid-{grid}" in planned
