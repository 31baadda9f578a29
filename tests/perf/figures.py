"""The figures of ``make perf``: printed, kept in results/performance.json, listed in the docs.

``python -m tests.perf.figures FILE`` reads what pytest-benchmark wrote. A run of some tests
replaces their figures alone. The list in docs/performance.md is made from the kept ones.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from rich.console import Console

from docs.marks import filled

ROOT = Path(__file__).resolve().parents[2]
KEPT = ROOT / "results/performance.json"
DOCS = ROOT / "docs/performance.md"
MOST = 4
"""Numbers of one figure that are listed one by one; of more, the smallest and the largest."""


class Figure(NamedTuple):
    """One number that a speed test notes in its ``extra_info``.

    Attributes:
        test: file and function, "test_overhead.py::test_vit_b_32".
        key: the number's name there.
        meaning: what is divided by what, or the unit.
        aim: the bound that we want it to keep, or why there is none.
    """

    test: str
    key: str
    meaning: str
    aim: str


FIGURES = (
    Figure(
        "test_overhead.py::test_mini_encoder",
        "overhead",
        "time of a cell over its bare steps: mini encoder",
        "≤ 1.20",
    ),
    Figure("test_overhead.py::test_mini_encoder", "with_forgetting", "… with forgetting", "≤ 1.20"),
    Figure("test_overhead.py::test_vit_b_32", "overhead", "… ViT-B/32", "≤ 1.05"),
    Figure("test_overhead.py::test_vit_b_32", "with_forgetting", "… with forgetting", "≤ 1.05"),
    Figure(
        "test_cache.py::test_second_method",
        "second_to_first",
        "loading for the second method over the first (cache)",
        "≤ 0.10",
    ),
    Figure(
        "test_cache.py::test_memory_of_a_hundred_cells",
        "last_to_first",
        "memory after 100 cells over that after the first",
        "≤ 1.10",
    ),
    Figure(
        "test_loader_workers.py::test_two_workers",
        "one_over_two_workers",
        "loading speed of two loader workers over one, 224 px",
        "≥ 1.7",
    ),
    Figure(
        "test_processes.py::test_two_processes",
        "two_processes",
        "speed of two processes over one",
        "≥ 1.7",
    ),
    Figure(
        "test_settings.py::test_allocator",
        "kept",
        "steps with the allocator setting over without: mini encoder",
        "≤ 1.05",
    ),
    Figure(
        "test_settings.py::test_trimmed_captions",
        "trimmed",
        "steps with captions cut over uncut: mini encoder",
        "< 1",
    ),
    Figure(
        "test_image_shifts.py::test_times_faster_than_the_rewrite",
        "geometric_mean",
        "speed of image shifts over imagecorruptions, one core",
        "≥ 3.0",
    ),
    Figure(
        "test_loader_workers.py::test_two_workers_over_the_rewrite",
        "geometric_mean",
        "… by two loader workers",
        "≥ 6.0",
    ),
    Figure(
        "test_methods.py::test_step",
        "over_forward_and_backward",
        "a step over one forward and backward pass: ViT-B/32",
        "none",
    ),
    Figure(
        "test_gallery.py::test_memory",
        "peak_mb",
        "MB for ranking in a gallery of 1,000,000 x 512",
        "≤ 4096",
    ),
)
"""The figures that the docs list, in their order."""


def collected(report: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Test -> what it noted, on which machine and on which day, of one report."""
    machine = report["machine_info"]
    name = machine.get("cpu", {}).get("brand_raw", machine.get("processor", "?"))
    place = f"{name}, {machine.get('cpu', {}).get('count', '?')} cores"
    return {
        f"{Path(test['fullname'].split('::')[0]).name}::{test['name']}": {
            "machine": place,
            "date": report["datetime"][:10],
            "minimum_s": float(f"{test['stats']['min']:.4g}"),
            **test["extra_info"],
        }
        for test in report["benchmarks"]
    }


def values_of(kept: Mapping[str, Any], figure: Figure) -> Iterator[tuple[str, Any]]:
    """(parameters of the test, its number) of every variant of the figure's test that has it."""
    for test, noted in kept.items():
        name, _, variant = test.partition("[")
        if name == figure.test and figure.key in noted:
            yield variant.removesuffix("]"), noted[figure.key]


def listing(kept: Mapping[str, Any]) -> str:
    """The Markdown list of the docs."""
    lines = ["| figure | aim | measured |", "| --- | --- | --- |"]
    for figure in FIGURES:
        found = [
            f"{value} ({variant})" if variant else str(value)
            for variant, value in sorted(values_of(kept, figure), key=lambda pair: pair[1])
        ]
        if len(found) > MOST:
            found = [f"{found[0]} to {found[-1]}"]
        measured = "; ".join(found) or "not measured yet"
        lines.append(f"| {figure.meaning} | {figure.aim} | {measured} |")
    return "\n".join([*lines, "", *measured_on(kept), ""])


def measured_on(kept: Mapping[str, Any]) -> list[str]:
    """Where and when, and how busy the machines were."""
    places = sorted({f"{noted['machine']} ({noted['date']})" for noted in kept.values()})
    loads = [noted["load"] for noted in kept.values() if "load" in noted]
    lines = ["Measured on: " + "; ".join(places) + "."]
    if loads:
        lines.append(f"Load average at the end of the tests: {min(loads)} to {max(loads)}.")
    return lines


def with_listing(text: str, kept: Mapping[str, Any]) -> str:
    """A page with the list between its two marks replaced."""
    return filled(text, "figures", f"\n{listing(kept)}\n")


def show(new: Mapping[str, Any], console: Console) -> None:
    """Prints the numbers of each test: ratios within this run, and the fastest round in seconds."""
    for test, noted in new.items():
        console.print(test, markup=False, soft_wrap=True)
        for key, value in noted.items():
            if key not in ("machine", "date"):
                console.print(f"  {key}: {json.dumps(value)}", markup=False, soft_wrap=True)
    for line in measured_on(new):
        console.print(line, markup=False, soft_wrap=True)


def main(arguments: Sequence[str]) -> int:
    path = Path(arguments[0])
    text = path.read_text(encoding="utf-8") if path.is_file() else ""
    if not text:  # pytest-benchmark leaves an empty file where nothing ran
        print("no speed test has run, so there are no figures")
        return 1
    new = collected(json.loads(text))
    old = json.loads(KEPT.read_text(encoding="utf-8")) if KEPT.is_file() else {}
    kept = dict(sorted({**old, **new}.items()))
    show(new, Console())
    KEPT.write_text(json.dumps(kept, indent=1) + "\n", encoding="utf-8")
    DOCS.write_text(with_listing(DOCS.read_text(encoding="utf-8"), kept), encoding="utf-8")
    print(f"kept in {KEPT.relative_to(ROOT)}; listed in {DOCS.relative_to(ROOT)}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
