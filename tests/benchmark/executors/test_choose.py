"""From settings to executors and parts, and the flags on the command line."""

from __future__ import annotations

import sys
from typing import Any

import pytest

import benchmark.executors as choice
from benchmark.cli import main
from benchmark.config.run import AUTO_WORKERS, KINDS, BenchConfig, Shard
from benchmark.config.validate import check
from benchmark.errors import ConfigError
from benchmark.executors import SerialExecutor, check_settings, make_executor, part_of
from benchmark.executors.processes import ProcessExecutor
from benchmark.executors.ray import RayExecutor
from tests.benchmark.executors import worlds


def choose(waiting: int = 10, device: str = "cpu", **settings: Any) -> Any:
    found = worlds.found(waiting, device)
    return make_executor(BenchConfig(**settings), found, worlds.resources(), worlds.resources)


@pytest.fixture
def roomy(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine with eight cores and much memory."""
    monkeypatch.setattr("benchmark.executors.usable_cores", lambda: 8)
    monkeypatch.setattr(choice, "available_bytes", lambda: 64 << 30)


@pytest.mark.usefixtures("roomy")
def test_by_default_cells_run_in_this_process_and_several_workers_in_their_own():
    assert isinstance(choose(), SerialExecutor)
    found = choose(workers=4)
    assert isinstance(found, ProcessExecutor)
    assert (found.workers, found.threads) == (4, 2)
    assert isinstance(choose(workers=4, waiting=1), SerialExecutor)
    assert choose(workers=3, threads=1).threads == 1


@pytest.mark.usefixtures("roomy")
def test_a_time_limit_needs_a_worker_that_can_be_stopped():
    for executor in ("auto", "serial"):
        found = choose(time_limit=5.0, executor=executor)
        assert isinstance(found, ProcessExecutor)
        assert (found.workers, found.time_limit) == (1, 5.0)


@pytest.mark.usefixtures("roomy")
def test_workers_fill_the_machine(monkeypatch: pytest.MonkeyPatch):
    assert (choose(executor="processes").workers, choose(workers=AUTO_WORKERS).workers) == (8, 8)
    assert choose(executor="processes", waiting=3).threads == 2
    assert choose(workers=AUTO_WORKERS, threads=4).workers == 2
    monkeypatch.setattr(choice, "available_bytes", lambda: 5 << 30)
    assert choose(workers=AUTO_WORKERS).workers == 2
    monkeypatch.setattr(choice, "available_bytes", lambda: 1 << 20)
    assert choose(executor="processes").workers == 1
    monkeypatch.setattr(choice, "available_bytes", lambda: None)
    assert choose(executor="processes").workers == 8


@pytest.mark.usefixtures("roomy")
def test_one_worker_for_each_gpu(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "2, 3,GPU-ab,-1,5")
    found = choose(executor="processes", device="cuda")
    assert (found.workers, found.devices) == (3, ("2", "3", "GPU-ab"))
    named = choose(executor="processes", device="cuda:1")
    assert (named.workers, named.devices) == (1, ())
    assert choose(executor="processes").devices == ()
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES")
    monkeypatch.setattr("torch.cuda.device_count", lambda: 2)
    assert choice.gpus_to_share("cuda") == ("0", "1")


def test_memory_is_known_where_the_system_says_it():
    found = choice.available_bytes()
    assert (found is not None and found > 1 << 20) or sys.platform != "linux"


def test_ray_asks_for_what_cells_need():
    found = choose(executor="ray", address="head:6379", device="cuda", threads=3, workers=2)
    assert isinstance(found, RayExecutor)
    assert (found.address, found.workers, found.threads, found.gpus) == ("head:6379", 2, 3, 1.0)
    assert choose(executor="ray").workers is None


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"executor": "serial", "workers": 2}, "one cell at a time"),
        ({"address": "head:6379"}, "say --executor ray"),
        ({"executor": "ray", "device": "cuda:1"}, "each worker gets its own"),
        ({"slurm": {"partition": "gpu"}}, "--slurm is for --executor slurm"),
    ],
)
def test_settings_that_contradict_each_other(settings: dict[str, Any], message: str):
    with pytest.raises(ConfigError, match=message):
        check_settings(BenchConfig(**settings))


def test_a_part_is_a_shard():
    cells = worlds.grid()
    config = BenchConfig(shard=Shard(2, 3))
    assert 0 < len(part_of(cells, config)) < len(cells)
    assert part_of(cells, BenchConfig()) == cells


@pytest.mark.parametrize("text", ["0/2", "3/2", "1", "1/", "a/b", "-1/2", "1/2/3", 5, True, "²/3"])
def test_shards_that_do_not_exist(text: Any):
    with pytest.raises(ConfigError, match=r"I from 1 to N"):
        check(KINDS["shard"], text)
    assert str(check(KINDS["shard"], "2/4")) == "2/4"


@pytest.mark.parametrize(
    "value", ["0", 0, -1, "x", True, "nan", "1:30", float("inf"), float("nan")]
)
def test_time_spans_and_numbers_that_are_none(value: Any):
    with pytest.raises(ConfigError, match="seconds above 0"):
        check(KINDS["time_limit"], value)
    for name in ("threads", "loader_workers"):
        with pytest.raises(ConfigError, match="at most 1024"):
            check(KINDS[name], 10_000)
    assert (check(KINDS["time_limit"], "1.5"), check(KINDS["time_limit"], 1e3)) == (1.5, 1000.0)


def test_workers_are_a_number_or_auto():
    assert (check(KINDS["workers"], "auto"), check(KINDS["workers"], "3")) == (AUTO_WORKERS, 3)
    with pytest.raises(ConfigError, match="or 'auto'"):
        check(KINDS["workers"], "0")


def failing(bench: Any, *words: str) -> tuple[int, list[str]]:
    """Exit code and error lines; before them it plans, and plugins of the toy package may warn."""
    code, _, err = bench(*words)
    return code, [x for x in err.splitlines() if not x.startswith(("planning", "warning: "))]


class TestCommandLine:
    pytestmark = pytest.mark.usefixtures("toy")

    @pytest.fixture
    def bench(self, capsys):
        def run(*words: str) -> tuple[int, str, str]:
            named = ("--benchmark=toy-image", "--shift=all", "--method=toy-nudge")
            code = main(["bench", *named, "--batch-size=8", "--no-figures", *words])
            captured = capsys.readouterr()
            return code, captured.out, captured.err

        return run

    def test_shards_make_one_run(self, bench, tmp_path):
        folders = set()
        for part in ("1/2", "2/2"):
            code, out, _ = bench("--shard", part)
            assert (code, "reused" in out) == (0, False)
            (folder,) = (tmp_path / "results" / "runs").iterdir()
            folders.add(folder)
        assert len(folders) == 1
        code, out, _ = bench()
        assert (code, "reused 4 finished cells" in out) == (0, True)

    def test_more_shards_than_cells_are_one_clear_error(self, bench):
        code, errors = failing(bench, "--shard", "1/9")
        assert (code, errors) == (
            2,
            ["error: --shard 1/9 of 4 cells: ask for at most so many parts"],
        )

    @pytest.mark.parametrize(
        "words", [("--shard", "3/2"), ("--time-limit", "soon"), ("--executor", "spark")]
    )
    def test_wrong_values_are_one_line(self, bench, words):
        code, (error,) = failing(bench, *words)
        assert code == 2
        assert error.startswith(f"error: {words[0]}: expected")
