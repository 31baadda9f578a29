"""What a user's folder of data sets must look like: one entry of ``layout.json`` per data set.

``queryshift data check`` shows these, and docs/catalogue.md is made from them.
Importing this module imports nothing else of the package.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Layout:
    """How to lay a data set out below the folder given as DATA.

    Attributes:
        title: the data set and its split.
        files: (path, what it is) of each file or folder.
        access: where to get the files, and under which conditions.
        note: what else a reader must know, or "".
    """

    title: str
    files: tuple[tuple[str, str], ...]
    access: str
    note: str = ""

    @property
    def tree(self) -> str:
        """The files, one a line, with what each is in a second column."""
        width = max(len(path) for path, _ in self.files)
        return "\n".join(f"{path:<{width}}  {what}".rstrip() for path, what in self.files)


def _read() -> dict[str, Layout]:
    entries = json.loads(Path(__file__).with_suffix(".json").read_text(encoding="utf-8"))
    return {
        name: Layout(**{**entry, "files": tuple(entry["files"].items())})
        for name, entry in entries.items()
    }


LAYOUTS = _read()
"""Data set name -> layout. Variants ("nocaps-in") share the entry of their stem."""


def layout_of(dataset: str) -> Layout | None:
    """The layout of a data set or of a variant of one; None where none is known.

    >>> layout_of("nocaps-in") is layout_of("nocaps")
    True
    """
    stems = [name for name in LAYOUTS if f"{dataset}-".startswith(f"{name}-")]
    return LAYOUTS[max(stems, key=len)] if stems else None
