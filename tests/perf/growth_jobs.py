"""What each point of ``growth`` measures; every function runs in a process of its own.

Seconds are of this process's processors. ``added_mb`` is the peak of its memory less what it had
when the measured work began.
"""

from __future__ import annotations

import contextlib
import io
import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from rich.console import Console
from torch import Tensor, nn

from benchmark.cell import StreamSpec
from benchmark.cli.bench import Plan
from benchmark.data.retrieval import Relevance, RetrievalSet, Texts
from benchmark.evaluation.environment import peak_mb, start_peak
from benchmark.metrics.probes import KOccurrences
from benchmark.metrics.ranking import copies_of, rank, settled
from benchmark.metrics.streamed import streamed_ranks, streamed_top
from benchmark.registry import METHODS
from methods.base import QueryEncoder, Setup
from tests.benchmark import fakes
from tests.perf import invented_runs
from tests.perf.cells import done, mini_cell, without_disk
from tests.perf.test_cache import resident_after_cells, resident_mb
from tests.perf.test_gallery import DIM, gallery, problem, queries
from tests.perf.test_grid import CELLS_PER_SEED, GRID
from tests.perf.test_processes import seconds

BATCH, BEST = 64, 100
Found = dict[str, float]


@contextmanager
def spent(found: Found, prefix: str = "") -> Iterator[None]:
    """Notes processor seconds and added memory of what it encloses."""
    start_peak("cpu")
    memory, begun = resident_mb(), time.process_time()
    yield
    found[f"{prefix}seconds"] = round(time.process_time() - begun, 4)
    found[f"{prefix}added_mb"] = round(max(0.0, peak_mb() - memory), 1)


class Tower(QueryEncoder):
    """Embeddings with a trained norm: what is left of a step is what the gallery costs."""

    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(DIM)

    def forward(self, inputs: Tensor) -> Tensor:
        return nn.functional.normalize(self.norm(inputs), dim=-1)


def ranked(size: int, method: str) -> Found:
    """One batch against a gallery in memory: the method's step, then what a cell does with it."""
    torch.set_num_threads(1)
    rows, data = gallery(size), problem(max(size, 1000))
    kind = METHODS.get(method)
    made = kind(Setup(Tower().eval(), rows, 100.0), kind.Options())
    asked, places = queries()[:BATCH], np.arange(BATCH)
    found: Found = {"size": size, "method": method}  # type: ignore[dict-item]
    with spent(found, "once_"):
        copies = copies_of(rows)
    occurrences = KOccurrences()
    for _ in range(2):  # the first one warms up
        with spent(found, "step_"):
            scores = made.step(asked).scores
        with spent(found, "rank_"):
            scores = settled(scores, copies)
            occurrences.add(scores)
            rank(scores, data, places)
    found["added_mb"] = max(found["step_added_mb"], found["rank_added_mb"])
    found["seconds"] = found["step_seconds"] + found["rank_seconds"]
    return found


def ranked_from_file(path: str, size: int) -> Found:
    """One batch against a half-precision gallery in a memory-mapped file, made here."""
    torch.set_num_threads(1)
    _write_gallery(Path(path), size)
    rows, asked = np.load(path, mmap_mode="r"), queries()[:BATCH]
    relevant = [np.array([number * (size // BATCH)]) for number in range(BATCH)]
    found: Found = {"size": size, "file_mb": round(os.stat(path).st_size / 2**20)}
    for name, job in (
        ("rank", lambda: streamed_ranks(asked, rows, relevant)),
        ("top", lambda: streamed_top(asked, rows, BEST)),
    ):
        with _private_peak() as peak, spent(found, f"{name}_"):
            job()
        # Pages of the file count as resident as long as nobody else needs the room.
        found[f"{name}_added_mb"] = round(peak[1] - peak[0], 1)
    Path(path).unlink()
    found["seconds"], found["added_mb"] = found["rank_seconds"], found["rank_added_mb"]
    return found


def _write_gallery(path: Path, size: int, at_once: int = 50_000) -> None:
    rows = np.lib.format.open_memmap(path, "w+", np.float16, (size, DIM))
    generator = torch.Generator().manual_seed(0)
    for start in range(0, size, at_once):
        part = torch.randn(min(at_once, size - start), DIM, generator=generator)
        rows[start : start + len(part)] = nn.functional.normalize(part, dim=1).half().numpy()
    rows.flush()
    del rows


@contextmanager
def _private_peak() -> Iterator[list[float]]:
    """[memory at the start, its peak] in MiB without pages of files, looked at every 20 ms."""
    sizes, stop = [_private_mb()] * 2, threading.Event()

    def watch() -> None:
        while not stop.wait(0.02):
            sizes[1] = max(sizes[1], _private_mb())

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield sizes
    finally:
        stop.set()
        thread.join()


def _private_mb() -> float:
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    return int(next(x for x in lines if x.startswith("RssAnon:")).split()[1]) / 1024


def whole_cell(count: int) -> Found:
    """A cell of so many queries and 1,000 items, with an encoder that costs next to nothing."""
    torch.set_num_threads(1)
    ids = [f"image-{number}" for number in range(count)]
    images = np.resize(fakes.pictures(1000), (count, fakes.SIZE, fakes.SIZE, 3))
    data = RetrievalSet(
        name="many",
        query_modality="image",
        gallery_modality="text",
        queries=fakes.Pictures(ids, images),
        gallery=Texts([f"text-{n}" for n in range(1000)], [f"{n} 0" for n in range(1000)]),
        relevance=Relevance.from_lists([[number % 1000] for number in range(count)]),
        groups=np.arange(count),
        fingerprint=f"many-{count}",
    )
    resources = fakes.resources(load_data=lambda _: data, workers=0)
    found: Found = {"size": count}
    with spent(found):
        done(fakes.cell("trained", stream=StreamSpec(batch_size=BATCH)), resources)
    return found


def batches(method: str, size: int) -> Found:
    """128 queries of the embedded default in batches of a size: the second of two equal cells."""
    torch.set_num_threads(1)
    resources = without_disk()
    cell = replace(mini_cell(method, limit=128), stream=StreamSpec(batch_size=size))
    done(cell, resources)
    found: Found = {"size": size, "method": method}  # type: ignore[dict-item]
    with spent(found):
        done(cell, resources)
    return found


def planned(folder: str, count: int) -> Found:
    """``queryshift plan`` of a grid: real keys, nothing stored yet."""
    path = Path(folder) / "many.yaml"
    seeds = -(-count // CELLS_PER_SEED)
    path.write_text(GRID.format(last=seeds - 1))
    os.chdir(folder)
    command, said = Plan(), io.StringIO()
    found: Found = {"size": seeds * CELLS_PER_SEED, "what": "planned"}  # type: ignore[dict-item]
    with spent(found):
        args = command.parser().parse_args([str(path)])
        assert command.run(args, Console(file=said, width=200)) == 0
    assert f"{seeds * CELLS_PER_SEED} cells" in said.getvalue().replace(",", "")
    return found


def stored(folder: str, count: int) -> Found:
    """Saving 100 cells into a folder that holds so many; times are of all of them at that rate."""
    store = invented_runs.write(Path(folder) / "run", count)
    size = sum(entry.stat().st_blocks for entry in os.scandir(store.cells)) * 512
    some = list(invented_runs.cells(100))
    made = [invented_runs.finished(cell) for cell in some]
    found: Found = {"size": count, "what": "stored"}  # type: ignore[dict-item]
    with spent(found):
        for record, numbers in made:
            store.save(record, numbers.arrays)
    found["seconds"] = round(found["seconds"] * count / len(some), 4)
    return {**found, "disk_mb": round(size / 2**20, 1)}


def parallel(count: int) -> Found:
    """Fourteen cells by so many processes: wall time, and the memory of all of them."""
    sizes, stop = [0.0], threading.Event()

    def watch() -> None:
        while not stop.wait(0.1):
            sizes[0] = max(sizes[0], sum(_of_children()))

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        took = seconds(count, 1)
    finally:
        stop.set()
        thread.join()
    return {"size": count, "seconds": round(took, 2), "added_mb": round(sizes[0], 1)}


def _of_children() -> Iterator[float]:
    """Proportional share of memory, in MiB, of each process that this one has started."""
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError, StopIteration, ValueError):
            status = (folder / "status").read_text(encoding="ascii", errors="replace")
            if f"PPid:\t{os.getpid()}\n" in status:
                lines = (folder / "smaps_rollup").read_text(encoding="ascii").splitlines()
                yield int(next(x for x in lines if x.startswith("Pss:")).split()[1]) / 1024


def one_process(count: int) -> Found:
    """Resident size after the first and the last of so many cells of one process."""
    sizes = resident_after_cells(True, count, limit=32)
    return {
        "size": count,
        "first_mb": round(sizes[0], 1),
        "last_mb": round(sizes[-1], 1),
        "last_to_first": round(sizes[-1] / sizes[0], 3),
        "last_to_tenth": round(sizes[-1] / sizes[9], 3),
    }
