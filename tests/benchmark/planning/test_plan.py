"""From settings to cells, on the real registries; nothing is loaded or run."""

from __future__ import annotations

from dataclasses import replace
from itertools import groupby

import pytest

from benchmark.backbones import person_search
from benchmark.cell import BackboneSpec
from benchmark.config.run import BenchConfig
from benchmark.data.card import load_suite
from benchmark.errors import ConfigError, QueryShiftError, UnknownNameError
from benchmark.mini.composed.backbone import COMBINERS
from benchmark.mini.pictures.backbone import WEIGHTS
from benchmark.planning.compatibility import select
from benchmark.planning.plan import run_name
from benchmark.planning.specs import backbone_spec, device_name
from benchmark.registry import BACKBONES, METHODS
from tests.benchmark.fakes import plan


def planned(**settings):
    return plan(BenchConfig(**{"preset": "published", "device": "cpu", **settings}))


def chosen(**settings) -> dict[str, tuple[str, ...]]:
    return {card.id: shifts for card, shifts in select(BenchConfig(**settings))}


def test_the_newcomers_command():
    cells = planned(method=("rest",), shift=("gaussian",))
    assert [cell.method.name for cell in cells] == ["source", "rest"]
    assert {cell.benchmark for cell in cells} == {"mini-coco-c-image"}
    assert {(cell.shift.name, cell.shift.severity) for cell in cells} == {("gaussian_noise", 5)}
    assert {cell.backbone for cell in cells} == {BackboneSpec(loader="mini")}


def test_method_and_source_differ_in_the_method_alone():
    source, rest = planned(method=("rest",))
    left, right = source.to_dict(), rest.to_dict()
    assert left.pop("method") != right.pop("method")
    assert left == right


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({}, {"mini-coco-c-image": ("gaussian_noise",)}),
        ({"shift": ("char_swap",)}, {"mini-coco-c-text": ("char_swap",)}),
        (
            {"shift": ("char_swap", "gaussian")},
            {"mini-coco-c-text": ("char_swap",), "mini-coco-c-image": ("gaussian_noise",)},
        ),
        ({"shift": ("none",)}, {"mini-coco-c-image": ("none",)}),
        (
            {"shift": ("all",)},
            {
                "mini-coco-c-image": (
                    *("gaussian_noise", "defocus_blur", "contrast"),
                    "jpeg_compression",
                )
            },
        ),
        (
            {"benchmark": ("mini-coco-c-text",)},
            {"mini-coco-c-text": ("char_swap", "char_insert", "char_delete")},
        ),
        (
            {"benchmark": ("all",), "shift": ("contrast",)},
            {"mini-coco-c-image": ("contrast",), "mini-flickr-c-image": ("contrast",)},
        ),
        ({"suite": "paper", "shift": ("contrast",)}, {"coco-c-image": ("contrast",)}),
        ({"benchmark": ("base2coco-i2t",)}, {"base2coco-i2t": ("none",)}),
        # What is named beside "all" is neither lost nor taken twice.
        (
            {"benchmark": ("mini-cirr-c",), "shift": ("all", "none")},
            {"mini-cirr-c": ("composed", "none")},
        ),
    ],
)
def test_which_shifts_run_on_which_benchmarks(settings, expected):
    assert chosen(**settings) == expected


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        (
            {"benchmark": ("mini-coco-c-image",), "shift": ("char_swap",)},
            "works on text queries; 'mini-coco-c-image' has image ones; shifts that fit: gaussian",
        ),
        (
            {"benchmark": ("mini-coco-c-image", "mini-coco-c-text"), "shift": ("contrast",)},
            "'mini-coco-c-text' has text ones; shifts that fit: char_swap",
        ),
        ({"benchmark": ("base2coco-i2t",), "shift": ("contrast",)}, "there nothing is corrupted"),
        ({"suite": "mini", "benchmark": ("coco-c-image",)}, "is in suite 'paper', not 'mini'"),
        ({"benchmark": ("all", "coco")}, "unknown benchmark 'coco'"),
        ({"benchmark": ("mini-coco-c-image",), "shift": ("all", "ocr")}, "works on text queries"),
        (
            {"stream": ("mixed",), "shift": ("contrast", "char_swap")},
            "a mixed stream brings all its shifts to the same queries, but shift 'char_swap' works",
        ),
    ],
)
def test_what_does_not_fit_is_refused(settings, said):
    with pytest.raises(ConfigError) as caught:
        select(BenchConfig(**settings))
    assert said in str(caught.value)


def test_queries_that_take_clean_ones_alone_are_no_stream_of_several_domains():
    settings = {"stream": ("mixed",), "benchmark": ("all",), "shift": ("none", "contrast")}
    chosen = select(BenchConfig(**settings))
    assert {card.query for card, _ in chosen} == {"image"}
    assert {fit for _, fit in chosen} == {("none", "contrast")}


def test_all_methods_on_all_benchmarks_of_the_suite():
    cells = planned(method=("all",), benchmark=("all",), shift=("all",), seed=(0, 1, 2))
    own = sum(len(card.shifts) for card in load_suite("mini").benchmarks)
    assert len(cells) == len(METHODS.names()) * own * 3
    severities = {cell.shift.severity for cell in cells}
    assert severities == {0, 5}  # 0 where nothing is corrupted


def test_cells_that_share_a_stream_are_neighbours():
    cells = planned(method=("all",), benchmark=("all",), shift=("all",), seed=(0, 1), limit=9)
    for key in (
        lambda c: (c.benchmark, c.backbone),
        lambda c: (c.benchmark, c.backbone, c.shift.name),
        lambda c: (c.benchmark, c.backbone, c.shift.name, c.seed),
    ):
        runs = [value for value, _ in groupby(cells, key)]
        assert len(runs) == len(set(runs))
    assert {(c.limit, c.suite) for c in cells} == {(9, "mini")}


def test_shift_options_come_from_the_benchmark():
    mini = planned()[0].shift.options
    paper = planned(benchmark=("flickr-c-image",), shift=("gaussian",))[0].shift.options
    assert mini["constants"] == "mini64"
    assert paper["constants"] == "reference"


@pytest.mark.parametrize(
    ("shift", "severity"), [("gaussian", 6), ("gaussian", 0), ("char_swap", 8)]
)
def test_a_severity_that_a_shift_does_not_have(shift, severity):
    with pytest.raises(ConfigError, match=f"no severity {severity}"):
        planned(shift=(shift,), severity=(severity,))


def test_a_shift_without_the_benchmarks_severity_runs_at_its_nearest_below():
    (cell, _) = planned(shift=("formal_rules",))
    assert cell.shift.severity == 1


def test_shift_options_by_hand_go_to_the_shifts_that_have_them():
    cells = planned(
        shift=("glass_blur", "contrast"),
        benchmark=("coco-c-image",),
        shift_option={"variant": "imagenet-c", "resolution_policy": "imagenet224"},
    )
    found = {cell.shift.name: dict(cell.shift.options) for cell in cells}
    rest = {"constants": "reference", "resolution_policy": "imagenet224"}
    assert found == {"glass_blur": {**rest, "variant": "imagenet-c"}, "contrast": rest}


def test_a_shift_option_that_no_shift_has():
    for shifts, said in (
        (("glass_blur", "contrast"), "none of the shifts .* 'varyant'; did you mean 'variant'"),
        (("contrast",), "shift 'contrast' has no option 'varyant'; known: constants"),
    ):
        with pytest.raises(UnknownNameError, match=said):
            planned(shift=shifts, shift_option={"varyant": "mm"})
    with pytest.raises(ConfigError, match=r"option 'gate'.*must be 'none' or"):
        planned(shift=("rs",), shift_option={"gate": "yes"})


def test_clean_queries_have_severity_0_whatever_is_asked():
    cells = planned(shift=("clean", "gaussian"), severity=(3,))
    assert {(c.shift.name, c.shift.severity) for c in cells} == {("none", 0), ("gaussian_noise", 3)}


def test_an_option_goes_to_the_methods_that_have_it():
    cells = planned(method=("recentre", "tcr"), option={"steps": "1"})
    options = {cell.method.name: cell.method for cell in cells}
    assert options["tcr"].options["steps"] == 1
    assert options["tcr"].preset == "published+steps"
    assert options["recentre"].preset == "published"


def test_an_option_that_no_method_has():
    for methods in (("recentre", "tcr"), ("tcr", "source"), ("tcr",)):
        with pytest.raises(UnknownNameError, match="'stesp'; did you mean 'steps'"):
            planned(method=methods, option={"stesp": "1"})


def test_more_cells_than_a_run_may_have(monkeypatch):
    monkeypatch.setattr("benchmark.planning.plan.MAX_CELLS", 5)
    with pytest.raises(ConfigError, match=r"^more than 5 cells, the most that one run may have"):
        planned(seed=(0, 1, 2))


EMBEDDED = BackboneSpec(loader="mini")
REAL = BackboneSpec(loader="open_clip", model="ViT-B-16-quickgelu", pretrained="openai")


@pytest.mark.parametrize(
    ("default", "settings", "expected"),
    [
        (EMBEDDED, {}, ("mini", "", "")),
        (EMBEDDED, {"model": "ViT-B-32"}, ("open_clip", "ViT-B-32", "")),
        (REAL, {}, ("open_clip", "ViT-B-16-quickgelu", "openai")),
        (REAL, {"model": "mini"}, ("mini", "", "")),
        (REAL, {"model": "ViT-B-32"}, ("open_clip", "ViT-B-32", "")),
        (REAL, {"pretrained": "w.pt"}, ("open_clip", REAL.model, "w.pt")),
        (REAL, {"model": "ViT-B/32"}, ("open_clip", "ViT-B/32", "")),
        (REAL, {"model": "mine", "pretrained": "/tmp"}, ("open_clip", "mine", "/tmp")),
        (EMBEDDED, {"model": "mini:flickr"}, ("mini", "flickr", "")),
        (EMBEDDED, {"model": "weighted_sum:ViT-B-32@0.4"}, ("weighted_sum", "ViT-B-32@0.4", "")),
        (EMBEDDED, {"model": "blip:Salesforce/x"}, ("blip", "Salesforce/x", "")),
        (EMBEDDED, {"model": "hf:/tmp"}, ("hf", "/tmp", "")),
    ],
)
def test_a_models_own_weights_go_with_it(default, settings, expected):
    config = BenchConfig(device="cpu", **settings)
    spec = backbone_spec(default, config)
    assert (spec.loader, spec.model, spec.pretrained) == expected


@pytest.mark.parametrize(
    ("model", "pretrained", "said"),
    [
        ("mini:flicker", "", "unknown model 'flicker' of mini; did you mean 'flickr'; there are"),
        ("mini-clips:x", "", "it has one, so say mini-clips alone"),
        ("mini-composed:cir", "", "did you mean 'cirr'"),
        ("cav_mae:x", "", "it has one, so say cav_mae alone"),
        ("person_search:irra-icgf", "", "did you mean 'irra-icfg'"),
        ("open_clip:ViT-B/33", "", "unknown open_clip model 'ViT-B/33'"),
        ("weighted_sum:ViT-B-33@0.4", "", "unknown open_clip model 'ViT-B-33'"),
        ("weighted_sum:ViT-B-32@1.4", "", "weight of the reference image is 1.4"),
        ("hf:/none", "", "there is no file or folder /none; .* backbone hf"),
        ("hf:a b/c", "", "there is no file or folder a b/c"),
        ("hf:nobody/none", "", "the model 'nobody/none' is not in the local cache; .* hf:/path"),
        ("weighted_sum:local-dir:none@0.4", "", "there is no file or folder none"),
        ("blip:~/none", "", "there is no file or folder /.*/none"),
        ("ViT-B-32", "/none.pt#ema", "there is no file or folder /none.pt"),
    ],
)
def test_a_model_that_there_is_not_is_refused_while_planning(model, pretrained, said):
    config = BenchConfig(device="cpu", model=model, pretrained=pretrained)
    with pytest.raises(QueryShiftError, match=said):
        backbone_spec(EMBEDDED, config)


def test_a_model_of_the_callers_own_may_be_called_anything():
    with BACKBONES.lent("given", print):
        spec = backbone_spec(EMBEDDED, BenchConfig(device="cpu", model="given:/my/own/model"))
    assert spec.model == "/my/own/model"


def test_backbones_with_models_of_their_own():
    for name, models in (("person_search", person_search.MODELS), ("mini-composed", COMBINERS)):
        assert set(BACKBONES.info(name).facts["models"]) == set(models)
    folders = {path.name for path in WEIGHTS.iterdir() if path.is_dir()}
    folders -= {"clips", *(f"composed-{name}" for name in COMBINERS)}
    assert set(BACKBONES.info("mini").facts["models"]) == {"base", *folders}


@pytest.mark.parametrize(
    ("settings", "preset"),
    [
        ({"model": "mini"}, "mini"),
        ({}, "published"),
        ({"model": "mini", "preset": "published"}, "published"),
    ],
)
def test_the_preset_goes_with_the_backbone(settings, preset):
    config = BenchConfig(benchmark=("coco-c-image",), method=("tent",), device="cpu", **settings)
    assert plan(config)[-1].method.preset == preset


@pytest.mark.parametrize("name", ["gpu", "cuda:", "cuda:x", "cuda:99", "cpu:0"])
def test_a_device_that_does_not_exist(name):
    with pytest.raises(ConfigError, match="--device"):
        device_name(name)


def test_the_name_of_a_run_says_what_it_is_and_depends_on_the_cells_alone():
    name = run_name(planned(shift=("gaussian",)))
    assert name.startswith("mini-coco-c-image_gaussian-noise-5_rest_")
    elsewhere = [
        replace(c, data_root="/elsewhere") for c in planned(shift=("gaussian",), workers=3)
    ]
    assert run_name(elsewhere) == name
    others = [{"limit": 9}, {"seed": (1,)}, {"batch_size": 8}, {"option": {"steps": "1"}}]
    assert len({run_name(planned(shift=("gaussian",), **other)) for other in others} | {name}) == 5


def test_the_name_of_a_big_run_stays_short():
    cells = planned(method=("all",), benchmark=("all",), shift=("all",))
    adapting = len(METHODS.names()) - 1
    assert run_name(cells).startswith(f"30-benchmarks_16-shifts_{adapting}-methods_")
