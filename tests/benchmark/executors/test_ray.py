"""A Ray cluster of two nodes on this machine: same results, lost workers, time limits."""

from __future__ import annotations

import gc
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from benchmark.cell import Record
from benchmark.errors import ConfigError
from benchmark.executors import SerialExecutor
from benchmark.executors.ray import RayExecutor
from benchmark.store.run_store import RunStore
from tests.benchmark import fakes
from tests.benchmark.executors import worlds
from tests.benchmark.fakes import run_cells

# Ray leaves sockets and files to the garbage collector, which others' tests must not pay for.
needs_ray = [pytest.mark.slow, pytest.mark.filterwarnings("ignore")]


@pytest.fixture(scope="module")
def cluster() -> Iterator[Any]:
    pytest.importorskip("ray", reason="needs the extra: pip install 'queryshift[ray]'")
    from ray.cluster_utils import Cluster

    patch = pytest.MonkeyPatch()
    patch.setenv("RAY_worker_niceness", "0")  # 15 otherwise, which starves them beside other work
    node = {"num_cpus": 1, "object_store_memory": 100_000_000, "include_dashboard": False}
    cluster = Cluster(initialize_head=True, head_node_args=node)
    try:
        cluster.add_node(**{key: node[key] for key in ("num_cpus", "object_store_memory")})
        cluster.wait_for_nodes()
        yield cluster
    finally:
        cluster.shutdown()
        patch.undo()
        gc.collect()


@pytest.fixture
def address(cluster: Any) -> str:
    return str(cluster.address)


class TestOnTwoNodes:
    pytestmark = needs_ray

    def test_same_bytes_as_in_this_process(
        self, address: str, tmp_path: Path, one_thread: None
    ) -> None:
        here, there = RunStore(tmp_path / "here"), RunStore(tmp_path / "there")
        shared, cells = worlds.resources(), worlds.grid()
        run_cells(cells, here, SerialExecutor(shared), resources=shared)
        log = fakes.Log()
        executor = RayExecutor(worlds.resources, address=address)  # each node holds one worker
        outcome = run_cells(cells, there, executor, resources=shared, progress=log)
        assert outcome.reused == 0
        assert len(worlds.content(here)) == len(cells)
        assert worlds.content(there) == worlds.content(here)
        assert [event[0] for event in log.events] == ["done"] * len(cells)
        again = run_cells(cells[:3], there, executor, resources=shared)
        assert again.reused == 3

    def test_a_lost_worker_costs_no_cell_and_a_failed_cell_is_not_tried_again(
        self, address: str, tmp_path: Path
    ) -> None:
        cells = [
            worlds.trap("is_killed", tmp_path / "once"),
            worlds.trap("raises", tmp_path / "tried"),
            worlds.trap("is_killed"),
            worlds.trap("hangs"),
            fakes.cell(),
        ]
        saved = worlds.Saved()
        executor = RayExecutor(worlds.resources, address=address, time_limit=20, retries=1)
        records = executor.run(cells, saved)
        assert worlds.statuses(records) == ["done", "failed", "failed", "timeout", "done"]
        # Tried again it would have succeeded: the trap springs only while its file is missing.
        assert records[1].reason == "RuntimeError: sprung"
        assert records[2].reason.startswith("WorkerDied: the worker of this cell was lost 2 times")
        assert records[3].reason.startswith("TimeLimit: the cell took longer than 20 s")
        assert [record.cell for record in records] == [cell.to_dict() for cell in cells]
        assert sorted(r.key for r in saved.records) == sorted(r.key for r in records)

    def test_a_lost_machine_costs_no_cell(self, cluster: Any, tmp_path: Path) -> None:
        # Only these two have room for a worker of two threads, and one worker is asked for.
        memory = 100_000_000
        machines = [cluster.add_node(num_cpus=2, object_store_memory=memory) for _ in range(2)]
        cluster.wait_for_nodes()
        flag = tmp_path / "under way"
        lost = []

        def lose_the_machine_at_work() -> None:
            while not (flag.exists() and flag.read_text()):
                time.sleep(0.05)
            status = Path(f"/proc/{flag.read_text()}/status").read_text()
            parent = int(status.split("PPid:")[1].split()[0])
            for machine in machines:
                if machine.all_processes["raylet"][0].process.pid == parent:
                    lost.append(machine)
                    cluster.remove_node(machine, allow_graceful=False)

        thread = threading.Thread(target=lose_the_machine_at_work, daemon=True)
        thread.start()
        saved = worlds.Saved()
        executor = RayExecutor(worlds.resources, address=cluster.address, threads=2, workers=1)
        records = executor.run([worlds.trap("hangs", flag), fakes.cell()], saved)
        thread.join(timeout=60)
        for machine in machines:
            if machine not in lost:
                cluster.remove_node(machine)
        assert len(lost) == 1
        assert worlds.statuses(records) == ["done", "done"]
        assert sorted(r.key for r in saved.records) == sorted(r.key for r in records)

    def test_ctrl_c_saves_the_cells_under_way(self, address: str) -> None:
        saved = worlds.Saved()

        class Interrupting(fakes.Log):
            def cell_done(self, record: Record) -> None:
                raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            RayExecutor(worlds.resources, address=address).run(
                [worlds.trap("hangs"), fakes.cell(seed=1)], saved, progress=Interrupting()
            )
        assert worlds.statuses(saved.records) == ["done", "interrupted"]

    def test_a_cluster_without_room_is_one_clear_error(self, address: str) -> None:
        executor = RayExecutor(worlds.resources, address=address, threads=64)
        with pytest.raises(ConfigError, match="no machine of the Ray cluster has 64 CPUs"):
            executor.run([fakes.cell()], worlds.Saved())
