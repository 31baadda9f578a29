"""Ctrl-C of the user, told apart from a ``KeyboardInterrupt`` that some code raises by itself."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType


@contextmanager
def noticed() -> Iterator[Callable[[], bool]]:
    """Gives a function that says whether the user has pressed Ctrl-C within the block.

    Only the main thread gets signals; elsewhere, and where they are ignored, it says no.
    """
    pressed = False
    before = signal.getsignal(signal.SIGINT)

    def note(number: int, frame: FrameType | None) -> None:
        nonlocal pressed
        pressed = True
        if callable(before):
            before(number, frame)

    main = threading.current_thread() is threading.main_thread()
    if not main or not callable(before):
        yield lambda: pressed
        return
    signal.signal(signal.SIGINT, note)
    try:
        yield lambda: pressed
    finally:
        signal.signal(signal.SIGINT, before)
