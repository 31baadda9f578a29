"""Jobs of a batch system: submitit's local ones stand in for Slurm's."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

import pytest
import torch

from benchmark.config.run import SLURM, BenchConfig
from benchmark.config.validate import check
from benchmark.errors import ConfigError
from benchmark.evaluation.resources import Resources
from benchmark.executors import SerialExecutor, make_executor, slurm
from benchmark.executors.slurm import ALIVE, FolderChannel, SlurmExecutor
from benchmark.executors.worker import serve
from benchmark.store.run_store import RunStore
from tests.benchmark import fakes
from tests.benchmark.executors import worlds
from tests.benchmark.fakes import run_cells


def local(folder: Path, **settings: Any) -> SlurmExecutor:
    return SlurmExecutor(worlds.resources, folder=folder / "jobs", cluster="local", **settings)


@pytest.mark.slow
@pytest.mark.usefixtures("one_thread")
def test_same_bytes_as_in_this_process_and_a_dead_job_costs_its_cell(tmp_path: Path) -> None:
    here, there = RunStore(tmp_path / "here"), RunStore(tmp_path / "there")
    shared, cells = worlds.resources(), worlds.grid()
    run_cells(cells, here, SerialExecutor(shared), resources=shared)
    log = fakes.Log()
    outcome = run_cells(cells, there, local(there.path, workers=2), resources=shared, progress=log)
    assert outcome.reused == 0
    assert worlds.content(there) == worlds.content(here)
    assert [event[0] for event in log.events] == ["done"] * len(cells)
    assert not list((there.path / "jobs").iterdir())


@pytest.mark.slow
def test_jobs_that_die_or_hang_cost_their_own_cell(tmp_path: Path) -> None:
    cells = [worlds.trap("is_killed"), fakes.cell(), worlds.trap("hangs"), fakes.cell("trained")]
    saved = worlds.Saved()
    records = local(tmp_path, workers=1, time_limit=10).run(cells, saved)
    assert worlds.statuses(records) == ["failed", "done", "timeout", "done"]
    assert records[0].reason.startswith("WorkerDied: the job ended as")
    assert records[2].reason.startswith("TimeLimit: the cell took longer than 10 s")
    assert [record.cell for record in records] == [cell.to_dict() for cell in cells]


@pytest.mark.slow
def test_ctrl_c_cancels_the_jobs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    flag, saved = tmp_path / "under way", worlds.Saved()
    real = time.sleep

    def pressed(seconds: float) -> None:
        real(seconds)
        if flag.exists():
            monkeypatch.undo()  # once: what ends the jobs sleeps too
            raise KeyboardInterrupt

    monkeypatch.setattr(slurm.time, "sleep", pressed)
    with pytest.raises(KeyboardInterrupt):
        local(tmp_path, workers=1).run([worlds.trap("hangs", flag)], saved)
    assert worlds.statuses(saved.records) == ["interrupted"]
    assert not list((tmp_path / "jobs").iterdir())


def ends_at_once() -> Resources:
    os._exit(1)


@pytest.mark.slow
def test_jobs_that_cannot_start_stop_the_run(tmp_path: Path) -> None:
    folder = tmp_path / "jobs"
    executor = SlurmExecutor(ends_at_once, folder=folder, workers=1, cluster="local")
    with pytest.raises(ConfigError, match="workers cannot start on the cluster"):
        executor.run([fakes.cell()], worlds.Saved())
    assert not list(folder.iterdir())


def test_a_job_that_nobody_waits_for_ends(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / ALIVE).touch()
    folder = tmp_path / "0"
    here, there = FolderChannel(folder, "a", "b"), FolderChannel(folder, "b", "a", wait=0.01)
    here.send(1)
    here.send([2])
    assert (there.recv(), there.recv(), there.poll()) == (1, [2], False)
    os.utime(tmp_path / ALIVE, (0, 0))  # the other machine's clock
    monkeypatch.setattr(slurm, "_SILENCE_SECONDS", 0.2)
    begun = time.monotonic()
    with pytest.raises(EOFError, match="is gone"):
        there.recv()
    assert time.monotonic() - begun >= 0.2
    serve(there, worlds.resources, torch.get_num_threads())
    assert (here.recv(), here.poll()) == (("ready",), False)


def test_without_slurm_there_is_one_clear_error(tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    executor = SlurmExecutor(worlds.resources, folder=tmp_path)
    with pytest.raises(ConfigError, match=r"sbatch is not on the PATH"):
        executor.run([fakes.cell()], worlds.Saved())


def test_options_of_jobs() -> None:
    found = check(SLURM, ["partition=gpu,time=60", "gres=gpu:a100:1"])
    assert found == {"partition": "gpu", "time": 60, "gres": "gpu:a100:1"}
    assert check(SLURM, {"nodelist": "n[1-3],n7"}) == {"nodelist": "n[1-3],n7"}
    assert check(SLURM, "nodelist=n1,n2,time=1-0") == {"nodelist": "n1,n2", "time": "1-0"}
    config = BenchConfig(executor="slurm", slurm=found, workers=3)
    found_cells = worlds.found(9, "cuda", "run")
    executor = make_executor(config, found_cells, worlds.resources(), worlds.resources)
    assert isinstance(executor, SlurmExecutor)
    assert (executor.workers, executor.options, executor.folder) == (3, found, Path("run/jobs"))


@pytest.mark.parametrize(
    "value", ["partitio=gpu", "partition=a b", "partition=a\n#SBATCH x", "time=", {"time": True}]
)
def test_options_that_are_none(value: Any) -> None:
    with pytest.raises(ConfigError, match=r"did you mean|expected"):
        check(SLURM, value)
