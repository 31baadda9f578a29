"""What a reader of a table must know: few seeds, how options were chosen, who read a paper how."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping

from benchmark.report.display import plain
from benchmark.report.pools import Pool

NOTES = {"rest": "rest: our reading of the paper's abstract and figure, see docs/methods.md"}
"""What must stand under a table in which the method appears."""

MANY = 5
"""From so many seeds on, what they leave open about other seeds hardly widens an interval."""


def seed_notes(pools: Iterable[Pool]) -> list[str]:
    """What few seeds mean for the intervals of the comparisons, as one sentence or none."""
    fewest = min((len({c.seed for c, _ in p.pairs}) for p in pools if p.comparison), default=MANY)
    if fewest == 1:
        return ["With one seed an interval is about that seed: it says nothing of another one."]
    if fewest == 2:
        return [
            "Two seeds say next to nothing about others: where results differ from seed to seed, a "
            "third one makes the interval a quarter to a third as wide."
        ]
    if fewest < MANY:
        return [f"{fewest} seeds say little about others: intervals get narrower with more seeds."]
    return []


_FEW_ANSWERS = 6
"""More different answers than these do not fit into a sentence."""


def tuned_by_method(pools: Iterable[Pool]) -> dict[str, str]:
    """Which options were tuned and on what -> the methods of which that is so."""
    said: dict[str, dict[str, None]] = defaultdict(dict)
    for pool in pools:
        if pool.first.tuned:
            said[plain(pool.first.tuned)][plain(pool.label)] = None
    return {how: ", ".join(labels) for how, labels in said.items()}


def tuned_text(answers: Mapping[str, str]) -> str:
    """``tuned_by_method`` in words, or an empty string."""
    return "; ".join(f"{labels}: {how}" for how, labels in answers.items())


def tuned_notes(pools: Iterable[Pool]) -> list[str]:
    """``tuned_text`` as one sentence, or none; of many answers only that they are many."""
    answers = tuned_by_method(pools)
    if len(answers) > _FEW_ANSWERS:
        untuned = ", ".join(labels for how, labels in answers.items() if how.startswith("untuned"))
        but = f"; not tuned: {untuned}" if untuned else ""
        return [f"Options tuned: in column 'tuned' of leaderboard.csv, by method{but}."]
    return [f"Options tuned: {tuned_text(answers)}."] if answers else []
