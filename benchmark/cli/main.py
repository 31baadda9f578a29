"""Entry point: chooses the subcommand, turns errors into one line and an exit code."""

from __future__ import annotations

import contextlib
import logging
import sys
import threading
import traceback
from collections.abc import Sequence
from typing import NoReturn

from rich.console import Console
from rich.text import Text

from benchmark import __version__
from benchmark.cli.bench import Bench
from benchmark.cli.cache import Cache
from benchmark.cli.check import Check, CheckShift
from benchmark.cli.claims import ClaimsPage
from benchmark.cli.command import FAILED, INTERRUPTED, OK, UNSHOWN, USER_ERROR, Command, UsageError
from benchmark.cli.config_show import Config
from benchmark.cli.data import Data
from benchmark.cli.grid import Grid
from benchmark.cli.leaderboard import Leaderboard
from benchmark.cli.listing import List
from benchmark.cli.merge import Merge
from benchmark.cli.planning import Plan
from benchmark.cli.report import Report
from benchmark.cli.show import Show
from benchmark.cli.suite import Suite
from benchmark.cli.terminal import Output, console_over
from benchmark.cli.tune import Tune
from benchmark.cli.verify import Verify
from benchmark.errors import QueryShiftError, did_you_mean

COMMANDS: dict[str, Command] = {
    command.name: command
    for command in (
        Bench(),
        Suite(),
        Grid(),
        Plan(),
        List(),
        Show(),
        Check(),
        CheckShift(),
        Data(),
        Cache(),
        Config(),
        Report(),
        Leaderboard(),
        ClaimsPage(),
        Verify(),
        Merge(),
        Tune(),
    )
}


def program() -> NoReturn:
    """The command ``queryshift``: ``main``, which ends even where a plugin left threads running."""
    code = FAILED
    try:
        code = main()
    finally:
        if threading.active_count() > 1:
            from benchmark.executors.ending import end_despite_threads

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
        problem = output.finish()
        if problem is not None:
            line = (
                f"error: the output could not be written ({_first_line(problem)}); the command "
                "itself went on to its end, and what it stored is whole"
            )
            errors.print(Text(line, style="red"), soft_wrap=True)
            code = code or UNSHOWN
        complaints.finish()
        return code
    finally:
        logger.removeHandler(handler)
        logger.propagate = True


def _guarded(words: list[str], console: Console, errors: Console) -> int:
    """Runs the command; errors that a user can cause become a line and an exit code."""
    try:
        return _dispatch(words, console)
    except SystemExit as leave:  # no code of this package leaves this way
        place = traceback.extract_tb(leave.__traceback__)[-1]
        line = (
            f"sys.exit({'' if leave.code is None else repr(leave.code)}) in {place.filename}, line "
            f"{place.lineno}, ended the command; a plugin must raise an error of its own instead"
        )
        _complain(errors, line)
        return FAILED
    except KeyboardInterrupt:
        errors.print(Text("interrupted", style="yellow"))
        return INTERRUPTED
    except QueryShiftError as error:
        _complain(errors, error)
        return USER_ERROR
    except ValueError as error:
        if not _is_component_error(error):
            raise
        _complain(errors, error)
        return USER_ERROR


def _dispatch(words: list[str], console: Console) -> int:
    if not words or words[0] in ("-h", "--help", "help"):
        console.print(_overview(), soft_wrap=True)
        return OK
    if words[0] in ("-V", "--version"):
        console.print(Text(f"queryshift {__version__}"))
        return OK
    command = COMMANDS.get(words[0])
    if command is None:
        raise UsageError(
            f"unknown command {words[0]!r}{did_you_mean(words[0], COMMANDS)}; "
            f"known: {', '.join(COMMANDS)} (queryshift --help)"
        )
    with contextlib.redirect_stdout(console.file):  # where argparse prints its help
        try:
            args = command.parser().parse_strictly(words[1:])
        except SystemExit:  # argparse leaves this way after --help
            return OK
    return command.run(args, console)


def _overview() -> Text:
    width = max(map(len, COMMANDS))
    lines = [f"  {name:<{width}}  {command.summary}" for name, command in COMMANDS.items()]
    return Text(
        "\n".join(
            (
                "queryshift: test-time adaptation in cross-modal retrieval under query shift",
                "",
                "usage: queryshift COMMAND ...",
                "",
                *lines,
                "",
                "queryshift COMMAND --help says more; queryshift --version says which release.",
            )
        )
    )


def _complain(errors: Console, error: BaseException | str) -> None:
    line = " ".join(str(error).split())
    errors.print(Text(f"error: {line}", style="red"), soft_wrap=True)


def _first_line(error: BaseException) -> str:
    told = (error.strerror if isinstance(error, OSError) else None) or str(error)
    return told.partition("\n")[0] or type(error).__name__


def _is_component_error(error: ValueError) -> bool:
    """Whether a method or a shift refused an option or an input.

    Their error classes are looked up where they were loaded: importing ``methods.base`` here would
    import torch for every command.
    """
    known = (("methods.base", "MethodError"), ("shifts.base", "ShiftError"))
    classes = (getattr(sys.modules.get(module), name, None) for module, name in known)
    return isinstance(error, tuple(c for c in classes if c is not None))


class _WarningLines(logging.Handler):
    """Prints the package's own warnings as single yellow lines."""

    def __init__(self, errors: Console) -> None:
        super().__init__(logging.WARNING)
        self._errors = errors

    def emit(self, record: logging.LogRecord) -> None:
        line = " ".join(record.getMessage().split())
        self._errors.print(Text(f"warning: {line}", style="yellow"), soft_wrap=True)
