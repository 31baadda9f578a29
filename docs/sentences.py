"""Sentences with numbers, computed from the tables in ``results/``: ``python -m docs.sentences``.

In a page such a sentence stands between ``<!-- results: NAME -->`` and ``<!-- end -->``, which no
reader sees. A test compares it with the tables; ``make leaderboard`` writes it anew.
"""

from __future__ import annotations

import json
import re
import textwrap
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from statistics import mean
from typing import Any

import pandas as pd

from benchmark.cell import SOURCE
from benchmark.config.files import atomic_write
from benchmark.metrics.intervals import excludes_zero
from benchmark.report.unlabelled import FITTED
from docs.method_tables import held_half, interval, over_sets

ROOT = Path(__file__).parents[1]
PAGES = (ROOT / "README.md", ROOT / "docs" / "own-data.md", ROOT / "results" / "methods.md")
WIDTH = 110

_MARKED = re.compile(r"(<!-- results: (\S+) -->\n).*?(<!-- end -->)", re.DOTALL)


def leaders(results: Path) -> str:
    """Who has the best average ranks, and whether the critical difference tells them apart."""
    table = pd.read_csv(results / "ranking.csv").dropna(subset=["average_rank"])
    table = table.sort_values("average_rank", kind="stable")
    first = table.head(3)
    named = _list(
        [f"`{m}` ({r:.1f})" for m, r in zip(first.method, first.average_rank, strict=True)]
    )
    datasets = int(table.datasets.iloc[0])
    centred = int(table.method.str.endswith("[centred]").sum())
    forms = f" and {centred} centred forms" if centred else ""
    text = (
        f"Of {len(table)} methods, including no adaptation{forms}, {named} have the best average"
        f" ranks over {datasets} independent data sets."
    )
    difference = table.critical_difference.iloc[0]
    if pd.isna(difference):
        return f"{text} {datasets} are too few to test whether they differ."
    near = int((table.average_rank - table.average_rank.iloc[0] <= difference).sum()) - 1
    return (
        f"{text} Ranks that differ by less than {difference:.1f} (the critical difference) may be"
        f" equal, so {near or 'no'} others may be as good as the first."
    )


def ahead(results: Path) -> str:
    """On how many benchmarks the leaders differ from no adaptation."""
    board = pd.read_csv(results / "leaderboard.csv")
    found = []
    for method in _leaders(results):
        rows = board[board.method == method]
        sure = [row for row in rows.to_dict("records") if _sure(row)]
        better = sum(row["R@1_difference"] > 0 for row in sure)
        found.append(f"`{method}` improves {better} and worsens {len(sure) - better}")
    return (
        f"Of the {board.benchmark.nunique()} benchmarks, {_list(found)}. Only differences to no"
        " adaptation whose 95 % interval excludes 0 count."
    )


def captions(results: Path) -> str:
    """The largest gain on corrupted captions."""
    board = pd.read_csv(results / "leaderboard.csv").dropna(subset=["R@1_difference"])
    rows = board[board.benchmark.str.endswith("-c-text")]
    best = max(rows.to_dict("records"), key=lambda row: float(row["R@1_difference"]))
    low, high = best["R@1_difference_low"], best["R@1_difference_high"]
    doubt = "" if _sure(best) else ", which includes 0"
    return (
        f"On corrupted captions the largest gain is {best['R@1_difference']:.1f} points"
        f" (`{best['method']}` on `{best['benchmark']}`, 95 % interval {low:.1f} to"
        f" {high:.1f}{doubt})."
    )


def forgetting(results: Path) -> str:
    """What the leaders and the worst method do to clean queries of the corrupted benchmarks."""
    board = pd.read_csv(results / "leaderboard.csv").dropna(subset=["forgetting"])
    board = board[board.benchmark.str.contains(r"-c(?:-|$)")]
    means = board[board.method != SOURCE].groupby("method").forgetting.mean()
    named = _list([f"{means[m]:+.1f} points with `{m}`" for m in _leaders(results) if m in means])
    return (
        f"Forgetting: over a stream of corrupted queries, R@1 on clean ones changes by {named};"
        f" the largest loss is {means.min():.1f} (`{means.idxmin()}`). These are means over"
        f" {board.benchmark.nunique()} benchmarks."
    )


def anchored(results: Path) -> str:
    """Whether our own method wins on the held half, by the rule that was fixed beforehand."""
    board, recall = held_half(results)
    own = board[board.method == "anchored"]
    others = ("rest", "tcr", "recentre")
    against = {other: recall["anchored"] - recall[other] for other in others}
    ahead = _list([f"{interval(values)} over `{other}`" for other, values in against.items()])
    kept = own.forgetting.mean()
    measured = json.loads((results / "performance.json").read_text(encoding="utf-8"))
    (price,) = (row["ratio"] for name, row in measured.items() if "price[anchored" in name)
    wins = all(over_sets(v).low > 0 for v in against.values()) and kept >= -1 and price <= 1.1
    return (
        f"On the held half ({len(own)} benchmarks; seeds: {own.seeds.max()}), `anchored` gains"
        f" {ahead} (points of R@1). R@1 on clean queries changes by {kept:+.1f} points, and a step"
        f" takes {price:.2f} times as long as TCR's (a ViT-B/32 on one core). "
        + ("By the rule, it wins." if wins else "By the rule, it does not win.")
    )


def control(results: Path) -> str:
    """Which methods are ahead of centring alone on the held half, beyond chance."""
    _, recall = held_half(results)
    low = {m: over_sets(recall[m] - recall["recentre"]).low for m in recall.columns}
    ahead = sorted((m for m in low if low[m] > 0), key=lambda m: -low[m])
    named = _list([f"`{method}`" for method in ahead]) or "none"
    return (
        "Centring trains nothing and is the control. Of the"
        f" {len(recall.columns) - 2} other methods, {named} are ahead of it beyond chance (not"
        " corrected for several comparisons)."
    )


def gain(results: Path) -> str:
    """How well ``--unlabelled`` predicts a gain, on data sets left out."""
    found = {
        method: model
        for method, model in json.loads(FITTED.read_text(encoding="utf-8")).items()
        if model["error"] < model["of_mean"]
    }
    error, of_mean = (mean(model[key] for model in found.values()) for key in ("error", "of_mean"))
    better = [model["better"] for model in found.values()]
    (count,) = {model["datasets"] for model in found.values()}
    return (
        f"The gain is predicted for {len(found)} methods. On {count} data sets, each left out in"
        f" turn, the prediction is wrong by {error:.1f} points on average; guessing the mean gain"
        f" is wrong by {of_mean:.1f}. The prediction is better on {min(better)} to {max(better)}"
        f" of the {count}."
    )


SENTENCES: Mapping[str, Callable[[Path], str]] = {
    "leaders": leaders,
    "ahead": ahead,
    "captions": captions,
    "forgetting": forgetting,
    "gain": gain,
    "anchored": anchored,
    "control": control,
}
"""Name in a page -> what computes the sentence from the folder of tables."""


def rendered(text: str, results: Path = ROOT / "results") -> str:
    """A page with its marked sentences computed from the tables.

    Raises:
        ValueError: a mark names no sentence; says which there are.
    """

    def sentence(match: re.Match[str]) -> str:
        start, name, end = match.groups()
        if name not in SENTENCES:
            raise ValueError(f"no sentence {name!r}; there are {', '.join(SENTENCES)}")
        lines = textwrap.wrap(
            SENTENCES[name](results), WIDTH, break_long_words=False, break_on_hyphens=False
        )
        return start + "\n".join(lines) + f"\n{end}"

    return _MARKED.sub(sentence, text)


def _leaders(results: Path) -> list[str]:
    """The three methods with the best average ranks, without the source."""
    table = pd.read_csv(results / "ranking.csv").dropna(subset=["average_rank"])
    table = table[table.method != SOURCE].sort_values("average_rank", kind="stable")
    return [str(method) for method in table.method.head(3)]


def _sure(row: Mapping[Any, Any]) -> bool:
    return excludes_zero(row["R@1_difference_low"], row["R@1_difference_high"])


def _list(words: Sequence[str]) -> str:
    return f"{', '.join(words[:-1])} and {words[-1]}" if len(words) > 1 else "".join(words)


def main() -> None:
    """Rewrites the pages."""
    for page in PAGES:
        before = page.read_text(encoding="utf-8")
        after = rendered(before)
        if after != before:
            atomic_write(page, after.encode("utf-8"))
            print(f"sentences of {page.name} computed anew")


if __name__ == "__main__":
    main()
