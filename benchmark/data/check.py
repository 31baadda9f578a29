"""What of the user's data is there and sound: what ``queryshift data check`` finds out."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from benchmark.data.card import BenchmarkCard, benchmark_card
from benchmark.data.datasets.base import ClipPairs, DataSet, ImageTextPairs
from benchmark.data.media import ImageFiles
from benchmark.data.own.load import read_own, understand
from benchmark.data.own.rows import TEST, text_of
from benchmark.data.own.source import OwnSource
from benchmark.data.own.tables import open_table
from benchmark.data.retrieval import Items, RetrievalSet, Texts
from benchmark.data.tasks import loader_of
from benchmark.errors import DataError, amount, shown

Track = Callable[[range, str], Iterable[int]]
"""Gives back the numbers of a range; shows progress under the description."""

_NAMED = 5
"""Broken files that are named one by one."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One split of a data set, as it lies in the user's folder.

    Attributes:
        dataset: its name.
        split: the split.
        benchmarks: ids of the benchmarks that run on it.
        expected: counts of the benchmarks' card.
        found: counts of what is there; empty where nothing can be loaded.
        problems: what is missing or wrong; empty where all is complete.
    """

    dataset: str
    split: str
    benchmarks: tuple[str, ...]
    expected: Mapping[str, int]
    found: Mapping[str, int]
    problems: Sequence[str]

    @property
    def complete(self) -> bool:
        """Whether the benchmarks can run as their cards say."""
        return not self.problems


@dataclass
class Report:
    """What was understood of a user's own data.

    Attributes:
        facts: what and how much of it, as pairs of texts.
        problems: what a run would refuse, or what is doubtful.
    """

    facts: dict[str, str] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)


def check_data(
    cards: Sequence[BenchmarkCard], root: Path, *, track: Track | None = None
) -> Finding:
    """Parses the annotations of a data set and looks for its files.

    Args:
        cards: the benchmarks of one split of one data set.
        root: the user's folder of data sets.
        track: decode every file too, and show progress in this way; None to decode none.
    """
    first, problems, found = cards[0], list[str](), dict[str, int]()
    loaded = _loaded(partial(loader_of(first), root, split=first.split), problems)
    if loaded is not None:
        found = dict(loaded.counts)
        problems += dict.fromkeys(
            f"{found.get(name, 0):,} {name}; the card says {count:,}"
            for card in cards
            for name, count in card.counts.items()
            if found.get(name, 0) != count
        )
        if track is not None:
            problems += broken_files(loaded, track)
    rows = tuple(dict.fromkeys(card.row or card.id for card in cards))
    return Finding(first.dataset, first.split, rows, first.counts, found, problems)


def check_own(source: OwnSource, track: Track) -> Report:
    """Reads everything of a user's own data, decodes every file, and runs nothing.

    Raises:
        DataError: a table that cannot be read at all.
    """
    found = understand(source)
    table = open_table(source.place, dict(source.columns))
    splits = Counter(text_of(row.get("split")) for row in table.rows())
    rows = f"{splits.total():,}"
    if "split" in table.columns:
        wanted = source.split or TEST
        rows += f", of which {splits[wanted]:,} are of split {wanted!r} and read"
    report = Report(
        {
            "kind": found.task.replace("_", "-"),
            "results": ", ".join(found.benchmarks),
            "columns": ", ".join(table.columns),
            "rows": rows,
        }
    )
    card = benchmark_card(found.benchmarks[0])
    data = _loaded(partial(read_own, card, source), report.problems)
    if data is not None:
        _describe(data, report)
        report.problems += broken_files(data, track)
    return report


def _loaded(load: Callable[..., Any], problems: list[str]) -> Any:
    """All of it; else what is there, with the reason among the problems."""
    for allow in (False, True):
        try:
            return load(allow_missing=allow)
        except DataError as error:
            if str(error) not in problems:
                problems.append(str(error))
    return None


def broken_files(loaded: DataSet | RetrievalSet, track: Track) -> list[str]:
    """Files that cannot be decoded, by kind: how many, and the first of them with the reason."""
    problems = []
    for kind in ("images", "videos", "audios", "queries", "gallery"):
        items: Items | None = getattr(loaded, kind, None)
        if items is None or isinstance(items, Texts):
            continue
        kind = f"{getattr(loaded, 'modality', 'image')}s" if kind == "images" else kind
        messages = []
        for index in track(range(len(items)), f"{loaded.name}: decoding {kind}"):
            try:
                items[index]
            except DataError as error:
                messages.append(str(error))
        if messages:
            more = "; ..." if len(messages) > _NAMED else ""
            named = "; ".join(messages[:_NAMED])
            problems.append(f"{len(messages)} of {len(items)} {kind} are broken: {named}{more}")
    return problems


def _describe(data: DataSet | RetrievalSet, report: Report) -> None:
    facts, problems = report.facts, report.problems
    items: Any
    if isinstance(data, RetrievalSet):
        facts["queries"] = _counted(data.queries, data.query_modality)
        facts["gallery"] = _counted(data.gallery, data.gallery_modality)
        if data.labelled:
            facts["gallery"] += f", of which {data.info['distractors']:,} answer nothing"
            facts["answers per query"] = _spread(np.diff(data.relevance.offsets))
            facts["grades"] = ", ".join(f"{grade:g}" for grade in data.info["grades"])
        sizes = [len(data.gallery)] if data.labelled else []
        what, items = "gallery items", data.gallery
    else:
        facts |= {name: f"{count:,}" for name, count in data.counts.items()}
        sizes = list(data.counts.values())
        what, items = f"{getattr(data, 'modality', 'image')}s", getattr(data, "images", None)
        if isinstance(data, ClipPairs):
            what, items = "sounds", data.audios
    if isinstance(data, ImageTextPairs):
        facts[f"captions per {data.modality}"] = _spread(np.bincount(data.caption_image))
        problems += _odd_captions(data)
        if data.identities is not None:
            facts["groups"] = f"{data.identities.max() + 1:,}"
    problems += _same_content(what, items)
    pictures = [items, getattr(data, "queries", None)]
    if turned := [k for one in pictures if isinstance(one, ImageFiles) for k in one.turned()]:
        problems.append(
            f"{amount(len(turned), 'picture')} to be shown turned (EXIF), such as {turned[0]!r}; "
            "here kept as stored: mogrify -auto-orient turns them"
        )
    if names := data.info.get("domains"):
        facts["domains"] = ", ".join(names)
    if sizes and min(sizes) < 10:
        problems.append(
            f"recall at 10 needs a gallery of at least 10 items; the smaller side has {min(sizes)}"
        )


def _counted(items: Any, modality: str) -> str:
    same = map(hash, items.values) if isinstance(items, Texts) else getattr(items, "digests", ())
    different = len(set(same))
    more = f", {different:,} different" if 0 < different < len(items) else ""
    return f"{len(items):,} ({modality}{more})"


def _odd_captions(data: ImageTextPairs) -> Iterator[str]:
    hashes = np.fromiter(map(hash, data.captions), dtype=np.int64, count=len(data.captions))
    rows = np.unique(np.stack([data.caption_image, hashes]), axis=1).shape[1]
    if rows < len(hashes):
        yield (
            f"{amount(len(hashes) - rows, 'caption')} given twice with the same {data.modality}; "
            "each counts as a caption of its own"
        )
    if several := [text for text in data.captions if "\n" in text]:
        yield (
            f"{amount(len(several), 'caption')} with several lines, such as {shown(several[0])}; "
            "each counts as one: several captions are rows, a list, or .0.txt, .1.txt in a shard"
        )


def _same_content(what: str, items: Any) -> Iterator[str]:
    digests = getattr(items, "digests", ())
    if more := len(digests) - len(set(digests)):
        first: dict[str, str] = {}
        pair = next(
            (first[digest], name)
            for name, digest in zip(items.ids, digests, strict=True)
            if first.setdefault(digest, name) != name
        )
        yield (
            f"{what} with the content of another: {more:,}, such as {pair[0]!r} and {pair[1]!r}; "
            "give them one id, or one group"
        )


def _spread(counts: np.ndarray) -> str:
    low, middle, high = counts.min(), np.median(counts), counts.max()
    return f"{low:,}" if low == high else f"{low:,} to {high:,}, median {middle:g}"
