"""Writes the tables of docs/methods.md: ``python -m docs.method_tables [GRID FOLDER]``.

What the ``leaderboard.csv`` of a run of the grid ``rest-ablation`` or ``streams`` says is kept in
``results/GRID.csv``; without a folder the tables are made from these files and from
``results/leaderboard.csv``. A test compares.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import pandas as pd
from scipy import stats

from benchmark.registry import BENCHMARKS
from docs.marks import filled

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "results"
PAGE = ROOT / "docs" / "methods.md"
DEFAULTS = {
    **{"refine": "True", "uniformity": "1.0", "gap": "1.0", "consistency": "1.0"},
    **{"decouple": "prograd", "level": "parameters", "granularity": "global"},
    **{"general_over": "candidates", "centre": "False"},
}
"""What the ablation varies, as the method's label in tables says it where it is not varied."""


def numbers_of(run: Path) -> pd.DataFrame:
    """A row for each benchmark, stream and variant: R@1, change of clean R@1, cost."""
    found = pd.read_csv(run / "leaderboard.csv")
    found["variant"] = [variant_of(label) for label in found["method"]]
    columns = ["benchmark", "stream", "variant", "R@1", "forgetting", "ms_per_query", "seeds"]
    return found[columns].round(3)


def variant_of(label: str) -> str:
    """A method's label without the options at their defaults.

    >>> variant_of("rest [mini+level, gap=1.0, level=query]"), variant_of("tcr")
    ('rest level=query', 'tcr')
    """
    name, _, inside = label.rstrip("]").partition(" [")
    pairs = re.findall(r"(\w+)=([^,]+)", inside)
    return " ".join([name, *(f"{k}={v}" for k, v in pairs if DEFAULTS.get(k, "") != v)])


def ablation(results: Path) -> str:
    """Each variant against ``rest``, each benchmark with the same weight."""
    numbers = pd.read_csv(results / "rest-ablation.csv")
    recall = numbers.pivot_table(index="benchmark", columns="variant", values="R@1")
    mean = numbers.groupby("variant")[["forgetting", "ms_per_query"]].mean()
    rows = []
    for variant in recall.mean().sort_values(ascending=False, kind="stable").index:
        against = "" if variant == "rest" else _interval(recall[variant] - recall["rest"])
        forgetting, cost = mean.loc[variant]
        rows.append(
            {
                "variant": f"`{variant}`",
                "R@1": f"{recall[variant].mean():.1f}",
                "minus `rest`, 95 % interval": against,
                "change of clean R@1": f"{forgetting:+.1f}".replace("+0.0", "0"),
                "cost of `rest`": f"{cost / mean.loc['rest', 'ms_per_query']:.2f}",
            }
        )
    return _markdown(rows)


def held(results: Path) -> str:
    """All methods on the half of the suite that no method was designed on.

    It is every second benchmark in the order of the names, from the second on. Intervals are over
    the data sets of these benchmarks, each with the same weight.
    """
    board = pd.read_csv(results / "leaderboard.csv")
    names = sorted(board["benchmark"].unique())[1::2]
    board = board[board["benchmark"].isin(names)]
    data_set = board["benchmark"].map(lambda name: BENCHMARKS.get(name).dataset)
    recall = board.pivot_table(index="benchmark", columns="method", values="R@1")
    by_set = board.assign(data=data_set).pivot_table(index="data", columns="method", values="R@1")
    of_method = board.groupby("method")
    rank = recall.rank(axis="columns", ascending=False).mean().sort_values(kind="stable")
    rows = []
    for method in rank.index:
        own = of_method.get_group(method)
        source = method == "source"
        rows.append(
            {
                "method": f"`{method}`",
                "rank": f"{rank[method]:.1f}",
                "R@1 minus source": "" if source else _interval(by_set[method] - by_set["source"]),
                "minus centring": ""
                if method == "recentre"
                else _interval(by_set[method] - by_set["recentre"]),
                "change of clean R@1 (worst)": "0"
                if not own["forgetting"].any()
                else f"{own['forgetting'].mean():+.1f} ({own['forgetting'].min():+.1f})",
                "worse than source": "" if source else f"{100 * own['harm_rate'].mean():.0f} %",
                "time of source": f"{own['ms_per_query_ratio'].mean():.1f}",
            }
        )
    return _markdown(rows)


def streams(results: Path) -> str:
    """R@1 of a method on each kind of stream, and the change of clean R@1."""
    numbers = pd.read_csv(results / "streams.csv")
    methods = list(dict.fromkeys(numbers["variant"]))
    rows = []
    for (benchmark, stream), found in numbers.groupby(["benchmark", "stream"], sort=False):
        own = found.set_index("variant")
        cells = {
            f"`{method}`": f"{own.loc[method, 'R@1']:.1f}"
            + (f" ({lost:+.1f})" if (lost := own.loc[method, "forgetting"]) else "")
            for method in methods
        }
        rows.append({"benchmark, stream": f"{benchmark}, {stream}", **cells})
    return _markdown(rows)


TABLES: Mapping[str, Callable[[Path], str]] = {
    "ablation": ablation,
}
"""Mark in the page -> what makes the table from the folder of results."""


def written(text: str, results: Path = RESULTS) -> str:
    """The page with its tables made anew."""
    for mark, table in TABLES.items():
        text = filled(text, mark, table(results))
    return text


def _interval(differences: pd.Series) -> str:
    """The mean and its 95 % interval by Student's t."""
    middle, count = differences.mean(), len(differences)
    half = stats.t.ppf(0.975, count - 1) * differences.std() / np.sqrt(count)
    return "{:+.1f} [{:+.1f}, {:+.1f}]".format(
        *(x + 0.0 for x in np.round([middle, middle - half, middle + half], 1))
    )


def _markdown(rows: list[dict[str, str]]) -> str:
    heads = list(rows[0])
    lines = [heads, ["---", *["---:"] * (len(heads) - 1)], *(list(row.values()) for row in rows)]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def main(arguments: list[str]) -> None:
    """Writes the numbers of a run, if one is given, and the tables."""
    if arguments:
        grid, folder = arguments
        kept = RESULTS / f"{grid}.csv"
        numbers_of(Path(folder)).to_csv(kept, index=False, lineterminator="\n")
    PAGE.write_text(written(PAGE.read_text(encoding="utf-8")), encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1:])
