"""Video-audio retrieval: clips and a query side become a retrieval problem."""

from __future__ import annotations

import numpy as np

from benchmark.data.datasets.base import ClipPairs, content_fingerprint
from benchmark.data.retrieval import Relevance, RetrievalSet
from benchmark.errors import ConfigError


def build(pairs: ClipPairs, *, name: str, query: str) -> RetrievalSet:
    """Makes one side of the clips the queries and the other the gallery.

    Each query is answered by the other side of its own clip and by nothing else, also where clips
    share their classes, as CAV-MAE counts. Clusters are the clips.

    Args:
        pairs: what a data set's loader returned.
        name: benchmark id.
        query: "video" or "audio".

    Raises:
        ConfigError: unknown side.
    """
    if query not in ("video", "audio"):
        raise ConfigError(f"{name}: query side must be 'video' or 'audio', not {query!r}")
    sides = (pairs.videos, pairs.audios)
    queries, gallery = sides if query == "video" else sides[::-1]
    clips = np.arange(len(queries), dtype=np.int64)
    return RetrievalSet(
        name=name,
        query_modality=query,
        gallery_modality="audio" if query == "video" else "video",
        queries=queries,
        gallery=gallery,
        relevance=Relevance(np.arange(len(clips) + 1, dtype=np.int64), clips),
        groups=clips,
        fingerprint=content_fingerprint([pairs.fingerprint, query, *queries.ids]),
        info=dict(pairs.info),
        group_keys={"clip": clips, **pairs.clip_groups},
    )
