"""What a subcommand is, and what all have: a parser whose errors read alike, lines, exit codes."""

from __future__ import annotations

import argparse
import gc
from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, ClassVar, Literal, NoReturn

from rich.console import Console
from rich.text import Text

from benchmark.errors import QueryShiftError, did_you_mean
from benchmark.report.display import FittedTable

OK = 0
FAILED = 1
USER_ERROR = 2
UNSHOWN = 3
"""All is done and stored, but the output could not be written."""

INTERRUPTED = 130

RUNS = Path("results") / "runs"
"""Where runs are stored when nothing else is said; relative to the current folder."""


def say(console: Console, line: str, style: str = "") -> None:
    """Prints a line as it is: nothing in it is markup, and it is not wrapped."""
    console.print(Text(line, style=style), soft_wrap=True)


@contextmanager
def seldom_collected() -> Iterator[None]:
    """Lets the garbage collector look far less often: what is imported and loaded here stays.

    It would look through the same million objects again and again, a fifth of the time of importing
    torch and open_clip. Not for cells: what they leave in cycles may hold large tensors.
    """
    usual = gc.get_threshold()
    gc.set_threshold(100_000, 20, 20)
    try:
        yield
    finally:
        gc.collect(1)  # here, so that it does not come amid the first cell, whose time is measured
        gc.set_threshold(*usual)


def table(
    columns: Sequence[str],
    rows: Iterable[Iterable[Any]],
    *,
    title: str = "",
    numbers: Collection[str] = (),
    make: Callable[..., FittedTable] = FittedTable,
    **look: Any,
) -> FittedTable:
    """A table of values as they are: none is markup; the first column is not wrapped.

    Args:
        columns: headings.
        rows: a value, or a ``Text`` with its style, for each column.
        title: above it.
        numbers: headings of the columns that hold numbers.
        make: what makes the empty table.
        look: of the table, as rich has it.
    """
    made = make(title=Text(title) if title else None, title_justify="left", **look)
    for heading in columns:
        justify: Literal["left", "right"] = "right" if heading in numbers else "left"
        first = heading == columns[0]
        made.add_column(Text(heading), justify=justify, no_wrap=first, overflow="fold")
    for row in rows:
        made.add_row(*(value if isinstance(value, Text) else Text(str(value)) for value in row))
    return made


class UsageError(QueryShiftError):
    """Raised for a command line that cannot be read: unknown flag, missing value."""


class _Once(argparse.Action):
    """Stores the value of a flag; a second one would silently replace the first."""

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: Any,
        option_string: str | None = None,
    ) -> None:
        assert isinstance(parser, Parser)
        if option_string is not None and self.dest in parser.stored:
            raise argparse.ArgumentError(self, "given twice; give it once (a list by commas: a,b)")
        parser.stored.add(self.dest)
        setattr(namespace, self.dest, values)


class Parser(argparse.ArgumentParser):
    """An argument parser that raises ``UsageError`` instead of printing usage and leaving.

    Attributes:
        stored: destinations of the flags that were given a value.
    """

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        self.stored = set[str]()
        for action in (None, "store"):
            self.register("action", action, _Once)

    def error(self, message: str) -> NoReturn:
        """Raises what argparse has to complain about, with the way to the help."""
        raise UsageError(f"{message} ({self.prog} --help)")

    def parse_strictly(self, arguments: list[str]) -> argparse.Namespace:
        """Parses everything; an unknown flag is an error with the nearest flags.

        Raises:
            UsageError: an unknown flag, a surplus word, a missing or malformed value.
        """
        self.stored.clear()
        parsed, unknown = self.parse_known_args(arguments)
        if not unknown:
            return parsed
        word = unknown[0].partition("=")[0]
        if not word.startswith("-"):
            raise UsageError(f"{self.prog} does not expect {word!r} ({self.prog} --help)")
        known = [flag for action in self._actions for flag in action.option_strings]
        raise UsageError(
            f"{self.prog} has no flag {word!r}{did_you_mean(word, known)} ({self.prog} --help)"
        )


class Command(ABC):
    """A subcommand: it fills its own parser and runs; what it returns is the exit code."""

    name: ClassVar[str]
    summary: ClassVar[str]
    examples: ClassVar[str] = ""

    def parser(self) -> Parser:
        """The command's own parser, with its examples below the flags."""
        parser = Parser(
            prog=f"queryshift {self.name}",
            description=self.summary,
            epilog=f"examples:\n{self.examples}" if self.examples else None,
            formatter_class=argparse.RawDescriptionHelpFormatter,
            allow_abbrev=False,
        )
        self.add_arguments(parser)
        return parser

    @abstractmethod
    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        """Adds the command's flags and words to its parser."""

    @abstractmethod
    def run(self, args: argparse.Namespace, console: Console) -> int:
        """Does the work; raises ``QueryShiftError`` for what the user can mend."""
