"""Tuning of options: the same small search for every method, on a validation set.

The shipped preset ``mini`` was chosen so (``make tune``), and a user's own preset file is: for an
installed method or the built-in ones, on the embedded validation part or on data of the user's own.

Every method that has a learning rate and a temperature gets the same trials, everything else at its
published value: all pairs of three rates and three temperatures, or ``budget`` pairs spread between
the outermost. The pair with the highest mean R@1 over the validation shifts wins; what methods are
judged on is refused.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import yaml
from scipy.stats import qmc

from benchmark.cell import Cell, MethodSpec, Record
from benchmark.config.atomic import atomic_write
from benchmark.config.options import complete, option_names
from benchmark.config.presets import TUNABLE, USER_FILE, shipped_path
from benchmark.config.run import Traced
from benchmark.data.own.source import SUITE as OWN
from benchmark.data.own.source import OwnSource
from benchmark.data.own.tables import open_table
from benchmark.errors import ConfigError, ResultsError
from benchmark.planning.plan import Plan, plan_flags
from benchmark.registry import BENCHMARKS, METHODS
from benchmark.store.csv_text import no_formulas

SUITE = "mini-validation"
JUDGED = ("mini", "paper")
"""Suites whose every benchmark is what methods are judged on, whatever its split is called."""
RATES = (1e-3, 3e-3, 1e-2)
"""Learning rates tried. The published 3e-4 hardly moves so small an encoder."""
TEMPERATURES = (0.02, 0.04, 0.08)
"""Softmax temperatures tried. Published are 0.01 and 0.02; the encoder's own is about 0.05."""
REAL_RATES = (1e-4, 3e-4, 1e-3)
"""Learning rates tried on other encoders: the published one, and a third of it and three times."""
REAL_TEMPERATURES = (0.005, 0.01, 0.02)
"""Temperatures tried on other encoders, around the published ones."""
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


def trials(settings: Mapping[str, Traced], budget: int | None = None) -> tuple[Plan, list[Cell]]:
    """The plan of a validation run, and all trials of its methods, one cell for each shift.

    Args:
        settings: of a run on validation data, its methods among them.
        budget: pairs of learning rate and temperature for each method; None: the grid of nine.

    Raises:
        ConfigError: settings that do not fit, or data that methods are judged on.
    """
    plan = plan_flags(settings)
    methods, cells = set(plan.config.method), []
    for base in plan.possible:
        if base.method.name not in methods:
            continue  # the source model
        _refuse_test_part(base)
        kind = METHODS.get(base.method.name)
        for rate, temperature in _pairs(base.backbone.embedded, budget):
            options = {"lr": rate, "temperature": temperature}
            values = complete(kind.Options, options, f"method {base.method.name!r}")
            method = MethodSpec(base.method.name, "trial", values, kind.card.version)
            cells.append(replace(base, method=method))
    return plan, cells


def _pairs(embedded: bool, budget: int | None) -> list[tuple[float, float]]:
    """Learning rates with temperatures; a larger budget has the pairs of a smaller one first."""
    axes = (RATES, TEMPERATURES) if embedded else (REAL_RATES, REAL_TEMPERATURES)
    if budget is None:
        return list(product(*axes))
    low, high = (np.log([axis[end] for axis in axes]) for end in (0, -1))
    points = qmc.Halton(2, scramble=False).random(budget + 1)[1:]  # the first is a corner
    found = np.exp(low + points * (high - low))
    return [(float(f"{rate:.2g}"), float(f"{temperature:.2g}")) for rate, temperature in found]


def _refuse_test_part(cell: Cell) -> None:
    """Refuses data on which methods are judged: what is chosen there is fitted to the test."""
    card = BENCHMARKS.get(cell.benchmark)
    if card.suite == OWN:
        source = OwnSource.of(cell.data_root)
        has_splits = "split" in open_table(source.place, dict(source.columns)).columns
        if not has_splits or not (source.split or "test").startswith("test"):
            return
        part = f"{source.place} is read at its split {source.split or 'test'!r}"
    elif card.suite in JUDGED or card.split.startswith("test"):
        part = f"benchmark {card.id!r} is what methods are judged on (split {card.split!r})"
    else:
        return
    raise ConfigError(
        f"{part}; options that were chosen there would be fitted to the test. Tune on a validation "
        f"set: --suite {SUITE}, or a table of your own (--data TABLE --split val --model NAME)"
    )


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


def check_target(target: Path, kept: Mapping[str, Any], data: str) -> None:
    """Refuses a preset file that options chosen on these data cannot go into.

    Raises:
        ConfigError: the shipped preset, or a file whose options were chosen on other data.
    """
    if is_shipped(target) and data != SUITE:
        raise ConfigError(
            f"{target} is the shipped preset, which is chosen on {SUITE} alone; say another file "
            "with --out"
        )
    before = kept.get("data", data)
    if before != data:
        raise ConfigError(
            f"the options in {target} were chosen on {before}, not on {data}; one file is for one "
            "validation set: say another file with --out"
        )


def write_preset(
    target: Path,
    kept: Mapping[str, Any],
    table: pd.DataFrame,
    *,
    data: str = SUITE,
    queries: int = QUERIES,
    embedded: bool = True,
) -> Path:
    """Writes the preset of the best trials, and the table of all beside it as CSV.

    Args:
        target: the preset file.
        kept: what it says already; methods that were not tuned keep it.
        table: of ``results_of``.
        data: name of the validation set.
        queries: of a trial and shift, at most.
        embedded: whether it was an embedded encoder that adapted; its file extends the shipped one.

    Returns:
        The table's file.

    Raises:
        ResultsError: it cannot be written.
    """
    tried = int(table.groupby(["query", "method"]).size().max())
    preset = {
        **kept,
        "about": f"chosen by 'queryshift tune' on {data}: learning rate x temperature, "
        f"{tried} trials a method, {queries} queries a shift",
        "data": data,
    }
    if embedded and not is_shipped(target):
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
