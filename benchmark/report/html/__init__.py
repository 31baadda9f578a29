"""The results as one HTML file that opens from disk: methods, benchmarks, down to the cell.

The page holds its numbers, style, script and table library and loads nothing; a content security
policy with the hashes of its style and script forbids the rest. See docs/leaderboard-page.md.
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
from collections.abc import Iterable, Sequence
from importlib.resources import files
from pathlib import Path
from string import Template
from typing import Any
from urllib.parse import quote

from benchmark.report.html.data import page_data
from benchmark.report.pools import Pool, benchmark_pools, shift_pools
from benchmark.report.problems import problems
from benchmark.report.results import CellResult
from benchmark.report.writing import write_text
from benchmark.store.records import cell_from_dict

__all__ = ["embedded", "page", "write"]

SCRIPTS = ("base.js", "charts.js", "detail.js", "table.js", "rows.js", "matrix.js", "main.js")
"""Put together in this order into one script, behind the table library's."""

LIBRARY = "vendor/tabulator.min.js"
LIBRARY_STYLE = "vendor/tabulator_simple.min.css"


def write(
    results: Iterable[CellResult],
    path: Path,
    *,
    cells: Path | None = None,
    pools: tuple[Sequence[Pool], Sequence[Pool]] | None = None,
) -> Path:
    """Writes the page in one piece; the same cells give the same bytes.

    Args:
        results: cells with their numbers per query, in any order.
        cells: folder of the cells' JSON files (``RunStore.cells``), which the page then links to,
            relative to itself.
        pools: ``benchmark_pools(results)`` and ``shift_pools(results)``, where the caller has them:
            making them is what takes time.

    Raises:
        ResultsError: the page cannot be written.
    """
    results = list(results)
    benchmarks, shifts = pools or (benchmark_pools(results), shift_pools(results))
    # Symbolic links stay as they are: the folder may be moved together with the page.
    folder = cells and Path(os.path.relpath(os.path.abspath(cells), os.path.abspath(path.parent)))

    def link(cell: CellResult) -> str:
        if folder is None:
            return ""
        stem = cell_from_dict(cell.record.cell).stem(cell.record.key)
        # A name with a colon in it must not pass for a scheme.
        return quote(f"./{folder.as_posix()}/{stem}.json")

    data = page_data(benchmarks, shifts, warnings=problems(results), link=link)
    return write_text(page(data), path)


def page(data: dict[str, Any]) -> str:
    """The page as text; ``data`` is that of ``data.page_data``."""
    licence = f"/*\n{_part('vendor/LICENSE')}*/\n"
    own = "(() => {\n'use strict';\n" + "".join(map(_part, SCRIPTS)) + "})();\n"
    script = licence + _without_map(_part(LIBRARY)) + own
    style = licence + _without_map(_part(LIBRARY_STYLE)) + _part("page.css")
    policy = (
        f"default-src 'none'; script-src '{_digest(script)}'; style-src '{_digest(style)}'; "
        "base-uri 'none'; form-action 'none'"
    )
    return Template(_part("page.html")).substitute(
        policy=policy, style=style, script=script, data=embedded(data)
    )


def embedded(data: object) -> str:
    """JSON that may stand in a script element: nothing in it can end the element or be markup.

    ``json`` itself escapes all that is not ASCII, U+2028 and U+2029 included.

    Raises:
        ValueError: a number is not finite.
    """
    text = json.dumps(data, separators=(",", ":"), allow_nan=False)
    for character in "<>&":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return text


def _part(name: str) -> str:
    return (files(__package__) / name).read_text(encoding="utf-8")


def _without_map(text: str) -> str:
    """Without the line that names a file of the library's sources, which is not here."""
    return text.partition("//# sourceMappingURL=")[0].partition("/*# sourceMappingURL=")[0] + "\n"


def _digest(text: str) -> str:
    """The source expression of a content security policy that allows exactly this text."""
    return f"sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}"
