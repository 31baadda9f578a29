"""Entry point: what a subcommand is; chooses it, turns errors into one line and an exit code."""

from __future__ import annotations

import argparse
import contextlib
import gc
import importlib
import logging
import sys
import threading
import traceback
from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, ClassVar, Literal, NoReturn

from rich.console import Console
from rich.text import Text

from benchmark import __version__
from benchmark.cli.terminal import Output, console_over
from benchmark.errors import QueryShiftError, did_you_mean, shown, unknown
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


@contextlib.contextmanager
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
        rows: a value, or a ``Text`` with its style, for each column.
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

    def __call__(self, parser: Any, namespace: Any, values: Any, option_string: Any = None) -> None:
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

    def _check_value(self, action: argparse.Action, value: Any) -> None:
        if action.choices is not None and value not in action.choices:
            raise unknown("action", value, action.choices, f" ({self.prog} --help)")

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        """Parses everything; an unknown flag is an error with the nearest flags.

        Raises:
            UsageError: an unknown flag, a surplus word, a missing or malformed value.
        """
        self.stored.clear()
        if self._subparsers is None:  # first, else argparse asks for the flag that was mistyped
            words = args[: args.index("--")] if "--" in args else args
            self._refuse([w for w in words if w.startswith("--") and " " not in w])
        parsed, surplus = super().parse_known_args(args, namespace)
        self._refuse(surplus)
        if surplus:
            raise UsageError(f"{self.prog} does not expect {surplus[0]!r} ({self.prog} --help)")
        return parsed, surplus

    def _refuse(self, words: Sequence[str]) -> None:
        """Raises UsageError for the first flag among the words that there is not."""
        known = [flag for action in self._actions for flag in action.option_strings]
        for word in (word.partition("=")[0] for word in words):
            if word.startswith("-") and word not in known:
                near = did_you_mean(word, known)
                raise UsageError(f"{self.prog} has no flag {word!r}{near} ({self.prog} --help)")


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


COMMANDS = {
    "bench": "bench:Bench",
    "list": "names:List",
    "show": "names:Show",
    "check": "names:Check",
    "data": "data:Data",
    "cache": "data:Cache",
    "report": "runs:Report",
    "verify": "runs:Verify",
    "merge": "runs:Merge",
    "tune": "bundled:Tune",
    "new": "names:New",
}
"""Name -> module and class; only the one that is asked for is imported."""

SHORT = {
    "suite": "bench:Suite",
    "grid": "bench:Grid",
    "plan": "bench:Plan",
    "leaderboard": "bundled:Leaderboard",
    "claims": "bundled:ClaimsPage",
}
"""Other names for some ways of calling the commands."""


def command(name: str) -> Command:
    """The command of that name.

    Raises:
        UnknownNameError: there is none.
    """
    known = COMMANDS | SHORT
    if name not in known:
        raise unknown("command", name, known, " (queryshift --help)")
    module, _, kind = known[name].partition(":")
    made: Command = getattr(importlib.import_module(f"benchmark.cli.{module}"), kind)()
    return made


def program() -> NoReturn:
    """The command ``queryshift``: ``main``, which ends even where a plugin left threads running."""
    code = FAILED
    try:
        code = main()
    finally:
        gc.disable()  # else Python looks through a million objects once more before it ends
        if threading.active_count() > 1:
            from benchmark.executors.worker import end_despite_threads

            end_despite_threads(code)
    sys.exit(code)


def main(argv: Sequence[str] | None = None) -> int:
    """Runs one command line.

    Args:
        argv: words after the program's name; None takes them from ``sys.argv``.

    Returns:
        Exit code: 0 done, 1 something failed while running, 2 the user's mistake, 3 done but the
        output could not be written, 130 interrupted.
    """
    words = list(sys.argv[1:] if argv is None else argv)
    output, complaints = Output(sys.stdout), Output(sys.stderr)
    console, errors = console_over(output), console_over(complaints)
    handler = _WarningLines(errors)
    logger = logging.getLogger("benchmark")
    logger.addHandler(handler)
    logger.propagate = False  # a library may have given the root logger a handler of its own
    try:
        code = _guarded(words, console, errors)
        if (problem := output.finish()) is not None:
            told = (problem.strerror if isinstance(problem, OSError) else None) or str(problem)
            told = told.partition("\n")[0] or type(problem).__name__
            line = (
                f"the output could not be written ({told}); the command itself finished, and what "
                "it stored is complete"
            )
            _complain(errors, line)
            code = code or UNSHOWN
        complaints.finish()
        return code
    finally:
        logger.removeHandler(handler)
        logger.propagate = True


def _guarded(words: list[str], console: Console, errors: Console) -> int:
    """Runs the command; errors that a user can cause become a line and an exit code."""
    try:
        if not words or words[0] in ("-h", "--help", "help"):
            say(console, _OVERVIEW.format(_listed(COMMANDS), _listed(SHORT)))
            return OK
        if words[0] in ("-V", "--version"):
            say(console, f"queryshift {__version__}")
            return OK
        chosen = command(words[0])
        with contextlib.redirect_stdout(console.file):  # where argparse prints its help
            try:
                args = chosen.parser().parse_args(words[1:])
            except SystemExit:  # argparse leaves this way after --help
                return OK
        return chosen.run(args, console)
    except SystemExit as leave:  # no code of this package leaves this way
        place = traceback.extract_tb(leave.__traceback__)[-1]
        line = (
            f"sys.exit({'' if leave.code is None else repr(leave.code)}) in {place.filename}, line "
            f"{place.lineno}, ended the command; a plugin must raise an error of its own instead"
        )
        _complain(errors, line)
        return FAILED
    except KeyboardInterrupt as stopped:
        say(errors, str(stopped) or "interrupted", "yellow")
        return INTERRUPTED
    except OSError as error:  # looking for a file: its name is too long, its folder closed
        if error.filename is None:
            raise
        _complain(errors, f"cannot use {shown(str(error.filename))}: {error.strerror}")
        return USER_ERROR
    except (QueryShiftError, ValueError) as error:
        # Errors of methods and shifts that refuse an option or an input, where they are loaded:
        # importing methods.base here would import torch for every command.
        known = (("methods.base", "MethodError"), ("shifts.base", "ShiftError"))
        kinds = [getattr(sys.modules[name], kind) for name, kind in known if name in sys.modules]
        if not isinstance(error, (QueryShiftError, *kinds)):
            raise
        _complain(errors, error)
        return USER_ERROR


_OVERVIEW = """\
queryshift: test-time adaptation in cross-modal retrieval under query shift

usage: queryshift COMMAND ...

{}

other names:
{}

queryshift COMMAND --help shows its options; queryshift --version prints the release."""


def _listed(names: Iterable[str]) -> str:
    width = max(map(len, COMMANDS | SHORT))
    return "\n".join(f"  {name:<{width}}  {command(name).summary}" for name in names)


def _complain(errors: Console, error: BaseException | str) -> None:
    say(errors, f"error: {' '.join(str(error).split())}", "red")


class _WarningLines(logging.Handler):
    """Prints the package's own warnings as single yellow lines."""

    def __init__(self, errors: Console) -> None:
        super().__init__(logging.WARNING)
        self._errors = errors

    def emit(self, record: logging.LogRecord) -> None:
        say(self._errors, f"warning: {' '.join(record.getMessage().split())}", "yellow")
