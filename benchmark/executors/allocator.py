"""Makes the C library keep the memory that adapting frees and asks for again at every step."""

from __future__ import annotations

import ctypes
import os

VARIABLES = {"MALLOC_MMAP_MAX_": "0", "MALLOC_TRIM_THRESHOLD_": "1000000000000"}
"""glibc's own variables for the same two settings; where the user has set one, it holds.

Read once, when a process starts, so only child processes can be given them.
"""

# The numbers that malloc.h gives the parameters of mallopt(3).
_M_TRIM_THRESHOLD = -1
_M_MMAP_MAX = -4
_NEVER = -1


def keep_freed_memory() -> bool:
    """Tells glibc to keep large freed blocks in this process instead of returning them.

    By default each goes back to the kernel, which hands it out again page by page, cleared: a
    large part of the time of a training step on the CPU. The process's memory does not shrink
    afterwards. Worker processes get the same by variables when they are started.

    Returns:
        Whether it is so: False with another C library, or where the user's variables say otherwise.
    """
    if any(name in os.environ for name in VARIABLES):
        return False
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError, TypeError):  # no mallopt: musl, macOS, Windows
        return False
    return bool(mallopt(_M_MMAP_MAX, 0)) and bool(mallopt(_M_TRIM_THRESHOLD, _NEVER))
