"""Logs of running cells: JSON lines and TensorBoard; a log that breaks must not cost the run."""

from __future__ import annotations

import json
import sys
import types
from dataclasses import replace
from datetime import datetime
from typing import ClassVar

import pytest

from benchmark.cell import Record, Status
from benchmark.cli import main
from benchmark.errors import ConfigError
from benchmark.evaluation import callbacks
from benchmark.evaluation.callbacks import CallbackList
from benchmark.executors import SerialExecutor
from benchmark.store.run_store import RunStore
from tests.benchmark.fakes import cell, resources, run_cells

LOG = {"queries": 2.0, "R@1": 50.0, "angle": 91.5, "loss": float("nan")}


def record_of(one, status=Status.DONE, reason=""):
    done = status is Status.DONE
    return Record(
        "0123456789abcdef",
        status,
        one.to_dict(),
        reason,
        info={"queries": 4},
        metrics={"R@1": 25.0, "mAP": 40.0} if done else {},
        cost={"seconds": 1.5} if done else {},
    )


def told(logger, cells=None):
    """Tells the events of cells whose batches interleave, and closes."""
    cells = cells or [cell(method="source")]
    for one in cells:
        logger.cell_started(one, 2, 8)
    for _ in range(2):
        for one in cells:
            logger.batch_done(one, LOG)
    for one in cells:
        logger.cell_done(record_of(one))
    logger.close()


def lines_of(path):
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def test_json_lines_hold_every_event_and_only_what_it_knows(tmp_path):
    path = tmp_path / "new" / "run.jsonl"
    told(callbacks.JsonLines(path))
    rows = lines_of(path)
    events = [row["event"] for row in rows]
    assert events == ["cell_started", "batch_done", "batch_done", "cell_done"]
    assert all(datetime.fromisoformat(row["time"]).tzinfo for row in rows)
    assert rows[0]["batches"] == 2
    assert [row["batch"] for row in rows[1:3]] == [1, 2]
    assert rows[1]["R@1"] == 50.0
    assert rows[1]["values"] == {"angle": 91.5, "loss": None}
    assert rows[3]["key"] == "0123456789abcdef"
    assert rows[3]["status"] == "done"
    assert rows[3]["values"] == {"mAP": 40.0, "seconds": 1.5}
    assert "reason" not in rows[3]


def test_variants_of_a_method_that_run_at_the_same_time_count_their_own_batches(tmp_path):
    first = cell(method="source")
    second = replace(first, method=replace(first.method, options={"lr": 0.5}))
    told(callbacks.JsonLines(tmp_path / "run.jsonl"), [first, second])
    rows = lines_of(tmp_path / "run.jsonl")
    assert [row["batch"] for row in rows if row["event"] == "batch_done"] == [1, 1, 2, 2]


def test_each_line_is_on_disk_at_once_and_a_second_run_appends(tmp_path):
    path = tmp_path / "run.jsonl"
    first, second = callbacks.JsonLines(path), callbacks.JsonLines(path)
    first.cell_started(cell(), 1, 8)
    assert len(lines_of(path)) == 1
    second.cell_started(cell(), 1, 8)
    assert len(lines_of(path)) == 2
    first.close()
    second.close()


def test_a_failed_cell_is_logged_with_its_reason(tmp_path):
    log = callbacks.JsonLines(tmp_path / "run.jsonl")
    log.cell_done(record_of(cell(), Status.FAILED, 'ValueError: "a", b\nc'))
    log.close()
    (row,) = lines_of(tmp_path / "run.jsonl")
    assert (row["status"], row["reason"]) == ("failed", 'ValueError: "a", b\nc')


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("run.csv", r"cannot log to 'run.csv'; expected a file ending in .jsonl, or tensorboard:"),
        ("tensorboard:", "expected a file"),
        ("folder.jsonl", r"cannot log to folder\.jsonl: Is a directory"),
    ],
)
def test_places_that_cannot_be_logged_to_are_refused(tmp_path, monkeypatch, name, message):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "folder.jsonl").mkdir()
    with pytest.raises(ConfigError, match=message):
        callbacks.open_logger(name)


def test_a_missing_package_names_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)  # importing it fails
    with pytest.raises(ConfigError, match=r"needs the extra: pip install .queryshift\[tensorboard"):
        callbacks.open_logger("tensorboard:x")


class Writer:
    """Stands for TensorBoard's SummaryWriter."""

    made: ClassVar[list[Writer]] = []

    def __init__(self, log_dir):
        self.log_dir, self.scalars, self.texts, self.closed = log_dir, [], [], False
        self.made.append(self)

    def add_scalar(self, name, value, step):
        self.scalars.append((name, value, step))

    def add_text(self, name, text):
        self.texts.append((name, text))

    def close(self):
        self.closed = True


def test_tensorboard_gets_a_run_per_cell(monkeypatch, tmp_path):
    module = types.SimpleNamespace(SummaryWriter=Writer)
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", module)
    monkeypatch.setattr(Writer, "made", [])
    log = callbacks.open_logger(f"tensorboard:{tmp_path}")
    log.cell_started(cell(seed=2), 2, 8)
    log.cell_done(record_of(cell(seed=3), Status.SKIPPED, "never began"))
    told(log, [cell(method="source"), cell(method="source", seed=1)])
    assert len({writer.log_dir for writer in Writer.made}) == 3
    assert all(writer.closed for writer in Writer.made)
    assert ("batch/angle", 91.5, 1) in Writer.made[1].scalars
    assert ("metrics/mAP", 40.0, 2) in Writer.made[2].scalars
    assert Writer.made[1].texts == [("status", "done")]


class Breaking(CallbackList):
    """Fails on the second batch, and on closing."""

    def __init__(self):
        super().__init__()
        self.batches = self.closed = 0

    def batch_done(self, cell, batch_log):
        self.batches += 1
        if self.batches == 2:
            raise OSError("no space left")

    def close(self):
        self.closed += 1
        raise OSError("no space left")


def test_a_log_that_breaks_is_given_up_and_the_others_go_on(tmp_path, caplog):
    broken, log = Breaking(), callbacks.JsonLines(tmp_path / "run.jsonl")
    told(CallbackList({"broken": broken, "run.jsonl": log}))
    assert (broken.batches, broken.closed) == (2, 1)
    assert len(lines_of(tmp_path / "run.jsonl")) == 4
    (warning,) = caplog.messages
    assert warning.startswith("the log broken is given up (OSError: no space left)")


def test_a_run_is_logged_as_it_happens(tmp_path):
    cells = [cell(method="source"), cell(method="source", seed=1)]
    with callbacks.opened([str(tmp_path / "a.jsonl"), str(tmp_path / "b.jsonl")]) as logs:
        needed = resources()
        store, executor = RunStore(tmp_path / "run"), SerialExecutor(needed)
        run_cells(cells, store, executor, resources=needed, progress=logs)
    rows = lines_of(tmp_path / "a.jsonl")
    ended = [row for row in rows if row["event"] == "cell_done"]
    assert {row["key"] for row in ended} == {record.key for record in store.records()}
    assert len(lines_of(tmp_path / "b.jsonl")) == len(rows)


def test_no_file_stays_open_when_a_later_place_is_refused(tmp_path):
    # An open file that is collected raises a ResourceWarning, which is an error here.
    with pytest.raises(ConfigError), callbacks.opened([str(tmp_path / "a.jsonl"), "b.txt"]):
        pass


def test_the_command_line_refuses_a_bad_place_before_it_loads_anything(capsys):
    assert main(["bench", "--log", "run.txt", "--dry-run"]) == 2
    assert "cannot log to 'run.txt'" in capsys.readouterr().err
