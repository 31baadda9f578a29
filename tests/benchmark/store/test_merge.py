"""Joining runs: what fits is copied byte by byte, what does not is named and nothing is written."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rich.console import Console

from benchmark.cell import (
    BackboneSpec,
    Cell,
    MethodSpec,
    Record,
    ShiftSpec,
    Status,
    data_identity,
    unfinished,
)
from benchmark.cli.main import OK
from benchmark.cli.runs import Merge
from benchmark.errors import ResultsError
from benchmark.metrics.recall import recall_at
from benchmark.store.merge import NAMED, differences, merge_runs
from benchmark.store.records import read_cell, sealed
from benchmark.store.run_store import RunStore
from tests.benchmark import fakes

Ranks = tuple[int, ...]


def save(
    folder: Path,
    cell: Cell | None = None,
    *,
    ranks: Ranks = (1, 5, 2),
    data: str = "d",
    weights: str = "w",
    **info: str,
) -> Path:
    """Stores a finished cell; gives its JSON file."""
    cell = cell or fakes.cell()
    names = ("shift_files", "home_fingerprint", "train_fingerprint")
    identity = data_identity(data, *(info.get(name, "") for name in names))
    key = cell.key(data_fingerprint=identity, backbone_fingerprint=weights)
    best = np.array(ranks)
    record = Record(
        key=key,
        status=Status.DONE,
        cell=cell.to_dict(),
        info={"data_fingerprint": data, "backbone_fingerprint": weights, **info},
        metrics={"R@1": recall_at(best, 1), "gain": 50.0},
        probes={"gap": float("nan")},
        cost={"seconds": float(np.random.default_rng().random())},
    )
    index = np.arange(len(best))
    arrays = {"query": index, "best_rank": best, "ap": 1 / best, "group": index, "order": index}
    RunStore(folder).save(record, arrays)
    return folder / "cells" / f"{cell.stem(key)}.json"


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in (folder / "cells").iterdir()}


@pytest.fixture
def runs(tmp_path: Path) -> tuple[Path, Path, Path]:
    """Two folders and a target that is not there."""
    return tmp_path / "one", tmp_path / "two", tmp_path / "both"


def refused(runs: tuple[Path, Path, Path]) -> str:
    """What merging says; nothing may have been written."""
    one, two, target = runs
    before = sorted(target.parent.iterdir())
    with pytest.raises(ResultsError) as caught:
        merge_runs([one, two], target)
    assert sorted(target.parent.iterdir()) == before
    return str(caught.value)


def test_cells_of_both_are_copied_byte_by_byte(runs: tuple[Path, Path, Path]) -> None:
    one, two, target = runs
    save(one)
    save(two, fakes.cell(seed=1))
    save(two, fakes.cell("trained"))
    found = merge_runs([one, two], target)
    assert contents(target) == contents(one) | contents(two)
    assert found == ({"done": 3}, 0)
    assert len(RunStore(target).records()) == 3


def test_the_same_result_twice_is_counted(runs: tuple[Path, Path, Path]) -> None:
    one, two, target = runs
    first, second = save(one), save(two)
    assert first.read_bytes() != second.read_bytes()  # they took different times
    assert merge_runs([one, two], target) == ({"done": 1}, 1)
    assert contents(target) == contents(one)


def test_the_same_folder_twice_is_one_folder(
    runs: tuple[Path, Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    one, _, target = runs
    save(one)
    target.mkdir()
    monkeypatch.chdir(target)
    assert merge_runs([one, one / "." / "../one"], Path("."))[1] == 0
    assert contents(target) == contents(one)


@pytest.mark.parametrize("first_is_done", [True, False])
def test_a_finished_result_goes_before_an_unfinished_one(
    runs: tuple[Path, Path, Path], first_is_done: bool
) -> None:
    one, two, target = runs
    done = save(one if first_is_done else two)
    key = done.stem.rpartition("_")[2]
    RunStore(two if first_is_done else one).save(
        unfinished(fakes.cell(), key, Status.INTERRUPTED, "stopped")
    )
    assert merge_runs([one, two], target)[0] == {"done": 1}
    assert contents(target)[done.name] == done.read_bytes()


def test_failed_cells_come_along(runs: tuple[Path, Path, Path]) -> None:
    one, two, target = runs
    save(one)
    RunStore(two).save(unfinished(fakes.cell("bad"), "", Status.FAILED, "DataError: no data"))
    assert merge_runs([one, two], target)[0] == {"done": 1, "failed": 1}


def test_different_results_of_one_cell_are_refused(runs: tuple[Path, Path, Path]) -> None:
    one, two, _ = runs
    name = save(one, ranks=(1, 5, 2)).stem
    save(two, ranks=(1, 1, 2))
    message = refused(runs)
    assert f"one/{name} and two/{name}" in message
    assert "R@1" in message
    assert "best_rank per query" in message
    assert "queryshift verify" in message


@pytest.mark.parametrize(
    ("cell", "facts", "named"),
    [
        (fakes.cell(seed=1), {"data": "other"}, "data of benchmark 'fake'"),
        (fakes.cell(seed=1), {"weights": "other"}, "weights of backbone"),
        (
            fakes.cell(seed=1, backbone=BackboneSpec("fake", device="cuda")),
            {"weights": "other"},
            "weights of backbone",
        ),
        (fakes.cell(seed=1), {"shift_files": "frost"}, "files of shift noise-5"),
        (fakes.cell(seed=1), {"train_fingerprint": "t"}, "training queries of benchmark 'fake'"),
        (fakes.cell(seed=1), {"home_fingerprint": "h"}, "clean queries for forgetting on"),
        (
            replace(fakes.cell(), method=MethodSpec("source", "published", {}, version=2)),
            {},
            "version of method 'source' differs: 1 in one/",
        ),
        (fakes.cell(shift=ShiftSpec("noise", 5, version=3)), {}, "version of shift 'noise'"),
    ],
)
def test_rows_that_must_not_stand_together_are_named(
    runs: tuple[Path, Path, Path], cell: Cell, facts: dict[str, str], named: str
) -> None:
    one, two, _ = runs
    save(one, **{name: "first" for name in facts if name.endswith("fingerprint")})
    name = save(two, cell, **facts).stem
    message = refused(runs)
    assert named in message
    assert f"two/{name}" in message
    assert "run the older ones again" in message


def test_numbers_of_another_type_are_others(tmp_path: Path) -> None:
    stored = read_cell(save(tmp_path))
    arrays = {**stored.arrays, "group": stored.arrays["group"].astype(np.int32)}
    assert differences(stored, stored.record, arrays) == ["group per query"]


def test_other_benchmarks_and_backbones_may_have_their_own(runs: tuple[Path, Path, Path]) -> None:
    one, two, target = runs
    save(one, home_fingerprint="all")
    save(two, fakes.cell(benchmark="small"), data="other")
    big = fakes.cell(backbone=BackboneSpec("fake", "big"))
    save(two, big, weights="other", home_fingerprint="a quarter")
    assert merge_runs([one, two], target)[0] == {"done": 3}


def edit(path: Path, change: Callable[[dict[str, Any]], object]) -> None:
    """Changes a record by somebody who knows how to seal it again."""
    values = json.loads(path.read_text())
    change(values)
    path.write_text(json.dumps(sealed(values)))


HOSTILE: dict[str, Callable[[Path], object]] = {
    "deep": lambda path: path.write_text("[" * 100_000),
    "another schema": lambda path: edit(path, lambda v: v.update(schema=1)),
    "another key": lambda path: edit(path, lambda v: v.update(key="0" * 16)),
    "a list as name": lambda path: edit(path, lambda v: v["cell"].update(benchmark=["a"])),
    "options no object": lambda path: edit(path, lambda v: v["cell"]["method"].update(options=3)),
    "info no object": lambda path: edit(path, lambda v: v.update(info=[])),
    "seed no number": lambda path: edit(path, lambda v: v["cell"].update(seed="0")),
    "other weights": lambda path: edit(path, lambda v: v["info"].update(backbone_fingerprint="x")),
    "no recall": lambda path: edit(path, lambda v: v["metrics"].update({"R@1": None})),
    "numbers torn": lambda path: path.with_suffix(".npz").write_bytes(b"PK\x03\x04"),
}


@pytest.mark.parametrize("how", HOSTILE)
def test_files_that_are_no_good_records_are_named(runs: tuple[Path, Path, Path], how: str) -> None:
    one, two, _ = runs
    save(one)
    path = save(two, fakes.cell("trained"))
    HOSTILE[how](path)
    assert path.name in refused(runs)


def test_all_bad_files_are_in_one_error(runs: tuple[Path, Path, Path]) -> None:
    one, _, _ = runs
    count = NAMED + 3
    for seed in range(count):
        save(one, fakes.cell(seed=seed)).write_text("{")
    message = refused((one, one, runs[2]))
    assert len(re.findall("is no readable record", message)) == NAMED
    assert "and 3 more" in message


def test_a_target_that_is_in_use_is_refused(runs: tuple[Path, Path, Path]) -> None:
    one, two, target = runs
    save(one)
    save(target, fakes.cell(seed=1))
    before = contents(target)
    with pytest.raises(ResultsError, match="not empty"):
        merge_runs([one], target)
    assert contents(target) == before
    with pytest.raises(ResultsError, match="lies in"):
        merge_runs([one], one / "new")
    two.mkdir()
    assert merge_runs([one], two)[0] == {"done": 1}  # an empty folder is as good as none


def test_a_folder_without_records_is_refused(runs: tuple[Path, Path, Path]) -> None:
    one, two, _ = runs
    save(one)
    (two / "cells").mkdir(parents=True)
    assert "holds no record" in refused(runs)


def test_leftovers_of_a_killed_run_are_no_records(runs: tuple[Path, Path, Path]) -> None:
    one, _, _ = runs
    save(one)
    (one / "cells" / ".x.json.1-ab.tmp").write_text("{")
    (one / "cells" / ".x.json").write_text("{")
    cells, problems = RunStore(one).read()
    assert (len(cells), problems) == (1, [])


def test_the_command_says_what_it_did(runs: tuple[Path, Path, Path], tmp_path: Path) -> None:
    one, two, target = runs
    save(one)
    save(two)
    console = Console(record=True, width=200, file=(tmp_path / "out").open("w"))
    words = [str(one), str(two), "--out", str(target)]
    assert Merge().run(Merge().parser().parse_args(words), console) == OK
    console.file.close()
    shown = console.export_text()
    assert "1 done" in shown
    assert "1 more of the same cells" in shown
