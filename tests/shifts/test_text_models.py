"""Sentence-level shifts with models: what is asked, drawn and chosen, on made-up models."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import torch

from shifts.base import ShiftError
from shifts.text.gate import MOST_DRAWS
from shifts.text.models import ADEQUATE, CANDIDATES
from tests.shifts.common import problems
from tests.shifts.fake_transformers import (
    CAPTION,
    PREFIXES,
    RANKED,
    STAND_INS,
    STYLES,
    World,
    folder,
    made_up_gate,
    make,
    shifted,
)

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
    assert problems(lambda: make(name, tmp_path)) == {}


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
def test_voices_have_no_adequacy_and_back_translation_no_gate_either(
    name: str, world: World, tmp_path: Path
) -> None:
    for option in ("adequacy", *(["gate"] if name == "back_trans" else [])):
        with pytest.raises(ShiftError, match=f"has no option '{option}'"):
            make(name, tmp_path, **{option: "x"})


# Gate


@pytest.fixture
def gated(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    return made_up_gate(tmp_path, monkeypatch)


@pytest.mark.parametrize("name", STYLES)
def test_styles_are_drawn_again_until_the_gate_opens(
    name: str, gated: str, world: World, tmp_path: Path
) -> None:
    after = [shifted(make(name, tmp_path, gate=gated), str(i)) for i in range(5)]
    assert all(text[-1] == "7" for text in after)
    assert 5 < len(world.asked) <= 5 * MOST_DRAWS
