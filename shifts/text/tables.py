"""Character tables: insertable symbols, OCR confusions, neighbouring keys (facts about nlpaug)."""

from __future__ import annotations

from collections.abc import Mapping
from string import ascii_lowercase, ascii_uppercase, digits

SYMBOLS: str = ascii_uppercase + ascii_lowercase + digits + "!@#$%^&*()_+"
"""The 74 symbols that insert and replace draw from."""

_OCR_GIVEN = {
    "0": "89oOD",
    "1": "47lI",
    "2": "zZ",
    "5": "8",
    "6": "b",
    "8": "sS@&",
    "9": "g",
    "o": "u",
    "r": "k",
    "C": "G",
    "O": "DU",
    "E": "B",
}

# Letters only; capitals follow from them. "a" lists itself, so that "a" may become "A"; "u" has
# " t" with a stray space where "y" is meant: both are quirks of the published table.
_KEY_LETTERS = {
    "q": "w a s",
    "w": "q e a s d",
    "e": "w r s d f",
    "r": "e t d f g",
    "t": "r y f g h",
    "y": "t u g h j",
    "u": "i h j k",
    "i": "u o j k l",
    "o": "i p k l",
    "p": "o l",
    "a": "q w a s z x",
    "s": "q w e a d z x c",
    "d": "w e r s f x c v",
    "f": "e r t d g c v b",
    "g": "r t y f h v b n",
    "h": "t y u g j b n m",
    "j": "y u i h k n m",
    "k": "u i o j l m",
    "l": "i o p k",
    "z": "a s x",
    "x": "a s d z c",
    "c": "s d f x v",
    "v": "d f g c b",
    "b": "f g h v n",
    "n": "g h j b m",
    "m": "h j k n",
}
_KEY_SYMBOLS = {
    "q": "1!2@",
    "w": "1!2@3#",
    "e": "2@3#4$",
    "r": "3#4$5%",
    "t": "4$5%6^",
    "y": "5%6^7&",
    "u": "6^7&8*",
    "i": "7&8*9(",
    "o": "8*9(0)",
    "p": "9(0)",
    "j": ",<",
    "k": ",<.>",
    "l": ";:,<.>/?",
    "m": ",<",
}
_KEY_DIGITS = {
    "1": "!2@qw",
    "2": "@1!3#qwe",
    "3": "#2@4$we",
    "4": "$3#5%er",
    "5": "%4$6^rty",
    "6": "^5%7&tyu",
    "7": "&6^8*yui",
    "8": "*7&9(uio",
    "9": "(8*0)iop",
}


def ocr_table(*, with_q: bool) -> Mapping[str, tuple[str, ...]]:
    """Character -> its OCR confusions, both directions of each given pair.

    Args:
        with_q: whether 9 is also confused with q (nlpaug 1.1.11 and later).
    """
    table = {key: list(values) for key, values in _OCR_GIVEN.items()}
    if with_q:
        table["9"].append("q")
    for key, values in [(key, tuple(values)) for key, values in table.items()]:
        for value in values:
            reverse = table.setdefault(value, [])
            if key not in reverse:
                reverse.append(key)
    return {key: tuple(values) for key, values in table.items()}


def keyboard_table() -> Mapping[str, tuple[str, ...]]:
    """Letter (either case) or digit 1..9 -> keys next to it, both cases, never itself."""
    table: dict[str, tuple[str, ...]] = {}
    for key in (*_KEY_LETTERS, *_KEY_DIGITS):
        near = [*_KEY_LETTERS.get(key, "").split(), *_KEY_SYMBOLS.get(key, "")]
        near += list(_KEY_DIGITS.get(key, ""))
        if key == "u":
            near.append(" t")
        both = {case for value in near for case in (value, value.upper())}
        for case in {key, key.upper()}:
            table[case] = tuple(sorted(both - {case}))
    return table
