"""Writes the ablation table of docs/methods.md: ``python -m docs.ablation [FOLDER OF THE RUN]``.

The run is that of ``make grid GRID=rest-ablation``. What its ``leaderboard.csv`` says is kept in
``results/rest-ablation.csv``; without a folder the table is made from that file. A test compares.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

import numpy as np
import pandas as pd
from scipy import stats

from docs.marks import filled

ROOT = Path(__file__).parents[1]
NUMBERS = ROOT / "results" / "rest-ablation.csv"
PAGE = ROOT / "docs" / "methods.md"
MARK = "ablation"
DEFAULTS = {
    **{"refine": "True", "uniformity": "1.0", "gap": "1.0", "consistency": "1.0"},
    **{"decouple": "prograd", "level": "parameters", "granularity": "global"},
    **{"general_over": "candidates", "centre": "False"},
}
"""What the grid varies, as the method's label in tables says it where it is not varied."""


def numbers_of(run: Path) -> pd.DataFrame:
    """A row for each benchmark and variant: R@1, change of clean R@1, cost; means over seeds."""
    found = pd.read_csv(run / "leaderboard.csv")
    found["variant"] = [variant_of(label) for label in found["method"]]
    kept = found[["benchmark", "variant", "R@1", "forgetting", "ms_per_query", "seeds"]]
    return kept.round(3)


def variant_of(label: str) -> str:
    """A method's label without the options at their defaults.

    >>> variant_of("rest [mini+level, gap=1.0, level=query]"), variant_of("tcr")
    ('rest level=query', 'tcr')
    """
    name, _, inside = label.rstrip("]").partition(" [")
    pairs = re.findall(r"(\w+)=([^,]+)", inside)
    return " ".join([name, *(f"{k}={v}" for k, v in pairs if DEFAULTS.get(k, "") != v)])


def table(numbers: pd.DataFrame) -> str:
    """The table as Markdown: each variant against ``rest``, each benchmark with the same weight."""
    recall = numbers.pivot_table(index="benchmark", columns="variant", values="R@1")
    rest = recall["rest"]
    lines = [
        "| variant | R@1 | minus `rest`, 95 % interval | change of clean R@1 | cost of `rest` |",
        "| --- | ---: | ---: | ---: | ---: |",
    ]
    mean = numbers.groupby("variant")[["forgetting", "ms_per_query"]].mean()
    for variant in recall.mean().sort_values(ascending=False, kind="stable").index:
        difference = recall[variant] - rest
        half = stats.t.ppf(0.975, len(rest) - 1) * difference.std() / np.sqrt(len(rest))
        middle = difference.mean()
        against = "" if variant == "rest" else _interval(middle, half)
        forgetting, cost = mean.loc[variant]
        cells = (
            f"`{variant}`",
            f"{recall[variant].mean():.1f}",
            against,
            f"{forgetting:+.1f}".replace("+0.0", "0"),
            f"{cost / mean.loc['rest', 'ms_per_query']:.2f}",
        )
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def _interval(middle: float, half: float) -> str:
    return "{:+.1f} [{:+.1f}, {:+.1f}]".format(
        *(x + 0.0 for x in np.round([middle, middle - half, middle + half], 1))
    )


def main(arguments: list[str]) -> None:
    """Writes the numbers, if a run is given, and the table."""
    if arguments:
        numbers_of(Path(arguments[0])).to_csv(NUMBERS, index=False, lineterminator="\n")
    text = PAGE.read_text(encoding="utf-8")
    PAGE.write_text(filled(text, MARK, table(pd.read_csv(NUMBERS))), encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1:])
