"""Progress where there is no terminal: lines on standard error, ten seconds apart."""

from __future__ import annotations

import io
import itertools

import pytest
from rich.console import Console

from benchmark.cli import main, progress
from benchmark.cli.progress import Bars, Lines
from benchmark.evaluation.runner import run_cell
from tests.benchmark import fakes


def test_a_line_every_ten_seconds_with_what_is_done_and_left() -> None:
    now = [0.0]
    out = io.StringIO()
    lines = Lines(Console(file=out, width=40), total=4, clock=lambda: now[0])
    cell = fakes.cell()
    record, _ = run_cell(cell, fakes.resources())
    lines.cell_started(cell, 10, 80)
    for second in (3.0, 9.9):
        now[0] = second
        lines.batch_done(cell, {"queries": cell.stream.batch_size})
    assert out.getvalue() == ""
    now[0] = 10.0
    lines.cell_done(record)
    now[0] = 15.0
    lines.cell_started(fakes.cell(seed=1), 10, 10 * cell.stream.batch_size)
    assert out.getvalue() == "1 of 4 cells in 10 s, about 30 s left\n"
    now[0] = 20.0
    lines.batch_done(fakes.cell(seed=1), {"queries": 5 * cell.stream.batch_size})
    total = 10 * cell.stream.batch_size
    last = out.getvalue().splitlines()[1]
    assert last.startswith("1 of 4 cells in 20 s, about 33 s left; ")  # 20 (4 / 1.5 - 1)
    assert last.endswith(f"seed 1: {total // 2} of {total} queries")


def test_the_queries_are_counted_where_the_last_batch_is_short() -> None:
    out = io.StringIO()
    clock = itertools.count(0.0, 11.0)
    lines = Lines(Console(file=out, width=200), total=1, clock=lambda: next(clock))
    run_cell(fakes.cell(), fakes.resources(), progress=lines)  # 30 queries in batches of 8
    said = [line.rpartition(": ")[2] for line in out.getvalue().splitlines()]
    assert said == [f"{done} of 30 queries" for done in (0, 8, 16, 24, 30)]
    with Bars(Console(file=out), total=1) as bars:
        run_cell(fakes.cell(), fakes.resources(), progress=bars)
        assert (bars.tasks[-1].completed, bars.tasks[-1].total) == (30, 30)


@pytest.mark.parametrize("quiet", [False, True])
def test_the_lines_go_to_standard_error_and_not_with_quiet(
    quiet: bool, toy: None, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(progress, "EVERY", 0.0)
    words = ["--benchmark", "toy-image", "--shift", "gaussian", "--method", "toy-nudge"]
    more = ["--no-figures", "--out", "run", *(["--quiet"] if quiet else [])]
    assert main(["bench", *words, *more]) == 0
    out, err = capsys.readouterr()
    assert ("2 of 2 cells" in err) is not quiet
    assert ("planning" in err) is not quiet
    assert "of 2 cells" not in out
