"""What ``queryshift report`` takes for a stored run; it imports no more than that command does."""

from __future__ import annotations

import io
import os
import time
from pathlib import Path

from rich.console import Console

from benchmark.cli.runs import Report
from benchmark.evaluation.environment import peak_mb
from benchmark.store.run_store import RunStore


def reported(folder: str) -> dict[str, float]:
    """The report without figures: its time, and the peak memory of the whole process."""
    run = Path(folder) / "run"
    command, said = Report(), io.StringIO()
    begun = time.process_time()
    args = command.parser().parse_args([str(run), "--no-figures"])
    assert command.run(args, Console(file=said, width=200)) == 0
    count = sum(name.endswith(".json") for name in os.listdir(run / "cells"))
    return {
        **{"size": count, "what": "reported"},  # type: ignore[dict-item]
        "seconds": round(time.process_time() - begun, 2),
        "peak_mb": round(peak_mb(), 1),
        "page_mb": round((run / "leaderboard.html").stat().st_size / 2**20, 1),
        "tidy_mb": round((run / "tidy.csv").stat().st_size / 2**20, 1),
    }


def found_again(folder: str) -> dict[str, float]:
    """Reading which cells of a run are finished, as a run that goes on does."""
    store = RunStore(Path(folder) / "run")
    names = [name for name in os.listdir(store.cells) if name.endswith(".json")]
    begun = time.process_time()
    assert len(store.finished({name[:-5].rpartition("_")[2] for name in names})) == len(names)
    return {
        **{"size": len(names), "what": "found again"},  # type: ignore[dict-item]
        "seconds": round(time.process_time() - begun, 2),
        "peak_mb": round(peak_mb(), 1),
    }
