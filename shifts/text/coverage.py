"""How much of a caption set a text shift changes at all."""

from __future__ import annotations

from collections.abc import Sequence

from shifts.base import Shift, item_generator


def coverage(shift: Shift, captions: Sequence[str], severity: int, seed: int) -> float:
    """The share of captions that come out different.

    Rule-based shifts leave captions that no rule fits as they are; this number says how many. What
    a family does to every caption (see ``Shift.untouched``), capitals and the amount of white space
    do not count as a change. It needs no encoder; the ``coverage`` in the harness's records is
    judged by what reaches the encoder.

    Args:
        shift: a text shift, of this package or a plugin.
        captions: the clean captions; item ids are their positions.
        severity: one of the shift's severities.
        seed: the run's seed.

    Returns:
        A number in 0..1; 0.0 for no captions.

    Raises:
        ShiftError: unknown severity, or an item that is not text.
    """
    changed = 0
    for i, caption in enumerate(captions):
        rng = item_generator(seed, shift.card.name, severity, str(i))
        after = shift.apply(caption, severity, rng)
        changed += after.lower().split() != shift.untouched(caption).lower().split()
    return changed / len(captions) if captions else 0.0
