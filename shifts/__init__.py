"""Corruption generators for queries, one file per family.

Importing this package imports neither numpy nor torch: ``BUILTINS`` maps a name to where its class
lives. Outside packages add shifts through the entry-point group ``queryshift.shifts``.
"""

from __future__ import annotations

BUILTINS: dict[str, dict[str, str]] = {
    "none": {
        "target": "shifts.none:NoShift",
        "modality": "any",
        "summary": "clean queries, for in-domain reference",
    },
}
"""name -> target ("module:Class"), modality ("image", "text", "any"), summary."""

ALIASES: dict[str, str] = {"gaussian": "gaussian_noise"}
"""Declared short names; anything else that is not a name is an error."""
