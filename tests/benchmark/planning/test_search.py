"""The search of tuning: finds an optimum off its grid, in the same number of trials for all."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest

from benchmark.errors import ConfigError
from benchmark.planning.search import at_edge, axes_of, best_trial, next_trials
from benchmark.registry import METHODS
from methods.options import option


@dataclass(frozen=True)
class Options:
    lr: float = option(3e-4, "rate", minimum=0)
    temperature: float = option(0.01, "temperature", above=0)
    share: float = option(0.3, "a share", above=0, maximum=1)
    count: int = option(5, "a count", minimum=1)
    form: str = option("a", "a form", choices=("a", "b", "c"))
    zero: float = option(0.0, "off by default", minimum=0)


def searched(axes, score, budget):
    scores = {}
    while trials := next_trials(axes, scores, budget):
        scores |= {trial: score(*trial) for trial in trials}
    return scores


def bowl(*optimum):
    return lambda *point: -float(np.square(np.log(np.divide(point, optimum))).sum())


def test_the_best_is_followed_beyond_the_first_steps() -> None:
    axes = axes_of(Options, "", embedded=True)
    scores = searched(axes, bowl(0.3, 0.01), 24)
    rate, temperature = best_trial(scores)
    assert 0.15 <= rate <= 0.6
    assert 0.007 <= temperature <= 0.014
    assert at_edge(axes, scores) == []


def test_a_best_value_at_the_end_is_followed_past_the_budget() -> None:
    axes = axes_of(Options, "", embedded=True)
    scores = searched(axes, bowl(0.08, 0.04), 5)
    assert 5 < len(scores) <= 10
    assert best_trial(scores) == (0.081, 0.04)
    assert at_edge(axes, scores) == []


def test_an_optimum_too_far_leaves_an_edge_and_says_so() -> None:
    axes = axes_of(Options, "", embedded=True)
    scores = searched(axes, bowl(1e6, 0.04), 5)
    assert len(scores) == 10
    assert at_edge(axes, scores) == ["lr"]


def test_a_search_whose_best_is_inside_ends_with_its_budget() -> None:
    axes = axes_of(Options, "", embedded=True)
    assert len(searched(axes, bowl(3e-3, 0.04), 7)) == 7


def test_a_finer_step_between_two_tried_values_is_no_edge() -> None:
    axes = axes_of(Options, "", embedded=True)
    scores = {(3e-3, 0.04): 1.0, (9e-3, 0.04): 0.9, (1e-3, 0.04): 0.0}
    scores |= {(3e-3, 0.08): 0.0, (3e-3, 0.02): 0.0, (5.2e-3, 0.04): 2.0}
    assert at_edge(axes, scores) == []
    ((rate, temperature),) = next_trials(axes, scores, 9)
    assert 5.2e-3 < rate < 9e-3 or temperature != 0.04


def test_a_larger_budget_has_the_trials_of_a_smaller_one_first() -> None:
    axes = axes_of(Options, "share", embedded=False)
    few, many = (list(searched(axes, bowl(1e-4, 0.02, 0.9), count)) for count in (8, 16))
    assert (len(few), len(many)) == (8, 16)
    assert many[:8] == few
    assert few[0] == (3e-4, 0.01, 0.3)


def test_a_value_stays_within_the_options_limits() -> None:
    axes = axes_of(Options, "share", embedded=True)
    scores = searched(axes, bowl(3e-3, 0.04, 5.0), 20)
    assert max(trial[2] for trial in scores) == 1.0
    assert best_trial(scores)[2] == 1.0
    assert at_edge(axes, scores) == []  # beyond it there is nothing


def test_counts_are_whole_and_choices_are_all_tried() -> None:
    counted = searched(axes_of(Options, "count", True), bowl(3e-3, 0.04, 3), 20)
    assert {type(trial[2]) for trial in counted} == {int}
    assert best_trial(counted)[2] == 3
    chosen = searched(
        axes_of(Options, "form", True), lambda lr, temperature, form: float(form == "c"), 12
    )
    assert {trial[2] for trial in chosen} == {"a", "b", "c"}
    assert best_trial(chosen)[2] == "c"


def test_a_search_with_nothing_left_ends() -> None:
    axes = axes_of(Options, "count", True)[2:]
    assert len(searched(axes, lambda count: -abs(count - 5), 100)) < 10


@pytest.mark.parametrize(
    ("knob", "said"), [("lost", "is not there"), ("zero", "whose default is 0.0; expected")]
)
def test_a_knob_that_cannot_be_searched(knob, said) -> None:
    with pytest.raises(ConfigError, match=said):
        axes_of(Options, knob, embedded=True)


@pytest.mark.parametrize("name", METHODS.names())
def test_every_built_in_method_can_be_searched(name) -> None:
    kind = METHODS.get(name)
    axes = axes_of(kind.Options, kind.card.knob, embedded=True)
    trials = next_trials(axes, {}, 9)
    assert len(set(trials)) == len(trials) >= 1
    for trial in trials:
        kind.Options(**{axis.name: value for axis, value in zip(axes, trial, strict=True)})
