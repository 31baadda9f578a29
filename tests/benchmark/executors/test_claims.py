"""Claim files: one run per cell, dead owners passed over, clocks that jump."""

from __future__ import annotations

import json
import os
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from benchmark.cell import Cell, Record, Status
from benchmark.errors import ResultsError
from benchmark.executors import SerialExecutor, run_cells
from benchmark.executors.claims import Claims
from benchmark.failures import unfinished
from benchmark.store import RunStore
from tests.benchmark import fakes
from tests.benchmark.executors import worlds

NEVER = 600.0
CELL = fakes.cell()


def key_of(cell: Cell) -> str:
    return cell.key(data_fingerprint="data", backbone_fingerprint="weights")


def ended(status: Status, reason: str = "") -> Record:
    return unfinished(CELL, key_of(CELL), status, reason)


@pytest.fixture
def store(tmp_path: Path) -> RunStore:
    return RunStore(tmp_path)


@pytest.fixture
def run(store: RunStore) -> Iterator[Callable[..., Claims]]:
    """Makes the claims of one more run on the same folder."""
    with ExitStack() as stack:
        yield lambda **settings: stack.enter_context(Claims(store, key_of, **settings))


def file_of(store: RunStore) -> Path:
    (path,) = (store.path / "claims").iterdir()
    return path


def rewrite(path: Path, **owner: Any) -> None:
    """Makes a claim look like somebody else's."""
    first, _, rest = path.read_text().partition("\n")
    path.write_text(json.dumps({**json.loads(first), **owner}) + "\n" + rest)


def test_a_cell_belongs_to_one_run_at_a_time(store, run):
    one, two = run(), run()
    assert one.enter(CELL) == "mine"
    assert two.enter(CELL) == "taken"
    assert two.enter(fakes.cell(seed=1)) == "mine"
    one.leave(CELL)
    assert two.enter(CELL) == "mine"


def test_what_ended_elsewhere_meanwhile_is_not_run_again(store, run):
    store.save(ended(Status.FAILED, "before"))
    run_now = run()
    store.save(ended(Status.FAILED, "meanwhile, in another run"))
    found = run_now.enter(CELL)
    assert isinstance(found, Record)
    assert found.reason == "meanwhile, in another run"
    assert not list((store.path).glob("claims/*"))


@pytest.mark.parametrize("moment", ["before", "meanwhile"])
def test_failures_of_earlier_runs_and_interrupted_cells_are_run(store, run, moment):
    if moment == "before":
        store.save(ended(Status.FAILED))
    claims = run()
    if moment == "meanwhile":
        store.save(ended(Status.INTERRUPTED))
    assert claims.enter(CELL) == "mine"


def test_nothing_is_left_when_a_run_ends(store):
    with Claims(store, key_of) as claims:
        claims.enter(CELL)
        claims.enter(fakes.cell(seed=1))
        claims.leave(CELL)
    assert not (store.path / "claims").exists()


def test_the_dead_of_this_machine_are_passed_over_at_once(store, run):
    child = subprocess.Popen(["sleep", "60"])
    first = run(patience=NEVER)
    assert first.enter(CELL) == "mine"
    stat = Path(f"/proc/{child.pid}/stat").read_text()
    rewrite(file_of(store), pid=child.pid, start=stat.rpartition(")")[2].split()[19])
    second = run(patience=NEVER)
    assert second.enter(CELL) == "taken"
    child.kill()
    child.wait()
    assert second.enter(CELL) == "mine"
    # The first, were it alive after all, gives back its own claim and not the second's.
    first.leave(CELL)
    assert run(patience=NEVER).enter(CELL) == "taken"
    second.leave(CELL)
    assert run(patience=NEVER).enter(CELL) == "mine"


def test_another_process_with_the_number_of_a_dead_one_is_not_it(store, run):
    assert run().enter(CELL) == "mine"
    rewrite(file_of(store), pid=os.getpid(), start="1")
    assert run(patience=NEVER).enter(CELL) == "mine"


@pytest.mark.parametrize("content", ["", '{"host": "x"', "[]", "null\n"])
def test_a_torn_claim_is_waited_for_like_that_of_another_machine(store, run, content):
    assert run(beat=NEVER).enter(CELL) == "mine"
    file_of(store).write_text(content)
    claims = run(patience=0.2)
    assert claims.enter(CELL) == "taken"
    time.sleep(0.3)
    assert claims.enter(CELL) == "mine"


@pytest.mark.parametrize("hours", [-8766, 8766])
def test_the_dead_of_other_machines_whatever_the_clocks_say(store, run, monkeypatch, hours):
    assert run(beat=NEVER).enter(CELL) == "mine"
    rewrite(file_of(store), machine="elsewhere")
    now = time.time()
    os.utime(file_of(store), (now + 3600 * hours, now + 3600 * hours))  # the server's clock
    claims = run(patience=0.5)
    assert claims.enter(CELL) == "taken"
    monkeypatch.setattr(time, "time", lambda: now - 3600 * hours)  # this machine's
    assert claims.enter(CELL) == "taken"
    time.sleep(0.6)
    assert claims.enter(CELL) == "mine"


@pytest.mark.parametrize("hours", [-8766, 0, 8766])
def test_the_living_keep_their_claims_whatever_the_clocks_say(store, run, monkeypatch, hours):
    """A clock that stands still at any time: only the count in the file shows life."""
    assert run(beat=0.02).enter(CELL) == "mine"
    path = file_of(store)
    text = path.read_text()
    # In place, as the owner does it, so that both may write.
    with path.open("r+") as file:
        file.write(text.replace('"machine": "', '"machine": "X', 1)[: len(text)])
    moment = time.time() + 3600 * hours
    monkeypatch.setattr(time, "time", lambda: moment)
    claims = run(patience=0.3)
    for _ in range(8):
        os.utime(path, (moment, moment))
        assert claims.enter(CELL) == "taken"
        time.sleep(0.1)


def test_of_many_that_pass_over_the_same_claim_one_gets_it(store, run):
    for number in range(10):
        cell = fakes.cell(seed=number)
        dead = run(beat=NEVER)
        assert dead.enter(cell) == "mine"
        rewrite(store.path / "claims" / f"{key_of(cell)}.0", start="1")
        contenders = [run() for _ in range(6)]
        barrier, found = threading.Barrier(6), []

        def contend(claims: Claims, cell: Cell = cell, barrier=barrier, found=found) -> None:
            barrier.wait()
            found.append(claims.enter(cell))

        threads = [threading.Thread(target=contend, args=(claims,)) for claims in contenders]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert sorted(found) == ["mine", *["taken"] * 5]


def test_claims_that_cannot_be_written_are_one_clear_error(store, run):
    (store.path / "claims").write_text("a file where the folder should be")
    with pytest.raises(ResultsError, match=r"cannot claim cells in .*; free space or choose"):
        run().enter(CELL)


def test_two_runs_on_one_folder_share_the_cells(store):
    """No cell is run twice, and both runs end with the records of all cells."""
    cells = worlds.grid()
    ran: list[list[str]] = [[], []]
    outcomes: list[Any] = [None, None]
    barrier = threading.Barrier(2)

    class Slow(fakes.Log):
        def __init__(self, number: int) -> None:
            super().__init__()
            self.number = number

        def cell_started(self, cell: Cell, batches: int) -> None:
            ran[self.number].append(repr(cell))
            time.sleep(0.05)

    def work(number: int) -> None:
        shared = worlds.resources()
        with Claims(store, shared.key) as claims:
            barrier.wait()
            outcomes[number] = run_cells(
                cells if number else cells[::-1],
                store,
                SerialExecutor(shared, gate=claims),
                resources=shared,
                progress=Slow(number),
            )

    threads = [threading.Thread(target=work, args=(number,)) for number in (0, 1)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert ran[0]
    assert ran[1]
    assert len(ran[0] + ran[1]) == len(set(ran[0] + ran[1]))
    keys = {record.key for record in store.records()}
    assert len(keys) == len(cells)
    for outcome in outcomes:
        assert {record.key for record in outcome.records} == keys
    assert worlds.no_files_under_way(store.path)
