"""What need not be computed twice: in memory for the next cell, on disk for the next process.

``settings.disk_cache`` says where the disk cache is; docs/caching.md explains all of it.
"""

from __future__ import annotations

from benchmark.evaluation.cache.disk import DiskCache, Stored
from benchmark.evaluation.cache.memory import InputCache, Recent
from benchmark.evaluation.cache.settings import disk_cache
from benchmark.evaluation.cache.shelf import Address, Shelf, Tables

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
