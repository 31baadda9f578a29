"""What need not be computed twice: in memory for the next cell, on disk for the next process.

``settings.disk_cache`` says where the disk cache is; docs/caching.md explains all of it.
"""

from __future__ import annotations

from benchmark.cache.disk import DiskCache, Stored
from benchmark.cache.memory import InputCache, Recent
from benchmark.cache.settings import disk_cache
from benchmark.cache.shelf import Address, Shelf, Tables

__all__ = [
    "Address",
    "DiskCache",
    "InputCache",
    "Recent",
    "Shelf",
    "Stored",
    "Tables",
    "disk_cache",
]
