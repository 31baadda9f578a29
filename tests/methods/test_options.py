"""Options are checked once, with one clear sentence."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from methods.adapt import AdaptOptions
from methods.base import MethodError
from methods.eata import EataOptions
from methods.options import option
from methods.read import ReadOptions
from methods.recentre import RecentreOptions
from methods.rest import RestOptions
from methods.sar import SarOptions
from methods.tcr import TcrOptions

ALL = (AdaptOptions, EataOptions, ReadOptions, RecentreOptions, RestOptions, SarOptions, TcrOptions)


def test_published_defaults() -> None:
    base = AdaptOptions()
    assert dataclasses.asdict(base) == {
        "steps": 3,
        "lr": 3e-4,
        "weight_decay": 1e-4,
        "optimizer": "adamw",
        "temperature": 0.01,
        "adapt": "norm",
        "score_from": "last_forward",
        "centre": False,
        "bn": "running",
    }
    for tcr in (TcrOptions(), RestOptions()):
        assert (tcr.temperature, tcr.con_ratio, tcr.uniformity_scale) == (0.02, 0.3, 0.1)
        assert (tcr.queue_size, tcr.queue_update_batches, tcr.rem_form) == (64, 10, "repository")
    assert (SarOptions().margin, SarOptions().fraction, SarOptions().rho) == (
        "top_fraction",
        0.4,
        0.05,
    )
    assert ReadOptions().balance == "softmax_of_sums"
    assert (EataOptions().entropy_margin, EataOptions().d_margin) == (0.4, 0.05)
    assert (EataOptions().margin_unit, EataOptions().fisher) == ("relative", "none")
    assert (RestOptions().decouple, RestOptions().decouple_strength) == ("prograd", 1.0)


@pytest.mark.parametrize("kind", ALL)
def test_every_option_has_a_help_text_and_cannot_be_changed(kind: type) -> None:
    options = kind()
    for entry in dataclasses.fields(options):
        assert entry.metadata["help"]
        if choices := entry.metadata.get("choices"):
            assert entry.default in choices
    assert option("a", "", choices=("ab")).metadata["choices"] == ("ab",)  # type: ignore[arg-type]
    first = dataclasses.fields(options)[0].name
    with pytest.raises(dataclasses.FrozenInstanceError):
        setattr(options, first, 1)
    assert not hasattr(options, "__dict__")


@pytest.mark.parametrize(
    ("kind", "given", "expected"),
    [
        (AdaptOptions, {"steps": 0}, "option 'steps' is 0; expected at least 1"),
        (AdaptOptions, {"steps": 2.5}, "option 'steps' is 2.5; expected int"),
        (AdaptOptions, {"steps": True}, "option 'steps' is True; expected int"),
        (AdaptOptions, {"lr": -1.0}, "option 'lr' is -1.0; expected at least 0"),
        (AdaptOptions, {"lr": "3e-4"}, "option 'lr' is '3e-4'; expected float"),
        (AdaptOptions, {"lr": float("nan")}, "option 'lr' is nan; expected a finite number"),
        (AdaptOptions, {"optimizer": "lion"}, "expected one of 'adamw', 'adam', 'sgd'"),
        (AdaptOptions, {"temperature": 0.0}, "expected a number above 0"),
        (AdaptOptions, {"temperature": "learned"}, "expected a number above 0, or 'learnt'"),
        (AdaptOptions, {"temperature": None}, "expected float or str"),
        (SarOptions, {"fraction": 1.5}, "option 'fraction' is 1.5; expected at most 1"),
        (SarOptions, {"steps": 0}, "option 'steps'"),
        (RestOptions, {"refine": 1}, "option 'refine' is 1; expected bool"),
        (RestOptions, {"temperature": "warm"}, "or 'learnt'"),
        (RestOptions, {"uniformity": 0, "gap": 0.0, "consistency": 0.0}, "nothing to learn"),
        (RecentreOptions, {"center": "past"}, "expected one of 'batch', 'stream'"),
    ],
)
def test_wrong_values_are_named(kind: type, given: dict[str, Any], expected: str) -> None:
    with pytest.raises(MethodError) as caught:
        kind(**given)
    assert expected in str(caught.value)


def test_whole_numbers_are_fine_as_floats() -> None:
    assert AdaptOptions(lr=1, temperature=1).lr == 1
    assert AdaptOptions(temperature="learnt").temperature == "learnt"
