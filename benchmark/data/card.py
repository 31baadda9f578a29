"""Benchmark cards: one benchmark each, as data. Importing them imports no torch and no numpy."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Any

from benchmark.cell import BackboneSpec

SEPARATOR = "+"
"""Between the benchmark ids in the name of several, whose queries share a stream."""

SPLIT = "@"
"""Between a benchmark's id and another split of its data set than the card's."""

BOTH = "both"
"""Query side of an entry that makes two benchmarks, one per direction."""

TASKS: dict[str, dict[str, tuple[str, str]]] = {
    "image_text": {"image": ("text", "i2t"), "text": ("image", "t2i")},
    "audio_text": {"audio": ("text", "a2t"), "text": ("audio", "t2a")},
    "video_audio": {"video": ("audio", "v2a"), "audio": ("video", "a2v")},
    "composed": {"composed": ("image", "c2i")},
}
"""Task -> query modality -> gallery modality and the direction's short name."""


@dataclass(frozen=True, slots=True)
class BenchmarkCard:
    """One benchmark, as data. Every attribute without a default must be in the suite's file.

    Attributes:
        id: benchmark id, unique over all suites; embedded ones start with "mini-".
        suite: name of the suite.
        task: kind of retrieval: "image_text", "audio_text", "video_audio" or "composed".
        dataset: name of a built-in data set, or "module:function" of a loader.
        query: modality of the queries (see ``TASKS``). In a suite's file "both" makes two cards,
            one per direction.
        split: the data set's split.
        counts: what the split has, by name ("images" and "captions", "clips", or "queries" and
            "images"); other counts are an error.
        setting: "QS" = queries corrupted, model tuned on the data set; "QGS" = nothing corrupted,
            model not tuned on it.
        shifts: shifts that it is run with by default.
        severity: default severity.
        summary: one line.
        paper: where the benchmark comes from.
        named_by: whose public material names it.
        licence: of the data.
        citation: of the data.
        home: the domain that the source model comes from, where forgetting is measured: the name of
            a data set, for the card's own backbone; or weights ("loader:model", a pattern of
            ``fnmatch``) -> data set. Empty where the weights have no home among the data sets.
        headline: the metrics that the benchmark is known by, shown in every table beside R@1; see
            ``RetrievalSet.metrics`` for what a data set can give.
        preset: option preset of the methods ("published", "mini").
        backbone: the default backbone.
        train: the split of the data set whose queries fill a bank of training queries; empty where
            there is none.
        shift_options: given to every shift that has such an option.
        cleaning: caption cleaning, "blip" or "none".
        max_words: words that BLIP's cleaning keeps.
        note: a caution that a reader of its numbers needs.
        row: the benchmark's name in a table with one row per benchmark: its own id, or that of
            the entry that both directions come from.
    """

    id: str
    suite: str
    task: str
    dataset: str
    query: str
    split: str
    counts: Mapping[str, int]
    setting: str
    shifts: tuple[str, ...]
    severity: int
    summary: str
    paper: str
    named_by: str
    licence: str
    preset: str
    backbone: BackboneSpec
    shift_options: Mapping[str, Any] = field(default_factory=dict)
    cleaning: str = "blip"
    max_words: int = 30
    note: str = ""
    citation: str = ""
    home: Mapping[str, str] | str = field(default_factory=dict)
    train: str = ""
    headline: tuple[str, ...] = ("R@1",)
    row: str = ""

    @property
    def gallery(self) -> str:
        return TASKS[self.task][self.query][0]

    def home_of(self, spec: BackboneSpec) -> str:
        """The data set that weights come from, or "" where the card does not know one.

        A text stands for the card's own backbone, wherever its weights lie. The others are known
        by their name alone: weights given as a file may be any.
        """
        if isinstance(self.home, str):
            own = (spec.loader, spec.model) == (self.backbone.loader, self.backbone.model)
            return self.home if own else ""
        name = f"{spec.loader}:{spec.model}"
        hits = [data for weights, data in self.home.items() if fnmatchcase(name, weights)]
        return hits[0] if hits and not spec.pretrained else ""


@dataclass(frozen=True, slots=True)
class Suite:
    """Some benchmarks that are run and reported together."""

    name: str
    title: str
    summary: str
    benchmarks: tuple[BenchmarkCard, ...]
