"""A fixed colour and marker for each method, and how far the colours of differences reach.

Colours are those of Okabe and Ito (Color Universal Design, 2008), which people with the common
forms of colour blindness tell apart; markers and dashes say the same a second time. Methods from
plugins take the remaining colours (after Paul Tol's "muted" scheme, SRON technical note, 2021).
Figures and page share them; nothing here needs matplotlib.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterable
from pathlib import Path
from typing import Literal, NamedTuple

_LEAST_EXTENT = 5.0


def extent(differences: Iterable[float]) -> float:
    """How far the colours of differences (points) reach on either side of zero.

    At least 5 points, so that noise alone does not glow.
    """
    return max([*map(abs, differences), _LEAST_EXTENT])


class Look(NamedTuple):
    """How a method is drawn."""

    colour: str
    marker: str
    dashes: Literal["-", "--", "-.", ":"] = "-"


_TABLE = tomllib.loads(Path(__file__).with_name("looks.toml").read_text(encoding="utf-8"))
LOOKS: dict[str, Look] = {name: Look(*look) for name, look in _TABLE.items()}
"""The built-in methods; fixed, so that figures of different runs can be laid side by side."""

_SPARE_COLOURS = ("#882255", "#999933", "#332288", "#44AA99", "#AA4499", "#117733", "#661100")
_SPARE_MARKERS = ("*", "h", "<", ">", "p", "d", "8")
_SPARE_DASHES: tuple[Literal["-", "-.", ":"], ...] = ("-.", ":", "-")


def looks(names: Iterable[str]) -> dict[str, Look]:
    """A look for each name: the fixed one for built-ins, the next spare one for the others.

    Names with a note in brackets ("rest [lr=0.01]") are variants and count as others, except the
    first variant of a built-in, which keeps its colours. A centred twin is its built-in, dotted.
    """
    chosen: dict[str, Look] = {}
    taken: set[str] = set()
    others = []
    for name in sorted(set(names)):
        base = name.split("[")[0].rstrip()
        if name == f"{base}[centred]" and base in LOOKS:
            chosen[name] = LOOKS[base]._replace(dashes=":")
        elif base in LOOKS and base not in taken:
            chosen[name] = LOOKS[base]
            taken.add(base)
        else:
            others.append(name)
    for index, name in enumerate(others):
        turn, place = divmod(index, len(_SPARE_COLOURS))
        marker = _SPARE_MARKERS[(place + turn) % len(_SPARE_MARKERS)]
        dashes = _SPARE_DASHES[turn % len(_SPARE_DASHES)]
        chosen[name] = Look(_SPARE_COLOURS[place], marker, dashes)
    return chosen
