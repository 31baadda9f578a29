"""Verdicts on generated results, where each is known beforehand."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from rich.console import Console

from benchmark.cell import Record, ShiftSpec, Status, StreamSpec
from benchmark.planning.gridfile import grid_path, read_grid
from benchmark.report.claim_rules import (
    PARTS,
    Claim,
    Estimate,
    Verdict,
    claims_frame,
    claims_table,
    judge,
    over_benchmarks,
    over_seeds,
    together,
    write_claims,
)
from benchmark.report.claims import BASELINES, ENTROPY_METHODS, claims
from benchmark.report.results import CellResult
from tests.benchmark.report.cells import invented

QUERIES = 100
SEEDS = (0, 1, 2)
DOMAINS = (ShiftSpec("fog", 5), ShiftSpec("contrast", 5), ShiftSpec("snow", 5))

ABOUT_REST = ("shift", "conflict", "online", "diverse", "ablation")

Recall = Callable[[str, str], float]
"""(method, part left out) -> share of hits."""


def cell(
    method: str,
    *,
    without: str = "",
    benchmark: str = "b0",
    shift: str = "fog",
    diverse: bool = False,
    seed: int = 0,
    share: float = 0.5,
    probes: dict[str, float] | None = None,
    after: float = 70.0,
) -> CellResult:
    """A finished cell; the same queries are the easy ones for every method."""
    difficulty = np.random.default_rng([int(benchmark[1:]), seed]).permutation(QUERIES) / QUERIES
    return invented(
        method,
        shift,
        hits=difficulty < share,
        seed=seed,
        benchmark=benchmark,
        data=f"data-{benchmark}",
        options=dict([PARTS[without]]) if without else {},
        preset=f"mini+{PARTS[without][0]}" if without else "mini",
        severity=0 if shift == "none" else 5,
        stream=StreamSpec("diverse", domains=DOMAINS) if diverse else StreamSpec(),
        metrics={"clean_R@1_after": after, "forgetting": after - 70.0},
        probes=probes or {},
    )


def world(
    share: Recall,
    *,
    probes: Callable[[int, bool], dict[str, float]],
    angle: Callable[[int], float],
    after: Callable[[str, str, int], float],
) -> Iterator[CellResult]:
    """Four benchmarks, three seeds, all methods; ``probes`` takes (benchmark, shifted)."""
    methods = [(name, "") for name in (*BASELINES, "rest")] + [("rest", part) for part in PARTS]
    for number in range(4):
        name = f"b{number}"
        for seed in SEEDS:
            yield cell(
                "source", benchmark=name, shift="none", seed=seed, probes=probes(number, False)
            )
            for method, part in methods:
                common = {"without": part, "benchmark": name, "seed": seed}
                own = probes(number, True) | {"angle": angle(number), "conflict": 0.75}
                yield cell(
                    method,
                    **common,
                    share=share(method, part),
                    probes=own if method == "rest" else probes(number, True),
                    after=after(method, part, seed),
                )
                yield cell(method, **common, diverse=True, after=after(method, part, seed))


def damaged(number: int, shifted: bool) -> dict[str, float]:
    step = (1.0 + 0.1 * number) * shifted
    return {
        "uniformity": 0.7 - 0.1 * step,
        "consistency": 0.3 - 0.1 * step,
        "gap": 0.5 + 0.1 * step,
    }


def good_share(method: str, part: str) -> float:
    if method == "rest":
        return 0.55 if part else 0.65
    return 0.5


def good_after(method: str, part: str, seed: int) -> float:
    return (70.0 if method == "rest" and not part else 60.0) + 0.2 * seed


def verdicts(found: list[Claim]) -> dict[str, Verdict]:
    """Of the claims about REST; those about centring have a file of their own."""
    return {claim.id: claim.verdict for claim in found if claim.id in ABOUT_REST}


def judged(**changes: object) -> list[Claim]:
    facts: dict[str, object] = {
        "share": good_share,
        "probes": damaged,
        "angle": lambda number: 120.0 + number,
        "after": good_after,
    }
    return claims(list(world(**{**facts, **changes})))  # type: ignore[arg-type]


def test_all_claims_hold_where_the_numbers_are_as_claimed() -> None:
    found = judged()
    assert set(verdicts(found).values()) == {Verdict.HOLDS}
    assert [claim.id for claim in found] == [*ABOUT_REST, "centring", "anchored"]
    rest = [claim for claim in found if claim.id in ABOUT_REST]
    assert not [part for claim in rest for part in claim.parts if part.reason and part.counts]
    online = next(claim for claim in found if claim.id == "online")
    assert [part.estimate.value for part in online.parts] == pytest.approx([15.0] * 6)
    assert [part.name for part in online.parts] == [f"REST - {name}" for name in BASELINES]


def test_all_claims_fail_where_the_numbers_are_the_other_way_round() -> None:
    found = judged(
        share=lambda method, part: 0.35 if method == "rest" and not part else 0.5,
        probes=lambda number, shifted: damaged(number, not shifted),
        angle=lambda number: 60.0 + number,
        after=lambda method, part, seed: 130.0 - good_after(method, part, 2 - seed),
    )
    assert set(verdicts(found).values()) == {Verdict.FAILS}
    assert all(part.reason for claim in found for part in claim.parts)


def test_what_points_both_ways_is_inconclusive() -> None:
    found = judged(
        share=lambda method, part: 0.5,
        probes=lambda number, shifted: damaged(number, shifted != (number % 2 == 0)),
        angle=lambda number: 90.0 + (-1) ** number * 20,
        after=lambda method, part, seed: 70.0 + (seed - 1 if method == "rest" and not part else 0),
    )
    assert set(verdicts(found).values()) == {Verdict.OPEN}
    shift = found[0]
    assert "the other way on b0" in shift.parts[0].reason
    assert "b1" not in shift.parts[0].reason


def test_one_baseline_that_wins_refutes_the_whole() -> None:
    found = judged(share=lambda method, part: 0.8 if method == "tcr" else good_share(method, part))
    online = next(claim for claim in found if claim.id == "online")
    assert online.verdict is Verdict.FAILS
    failed = [part.name for part in online.parts if part.verdict is Verdict.FAILS]
    assert failed == ["REST - tcr"]
    assert verdicts(found)["ablation"] is Verdict.HOLDS


def test_source_is_compared_on_the_cells_that_the_baselines_have() -> None:
    everything = [*world(good_share, probes=damaged, angle=lambda n: 120.0, after=good_after)]
    outside = ("b2", "b3")
    found = claims(
        [r for r in everything if r.benchmark not in outside or r.method in ("source", "rest")]
    )
    online = next(claim for claim in found if claim.id == "online")
    assert {part.estimate.units for part in online.parts} == {2 * QUERIES}
    both = ([r for r in everything if r.seed or r.method not in of] for of in (BASELINES, ["tcr"]))
    fewer, lacking = (claims(some)[2].parts[0].estimate for some in both)
    assert lacking == fewer  # the seeds of the cells, too


def test_a_harmful_decoupling_is_named_as_the_reason() -> None:
    def share(method: str, part: str) -> float:
        if method == "tcr" or part == "gradient decoupling":
            return 0.8
        return good_share(method, part)

    online = next(claim for claim in judged(share=share) if claim.id == "online")
    reason = next(part.reason for part in online.parts if part.name == "REST - tcr")
    assert "decoupling costs 15.0 points" in reason


def test_decoupling_is_judged_by_what_it_keeps_and_its_price_is_shown() -> None:
    def share(method: str, part: str) -> float:
        return 0.8 if part == "gradient decoupling" else good_share(method, part)

    ablation = next(c for c in judged(share=share) if c.id == "ablation")
    assert ablation.verdict is Verdict.HOLDS  # what does not count does not refute
    (price,) = [part for part in ablation.parts if not part.counts]
    assert price.verdict is Verdict.FAILS
    assert price.estimate.value == pytest.approx(-15.0)


def test_without_cells_nothing_is_claimed() -> None:
    found = claims([])
    assert set(verdicts(found).values()) == {Verdict.OPEN}
    assert {p.reason for c in found for p in c.parts} == {"no finished cells to measure it on"}


def test_a_missing_baseline_leaves_the_claim_open_and_is_said() -> None:
    everything = world(good_share, probes=damaged, angle=lambda number: 120.0, after=good_after)
    found = claims([r for r in everything if r.method != "sar"])
    online = next(claim for claim in found if claim.id == "online")
    assert online.verdict is Verdict.OPEN
    lacking = [part.name for part in online.parts if not part.estimate.units]
    assert lacking == ["REST - sar"]


def test_one_benchmark_gives_no_interval_over_benchmarks() -> None:
    cells = world(good_share, probes=damaged, angle=lambda number: 120.0, after=good_after)
    found = claims([r for r in cells if r.benchmark == "b0"])
    shift = found[0]
    assert shift.verdict is Verdict.OPEN
    assert shift.parts[0].reason == "one benchmark gives no interval"
    assert verdicts(found)["online"] is Verdict.HOLDS  # over queries


def test_one_seed_gives_no_interval_over_seeds() -> None:
    cells = world(good_share, probes=damaged, angle=lambda number: 120.0, after=good_after)
    found = claims([r for r in cells if r.record.cell["seed"] == 0])
    diverse = next(claim for claim in found if claim.id == "diverse")
    assert diverse.verdict is Verdict.OPEN
    assert {part.reason for part in diverse.parts} == {"one seed gives no interval"}
    assert {part.estimate.value for part in diverse.parts} == {10.0}


def test_no_interval_is_wider_than_what_can_be() -> None:
    def swinging(method: str, part: str, seed: int) -> float:
        return 60.0 + 30.0 * seed if method == "rest" else 60.0

    cells = world(good_share, probes=damaged, angle=lambda number: 120.0, after=swinging)
    two = [r for r in cells if r.benchmark == "b0" and r.record.cell["seed"] < 2]
    diverse = next(claim for claim in claims(two) if claim.id == "diverse")
    found = {(part.estimate.low, part.estimate.high) for part in diverse.parts}
    assert found == {(-60.0, 40.0)}  # the others have 60 of 100 points to lose
    assert diverse.verdict is Verdict.OPEN


def test_other_options_set_by_hand_do_not_pass_for_rest() -> None:
    cells = list(world(good_share, probes=damaged, angle=lambda number: 120.0, after=good_after))
    odd = [r for r in cells if r.method == "rest" and r.seed == 0]
    changed = []
    for r in odd:
        method = {**r.record.cell["method"], "preset": "mini+lr", "options": {"lr": 9.0}}
        cell = {**r.record.cell, "method": method}
        record = Record(**{**vars(r.record), "cell": cell, "probes": {"angle": 10.0}})
        changed.append(CellResult(record, np.full(QUERIES, 2), r.group, r.order))
    assert changed
    plain, mixed = claims(cells), claims([*cells, *changed])
    assert claims_frame(plain).equals(claims_frame(mixed))


def test_order_of_the_results_does_not_matter(tmp_path: Path) -> None:
    cells = list(world(good_share, probes=damaged, angle=lambda number: 120.0, after=good_after))
    first = write_claims(claims(cells), tmp_path / "a")
    second = write_claims(claims(cells[::-1]), tmp_path / "b")
    assert [path.read_bytes() for path in first] == [path.read_bytes() for path in second]


@pytest.mark.parametrize(
    ("low", "high", "sign", "verdict"),
    [
        (0.1, 1.0, 1, Verdict.HOLDS),
        (0.1, 1.0, -1, Verdict.FAILS),
        (-1.0, -0.1, -1, Verdict.HOLDS),
        (-1.0, -0.1, 1, Verdict.FAILS),
        (-1.0, 0.0, 1, Verdict.OPEN),
        (0.0, 0.0, 1, Verdict.OPEN),
        (math.nan, math.nan, 1, Verdict.OPEN),
    ],
)
def test_the_rule_of_a_part(low: float, high: float, sign: int, verdict: Verdict) -> None:
    assert judge(Estimate(0.0, low, high, 3, "run", {}), sign) is verdict


def test_the_rule_of_a_claim() -> None:
    holds, fails, unsure = Verdict.HOLDS, Verdict.FAILS, Verdict.OPEN
    assert together([holds, holds]) is holds
    assert together([holds, unsure]) is unsure
    assert together([holds, unsure, fails]) is fails
    assert together([]) is unsure


def test_an_interval_over_benchmarks_by_hand() -> None:
    found = over_benchmarks({"a": [1.0, 3.0], "b": [4.0], "c": [6.0], "d": []})
    assert (found.value, found.units) == (4.0, 3)  # means 2, 4 and 6, deviation 2
    assert found.high - 4.0 == pytest.approx(4.3027 * 2 / math.sqrt(3), abs=1e-3)


def test_an_interval_over_seeds_leaves_out_how_settings_differ() -> None:
    near = over_seeds({"a": [1.0, 2.0, 3.0], "b": [101.0, 102.0, 103.0]})
    assert near.value == 52.0
    # pooled variance 1 on 4 degrees of freedom; error sqrt(1/3 + 1/3) / 2
    assert near.high - near.value == pytest.approx(2.7764 * math.sqrt(2 / 3) / 2, abs=1e-3)


def test_seeded_coverage_of_the_interval_over_seeds() -> None:
    generator = np.random.default_rng(5)
    inside = 0
    for _ in range(400):
        draws = generator.normal(1.0, 2.0, (2, 3))
        found = over_seeds({"a": list(draws[0]), "b": list(draws[1])})
        inside += found.low <= 1.0 <= found.high
    assert 0.92 < inside / 400 < 0.98


def test_the_page_shows_every_part_and_escapes_what_it_is_given(tmp_path: Path) -> None:
    cells = list(world(good_share, probes=damaged, angle=lambda n: 60.0 + n, after=good_after))
    for r in cells:
        r.record.cell["benchmark"] = "b|[red]<i>" + str(r.record.cell["benchmark"])
    found = claims(cells)
    console = Console(record=True, width=200, file=(tmp_path / "out").open("w"))
    console.print(claims_table(found))
    console.file.close()
    shown = console.export_text()
    assert "does not hold" in shown
    assert "[red]" in shown
    csv, page = write_claims(found, tmp_path)
    frame = pd.read_csv(csv)
    assert len(frame) == sum(len(claim.parts) for claim in found)
    assert set(frame["verdict"]) <= {verdict.value for verdict in Verdict}
    text = page.read_text()
    rows = [line for line in text.splitlines() if line.startswith("|")]
    assert len(rows) == len(frame) + 2 * len(found)
    assert {row.replace(r"\|", "").count("|") for row in rows} == {8}
    assert "<i>" not in text


def test_the_grid_has_every_cell_that_a_claim_needs() -> None:
    from benchmark.cli.bundled import ClaimsPage
    from benchmark.planning.gridfile import plan_grid

    words = ["--device", "cpu"]
    plan = plan_grid(read_grid(grid_path("claims")), ClaimsPage().parser().parse_args(words))
    assert not [planned.reason for planned in plan.cells if planned.reason]
    cells = [
        CellResult(
            Record("0" * 16, Status.DONE, planned.cell.to_dict(), metrics={"clean_R@1_after": 1.0},
                   probes={"uniformity": 1.0, "gap": 1.0, "consistency": 1.0, "angle": 90.0}),
            np.ones(4), np.arange(4), np.arange(4),
        )
        for planned in plan.cells
    ]  # fmt: skip
    found = claims(cells)
    assert min(part.estimate.units for claim in found for part in claim.parts) > 1
    assert {name for name in ENTROPY_METHODS} <= {c.method for c in cells if c.stream == "diverse"}
    assert {part.estimate.units for part in found[0].parts} == {6}
