"""The page results/gpu.md, made from what gpu_check measured."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping
from typing import Any

from docs.marks import table

HEAD = """# On a GPU

Made by `make gpu-check`; do not edit. Measured on:

{facts}

{note}The encoder that is timed is a {model} with random weights in batches of {batch} queries,
unless a section says otherwise. Weights do not change what a pass costs.
"""


def page(found: Mapping[str, Any]) -> str:
    """Markdown of all parts; a part that failed says why, and a note what was done by hand."""
    facts = "\n".join(f"* {name}: {value}" for name, value in found["facts"].items())
    note = paragraph(found["note"]) if "note" in found else ""
    text = HEAD.format(facts=facts, note=note, model=found["model"], batch=found["batch"])
    for name, (title, body) in SECTIONS.items():
        part = found.get(name)
        if part is None:
            continue
        failed = part.get("failed")
        text += f"\n## {title}\n\n" + (f"Not measured: {failed}\n" if failed else body(found))
    return text


def paragraph(*sentences: str) -> str:
    return textwrap.fill(" ".join(filter(None, sentences)), 100) + "\n\n"


def _speed(found: Mapping[str, Any]) -> str:
    part, lines = found["speed"], []
    for path, of in part.items():
        bare = f"{1000 * of['bare']['forward']:.1f} / {1000 * of['bare']['backward']:.1f} ms"
        peak = f", peak {of['peak_device_mb']:,.0f} MB" if of["peak_device_mb"] else ""
        lines.append(f"* {path}: {bare}{peak}\n")
    names = dict.fromkeys(name for of in part.values() for name in of["methods"])
    rows = []
    for name in names:
        cells = [of["methods"].get(name) for of in part.values()]
        rows.append([name, *(_pair(cell) if cell else "" for cell in cells)])
    return (
        paragraph(
            "Queries per second, and in brackets the share of a step that its bare forward and",
            "backward passes account for (1.00: the method costs nothing beside its passes).",
            "Numbers of one method may exceed 1.00 by what the timing of a pass is off.",
        )
        + "A bare forward and a bare backward pass of one batch, and the peak of all methods:\n\n"
        + "".join(lines)
        + "\n"
        + table(["method", *part], rows)
    )


def _pair(row: Mapping[str, Any]) -> str:
    if "failed" in row:
        return str(row["failed"])
    return f"{row['queries_per_second']:,.0f} ({row['of_bare_passes']:.2f})"


def _waiting(found: Mapping[str, Any]) -> str:
    part = found["waiting"]
    rows = [
        (
            row["precision"],
            row["shift"],
            row["loaders"],
            f"{row['queries']:,}",
            f"{row['queries_per_second']:,.0f}",
            f"{100 * row['waiting']:.0f} %",
            _of_bare_steps(row, found["speed"]),
        )
        for row in part["cells"]
    ]
    cost = part["shift_ms"][part["costliest"]]
    width, height = part["sides"]
    return paragraph(
        f"Cells of Tent on JPEG files of {width} x {height} pixels, decoded and corrupted by",
        f"worker processes. The costliest shift is {part['costliest']}",
        f'({cost:.0f} ms a picture on one core). "cached" is the next method on the same stream.',
        "The last column has its speed over that of Tent's steps in the section above (aim: 0.9).",
        f"A run itself takes {part['chosen']} workers here." if "chosen" in part else "",
        f"Time was up for {part['left_out']} more cells." if part.get("left_out") else "",
    ) + table(
        [
            "precision",
            "shift",
            "loader workers",
            "queries",
            "queries per second",
            "waiting",
            "of bare steps",
        ],
        rows,
    )


def _of_bare_steps(row: Mapping[str, Any], speed: Mapping[str, Any]) -> str:
    bare = speed.get(row["precision"], {}).get("methods", {}).get("tent", {})
    rate = bare.get("queries_per_second")
    return f"{row['queries_per_second'] / rate:.2f}" if rate else ""


def _agreement(found: Mapping[str, Any]) -> str:
    part = found["agreement"]
    rows = [
        (name, row["failed"], "", "")
        if "failed" in row
        else (
            name,
            f"{100 * row['ranks_that_differ']:.1f} %",
            f"{row['R@1']:.1f}",
            f"{row['R@1_device']:.1f}",
        )
        for name, row in part["methods"].items()
    ]
    kept = "kept" if part["within"] else "NOT kept"
    return paragraph(
        f"The embedded encoder in float32, {part['limit']} queries.",
        "A GPU adds in another order, and adaptation carries small differences on.",
        "Tolerance, for the source model: ranks may differ for",
        f"{100 * part['tolerance']:.0f} % of the queries ({kept}). The scores of lame and sinkhorn",
        "nearly tie by design, far from the query in lame, among the items that one query of the",
        "bank dominates in sinkhorn; rounding orders them.",
    ) + table(["method", "ranks that differ", "R@1 on the CPU", "R@1 on the GPU"], rows)


def _executors(found: Mapping[str, Any]) -> str:
    part = found["executors"]
    rows = [
        (way, row["failed"], "")
        if "failed" in row
        else (way, row["equal_cells"], f"{row['seconds']:.1f}" if row["seconds"] else "")
        for way, row in part.items()
        if isinstance(row, Mapping)
    ]
    return paragraph(
        "Cells of the embedded encoder, all on the one GPU, and how many of them have the ranks of",
        "the serial run.",
        f"Two processes have {two:.2f} times the throughput of one."
        if (two := part.get("two_over_one"))
        else "",
    ) + table(["executor", "cells with equal ranks", "seconds"], rows)


SECTIONS = {
    "speed": ("Methods", _speed),
    "waiting": ("Waiting for data", _waiting),
    "agreement": ("Results on the CPU and on the GPU", _agreement),
    "executors": ("Executors", _executors),
}
"""Key in the measurements -> title of the section and what writes it."""
