"""Hits of two methods with a known difference, to measure how often intervals cover it.

``python -m tests.benchmark.simulated_hits`` prints the table of docs/statistics.md.
"""

from __future__ import annotations

import math
import sys
from dataclasses import dataclass, replace

import numpy as np
from scipy.special import ndtr, ndtri

from benchmark.metrics.intervals import Comparison, paired_comparisons


@dataclass(frozen=True)
class Scenario:
    """How hits come about: a hit where the sum of normal effects is above a bar.

    Attributes:
        clusters: number of clusters (images).
        sizes: sizes of clusters (queries per image), repeated over the clusters.
        seeds: number of seeds.
        recall: chance of a hit of the second method.
        gain: what the first method has more, in points; 0 for the false-positive rate.
        image: spread of the images' difficulty, the same for both methods and all seeds.
        own: spread of each method's own strength on a query, the same for all seeds.
        noise: spread of what changes a query's answer from seed to seed, for each method.
        seed: spread of the seeds' effect on each method, for all queries alike.
    """

    name: str
    clusters: int = 150
    sizes: tuple[int, ...] = (1,)
    seeds: int = 1
    recall: float = 0.5
    gain: float = 0.0
    image: float = 1.0
    own: float = 0.5
    noise: float = 0.5
    seed: float = 0.0

    @property
    def spread(self) -> float:
        return math.sqrt(self.image**2 + self.own**2 + self.noise**2 + self.seed**2)


def simulate(scenario: Scenario, trials: int, rng: np.random.Generator) -> Outcome:
    """Compares the two methods in ``trials`` independent worlds."""
    counts = np.resize(scenario.sizes, scenario.clusters)
    image = np.repeat(np.arange(scenario.clusters), counts)
    queries, seeds = len(image), scenario.seeds
    hardness = scenario.image * rng.standard_normal((scenario.clusters, trials))[image]
    truth, hits = np.zeros(trials), []
    for sign, chance in ((1, scenario.recall + scenario.gain / 100), (-1, scenario.recall)):
        bar = scenario.spread * float(ndtri(1 - chance))
        own = scenario.own * rng.standard_normal((queries, trials))
        noise = scenario.noise * rng.standard_normal((seeds, queries, trials))
        effect = scenario.seed * rng.standard_normal((seeds, 1, trials))
        hits.append(hardness + own + noise + effect > bar)
        # One seed says nothing about others: its own difference is what the interval is about.
        rest = math.sqrt(scenario.spread**2 - scenario.seed**2)
        of_seed = 100 * ndtr((effect[0, 0] - bar) / rest)
        truth += sign * (of_seed if seeds == 1 else 100 * chance)
    first, second = (h.reshape(seeds * queries, trials).astype(np.float64) for h in hits)
    labels = np.repeat(np.arange(seeds), queries)
    found = paired_comparisons(first, second, np.tile(image, seeds), seeds=labels)
    return Outcome(found, truth)


@dataclass(frozen=True)
class Outcome:
    """Comparisons of all trials, and their true differences in points."""

    found: list[Comparison]
    truth: np.ndarray

    @property
    def covered(self) -> float:
        """Share of intervals that hold the truth."""
        pairs = zip(self.found, self.truth, strict=True)
        return float(np.mean([c.low <= truth <= c.high for c, truth in pairs]))

    @property
    def significant(self) -> float:
        """Share of comparisons that are called a difference."""
        return float(np.mean([c.significant for c in self.found]))

    @property
    def width(self) -> float:
        """Median width of the intervals, points."""
        return float(np.median([c.high - c.low for c in self.found]))


WORLDS = (
    Scenario("150 images, recall 50 %"),
    Scenario("seeds change every query's answer", own=0.0, noise=1.0),
    Scenario("seeds matter a little", seed=0.05),
    Scenario("seeds matter much", seed=0.3),
    Scenario("20 images", clusters=20),
    Scenario("600 images", clusters=600),
    Scenario("1 to 20 captions an image", sizes=(1, 1, 2, 5, 20)),
    Scenario("recall 3 %", recall=0.03, clusters=300),
    Scenario("recall 97 %", recall=0.97, clusters=300),
    Scenario("most answers the same", own=0.05, noise=0.05, clusters=300),
)


def table(trials: int) -> list[str]:
    """Rows of the table: false-positive rate, coverage at a gain of 2 points, median width."""
    rows = []
    for world in WORLDS:
        cells = []
        for seeds in (1, 2, 3, 10):
            rng = np.random.default_rng([seeds, len(rows)])
            # One seed's own effect is part of what is estimated, so there is no "no difference".
            null = replace(world, seeds=seeds, seed=world.seed if seeds > 1 else 0.0)
            better = replace(world, seeds=seeds, gain=2.0)
            false, gain = simulate(null, trials, rng), simulate(better, trials, rng)
            cells += [f"{100 * false.significant:.1f} / {100 * gain.covered:.1f}"]
            cells[-1] += f" / {gain.width:.0f}"
        rows.append(f"| {world.name} | {' | '.join(cells)} |")
    return rows


if __name__ == "__main__":
    print("\n".join(table(int(sys.argv[1]) if len(sys.argv) > 1 else 4000)))
