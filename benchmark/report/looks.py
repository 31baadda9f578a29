"""A fixed colour and marker for each method, and how far the colours of differences reach.

Colours are those of Okabe and Ito (Color Universal Design, 2008), which people with the common
forms of colour blindness tell apart; markers and dashes say the same a second time. Methods from
plugins take the remaining colours (after Paul Tol's "muted" scheme, SRON technical note, 2021).
Figures and page share them; nothing here needs matplotlib.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal, NamedTuple

from benchmark.cell import SOURCE

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


LOOKS: dict[str, Look] = {
    SOURCE: Look("#6b6b6b", "", "--"),
    "recentre": Look("#009E73", "s"),
    "tent": Look("#E69F00", "^"),
    "eata": Look("#56B4E9", "v"),
    "sar": Look("#CC79A7", "D"),
    "read": Look("#000000", "P"),
    "tcr": Look("#0072B2", "X"),
    "rest": Look("#D55E00", "o"),
    "anchored": Look("#8C2D04", "p", "-."),
    "shot": Look("#B8860B", ">"),
    "deyo": Look("#1E7BAA", "<"),
    "come": Look("#8B5A2B", "d"),
    "rdumb": Look("#6A3D9A", "v", "-."),
    "roid": Look("#B15928", "p"),
    "cotta": Look("#006D5B", "h"),
    "memo": Look("#C71585", "*"),
    "rpl": Look("#4B0082", "P", "-."),
    "vte": Look("#A0522D", "D", ":"),
    "lame": Look("#708238", "s", ":"),
    "bn_adapt": Look("#36454F", "8", ":"),
    "tcr-untrained": Look("#0072B2", "x", ":"),
    "hat_vtr": Look("#CC79A7", "X", "-."),
    "inverted_softmax": Look("#3E8E41", "^", ":"),
    "qbnorm": Look("#7A9A01", "v", ":"),
    "sinkhorn": Look("#1F6F8B", "D", ":"),
    "nnn": Look("#6B8E6B", "o", ":"),
    "whiten": Look("#17A2A2", "P", ":"),
    "tda": Look("#2F4F4F", "X", ":"),
}
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
