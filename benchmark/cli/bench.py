"""``queryshift bench``, the one pipeline, and its other names: suite, grid, plan."""

from __future__ import annotations

import argparse
import functools
import sys
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from rich.console import Console

from benchmark.cell import Cell, Record, Status, unfinished
from benchmark.cli.command import FAILED, INTERRUPTED, OK, RUNS, Command, say, seldom_collected
from benchmark.cli.progress import EVERY, Bars, Lines
from benchmark.cli.terminal import Output, console_over
from benchmark.config import run as settings
from benchmark.config.run import BenchConfig

if TYPE_CHECKING:
    from benchmark.planning.grid import Planned
    from benchmark.planning.plan import Plan as RunPlan
    from benchmark.report.pools import Pool
    from benchmark.report.results import CellResult
    from benchmark.store.run_store import RunStore

SUITE = {"benchmark": ("all",), "shift": ("all",), "suite": "mini"}
"""A whole suite: all its benchmarks, each under its own shifts."""


class Bench(Command):
    """The one pipeline, from flags, a suite or a grid file to tables and figures."""

    name = "bench"
    summary = (
        "run methods under query shift; print a table against the source model and draw figures"
    )
    examples = (
        "  queryshift bench --method rest --shift gaussian\n"
        "  queryshift bench --method all --shift all --seed 0-2 --workers 2\n"
        "  queryshift bench --benchmark flickr-c-image --data /data --method tcr --shift contrast\n"
        "  queryshift bench --method tcr --option steps=1 --option lr=1e-4\n"
        "  queryshift bench --stream diverse --shift gaussian,contrast,jpeg_compression\n"
        "  queryshift bench --suite mini --method rest --workers 2\n"
        "  queryshift bench --grid my-grid.yaml --dry-run"
    )
    leave_out: ClassVar[tuple[str, ...]] = ()
    """Settings that the command has no flag for."""

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        parser.set_defaults(grid=None, dry_run=False, settings=False)
        self.add_own_arguments(parser)
        settings.add_flags(parser, leave_out=self.leave_out)

    def add_own_arguments(self, parser: argparse.ArgumentParser) -> None:
        """Adds what the command takes beside the settings of a run."""
        add = parser.add_argument
        add("--grid", metavar="GRID", help="run a grid file: a bundled one (mini), or a path")
        add("--dry-run", action="store_true", help="show what would run and what it would cost")
        add("--settings", action="store_true", help="only show every setting and its origin")

    def run(self, args: argparse.Namespace, console: Console) -> int:
        """Plans, runs what the folder does not have yet, and reports.

        Returns:
            Exit code: 0, 1 where a cell has failed, 130 where the user stopped the run.
        """
        if args.settings:
            from benchmark.cli.dry_run import show_settings

            return show_settings(args, console)
        with self._starting(args, console):  # imports torch
            plan = self.plan(args)
        folder = Path(plan.config.out) if plan.config.out else RUNS / plan.folder
        if args.dry_run:
            from benchmark.cli.dry_run import show_forecast

            return show_forecast(plan, folder, console)

        from benchmark.store.run_store import RunStore

        store = RunStore(folder)
        skipped = keep_skipped(plan.cells, store)
        if not plan.possible:
            say(console, f"nothing can be run: all {len(skipped)} cells are skipped")
            say_reasons(console, skipped)
            return OK
        code, records = run_all(plan.possible, store, plan.config, console)
        if code != INTERRUPTED:
            self.report(plan, [*records, *skipped], store, args, console)
        return code

    def _starting(self, args: argparse.Namespace, console: Console) -> AbstractContextManager[Any]:
        """Says from the first second that the command works."""
        given = settings.given(args)
        if args.dry_run or ("quiet" in given and given["quiet"].value):
            return nullcontext()
        if console.is_interactive:
            return console.status("planning")
        say(console_over(Output(sys.stderr)), f"planning; then a line every {EVERY:.0f} s")
        return nullcontext()

    def defaults(self, args: argparse.Namespace) -> Mapping[str, Any]:
        """The command's own defaults: a suite alone stands for all its benchmarks."""
        given = settings.given(args)
        return SUITE if "suite" in given and not {"benchmark", "shift"} & set(given) else {}

    @seldom_collected()
    def plan(self, args: argparse.Namespace) -> RunPlan:
        """The cells, and how to run them.

        Raises:
            QueryShiftError: what is wrong in the flags, or in a file with its line.
        """
        from benchmark.planning.plan import plan_flags, plan_grid

        if args.grid is not None:
            from benchmark.planning.gridfile import grid_path, read_grid

            return plan_grid(read_grid(grid_path(args.grid)), args)
        own = settings.defaults(**self.defaults(args))
        return plan_flags({**own, **settings.given(args)})

    @seldom_collected()
    def report(
        self,
        plan: RunPlan,
        records: Sequence[Record],
        store: RunStore,
        args: argparse.Namespace,
        console: Console,
    ) -> None:
        """Prints the table of the run's cells; writes the files that are out of date."""
        from benchmark.report.pools import benchmark_pools
        from benchmark.report.verdict import verdict
        from benchmark.report.writing import load_results, output_options, up_to_date, write_all

        stored, keys = load_results(store), {record.key for record in records}
        mine = [one for one in stored if one.record.key in keys]
        bare = plan.config.unlabelled  # cells that failed before their data were read, too
        log = [one for one in mine if one.unlabelled or bare]
        scored = [one for one in mine if not (one.unlabelled or bare)]
        pools = benchmark_pools(scored)
        written: list[Path] = []
        said: list[str] = []
        if log:
            from benchmark.report.unlabelled import unlabelled_table, unlabelled_verdict

            console.print(unlabelled_table(log))
            said = unlabelled_verdict(log)
        if scored:
            written = self._print_scores(scored, pools, plan, store, args, console)
        say_reasons(console, records)
        figures = not plan.config.no_figures
        if up_to_date(store.path, [one.record for one in stored], output_options(figures=figures)):
            say(console, f"the files in {store.path}/ are up to date")
        else:
            written += write_all(store, stored, figures=figures)
        say_where(console, written)
        for line in (*said, *verdict(pools)):
            say(console, line, "bold")

    def _print_scores(
        self,
        mine: list[CellResult],
        pools: Sequence[Pool],
        plan: RunPlan,
        store: RunStore,
        args: argparse.Namespace,
        console: Console,
    ) -> list[Path]:
        """Prints the table of cells with recall; gives the file of a suite's table."""
        from benchmark.report.table import results_table
        from benchmark.report.verdict import tuned_notes

        if args.grid is None and not self.defaults(args):
            console.print(results_table(mine))
            return []
        from benchmark.report.table import suite_frame, suite_table
        from benchmark.report.writing import write_csv

        frame = suite_frame(mine, plan.rows)  # a row for each benchmark, not for each method
        console.print(suite_table(frame.assign(note="")))  # the reasons come below, once each
        say(console, "R@1 in percent: mean over shifts and directions; clean: source model")
        for line in tuned_notes(pools):
            say(console, line)
        return [write_csv(frame, store.path / "suite.csv")]


class Suite(Bench):
    """All benchmarks of a suite under their own default shifts."""

    name = "suite"
    summary = "run every benchmark of a suite under its default shifts; one table"
    examples = (
        "  queryshift suite --suite mini --method rest --workers 2\n"
        "  queryshift suite --suite paper --data /data --method all --allow-missing"
    )
    leave_out = ("stream", "stream_option", "ready_made")

    def add_own_arguments(self, parser: argparse.ArgumentParser) -> None:
        """Nothing."""

    def defaults(self, args: argparse.Namespace) -> Mapping[str, Any]:
        return SUITE


class Grid(Bench):
    """A whole comparison, from a file."""

    name = "grid"
    summary = "bench --grid GRID: run the unfinished cells of a grid; one table"
    examples = (
        "  queryshift grid mini --workers 2\n"
        "  queryshift grid my-grid.yaml --data /data --out results/runs/mine\n"
        "  queryshift grid mini --method source,tcr --seed 0-2"
    )

    def add_own_arguments(self, parser: argparse.ArgumentParser) -> None:
        parser.add_argument(
            "grid", metavar="GRID", help="name of a bundled grid (mini), or path of a grid file"
        )


class Plan(Grid):
    """Cells, how many are done, what will be skipped, and the cost of the rest."""

    name = "plan"
    summary = "bench --grid GRID --dry-run: cells to run, finished, skipped; time, memory and disk"
    examples = "  queryshift plan mini\n  queryshift plan my-grid.yaml --workers 8 --seed 0-9"

    def add_own_arguments(self, parser: argparse.ArgumentParser) -> None:
        super().add_own_arguments(parser)
        parser.set_defaults(dry_run=True)


def keep_skipped(cells: Iterable[Planned], store: RunStore) -> list[Record]:
    """Stores the cells that cannot be run, with the reason; those that are stored already stay."""
    from benchmark.errors import ResultsError
    from benchmark.store.records import read_cell

    records = []
    for planned in cells:
        if planned.reason:
            record = unfinished(planned.cell, "", Status.SKIPPED, planned.reason)
            try:
                read_cell(store.cells / f"{planned.cell.stem(record.key)}.json")
            except ResultsError:  # none is there yet, or no good one
                store.save(record)
            records.append(record)
    return records


def run_all(
    cells: Sequence[Cell], store: RunStore, config: BenchConfig, console: Console
) -> tuple[int, list[Record]]:
    """Runs what the store does not have yet, and says how much of it was there.

    Returns:
        Exit code (0, 1 where a cell has failed, 130 where the user stopped the run) and the
        records of all cells (none where the run was stopped).
    """
    say_untuned(console, cells)
    try:
        records, reused = execute(cells, store, config, console)
    except KeyboardInterrupt:
        line = (
            f"interrupted; the finished cells in {store.path} are valid, and the same command "
            "goes on from there"
        )
        say(console, line, "yellow")
        return INTERRUPTED, []
    if reused:
        ran = f", ran {len(records) - reused}" if reused < len(records) else "; nothing to do"
        say(console, f"reused {_cells(reused, 'finished ')}{ran}")
    failed = any(r.status in (Status.FAILED, Status.TIMEOUT) for r in records)
    return FAILED if failed else OK, records


def execute(
    cells: Sequence[Cell], store: RunStore, config: BenchConfig, console: Console
) -> tuple[list[Record], int]:
    """Runs the cells that the store does not have; gives all records and how many were there.

    With ``config.shard`` only those of the shard.
    """
    from benchmark.evaluation.builders import default_resources
    from benchmark.evaluation.callbacks import opened
    from benchmark.executors import identify, run_cells
    from benchmark.executors.choose import check_settings, make_executor, part_of

    check_settings(config)
    cells = part_of(cells, config)
    factory = functools.partial(default_resources, config)
    resources = factory()
    with ExitStack() as stack:
        logs = stack.enter_context(opened(config.log))
        still = config.quiet or not console.is_interactive
        loading = nullcontext() if still else console.status("loading data and weights")
        with loading, seldom_collected():
            found = identify(cells, store, resources, again=config.if_exists == "always")
        executor = make_executor(config, found, resources, factory)
        if not still:
            logs.add(stack.enter_context(Bars(console, found.waiting)))
        elif not config.quiet:
            logs.add(Lines(console_over(Output(sys.stderr)), found.waiting))
        return run_cells(found, executor, progress=logs), found.reused


def say_untuned(console: Console, cells: Sequence[Cell]) -> None:
    """One line where a method runs untuned on the embedded default, whose other methods are not."""
    from benchmark.config.presets import USER_FILE
    from benchmark.planning.specs import untuned

    names = untuned(cells)
    if names:
        line = (
            f"untuned on the embedded default: {', '.join(names)}; to tune: queryshift tune "
            f"--method {','.join(names)}, then add --preset {USER_FILE}"
        )
        say(console, line, "yellow")


def say_reasons(console: Console, records: Sequence[Record]) -> None:
    """Each reason why cells have no result, once and in full: the table has to cut long ones."""
    counts = Counter((r.status.value, r.reason) for r in records if r.status is not Status.DONE)
    for (status, reason), count in counts.items():
        say(console, f"{_cells(count)} {status}: {reason}", "red")


def _cells(count: int, kind: str = "") -> str:
    return f"{count} {kind}cell{'s' if count > 1 else ''}"


def say_where(console: Console, written: Sequence[Path]) -> None:
    """The closing lines: what was written, last the one file to open."""
    tables = [path for path in written if path.suffix not in (".png", ".pdf", ".html")]
    figures = [path for path in written if path.suffix == ".png"]
    for what, paths in (("tables:  ", tables), ("figures: ", figures)):
        if paths:
            say(console, f"{what}{paths[0].parent}/ ({', '.join(path.name for path in paths)})")
    for page in (path for path in written if path.suffix == ".html"):
        say(console, f"open:    {page}")
