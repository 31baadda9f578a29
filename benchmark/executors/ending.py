"""The end of a process in which somebody else's threads still run."""

from __future__ import annotations

import contextlib
import os
import sys
import threading
import time

GRACE = 5.0
"""Seconds that such threads have to finish by themselves; Python would wait for ever."""


def end_despite_threads(code: int, grace: float = GRACE) -> None:
    """Lets this process end at most ``grace`` seconds after its work, with this exit code.

    A method that starts a thread and never ends it would keep a run from ending. Returns at once;
    Python ends as always, and only where it waits for such threads it is cut short with a line.
    """
    if _still_running():
        threading.Thread(target=_end, args=(code, grace), daemon=True).start()


def _still_running() -> list[str]:
    """Names of the threads that Python waits for before it ends."""
    mine = (threading.main_thread(), threading.current_thread())
    return [repr(t.name) for t in threading.enumerate() if not t.daemon and t not in mine]


def _end(code: int, grace: float) -> None:
    time.sleep(grace)
    if names := _still_running():
        with contextlib.suppress(Exception):
            listed = ", ".join(names)
            line = "warning: ended without waiting for threads that a plugin left running"
            print(f"{line}: {listed}", file=sys.stderr)
        for stream in (sys.stdout, sys.stderr):
            with contextlib.suppress(Exception):
                stream.flush()
        os._exit(code)
