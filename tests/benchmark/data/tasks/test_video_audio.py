from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from benchmark.data.datasets.audio_visual import load_audioset
from benchmark.data.tasks import build_clips
from shifts.base import Audio
from tests.benchmark.fixtures_clips import clip_id, make_clips


@pytest.mark.parametrize(("query", "gallery"), [("video", "audio"), ("audio", "video")])
def test_one_clip_answers_itself_alone(tmp_path: Path, query: str, gallery: str) -> None:
    make_clips(tmp_path)
    data = build_clips(load_audioset(tmp_path), name="as", query=query)
    assert (data.query_modality, data.gallery_modality) == (query, gallery)
    assert [data.relevance[q].tolist() for q in range(4)] == [[0], [1], [2], [3]]
    assert data.groups.tolist() == [0, 1, 2, 3]
    assert data.group_keys["clip"].tolist() == [0, 1, 2, 3]
    assert data.group_keys["label"].tolist() == [0, 1, 1, 2]
    video, audio = (
        (data.queries, data.gallery) if query == "video" else (data.gallery, data.queries)
    )
    assert isinstance(video[1], np.ndarray)
    assert isinstance(audio[1], Audio)
    assert list(data.queries.ids) == list(data.gallery.ids) == [clip_id(i) for i in range(4)]
    assert data.recall_at == (1, 5, 10)
    assert data.info["missing_clips"] == 0
    assert data.clean_text is None


def test_directions_are_each_others_transpose_with_their_own_fingerprints(tmp_path: Path) -> None:
    make_clips(tmp_path)
    pairs = load_audioset(tmp_path)
    one, other = (build_clips(pairs, name="as", query=query) for query in ("video", "audio"))
    turned = one.relevance.transpose(len(one.gallery))
    assert np.array_equal(turned.indices, other.relevance.indices)
    assert np.array_equal(turned.offsets, other.relevance.offsets)
    assert one.fingerprint != other.fingerprint
