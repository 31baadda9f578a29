"""Sentence-level shifts with models: the pipeline on a made-up transformers package."""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from shifts.base import Shift, ShiftError, item_generator
from shifts.builtin import make_shift
from shifts.composed import ComposedOptions, ComposedShift
from shifts.testing import run_contract
from shifts.text import gate, seq2seq
from shifts.text.coverage import coverage
from shifts.text.gate import MOST_DRAWS
from shifts.text.models import ADEQUATE, CANDIDATES

CAPTION = "a man riding a horse"
STYLES = ("formal", "casual", "passive", "active")
RANKED = ("formal", "casual")
PREFIXES = {
    "formal": "transfer Casual to Formal: ",
    "casual": "transfer Formal to Casual: ",
    "passive": "transfer Active to Passive: ",
    "active": "transfer Passive to Active: ",
}
STAND_INS = {name: f"{name}_rules" for name in STYLES} | {"back_trans": "paraphrase_rules"}


@dataclass
class World:
    """What the made-up models answer, and what they were asked."""

    answers: Callable[[str, str], Sequence[str]] = lambda folder, text: [
        f"{text[-20:]} {n}" for n in range(50)
    ]
    """(folder name, what the model reads) -> texts that it may write."""
    adequacy: dict[str, float] = field(default_factory=dict)
    labels: int = 3
    missing: set[str] = field(default_factory=set)
    fault: Exception | None = None
    bars: bool = True
    loaded: list[tuple[str, str, dict[str, Any]]] = field(default_factory=list)
    asked: list[tuple[str, str, dict[str, Any]]] = field(default_factory=list)
    judged: list[tuple[str, str]] = field(default_factory=list)
    pause: float = 0.0


class Tokenizer:
    """One token per character; a pair becomes one text with a bar in between."""

    def __call__(self, text: str, pair: str | None = None, **how: Any) -> dict[str, torch.Tensor]:
        assert how["return_tensors"] == "pt"
        assert how["truncation"] is True
        joined = text if pair is None else f"{text}|{pair}"
        ids = torch.tensor([[ord(char) for char in joined[: how["max_length"]]]])
        return {"input_ids": ids, "attention_mask": ids * 0 + 1, "token_type_ids": ids * 0}

    def batch_decode(self, rows: torch.Tensor, skip_special_tokens: bool) -> list[str]:
        assert skip_special_tokens
        return ["".join(chr(int(n)) for n in row if n) for row in rows]


def read(ids: torch.Tensor) -> str:
    return "".join(chr(int(n)) for n in ids[0])


class SinusoidalTable:
    """What transformers computes itself, so that a file need not hold it."""


class Model:
    """Draws from torch's global generator, as models of transformers do."""

    def __init__(self, world: World, folder: str) -> None:
        self.world, self.folder = world, folder
        self.steps: list[str] = []
        self.config = SimpleNamespace(num_labels=world.labels)

    def get_submodule(self, name: str) -> Any:
        return SinusoidalTable() if name == "positions" else self

    def float(self) -> Model:
        self.steps.append("float")
        return self

    def eval(self) -> Model:
        self.steps.append("eval")
        return self

    def generate(
        self, input_ids: torch.Tensor, attention_mask: torch.Tensor, **how: Any
    ) -> torch.Tensor:
        assert self.steps == ["float", "eval"]
        assert torch.is_inference_mode_enabled()
        torch.rand(1)  # as some releases do even where nothing is sampled
        text = read(input_ids)
        self.world.asked.append((self.folder, text, how))
        answers = list(self.world.answers(self.folder, text))
        chosen = []
        for _ in range(how.get("num_return_sequences", 1)):
            pick = int(torch.randint(len(answers), ())) if how["do_sample"] else 0
            chosen.append(answers[pick])
            time.sleep(self.world.pause)
        longest = max(map(len, chosen)) + 1
        return torch.tensor([[*map(ord, text), *[0] * (longest - len(text))] for text in chosen])

    def __call__(self, input_ids: torch.Tensor, **rest: Any) -> SimpleNamespace:
        assert "token_type_ids" in rest
        torch.rand(1)
        caption, _, candidate = read(input_ids).partition("|")
        self.world.judged.append((caption, candidate))
        share = self.world.adequacy.get(candidate, 0.0)
        yes, no = (math.log(max(p, 1e-9)) for p in (share, 1 - share))
        # The neutral label, which does not count, is far above the others.
        return SimpleNamespace(
            logits=torch.tensor([[no, yes] if self.world.labels == 2 else [no, 9.0, yes]])
        )


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    """A package "transformers" whose models do what the test says."""
    made = World()

    def load(kind: str) -> Any:
        def from_pretrained(folder: str, **how: Any) -> Any:
            made.loaded.append((kind, folder, {**how, "bars": made.bars}))
            torch.rand(3)  # some releases draw first weights before they read the real ones
            if made.fault is not None:
                raise made.fault
            if kind == "tokenizer":
                return Tokenizer()
            return Model(made, Path(folder).name), {"missing_keys": made.missing}

        return SimpleNamespace(from_pretrained=from_pretrained)

    bars = SimpleNamespace(
        is_progress_bar_enabled=lambda: made.bars,
        disable_progress_bar=lambda: setattr(made, "bars", False),
        enable_progress_bar=lambda: setattr(made, "bars", True),
    )
    package = SimpleNamespace(
        AutoTokenizer=load("tokenizer"),
        AutoModelForSeq2SeqLM=load("seq2seq"),
        AutoModelForSequenceClassification=load("classifier"),
        utils=SimpleNamespace(logging=bars),
    )
    monkeypatch.setitem(sys.modules, "transformers", package)
    clear()
    yield made
    clear()


def clear() -> None:
    for cache in (seq2seq.load_rewriter, seq2seq.load_adequacy, gate.content_hash):
        cache.cache_clear()


def folder(root: Path, name: str, content: bytes = b"weights") -> str:
    made = root / name
    made.mkdir(exist_ok=True)
    (made / "config.json").write_text("{}")
    (made / "model.safetensors").write_bytes(content)
    return str(made)


def make(name: str, root: Path, **options: str) -> Shift:
    given = {"model": folder(root, "there")}
    if name == "back_trans":
        given["model_back"] = folder(root, "back")
    return make_shift(name, "text", given | options)


def shifted(shift: Shift, item: str = "0", caption: str = CAPTION) -> str:
    return shift.apply(caption, 1, item_generator(0, shift.card.name, 1, item))


# What the models are asked


@pytest.mark.parametrize("name", STYLES)
def test_a_style_model_is_asked_as_styleformer_asks_it(
    name: str, world: World, tmp_path: Path
) -> None:
    after = shifted(make(name, tmp_path))
    ((asked, text, how),) = world.asked
    assert (asked, text) == ("there", PREFIXES[name] + CAPTION)
    assert how == {
        "do_sample": True,
        "top_k": 50,
        "top_p": 0.95,
        "max_length": 32,
        "num_return_sequences": 1,
    }
    assert after.startswith(CAPTION)


def test_back_translation_goes_there_and_back_without_a_draw(world: World, tmp_path: Path) -> None:
    world.answers = lambda name, text: [f"<{name} {text}>"]
    assert shifted(make("back_trans", tmp_path)) == f"<back <there {CAPTION}>>"
    assert [how for _, _, how in world.asked] == [{"do_sample": False, "max_length": 300}] * 2


def test_very_long_captions_are_cut(world: World, tmp_path: Path) -> None:
    shifted(make("formal", tmp_path), caption="word " * 1000)
    assert len(world.asked[0][1]) == 512


@pytest.mark.parametrize("name", STAND_INS)
@pytest.mark.parametrize("caption", ["", "  \t"])
def test_a_blank_caption_is_not_shown_to_a_model(
    name: str, caption: str, world: World, tmp_path: Path
) -> None:
    assert shifted(make(name, tmp_path), caption=caption) == caption
    assert not world.asked


@pytest.mark.parametrize("name", STAND_INS)
@pytest.mark.parametrize("silent", ["there", "back"])
def test_a_model_that_writes_nothing_leaves_the_caption(
    name: str, silent: str, world: World, tmp_path: Path
) -> None:
    world.answers = lambda model, text: [" "] if model == silent else [f"<{text}>"]
    expected = (
        CAPTION if silent == "there" or name == "back_trans" else f"<{PREFIXES[name]}{CAPTION}>"
    )
    assert shifted(make(name, tmp_path)) == expected


# Randomness


@pytest.mark.parametrize("name", STAND_INS)
def test_keeps_the_contract(name: str, world: World, tmp_path: Path) -> None:
    shift = make(name, tmp_path)
    found = run_contract(type(shift), lambda: make(name, tmp_path))
    assert {result.check: result.problem for result in found if not result.passed} == {}


@pytest.mark.parametrize("name", STYLES)
def test_an_items_result_depends_on_its_own_generator_alone(
    name: str, world: World, tmp_path: Path
) -> None:
    shift = make(name, tmp_path)
    one = [shifted(shift, str(i)) for i in range(20)]
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(99)
        other = [shifted(shift, str(i)) for i in reversed(range(20))]
    assert one == other[::-1]
    assert len(set(one)) > 10


@pytest.mark.parametrize("name", STAND_INS)
def test_the_global_generator_is_left_as_it_was(name: str, world: World, tmp_path: Path) -> None:
    options = {"adequacy": folder(tmp_path, "judge")} if name in RANKED else {}
    before = torch.random.get_rng_state()
    shifted(make(name, tmp_path, **options))
    assert bool(world.judged) == (name in RANKED)
    assert torch.equal(torch.random.get_rng_state(), before)
    world.answers = lambda model, text: 1 / 0
    with pytest.raises(ZeroDivisionError):
        shifted(make(name, tmp_path, **options))
    assert torch.equal(torch.random.get_rng_state(), before)


def test_threads_do_not_draw_each_others_numbers(world: World, tmp_path: Path) -> None:
    world.adequacy = dict.fromkeys((f"{CAPTION} {n}" for n in range(50)), 0.99)
    shift = make("formal", tmp_path, adequacy=folder(tmp_path, "judge"))
    items = [str(i) for i in range(8)]
    alone = [shifted(shift, item) for item in items]
    world.pause = 0.001
    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(lambda item: shifted(shift, item), items)) == alone


# Adequacy


def ranked(world: World, root: Path, name: str = "formal") -> str:
    return shifted(make(name, root, adequacy=folder(root, "judge")))


@pytest.mark.parametrize("name", RANKED)
@pytest.mark.parametrize("labels", [2, 3])
def test_takes_the_most_adequate_of_five_samples(
    name: str, labels: int, world: World, tmp_path: Path
) -> None:
    world.labels = labels
    world.answers = lambda model, text: ["good", "better", "poor", ""]
    world.adequacy = {"good": 0.96, "better": 0.97, "poor": 0.4}
    seen = {ranked(world, tmp_path, name)}
    judged = {candidate for _, candidate in world.judged}
    assert world.asked[0][2]["num_return_sequences"] == CANDIDATES == 5
    assert seen == {max(judged & {"good", "better"}, key=world.adequacy.get)}  # type: ignore[arg-type]
    assert {caption for caption, _ in world.judged} == {CAPTION}
    assert "" not in judged
    assert len(world.judged) == len(judged)  # a repeated sample is judged once


@pytest.mark.parametrize(("share", "expected"), [(0.9501, "other"), (0.9499, CAPTION)])
def test_keeps_the_caption_where_no_sample_is_adequate(
    share: float, expected: str, world: World, tmp_path: Path
) -> None:
    assert ADEQUATE == 0.95
    world.answers = lambda model, text: ["other"]
    world.adequacy = {"other": share}
    assert ranked(world, tmp_path) == expected


def test_the_first_of_equally_adequate_samples_wins(world: World, tmp_path: Path) -> None:
    world.answers = lambda model, text: ["one", "two", "three"]
    world.adequacy = dict.fromkeys(("one", "two", "three"), 0.99)
    for i in range(10):
        world.judged.clear()
        shift = make("formal", tmp_path, adequacy=folder(tmp_path, "judge"))
        assert shifted(shift, str(i)) == world.judged[0][1]


def test_samples_that_say_nothing_leave_the_caption(world: World, tmp_path: Path) -> None:
    world.answers = lambda model, text: [""]
    assert ranked(world, tmp_path) == CAPTION
    assert not world.judged


def test_a_classifier_of_other_labels_is_refused(world: World, tmp_path: Path) -> None:
    world.labels = 5
    with pytest.raises(ShiftError, match=r"'adequacy'.*5 labels.*3 .*or 2"):
        ranked(world, tmp_path)


@pytest.mark.parametrize("name", ["passive", "active", "back_trans"])
def test_voices_and_back_translation_have_no_adequacy(
    name: str, world: World, tmp_path: Path
) -> None:
    with pytest.raises(ShiftError, match="has no option 'adequacy'"):
        make(name, tmp_path, adequacy="x")


# Gate


@pytest.fixture
def gated(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A gate of which only texts that end in 7 are similar to others."""

    def encode(texts: Sequence[str]) -> np.ndarray:
        return np.array([[1.0, 0.0] if t == CAPTION or t[-1] == "7" else [0.0, 1.0] for t in texts])

    monkeypatch.setitem(gate.LOADERS, "fake", lambda path: encode)
    return f"fake:{folder(tmp_path, 'gate')}"


@pytest.mark.parametrize("name", STYLES)
def test_styles_are_drawn_again_until_the_gate_opens(
    name: str, gated: str, world: World, tmp_path: Path
) -> None:
    after = [shifted(make(name, tmp_path, gate=gated), str(i)) for i in range(5)]
    assert all(text[-1] == "7" for text in after)
    assert 5 < len(world.asked) <= 5 * MOST_DRAWS


def test_back_translation_has_no_gate(gated: str, world: World, tmp_path: Path) -> None:
    with pytest.raises(ShiftError, match="has no option 'gate'; it has model, model_back"):
        make("back_trans", tmp_path, gate=gated)


# Identity


@pytest.mark.parametrize("name", RANKED)
def test_the_content_of_every_folder_is_in_the_fingerprint(
    name: str, gated: str, world: World, tmp_path: Path
) -> None:
    def prints(**content: bytes) -> str:
        gate.content_hash.cache_clear()
        judge = folder(tmp_path, "judge", content.get("judge", b"1"))
        folder(tmp_path, "gate", content.get("gate", b"2"))
        model = folder(tmp_path, "there", content.get("model", b"3"))
        options = {"model": model, "adequacy": judge, "gate": gated}
        return make_shift(name, "text", options).fingerprint

    assert len(prints()) == 3 * 16 + 2
    assert prints() == prints()
    assert len({prints(), prints(judge=b"0"), prints(gate=b"0"), prints(model=b"0")}) == 4
    assert not world.loaded  # telling results apart loads no model


def test_the_order_of_two_translation_models_matters(world: World, tmp_path: Path) -> None:
    one, two = folder(tmp_path, "one", b"1"), folder(tmp_path, "two", b"2")
    there = make_shift("back_trans", "text", {"model": one, "model_back": two})
    back = make_shift("back_trans", "text", {"model": two, "model_back": one})
    assert there.fingerprint == "+".join(back.fingerprint.split("+")[::-1]) != back.fingerprint


def test_a_composed_query_carries_the_models_fingerprint(world: World, tmp_path: Path) -> None:
    model = folder(tmp_path, "there")
    options = ComposedOptions(part="text", text="active", text_options=(f"model={model}",))
    assert ComposedShift(options).fingerprint == make("active", tmp_path).fingerprint != ""


def test_coverage_counts_captions_that_a_model_changes(world: World, tmp_path: Path) -> None:
    world.answers = lambda model, text: ["A  DOG" if "dog" in text else "other"]
    assert coverage(make("passive", tmp_path), ["a dog", "a cat", "a cow", ""], 1, 0) == 0.5


# Loading


@pytest.mark.parametrize("name", RANKED)
def test_models_are_loaded_once_offline_and_silently(
    name: str, world: World, tmp_path: Path
) -> None:
    judge = folder(tmp_path, "judge")
    for item in "01":
        shifted(make(name, tmp_path, adequacy=judge), item)
    offline = {"local_files_only": True, "trust_remote_code": False, "bars": False}
    full = {**offline, "weights_only": True, "output_loading_info": True}
    there = str(tmp_path / "there")
    assert world.loaded == [
        ("tokenizer", there, offline),
        ("seq2seq", there, full),
        ("tokenizer", judge, offline),
        ("classifier", judge, full),
    ]
    assert world.bars


def test_few_models_are_kept(world: World, tmp_path: Path) -> None:
    for i in range(9):
        seq2seq.load_rewriter(folder(tmp_path, str(i)))
        seq2seq.load_adequacy(folder(tmp_path, str(i)))
    assert seq2seq.load_rewriter.cache_info().currsize == 6
    assert seq2seq.load_adequacy.cache_info().currsize == 2


@pytest.mark.parametrize("name", STAND_INS)
def test_no_model_is_one_error_that_names_the_stand_in(name: str) -> None:
    with pytest.raises(ShiftError, match=f"'{name}' needs a model.*'model'.*'{STAND_INS[name]}'"):
        make_shift(name, "text")


def test_back_translation_needs_the_way_back(world: World, tmp_path: Path) -> None:
    with pytest.raises(ShiftError, match=r"'model_back'.*facebook/wmt19-de-en"):
        make_shift("back_trans", "text", {"model": folder(tmp_path, "there")})


@pytest.mark.parametrize(
    ("name", "option"),
    [("formal", "model"), ("casual", "adequacy"), ("back_trans", "model_back")],
)
def test_a_missing_folder_and_one_without_a_model_are_named(
    name: str, option: str, world: World, tmp_path: Path
) -> None:
    with pytest.raises(ShiftError, match=rf"'{name}'.*'{option}'.*no folder.*nothing is fetched"):
        make(name, tmp_path, **{option: str(tmp_path / "none")})
    (tmp_path / "empty").mkdir()
    with pytest.raises(ShiftError, match=rf"'{name}'.*'{option}'.*has no config.json"):
        make(name, tmp_path, **{option: str(tmp_path / "empty")})


@pytest.mark.parametrize("name", STAND_INS)
def test_a_missing_package_names_the_extra_and_the_stand_in(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "transformers", None)
    expected = rf"pip install 'queryshift\[text-models\]'.*'{STAND_INS[name]}'"
    with pytest.raises(ShiftError, match=expected):
        make(name, tmp_path)


@pytest.mark.parametrize("fault", [OSError("no weights\nmore"), KeyError("t6"), ImportError("x")])
def test_a_folder_that_does_not_load_is_one_error(
    fault: Exception, world: World, tmp_path: Path
) -> None:
    world.fault = fault
    with pytest.raises(ShiftError, match=rf"no sequence-to-sequence model.*{type(fault).__name__}"):
        shifted(make("active", tmp_path))
    assert world.bars


def test_a_model_without_all_its_weights_is_refused(world: World, tmp_path: Path) -> None:
    world.missing = {"positions.weight", "head.weight", "head.bias"}
    with pytest.raises(ShiftError, match=r"2 of its weights are not in the file.*'head.bias'"):
        shifted(make("active", tmp_path))


def test_tables_that_are_computed_need_not_be_in_the_file(world: World, tmp_path: Path) -> None:
    world.missing = {"positions.weight"}
    assert shifted(make("active", tmp_path)).startswith(CAPTION)
