"""Experimental: the gain of a method predicted from numbers that need no labels.

A ridge regression for each method on the cells of ``results/tidy.csv``, fitted and judged by
``docs/gain_model.py`` (``make gain-model``).
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

PROBES = ("uniformity", "gap", "effective_rank", "hubness")
"""Of the source model, and how much the method changes each; consistency would need labels."""

FITTED = Path(__file__).with_name("gain.json")


class Gain(NamedTuple):
    """A predicted gain in R@1, points.

    Attributes:
        points: the prediction.
        error: mean absolute error on data sets that were left out.
        of_mean: the same of the mean gain as a guess.
        datasets: how many were left out in turn.
    """

    points: float
    error: float
    of_mean: float
    datasets: int


def expected(method: str, ours: Mapping[str, float], source: Mapping[str, float]) -> Gain | str:
    """The gain to expect of a method, or why none can be said.

    Args:
        method: its name.
        ours: probes of its cell.
        source: probes of the source model's cell.
    """
    found = _fitted().get(method)
    if found is None:
        return "no stored cells of the method"
    if not found["error"] < found["of_mean"]:
        return "no better than the mean gain on data sets left out"
    values = _features(ours, source)
    if values is None:
        return "a number is missing"
    for name, value, low, high in zip(features(), values, found["low"], found["high"], strict=True):
        if not low <= value <= high:
            probe, _, when = name.rpartition("_")
            said = f"{probe} of the unadapted model" if when == "source" else f"change of {probe}"
            return f"{said} is {value:.2f}, stored cells have {low:.2f} to {high:.2f}"
    points = model(found)(values[None])[0]
    return Gain(float(points), found["error"], found["of_mean"], found["datasets"])


def model(fitted: Mapping[str, Any]) -> Callable[[np.ndarray], np.ndarray]:
    """(rows, features) -> (rows,) predicted gains, points."""
    mean, spread, slopes = (np.array(fitted[name]) for name in ("mean", "spread", "slopes"))
    return lambda x: ((x - mean) / spread) @ slopes + fitted["centre"]


def features() -> list[str]:
    """Names of what a model predicts from, in order."""
    return [*(f"{probe}_source" for probe in PROBES), *(f"{probe}_change" for probe in PROBES)]


def _features(ours: Mapping[str, float], source: Mapping[str, float]) -> np.ndarray | None:
    if any(probe not in ours or probe not in source for probe in PROBES):
        return None
    before = np.array([source[probe] for probe in PROBES])
    return np.concatenate([before, np.array([ours[probe] for probe in PROBES]) - before])


@cache
def _fitted() -> dict[str, Any]:
    found: dict[str, Any] = json.loads(FITTED.read_text(encoding="utf-8"))
    return found
