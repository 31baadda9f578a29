"""Running stored cells again: what comes out again, what does not, what cannot be run."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from rich.console import Console

import benchmark.evaluation.builders
from benchmark.cell import Cell, StreamSpec
from benchmark.cli.main import FAILED, OK
from benchmark.cli.runs import Verify
from benchmark.config.run import BenchConfig
from benchmark.data.own.source import OwnSource
from benchmark.data.retrieval import RetrievalSet
from benchmark.errors import ConfigError, DataError
from benchmark.executors import SerialExecutor
from benchmark.executors.rerun import MOVED_RANKS, Verdict, compare, draw, placed, verify
from benchmark.store.records import StoredCell, sealed
from benchmark.store.run_store import RunStore
from tests.benchmark import fakes
from tests.benchmark.fakes import run_cells

Values = dict[str, Any]
NOISE = fakes.cell().shift
MIXED = StreamSpec("mixed", batch_size=8, domains=(NOISE, replace(NOISE, severity=1)))
CELLS = (fakes.cell(), fakes.cell("trained"), fakes.cell("random"), fakes.cell("trained", seed=1))


@pytest.fixture(scope="module")
def once(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of four cells."""
    return ran(tmp_path_factory.mktemp("once") / "run", *CELLS)


@pytest.fixture
def folder(once: Path, tmp_path: Path) -> Path:
    """A copy of that run, to be spoilt."""
    return shutil.copytree(once, tmp_path / "run")


def ran(path: Path, *cells: Cell) -> Path:
    resources = fakes.resources()
    run_cells(cells, RunStore(path), SerialExecutor(resources), resources=resources)
    return path


def stored(folder: Path) -> list[StoredCell]:
    cells, problems = RunStore(folder).read()
    assert not problems
    return cells


def edit(cell: StoredCell, change: Callable[[Values], object], *, seal: bool = True) -> None:
    values = json.loads(cell.path.read_text())
    change(values)
    cell.path.write_text(json.dumps(sealed(values) if seal else values))


def one(folder: Path, method: str = "trained") -> StoredCell:
    return next(cell for cell in stored(folder) if cell.cell.method.name == method)


def test_every_cell_comes_out_again(folder: Path) -> None:
    checks = list(verify(stored(folder), fakes.resources()))
    assert [check.verdict for check in checks] == [Verdict.SAME] * len(CELLS)
    assert not any(check.environment for check in checks)


def test_threads_are_those_of_the_cell_and_are_given_back(folder: Path) -> None:
    before = torch.get_num_threads()
    seen: list[int] = []

    def load(cell: Cell) -> RetrievalSet:
        seen.append(torch.get_num_threads())
        return fakes.load_data(cell)

    cell = one(folder)
    other = replace(cell.record, environment={**cell.record.environment, "threads": before + 1})
    list(verify([replace(cell, record=other)], fakes.resources(load_data=load)))
    list(verify([cell], fakes.resources(load_data=load), BenchConfig(threads=before + 2)))
    assert seen == [before + 1, before + 2]
    assert torch.get_num_threads() == before


def moved(cell: StoredCell, count: int, by: float = 0.0) -> StoredCell:
    """The cell with so many ranks and every number changed; the R@1 that was stored with them."""
    ranks = cell.arrays["best_rank"].copy()
    ranks[:count] += 1
    metrics = {name: value + by for name, value in cell.record.metrics.items()}
    arrays = {**cell.arrays, "best_rank": ranks}
    return replace(cell, arrays=arrays, record=replace(cell.record, metrics=metrics))


def test_on_the_same_machine_one_other_rank_is_different(folder: Path) -> None:
    cell = one(folder)
    check = compare(moved(cell, 1), cell.record, dict(cell.arrays), {})
    assert check.verdict is Verdict.DIFFERENT
    assert check.details == ("best_rank per query",)
    assert not check.good


def test_elsewhere_little_differences_are_within_the_tolerance(folder: Path) -> None:
    cell = one(folder)
    elsewhere = {"cpu": ("theirs", "ours")}
    few = int(MOVED_RANKS * len(cell.arrays["best_rank"]))
    assert few > 0
    check = compare(moved(cell, few, 0.5), cell.record, dict(cell.arrays), elsewhere)
    assert check.verdict is Verdict.WITHIN
    assert check.good
    check = compare(moved(cell, few + 1), cell.record, dict(cell.arrays), elsewhere)
    assert check.verdict is Verdict.DIFFERENT
    assert "another rank" in check.details[0]
    check = compare(moved(cell, 0, 10.0), cell.record, dict(cell.arrays), elsewhere)
    assert any(detail.startswith("R@1 ") for detail in check.details)


def test_elsewhere_other_queries_are_never_tolerated(folder: Path) -> None:
    cell = one(folder)
    arrays = {**cell.arrays, "order": cell.arrays["order"][::-1]}
    check = compare(cell, cell.record, arrays, {"cpu": ("theirs", "ours")})
    assert check.verdict is Verdict.DIFFERENT
    assert "in another order" in check.details[0]


def test_elsewhere_a_missing_metric_and_a_far_probe_are_different(folder: Path) -> None:
    cell = one(folder)
    for change in (
        {"metrics": {n: v for n, v in cell.record.metrics.items() if n != "mAP"}},
        {"probes": {**cell.record.probes, "gap": cell.record.probes["gap"] + 0.5}},
    ):
        now = replace(cell.record, **change)
        check = compare(cell, now, dict(cell.arrays), {"torch": ("1", "2")})
        assert check.verdict is Verdict.DIFFERENT


def test_a_stream_of_several_domains_comes_out_again(tmp_path: Path) -> None:
    cells = stored(ran(tmp_path / "run", fakes.cell("trained", stream=MIXED)))
    assert [check.verdict for check in verify(cells, fakes.resources())] == [Verdict.SAME]


def test_data_that_cannot_be_loaded_is_named_and_the_rest_goes_on(folder: Path) -> None:
    def gone(cell: Cell) -> Any:
        raise DataError("no data in /nowhere; put the images there")

    checks = list(verify(stored(folder), fakes.resources(load_data=gone)))
    assert len(checks) == len(CELLS)
    assert {check.verdict for check in checks} == {Verdict.NOT_RUN}
    assert checks[0].details == ("no data in /nowhere; put the images there",)
    assert not any(check.good for check in checks)


def test_other_data_are_named(folder: Path) -> None:
    other = fakes.resources(load_data=lambda cell: fakes.world(count=31))
    (check,) = verify([one(folder)], other)
    assert check.verdict is Verdict.NOT_RUN
    assert (
        "the data here are others (data-fake-31-2) than the cell's (data-fake-30-2)"
        in (check.details[0])
    )


def test_a_method_that_fails_now_is_no_success(folder: Path) -> None:
    def broken(*args: Any) -> Any:
        raise ConfigError("the cell asks for version 1 of method 'trained'; installed is 2")

    (check,) = verify([one(folder)], fakes.resources(make_method=broken))
    assert check.verdict is Verdict.NOT_RUN
    assert "installed is 2" in check.details[0]


def test_the_sample_is_random_but_repeatable(folder: Path) -> None:
    cells = stored(folder)
    assert len(draw(cells, 0.01, 0)) == 1  # never none
    assert len(draw(cells, 0.5, 0)) == 2
    assert {cell.name for cell in draw(cells, 1.0, 3)} == {cell.name for cell in cells}
    names = [[cell.name for cell in draw(cells, 0.5, seed)] for seed in range(8)]
    assert names[0] == [cell.name for cell in draw(cells[::-1], 0.5, 0)]
    assert len({tuple(one) for one in names}) > 1


def test_every_cell_is_drawn_equally_often(folder: Path) -> None:
    cells = stored(folder)
    drawn = [draw(cells, 0.25, seed)[0].name for seed in range(400)]
    counts = np.array([drawn.count(cell.name) for cell in cells])
    assert (abs(counts - 100) < 40).all()  # more than four standard deviations


def test_five_percent_of_twenty_is_one(folder: Path) -> None:
    twenty = stored(folder) * 5
    assert len(draw(twenty, 0.05, 0)) == 1
    assert len(draw([*twenty, twenty[0]], 0.05, 0)) == 2


@pytest.mark.parametrize("share", [0.0, -1.0, 1.5, float("nan")])
def test_a_share_that_is_none_is_refused(folder: Path, share: float) -> None:
    with pytest.raises(ConfigError, match="--sample"):
        draw(stored(folder), share, 0)


def test_placing_a_cell_leaves_its_key_alone() -> None:
    cell = fakes.cell()
    moved = placed(cell, BenchConfig(data="/here", pretrained="/weights"), "cuda")
    prints = {"data_fingerprint": "d", "backbone_fingerprint": "w"}
    assert moved != cell
    assert moved.key(**prints) == cell.key(**prints)
    assert placed(moved, BenchConfig(), "cuda") == moved


def test_own_data_elsewhere_keep_their_columns_and_split() -> None:
    own = OwnSource("/a/q.csv", (("image", "path"),), gallery="/a/g.csv", split="val")
    cell = replace(fakes.cell(), suite="own", data_root=own.text)
    moved = placed(cell, BenchConfig(data="/b/q.csv", gallery="/b/g.csv"), "cpu").data_root
    assert OwnSource.of(moved) == replace(own, place="/b/q.csv", gallery="/b/g.csv")


Call = Callable[..., tuple[int, str]]


@pytest.fixture
def call(monkeypatch: pytest.MonkeyPatch, folder: Path, tmp_path: Path) -> Call:
    """Runs the command on the fake world."""
    monkeypatch.setattr(
        benchmark.evaluation.builders, "default_resources", lambda config: fakes.resources()
    )

    def run(*words: str) -> tuple[int, str]:
        console = Console(record=True, width=200, file=(tmp_path / "out").open("w"))
        try:
            code = Verify().run(Verify().parser().parse_args([str(folder), *words]), console)
        finally:
            console.file.close()
        return code, console.export_text()

    return run


def test_the_command_is_content_with_a_good_run(call: Call) -> None:
    code, shown = call("--sample", "1")
    assert code == OK
    assert "running 4 of 4 finished cells again" in shown
    assert "4 same bytes" in shown


def test_the_command_names_a_cell_whose_numbers_were_changed(call: Call, folder: Path) -> None:
    cell = one(folder)
    moved = cell.record.metrics["clean_R@1_after"] + 20.0
    edit(cell, lambda values: values["metrics"].update({"clean_R@1_after": moved}))
    code, shown = call("--sample", "1")
    assert code == FAILED
    assert f"{cell.name}: different" in shown
    assert "clean_R@1_after" in shown
    assert "3 same bytes" in shown


def test_the_command_names_a_cell_whose_environment_was_changed(call: Call, folder: Path) -> None:
    """Another version of torch would ask for a tolerance only."""
    cell = one(folder)
    edit(cell, lambda values: values["environment"].update(torch="1.0"), seal=False)
    code, shown = call("--sample", "1")
    assert code == FAILED
    assert f"{cell.path.name} does not agree with itself: its digest" in shown
    assert "another environment" not in shown


def test_the_command_lists_how_the_environment_differs(call: Call, folder: Path) -> None:
    other = "another [bold]processor"
    edit(one(folder), lambda values: values["environment"].update(cpu=other))
    code, shown = call("--sample", "1")
    assert code == OK
    assert "cpu: stored with another [bold]processor, now" in shown


def test_the_command_names_files_that_are_no_records(call: Call, folder: Path) -> None:
    (folder / "cells" / "foreign_0123456789abcdef.json").write_text("{")
    code, shown = call("--sample", "1")
    assert code == FAILED
    assert "foreign_0123456789abcdef.json is no readable record" in shown
    assert "4 same bytes; 1 file without a good record" in shown


def test_the_command_refuses_what_makes_no_sense(call: Call) -> None:
    with pytest.raises(ConfigError, match="--threads"):
        call("--threads", "0")
    with pytest.raises(ConfigError, match="--seed"):
        call("--seed", "-1")
