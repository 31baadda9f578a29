"""How time and memory grow with gallery, queries, batch size, cells and workers.

``python -m tests.perf.growth [PART ...]`` measures all parts, or those named, writes
``results/growth.json``, draws ``docs/images/growth-*.png`` and lists the slopes in docs/scale.md.
Each point is a process of its own with one thread; times are processor time, as the machine may be
shared, and memory is what a point adds to the process.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from types import ModuleType
from typing import Any

import torch

from benchmark.evaluation.environment import cpu_model, usable_cores
from tests.perf import growth_jobs, growth_report
from tests.perf.cells import ROOT, in_child
from tests.perf.growth_page import draw, with_slopes

KEPT = ROOT / "results/growth.json"
DOCS = ROOT / "docs/scale.md"

Points = Iterator[dict[str, Any]]


def point(job: str, *arguments: Any, module: ModuleType = growth_jobs) -> dict[str, Any]:
    """What a job says, in a process of its own; printed as it comes."""
    begun = time.perf_counter()
    found: dict[str, Any] = in_child(module.__name__, job, *arguments)
    said = ", ".join(f"{name} {value}" for name, value in found.items())
    print(f"  {job}: {said} ({time.perf_counter() - begun:.0f} s)", flush=True)
    return found


def gallery() -> Points:
    for name in ("source", "tent"):
        for size in (1_000, 10_000, 100_000, 1_000_000):
            yield point("ranked", size, name)


def streamed() -> Points:
    """A half-precision gallery in a file, up to ten million rows; the file is removed after."""
    with tempfile.TemporaryDirectory(prefix="growth-") as folder:
        for size in (10_000, 100_000, 1_000_000, 10_000_000):
            yield point("ranked_from_file", str(Path(folder) / "gallery.npy"), size)


def queries() -> Points:
    for count in (100, 1_000, 10_000, 100_000):
        yield point("whole_cell", count)


def batch() -> Points:
    for name in ("source", "tent"):
        for size in (1, 4, 16, 64):
            yield point("batches", name, size)


def cells() -> Points:
    for count in (100, 1_000, 10_000, 100_000):
        with tempfile.TemporaryDirectory(prefix="growth-") as folder:
            yield point("planned", folder, count)
            yield point("stored", folder, count)
            yield point("reported", folder, module=growth_report)
            yield point("found_again", folder, module=growth_report)


def workers() -> Points:
    for count in (1, 2, 4):
        yield point("parallel", count)


def process() -> Points:
    yield point("one_process", 408)


PARTS: dict[str, Callable[[], Points]] = {
    part.__name__: part for part in (gallery, streamed, queries, batch, cells, workers, process)
}


def main(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.perf.growth", description=__doc__)
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"of {', '.join(PARTS)}")
    parser.add_argument("--draw", action="store_true", help="only draw what was measured before")
    args = parser.parse_args(arguments)
    unknown = sorted(set(args.parts) - set(PARTS))
    if unknown:
        parser.error(f"no part {', '.join(unknown)}; there are {', '.join(PARTS)}")
    kept: dict[str, Any] = json.loads(KEPT.read_text("utf-8")) if KEPT.is_file() else {}
    for name in [] if args.draw else args.parts or PARTS:
        print(name, flush=True)
        points: list[dict[str, Any]] = []
        kept[name] = {**_place(), "points": points}
        for found in PARTS[name]():
            points.append(found)
            KEPT.write_text(json.dumps(kept, indent=1) + "\n", encoding="utf-8")
    draw(kept, ROOT / "docs/images")
    DOCS.write_text(with_slopes(DOCS.read_text("utf-8"), kept), encoding="utf-8")
    return 0


def _place() -> Mapping[str, Any]:
    load = os.getloadavg()[0]
    return {
        "machine": f"{cpu_model()}, {usable_cores()} cores",
        "load_at_start": round(load, 1),
        "torch": torch.__version__,
        "python": platform.python_version(),
        "date": datetime.now(UTC).date().isoformat(),
    }


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
