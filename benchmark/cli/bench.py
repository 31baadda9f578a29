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
from benchmark.cli.main import FAILED, OK, RUNS, Command, say, seldom_collected
from benchmark.cli.progress import EVERY, Bars, Lines
from benchmark.cli.terminal import Output, console_over
from benchmark.config import run as settings
from benchmark.config.run import BenchConfig
from benchmark.errors import amount

if TYPE_CHECKING:
    from benchmark.planning.plan import Plan as RunPlan
    from benchmark.planning.plan import Planned
    from benchmark.report.pools import Pool
    from benchmark.report.results import CellResult
    from benchmark.store.run_store import RunStore

SUITE = {"benchmark": ("all",), "shift": ("all",), "suite": "mini"}
"""A whole suite: all its benchmarks, each under its own shifts."""


class Bench(Command):
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

    own: ClassVar[Mapping[str, Any]] = {}
    """The command's own defaults."""

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
            Exit code: 0, 1 where a cell has failed or none can be run.
        """
        self.args, self.console = args, console
        if args.settings:
            from benchmark.cli.runs import show_settings

            return show_settings(args, console)
        plan = self.plan()
        folder = Path(plan.config.out) if plan.config.out else RUNS / plan.folder
        if args.dry_run:
            from benchmark.cli.runs import show_forecast

            return show_forecast(plan, folder, console)

        from benchmark.store.run_store import RunStore

        store = RunStore(folder)
        skipped = keep_skipped(plan.cells, store)
        if not plan.possible:
            say(console, f"nothing can be run: {amount(len(skipped), 'cell')} skipped")
            say_reasons(console, skipped)
            return FAILED
        say_untuned(console, plan.possible)
        records, reused = execute(plan.possible, store, plan.config, console)
        if reused:
            ran = f", ran {len(records) - reused}" if reused < len(records) else "; nothing to do"
            say(console, f"reused {amount(reused, 'finished cell')}{ran}")
        with seldom_collected():
            self.report(plan, [*records, *skipped], store)
        failed = any(r.status in (Status.FAILED, Status.TIMEOUT) for r in records)
        return FAILED if failed else OK

    @seldom_collected()
    def plan(self) -> RunPlan:
        """The cells, and how to run them; says from the first second that the command works.

        Raises:
            QueryShiftError: what is wrong in the flags, or in a file with its line.
        """
        from benchmark.planning import specs
        from benchmark.planning.plan import plan_flags

        own, args, console = self.own, self.args, self.console
        given = specs.given(args)  # a typo is said before anything imports torch
        if "suite" in given and not {"benchmark", "shift"} & set(given):
            own = SUITE  # alone it stands for all its benchmarks
        self.by_row = bool(own) or args.grid is not None
        busy: AbstractContextManager[Any] = nullcontext()
        if not args.dry_run and not ("quiet" in given and given["quiet"].value):
            if console.is_interactive:
                busy = console.status("planning")
            else:
                line = f"planning; then a line every {EVERY:.0f} s"
                say(console_over(Output(sys.stderr)), line)
        with busy:
            if args.grid is None:
                return plan_flags(settings.defaults(**own) | given)
            from benchmark.planning.gridfile import grid_path, plan_grid, read_grid

            return plan_grid(read_grid(grid_path(args.grid)), args)

    def report(self, plan: RunPlan, records: Sequence[Record], store: RunStore) -> None:
        """Prints the table of the run's cells; writes the files that are out of date."""
        from benchmark.report.pools import benchmark_pools
        from benchmark.report.verdict import verdict
        from benchmark.report.writing import load_results, output_options, up_to_date, write_all

        stored, keys = load_results(store), {record.key for record in records}
        bare = plan.config.unlabelled  # cells that failed before their data were read, too
        mine = [one for one in stored if one.record.key in keys]
        log = [one for one in mine if one.unlabelled or bare]
        scored = [one for one in mine if not (one.unlabelled or bare)]
        pools = benchmark_pools(scored)
        written: list[Path] = []
        said: list[str] = []
        if log:
            from benchmark.report.unlabelled import unlabelled_table, unlabelled_verdict

            self.console.print(unlabelled_table(log))
            said = unlabelled_verdict(log)
        if scored:
            written = self._print_scores(scored, pools, plan, store)
        say_reasons(self.console, records)
        figures = not plan.config.no_figures
        if up_to_date(store.path, [one.record for one in stored], output_options(figures=figures)):
            say(self.console, f"the files in {store.path}/ are up to date")
        else:
            written += write_all(store, stored, figures=figures)
        say_where(self.console, written)
        for line in (*said, *verdict(pools)):
            say(self.console, line, "bold")

    def _print_scores(
        self, mine: list[CellResult], pools: Sequence[Pool], plan: RunPlan, store: RunStore
    ) -> list[Path]:
        """Prints the table of cells with recall; gives the file of a suite's table."""
        from benchmark.report.table import results_table, suite_frame, suite_table
        from benchmark.report.verdict import tuned_notes
        from benchmark.report.writing import write_csv

        if not self.by_row:
            self.console.print(results_table(mine))
            return []
        frame = suite_frame(mine, plan.rows)  # a row for each benchmark, not for each method
        self.console.print(suite_table(frame.assign(note="")))  # reasons come below, once each
        for line in (
            "R@1 in percent: mean over shifts and directions; clean: source model",
            *tuned_notes(pools),
        ):
            say(self.console, line)
        return [write_csv(frame, store.path / "suite.csv")]


class Suite(Bench):
    name = "suite"
    summary = "run every benchmark of a suite under its default shifts; one table"
    examples = (
        "  queryshift suite --suite mini --method rest --workers 2\n"
        "  queryshift suite --suite paper --data /data --method all --allow-missing"
    )
    leave_out = ("stream", "stream_option", "ready_made", *settings.OF_TABLES)
    own = SUITE

    def add_own_arguments(self, parser: argparse.ArgumentParser) -> None:
        """Nothing."""


class Grid(Bench):
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
    for planned in (planned for planned in cells if planned.reason):
        record = unfinished(planned.cell, "", Status.SKIPPED, planned.reason)
        records.append(record)
        try:
            read_cell(store.cells / f"{planned.cell.stem(record.key)}.json")
        except ResultsError:  # none is there yet, or no good one
            store.save(record)
    return records


def execute(
    cells: Sequence[Cell], store: RunStore, config: BenchConfig, console: Console
) -> tuple[list[Record], int]:
    """Runs the cells that the store does not have; gives all records and how many were there.

    With ``config.shard`` only those of the shard.

    Raises:
        KeyboardInterrupt: the user stopped the run; its text says what is kept.
    """
    from benchmark.evaluation.builders import default_resources
    from benchmark.evaluation.callbacks import opened
    from benchmark.executors import check_settings, identify, make_executor, part_of, run_cells

    check_settings(config)
    cells = part_of(cells, config)
    factory = functools.partial(default_resources, config)
    resources = factory()
    try:
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
    except KeyboardInterrupt:
        raise KeyboardInterrupt(
            f"interrupted; the finished cells in {store.path} are valid, and the same command goes "
            "on from there"
        ) from None


def say_untuned(console: Console, cells: Sequence[Cell]) -> None:
    """One line where a method runs untuned on the embedded default, whose other methods are not."""
    from benchmark.config.presets import USER_FILE
    from benchmark.planning.specs import untuned

    if names := ",".join(untuned(cells)):
        line = (
            f"untuned on the embedded default: {names.replace(',', ', ')}; to tune: queryshift "
            f"tune --method {names}, then add --preset {USER_FILE}"
        )
        say(console, line, "yellow")


def say_reasons(console: Console, records: Sequence[Record]) -> None:
    """Each reason why cells have no result, once and in full: the table has to cut long ones."""
    undone = [r for r in records if r.status is not Status.DONE]
    counts = Counter((r.status.value, r.reason, r.info.get("where", "")) for r in undone)
    for (status, reason, where), count in counts.items():
        place = f" ({where})" if where else ""  # in whose code
        say(console, f"{amount(count, 'cell')} {status}: {reason}{place}", "red")


def say_where(console: Console, written: Sequence[Path]) -> None:
    """The closing lines: what was written, last the one file to open."""
    tables = [path for path in written if path.suffix not in (".png", ".pdf", ".html")]
    figures = [path for path in written if path.suffix == ".png"]
    for what, paths in (("tables:  ", tables), ("figures: ", figures)):
        if paths:
            say(console, f"{what}{paths[0].parent}/ ({', '.join(path.name for path in paths)})")
    for page in (path for path in written if path.suffix == ".html"):
        say(console, f"open:    {page}")
