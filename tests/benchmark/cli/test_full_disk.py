"""Disks that are full: what is said, what is kept, and that the same command goes on."""

from __future__ import annotations

import resource
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

import queryshift
from benchmark.cli.main import main
from benchmark.data.card import own_card
from benchmark.data.own.load import load_own
from benchmark.data.own.source import OwnSource
from benchmark.errors import DataError
from benchmark.store.run_store import RunStore
from tests.benchmark.fixtures_own import make_pairs

pytestmark = pytest.mark.usefixtures("toy")
RUN = [*("bench", "--benchmark", "toy-image", "--shift", "gaussian", "--limit", "16")]
RUN += ["--no-figures", "--cache", "off"]


@contextmanager
def files_end_after(size: int) -> Iterator[None]:
    """No file can be longer, which writing tells as a full disk does: by an OSError."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_the_same_command_goes_on_where_a_full_disk_stopped_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = [*RUN, "--out", str(tmp_path / "run"), "--quiet", "--method"]
    assert main([*command, "recentre"]) == 0
    before = {path: path.read_bytes() for path in (tmp_path / "run/cells").iterdir()}
    capsys.readouterr()
    with files_end_after(300):
        assert main([*command, "recentre,tent"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line == (
        f"error: cannot write results to {tmp_path}/run/cells: File too large; free space and give "
        "the same command again, which goes on, or choose another folder"
    )
    assert {path: path.read_bytes() for path in (tmp_path / "run/cells").iterdir()} == before
    assert main([*command, "recentre,tent"]) == 0
    assert len(RunStore(tmp_path / "run").records()) == 3
    assert {path: path.read_bytes() for path in before} == before, "they were not computed again"


def test_a_report_on_a_full_disk_leaves_the_results(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = str(tmp_path / "run")
    assert main([*RUN, "--out", run, "--quiet", "--method", "recentre"]) == 0
    tables = (tmp_path / "run/tidy.csv").read_bytes()
    capsys.readouterr()
    with files_end_after(300):
        assert main(["report", run, "--no-figures"]) == 2
    shown = capsys.readouterr()
    assert "recentre" in shown.out, "the table comes all the same"
    assert f"error: cannot write {run}/tidy.csv: File too large; free space" in shown.err
    assert (tmp_path / "run/tidy.csv").read_bytes() == tables
    assert len(RunStore(run).records()) == 2


def test_a_merge_on_a_full_disk_leaves_all_as_it_was(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run, target = str(tmp_path / "run"), tmp_path / "all"
    assert main([*RUN, "--out", run, "--quiet", "--method", "recentre"]) == 0
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    capsys.readouterr()
    with files_end_after(300):
        assert main(["merge", run, "--out", str(target)]) == 2
    assert capsys.readouterr().err == (
        f"error: cannot write {target}: File too large; free space there, or name another folder\n"
    )
    after = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    assert after == before
    assert main(["merge", run, "--out", str(target)]) == 0
    assert len(RunStore(target).records()) == 2


def test_a_full_cache_costs_one_warning(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    told = {"data": "toy-image", "shift": "gaussian", "limit": 16, "cache": str(tmp_path)}
    with files_end_after(300):
        result = queryshift.evaluate("recentre", **told)
    assert [cell.done for cell in result.cells] == [True, True]
    (said,) = [line for line in caplog.messages if str(tmp_path) in line]
    assert said.endswith("cannot be written ([Errno 27] File too large); going on without")
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]


def test_texts_of_a_table_that_the_temporary_folder_does_not_take(tmp_path: Path) -> None:
    table = make_pairs(tmp_path)
    card = own_card("own:pairs-t2i")
    assert card is not None
    with files_end_after(50):
        data = load_own(card, OwnSource(str(table)).text)
        with pytest.raises(DataError, match=r"contents in .*: File too large; .*TMPDIR=/path"):
            data.queries[0]
