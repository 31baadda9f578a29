"""What a caller of ``queryshift.evaluate`` may get wrong: one clear sentence each."""

from __future__ import annotations

import dataclasses
import functools
import itertools
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn

import queryshift
from benchmark.data.media import ImageFiles
from benchmark.data.retrieval import Relevance, RetrievalSet, Sections, Texts
from queryshift import AdaptedMethod, MethodCard, QueryShiftError
from shifts.base import Shift, ShiftCard
from tests.benchmark.fixtures_own import COLOURS, pixels
from tests.queryshift.towers import TOWERS, Grey, Sharpen, mean_colour, named_colour

NAMES = list(COLOURS)


class Cardless(AdaptedMethod):
    def objective(self, forward):
        return None


class Taken(Sharpen):
    card = MethodCard("tcr", "Mine", "another TCR", "none")


class Unfinished(AdaptedMethod):
    card = MethodCard("unfinished", "Unfinished", "no objective", "none")


class Broken(Sharpen):
    card = MethodCard("broken", "Broken", "raises", "none")

    def objective(self, forward):
        raise KeyError("logits")


class Plain(Sharpen):
    def objective(self, forward):
        return 3.0


class Halved(Shift):
    card = ShiftCard("halved", "image", (1,), "darker", "none")

    def corrupt(self, item, severity, rng):
        return item / 2


class Restless(Shift):
    card = ShiftCard("restless", "image", (1,), "grey or black", "none")
    calls = itertools.count()

    def corrupt(self, item, severity, rng):
        return np.full_like(item, next(self.calls) % 2)


class Letters(nn.Module):
    def forward(self, inputs):
        return torch.nn.functional.one_hot(inputs % 16, 16).float().mean(dim=1)


def crop(sound):
    return torch.from_numpy(sound.samples[np.random.randint(99) :][:3])  # noqa: NPY002


def letters(text):
    return torch.tensor([ord(letter) for letter in text])


FRAME = pd.DataFrame({"image": [pixels(n) for n in NAMES], "caption": NAMES})
OWN = {"data": FRAME, "model": TOWERS, "shift": "contrast"}
BAD = {
    "unknown method": ({"method": "tnet"}, "unknown method 'tnet'; did you mean 'tent'"),
    "an instance": ({"method": 3}, "method=3 cannot be used; expected a name, a subclass"),
    "another class": ({"method": dict}, "the class dict is no subclass of queryshift.Method"),
    "no card": ({"method": Cardless}, "the class Cardless has no card"),
    "a name that is taken": ({"method": Taken}, "method name 'tcr' is already taken by methods"),
    "abstract": ({"method": Unfinished}, "that defines objective"),
    "raises": ({**OWN, "method": Broken}, "broken failed: KeyError: 'logits'.*in objective"),
    "no method made": ({**OWN, "method": lambda setup: 3}, "gave a int; expected a Method"),
    "unknown setting": ({"severty": 3}, "takes no 'severty'; did you mean 'severity'"),
    "the command's": ({"workers": 4}, "takes no workers: it runs in this process"),
    "a wrong value": ({"seed": "x"}, "seed=: expected whole numbers"),
    "a severity": ({"shift": "contrast", "severity": 9}, "severity"),
    "unknown shift": ({"shift": "gausian_noise"}, "did you mean 'gaussian_noise'"),
    "a shift object": ({"shift": 4}, "shift=4 cannot be used"),
    "a model": ({"model": nn.Linear(2, 2)}, "model=.*cannot be used; expected a name, a Dual"),
    "numbered towers": ({"model": {1: Grey(), 2: Grey()}}, "needs two towers of .*, not 1, 2"),
    "one tower": ({"model": {"image": (Grey(), mean_colour)}}, "needs two towers"),
    "no function": ({"model": {**TOWERS, "text": Grey()}}, "text=.*is no tower"),
    "widths": ({"model": {**TOWERS, "text": (Grey(4), named_colour)}}, "of different lengths"),
    "a dict": (
        {"model": {**TOWERS, "text": (Grey(), lambda text: {"input_ids": 1})}},
        "text tower gave input_ids; expected one tensor",
    ),
    "an array": ({"model": {**TOWERS, "image": (Grey(), np.asarray)}}, "gave a ndarray; expected"),
    "a tower": (
        {"model": {**TOWERS, "image": (nn.Linear(7, 16), mean_colour)}},
        "image tower cannot encode a plain image: RuntimeError",
    ),
    "no columns": ({"data": FRAME.rename(columns={"caption": "x"}), "model": "mini"}, "caption"),
    "an index": (
        {"data": FRAME.set_index(np.zeros(12, int)), "model": "mini"},
        "index of the DataFrame has 0 more than once",
    ),
    "no model": ({"data": FRAME}, "your own data need a model"),
    "lengths": ({"data": (NAMES, NAMES[1:]), "model": "mini"}, "12 of image, 11 of caption"),
    "a column": ({"data": {"image": 3}, "model": "mini"}, "column 'image' is a int"),
    "other data": ({"data": 3}, "data of type int cannot be used"),
    "no file": ({"data": "none/pairs.csv", "model": "mini"}, "none/pairs.csv"),
    "no benchmark": ({"data": "mini-coco-c-imag"}, "did you mean 'mini-coco-c-image'"),
    "too few": ({"data": FRAME[:3], "model": "mini"}, "gallery of 3; recall at 10 needs"),
    "columns alone": ({"columns": {"image": "path"}}, "give data= too"),
    "columns as a text": ({"data": FRAME, "columns": "image"}, "columns='image' cannot be used"),
    "columns turned round": (
        {"data": FRAME, "columns": {"caption": "title", "pictures": "image"}},
        "'pictures=image' does not say",
    ),
    "a huge number": ({"limit": 10**400}, "limit=: expected a number of at most"),
    "a tensor of names": ({"stream": torch.ones(2)}, "stream=: expected a text, not 1.0"),
    "a class": ({"limit": torch.Tensor}, "limit=: expected a whole number, not <class"),
    "an out": ({"out": 0}, "out=: expected a text, not 0"),
    "no path": ({"data": FRAME, "root": "a\0"}, "a path cannot hold a zero byte"),
    "a root": ({"data": FRAME, "root": 3}, "root=3 is a int; expected a text"),
    "a column twice": (
        {"data": pd.concat([FRAME, FRAME[["caption"]]], axis=1), "model": "mini"},
        "the DataFrame has the column 'caption' 2 times",
    ),
    "a missing picture": (
        {"data": FRAME.assign(image=[*FRAME["image"][:11], pd.NA]), "model": "mini"},
        "row 12: image is empty",
    ),
    "a missing caption": (
        {"data": FRAME.assign(caption=pd.array([pd.NA, *NAMES[1:]], dtype="string"))},
        "row 1: caption is empty",
    ),
    "a flat picture": (
        {"data": (np.zeros((12, 0, 5, 3), np.uint8), NAMES), "model": "mini"},
        r"image is an array of uint8, shape \(0, 5, 3\)",
    ),
    "paths alone": ({"data": (["a.png"] * 12, NAMES), "model": "mini"}, "root=FOLDER"),
    "a set": ({"data": {"image": list(FRAME["image"]), "caption": set(NAMES)}}, "is a set; exp"),
    "bytes": ({"method": b"tent"}, "method=b'tent' cannot be used"),
    "a shift without a card": ({"shift": Shift}, "the class Shift has no card"),
    "a scale": ({"model": {**TOWERS, "logit_scale": "hot"}}, "logit_scale='hot' cannot be used"),
    "a scale as e^100": ({"model": {**TOWERS, "logit_scale": 1e43}}, "at most 10000"),
    "a tower of zeros": (
        {"model": {**TOWERS, "image": (Grey(), lambda item: mean_colour(item) * np.nan)}},
        "image tower gives only zeros, NaN or infinity",
    ),
    "a transform for training": (
        {"model": {**TOWERS, "image": (Grey(), lambda item: mean_colour(item) + torch.rand(3))}},
        "makes something else of one item the second time",
    ),
    "a random crop of sounds": (
        {"model": {"audio": (Grey(), crop), "text": TOWERS["text"]}},
        "function of the audio tower makes something else",
    ),
    "weights that are nowhere": (
        {"model": {**TOWERS, "image": (nn.Linear(3, 16, device="meta"), mean_colour)}},
        "image tower cannot be copied as float32",
    ),
    "texts of several lengths": (
        {
            "method": "source",
            "data": FRAME,
            "model": {**TOWERS, "text": (Letters(), letters)},
            "shift": "keyboard",
        },
        "prepared text queries have the shapes .*; expected one for all",
    ),
    "a loss of floats": ({**OWN, "method": Plain}, "the loss is float; expected one number"),
    "a shift of floats": (
        {**OWN, "shift": Halved},
        "shift 'halved' made of query .* not on float64 array of shape",
    ),
    "a shift that keeps count": ({**OWN, "shift": Restless}, "something else of query .* second"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_input_is_one_clear_sentence(case) -> None:
    given, message = BAD[case]
    with pytest.raises(QueryShiftError, match=message) as raised:
        queryshift.evaluate(**given)
    assert "\n" not in str(raised.value)


def one_set(**other) -> RetrievalSet:
    """Twelve colours by their names, with some fields of another kind."""
    own = {
        "name": "colours",
        "query_modality": "text",
        "gallery_modality": "image",
        "queries": Texts(NAMES, NAMES),
        "gallery": ImageFiles(NAMES, [pixels(name) for name in NAMES], [""] * 12),
        "relevance": Relevance.from_lists([[place] for place in range(12)]),
        "groups": list(range(12)),
        "fingerprint": "colours",
    }
    return RetrievalSet(**{**own, **other})


def test_a_set_of_ones_own_and_what_is_wrong_in_one() -> None:
    done = queryshift.evaluate("source", TOWERS, one_set(), "none").to_frame()
    assert list(done["status"]) == ["done"]
    outside = Relevance.from_lists([[place + 1] for place in range(12)])
    each, twice = (np.arange(13), np.arange(12)), Relevance(2 * np.arange(13), np.arange(24) // 2)
    parts, first = (
        Sections(("a", "b"), np.arange(12) // 6, np.array(b)) for b in ([0, 6, 12], [0, 6, 9])
    )
    other = Relevance(each[0], np.arange(12)[::-1])
    for wrong, message in (
        ({"sections": first}, "its sections are not those of 12 queries and 12 items"),
        ({"sections": parts, "excluded": other}, "excluded names an item of another section"),
        ({"excluded": Relevance(each[0][:3], each[1][:2])}, "speaks of 2 queries; there are 12"),
        ({"subset": other}, "subset lacks every answer of some query"),
        ({"queries": Texts(NAMES[:3], NAMES)}, "queries are 12 items with 3 ids"),
        ({"queries": Texts([*NAMES[:-1], NAMES[0]], NAMES)}, f"has the id {NAMES[0]!r} twice;"),
        ({"group_keys": {"day": np.arange(3)}}, r"day of the queries are int64, shape \(3,\)"),
        ({"relevance": [[place] for place in range(12)]}, "relevance is a list; expected a Relev"),
        ({"relevance": outside}, "names an item outside the gallery of 12"),
        (
            {"relevance": Relevance(np.minimum(np.arange(13), 11), np.arange(11))},
            "query 'cyan' has no relevant gallery item",
        ),
        ({"relevance": Relevance(np.arange(13.0), np.arange(12))}, "has offsets of float64"),
        ({"relevance": Relevance(torch.arange(13), np.arange(12))}, "offsets that are a Tensor"),
        ({"relevance": Relevance(np.arange(1, 14), np.arange(12))}, "do not ascend from 0 to the"),
        ({"relevance": twice}, "relevance names an item twice for one query"),
        ({"relevance": Relevance(*each, np.zeros(12))}, "grades that are not one finite number"),
        ({"excluded": Relevance(*each)}, "an item that answers a query is excluded"),
        ({"groups": NAMES}, "groups of the queries are <U6"),
        ({"groups": None}, "groups of the queries are object"),
        ({"queries": NAMES}, "queries is a list; expected items with ids"),
        ({"fingerprint": None}, "fingerprint is None"),
        ({"headline": ("R@5")}, r"headline is 'R@5'; expected a tuple of names: \('R@5',\)"),
        ({"recall_at": ()}, r"recall_at is \(\); expected whole numbers from 1"),
        ({"recall_at": (0, 1)}, r"recall_at is \(0, 1\); expected whole"),
        ({"recall_at": (1, 5, 5)}, "expected each number once"),
    ):
        with pytest.raises(QueryShiftError, match=message):
            queryshift.evaluate("source", TOWERS, one_set(**wrong), "none")


def test_an_instance_that_cannot_be_made_anew_is_refused() -> None:
    from methods.tiny import World

    class Sized(Sharpen):
        def __init__(self, setup: Any, size: int) -> None:
            super().__init__(setup)

    with pytest.raises(QueryShiftError, match="give a function: lambda setup: Sized"):
        queryshift.evaluate(Sized(World().setup(), 3))

    class Held(Sharpen):
        Options = dataclasses.make_dataclass("Held", [("weights", Any, None)], frozen=True)

    held = functools.partial(Held, options=Held.Options(torch.ones(1)))
    with pytest.raises(QueryShiftError, match="a function that makes the method"):
        queryshift.evaluate(held)
