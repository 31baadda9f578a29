"""``grid``, ``plan`` and ``bench --settings`` as a user meets them, on the toy plugin's world."""

from __future__ import annotations

import errno
import hashlib
import io
import itertools
import json
import os
import re
from pathlib import Path

import pandas as pd
import pytest
from rich.console import Console

from benchmark.cli.bench import Bench, Grid, Plan
from benchmark.cli.bundled import ClaimsPage, Leaderboard
from benchmark.cli.main import FAILED, OK, Command
from benchmark.config.files import atomic_write
from benchmark.errors import ConfigError, ResultsError
from benchmark.report.writing import output_options, up_to_date, write_all, write_manifest
from benchmark.store.run_store import RunStore

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
        code = command.run(command.parser().parse_args(list(words)), console)
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
    more = call(Plan(), "toys.yaml", "--seed", "0,1", "--workers", "2")[1]
    assert "16 cells: 4 done in results/runs/grid-toys, 4 to run, 8 skipped" in more
    assert re.search(r"time: \d+ s, \d+ s on 2 workers \(cells: 4 measured before\)", more)
    assert "unknown" not in more
    assert sum(map(int, re.findall(r"(\d+) skipped: ", more))) == 8
    (row,) = [line for line in more.splitlines() if line.startswith("toy-text")]
    assert "1 of 2" in row


def test_a_plan_heeds_the_shard_and_refuses_what_a_run_refuses(call):
    every, *parts = (
        int(re.search(r"(\d+) to run", call(Plan(), "toys.yaml", *shard)[1])[1])
        for shard in ((), ("--shard=1/2",), ("--shard=2/2",))
    )
    assert all(0 < part < every for part in parts)
    assert sum(parts) == every
    with pytest.raises(ConfigError, match="serial runs one cell at a time"):
        call(Plan(), "toys.yaml", "--executor", "serial", "--workers", "2")


SMALL = ("toys.yaml", "--benchmark", "toy-image", "--shift", "contrast")


def outputs(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:10])


@pytest.mark.parametrize(
    ("name", "damage"),
    [
        ("tidy.csv", Path.unlink),
        ("leaderboard.csv", cut),
        ("leaderboard.html", lambda path: path.write_text("old")),
        ("outputs.json", Path.unlink),
        ("outputs.json", cut),
    ],
)
def test_outputs_that_are_missing_or_changed_are_written_again(call, name, damage, finished):
    before = outputs(finished)
    damage(finished / name)
    code, out = call(Grid(), *SMALL)
    assert (code, "nothing to do" in out) == (OK, True)
    assert outputs(finished) == before


@pytest.fixture
def finished(call) -> Path:
    assert call(Grid(), *SMALL)[0] == OK
    return Path("results/runs/grid-toys")


@pytest.mark.parametrize("nth", [1, 2, 6, 10])
def test_outputs_that_were_cut_short_are_written_by_the_next_run(call, nth, monkeypatch):
    """The disk is full at the nth file, the last of which is the manifest."""
    assert call(Grid(), *SMALL, "--seed", "1")[0] == OK  # older tables are there
    real, count = os.fsync, itertools.count(1)

    def full(number: int) -> None:
        written = Path(os.readlink(f"/proc/self/fd/{number}"))
        if written.parent.name == "grid-toys" and next(count) == nth:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        real(number)

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with pytest.raises(ResultsError, match="No space left"):
            call(Grid(), *SMALL, "--seed", "0,1")
    folder = Path("results/runs/grid-toys")
    code, out = call(Grid(), *SMALL, "--seed", "0,1")
    assert (code, "nothing to do" in out) == (OK, True)
    store = RunStore(folder)
    write_all(store, figures=False, folder=Path("anew"))
    assert len(store.records()) == 6
    for path in Path("anew").glob("*.[cmt]*"):
        assert path.read_bytes() == (folder / path.name).read_bytes()


def test_outputs_of_other_records_or_options_are_written_again(call, finished):
    name = "results/runs/grid-toys/by_shift.csv"
    before = Path(name).read_bytes()
    path = next(p for p in RunStore(finished).cells.glob("*_source_*.json"))
    for one in (path, path.with_suffix(".npz")):
        one.unlink()
    write_all(RunStore(finished), figures=False)
    assert Path(name).read_bytes() != before
    assert call(Grid(), *SMALL)[0] == OK
    assert len(pd.read_csv(name)) == 3
    stored = RunStore(finished).records()
    assert up_to_date(finished, stored, output_options(figures=False))
    assert not up_to_date(finished, stored, output_options(figures=True))
    assert not up_to_date(finished, stored[1:], output_options(figures=False))


def test_an_output_that_is_no_longer_made_goes_unless_it_was_changed(tmp_path):
    folder, options = tmp_path / "run", {"figures": True}
    names = ("kept.csv", "old.csv", "edited.csv")
    written = [atomic_write(folder / name, name.encode()) for name in names]
    outside = atomic_write(tmp_path / "outside.csv", b"x")
    write_manifest(folder, [], options, written)
    manifest = json.loads((folder / "outputs.json").read_text())
    manifest["files"]["../outside.csv"] = hashlib.sha256(b"x").hexdigest()
    (folder / "outputs.json").write_text(json.dumps(manifest))
    written[2].write_text("mine")
    write_manifest(folder, [], options, written[:1])
    assert [path.exists() for path in written] == [True, False, True]
    assert outside.exists()


def test_a_skipped_cell_whose_record_is_damaged_is_stored_again(call):
    call(Grid(), "toys.yaml", "--benchmark", "toy-image", "--shift", "char_swap")
    store = RunStore("results/runs/grid-toys")
    next(store.cells.glob("*.json")).write_text("{")
    call(Grid(), "toys.yaml", "--benchmark", "toy-image", "--shift", "char_swap")
    assert store.read()[1] == []


def test_a_failing_cell_fails_the_command_and_the_rest_is_kept(call):
    words = ("--method", "toy-spoiler", "--benchmark", "toy-image", "--shift", "contrast")
    code, out = call(Grid(), "toys.yaml", *words)
    assert code == FAILED
    assert "1 cell failed: RuntimeError: spoiled" in out
    assert [r.status.value for r in RunStore("results/runs/grid-toys").records()].count("done") == 1


def test_a_grid_that_can_run_nothing_says_so(call):
    code, out = call(Grid(), "toys.yaml", "--benchmark", "toy-image", "--shift", "char_swap")
    assert code == FAILED
    assert "nothing can be run: 3 cells skipped" in out
    assert "3 cells skipped: shift 'char_swap'" in out
    assert len(RunStore("results/runs/grid-toys").records()) == 3


def test_nothing_runs_before_the_whole_file_is_right(call):
    Path("toys.yaml").write_text(GRID + "  - {shfit: contrast}\n", encoding="utf-8")
    for command in (Grid(), Plan()):
        with pytest.raises(ConfigError, match=r"toys\.yaml:13: unknown key 'shfit'"):
            call(command, "toys.yaml")
    assert not Path("results").exists()


def test_the_settings_say_where_each_value_comes_from(call):
    Path("mine.yaml").write_text("workers: 2\nseed: 5\n", encoding="utf-8")
    words = ("--settings", "--grid", "toys.yaml", "--config", "mine.yaml", "--limit", "0-1")
    with pytest.raises(ConfigError, match="--limit"):
        call(Bench(), *words)
    code, out = call(Bench(), *words[:-1], "10", "--severity", "1")
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
    assert "mine.yaml:1" in call(Bench(), "--settings", "--config", "mine.yaml")[1]


@pytest.mark.parametrize(
    ("command", "grid"), [(Leaderboard, "leaderboard"), (ClaimsPage, "claims")]
)
def test_commands_with_a_grid_of_their_own_use_its_folder(
    call, monkeypatch, tmp_path, command, grid
):
    monkeypatch.chdir(tmp_path)  # cells that are skipped are stored
    stores = []

    def interrupted(cells, store, *rest):
        stores.append(store.path)
        raise KeyboardInterrupt

    monkeypatch.setattr("benchmark.cli.bench.execute", interrupted)
    with pytest.raises(KeyboardInterrupt):
        call(command(), "--benchmark", "mini-cirr-c", "--seed", "0")
    assert stores == [Path(f"results/runs/grid-{grid}")]
    _, planned = call(Plan(), grid, "--benchmark", "mini-cirr-c", "--seed", "0")
    assert f"in results/runs/grid-{grid}" in planned
