"""Every data set that is read from disk: its loader, and what writes a small copy."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from benchmark.data.datasets.audio_visual import load_audioset, load_vggsound
from benchmark.data.datasets.base import DataSet
from benchmark.data.datasets.composed import load_cirr, load_fashion_iq
from tests.benchmark.fixtures_clips import make_clips
from tests.benchmark.fixtures_composed import make_cirr, make_fashion_iq
from tests.benchmark.fixtures_pairs import LOADERS

SETS: dict[str, tuple[Callable[..., DataSet], Callable[[Path], Path]]] = {
    **LOADERS,
    "fashioniq": (load_fashion_iq, make_fashion_iq),
    "cirr": (load_cirr, make_cirr),
    "audioset": (load_audioset, make_clips),
    "vggsound": (load_vggsound, lambda root: make_clips(root, "vggsound")),
}
