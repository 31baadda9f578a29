"""The search of tuning: a compass search, whose trials go to the surroundings of the best so far.

From the starting point a full step is tried along every axis, up and down. Where the best value is
the last one tried on its axis, the next is a step further; then follow half steps around the best,
and quarter steps (after Hooke and Jeeves, "Direct search", J. ACM 1961). The budget of trials is
the same for every method. A search that has spent it with its best value the last one tried goes on
outward, with up to as many trials again, so that no method is judged at the end of its range.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from benchmark.config.presets import option_names
from benchmark.errors import ConfigError
from benchmark.registry import METHODS

_STARTS = {"lr": (3e-3, 3e-4, 3.0), "temperature": (0.04, 0.01, 2.0)}
"""Option -> its first value on the embedded encoders and on others, and a full step's ratio.

The others' are the published ones; a rate of 3e-4 hardly moves an encoder as small as the embedded
ones, whose own temperature is about 0.05.
"""
_RATIO = 2.0
"""A full step along the axis of a method's own option multiplies or divides by it."""
_FINER = (0.5, 0.25)
_SLACK = 1.02
"""Values closer than this are one step: they are rounded to two digits."""

Trial = tuple[Any, ...]
"""A value for each axis."""


@dataclass(frozen=True, slots=True)
class Axis:
    """An option that is searched.

    Attributes:
        name: the option's.
        start: its first value.
        ratio: what a full step multiplies by; 0 for an option of ``choices``.
        choices: the values of an option that is no number.
        low: no number below it is tried.
        high: no number above it is tried.
    """

    name: str
    start: Any
    ratio: float = 0.0
    choices: tuple[Any, ...] = ()
    low: float = 0.0
    high: float = float("inf")

    def around(self, value: Any, step: float) -> list[Any]:
        """The values a step away, up and down, or the other choices."""
        if self.choices:
            return [other for other in self.choices if other != value]
        moved = (float(f"{value * self.ratio**power:.2g}") for power in (step, -step))
        found = [min(max(other, self.low), self.high) for other in moved]
        found = list(map(round, found)) if isinstance(self.start, int) else found
        return [other for other in found if other > 0 and other != value]


def searched(method: str) -> list[str]:
    """Options of a method that tuning searches, none where it has nothing to tune."""
    kind = METHODS.get(method)
    return [n for n in (*_STARTS, kind.card.knob) if n in option_names(kind.Options)]


def axes_of(options: type, knob: str, embedded: bool) -> tuple[Axis, ...]:
    """The axes of a method: learning rate, temperature and the option that its card names.

    Args:
        options: the method's options dataclass.
        knob: the option of the card, "" for none.
        embedded: whether an embedded encoder adapts.

    Raises:
        ConfigError: a knob that the method has not, or whose default is neither a number above 0
            nor one of several choices.
    """
    fields = {field.name: field for field in dataclasses.fields(options)}
    found = [
        Axis(name, small if embedded else published, ratio)
        for name, (small, published, ratio) in _STARTS.items()
        if name in fields
    ]
    if not knob:
        return tuple(found)
    if knob not in fields:
        raise ConfigError(f"the card names the option {knob!r} for tuning, which is not there")
    limits, default = fields[knob].metadata, fields[knob].default
    choices = (False, True) if isinstance(default, bool) else limits.get("choices", ())
    if choices:
        return (*found, Axis(knob, default, choices=tuple(choices)))
    if not isinstance(default, (int, float)) or default <= 0:
        raise ConfigError(
            f"the card names the option {knob!r} for tuning, whose default is {default!r}; "
            "expected a number above 0, or an option with choices"
        )
    low = limits.get("minimum", limits.get("above", 0))
    return (*found, Axis(knob, default, _RATIO, (), low, limits.get("maximum", float("inf"))))


def next_trials(axes: Sequence[Axis], scores: Mapping[Trial, float], budget: int) -> list[Trial]:
    """The trials that should follow, none where the budget is spent or nothing is left to try.

    Args:
        axes: the options that are searched.
        scores: of the trials so far, higher is better; of equal ones the first counts as best.
        budget: trials of a search; as many again go outward from a best value that is the last
            one tried on its axis.

    Returns:
        At first the starting point and a full step along every axis, later one trial at a time.
    """
    if not scores:
        start = tuple(axis.start for axis in axes)
        return [start, *(trial for _, trial in _neighbours(axes, start, 1.0))][:budget]
    if beyond := _beyond(axes, scores):
        return [beyond[0][1]] if len(scores) < 2 * budget else []
    best = best_trial(scores)
    for step in _FINER if len(scores) < budget else ():
        for place, trial in _neighbours(axes, best, step):
            if not _known(axes[place], best, trial, place, scores):
                return [trial]
    return []


def best_trial(scores: Mapping[Trial, float]) -> Trial:
    """The best trial; of equal ones the first."""
    return max(scores, key=lambda trial: scores[trial])


def at_edge(axes: Sequence[Axis], scores: Mapping[Trial, float]) -> list[str]:
    """Options whose best value is the last one tried: more trials may do better."""
    return list(dict.fromkeys(axes[place].name for place, _ in _beyond(axes, scores)))


def _beyond(axes: Sequence[Axis], scores: Mapping[Trial, float]) -> list[tuple[int, Trial]]:
    """The trials a full step further along each axis on which nothing was tried beyond the best."""
    best = best_trial(scores)
    found = []
    for place, trial in _neighbours(axes, best, 1.0):
        value, tried = best[place], [other[place] for other in scores]
        if axes[place].choices:
            last = trial[place] not in tried
        else:
            last = value == (max(tried) if trial[place] > value else min(tried))
        if last:
            found.append((place, trial))
    return found


def _neighbours(axes: Sequence[Axis], best: Trial, step: float) -> Iterator[tuple[int, Trial]]:
    """Trials one step from the best along each axis, with the axis's place."""
    for place, axis in enumerate(axes):
        for value in axis.around(best[place], step):
            yield place, (*best[:place], value, *best[place + 1 :])


def _known(
    axis: Axis, best: Trial, wanted: Trial, place: int, tried: Mapping[Trial, float]
) -> bool:
    """Whether a trial was made, or one between it and the best."""
    if axis.choices:
        return wanted in tried
    low, high = sorted((best[place], wanted[place]))
    others = (*best[:place], *best[place + 1 :])
    on_line = (trial[place] for trial in tried if (*trial[:place], *trial[place + 1 :]) == others)
    return any(low / _SLACK <= value <= high * _SLACK and value != best[place] for value in on_line)
