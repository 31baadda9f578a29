"""Logs of running cells: files, TensorBoard and MLflow; a log that breaks must not cost the run."""

from __future__ import annotations

import csv
import json
import sys
import types
from dataclasses import replace
from typing import ClassVar

import pytest

from benchmark.cell import Record, Status
from benchmark.cli import main
from benchmark.errors import ConfigError
from benchmark.evaluation import loggers
from benchmark.evaluation.callbacks import CallbackList
from benchmark.executors import SerialExecutor, run_cells
from benchmark.store.run_store import RunStore
from tests.benchmark.fakes import cell, resources

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
    """The events of cells whose batches interleave."""
    cells = cells or [cell(method="source")]
    for one in cells:
        logger.cell_started(one, 2, 8)
    for _ in range(2):
        for one in cells:
            logger.batch_done(one, LOG)
    for one in cells:
        logger.cell_done(record_of(one))


def lines_of(path):
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def test_json_lines_hold_every_event_and_only_what_it_knows(tmp_path):
    path = tmp_path / "new" / "run.jsonl"
    log = loggers.JsonLines(path, clock=lambda: "2024-01-01T00:00:00")
    told(log)
    log.close()
    rows = lines_of(path)
    events = [row["event"] for row in rows]
    assert events == ["cell_started", "batch_done", "batch_done", "cell_done"]
    assert all(row["time"] == "2024-01-01T00:00:00" for row in rows)
    assert all(set(row) <= set(loggers.COLUMNS) for row in rows)
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
    log = loggers.JsonLines(tmp_path / "run.jsonl")
    told(log, [first, second])
    log.close()
    rows = lines_of(tmp_path / "run.jsonl")
    assert [row["batch"] for row in rows if row["event"] == "batch_done"] == [1, 1, 2, 2]


def test_each_line_is_on_disk_at_once_and_a_second_run_appends(tmp_path):
    path = tmp_path / "run.jsonl"
    first, second = loggers.JsonLines(path), loggers.JsonLines(path)
    first.cell_started(cell(), 1, 8)
    assert len(lines_of(path)) == 1
    second.cell_started(cell(), 1, 8)
    assert len(lines_of(path)) == 2
    first.close()
    second.close()


def test_csv_has_one_header_and_the_numbers_as_json(tmp_path):
    path = tmp_path / "run.csv"
    for _ in range(2):
        log = loggers.CsvLog(path)
        told(log)
        log.close()
    with path.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 8
    assert tuple(rows[0]) == loggers.COLUMNS
    assert json.loads(rows[1]["values"]) == {"angle": 91.5, "loss": None}
    assert rows[3]["R@1"] == "25.0"


def test_a_failed_cell_is_logged_with_its_reason(tmp_path):
    log = loggers.CsvLog(tmp_path / "run.csv")
    log.cell_done(record_of(cell(), Status.FAILED, 'ValueError: "a", b\nc'))
    log.close()
    with (tmp_path / "run.csv").open(encoding="utf-8", newline="") as file:
        (row,) = csv.DictReader(file)
    assert (row["status"], row["reason"]) == ("failed", 'ValueError: "a", b\nc')


@pytest.mark.parametrize("content", ["a,b\n1,2\n", "\n", "\0\x01"])
def test_a_csv_of_another_table_is_left_alone(tmp_path, content):
    path = tmp_path / "tidy.csv"
    path.write_text(content, encoding="utf-8")
    with pytest.raises(ConfigError, match="holds another table"):
        loggers.CsvLog(path)
    assert path.read_text(encoding="utf-8") == content


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("run.txt", r"cannot log to 'run.txt'; expected a file ending in .jsonl or .csv"),
        ("tensorboard:", "expected a file"),
        ("folder.csv", r"cannot log to folder\.csv: Is a directory"),
    ],
)
def test_places_that_cannot_be_logged_to_are_refused(tmp_path, monkeypatch, name, message):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "folder.csv").mkdir()
    with pytest.raises(ConfigError, match=message):
        loggers.open_logger(name)


@pytest.mark.parametrize(
    ("name", "module", "extra"),
    [
        ("tensorboard:x", "torch.utils.tensorboard", "tensorboard"),
        ("mlflow", "mlflow.tracking", "mlflow"),
    ],
)
def test_a_missing_package_names_the_extra(monkeypatch, name, module, extra):
    monkeypatch.setitem(sys.modules, module, None)  # importing it raises ImportError
    with pytest.raises(ConfigError, match=rf"needs the extra: pip install 'queryshift\[{extra}\]'"):
        loggers.open_logger(name)


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
    log = loggers.open_logger(f"tensorboard:{tmp_path}")
    told(log, [cell(method="source"), cell(method="source", seed=1)])
    log.cell_started(cell(seed=2), 2, 8)
    log.cell_done(record_of(cell(seed=3), Status.SKIPPED, "never began"))
    log.close()
    assert len({writer.log_dir for writer in Writer.made}) == 3
    assert all(writer.closed for writer in Writer.made)
    assert ("batch/angle", 91.5, 1) in Writer.made[0].scalars
    assert ("metrics/mAP", 40.0, 2) in Writer.made[1].scalars
    assert Writer.made[0].texts == [("status", "done")]


class Client:
    """Stands for MLflow's client; refuses the names that MLflow refuses."""

    def __init__(self, tracking_uri=None):
        self.tracking_uri, self.metrics, self.params, self.ended = tracking_uri, [], {}, {}
        Client.last = self

    def get_experiment_by_name(self, name):
        return None

    def create_experiment(self, name):
        return f"experiment {name}"

    def create_run(self, experiment, run_name):
        assert experiment == "experiment queryshift"
        return types.SimpleNamespace(info=types.SimpleNamespace(run_id=f"id {run_name}"))

    def log_param(self, run, key, value):
        self.params.setdefault(run, {})[key] = value

    def log_metric(self, run, key, value, step):
        assert "@" not in key
        self.metrics.append((key, value, step))

    def set_terminated(self, run, status):
        self.ended[run] = status


def test_mlflow_gets_a_run_per_cell(monkeypatch):
    monkeypatch.setitem(sys.modules, "mlflow.tracking", types.SimpleNamespace(MlflowClient=Client))
    log = loggers.open_logger("mlflow:http://host:5000")
    told(log)
    failed = cell(seed=1)
    log.cell_started(failed, 2, 8)
    log.cell_done(record_of(failed, Status.FAILED, "ValueError: x"))
    log.cell_started(cell(seed=2), 2, 8)
    log.close()
    client = Client.last
    assert client.tracking_uri == "http://host:5000"
    assert list(client.ended.values()) == ["FINISHED", "FAILED", "KILLED"]
    assert ("batch/R_at_1", 50.0, 0) in client.metrics
    assert ("R_at_1", 25.0, 2) in client.metrics
    assert next(iter(client.params.values()))["method"] == "source"


def test_a_server_that_does_not_answer_is_one_clear_error(monkeypatch):
    def refuse(tracking_uri):
        raise OSError("connection refused")

    monkeypatch.setitem(sys.modules, "mlflow.tracking", types.SimpleNamespace(MlflowClient=refuse))
    with pytest.raises(ConfigError, match="cannot log to 'mlflow': OSError: connection refused"):
        loggers.open_logger("mlflow")


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
    broken, log = Breaking(), loggers.JsonLines(tmp_path / "run.jsonl")
    told(CallbackList({"broken": broken, "run.jsonl": log}))
    log.close()
    assert (broken.batches, broken.closed) == (2, 1)
    assert len(lines_of(tmp_path / "run.jsonl")) == 4
    (warning,) = caplog.messages
    assert warning.startswith("the log broken is given up (OSError: no space left)")


def test_a_run_is_logged_as_it_happens(tmp_path):
    cells = [cell(method="source"), cell(method="source", seed=1)]
    with loggers.opened([str(tmp_path / "a.jsonl"), str(tmp_path / "b.csv")]) as logs:
        needed = resources()
        store, executor = RunStore(tmp_path / "run"), SerialExecutor(needed)
        run_cells(cells, store, executor, resources=needed, progress=logs)
    rows = lines_of(tmp_path / "a.jsonl")
    ended = [row for row in rows if row["event"] == "cell_done"]
    assert {row["key"] for row in ended} == {record.key for record in store.records()}
    with (tmp_path / "b.csv").open(encoding="utf-8", newline="") as file:
        assert len(list(csv.DictReader(file))) == len(rows)


def test_no_file_stays_open_when_a_later_place_is_refused(tmp_path):
    # An open file that is collected raises a ResourceWarning, which is an error here.
    with pytest.raises(ConfigError), loggers.opened([str(tmp_path / "a.jsonl"), "b.txt"]):
        pass


def test_the_command_line_refuses_a_bad_place_before_it_loads_anything(tmp_path, capsys):
    out = str(tmp_path / "run")
    assert main(["bench", "--log", "run.txt", "--out", out]) == 2
    assert "cannot log to 'run.txt'" in capsys.readouterr().err
