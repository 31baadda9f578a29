"""Distinct contents by number, in compact form."""

from __future__ import annotations

from array import array


class Numbered:
    """Distinct contents, numbered from 0 in the order in which they come.

    Each takes its own bytes and about 25 more; an entry of a dict takes 200.
    """

    def __init__(self) -> None:
        self._contents, self._ends = bytearray(), array("q", [0])
        self._slots = array("q", bytes(8 * 1024))  # of a hash table: number + 1, 0 where free

    def __len__(self) -> int:
        return len(self._ends) - 1

    def content(self, number: int) -> bytes:
        """The content of that number."""
        return bytes(self._contents[self._ends[number] : self._ends[number + 1]])

    def find(self, content: bytes) -> int:
        """The number of a content, -1 where it has not come."""
        return self._slots[self._slot(content)] - 1

    def add(self, content: bytes) -> int:
        """The number of a content, which is the next one where it has not come before."""
        slot = self._slot(content)
        if not self._slots[slot]:
            self._contents += content
            self._ends.append(len(self._contents))
            self._slots[slot] = len(self)
            if 3 * len(self) > 2 * len(self._slots):
                self._grow()
            return len(self) - 1
        return self._slots[slot] - 1

    def _slot(self, content: bytes) -> int:
        """Where the content stands in the table, or would."""
        last = len(self._slots) - 1
        slot = hash(content) & last
        while (after := self._slots[slot]) and self.content(after - 1) != content:
            slot = (slot + 1) & last
        return slot

    def _grow(self) -> None:
        self._slots = array("q", bytes(16 * len(self._slots)))
        for number in range(len(self)):
            self._slots[self._slot(self.content(number))] = number + 1
