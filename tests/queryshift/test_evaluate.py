"""``import queryshift``: methods, models and data as objects, and what came of it."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image

import benchmark
import queryshift
from benchmark.cell import StreamSpec
from benchmark.data.card import benchmark_card
from benchmark.data.tasks import load_retrieval_set
from benchmark.registry import BACKBONES, METHODS, SHIFTS
from benchmark.report.results import CellResult
from methods.sinkhorn import Sinkhorn
from methods.tent import Tent
from methods.tiny import World
from queryshift import QueryShiftError
from queryshift.models import dual_encoder
from shifts.base import Shift, ShiftCard
from tests.benchmark.fixtures_own import COLOURS, make_pairs, pixels
from tests.benchmark.report.cells import invented
from tests.queryshift.towers import TOWERS, Grey, Sharpen, mean_colour

ROOT = Path(benchmark.__file__).resolve().parents[1]
NAMES = list(COLOURS)


@pytest.fixture
def frame() -> pd.DataFrame:
    return pd.DataFrame(
        {"image": [pixels(name) for name in NAMES], "caption": [f"all {name}" for name in NAMES]}
    )


def test_a_class_a_function_an_instance_and_a_name_beside_the_source(
    frame, tmp_path, monkeypatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    still = Tent(World().setup(), Tent.Options(lr=0.0))  # made for another encoder
    ahead = Sinkhorn(World().setup(), Sinkhorn.Options(bank="transductive"))

    def tent(setup, *, options):
        return Tent(setup, options)

    tent.card = Tent.card
    methods = [Sharpen, partial(tent, options=Tent.Options(lr=0.0)), still, ahead, "recentre"]
    result = queryshift.evaluate(methods, "mini", frame, "gaussian")
    rows = result.to_frame().set_index("method")
    names = ["source", "sharpen", "tent-made", "tent-made-2", "sinkhorn-made[transductive]"]
    assert list(rows.index) == [*names, "recentre"]
    assert set(rows["status"]) == {"done"}
    assert rows["backward_per_query"]["sharpen"] > 0
    for name in ("tent-made", "tent-made-2"):  # they learn at a rate of 0
        assert rows["R@1"][name] == rows["R@1"]["source"]
        assert rows["options"][name] == asdict(still.options)
    assert "against no adaptation" in result.verdict()
    assert "<table" in result._repr_html_()
    assert "against source" in result._repr_html_()
    assert "6 of 6 cells" in repr(result)
    assert not list(tmp_path.iterdir())  # nothing was written
    assert "sharpen" not in METHODS


def test_a_shift_over_domains_of_ones_own(frame) -> None:
    frame["domain"] = ["ab"[number % 2] for number in range(len(frame))]
    stream = {"stream": "correlated", "stream_option": {"group_key": "domain"}}
    rows = queryshift.evaluate("source", "mini", frame, "gaussian", **stream).to_frame()
    assert rows["coverage"].tolist() == [100.0]
    assert rows[["R@1_a", "R@1_b"]].notna().all(axis=None)


class Constant(Sharpen):
    card = queryshift.MethodCard("constant", "Constant", "a loss without a gradient", "none")

    def objective(self, forward):
        return super().objective(forward).detach()


def test_settings_that_a_notebook_has_made_do_not_count(frame) -> None:
    plain = queryshift.evaluate("tent", "mini", frame, "gaussian")
    with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16):
        again = queryshift.evaluate("tent", "mini", frame, "gaussian")
        assert torch.is_autocast_enabled("cpu")
    for one, other in zip(plain.cells, again.cells, strict=True):
        assert one.record.probes == other.record.probes


def test_a_loss_without_a_gradient_is_said(caplog) -> None:
    result = queryshift.evaluate([Constant, Sharpen], shift="gaussian", limit=16)
    frame = result.to_frame().set_index("method")
    assert frame["R@1"]["constant"] == frame["R@1"]["source"]
    (said,) = [line for line in caplog.messages if "nothing was adapted" in line]
    assert "/ constant / seed 0: its loss had no gradient in any batch" in said


def test_the_numbers_are_those_of_the_command(tmp_path) -> None:
    from benchmark.cli.main import main

    name = "mini-flickr-c-image"
    told = ["--method", "tent", "--benchmark", name, "--shift", "fog", "--limit", "40"]
    assert (
        main(["bench", *told, "--seed", "1", "--out", str(tmp_path), "--no-figures", "--quiet"])
        == 0
    )
    stored = queryshift.load_results(tmp_path).to_frame()
    ours = queryshift.evaluate("tent", data=name, shift="fog", limit=40, seed=1).to_frame()
    both = [frame.set_index("key").sort_index() for frame in (stored, ours)]
    assert list(both[0].index) == list(both[1].index)
    assert both[0]["mAP"].equals(both[1]["mAP"])


def test_figures(frame) -> None:
    result = queryshift.evaluate("tent", TOWERS, frame, "contrast", severity=[1, 5])
    assert result.plot()._repr_png_().startswith(b"\x89PNG")
    assert result.plot("severity", "own:data-i2t") is not None
    with pytest.raises(QueryShiftError, match="no figure 'shift'; did you mean 'shifts'"):
        result.plot("shift")
    with pytest.raises(QueryShiftError, match="no benchmark 'coco'; this run has own:data-i2t"):
        result.plot("shifts", "coco")


def test_the_figure_is_of_the_benchmark_that_is_named() -> None:
    cells = [invented("source", hits=[1, 0], benchmark=name) for name in ("a-coco", "coco")]
    result = queryshift.Result(cells)
    assert result.plot("shifts", "coco").get_suptitle() == "coco"
    assert result.plot("shifts", "a-c").get_suptitle() == "a-coco"


def test_a_notebook_tells_rows_apart_and_says_what_is_missing() -> None:
    def heads(*cells: CellResult) -> list[str]:
        return re.findall("<th>([^<]+)</th>", queryshift.Result(cells)._repr_html_())

    one, other = (invented(stream=StreamSpec(batch_size=size), hits=[1, 0]) for size in (2, 4))
    assert heads(one) == ["benchmark", "shift", "severity", "method", "R@1"]
    assert heads(one, other)[1] == "setting"
    kinds = heads(one, invented(stream=StreamSpec("mixed"), weights="w2", hits=[1, 0]))
    assert kinds[1] == "stream"
    assert heads(one, *(invented("source", hits=[1, 0], seed=s) for s in (0, 1)))[-1] == "missing"


@pytest.mark.parametrize(
    "form", ["frame", "columns", "pair", "path", "frame of paths", "rows", "arrow"]
)
def test_data_in_every_form(form, frame, tmp_path) -> None:
    table = make_pairs(tmp_path)
    of_paths = pd.DataFrame({"image": [f"pics/{n}.png" for n in NAMES], "caption": NAMES})
    pictures = np.stack(list(frame["image"]))
    given = {
        "frame": {
            "data": frame.rename(columns={"caption": "said"}),
            "columns": {"caption": "said"},
        },
        "columns": {"data": {"image": pictures, "caption": list(frame["caption"])}},
        "pair": {"data": (pictures, frame["caption"].tolist())},
        "path": {"data": table},
        "rows": {"data": frame.to_dict("records")},
        "arrow": {"data": SimpleNamespace(to_pydict=lambda: frame.to_dict("list"))},
        "frame of paths": {"data": of_paths, "root": str(tmp_path)},
    }[form]
    result = queryshift.evaluate("tent", "mini", shift="none", name="mine", **given).to_frame()
    assert set(result["status"]) == {"done"}
    stem = "own:pairs" if form == "path" else "own:mine"
    assert set(result["benchmark"]) == {f"{stem}-i2t", f"{stem}-t2i"}
    assert set(result["queries"]) <= {12, 24}


def test_a_shift_of_pictures_runs_the_direction_that_has_them(frame) -> None:
    result = queryshift.evaluate("source", "mini", frame, "contrast").to_frame()
    assert list(result["benchmark"]) == ["own:data-i2t"]


def test_torch_modules_as_the_model(frame) -> None:
    before = {name: value.clone() for name, value in TOWERS["image"][0].state_dict().items()}
    result = queryshift.evaluate(
        "tent", TOWERS, frame, shift="none", option={"lr": 0.1, "temperature": 0.1}
    )
    rows = result.to_frame().set_index(["benchmark", "method"])
    assert rows["R@1"]["own:data-i2t", "source"] == 100.0  # both towers see the same colour
    assert rows["backward_per_query"]["own:data-i2t", "tent"] > 0
    assert set(rows["backbone"]) == {"own-model"}
    after = TOWERS["image"][0].state_dict()
    assert all(torch.equal(after[name], value) for name, value in before.items())
    pair = (TOWERS["image"], TOWERS["text"])
    again = queryshift.evaluate("tent", pair, frame, shift="none")
    assert again.to_frame()["R@1"][0] == 100.0
    assert "given" not in BACKBONES


def test_a_dual_encoder_and_a_retrieval_set() -> None:
    from benchmark.cell import BackboneSpec

    encoder = BACKBONES.get("mini")(BackboneSpec())
    card = benchmark_card("mini-base2rsitmd-t2i")
    run = partial(queryshift.evaluate, "source", limit=32, loader_workers=0)
    given, named = run(encoder, load_retrieval_set(card), "none"), run(data=card.id)
    assert list(given.to_frame()["mAP"]) == list(named.to_frame()["mAP"])
    assert set(given.to_frame()["benchmark"]) == {"own:mini-base2rsitmd-t2i"}
    assert given.cells[0].weights == named.cells[0].weights


def test_towers_of_equal_weights_that_compute_otherwise() -> None:
    class Doubled(Grey):
        def forward(self, inputs):
            return super().forward(inputs * inputs)

    def corner(picture):
        return mean_colour(picture.crop((0, 0, 8, 8)))

    text = TOWERS["text"]
    Doubled.__name__ = "Grey"
    made = [
        dual_encoder(image=image, text=text).fingerprint
        for image in [(Grey(), mean_colour)] * 2 + [(Grey(), corner), (Doubled(), mean_colour)]
    ]
    assert made[0] == made[1]
    assert len(set(made)) == 3


@pytest.mark.parametrize(
    "compute",
    [
        lambda rows, inputs: torch.dropout(rows, 0.3, True),
        lambda rows, inputs: rows - rows.mean(dim=0) * (len(rows) > 1),
        lambda rows, inputs: rows + 0 * inputs.add_(1).sum(),
    ],
)
@pytest.mark.parametrize("side", ["image", "text"])
def test_embeddings_that_depend_on_more_than_the_item(frame, compute, side) -> None:
    class Other(Grey):
        def forward(self, inputs):
            return compute(super().forward(inputs), inputs)

    model = TOWERS | {side: (Other(), TOWERS[side][1])}
    with pytest.raises(QueryShiftError, match="embedded in a batch and then alone"):
        queryshift.evaluate("source", model, frame, "none", loader_workers=0)


def test_a_shift_of_ones_own(frame) -> None:
    class Dark(Shift):
        card = ShiftCard("dark", "image", (1, 2), "darker", "none")
        id = "of no benchmark"

        def corrupt(self, item, severity, rng):
            return item // (4 * severity)

    class InPlace(Dark):
        card = replace(Dark.card, name="in-place")

        def corrupt(self, item, severity, rng):
            item //= 4 * severity
            return item

    result = queryshift.evaluate("tent", TOWERS, frame, [Dark, InPlace, "contrast"], severity=1)
    probes = [cell.record.probes for cell in result.cells if cell.method == "tent"]
    assert set(result.to_frame()["shift"]) == {"dark", "in-place", "contrast"}
    assert probes[0] == probes[1] != probes[2]
    assert "dark" not in SHIFTS


def test_out_stores_a_run_and_runs_own_code_again(tmp_path, frame) -> None:
    run = partial(queryshift.evaluate, Sharpen, "mini", frame, shift="none", no_figures=True)
    first = run(out=str(tmp_path / "run"))
    assert (tmp_path / "run" / "leaderboard.csv").is_file()
    loaded = queryshift.load_results(str(tmp_path / "run"))
    assert sorted(loaded.to_frame()["key"]) == sorted(first.to_frame()["key"])

    def seconds(result):
        return result.to_frame().set_index("key")["seconds"].to_dict()

    with pytest.raises(QueryShiftError, match="own:data-i2t was given in memory"):  # to verify
        load_retrieval_set(benchmark_card(first.cells[0].benchmark), None)
    assert seconds(run(out=str(tmp_path / "run"))) != seconds(first)
    kept = seconds(queryshift.load_results(tmp_path / "run"))
    assert seconds(run(out=str(tmp_path / "run"), if_exists="missing")) == kept


def test_pictures_of_pillow_tensors_and_numbers_of_numpy(frame) -> None:
    plain = queryshift.evaluate("source", TOWERS, frame, shift="contrast", seed=2, severity=[1, 2])
    pictures = [Image.fromarray(one) for one in frame["image"]]
    tensor = torch.from_numpy(np.stack(list(frame["image"])))
    for given in ([one.convert("RGBA") for one in pictures], tensor, list(tensor)):
        data = frame.assign(image=list(given)) if given is not tensor else (given, frame["caption"])
        found = queryshift.evaluate(
            *("source", TOWERS, data), shift="contrast", seed=np.int64(2), severity=range(1, 3)
        )
        assert list(found.to_frame()["key"]) == list(plain.to_frame()["key"])


def python(code: str, folder: Path, *flags: str) -> subprocess.CompletedProcess[str]:
    """Runs a script that lies in a folder, as a user would."""
    (folder / "script.py").write_text(code, encoding="utf-8")
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, *(flags or ("script.py",))]
    return subprocess.run(
        command, cwd=folder, env=environment, text=True, capture_output=True, timeout=120
    )


@pytest.mark.slow
def test_a_plain_script_without_main_guard(tmp_path) -> None:
    code = (
        "import sys, queryshift\n"
        "assert 'torch' not in sys.modules and 'pandas' not in sys.modules\n"
        "print(queryshift.evaluate('recentre', shift='contrast', limit=16).to_frame().shape[0])\n"
    )
    ran = python(code, tmp_path)
    assert (ran.returncode, ran.stdout) == (0, "2\n"), ran.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["script.py"]


@pytest.mark.slow
def test_own_modules_do_not_load_open_clip(tmp_path) -> None:
    code = (
        "import sys, torch, queryshift.run\n"
        "from queryshift.models import dual_encoder\n"
        "net = torch.nn.Linear(4, 2)\n"
        "tower = (net, lambda item: torch.ones(4))\n"
        "made = dual_encoder(image=tower, text=tower)\n"
        "print(len(made.fingerprint), 'open_clip' in sys.modules)\n"
    )
    ran = python(code, tmp_path)
    assert (ran.returncode, ran.stdout) == (0, "16 False\n"), ran.stderr


@pytest.mark.parametrize("name", ["methods", "benchmark"])
def test_a_folder_that_hides_one_of_ours(name, tmp_path) -> None:
    (tmp_path / name).mkdir()
    (tmp_path / name / "__init__.py").touch()
    ran = python("import queryshift\nqueryshift.evaluate()\n", tmp_path)
    last = ran.stderr.splitlines()[-1]
    assert "QueryShiftError: " in last
    assert f"{name} hides QueryShift's own package '{name}'" in last
    for module in {"queryshift", "benchmark"} - {name}:
        command = python("", tmp_path, "-m", module, "list", "methods")
        assert command.returncode == 2
        assert len(command.stderr.splitlines()) == 1
        assert "rename it" in command.stderr


def test_the_module_is_the_command_too(tmp_path) -> None:
    assert "tcr" in python("", tmp_path, "-m", "queryshift", "list", "methods").stdout


def test_every_name_is_there() -> None:
    assert {name: getattr(queryshift, name) for name in queryshift.__all__}
    assert set(queryshift.__all__) <= set(dir(queryshift))
    with pytest.raises(AttributeError, match="no attribute 'evalute'"):
        queryshift.evalute  # noqa: B018


def test_no_run_of_that_name() -> None:
    with pytest.raises(QueryShiftError, match="there is no run"):
        queryshift.load_results("nothing-here")
