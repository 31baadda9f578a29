"""Caches of what need not be computed twice: in memory for the next cell, on disk for the next run.

``settings.disk_cache`` says where the disk cache is; docs/caching.md explains all of it.
"""

from __future__ import annotations

from benchmark.evaluation.cache.disk import DiskCache, Stored
from benchmark.evaluation.cache.entry import CacheKey, Entry
from benchmark.evaluation.cache.settings import disk_cache
from benchmark.evaluation.cache.tensors import EmbeddingCache, LRUCache, StreamCache

__all__ = [
    "CacheKey",
    "DiskCache",
    "EmbeddingCache",
    "Entry",
    "LRUCache",
    "Stored",
    "StreamCache",
    "disk_cache",
]
