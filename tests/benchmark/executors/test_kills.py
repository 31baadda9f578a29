"""Random SIGKILL, real cells: nothing is lost, doubled or torn, and the tables come out the same.

``QUERYSHIFT_KILLS=100`` asks for so many kills, every third of a process of its own (some minutes).
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.benchmark.executors.kills import campaign

ROUNDS = int(os.environ.get("QUERYSHIFT_KILLS", "0"))


@pytest.mark.slow
def test_runs_that_are_killed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    kills = campaign(tmp_path, ROUNDS or 4, real=3 if ROUNDS else 0)
    with capsys.disabled():
        if ROUNDS:
            print(f"\nkills: {dict(kills.counts)}; of a process of its own: {kills.real}")
    assert kills.counts["between saves"] >= (ROUNDS or 4) // 2
