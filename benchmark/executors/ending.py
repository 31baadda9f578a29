"""The end of a process in which somebody else's threads still run."""

from __future__ import annotations

import contextlib
import os
import sys
import threading

GRACE = 5.0
"""Seconds that such threads have to finish by themselves; Python would wait for ever."""


def end_despite_threads(code: int, grace: float = GRACE) -> None:
    """Lets this process end at most ``grace`` seconds after its work, with this exit code.

    A method that starts a thread and never ends it would keep a run from ending. Returns at once;
    Python ends as always, and only where it waits for such threads it is cut short with a line.
    """
    timer = threading.Timer(grace, _end, (code,))
    timer.daemon = True
    timer.start()


def _end(code: int) -> None:
    own = (threading.main_thread(), threading.current_thread())
    names = [repr(t.name) for t in threading.enumerate() if not t.daemon and t not in own]
    if not names:
        return
    with contextlib.suppress(Exception):
        line = "warning: ended without waiting for threads that a plugin left running"
        print(f"{line}: {', '.join(names)}", file=sys.stderr)
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(Exception):
            stream.flush()
    os._exit(code)
