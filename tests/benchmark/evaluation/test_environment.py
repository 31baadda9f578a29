"""What is stored about the machine and the checkout; time by name, in the encoder; memory."""

from __future__ import annotations

import copy
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from benchmark.evaluation import environment as module
from benchmark.evaluation.environment import Clock, counted, environment, peak_mb, start_peak
from benchmark.evaluation.runner import run_cell
from tests.benchmark import fakes


def test_versions_and_machine_are_named() -> None:
    found = environment()
    assert found["torch"] == torch.__version__
    assert found["numpy"] == np.__version__
    assert found["python"].startswith("3.")
    assert found["threads"] == torch.get_num_threads()
    assert found["cores"] >= 1
    assert found["device"] == "cpu"
    assert found["cpu"] == found["device_name"] != ""


def test_missing_packages_are_none() -> None:
    assert module.version_of("no-such-distribution") is None


def git(folder: Path, *arguments: str) -> str:
    who = ["-c", "user.name=n", "-c", "user.email=e@example.org"]
    command = ["git", "-C", str(folder), *who, *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


def test_commit_of_a_checkout_and_whether_it_is_changed(tmp_path: Path) -> None:
    git(tmp_path, "init", "-q")
    (tmp_path / "file").write_text("one")
    git(tmp_path, "add", "file")
    git(tmp_path, "commit", "-q", "-m", "first")
    assert module._git_state(tmp_path) == (git(tmp_path, "rev-parse", "HEAD"), False)
    (tmp_path / "file").write_text("two")
    assert module._git_state(tmp_path)[1] is True
    # Installed below somebody else's checkout: that commit says nothing about this package.
    (tmp_path / "site-packages").mkdir()
    assert module._git_state(tmp_path / "site-packages") == (None, None)


def test_no_git_no_commit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    assert module._git_state(tmp_path) == (None, None)
    monkeypatch.setenv("PATH", "")
    assert module._git_state(Path(__file__).resolve().parents[3]) == (None, None)


class Slow(nn.Module):
    def forward(self, inputs: Tensor) -> Tensor:
        time.sleep(0.02)
        return inputs


def test_spans_add_up_by_name() -> None:
    clock = Clock("cpu")
    for _ in range(3):
        with clock("nap"):
            time.sleep(0.01)
    assert len(clock.spans("nap")) == 3
    assert clock.seconds() == {"nap": sum(clock.spans("nap"))}
    assert clock.seconds()["nap"] >= 0.03
    assert clock.spans("never") == []


def test_forward_passes_are_timed_in_copies_and_by_functional_call_too() -> None:
    clock, encoder = Clock("cpu"), Slow()
    with counted(encoder, clock):
        encoder(torch.zeros(1))
        copy.deepcopy(encoder)(torch.zeros(1))
        torch.func.functional_call(encoder, {}, (torch.zeros(1),))
    encoder(torch.zeros(1))
    assert len(clock.spans("encode")) == 3
    assert min(clock.spans("encode")) >= 0.02


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux forgets a peak")
def test_the_peak_is_of_the_time_since_start_peak() -> None:
    # The first start_peak forgets what earlier tests of this process took and gave back.
    if not start_peak("cpu"):
        pytest.skip("this system does not let a process forget its peak")
    low = peak_mb()
    blocks = [bytearray(b"\1" * 2**16) for _ in range(2560)]  # 160 MiB
    high = peak_mb()
    assert high > low + 100
    del blocks[:-1]  # the last one keeps the C library from giving the others back by itself
    assert start_peak("cpu")
    assert peak_mb() < high - 100


def test_without_the_kernels_help_the_peak_is_the_process_s(
    monkeypatch: pytest.MonkeyPatch, tmp_path: object
) -> None:
    monkeypatch.setattr(module, "_CLEAR", module.Path(str(tmp_path)) / "no" / "clear_refs")
    monkeypatch.setattr(module, "_STATUS", module.Path(str(tmp_path)) / "status")
    assert start_peak("cpu") is False
    assert 10 < peak_mb() < 1_000_000
    record, _ = run_cell(fakes.cell(), fakes.resources())
    assert record.environment["peak_since"] == "process"


def test_a_cell_s_parts_fit_together() -> None:
    record, _ = run_cell(fakes.cell("trained"), fakes.resources())
    cost = record.cost
    assert cost["seconds_encode"] > 0
    assert cost["seconds_adapt"] > 0
    assert cost["seconds_encode"] + cost["seconds_adapt"] == pytest.approx(cost["seconds_step"])
    assert 0 < cost["seconds_to_first_result"] < cost["seconds"]
    names = ("gallery", "setup", "data", "step", "rank", "clean")
    assert sum(cost[f"seconds_{name}"] for name in names) < cost["seconds"]
    assert record.environment["peak_since"] in ("cell", "process")
