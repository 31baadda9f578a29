"""The command ``queryshift``, also as ``python -m queryshift``."""

from __future__ import annotations

import sys
from typing import NoReturn

from queryshift import refuse_shadows


def program() -> NoReturn:
    """The command line; a folder that hides one of our packages is one line, no traceback."""
    try:
        refuse_shadows()
    except Exception as error:  # QueryShiftError, of a file that was read by its place
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)
    from benchmark.cli import program as command

    command()


if __name__ == "__main__":
    program()
