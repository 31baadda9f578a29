"""Every benchmark of every suite, and every shift of one, on data in the original layouts.

One batch of a plain run each (FashionIQ: one for each of its categories). The cells are planned as
the command plans them, the data are invented files in the real formats (embedded suites bring their
own), and the encoders are the real ones with small random weights. All cells are planned; a shift
that a benchmark before has run with the same loader and options does not run again.
"""

from __future__ import annotations

import copy
import functools
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import open_clip
import pytest
import torch
from safetensors.torch import save_file

from benchmark.cell import Cell, Status
from benchmark.config.run import BenchConfig
from benchmark.data.card import BenchmarkCard, benchmark_card, load_suite, suite_names
from benchmark.errors import ConfigError
from benchmark.evaluation.builders import default_resources
from benchmark.evaluation.cache import LRUCache
from benchmark.evaluation.resources import Resources
from benchmark.evaluation.runner import run_cell
from tests.benchmark.backbones.test_cav_mae import public_state, write
from tests.benchmark.backbones.test_person_search import random_model
from tests.benchmark.fakes import plan
from tests.benchmark.fixtures_clips import make_clips
from tests.benchmark.fixtures_composed import make_cirr, make_fashion_iq
from tests.benchmark.fixtures_karpathy import make_coco, make_flickr
from tests.benchmark.fixtures_pairs import (
    make_fashion_gen,
    make_nocaps,
    make_person_search,
    make_remote_sensing,
)
from tests.benchmark.fixtures_short import shortened

QUERIES = 4
GALLERY = 64
"""Items of each gallery, more than the last cut-off of its recalls (50, of composed queries)."""
CLIP: dict[str, Any] = {
    "embed_dim": 16,
    "quick_gelu": True,
    "vision_cfg": {"image_size": 32, "layers": 1, "width": 32, "head_width": 16, "patch_size": 16},
    "text_cfg": {"context_length": 77, "vocab_size": 49408, "width": 32, "heads": 2, "layers": 1},
}

Weights = dict[str, dict[str, str]]
"""Loader -> the settings that name its weights."""
CARDS = [(suite, card) for suite in suite_names() for card in load_suite(suite).benchmarks]


def cases() -> Iterator[tuple[str, str, str]]:
    """Suite, benchmark and shift of each batch."""
    seen = set()
    for suite, card in CARDS:
        for shift in card.shifts:
            way = (card.backbone.loader, card.query, shift, str(card.shift_options))
            if shift == card.shifts[0] or way not in seen:
                yield suite, card.id, shift
            seen.add(way)


CASES = list(cases())


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of the user's, with every data set of the paper suite."""
    root = tmp_path_factory.mktemp("data")
    make_coco(root, images=12)
    make_flickr(root, images=12)
    make_fashion_gen(root, products=6)
    make_nocaps(root, images=30)
    for name, file in (("CUHK-PEDES", "reid_raw.json"), ("ICFG-PEDES", "ICFG-PEDES.json")):
        make_person_search(root, name, file, persons=6)
    for name in ("rsicd", "rsitmd"):
        make_remote_sensing(root, name, images=12)
    for name in ("audioset", "vggsound"):
        make_clips(root, name, clips=12)
    make_fashion_iq(root, fillers=45)
    make_cirr(root, fillers=45)
    return root


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Weights:
    """For each loader that needs weights, the settings that name small random ones."""
    root = tmp_path_factory.mktemp("weights")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        clip = open_clip.CLIP(**copy.deepcopy(CLIP))
    save_file(dict(clip.state_dict()), root / "open_clip_model.safetensors")
    (root / "open_clip_config.json").write_text(json.dumps({"model_cfg": CLIP}))
    person = {f"base_model.{k}": v for k, v in random_model().state_dict().items()}
    person.pop("base_model.logit_scale")
    torch.save({"model": person}, root / "person.pth")
    return {
        "open_clip": {"model": f"local-dir:{root}"},
        "weighted_sum": {"model": f"local-dir:{root}@0.5"},
        "person_search": {"pretrained": str(root / "person.pth")},
        "cav_mae": {"pretrained": write(root / "cav.pth", public_state())},
    }


@pytest.fixture(scope="module")
def resources() -> Resources:
    """Those of a plain run; what cases share is kept whatever their order.

    Of every gallery the first items are embedded: which they are makes no case another one.
    """
    found = default_resources(BenchConfig(allow_missing=True, cache="off"))
    load = found._load_data
    found._load_data = lambda cell: shortened(load(cell), GALLERY)
    found._load_backbone = functools.cache(found._load_backbone)
    found._data, found._galleries = LRUCache(len(CASES)), LRUCache(len(CASES))
    return found


def planned(card: BenchmarkCard, shifts: Sequence[str], data: Path, weights: Weights) -> list[Cell]:
    """The cells of one method, one a shift."""
    config = BenchConfig(
        benchmark=(card.id,),
        shift=tuple(shifts),
        method=("tent",),
        option={"steps": "1"},
        data=str(data) if card.backbone.loader in weights else "",
        batch_size=QUERIES,
        limit=QUERIES,
        **weights.get(card.backbone.loader, {}),
    )
    return [cell for cell in plan(config) if cell.method.name == "tent"]


def test_every_shift_of_every_benchmark_is_planned(data: Path, weights: Weights) -> None:
    for _, card in CARDS:
        cells = planned(card, card.shifts, data, weights)
        assert [cell.shift.name for cell in cells] == list(card.shifts)


@pytest.mark.parametrize(("suite", "name", "shift"), CASES)
def test_one_batch(
    suite: str, name: str, shift: str, data: Path, weights: Weights, resources: Resources
) -> None:
    (cell,) = planned(benchmark_card(name), [shift], data, weights)
    record, arrays = run_cell(cell, resources)
    assert record.status is Status.DONE, record.reason
    assert sum(batch["queries"] for batch in record.batches) == QUERIES
    assert len(arrays["best_rank"]) == QUERIES


def test_a_default_option_goes_to_the_parts_that_have_it(data: Path) -> None:
    def options(shift_option: dict[str, str], name: str = "fiq-c") -> dict[str, Any]:
        config = BenchConfig(
            benchmark=(name,), shift_option=shift_option, data=str(data), severity=(5,)
        )
        return dict(plan(config)[0].shift.options)

    for name in ("fiq-c", "cirr-c"):
        assert options({}, name)["image_options"] == ()
        assert options({"image": "fog"}, name)["image_options"] == ("variant=mm",)
        assert options({"image": "gaussian"}, name)["image_options"] == ()
    # What the user gives is never dropped, and said before anything runs.
    assert options({"image_options": "constants=mini64"})["image_options"] == ("constants=mini64",)
    with pytest.raises(ConfigError, match="'gaussian_noise' has no option 'variant'"):
        options({"image_options": "variant=mm"})
    with pytest.raises(ConfigError, match="no built-in image shift 'fogg'"):
        options({"image": "fogg"})
