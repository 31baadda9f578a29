"""``queryshift claims``: tests what REST's abstract and figure claim, with a verdict for each."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import TYPE_CHECKING

from rich.console import Console

from benchmark.cli.bench import Preset, say_reasons, say_where
from benchmark.config.paths import user_path

if TYPE_CHECKING:
    from benchmark.cell import Record
    from benchmark.planning.plan import Plan
    from benchmark.store.run_store import RunStore


class ClaimsPage(Preset):
    """Resumes like any run: what its folder has is not run again."""

    name = "claims"
    grid = "claims"
    summary = "test what REST's abstract and figure claim on the embedded default"
    examples = (
        "  queryshift claims --workers 2 --results results\n"
        "  queryshift claims --limit 64 --benchmark mini-coco-c-image --out try\n"
        "  queryshift plan claims"
    )
    leave_out = (
        *("suite", "method", "shift", "stream", "severity", "shift_option", "stream_option"),
        *("model", "pretrained", "transform", "data", "ready_made", "preset", "option"),
        *("allow_missing", "no_figures", "shard"),
    )

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        super().add_arguments(parser)
        parser.add_argument(
            "--results", metavar="DIR", help="write claims.csv and claims.md here as well"
        )

    def report(
        self,
        plan: Plan,
        records: Sequence[Record],
        store: RunStore,
        args: argparse.Namespace,
        console: Console,
    ) -> None:
        """Prints the verdicts and writes them to the run's folder, and where else is asked for."""
        from benchmark.report.claims import claims, claims_table, write_claims
        from benchmark.report.writing import results_of

        found = claims(results_of(store, records))
        console.print(claims_table(found))
        say_reasons(console, records)
        for folder in (store.path, *([user_path(args.results)] if args.results else [])):
            say_where(console, write_claims(found, folder))
