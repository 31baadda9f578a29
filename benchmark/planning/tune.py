"""Chooses options for the embedded default: the same small search for every method.

The shipped preset ``mini`` was chosen so (``make tune``), and a user's own preset file is: for an
installed method, or for the built-in ones again.

Every method that has a learning rate and a temperature gets the same trials: all pairs of
``RATES`` and ``TEMPERATURES``, everything else at its published value. The pair with the highest
mean R@1 over the validation shifts wins; test scenes and test corruptions are never touched.
"""

from __future__ import annotations

import dataclasses
import itertools
import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

import pandas as pd
import yaml

from benchmark.cell import Cell, MethodSpec, Record, Status
from benchmark.config.atomic import atomic_write
from benchmark.config.options import complete, option_names
from benchmark.config.presets import TUNABLE, USER_FILE, read_preset, shipped_path
from benchmark.config.run import BenchConfig
from benchmark.data.suite import BenchmarkCard, load_suite
from benchmark.errors import ConfigError, ResultsError
from benchmark.evaluation.builders import default_resources
from benchmark.evaluation.callbacks import Callback
from benchmark.executors import ProcessExecutor, SerialExecutor, run_cells
from benchmark.planning.grid import Grid, valid_shifts
from benchmark.registry import METHODS
from benchmark.store.csv_text import no_formulas
from benchmark.store.run_store import RunStore

logger = logging.getLogger(__name__)

SUITE = "mini-validation"
RATES = (1e-3, 3e-3, 1e-2)
"""Learning rates tried. The published 3e-4 hardly moves so small an encoder."""
TEMPERATURES = (0.02, 0.04, 0.08)
"""Softmax temperatures tried. Published are 0.01 and 0.02; the encoder's own is about 0.05."""
QUERIES = 500
"""Queries of a trial and shift."""
SEED = 0
SHIPPED = "mini"
"""The preset of what a user's preset file does not speak of."""
PRESET = Path(USER_FILE)
"""The user's preset file, in the current folder; never the shipped one."""
RUN = Path("results/runs/tune")


@dataclasses.dataclass(frozen=True)
class Trial:
    """One setting of one method on one side of the queries."""

    query: str
    method: str
    options: tuple[tuple[str, float], ...]


def run(
    *,
    methods: Sequence[str] | None = None,
    workers: int = 1,
    out: Path | None = None,
    say: Callable[[str], object] = logger.info,
    show: Callable[[pd.DataFrame], object] = lambda best: None,
    bars: Callable[[int], AbstractContextManager[Callback]] | None = None,
) -> int:
    """Runs the search (finished trials are reused) and writes the preset and its table.

    Args:
        methods: names to tune; None for every method that has the two options.
        workers: trials at the same time.
        out: preset file to write, by default ``PRESET``; the table of all trials is written
            beside it as CSV. Methods that are not tuned now keep what the file says of them.
        say: told what is done, a line at a time.
        show: told what was chosen: a row for each method and kind of query.
        bars: given the number of cells to run, makes what is told of their progress.

    Returns:
        Exit code: 0, or 1 where a trial failed.

    Raises:
        ConfigError: a method that has nothing to tune, or a preset file that cannot be read.
        ResultsError: the preset cannot be written.
    """
    target = out or PRESET
    names = _tunable(methods)
    kept = read_preset(target) if target.exists() else {}
    jobs: list[tuple[Trial, Cell]] = []
    for card in load_suite(SUITE).benchmarks:
        jobs += [job for name in names for job in _jobs(card, name)]
    resources = default_resources()
    executor = (
        SerialExecutor(resources)
        if workers == 1
        else ProcessExecutor(default_resources, workers=workers)
    )
    say(f"{len(jobs)} validation cells, {len(names)} methods, the same trials for each")
    cells, store = [cell for _, cell in jobs], RunStore(RUN)
    keys = {resources.key(cell) for cell in cells}
    waiting = len(keys) - len(store.finished(keys))
    with bars(waiting) if bars else nullcontext() as progress:
        outcome = run_cells(cells, store, executor, resources=resources, progress=progress)
    failed = [record for record in outcome.records if record.status is not Status.DONE]
    for record in failed:
        say(f"failed: {record.cell['method']['name']}: {record.reason}")
    if failed:
        return 1
    table = _table([trial for trial, _ in jobs], outcome.records)
    best = _best(table)
    _write(target, kept, table, best)
    show(best)
    say(f"wrote {target} and {_csv(target)}")
    if not _shipped(target):
        say(f"use it with --preset {target}")
    return 0


def _tunable(methods: Sequence[str] | None) -> list[str]:
    """Methods with the two options, checked."""
    names = METHODS.names() if methods is None else list(methods)
    found = [name for name in names if TUNABLE.issubset(option_names(METHODS.get(name).Options))]
    idle = sorted(set(names) - set(found))
    if methods is not None and idle:
        raise ConfigError(f"{', '.join(idle)}: no learning rate and temperature to tune")
    return found


def _jobs(card: BenchmarkCard, name: str) -> Iterator[tuple[Trial, Cell]]:
    """All trials of a method on one validation benchmark, one cell for each shift."""
    kind = METHODS.get(name)
    for rate, temperature in itertools.product(RATES, TEMPERATURES):
        options = {"lr": rate, "temperature": temperature}
        spec = MethodSpec(
            name, "trial", complete(kind.Options, options, f"method {name!r}"), kind.card.version
        )
        grid = Grid(
            suite=SUITE,
            benchmarks=(card.id,),
            methods=(spec,),
            shifts=valid_shifts(BenchConfig(), card, card.shifts),
            seeds=(SEED,),
            backbones=(card.backbone,),
            limit=QUERIES,
        )
        for cell in grid.cells():
            yield Trial(card.query, name, tuple(options.items())), cell


def _table(trials: Sequence[Trial], records: Sequence[Record]) -> pd.DataFrame:
    """One row per trial: R@1 on each validation shift, and their mean."""
    rows = [
        {
            "query": trial.query,
            "method": trial.method,
            **dict(trial.options),
            "shift": record.cell["shift"]["name"],
            "R@1": record.metrics["R@1"],
        }
        for trial, record in zip(trials, records, strict=True)
    ]
    frame = pd.DataFrame(rows)
    index = ["query", "method", "lr", "temperature"]
    wide = frame.pivot_table(index=index, columns="shift", values="R@1", sort=True)
    wide["mean"] = wide.mean(axis=1)
    return wide.reset_index()


def _best(table: pd.DataFrame) -> pd.DataFrame:
    """The best row of each method and side; of equal ones the first, that is the gentlest."""
    return table.loc[table.groupby(["query", "method"])["mean"].idxmax()]


def _shipped(target: Path) -> bool:
    return target.resolve() == shipped_path(SHIPPED)


def _csv(target: Path) -> Path:
    return target.with_name(f"{target.stem}-tuning.csv")


def _write(target: Path, kept: Mapping[str, Any], table: pd.DataFrame, best: pd.DataFrame) -> None:
    preset = dict(kept)
    preset["about"] = (
        f"chosen by 'queryshift tune' on {SUITE}: learning rate x temperature, "
        f"{len(RATES) * len(TEMPERATURES)} trials a method, {QUERIES} queries a shift"
    )
    preset["data"] = SUITE
    if not _shipped(target):
        preset.setdefault("extends", SHIPPED)
    for row in best.to_dict("records"):
        chosen = {name: float(row[name]) for name in ("lr", "temperature")}
        preset.setdefault(row["query"], {})[row["method"]] = chosen
    try:
        # The preset last: what it says was chosen has its trials beside it.
        trials = no_formulas(table.round(3)).to_csv(index=False, lineterminator="\n")
        atomic_write(_csv(target), trials.encode())
        atomic_write(target, yaml.safe_dump(preset, sort_keys=True).encode())
    except OSError as error:
        raise ResultsError(f"the preset cannot be written: {error}") from None
