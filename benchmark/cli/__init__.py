"""The command line: one class per subcommand, and the only place that prints.

Nothing in here imports torch, pandas or matplotlib at import time: listing names must be instant.
"""

from __future__ import annotations

from benchmark.cli.main import main, program

__all__ = ["main", "program"]
