"""``queryshift claims``: tests what REST's abstract and figure claim, with a verdict for each."""

from __future__ import annotations

import argparse

from rich.console import Console
from rich.text import Text

from benchmark.cli.bench import run_all, say_reasons, say_where
from benchmark.cli.command import INTERRUPTED, Command
from benchmark.cli.grid import folder_of, plan_of
from benchmark.config import run as settings
from benchmark.config.paths import user_path

GRID = "claims"
"""The bundled grid that the claims are measured on."""

_FIXED = (
    *("suite", "method", "shift", "stream", "severity", "shift_option", "stream_option"),
    *("model", "pretrained", "transform", "data", "ready_made", "preset", "option"),
    *("allow_missing", "no_figures", "shard"),
)


class ClaimsPage(Command):
    """Resumes like any run: what its folder has is not run again."""

    name = "claims"
    summary = "test what REST's abstract and figure claim on the embedded default"
    examples = (
        "  queryshift claims --workers 2 --results results\n"
        "  queryshift claims --limit 64 --benchmark mini-coco-c-image --out try\n"
        "  queryshift plan claims"
    )

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        settings.add_flags(parser, leave_out=_FIXED)
        parser.add_argument(
            "--results", metavar="DIR", help="write claims.csv and claims.md here as well"
        )

    def run(self, args: argparse.Namespace, console: Console) -> int:
        args.grid = GRID
        plan = plan_of(args)

        from benchmark.report.claims import claims, claims_table, write_claims
        from benchmark.report.writing import results_of
        from benchmark.store.run_store import RunStore

        store = RunStore(folder_of(plan))
        code, records = run_all(plan.possible, store, plan.config, console)
        if code == INTERRUPTED:
            return code
        found = claims(results_of(store, records))
        console.print(claims_table(found))
        skipped = [planned.reason for planned in plan.cells if planned.reason]
        for reason in dict.fromkeys(skipped):
            line = f"{skipped.count(reason)} cells left out: {reason}"
            console.print(Text(line, style="yellow"), soft_wrap=True)
        say_reasons(console, records)
        folders = [store.path, *([user_path(args.results)] if args.results else [])]
        for folder in folders:
            say_where(console, write_claims(found, folder))
        return code
