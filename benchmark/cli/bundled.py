"""``queryshift leaderboard``, ``claims``, ``tune``: bundled runs that have a report of their own.

They resume like any run: what their folder has is not run again.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from rich.console import Console

from benchmark.cell import Record, Status
from benchmark.cli.bench import Bench, execute, say_reasons, say_where
from benchmark.cli.main import FAILED, OK, Command, say, table
from benchmark.config import run as settings
from benchmark.config.files import user_path
from benchmark.config.presets import is_file, read_preset
from benchmark.config.run import COUNT
from benchmark.config.validate import check
from benchmark.errors import ConfigError, amount
from benchmark.registry import BENCHMARKS, METHODS
from benchmark.report.display import FittedTable

if TYPE_CHECKING:
    from benchmark.planning.plan import Plan
    from benchmark.planning.tune import Study
    from benchmark.store.run_store import RunStore


class Leaderboard(Bench):
    name = "leaderboard"
    summary = "regenerate results/leaderboard.csv and its figures (embedded default, all methods)"
    examples = "  queryshift leaderboard --workers 2\n  queryshift leaderboard --seed 0 --limit 200"
    leave_out = (
        *("suite", "model", "pretrained", "data", "transform", "preset", "option"),
        *("stream", "stream_option", "allow_missing", "no_figures", "ready_made"),
        *settings.OF_TABLES,
    )

    def add_own_arguments(self, parser: argparse.ArgumentParser) -> None:
        parser.set_defaults(grid=self.name)
        parser.add_argument(
            "--results", default="results", metavar="DIR", help="where to write (default: results)"
        )

    def report(self, plan: Plan, records: Sequence[Record], store: RunStore) -> None:
        """What is committed says of every failed or missing cell that it is; hiding none."""
        from benchmark.report.claim_rules import claims_frame
        from benchmark.report.claims import centring_claims, ours_claim
        from benchmark.report.table import suite_frame, suite_table
        from benchmark.report.writing import load_results, write_all, write_csv

        stored = load_results(store, batches=False)
        frame = suite_frame(stored, plan.rows)
        self.console.print(suite_table(frame))
        results = user_path(self.args.results)
        written = [
            write_csv(frame, results / "suite.csv"),
            write_csv(
                claims_frame([*centring_claims(stored), ours_claim(stored)]),
                results / "centring.csv",
            ),
        ]
        say_where(self.console, written + write_all(store, stored, folder=results, each=False))


class ClaimsPage(Bench):
    name = "claims"
    summary = "test REST's claims, and what beats centring alone, on the embedded default"
    examples = (
        "  queryshift claims --workers 2 --results results\n"
        "  queryshift claims --limit 64 --benchmark mini-coco-c-image --out try\n"
        "  queryshift plan claims"
    )
    leave_out = (
        *("suite", "method", "shift", "stream", "severity", "shift_option", "stream_option"),
        *("model", "pretrained", "transform", "data", "ready_made", "preset", "option"),
        *("allow_missing", "no_figures", "shard", *settings.OF_TABLES),
    )

    def add_own_arguments(self, parser: argparse.ArgumentParser) -> None:
        parser.set_defaults(grid=self.name)
        parser.add_argument(
            "--results", metavar="DIR", help="write claims.csv and claims.md here as well"
        )

    def report(self, plan: Plan, records: Sequence[Record], store: RunStore) -> None:
        """Prints the verdicts and writes them to the run's folder, and where else is asked for."""
        from benchmark.report.claim_rules import claims_table, write_claims
        from benchmark.report.claims import claims
        from benchmark.report.writing import load_results

        keys = {record.key for record in records}
        found = claims(one for one in load_results(store) if one.record.key in keys)
        self.console.print(claims_table(found))
        say_reasons(self.console, records)
        for folder in (store.path, *([user_path(self.args.results)] if self.args.results else [])):
            say_where(self.console, write_claims(found, folder))


class Tune(Command):
    name = "tune"
    summary = "choose the methods' options on validation data: the embedded part's, or your own"
    examples = (
        "  queryshift tune --method mine && queryshift bench --method mine "
        "--preset queryshift-preset.yaml\n"
        "  queryshift tune --method tcr,rest --workers 2 --budget 16\n"
        "  queryshift tune --method tcr --data pairs.csv --split val --model hf:/path --shift ocr"
    )

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        parser.add_argument(
            "--budget",
            metavar="N",
            help="trials of a method on each side of the queries (default: 9); as many again "
            "follow a best value at the end of its range outward",
        )
        parser.add_argument(
            "--out", metavar="FILE", help="your preset file (default: queryshift-preset.yaml)"
        )
        leave_out = ("out", "preset", "option", "no_figures", "ready_made", "shard", "log")
        settings.add_flags(parser, leave_out=leave_out)

    def run(self, args: argparse.Namespace, console: Console) -> int:
        """Runs the trials (finished ones are reused), prints and writes what they say."""
        budget = check(COUNT, args.budget, "--budget") if args.budget else None
        out = args.out
        del args.out  # the preset's file, not the folder of a run
        from benchmark.planning import specs, tune

        given = specs.given(args)
        for name in {"option", "preset", "shard"} & set(given):  # of a file that other runs share
            raise ConfigError(f"{given[name].line}: tuning takes no {name!r}; leave it out")
        asked = given["method"].value if "method" in given else ("all",)
        named = None if "all" in asked else [METHODS.resolve(name) for name in asked]
        if out and not is_file(out):
            raise ConfigError(f"--out: expected a name that ends in .yaml, not {out!r}")

        target = user_path(out) if out else tune.PRESET
        methods = tune.tunable(named)
        kept = read_preset(target)[1] if target.exists() else {}
        given["method"] = settings.Traced(tuple(methods), "--method")
        own: dict[str, Any] = {"limit": tune.QUERIES}
        if not {"data", "benchmark"} & set(given):
            own |= {"suite": tune.SUITE, "benchmark": ("all",), "shift": ("all",)}
        plan, studies = tune.studies(settings.defaults(**own) | given)
        cells = [cell for study in studies for cell in study.cells]
        data = ", ".join(dict.fromkeys(map(tune.data_name, cells)))
        tune.check_target(target, kept, data)
        budget = budget or tune.TRIALS
        if not _search(studies, budget, plan, data, console):
            return FAILED
        how = (
            f"{amount(budget, 'trial')} and outward from a best value at the end of its range, "
            f"{amount(plan.config.limit or 0, 'query')} a shift"
        )
        written = tune.write_preset(target, kept, studies, data, how)
        console.print(_chosen(studies))
        say(console, f"wrote {target} and {written}")
        if not tune.is_shipped(target):
            say(console, f"use it with --preset {target}")
        return OK


def _search(studies: Sequence[Study], budget: int, plan: Plan, data: str, console: Console) -> bool:
    """Runs all trials, a round for all methods at a time; whether none failed."""
    from benchmark.planning import tune
    from benchmark.store.run_store import RunStore

    store, number = RunStore(tune.RUN), 0
    by_name = {(study.side, study.method): study for study in studies}
    methods = len({study.method for study in studies})
    about = f"; {amount(methods, 'method')}, a budget of {amount(budget, 'trial')} each"
    while cells := [cell for study in studies for cell in study.wanted(budget)]:
        number += 1
        counted = f"round {number}: {amount(len(cells), 'validation cell')} of {data}"
        say(console, counted + about if number == 1 else counted)
        records, _ = execute(cells, store, plan.config, console)
        for record in records:
            side, method = BENCHMARKS.get(record.cell["benchmark"]).query, record.cell["method"]
            by_name[side, method["name"]].take(record)
        # Where a method diverged, its options are bad ones, and that is all.
        lost = [record for record in records if record.status is not Status.DONE]
        failed = [record for record in lost if not record.reason.startswith("Diverged:")]
        for record in failed:
            say(console, f"failed: {record.cell['method']['name']}: {record.reason}")
        if failed:
            return False
    return True


def _chosen(studies: Sequence[Study]) -> FittedTable:
    from benchmark.planning.search import at_edge, best_trial

    rows: list[tuple[str, ...]] = []
    for study in studies:
        best, edge = best_trial(study.scores), at_edge(study.axes, study.scores)
        options = ", ".join(f"{name}={value}" for name, value in study.named(best).items())
        mean = f"{study.scores[best]:.1f}"
        rows.append((study.side, study.method, options, mean, ", ".join(edge)))
    shown = 5 if any(row[-1] for row in rows) else 4
    columns = ("query", "method", "options", "mean R@1", "at end of range")[:shown]
    rows = [row[:shown] for row in rows]
    return table(columns, rows, title="chosen on validation data", numbers=("mean R@1",))
