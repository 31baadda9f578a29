"""What text shifts add to a shift: how a caption looks that their operator did not touch."""

from __future__ import annotations

from shifts.base import Shift


class TextShift(Shift):
    """A shift of captions."""

    def untouched(self, item: str) -> str:
        """The caption as this shift returns it when its operator edits nothing.

        Some families rewrite every caption on the way: nlpaug re-spaces it, EDA drops capitals,
        digits and punctuation. That does not count as a change (see ``Shift.untouched``).
        """
        return item
