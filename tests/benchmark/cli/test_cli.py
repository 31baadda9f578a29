"""The command line, as a user meets it: words in, exit code, lines and files out."""

from __future__ import annotations

import gc
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

import benchmark
from benchmark.data.card import Suite
from benchmark.planning import compatibility
from benchmark.planning import plan as plan_module
from benchmark.registry import BENCHMARKS, METHODS

ROOT = Path(benchmark.__file__).resolve().parents[1]
KEYED = ("bench", "--benchmark=toy-image", "--stream=correlated")


pytestmark = pytest.mark.usefixtures("toy")


@pytest.fixture
def bench(call):
    """Runs ``bench`` on the toy world without figures; ``--out run`` where nothing else is said."""

    def run(*words: str) -> tuple[int, str, str]:
        given = " ".join(words)
        more = ["--no-figures"]
        more += [] if "--benchmark" in given else ["--benchmark", "toy-image"]
        more += [] if "--shift" in given else ["--shift", "gaussian"]
        more += [] if "--method" in given else ["--method", "toy-nudge"]
        more += [] if "--batch-size" in given else ["--batch-size", "8"]
        more += [] if "--out" in given else ["--out", "run"]
        return call("bench", *words, *more)

    return run


def errors(text: str) -> list[str]:
    return [line for line in text.splitlines() if line.startswith("error: ")]


def test_without_words_it_says_what_there_is(call):
    code, out, _ = call()
    assert code == 0
    for name in ("bench", "list", "show", "check", "report", "leaderboard", "tune"):
        assert f"  {name}" in out


def test_version(call):
    assert call("--version")[:2] == (0, f"queryshift {benchmark.__version__}\n")


@pytest.mark.parametrize("command", ["bench", "list", "show", "check", "report", "leaderboard"])
def test_every_command_has_help_with_examples(call, command):
    code, out, err = call(command, "--help")
    assert code == 0
    assert f"queryshift {command} " in out.partition("examples:")[2]
    assert err == ""


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("bnech",), "unknown command 'bnech'; did you mean 'bench'"),
        (("bench", "--mehtod", "rest"), "no flag '--mehtod'; did you mean '--method'"),
        (("bench", "rest"), "does not expect 'rest'"),
        (("bench", "--seed"), "expected one argument"),
        (("list",), "required: KIND"),
        (("data", "check", "--dta", "x"), "no flag '--dta'; did you mean '--data'"),
        (("list", "metods"), "unknown kind 'metods'; did you mean 'methods'"),
        (("bench", "--data", ""), "--data is empty; name a place, or leave it out"),
        (("show", "rest", "--pretrained", "x"), "--pretrained is for models, and 'rest' is none"),
        (("list", "methods", "--trains", ""), "no method has ''"),
        (("suite", "--gallery", "x"), "has no flag '--gallery'"),  # it runs on published data
        (("show", "resst"), "nothing is called 'resst'; did you mean 'rest'"),
        (("check", "toy-image"), "is a benchmark; contracts exist for methods and shifts"),
        (("report", "nowhere"), "there is no run 'nowhere'"),
        (("report", "a" * 300), "/cells': File name too long"),
        (("data", "check", "--data", "a" * 300), "File name too long"),
        (("bench", "--seed=0", "--seed", "1"), "argument --seed: given twice"),
        (("bench", "--grid", ""), "unknown grid ''; known: "),
        (("bench", "--config", ""), "cannot read .: Is a directory"),
        (("bench", "--method", "resst"), "unknown method 'resst'; did you mean 'rest'"),
        (("bench", "--shift", "gauss"), "unknown shift 'gauss'; did you mean 'gaussian'"),
        (("bench", "--benchmark", "toy-imag"), "unknown benchmark 'toy-imag'; did you mean"),
        (("bench", "--suite", "papers"), "unknown suite 'papers'; did you mean 'paper'"),
        (("bench", "--stream", "divrese"), "'divrese' does not exist; did you mean 'diverse'"),
        ((*KEYED, "--stream-option=group_key=imag"), "no group key 'imag'; did you mean 'image'"),
        (("bench", "--stream", "mixed", "--shift", "gaussian,ocr"), "'ocr' works on text queries"),
        (("bench", "--shift", "frost"), "'frost' needs photographs and was given no folder"),
        (("bench", "--severity", "6"), "has no severity 6; it has 1, 2, 3, 4, 5"),
        (("bench", "--device", "gpu"), "expected cpu, cuda, cuda:N or auto"),
        (("bench", "--suite", "paper", "--benchmark", "toy-image"), "is in suite 'toy'"),
        (("tune", "--workers", "none"), "--workers: expected a whole number"),
    ],
)
def test_a_mistake_is_one_line_and_exit_code_2(call, words, said):
    code, out, err = call(*words)
    assert code == 2
    assert out == ""
    (line,) = errors(err)
    assert said in line
    assert "Traceback" not in err
    if said.startswith(("unknown method", "unknown shift")):  # before the line of planning
        assert "planning; " not in err


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--option", "siez=1"), "has no option 'siez'; did you mean 'size'"),
        (("--option", "size=big"), "option 'size' of method 'toy-nudge'"),
        (("--method", "toy-broken"), "'toy-broken' of queryshift-toy"),
        (("--data", "/no/such/folder"), "no folder /no/such/folder"),
    ],
)
def test_what_cannot_be_run_is_refused_before_anything_is_written(bench, words, said):
    code, _, err = bench(*words)
    assert code == 2
    (line,) = errors(err)
    assert said in line
    assert not Path("run").exists()


def test_a_results_folder_that_cannot_be_written_is_named(bench):
    Path("file").write_text("in the way")
    code, _, err = bench("--out", "file/run")
    assert code == 2
    assert "cannot write results to file/run" in errors(err)[0]


def test_list_warns_of_plugins_that_cannot_be_used_and_shows_the_others(call):
    code, out, err = call("list", "methods")
    assert code == 0
    assert "queryshift-toy" in next(line for line in out.splitlines() if "toy-nudge" in line)
    assert "toy-absent" not in out
    warnings = [line for line in err.splitlines() if line.startswith("warning: ")]
    assert len(warnings) == 2
    assert any("'toy-absent'" in w and "no module 'queryshift_toy_absent'" in w for w in warnings)
    assert any("'tent' is already taken by methods.tent:Tent" in w for w in warnings)


def test_list_as_json_is_json_alone_on_standard_output(call):
    _, out, _ = call("list", "shifts", "--json")
    found = {entry["name"]: entry for entry in json.loads(out)}
    assert found["gaussian_noise"]["aliases"] == ["gaussian"]
    assert found["char_swap"]["facts"]["modality"] == "text"


def test_list_is_quick_because_it_imports_nothing_heavy():
    code = (
        "import sys; from benchmark.cli import main\n"
        "heavy = {'torch', 'torchvision', 'open_clip', 'numpy', 'pandas', 'matplotlib', 'PIL'}\n"
        "heavy.add('scipy')\n"
        "for kind in ('methods', 'benchmarks', 'backbones', 'shifts'):\n"
        "    assert main(['list', kind]) == 0\n"
        # A shift's card is asked for on its class, whose module reads arrays and pictures.
        "    heavy -= {'numpy', 'PIL'} if kind == 'shifts' else set()\n"
        "    found = heavy & set(sys.modules); assert not found, (kind, found)"
    )
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True, capture_output=True)


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("method/toy-nudge", ["--option size", "how far queries are moved", "queryshift-toy"]),
        ("shift/gaussian", ["shift gaussian_noise"]),
        # Markup in a plugin's words is shown, not obeyed.
        ("toy-nudge", ["[bold]nudges[/bold]"]),
        ("toy-image", ["[red]toy[/red] pictures"]),
    ],
)
def test_show_prints_card_and_options(call, name, said):
    _, out, _ = call("show", name)
    assert all(words in out for words in said)


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (("check", "source"), 0, "ok"),
        (("check", "toy-spoiler"), 1, "spoiled"),
        (("check", "shift/char_swap"), 0, "severities ascend"),
    ],
)
def test_check_runs_the_contract_of_methods_and_of_shifts(call, words, code, said):
    found, out, _ = call(*words)
    assert found == code
    assert said in out


def test_bench_runs_source_beside_the_method_and_writes_everything(bench):
    code, out, err = bench()
    assert code == 0
    assert "planning; then a line every" in err  # something is said before torch is imported
    assert not errors(err)
    assert "source" in out
    assert "toy-nudge comes closest: R@1 " in " ".join(out.split())
    assert "open:    run/leaderboard.html" in out
    tidy = pd.read_csv("run/tidy.csv")
    assert set(tidy["method"]) == {"source", "toy-nudge"}
    assert set(tidy["preset"]) == {"published"}
    assert set(tidy["status"]) == {"done"}
    assert Path("run/leaderboard.csv").is_file()


def test_a_second_identical_run_reuses_its_cells_unless_told_otherwise(bench):
    def stamps() -> dict[Path, int]:
        return {path: path.stat().st_mtime_ns for path in Path("run/cells").iterdir()}

    assert "reused" not in bench()[1]
    first = stamps()
    code, out, _ = bench()
    assert code == 0
    assert "reused 2 finished cells; nothing to do" in out
    assert stamps() == first
    assert "reused 2 finished cells, ran 2" in bench("--seed", "0,1")[1]
    assert "reused" not in bench("--if-exists", "always")[1]
    assert all(stamps()[path] != at for path, at in first.items())


def test_garbage_is_seldom_looked_for_while_planning_and_as_usual_in_cells(bench, monkeypatch):
    nudge, usual, seen = METHODS.get("toy-nudge"), gc.get_threshold(), {}

    def noting(name, function):
        def noted(*given):
            seen[name] = gc.get_threshold()
            return function(*given)

        return noted

    monkeypatch.setattr(nudge, "step", noting("cell", nudge.step))
    monkeypatch.setattr(plan_module, "plan_flags", noting("plan", plan_module.plan_flags))
    assert bench()[0] == 0
    assert seen["cell"] == gc.get_threshold() == usual
    assert seen["plan"][0] > 10 * usual[0]


def test_the_default_folder_is_named_after_the_run_and_depends_on_what_is_run(call):
    words = ["bench", "--benchmark", "toy-image", "--shift", "contrast", "--method", "toy-nudge"]
    for more in ((), ("--workers", "1", "--device", "cpu", "--quiet"), ("--limit", "20")):
        assert call(*words, "--no-figures", *more)[0] == 0
    names = sorted(path.name for path in Path("results/runs").iterdir())
    assert len(names) == 2
    assert all(name.startswith("toy-image_contrast-5_toy-nudge_") for name in names)


def test_settings_reach_the_cell(bench):
    bench("--option", "size=0.5", "--limit", "20", "--severity", "2,3", "--seed", "4")
    cells = [json.loads(p.read_text())["cell"] for p in Path("run/cells").glob("*.json")]
    assert {cell["shift"]["severity"] for cell in cells} == {2, 3}
    assert {cell["seed"] for cell in cells} == {4}
    assert {cell["limit"] for cell in cells} == {20}
    assert {cell["stream"]["batch_size"] for cell in cells} == {8}
    nudges = [cell["method"] for cell in cells if cell["method"]["name"] == "toy-nudge"]
    assert all(m["options"] == {"size": 0.5} for m in nudges)
    assert {m["preset"] for m in nudges} == {"published+size"}


def test_an_interrupted_run_keeps_its_cells_and_goes_on(bench, monkeypatch):
    spoiler = METHODS.get("toy-spoiler")
    # A real one: a method that raises KeyboardInterrupt itself only fails its cell.
    press = property(lambda _: os.kill(os.getpid(), signal.SIGINT))
    monkeypatch.setattr(spoiler, "error", press)
    code, out, err = bench("--method", "toy-spoiler")
    assert code == 130
    assert "valid" in out + err
    assert "Traceback" not in err
    monkeypatch.setattr(spoiler, "error", None)
    code, out, _ = bench("--method", "toy-spoiler")
    assert code == 0
    assert "reused 1 finished cell, ran 1" in out


@pytest.mark.slow
def test_two_workers_give_the_same_numbers(bench):
    bench("--threads", "1")
    code, _, _ = bench("--workers", "2", "--threads", "1", "--out", "two")
    assert code == 0
    one, two = (pd.read_csv(f"{folder}/tidy.csv") for folder in ("run", "two"))
    numbers = one.columns[: list(one.columns).index("mAP") + 1]  # costs differ
    pd.testing.assert_frame_equal(one[numbers], two[numbers])


def test_a_stream_of_several_shifts_from_the_command_line_to_the_tables(bench):
    code, out, err = bench("--stream", "continual", "--shift", "gaussian,contrast")
    assert (code, errors(err)) == (0, [])
    assert "stream continual" in out
    tidy = pd.read_csv("run/tidy.csv")
    assert set(tidy["domains"]) == {"gaussian_noise-5, contrast-5"}
    assert {"R@1_contrast-5", "first_domain_R@1_after"} <= set(tidy)
    assert "reused 2 finished cells" in bench(*("--stream", "continual"), *("--shift", "all"))[1]


def test_report_derives_the_same_files_again(bench, call):
    bench("--out", "results/runs/mine")
    folder = Path("results/runs/mine")
    before = {path: path.read_bytes() for path in folder.glob("*.csv")}
    for path in before:
        path.unlink()
    code, out, _ = call("report", "mine", "--no-figures")
    assert code == 0
    assert "toy-nudge" in out
    assert {path: path.read_bytes() for path in folder.glob("*.csv")} == before
    assert "did you mean 'mine'" in call("report", "mien")[2]


def test_leaderboard_runs_the_bundled_grid_and_writes_it_to_results(call, monkeypatch):
    cards = (BENCHMARKS.get("toy-image"), BENCHMARKS.get("toy-text"))
    monkeypatch.setattr(compatibility, "load_suite", lambda name: Suite(name, name, "", cards))
    flags = ("--method", "source,recentre", "--benchmark", "all", "--seed", "1", "--limit", "16")
    code, _, err = call("leaderboard", *flags)
    assert code == 0, err
    board = pd.read_csv("results/leaderboard.csv")
    assert set(board["method"]) == {"source", "recentre"}
    assert set(board["benchmark"]) == {"toy-image", "toy-text"}
    assert (board["cells_missing"] == 0).all()
    assert set(pd.read_csv("results/suite.csv")["row"]) == {"toy-image", "toy-text"}
    assert list(Path("results/figures").glob("*.png"))
