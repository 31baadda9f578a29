"""``python -m benchmark`` is the command ``queryshift``."""

from __future__ import annotations

from benchmark.cli import program

program()
