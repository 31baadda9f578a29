"""Tuning of options: the same search for every method, on a validation set.

The shipped preset ``mini`` was chosen so (``make tune``), and a user's own preset file is: for an
installed method or the built-in ones, on the embedded validation part or on data of the user's own.

Each method gets the same budget of trials (``search``) of its learning rate, its temperature and
the option that its card names; everything else stays at the published value, or at what the preset
says is fixed. The trial with the highest mean R@1 over the validation shifts wins; what methods are
judged on is refused.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from statistics import mean
from typing import Any

import pandas as pd
import yaml

from benchmark.cell import Cell, MethodSpec, Record, Status
from benchmark.config.files import atomic_write, no_formulas
from benchmark.config.presets import BY_HAND, USER_FILE, complete, shipped_path
from benchmark.config.run import Traced
from benchmark.data.card import OWN
from benchmark.data.own.source import OwnSource
from benchmark.data.own.tables import open_table
from benchmark.errors import ConfigError, ResultsError
from benchmark.planning.plan import Plan, plan_flags
from benchmark.planning.search import Axis, Trial, axes_of, best_trial, next_trials, searched
from benchmark.registry import BENCHMARKS, METHODS

SUITE = "mini-validation"
JUDGED = ("mini", "paper")
"""Suites whose every benchmark is what methods are judged on, whatever its split is called."""
QUERIES = 252
"""Queries of a trial and shift: as many as the smallest embedded validation set has."""
TRIALS = 9
"""Trials of a method on each side, before a best value at the end of its range is followed."""
SHIPPED = "mini"
"""The preset of what a user's preset file does not speak of."""
PRESET = Path(USER_FILE)
"""The user's preset file, in the current folder; never the shipped one."""
RUN = Path("results/runs/tune")
NOTHING = "no learning rate, temperature or option of its card to tune"


def tunable(methods: Sequence[str] | None) -> list[str]:
    """The methods to tune: all that have an option to search, or those that are named.

    Raises:
        ConfigError: a named one that has nothing to tune.
    """
    names = METHODS.names() if methods is None else list(methods)
    found = [name for name in names if searched(name)]
    idle = sorted(set(names) - set(found))
    if methods is not None and idle:
        raise ConfigError(f"{', '.join(idle)}: {NOTHING}")
    return found


@dataclass(slots=True)
class Study:
    """The search for one method on one side of the queries.

    Attributes:
        side: modality of the queries.
        method: the method's name.
        axes: the options that are searched.
        cells: the validation cells, one for each shift, with the method as a run would have it.
        recalls: trial -> shift and cell -> R@1 in percent, where the method did not diverge.
    """

    side: str
    method: str
    axes: tuple[Axis, ...]
    cells: list[Cell] = field(default_factory=list)
    recalls: dict[Trial, dict[tuple[str, str], float]] = field(default_factory=dict)

    @property
    def scores(self) -> dict[Trial, float]:
        """Mean R@1 over the shifts of each trial; below 0 where the method diverged."""
        return {
            trial: sum(found.values()) / len(found) if len(found) == len(self.cells) else -1.0
            for trial, found in self.recalls.items()
        }

    def wanted(self, budget: int) -> list[Cell]:
        """The cells of the next trials, none where the budget is spent or nothing is left."""
        kind, found = METHODS.get(self.method), []
        for trial in next_trials(self.axes, self.scores, budget):
            for base in self.cells:
                spec = base.method
                fixed = {
                    n: spec.options[n] for n, origin in spec.origins.items() if origin == BY_HAND
                }
                options = {**fixed, **self.named(trial)}
                values = complete(kind.Options, options, f"method {self.method!r}")
                made = MethodSpec(self.method, "trial", values, kind.card.version)
                found.append(replace(base, method=made))
        return found

    def named(self, trial: Trial) -> dict[str, Any]:
        """The options of a trial."""
        return {axis.name: value for axis, value in zip(self.axes, trial, strict=True)}

    def take(self, record: Record) -> None:
        """Keeps what a cell of a trial says."""
        options = record.cell["method"]["options"]
        found = self.recalls.setdefault(tuple(options[axis.name] for axis in self.axes), {})
        if record.status is Status.DONE:
            found[record.cell["shift"]["name"], record.key] = record.metrics["R@1"]

    def rows(self) -> list[dict[str, Any]]:
        """A row for each trial."""
        rows, scores = [], self.scores
        for trial, found in self.recalls.items():
            by_shift: dict[str, list[float]] = {}
            for (shift, _), recall in found.items():
                by_shift.setdefault(shift, []).append(recall)
            row = {"query": self.side, "method": self.method, **self.named(trial)}
            row |= {shift: mean(recalls) for shift, recalls in by_shift.items()}
            rows.append({**row, "mean": max(scores[trial], 0.0)})
        return rows


def studies(settings: Mapping[str, Traced]) -> tuple[Plan, list[Study]]:
    """The plan of a validation run, and the searches of its methods.

    Args:
        settings: of a run on validation data, its methods among them.

    Raises:
        ConfigError: settings that do not fit, or data that methods are judged on.
    """
    plan = plan_flags(settings)
    methods, found = set(plan.config.method), dict[tuple[str, str], Study]()
    for cell in plan.possible:
        name = cell.method.name
        if name not in methods:
            continue  # the source model
        _refuse_test_part(cell)
        side, kind = BENCHMARKS.get(cell.benchmark).query, METHODS.get(name)
        axes = axes_of(kind.Options, kind.card.knob, cell.backbone.embedded)
        found.setdefault((side, name), Study(side, name, axes)).cells.append(cell)
    return plan, list(found.values())


def data_name(cell: Cell) -> str:
    """What a preset calls a cell's validation data: its suite; own data by name and split."""
    if cell.suite != OWN:
        return cell.suite
    name, split = cell.benchmark.rpartition("-")[0], OwnSource.of(cell.data_root).split
    return f"{name} (split {split})" if split else name


def _refuse_test_part(cell: Cell) -> None:
    """Refuses data on which methods are judged: what is chosen there is fitted to the test."""
    card = BENCHMARKS.get(cell.benchmark)
    if card.suite == OWN:
        source = OwnSource.of(cell.data_root)
        if source.unlabelled:
            raise ConfigError(
                "tuning chooses the options with the highest recall, which a log without labels "
                "(--unlabelled) does not have: name a labelled table"
            )
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
    if kept.get("data", data) != data:
        raise ConfigError(
            f"the options in {target} were chosen on {kept['data']}, not on {data}; one file is "
            "for one validation set: say another file with --out"
        )


def write_preset(
    target: Path, kept: Mapping[str, Any], found: Sequence[Study], data: str, how: str
) -> Path:
    """Writes the preset of the best trials, and the table of all beside it as CSV.

    The file of embedded encoders extends the shipped one.

    Args:
        kept: what it says already; methods that were not tuned keep it.
        data: name of the validation set.
        how: the size of the searches, in words.

    Returns:
        The table's file.

    Raises:
        ResultsError: it cannot be written.
    """
    about = (
        f"chosen by 'queryshift tune' on {data}: learning rate, temperature and one option of the "
        f"method, {how}"
    )
    preset = {**kept, "about": about, "data": data}
    embedded = all(cell.backbone.embedded for study in found for cell in study.cells)
    if embedded and not is_shipped(target):
        preset.setdefault("extends", SHIPPED)
    for study in found:
        chosen = study.named(best_trial(study.scores))
        preset.setdefault(study.side, {})[study.method] = chosen
    beside = target.with_name(f"{target.stem}-tuning.csv")
    try:
        table = _with_kept_rows(found, beside)
        # The preset last: what it says was chosen has its trials beside it.
        text = no_formulas(table.round(3)).to_csv(index=False, lineterminator="\n")
        atomic_write(beside, text.encode())
        atomic_write(target, yaml.safe_dump(preset, sort_keys=True).encode())
    except OSError as error:
        raise ResultsError(f"the preset cannot be written: {error}") from None
    return beside


def _with_kept_rows(found: Sequence[Study], path: Path) -> pd.DataFrame:
    """A row for each trial: R@1 on each validation shift, and their mean.

    With those that the file has of other methods and sides.
    """
    keys = ["query", "method"]
    table = pd.DataFrame([row for study in found for row in study.rows()])
    options = [axis.name for study in found for axis in study.axes]
    shifts = sorted(set(table.columns) - {*keys, *options, "mean"})
    table = table[[*keys, *dict.fromkeys(options), *shifts, "mean"]]
    if path.is_file():
        before = pd.read_csv(path)
        if set(keys) <= set(before.columns):
            tuned = pd.MultiIndex.from_frame(table[keys])
            again = pd.MultiIndex.from_frame(before[keys]).isin(tuned)
            table = pd.concat([before[~again], table])
            table = table[[*(name for name in table.columns if name != "mean"), "mean"]]
    return table.sort_values(keys, kind="stable")
