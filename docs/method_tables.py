"""Writes the tables of results/methods.md: ``python -m docs.method_tables [GRID FOLDER]``.

What the ``leaderboard.csv`` of a run of the grid ``rest-ablation``, ``streams``, ``published`` or
``banks`` says is kept in ``results/GRID.csv``; without a folder the tables are made from these
files and from ``results/leaderboard.csv``. A test compares.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import pandas as pd

from benchmark.cell import SOURCE
from benchmark.registry import BENCHMARKS
from benchmark.report.claim_rules import Estimate, over_benchmarks
from docs.marks import filled, table
from methods.bank import BANKS

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "results"
PAGE = RESULTS / "methods.md"
DEFAULTS = {
    **{"refine": "True", "uniformity": "1.0", "gap": "1.0", "consistency": "1.0"},
    **{"decouple": "prograd", "level": "parameters", "granularity": "global"},
    **{"general_over": "candidates", "centre": "False"},
}
"""What the ablation varies, as the method's label in tables says it where it is not varied."""


def numbers_of(run: Path) -> pd.DataFrame:
    """A row for each benchmark, stream and variant: R@1, change of clean R@1, cost."""
    found = pd.read_csv(run / "leaderboard.csv")
    if (lacking := found[found["cells_missing"] > 0]).size:
        raise SystemExit(f"cells are missing, run them again: {sorted(set(lacking['method']))}")
    found["variant"] = [variant_of(label) for label in found["method"]]
    columns = ["benchmark", "stream", "variant", "R@1", "forgetting", "ms_per_query", "seeds"]
    return found[columns].round(3)


def variant_of(label: str) -> str:
    """A method's label without the options at their defaults; a value it does not say stays out.

    >>> variant_of("rest [mini+level, gap=1.0, level=query]"), variant_of("tda[past_queries]")
    ('rest level=query', 'tda[past_queries]')
    >>> variant_of("rest[centred] [mini+centre,level]"), variant_of("nnn[train] [mini+bank]")
    ('rest[centred] level', 'nnn[train]')
    """
    name, _, inside = label.partition(" [")
    inside = inside.rstrip("]")
    pairs = dict(re.findall(r"(\w+)=([^,]+)", inside))
    bare = [k for k in inside.partition("+")[2].partition(", ")[0].split(",") if k not in pairs]
    named = [f"{k}={v}" for k, v in pairs.items() if DEFAULTS.get(k, "") != v]
    return " ".join([name, *named, *(k for k in bare if k not in ("", "bank", "centre"))])


def ablation(results: Path) -> str:
    """Each variant against ``rest``, each benchmark with the same weight."""
    numbers = pd.read_csv(results / "rest-ablation.csv")
    recall = numbers.pivot_table(index="benchmark", columns="variant", values="R@1")
    mean = numbers.groupby("variant")[["forgetting", "ms_per_query"]].mean()
    rows = []
    for variant in recall.mean().sort_values(ascending=False, kind="stable").index:
        against = "" if variant == "rest" else interval(recall[variant] - recall["rest"])
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


def held_half(results: Path) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The half of the suite that no method was designed on.

    It is every second benchmark in the order of the names, from the second on.

    Returns:
        Its rows of the leaderboard, and R@1 by data set (rows) and method (columns).
    """
    board = pd.read_csv(results / "leaderboard.csv")
    board = board[board["benchmark"].isin(sorted(board["benchmark"].unique())[1::2])]
    return board, _by_data_set(board, "method")


def held(results: Path) -> str:
    """All methods on the held half; intervals are over data sets, each with the same weight."""
    board, recall = held_half(results)
    by_benchmark = board.pivot_table(index="benchmark", columns="method", values="R@1")
    rank = by_benchmark.rank(axis="columns", ascending=False).mean().sort_values(kind="stable")
    rows = []
    for method in rank.index:
        own = board[board["method"] == method]
        source, centring = method == SOURCE, method == "recentre"
        kept = own["forgetting"]
        rows.append(
            {
                "method": f"`{method}`",
                "rank": f"{rank[method]:.1f}",
                "R@1 minus source": "" if source else interval(recall[method] - recall[SOURCE]),
                "minus centring": "" if centring else interval(recall[method] - recall["recentre"]),
                "change of clean R@1 (worst)": f"{kept.mean():+.1f} ({kept.min():+.1f})"
                if kept.any()
                else "0",
                "worse than source": "" if source else f"{100 * own['harm_rate'].mean():.0f} %",
                "time of source": f"{own['ms_per_query_ratio'].mean():.1f}",
            }
        )
    return _markdown(rows)


def tuning(results: Path) -> str:
    """What the tuned options gain over the published ones, on the benchmarks that had both."""
    numbers = pd.read_csv(results / "published.csv")
    board, published = pd.read_csv(results / "leaderboard.csv"), _by_data_set(numbers, "variant")
    tuned = _by_data_set(board[board["benchmark"].isin(numbers["benchmark"])], "method")
    gains = (tuned.sub(tuned[SOURCE], axis=0), published.sub(published[SOURCE], axis=0))
    names = [name for name in published if name != SOURCE]
    order = gains[0][names].mean().sort_values(ascending=False, kind="stable").index
    rows = [
        {
            "method": f"`{name}`",
            "tuned: R@1 minus source": f"{gains[0][name].mean():+.1f}",
            "published: R@1 minus source": f"{gains[1][name].mean():+.1f}",
            "difference": interval(gains[0][name] - gains[1][name]),
        }
        for name in order
    ]
    return _markdown(rows)


def banks(results: Path) -> str:
    """What a method with a bank gains over source, by what the bank holds."""
    recall = _by_data_set(pd.read_csv(results / "banks.csv"), "variant")
    gain = recall.drop(columns=SOURCE).sub(recall[SOURCE], axis=0)
    gain.columns = pd.MultiIndex.from_tuples(
        re.fullmatch(r"(\w+)\[(\w+)\]", name).groups() for name in gain
    )
    mean = gain.mean().unstack()
    rows = [
        {
            "method": f"`{method}`",
            **{f"`{bank}`": f"{mean.loc[method, bank]:+.1f}" for bank in BANKS},
            "`train` minus `past_queries`": interval(
                gain[method]["train"] - gain[method]["past_queries"]
            ),
        }
        for method in mean.sort_values("train", ascending=False).index
    ]
    return _markdown(rows)


def _by_data_set(numbers: pd.DataFrame, method: str) -> pd.DataFrame:
    """R@1 by data set (rows) and method (columns)."""
    data_set = [BENCHMARKS.get(name).dataset for name in numbers["benchmark"]]
    return numbers.assign(data=data_set).pivot_table(index="data", columns=method, values="R@1")


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
    "banks": banks,
    "held": held,
    "streams": streams,
    "tuning": tuning,
}
"""Mark in the page -> what makes the table from the folder of results."""


def written(text: str, results: Path = RESULTS) -> str:
    """The page with its tables made anew."""
    for mark, made in TABLES.items():
        text = filled(text, mark, made(results))
    return text


def interval(differences: pd.Series) -> str:
    """The mean and its 95 % interval by Student's t, as text."""
    found = over_sets(differences)
    return "{:+.1f} [{:+.1f}, {:+.1f}]".format(
        *(x + 0.0 for x in np.round([found.value, found.low, found.high], 1))
    )


def over_sets(differences: pd.Series) -> Estimate:
    """The mean over benchmarks or data sets and its interval, as the claims have it."""
    return over_benchmarks({str(name): [value] for name, value in differences.items()})


def _markdown(rows: list[dict[str, str]]) -> str:
    return table(list(rows[0]), [list(row.values()) for row in rows], numbers=True)


def main(arguments: list[str]) -> None:
    """Writes the numbers of a run, if one is given, and the tables."""
    if arguments:
        grid, folder = arguments
        kept = RESULTS / f"{grid}.csv"
        numbers_of(Path(folder)).to_csv(kept, index=False, lineterminator="\n")
    PAGE.write_text(written(PAGE.read_text(encoding="utf-8")), encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1:])
