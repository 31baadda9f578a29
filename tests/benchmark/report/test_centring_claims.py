"""Which adaptation beats centring alone, on generated results where it is known beforehand."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import pytest

from benchmark.cell import Status, StreamSpec, method_label
from benchmark.report.claim_rules import Claim, Verdict
from benchmark.report.claims import centring_claims, ours_claim, shift_kind
from benchmark.report.results import CellResult, variant_labels
from shifts import BUILTINS
from tests.benchmark.report.cells import invented

QUERIES = 200


def cell(
    method: str,
    share: float,
    *,
    centre: bool | None = None,
    shift: str = "fog",
    task: str = "image-to-text",
    seed: int = 0,
    stream: str = "single",
) -> CellResult:
    """A cell of a method that finds ``share`` of the queries, the easy ones first."""
    order = np.random.default_rng([seed, len(task)]).permutation(QUERIES) / QUERIES
    return invented(
        method,
        shift,
        hits=order < share,
        seed=seed,
        benchmark=f"of-{task}",
        options={} if centre is None else {"centre": centre},
        preset="mini+centre" if centre else "mini",
        stream=StreamSpec(stream),
        info={"task": task},
    )


def field(shares: Mapping[str, float], **facts: object) -> list[CellResult]:
    """Cells of methods and centred twins ("tcr[centred]") in one setting."""
    found = []
    for name, share in shares.items():
        base, _, twin = name.partition("[")
        centre = None if base in ("source", "recentre") else bool(twin)
        found.append(cell(base, share, centre=centre, **facts))  # type: ignore[arg-type]
    return found


def by_part(claim: Claim) -> dict[str, Verdict]:
    return {part.name: part.verdict for part in claim.parts}


SHARES = {"source": 0.3, "recentre": 0.5, "tcr": 0.4, "tcr[centred]": 0.6, "tent": 0.5}


def test_each_method_and_its_twin_are_held_against_centring_alone() -> None:
    (claim,) = centring_claims(field(SHARES))
    assert claim.text == "Each adaptation beats centring alone, image-to-text"
    assert by_part(claim) == {
        "tent - recentre, weather": Verdict.OPEN,
        "tcr - recentre, weather": Verdict.FAILS,
        "tcr[centred] - recentre, weather": Verdict.HOLDS,
    }
    values = [part.estimate.value for part in claim.parts]
    assert values == pytest.approx([0.0, -10.0, 10.0])
    assert claim.verdict is Verdict.FAILS
    reasons = {part.name.partition(" - ")[0]: part.reason for part in claim.parts}
    assert reasons["tcr"] == "its centred twin: +10.0"
    assert reasons["tent"] == "within noise; no centred twin here"


def test_tasks_and_kinds_of_shift_are_apart() -> None:
    better = {**SHARES, "tcr": 0.7}
    results = [
        *field(SHARES),
        *field(better, shift="gaussian_noise"),
        *field(better, task="video-to-audio", shift="video_fog"),
    ]
    image, video = centring_claims(results)
    assert by_part(image)["tcr - recentre, noise"] is Verdict.HOLDS
    assert by_part(image)["tcr - recentre, weather"] is Verdict.FAILS
    assert by_part(video)["tcr - recentre, weather"] is Verdict.HOLDS
    assert video.id == "centring video-to-audio"


def test_a_diverged_cell_never_enters_a_comparison() -> None:
    lost = cell("tcr", 0.9, centre=False, seed=2)
    lost = replace(lost, record=replace(lost.record, status=Status.FAILED))
    results = [*field(SHARES), *field(SHARES, seed=1), lost, *field({"recentre": 0.5}, seed=2)]
    (claim,) = centring_claims(results)
    (part,) = [part for part in claim.parts if part.name.startswith("tcr -")]
    assert part.estimate.value == pytest.approx(-10.0)
    told = {part.name.partition(" -")[0]: part.reason for part in claim.parts}
    assert told["tcr"] == "1 cell missing; its centred twin: +10.0"
    assert told["tcr[centred]"] == "1 cell missing"  # although it holds


def test_without_the_control_nothing_is_claimed() -> None:
    (claim,) = centring_claims(field({"source": 0.3, "tcr": 0.9}))
    assert claim.verdict is Verdict.OPEN
    assert [part.reason for part in claim.parts] == ["no finished cells to measure it on"]


def test_streams_of_several_shifts_are_another_question() -> None:
    shifted = [cell(m, 0.5, stream="diverse") for m in ("recentre", "tcr")]
    assert not centring_claims(shifted)[0].parts[0].estimate.units


def test_ours_must_beat_all_three_over_all_tasks() -> None:
    shares = {"recentre": 0.5, "tcr": 0.55, "rest": 0.5, "anchored": 0.6}
    results = [*field(shares), *field({**shares, "rest": 0.4}, task="audio-to-video")]
    claim = ours_claim(results)
    assert claim.verdict is Verdict.HOLDS
    counted = [part.name for part in claim.parts if part.counts]
    assert counted == [f"anchored - {name}" for name in ("tcr", "rest", "recentre")]
    explained = [part.name for part in claim.parts if not part.counts]
    assert "anchored - rest, audio-to-video" in explained
    assert ours_claim(field({**shares, "rest": 0.7})).verdict is Verdict.FAILS
    assert ours_claim([]).verdict is Verdict.OPEN


def test_a_twin_has_a_name_of_its_own_in_tables() -> None:
    assert method_label("tcr", {"centre": True}) == "tcr[centred]"
    assert method_label("tcr", {"centre": False}) == "tcr"
    assert method_label("mine", {"bank": "past_queries", "centre": True}).endswith(", centred]")
    assert set(variant_labels(field(SHARES)).values()) == set(SHARES)


def test_every_shift_that_ships_has_a_kind() -> None:
    kinds = {shift_kind(name) for name in BUILTINS}
    assert kinds == {
        *("other data", "noise", "blur", "weather", "digital", "characters", "words"),
        *("sentences", "order", "compression", "sequence", "composed"),
    }
    assert shift_kind("from-a-plugin") == "from-a-plugin"
