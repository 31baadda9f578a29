"""What is printed, on any terminal: text that cannot command it, tables that fit its width."""

from __future__ import annotations

import copy
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from rich import box
from rich.console import Console, ConsoleOptions, RenderableType, RenderResult
from rich.measure import Measurement
from rich.segment import Segment
from rich.table import Column, Table
from rich.text import Text

_COMMANDING = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f"  # C0 and C1 controls, ESC among them; not tab and line feed
    "\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069"  # order of writing (bidi)
    "\u2028\u2029\ud800-\udfff]"  # line separators; surrogates: bytes of a name that is no text
)

NAME_FLOOR = 12
"""Characters that a column of text keeps beside several columns of numbers."""

NARROWEST_FLOOR = 6
"""Characters that a column of text keeps beside a single column of numbers."""

UNFOLDED = 100_000
"""As a floor: columns of text do not fold."""

HEADING_FLOOR = 16
"""Characters that the heading of a column of numbers keeps; the numbers keep all of theirs."""


def harmless(text: str) -> str:
    """The text with "?" for every character that a terminal would obey instead of show.

    >>> harmless("a\\x1b[2Jb\\u202ec")
    'a?[2Jb?c'
    """
    return _COMMANDING.sub("?", text)


class SafeConsole(Console):
    """A console on which names and messages from data, plugins or foreign files cannot do harm.

    Only what rich itself emits (colours, cursor movements of progress bars) reaches the terminal
    as control; in text, control characters become "?".
    """

    def render(
        self, renderable: RenderableType, options: ConsoleOptions | None = None
    ) -> Iterable[Segment]:
        """As rich, with harmless text."""
        for segment in super().render(renderable, options):
            if segment.control is None and _COMMANDING.search(segment.text):
                yield Segment(harmless(segment.text), segment.style)
            else:
                yield segment


class FittedTable(Table):
    """A table that never cuts a number, however narrow the terminal.

    Columns that are right-justified hold numbers and keep their width. Other columns hold text and
    fold. The text columns before the first number name the row: where the table is too wide, it is
    split into tables below each other that repeat them; where not even one number fits beside
    them, each row becomes a block of lines.
    """

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """The table, its parts or its blocks, as the width allows."""
        widths = _Widths(self, console, options)
        numbers = [index for index, column in enumerate(self.columns) if _is_number(column)]
        names = numbers[0] if numbers else min(1, len(self.columns))
        every = range(len(self.columns))
        if widths.of({index: widths.natural[index] for index in every}) <= options.max_width:
            yield from super().__rich_console__(console, options)
            return
        parts = widths.fewest(every[names:], every[:names])
        if parts is None:
            yield from _blocks(self, names)
        for position, part in enumerate(parts or ()):
            table = _part(self, part)
            if position:
                yield Text()
                table.title = None
            yield from Table.__rich_console__(table, console, options)


def data_table(**keywords: Any) -> FittedTable:
    """A table in the form of all results: a line below the head, nothing else."""
    look = {"box": box.SIMPLE_HEAD, "pad_edge": False, "collapse_padding": True, "show_edge": False}
    return FittedTable(**{**look, **keywords})


class _Widths:
    """How wide columns are and may become.

    Args:
        console: where it is to be printed.
        options: how wide that is, in characters.
    """

    def __init__(self, table: Table, console: Console, options: ConsoleOptions) -> None:
        self._table, self._console = table, console
        self._wide = options.update(max_width=100_000)
        self._room = options.max_width
        cells = [self._widest(column.cells) for column in table.columns]
        heads = [self._widest([c.header] if table.show_header else []) for c in table.columns]
        self.natural = [
            max(cell, head)
            if _is_number(column) or column.max_width is None
            else min(column.max_width, max(cell, head))
            for column, cell, head in zip(table.columns, cells, heads, strict=True)
        ]
        self._least_of_numbers = {
            index: max(cells[index], min(heads[index], HEADING_FLOOR))
            for index, column in enumerate(table.columns)
            if _is_number(column)
        }

    def _widest(self, items: Iterable[RenderableType]) -> int:
        found = (Measurement.get(self._console, self._wide, item).maximum for item in items)
        return max(found, default=1)

    def of(self, widths: Mapping[int, int]) -> int:
        """Characters that columns of these widths take as a table."""
        return Measurement.get(self._console, self._wide, _part(self._table, widths)).maximum

    def fitting(self, columns: Sequence[int], floor: int) -> dict[int, int] | None:
        """Widths with which these columns fit, text folded down to ``floor``; None: they do not."""
        found = {index: self.natural[index] for index in columns}
        for _ in range(self.of(found) - self._room):
            foldable = [
                (width, index)
                for index, width in found.items()
                if width > self._least_of_numbers.get(index, floor)
            ]
            if not foldable:
                return None
            found[max(foldable)[1]] -= 1
        return found

    def fewest(self, columns: Sequence[int], names: Sequence[int]) -> list[dict[int, int]] | None:
        """The columns in few tables, names unfolded where that costs at most one table more.

        Returns:
            The width of each column for each table; None where a column does not fit.
        """
        folded = self._parts(columns, names, NAME_FLOOR)
        unfolded = self._parts(columns, names, UNFOLDED) if folded and names else None
        few = unfolded is not None and folded is not None and len(unfolded) <= len(folded) + 1
        return unfolded if few else folded

    def _parts(
        self, columns: Sequence[int], names: Sequence[int], floor: int
    ) -> list[dict[int, int]] | None:
        """The columns in as few tables as they fit into, in order."""
        parts: list[dict[int, int]] = []
        taken: list[int] = []
        for index in columns:
            found = self.fitting([*names, *taken, index], floor) if taken else None
            if found is not None:
                parts[-1] = found
                taken.append(index)
                continue
            # Beside a single column of numbers the names fold as far as they can.
            found = self.fitting([*names, index], floor)
            found = found or self.fitting([*names, index], min(floor, NARROWEST_FLOOR))
            if found is None:
                return None
            parts.append(found)
            taken = [index]
        return parts


def _is_number(column: Column) -> bool:
    return column.justify == "right"


def _part(table: Table, widths: Mapping[int, int]) -> Table:
    """Some columns of a table, in these widths, as a table of its own."""
    part = copy.copy(table)
    part.columns = [
        replace(table.columns[index], width=width, overflow="fold", no_wrap=False, _index=place)
        for place, (index, width) in enumerate(widths.items())
    ]
    return part


def _blocks(table: Table, names: int) -> Iterator[RenderableType]:
    """Each row as its names and one line for each further column that is not blank."""
    if table.title:
        yield table.title if isinstance(table.title, Text) else Text(str(table.title))
    # On one line; a word divided by hyphen and line break is whole again.
    headings = [
        str(column.header).replace("-\n", "").replace("\n", " ") for column in table.columns
    ]
    before = [Text()] * names
    for cells in zip(*(column.cells for column in table.columns), strict=True):
        values = [cell if isinstance(cell, Text) else Text(str(cell)) for cell in cells]
        # A name that is left out because it is that of the row above is said here.
        before = [new if new.plain else old for new, old in zip(values, before, strict=False)]
        name = Text(", ").join(before)
        name.stylize("bold")
        yield Text.assemble(name, overflow="fold")
        for heading, value in zip(headings[names:], values[names:], strict=True):
            if value.plain:
                yield Text.assemble("  ", (heading, "dim"), " " if heading else "", value)


def plain(name: object) -> str:
    """A name on one line, without control characters that could move a terminal's cursor."""
    return "".join(c if c.isprintable() else "?" for c in str(name))
