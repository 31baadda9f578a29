"""Experimental: the gain of a method predicted from numbers that need no labels.

A ridge regression for each method on the cells of ``results/tidy.csv``. It is judged on data sets
that took no part in fitting it: each is left out whole, with the penalty chosen among the others in
the same way. ``python -m benchmark.report.gain results/tidy.csv`` fits it again.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from benchmark.cell import SOURCE
from benchmark.data.suite import benchmark_cards

PROBES = ("uniformity", "gap", "effective_rank", "hubness")
"""Of the source model, and how much the method changes each; consistency would need labels."""

PENALTIES = (0.1, 1.0, 10.0, 100.0, 1000.0)
FITTED = Path(__file__).with_name("gain.json")

_CELL = ["benchmark", "shift", "severity", "seed"]


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
    for name, value, low, high in zip(_names(), values, found["low"], found["high"], strict=True):
        if not low <= value <= high:
            probe, _, when = name.rpartition("_")
            said = f"{probe} of the unadapted model" if when == "source" else f"change of {probe}"
            return f"{said} is {value:.2f}, stored cells have {low:.2f} to {high:.2f}"
    points = _model(found)(values[None])[0]
    return Gain(float(points), found["error"], found["of_mean"], found["datasets"])


def fit(tidy: pd.DataFrame) -> dict[str, Any]:
    """Fits and judges the regression of each method.

    Args:
        tidy: a tidy table of finished single-shift cells of bundled benchmarks.

    Returns:
        Method -> coefficients, the range of each feature, and the errors as in ``Gain``.
    """
    wide = tidy[tidy["stream"] == "single"]
    wide = wide[[*_CELL, "method", "R@1", *PROBES]].dropna()
    source = wide[wide["method"] == SOURCE].drop(columns="method")
    both = wide[wide["method"] != SOURCE].merge(source, on=_CELL, suffixes=("", "_source"))
    both["gain"] = both["R@1"] - both["R@1_source"]
    for probe in PROBES:
        both[f"{probe}_change"] = both[probe] - both[f"{probe}_source"]
    cards = benchmark_cards()
    both["dataset"] = [cards[name].dataset for name in both["benchmark"]]
    keys = ["method", "dataset", "benchmark", "shift"]
    cells = both.groupby(keys, as_index=False)[[*_names(), "gain"]].mean()
    return {str(method): _judged(rows) for method, rows in cells.groupby("method")}


def _judged(rows: pd.DataFrame) -> dict[str, Any]:
    x, y = rows[_names()].to_numpy(float), rows["gain"].to_numpy(float)
    datasets = rows["dataset"].to_numpy(str)
    errors, of_mean = [], []
    for name in np.unique(datasets):
        out = datasets == name
        rest = x[~out], y[~out], datasets[~out]
        chosen = _penalty(*rest)
        errors.append(np.abs(_model(_ridge(*rest, chosen))(x[out]) - y[out]).mean())
        guess = np.average(rest[1], weights=_weights(rest[2]))
        of_mean.append(np.abs(guess - y[out]).mean())
    return {
        **_ridge(x, y, datasets, _penalty(x, y, datasets)),
        "low": x.min(axis=0).tolist(),
        "high": x.max(axis=0).tolist(),
        "error": float(np.mean(errors)),
        "of_mean": float(np.mean(of_mean)),
        "better": int((np.array(errors) < np.array(of_mean)).sum()),
        "datasets": len(errors),
    }


def _penalty(x: np.ndarray, y: np.ndarray, datasets: np.ndarray) -> float:
    """The penalty with the smallest error on data sets left out."""

    def error(penalty: float) -> float:
        errors = []
        for name in np.unique(datasets):
            out = datasets == name
            model = _model(_ridge(x[~out], y[~out], datasets[~out], penalty))
            errors.append(np.abs(model(x[out]) - y[out]).mean())
        return float(np.mean(errors))

    return min(PENALTIES, key=error)


def _ridge(x: np.ndarray, y: np.ndarray, datasets: np.ndarray, penalty: float) -> dict[str, Any]:
    """Ridge regression on standardised features in closed form; each data set weighs the same."""
    weights = _weights(datasets)
    mean = np.average(x, axis=0, weights=weights)
    spread = np.sqrt(np.average((x - mean) ** 2, axis=0, weights=weights)) + 1e-9
    centre = float(np.average(y, weights=weights))
    z = (x - mean) / spread
    weighted = z * weights[:, None]
    slopes = np.linalg.solve(
        z.T @ weighted + penalty * np.eye(z.shape[1]), weighted.T @ (y - centre)
    )
    return {
        "mean": mean.tolist(),
        "spread": spread.tolist(),
        "slopes": slopes.tolist(),
        "centre": centre,
    }


def _weights(datasets: np.ndarray) -> np.ndarray:
    """Weights with mean 1 by which every data set has the same sum."""
    _, number, counts = np.unique(datasets, return_inverse=True, return_counts=True)
    weights = 1.0 / counts[number]
    return weights * len(weights) / weights.sum()


def _model(fitted: Mapping[str, Any]) -> Callable[[np.ndarray], np.ndarray]:
    mean, spread, slopes = (np.array(fitted[name]) for name in ("mean", "spread", "slopes"))
    return lambda x: ((x - mean) / spread) @ slopes + fitted["centre"]


def _names() -> list[str]:
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


if __name__ == "__main__":
    again = fit(pd.read_csv(sys.argv[1], low_memory=False))
    lines = ",\n".join(f' "{name}": {json.dumps(found)}' for name, found in again.items())
    FITTED.write_text(f"{{\n{lines}\n}}\n", encoding="utf-8")
