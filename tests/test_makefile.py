"""The Makefile: what its variables become on the command line, and what its help says."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]

pytestmark = pytest.mark.skipif(shutil.which("make") is None, reason="make is not installed")


def call(*words: str, cwd: Path = ROOT) -> subprocess.CompletedProcess[str]:
    """Make, without what a make that runs the tests hands down."""
    handed = ["METHOD", "SHIFT", "SEED", "DATA", "MODEL", "OUT", "LIMIT", "MAKEFLAGS", "MAKELEVEL"]
    plain = {name: value for name, value in os.environ.items() if name not in handed}
    return subprocess.run(["make", *words], cwd=cwd, env=plain, capture_output=True, text=True)


def make(*words: str) -> str:
    done = call("--no-print-directory", *words)
    assert done.returncode == 0, done.stderr
    return done.stdout


def command(*words: str) -> list[str]:
    """What the target would run after ``python -m benchmark``, split as the shell does."""
    return shlex.split(make("-n", *words).splitlines()[-1].partition(" -m benchmark ")[2])


def test_only_variables_that_are_set_become_flags():
    assert command("bench") == ["bench"]
    assert command("bench", "METHOD=rest", "SHIFT=gaussian") == [
        *("bench", "--method", "rest", "--shift", "gaussian")
    ]


@pytest.mark.parametrize("value", ["/a folder/with blanks", "it's", 'say "x"', "a;b&c", "a*"])
def test_values_reach_the_command_as_one_word(value):
    assert command("bench", f"DATA={value}") == ["bench", "--data", value]


@pytest.fixture
def environment(tmp_path: Path) -> Path:
    """A virtual environment whose Python writes down what it was called with."""
    python = tmp_path / "venv" / "bin" / "python"
    python.parent.mkdir(parents=True)
    python.write_text(f'#!/bin/sh\nfor word; do printf "%s\\n" "$word"; done > {tmp_path}/words\n')
    python.chmod(0o755)
    stamp = tmp_path / "venv" / ".installed"
    stamp.touch()
    os.utime(stamp, (2**32, 2**32))  # newer than what it depends on
    return tmp_path / "venv"


@pytest.mark.parametrize(
    "value",
    [
        "$(shell touch PLACE/ran)",
        "${shell touch PLACE/ran}",
        "$(eval $(shell touch PLACE/ran))",
        "$$(touch PLACE/ran)",
        "`touch PLACE/ran`",
        "'; touch PLACE/ran; '",
        '"; touch PLACE/ran; "',
        "a && touch PLACE/ran #",
        "a'\ntouch PLACE/ran\n'",
        "$(MAKE) \\",
        "a  b $HOME $1 %s",
    ],
)
def test_nothing_in_a_value_is_run(tmp_path, environment, value):
    value = value.replace("PLACE", str(tmp_path))
    names = ("METHOD", "DATA", "OPTIONS", "GRID")
    make("grid", *(f"{name}={value}" for name in names), f"VENV={environment}")
    assert not (tmp_path / "ran").exists()
    value = value.replace("\n", " ")
    options = [word for option in value.split() for word in ("--option", option)]
    words = (tmp_path / "words").read_text().splitlines()
    assert words == [
        *("-m", "benchmark", "grid", value, "--method", value, "--data", value),
        *options,
    ]


@pytest.mark.parametrize("name", ["PYTEST_FLAGS", "TEST_WORKERS"])
def test_nothing_in_the_flags_of_tests_is_run(tmp_path, environment, name):
    for value in (f"$(shell touch {tmp_path}/ran)", f"'; touch {tmp_path}/ran; '", "`touch ran`"):
        make("test", f"{name}={value}", f"VENV={environment}")
        assert not (tmp_path / "ran").exists()
    done = make("-n", "test", "PYTEST_FLAGS=-k 'a or b'").splitlines()[-1]
    assert "-k '\\''a or b'\\''" in done


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["bnch", "METHOD=tcr"], "make has no target 'bnch'; did you mean bench"),
        (["bench", "METHD=tcr"], "'make bench' does not take METHD; did you mean METHOD"),
        (["bench", "method=tcr"], "'make bench' does not take method; did you mean METHOD"),
        (["grid", "SHIFT_OPTION=a=1"], "does not take SHIFT_OPTION; did you mean SHIFT_OPTIONS"),
        (["claims", "METHOD=tcr"], "'make claims' does not take METHOD (make help"),
        (["tune", "SEED=1"], "'make tune' does not take SEED"),
        (["suite", "STREAM=mixed"], "'make suite' does not take STREAM"),
        (["bench", "QUIET=maybe"], "QUIET: expected yes or no, not maybe"),
        (["test", "ALL=y"], "ALL: expected yes or no, not y"),
        (["bench", "VENV=a b"], "VENV is a folder without blanks"),
        (["bench", "VENV=$(shell touch ran)"], "VENV is a folder without blanks"),
        (["bench", "VENV=a;b"], "VENV is a folder without blanks"),
        (["bench", "VENV=~/x"], "VENV is a folder without blanks"),
    ],
)
def test_what_a_target_does_not_take_is_refused(words, message):
    done = call("-n", *words)
    assert done.returncode == 2
    assert message in " ".join(done.stderr.split())
    assert done.stdout == ""
    assert not (ROOT / "ran").exists()


def test_what_comes_from_the_environment_is_said(monkeypatch):
    assert call("-n", "bench", "CACHE=off").stderr == ""
    monkeypatch.setenv("CACHE", "/data")
    assert "from the environment: CACHE (unset" in call("-n", "bench").stderr
    assert call("-n", "bench", "CACHE=off").stderr == ""


def test_variables_for_other_programs_pass():
    assert command("bench", "OMP_NUM_THREADS=2", "ONEDNN_MAX_CPU_ISA=AVX2") == ["bench"]


def test_targets_take_what_their_commands_have_flags_for():
    from benchmark.cli.main import command as subcommand

    for target in ("bench", "suite", "grid", "plan", "leaderboard", "claims", "tune"):
        flags = {f for a in subcommand(target).parser()._actions for f in a.option_strings}
        taken = make(
            "-f", "Makefile", "--eval", f".show: ; @echo $(TAKES_{target})", ".show"
        ).split()
        assert taken
        given = [f"{name}=a=1" if name.endswith("OPTIONS") else f"{name}=1" for name in taken]
        fixed, words = (
            re.findall(r" (--[a-z-]+)", make("-n", target, *more).partition(" -m benchmark ")[2])
            for more in ((), given)
        )
        # One flag more for each, but for the grid's name.
        assert len(set(words)) == len(words), target
        assert len(set(words) - set(fixed)) == len(set(taken) - {"GRID"}), target
        assert flags.issuperset(words), target


def test_options_are_repeated_and_switches_have_no_value():
    switches = ("ALLOW_MISSING=1", "QUIET=0", "NO_FIGURES=TRUE", "COMPILE=off")
    words = command("bench", "OPTIONS=steps=1 lr=1e-4", *switches)
    options = ["--option", "steps=1", "--option", "lr=1e-4"]
    assert words == ["bench", "--allow-missing", "--no-figures", *options]
    words = command("bench", "STREAM=diverse,mixed", "STREAM_OPTIONS=delta=1 domains_per_batch=3")
    options = ["--stream-option", "delta=1", "--stream-option", "domains_per_batch=3"]
    assert words == ["bench", "--stream", "diverse,mixed", *options]
    assert '-m "not slow"' in make("-n", "test", "ALL=no")
    assert '-m "not slow"' not in make("-n", "test", "ALL=yes")


def test_a_part_of_the_leaderboard_leaves_the_committed_one_alone():
    whole, part = make("-n", "leaderboard"), make("-n", "leaderboard", "LIMIT=64")
    assert "--results results\n" in whole
    assert "docs.sentences" in whole
    assert "--results results/runs/leaderboard-part\n" in part
    assert "docs.sentences" not in part


def test_help_lists_every_public_target():
    shown = set(re.findall(r"^  make ([a-z-]+)", make("help"), flags=re.MULTILINE))
    wanted = (
        "help bench suite grid plan claims test perf format lint types check mini-weights tune "
        "leaderboard clean setup docs docs-figures gpu-check pins gain-model coverage prose"
    )
    assert shown == set(wanted.split())


def test_bench_takes_what_the_help_lists():
    listed = set(re.findall(r"\b[A-Z][A-Z_]+\b", make("help").partition("bench takes")[2]))
    taken = make("-f", "Makefile", "--eval", ".show: ; @echo $(TAKES_bench)", ".show").split()
    assert listed - {"METHOD", "SEED", "OPTIONS", "PYTHON", "VENV", "PIP_FLAGS"} <= set(taken)
    assert set(taken) <= listed


def test_pins_name_versions_alone():
    """No addresses or paths: the file must serve whatever registry the user has."""
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    pins = [line for line in lines if not line.startswith("#")]
    assert all(re.fullmatch(r"[A-Za-z0-9._-]+==[0-9][A-Za-z0-9.+]*", pin) for pin in pins)
    assert {"torch", "torchvision", "open-clip-torch"} <= {p.partition("==")[0] for p in pins}


def test_from_another_folder_it_says_how(tmp_path: Path) -> None:
    done = call("-f", str(ROOT / "Makefile"), "bench", cwd=tmp_path)
    assert done.returncode == 2
    assert f"works in its own folder: make -C {ROOT}/ bench, and paths" in done.stderr
    assert not list(tmp_path.iterdir())


@pytest.mark.skipif(shutil.which("flock") is None, reason="two makes are not told apart there")
def test_two_at_once_install_once(tmp_path: Path) -> None:
    python, venv = tmp_path / "python", tmp_path / "venv"
    made = 'sleep 0.3; mkdir -p "$3/bin"; cp "$0" "$3/bin/python"'
    locked = f"flock -n {venv}/.lock true || echo locked >> {tmp_path}/log"  # as uv does
    python.write_text(
        f'#!/bin/sh\necho "$*" >> {tmp_path}/log\n[ "$2" != venv ] || {{ {made}; }}\n'
        f'[ "$2" != uv ] || {{ {locked}; }}\n'
    )
    python.chmod(0o755)
    with ThreadPoolExecutor() as both:
        done = list(both.map(lambda _: call("setup", f"VENV={venv}", f"PYTHON={python}"), "ab"))
    assert [one.returncode for one in done] == [0, 0]
    assert "waiting for another make" in done[0].stdout + done[1].stdout
    log = (tmp_path / "log").read_text()
    assert (log.count("-m venv"), log.count("uv pip install"), log.count("locked")) == (1, 1, 0)
    call("-B", "setup", f"VENV={venv}", f"PYTHON={python}")
    assert (tmp_path / "log").read_text().count("uv pip install") == 2
    # One that is stopped leaves no stamp, which would stand for packages that are no longer there.
    (venv / "bin" / "python").write_text('#!/bin/sh\n[ "${*##*install*}" ]\n')
    os.utime(venv / ".installed", (0, 0))
    assert call("setup", f"VENV={venv}", f"PYTHON={python}").returncode == 2
    assert not (venv / ".installed").exists()


def test_an_environment_that_lost_its_packages_is_said(environment: Path) -> None:
    (environment / "bin" / "python").write_text("#!/bin/sh\nexit 1\n")
    assert "has lost its Python or its packages" in call("bench", f"VENV={environment}").stderr
