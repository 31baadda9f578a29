"""Entry point: chooses the subcommand, turns errors into one line and an exit code."""

from __future__ import annotations

import contextlib
import gc
import importlib
import logging
import sys
import threading
import traceback
from collections.abc import Iterable, Sequence
from typing import NoReturn

from rich.console import Console

from benchmark import __version__
from benchmark.cli.command import (
    FAILED,
    INTERRUPTED,
    OK,
    UNSHOWN,
    USER_ERROR,
    Command,
    UsageError,
    say,
)
from benchmark.cli.terminal import Output, console_over
from benchmark.errors import QueryShiftError, did_you_mean, shown

COMMANDS = {
    "bench": "bench:Bench",
    "list": "names:List",
    "show": "names:Show",
    "check": "names:Check",
    "data": "data:Data",
    "cache": "cache:Cache",
    "report": "runs:Report",
    "verify": "runs:Verify",
    "merge": "runs:Merge",
    "tune": "bundled:Tune",
    "new": "new:New",
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
        UsageError: there is none.
    """
    known = COMMANDS | SHORT
    if name not in known:
        raise UsageError(
            f"unknown command {name!r}{did_you_mean(name, known)}; "
            f"known: {', '.join(known)} (queryshift --help)"
        )
    module, _, kind = known[name].partition(":")
    made = getattr(importlib.import_module(f"benchmark.cli.{module}"), kind)()
    assert isinstance(made, Command)
    return made


def program() -> NoReturn:
    """The command ``queryshift``: ``main``, which ends even where a plugin left threads running."""
    code = FAILED
    try:
        code = main()
    finally:
        gc.disable()  # else Python looks through a million objects once more before it ends
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
                f"the output could not be written ({_first_line(problem)}); the command itself "
                "finished, and what it stored is complete"
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
        say(errors, "interrupted", "yellow")
        return INTERRUPTED
    except OSError as error:  # looking for a file: its name is too long, its folder closed
        if error.filename is None:
            raise
        _complain(errors, f"cannot use {shown(str(error.filename))}: {error.strerror}")
        return USER_ERROR
    except (QueryShiftError, ValueError) as error:
        if not isinstance(error, (QueryShiftError, *_component_errors())):
            raise
        _complain(errors, error)
        return USER_ERROR


def _dispatch(words: list[str], console: Console) -> int:
    if not words or words[0] in ("-h", "--help", "help"):
        say(console, _OVERVIEW.format(_listed(COMMANDS), _listed(SHORT)))
        return OK
    if words[0] in ("-V", "--version"):
        say(console, f"queryshift {__version__}")
        return OK
    chosen = command(words[0])
    with contextlib.redirect_stdout(console.file):  # where argparse prints its help
        try:
            args = chosen.parser().parse_strictly(words[1:])
        except SystemExit:  # argparse leaves this way after --help
            return OK
    return chosen.run(args, console)


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


def _first_line(error: BaseException) -> str:
    told = (error.strerror if isinstance(error, OSError) else None) or str(error)
    return told.partition("\n")[0] or type(error).__name__


def _component_errors() -> tuple[type[BaseException], ...]:
    """The errors of methods and shifts that refuse an option or an input, where they are loaded.

    Importing ``methods.base`` here would import torch for every command.
    """
    known = (("methods.base", "MethodError"), ("shifts.base", "ShiftError"))
    return tuple(getattr(sys.modules[name], kind) for name, kind in known if name in sys.modules)


class _WarningLines(logging.Handler):
    """Prints the package's own warnings as single yellow lines."""

    def __init__(self, errors: Console) -> None:
        super().__init__(logging.WARNING)
        self._errors = errors

    def emit(self, record: logging.LogRecord) -> None:
        say(self._errors, f"warning: {' '.join(record.getMessage().split())}", "yellow")
