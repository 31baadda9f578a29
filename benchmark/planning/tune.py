"""Tuning of options for the embedded default: the same small search for every method.

The shipped preset ``mini`` was chosen so (``make tune``), and a user's own preset file is: for an
installed method, or for the built-in ones again.

Every method that has a learning rate and a temperature gets the same trials: all pairs of
``RATES`` and ``TEMPERATURES``, everything else at its published value. The pair with the highest
mean R@1 over the validation shifts wins; test scenes and test corruptions are never touched.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import product
from pathlib import Path
from typing import Any

import pandas as pd
import yaml

from benchmark.cell import Cell, MethodSpec, Record
from benchmark.config.atomic import atomic_write
from benchmark.config.options import complete, option_names
from benchmark.config.presets import TUNABLE, USER_FILE, shipped_path
from benchmark.config.run import BenchConfig
from benchmark.data.suite import load_suite
from benchmark.errors import ConfigError, ResultsError
from benchmark.planning.grid import valid_shifts
from benchmark.registry import METHODS
from benchmark.store.csv_text import no_formulas

SUITE = "mini-validation"
RATES = (1e-3, 3e-3, 1e-2)
"""Learning rates tried. The published 3e-4 hardly moves so small an encoder."""
TEMPERATURES = (0.02, 0.04, 0.08)
"""Softmax temperatures tried. Published are 0.01 and 0.02; the encoder's own is about 0.05."""
QUERIES = 500
"""Queries of a trial and shift."""
SHIPPED = "mini"
"""The preset of what a user's preset file does not speak of."""
PRESET = Path(USER_FILE)
"""The user's preset file, in the current folder; never the shipped one."""
RUN = Path("results/runs/tune")


def tunable(methods: Sequence[str] | None) -> list[str]:
    """The methods to tune: all that have the two options, or those that are named.

    Raises:
        ConfigError: a named one that has nothing to tune.
    """
    names = METHODS.names() if methods is None else list(methods)
    found = [name for name in names if TUNABLE.issubset(option_names(METHODS.get(name).Options))]
    idle = sorted(set(names) - set(found))
    if methods is not None and idle:
        raise ConfigError(f"{', '.join(idle)}: no learning rate and temperature to tune")
    return found


def trials(methods: Iterable[str]) -> list[Cell]:
    """All trials of the methods on all validation benchmarks, one cell for each shift."""
    cells = []
    for card, name in product(load_suite(SUITE).benchmarks, methods):
        kind, shifts = METHODS.get(name), valid_shifts(BenchConfig(), card, card.shifts)
        for rate, temperature in product(RATES, TEMPERATURES):
            options = {"lr": rate, "temperature": temperature}
            values = complete(kind.Options, options, f"method {name!r}")
            method = MethodSpec(name, "trial", values, kind.card.version)
            cells += [
                Cell(SUITE, card.id, card.backbone, method, shift, limit=QUERIES)
                for shift in shifts
            ]
    return cells


def results_of(records: Iterable[Record]) -> pd.DataFrame:
    """One row per trial: R@1 on each validation shift, and their mean."""
    rows = [
        {
            "query": record.info["query_modality"],
            "method": record.cell["method"]["name"],
            **{name: record.cell["method"]["options"][name] for name in ("lr", "temperature")},
            "shift": record.cell["shift"]["name"],
            "R@1": record.metrics["R@1"],
        }
        for record in records
    ]
    index = ["query", "method", "lr", "temperature"]
    wide = pd.DataFrame(rows).pivot_table(index=index, columns="shift", values="R@1", sort=True)
    wide["mean"] = wide.mean(axis=1)
    return wide.reset_index()


def best_of(table: pd.DataFrame) -> pd.DataFrame:
    """The best row of each method and side; of equal ones the first, that is the gentlest."""
    return table.loc[table.groupby(["query", "method"])["mean"].idxmax()]


def is_shipped(target: Path) -> bool:
    """Whether a preset file is the shipped one."""
    return target.resolve() == shipped_path(SHIPPED)


def write_preset(target: Path, kept: Mapping[str, Any], table: pd.DataFrame) -> Path:
    """Writes the preset of the best trials, and the table of all beside it as CSV.

    Args:
        target: the preset file.
        kept: what it says already; methods that were not tuned keep it.
        table: of ``results_of``.

    Returns:
        The table's file.

    Raises:
        ResultsError: it cannot be written.
    """
    preset = {
        **kept,
        "about": f"chosen by 'queryshift tune' on {SUITE}: learning rate x temperature, "
        f"{len(RATES) * len(TEMPERATURES)} trials a method, {QUERIES} queries a shift",
        "data": SUITE,
    }
    if not is_shipped(target):
        preset.setdefault("extends", SHIPPED)
    for row in best_of(table).to_dict("records"):
        chosen = {name: float(row[name]) for name in ("lr", "temperature")}
        preset.setdefault(row["query"], {})[row["method"]] = chosen
    beside = target.with_name(f"{target.stem}-tuning.csv")
    try:
        # The preset last: what it says was chosen has its trials beside it.
        text = no_formulas(table.round(3)).to_csv(index=False, lineterminator="\n")
        atomic_write(beside, text.encode())
        atomic_write(target, yaml.safe_dump(preset, sort_keys=True).encode())
    except OSError as error:
        raise ResultsError(f"the preset cannot be written: {error}") from None
    return beside
