"""Consoles over whatever standard output and error are: printing never ends a run."""

from __future__ import annotations

import contextlib
import os
import shutil
import sys
from typing import Any, TextIO, cast

from benchmark.report.display import SafeConsole

PIPED_WIDTH = 160
"""Columns where the output is no terminal: wide enough for the result table's columns."""

NARROWEST, WIDEST = 20, 1000
"""Columns that tables are laid out for at least and at most, whatever the terminal says."""


class Output:
    """A text stream over another one that may be missing, closed, full or narrow in its characters.

    What the encoding lacks is written as "?". The first failure is kept in ``problem``; after it
    nothing more is written, so that what is being run goes on.

    Args:
        stream: what to write to: ``sys.stdout``, a program's own object with at least ``write``,
            or None (no output is wanted).
    """

    def __init__(self, stream: Any) -> None:
        self._stream = stream
        standard = {id(sys.__stdout__): "__stdout__", id(sys.__stderr__): "__stderr__"}
        self._name = standard.get(id(stream), "") if stream is not None else ""
        self.problem: BaseException | None = None
        self.encoding: str = getattr(stream, "encoding", None) or "utf-8"

    def write(self, text: str) -> int:
        """Writes as much as can be; gives the number of characters, as streams do."""
        if self._stream is not None and self.problem is None:
            if self._name and getattr(self._stream, "closed", False):
                self._stream = getattr(sys, self._name)  # a plugin closed it, and it was reopened
            try:
                shown = text.encode(self.encoding, "replace").decode(self.encoding)
            except LookupError:  # an encoding that Python does not know
                shown = text.encode("ascii", "replace").decode("ascii")
            try:
                self._stream.write(shown)
            except Exception as error:  # of a program's own object, any
                self.problem = error
        return len(text)

    def flush(self) -> None:
        if self._stream is not None and self.problem is None and hasattr(self._stream, "flush"):
            try:
                self._stream.flush()
            except Exception as error:
                self.problem = error

    def isatty(self) -> bool:
        """Whether a person sits in front of it."""
        try:
            return bool(self._stream.isatty())
        except Exception:  # None, an object without the method, a closed stream
            return False

    def fileno(self) -> int:
        """The descriptor, as streams give it.

        Raises:
            OSError: there is none.
        """
        try:
            return int(self._stream.fileno())
        except Exception:
            raise OSError("the output has no descriptor") from None

    def finish(self) -> BaseException | None:
        """Flushes, and keeps Python from complaining about the same failure at its own end.

        Returns:
            What has gone wrong; None where all was written or the reader of a pipe (head, less)
            went away, which is its right.
        """
        self.flush()
        if self.problem is None:
            return None
        if self._stream in (sys.__stdout__, sys.__stderr__):
            with contextlib.suppress(OSError):
                nowhere = os.open(os.devnull, os.O_WRONLY)
                os.dup2(nowhere, self.fileno())
                os.close(nowhere)
        return None if isinstance(self.problem, BrokenPipeError) else self.problem


def console_over(output: Output) -> SafeConsole:
    """A console that prints to this output, as wide as it is or as ``COLUMNS`` says."""
    terminal = output.isatty()
    width, height = shutil.get_terminal_size((80 if terminal else PIPED_WIDTH, 25))
    return SafeConsole(
        file=cast(TextIO, output),
        width=max(NARROWEST, min(width, WIDEST)),
        height=height,
        # Colours may be forced upon a pipe (FORCE_COLOR), moving bars may not.
        force_interactive=terminal and os.environ.get("TERM") not in ("dumb", "unknown"),
        highlight=False,
    )
