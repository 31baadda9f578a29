"""Random SIGKILL, real cells: nothing is lost, doubled or torn, and the tables come out the same.

``QUERYSHIFT_KILLS=100`` asks for so many kills, every third of a process of its own (some minutes).
"""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

import benchmark
from benchmark.report.writing import load_results, output_options, up_to_date, write_all
from benchmark.store.run_store import RunStore
from tests.benchmark.executors import worlds

ROOT = Path(benchmark.__file__).resolve().parents[1]
GRID = """\
suite: mini
benchmark: mini-coco-c-image
method: [source, recentre, tent, rest]
shift: [contrast, jpeg_compression]
seed: 0-1
limit: 24
"""
CELLS = 16
_ENDLESS = 300.0
ROUNDS = int(os.environ.get("QUERYSHIFT_KILLS", "0"))


@dataclass
class Kills:
    """What the kills have hit.

    Attributes:
        counts: "between saves" (of one run: after its folder's first record and before its last),
            "before", "outputs" (all cells were there, tables were not) and "too late".
        real: how many of them hit a ``python -m benchmark grid`` of its own.
    """

    counts: Counter[str] = field(default_factory=Counter)
    real: int = 0


class Runs:
    """Starts runs: as a process of its own, or as the child of one that has imported all already.

    Args:
        folder: for the grid file, the cache and the runs.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        (folder / "tiny.yaml").write_text(GRID)
        self._variables = {
            **os.environ,
            "QUERYSHIFT_CACHE": str(folder / "cache"),
            "OMP_NUM_THREADS": "1",
            "PYTHONPATH": str(ROOT),
        }
        self._server = subprocess.Popen(
            [sys.executable, "-m", __name__],
            cwd=folder,
            env=self._variables,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def close(self) -> None:
        assert self._server.stdin is not None
        assert self._server.stdout is not None
        self._server.stdin.close()
        self._server.wait()
        self._server.stdout.close()

    def start(self, out: Path, *, real: bool) -> Run:
        words = ["grid", "tiny.yaml", "--out", str(out), "--no-figures", "--quiet"]
        if real:
            command = [sys.executable, "-m", "benchmark", *words]
            with (self.folder / "log").open("a") as log:
                process = subprocess.Popen(
                    command, cwd=self.folder, env=self._variables, stdout=log, stderr=log
                )
            return Run(process.pid, process)
        assert self._server.stdin is not None
        assert self._server.stdout is not None
        print(json.dumps(words), file=self._server.stdin, flush=True)
        return Run(int(self._server.stdout.readline()), self._server)


@dataclass
class Run:
    """One run under way."""

    pid: int
    process: subprocess.Popen[str]

    def kill(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, signal.SIGKILL)

    def wait(self) -> int:
        """Its exit code, negative for a signal."""
        if self.pid == self.process.pid:
            return self.process.wait(_ENDLESS)
        assert self.process.stdout is not None
        return int(self.process.stdout.readline())


def serve() -> None:
    """Reads command lines, forks for each and tells the child's number and exit code."""
    from benchmark.cli import main
    from benchmark.evaluation.builders import default_resources

    default_resources()  # imports what a run needs
    for line in sys.stdin:
        pid = os.fork()
        if not pid:
            with open("log", "a") as log:
                os.dup2(log.fileno(), 1)
                os.dup2(log.fileno(), 2)
                os._exit(main(json.loads(line)))
        print(pid, flush=True)
        print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), flush=True)


def saved(out: Path) -> dict[str, bytes]:
    """The records that are there, by name."""
    return {path.name: path.read_bytes() for path in (out / "cells").glob("[!.]*.json")}


def kill_once(runs: Runs, out: Path, chance: random.Random, kills: Kills, *, real: bool) -> None:
    """Starts a run and kills it after some more records, or while it writes its tables."""
    before = len(saved(out))
    left = CELLS - before
    goal = before + chance.randint(0, min(left, 5))
    delay = chance.random() * (0.2 if goal < CELLS else 0.4)
    run = runs.start(out, real=real)
    limit = time.monotonic() + _ENDLESS
    while worlds.alive(run.pid) and time.monotonic() < limit:
        found = len(list((out / "cells").glob("[!.]*.json"))) if (out / "cells").is_dir() else 0
        if found >= goal and found > 0:
            break
        time.sleep(0.002)
    time.sleep(delay)
    run.kill()
    code = run.wait()
    count = len(saved(out))
    if code != -signal.SIGKILL:
        kills.counts["too late"] += 1
        return
    kills.real += real
    where = "outputs" if count == CELLS else "between saves" if count else "before"
    kills.counts[where] += 1


def nothing_torn(out: Path, kept: dict[str, bytes]) -> dict[str, bytes]:
    """Checks a folder after a kill; gives its records, none of which may ever change again."""
    store, found = RunStore(out), saved(out)
    lost = {name for name in kept if found.get(name) != kept[name]}
    assert not lost, f"lost or changed: {lost}"
    cells, problems = store.read()
    # Numbers without a record are all that a kill may leave: the record is written after them.
    assert all(line.endswith("it is left out") and ".npz " in line for line in problems), problems
    assert len(problems) <= 1
    assert [cell.path.name for cell in cells] == sorted(found)
    assert all(cell.done for cell in cells)
    return found


def same_as_undisturbed(out: Path, undisturbed: Path, scratch: Path) -> None:
    """Checks a finished folder: cells and tables are those of a run that nobody disturbed."""
    store = RunStore(out)
    cells, problems = store.read()
    assert not problems
    assert len(cells) == len({cell.record.key for cell in cells}) == CELLS
    assert not list(store.cells.glob(".*"))
    assert worlds.content(store) == worlds.content(RunStore(undisturbed))
    results = load_results(store)
    records = [result.record for result in results]
    assert up_to_date(out, records, output_options(figures=False))
    for path in write_all(store, results, figures=False, folder=scratch / "anew"):
        if path.name not in ("leaderboard.html", "outputs.json"):  # links depend on the folder
            assert path.read_bytes() == (out / path.name).read_bytes(), path.name
    assert tables(out, scratch / "one") == tables(undisturbed, scratch / "two")


def tables(out: Path, scratch: Path) -> dict[str, bytes]:
    """All outputs of a folder's cells, with time, memory and machine left out of the records."""
    store = RunStore(scratch)
    for cell in RunStore(out).stored():
        record = replace(cell.record, cost={}, environment={})
        store.save(record, cell.arrays)
    return {path.name: path.read_bytes() for path in write_all(store, figures=False)}


def campaign(folder: Path, rounds: int, *, real: int, seed: int = 0) -> Kills:
    """Kills so many runs and checks after each; finishes and checks each folder in the end.

    Args:
        folder: an empty one.
        rounds: how many kills.
        real: every so many runs is a process of its own, 0 for none.
        seed: of the moments.
    """
    chance, kills, runs = random.Random(seed), Kills(), Runs(folder)
    try:
        whole = folder / "undisturbed"
        assert runs.start(whole, real=real > 0).wait() == 0
        done = 0
        for number in itertools.count():
            out = folder / f"run-{number}"
            kept: dict[str, bytes] = {}
            while done < rounds:
                at_work = len(saved(out)) < CELLS if (out / "cells").is_dir() else True
                kill_once(runs, out, chance, kills, real=real > 0 and done % real == 0)
                kept = nothing_torn(out, kept)
                done += 1
                if not at_work:
                    break
            assert runs.start(out, real=False).wait() == 0
            nothing_torn(out, kept)
            same_as_undisturbed(out, whole, folder / f"scratch-{number}")
            if done >= rounds:
                return kills
    finally:
        runs.close()
    raise AssertionError("unreachable")


@pytest.mark.slow
def test_runs_that_are_killed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    kills = campaign(tmp_path, ROUNDS or 4, real=3 if ROUNDS else 0)
    with capsys.disabled():
        if ROUNDS:
            print(f"\nkills: {dict(kills.counts)}; of a process of its own: {kills.real}")
    assert kills.counts["between saves"] >= (ROUNDS or 4) // 2


if __name__ == "__main__":
    serve()
