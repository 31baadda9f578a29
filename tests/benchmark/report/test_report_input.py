"""What a run folder may hold besides good cells: named in a warning or an error, never dropped."""

from __future__ import annotations

import io
import json
import logging
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from rich.console import Console

from benchmark.cell import StreamSpec
from benchmark.errors import ResultsError
from benchmark.report.results import CellResult
from benchmark.report.unlabelled import unlabelled_table
from benchmark.report.writing import write_all
from benchmark.store.records import sealed
from benchmark.store.run_store import RunStore
from tests.benchmark.report.cells import invented
from tests.benchmark.report.test_report import cell, stored

Records = dict[str, Any]


def good(folder: Path) -> RunStore:
    return stored(folder, [cell("source", hits=[1, 0, 0, 0]), cell("rest", hits=[1, 1, 0, 0])])


def written(store: RunStore, caplog: pytest.LogCaptureFixture) -> tuple[pd.DataFrame, str]:
    """The leaderboard that is written, and what was warned of."""
    with caplog.at_level(logging.WARNING):
        write_all(store, figures=False)
    return pd.read_csv(store.path / "leaderboard.csv").set_index("method"), caplog.text


def file_of(store: RunStore, method: str, suffix: str = ".json") -> Path:
    (path,) = store.cells.glob(f"*_{method}_*{suffix}")
    return path


def change(store: RunStore, method: str, edit: Callable[[Records], object]) -> Path:
    path = file_of(store, method)
    values = json.loads(path.read_text())
    edit(values)
    path.write_text(json.dumps(sealed(values)))
    return path


def test_a_good_folder_warns_of_nothing(tmp_path, caplog) -> None:
    board, said = written(good(tmp_path), caplog)
    assert list(board.index) == ["source", "rest"]
    assert said == ""


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ('{"key": "ab', "no readable record"),
        ("[1, 2, 3]", "not a JSON object"),
        ('{"name": "package", "version": "1.0"}', "schema is None"),
        ("[" * 100_000, "no readable record"),
    ],
)
def test_half_written_and_foreign_files_are_named(tmp_path, caplog, text, reason) -> None:
    store = good(tmp_path)
    (store.cells / "foreign.json").write_text(text)
    board, said = written(store, caplog)
    assert list(board.index) == ["source", "rest"]
    assert "foreign.json" in said
    assert reason in said


def test_records_of_another_schema_version_are_named_with_both_versions(tmp_path, caplog) -> None:
    store = good(tmp_path)
    path = change(store, "rest", lambda values: values.update(schema=99))
    board, said = written(store, caplog)
    assert list(board.index) == ["source"]
    assert path.name in said
    assert "schema 99" in said
    assert "reads 2" in said


@pytest.mark.parametrize(
    ("edit", "reason"),
    [
        (lambda v: v["cell"].update(seed="zero"), "'seed' is 'zero': Input should be"),
        (lambda v: v["cell"]["shift"].update(severity=None), "'shift.severity' is None"),
        (lambda v: v["cell"].update(benchmark=7), "'benchmark' is 7: Input should be"),
        (lambda v: v.update(info="none"), "'info' is 'none': Input should be"),
        (lambda v: v["info"].update(queries="many"), "it is of many queries"),
    ],
)
def test_fields_of_the_wrong_type_are_named(tmp_path, caplog, edit, reason) -> None:
    store = good(tmp_path)
    change(store, "rest", edit)
    board, said = written(store, caplog)
    assert list(board.index) == ["source"]
    assert reason in said


def test_a_number_that_is_nan_is_named_and_blank(tmp_path, caplog) -> None:
    store = good(tmp_path)
    change(store, "rest", lambda values: values["probes"].update(uniformity=None))
    board, said = written(store, caplog)
    assert "rest / seed 0: uniformity is nan" in said
    assert math.isnan(board.loc["rest", "uniformity"])
    assert "nan" not in (tmp_path / "leaderboard.csv").read_text()


def test_a_method_that_collapsed_with_finite_numbers_is_named_and_counted(tmp_path, caplog) -> None:
    kept, lost = [1] + [0] * 19, [0] * 20
    cells = [cell("source", hits=[1] * 20), cell("rest", hits=kept), cell("tent", hits=lost)]
    board, said = written(stored(tmp_path, cells), caplog)
    assert board.loc["tent", "note"] == "the method collapsed in 1 of 1 cell"
    assert board.loc["rest", "note"] == "the method collapsed in 1 of 1 cell"
    assert board.loc["source", "note"] != board.loc["source", "note"]  # blank
    assert "tent / seed 0: the method collapsed: R@1 0.0 %, source 100.0 %" in said
    assert board.loc["tent", "R@1"] == 0.0, "it counts as what it is"


@pytest.mark.parametrize(
    ("before", "after"),
    [([1] * 20, [1, 1] + [0] * 18), ([1] + [0] * 19, [0] * 20)],
    ids=["it only harms", "chance explains it"],
)
def test_a_method_that_has_not_collapsed(tmp_path, caplog, before, after) -> None:
    cells = [cell("source", hits=before), cell("rest", hits=after)]
    board, said = written(stored(tmp_path, cells), caplog)
    assert board["note"].isna().all()
    assert said == ""


@pytest.mark.parametrize(("skipped", "first", "told"), [(3, 1, True), (0, 1, False), (3, 0, False)])
def test_a_method_that_skips_updates_and_equals_the_source_is_named(
    tmp_path, caplog, skipped, first, told
) -> None:
    probes = {"skipped_updates": float(skipped)}
    cells = [cell("source", hits=[1] * 20), cell("sar", hits=[first] + [1] * 19, probes=probes)]
    said = written(stored(tmp_path, cells), caplog)[1]
    assert ("sar / seed 0: it skipped updates and ranks every query as source does" in said) == told


@pytest.mark.parametrize(("chosen_on", "told"), [("own:a", True), ("own:a (split val)", False)])
def test_options_chosen_on_the_judged_queries_are_named_once(
    tmp_path, caplog, chosen_on, told
) -> None:
    pairs = [
        cell(method, hits=[1] * 20, benchmark="own:a-i2t", seed=seed)
        for seed in (0, 1)
        for method in ("source", "tent")
    ]
    for one in pairs:
        if one.method == "tent":
            one.record.cell["method"]["origins"] = {"lr": chosen_on}
    said = written(stored(tmp_path, pairs), caplog)[1]
    assert said.count("own:a / tent: its options were chosen on the same data") == told


def test_a_missing_source_cell_is_named_and_the_difference_blank(tmp_path, caplog) -> None:
    store = good(tmp_path)
    for suffix in (".json", ".npz"):
        file_of(store, "source", suffix).unlink()
    board, said = written(store, caplog)
    assert "rest / seed 0: no source cell to compare with" in said
    blank = ["R@1_difference", "p", "p_holm", "harm_rate", "ms_per_query_ratio"]
    assert board.loc["rest", blank].isna().all()
    assert board.loc["rest", "R@1"] == 50.0


def test_a_log_says_of_each_stream_what_failed_and_how_many_queries_it_has(tmp_path) -> None:
    facts = {"shift": "none", "severity": 0, "hits": [1] * 7}
    info = {"unlabelled": True, "gallery": 9}
    kinds = (StreamSpec(), StreamSpec("mixed"))
    done = [invented(m, stream=s, info=info, **facts) for s in kinds for m in ("source", "tent")]
    lost = {"stream": kinds[0], "status": "failed", "reason": "odd", **facts}
    failed = [invented("tent", seed=1, **lost), invented("sar", **lost)]
    results = [CellResult(one.record) for one in (*done, *failed)]
    written = write_all(RunStore(tmp_path), results)
    assert [path.name for path in written] == ["tidy.csv", "unlabelled.csv", "outputs.json"]
    rows = pd.read_csv(tmp_path / "unlabelled.csv")
    assert set(rows["queries"]) == {7}
    said = rows[["method", "status", "reason"]].to_numpy().tolist()
    assert ["sar", "failed", "odd"] in said
    assert ["tent", "done+failed", "odd"] in said
    console = Console(width=100, record=True, file=io.StringIO())
    console.print(unlabelled_table(results))
    text = console.export_text()
    assert "mini-coco-c-image: 7 queries without labels, gallery of 9" in text
    assert "mini-coco-c-image, mixed: 7 queries" in text


def test_a_folder_of_nothing_readable_is_one_error(tmp_path, caplog) -> None:
    store = good(tmp_path)
    for path in store.cells.glob("*.json"):
        path.write_text("{")
    with caplog.at_level(logging.WARNING), pytest.raises(ResultsError, match="no results in"):
        write_all(store)
    assert caplog.text.count("no readable record") >= 2
