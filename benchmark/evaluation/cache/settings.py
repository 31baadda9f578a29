"""Where the disk cache lies and how large it may grow: flag, then environment, then default."""

from __future__ import annotations

import logging
import os
import re
from pathlib import Path

from benchmark.config.files import user_path
from benchmark.errors import ConfigError
from benchmark.evaluation.cache.disk import DiskCache

logger = logging.getLogger(__name__)

FOLDER_VARIABLE = "QUERYSHIFT_CACHE"
BYTES_VARIABLE = "QUERYSHIFT_CACHE_BYTES"
OFF = "off"
DEFAULT_BYTES = 10 * 10**9
_UNITS = {"": 1, "k": 10**3, "M": 10**6, "G": 10**9, "T": 10**12}


def disk_cache(chosen: str = "") -> DiskCache | None:
    """The disk cache that the user wants, or None where there is to be none.

    Args:
        chosen: a folder or "off", as given by a flag; "" leaves it to ``QUERYSHIFT_CACHE``, and
            without that to ``queryshift`` in ``XDG_CACHE_HOME`` or ``~/.cache``.

    Raises:
        ConfigError: ``QUERYSHIFT_CACHE_BYTES`` is no size, or the folder is a file.
    """
    value = chosen or os.environ.get(FOLDER_VARIABLE, "")
    size = max_bytes()
    if value == OFF or not size:
        return None
    folder = user_path(value) if value else _default_folder()
    if folder is None:
        logger.warning(
            "no home folder is known here, so the disk cache is off; name a folder with --cache or "
            "%s, or say off",
            FOLDER_VARIABLE,
        )
        return None
    if folder.exists() and not folder.is_dir():
        origin = "--cache" if chosen else FOLDER_VARIABLE
        raise ConfigError(f"{origin}: {folder} is not a folder; name one, or say {OFF!r}")
    return DiskCache(folder.absolute(), size)


def max_bytes() -> int:
    """The bound in bytes: ``QUERYSHIFT_CACHE_BYTES``, or 10 GB; 0 means no cache.

    Raises:
        ConfigError: the variable holds no size.
    """
    text = os.environ.get(BYTES_VARIABLE, "").strip()
    if not text:
        return DEFAULT_BYTES
    match = re.fullmatch(r"(\d{1,15}(?:\.\d{1,6})?)\s*([kMGT]?)B?", text, re.ASCII)
    if match is None:
        raise ConfigError(
            f"{BYTES_VARIABLE} is {text!r}; expected a size in bytes, such as 500M or 20G, or 0"
        )
    return int(float(match[1]) * _UNITS[match[2]])


def shown_size(size: int) -> str:
    """A size for people.

    >>> shown_size(1_500_000)
    '1.5 MB'
    """
    amount, unit = float(size), "B"
    for larger in ("kB", "MB", "GB", "TB"):
        if amount < 1000:
            break
        amount, unit = amount / 1000, larger
    return f"{size} B" if unit == "B" else f"{amount:.1f} {unit}"


def _default_folder() -> Path | None:
    """None in a container or a service without a home folder."""
    base = os.environ.get("XDG_CACHE_HOME", "")
    try:
        return user_path(base or "~/.cache") / "queryshift"
    except ConfigError:
        return None
