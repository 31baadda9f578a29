"""Fits the expected gain of ``--unlabelled`` again: ``python -m docs.gain_model results/tidy.csv``.

A ridge regression for each method. It is judged on data sets that took no part in fitting it: each
is left out whole, with the penalty chosen among the others in the same way. What comes out is
``benchmark/report/gain.json``.
"""

from __future__ import annotations

import json
import sys
from typing import Any

import numpy as np
import pandas as pd

from benchmark.cell import SOURCE
from benchmark.data.card import benchmark_cards
from benchmark.report.unlabelled import FITTED, PREDICTORS, features, model

PENALTIES = (0.1, 1.0, 10.0, 100.0, 1000.0)

_CELL = ["benchmark", "shift", "severity", "seed"]


def fit(tidy: pd.DataFrame) -> dict[str, Any]:
    """Fits and judges the regression of each method.

    Args:
        tidy: a tidy table of finished single-shift cells of bundled benchmarks.

    Returns:
        Method -> coefficients, the range of each feature, and the two errors of ``Gain``.
    """
    wide = tidy[tidy["stream"] == "single"]
    wide = wide[[*_CELL, "method", "R@1", *PREDICTORS]].dropna()
    source = wide[wide["method"] == SOURCE].drop(columns="method")
    both = wide[wide["method"] != SOURCE].merge(source, on=_CELL, suffixes=("", "_source"))
    both["gain"] = both["R@1"] - both["R@1_source"]
    for probe in PREDICTORS:
        both[f"{probe}_change"] = both[probe] - both[f"{probe}_source"]
    cards = benchmark_cards()
    both["dataset"] = [cards[name].dataset for name in both["benchmark"]]
    keys = ["method", "dataset", "benchmark", "shift"]
    cells = both.groupby(keys, as_index=False)[[*features(), "gain"]].mean()
    return {str(method): _judged(rows) for method, rows in cells.groupby("method")}


def _judged(rows: pd.DataFrame) -> dict[str, Any]:
    x, y = rows[features()].to_numpy(float), rows["gain"].to_numpy(float)
    datasets = rows["dataset"].to_numpy(str)
    errors, of_mean = [], []
    for name in np.unique(datasets):
        out = datasets == name
        rest = x[~out], y[~out], datasets[~out]
        chosen = _penalty(*rest)
        errors.append(np.abs(model(_ridge(*rest, chosen))(x[out]) - y[out]).mean())
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
            predict = model(_ridge(x[~out], y[~out], datasets[~out], penalty))
            errors.append(np.abs(predict(x[out]) - y[out]).mean())
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


if __name__ == "__main__":
    again = fit(pd.read_csv(sys.argv[1], low_memory=False))
    lines = ",\n".join(f' "{name}": {json.dumps(found)}' for name, found in again.items())
    FITTED.write_text(f"{{\n{lines}\n}}\n", encoding="utf-8")
