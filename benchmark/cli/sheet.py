"""``queryshift sheet``: draws what each shift does, to look at."""

from __future__ import annotations

import argparse
from pathlib import Path

from rich.console import Console
from rich.text import Text

from benchmark.cli.command import OK, Command
from benchmark.errors import ConfigError

FOLDER = Path("docs") / "sheets"
"""Where the sheets go when nothing else is said; relative to the current folder."""


class Sheet(Command):
    """Contact sheets of the image shifts, before/after tables of the text shifts."""

    name = "sheet"
    summary = "draw every shift at every severity: contact sheets of images, tables of captions"
    examples = "  queryshift sheet\n  queryshift sheet --out /tmp/sheets"

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        parser.add_argument(
            "--out", metavar="DIR", default=str(FOLDER), help=f"folder (default: {FOLDER})"
        )

    def run(self, args: argparse.Namespace, console: Console) -> int:
        from benchmark.report.sheets import write_sheets

        folder = Path(args.out)
        try:
            written = write_sheets(folder)
        except OSError as error:
            raise ConfigError(
                f"cannot write to {folder}: {error.strerror or error}; name another folder with "
                "--out (OUT=)"
            ) from None
        names = ", ".join(path.name for path in written)
        console.print(Text(f"sheets: {folder}/ ({names})"), soft_wrap=True)
        return OK
