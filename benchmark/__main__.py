"""``python -m benchmark`` is the command ``queryshift``."""

from __future__ import annotations

from queryshift.__main__ import program

program()
