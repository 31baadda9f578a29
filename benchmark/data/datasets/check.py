"""What of a data set is in the user's folder: what ``queryshift data check`` finds out."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmark.data.datasets.base import DataSet
from benchmark.data.loading import loader_of
from benchmark.data.retrieval import Items, RetrievalSet, Texts
from benchmark.data.suite import BenchmarkCard
from benchmark.errors import DataError

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
    problems: tuple[str, ...]

    @property
    def complete(self) -> bool:
        """Whether the benchmarks can run as their cards say."""
        return not self.problems


def check_data(
    cards: Sequence[BenchmarkCard], root: Path, *, track: Track | None = None
) -> Finding:
    """Parses the annotations of a data set and looks for its files.

    Args:
        cards: the benchmarks of one split of one data set.
        root: the user's folder of data sets.
        track: decode every file too, and show progress in this way; None to decode none.
    """
    problems: list[str] = []
    loaded = _loaded(cards[0], root, problems)
    found = dict(loaded.counts) if loaded is not None else {}
    if loaded is not None:
        for counts in dict.fromkeys(tuple(sorted(card.counts.items())) for card in cards):
            problems += _differences(found, dict(counts))
        if track is not None:
            problems += broken_files(loaded, track)
    return Finding(
        cards[0].dataset,
        cards[0].split,
        tuple(dict.fromkeys(card.row or card.id for card in cards)),
        cards[0].counts,
        found,
        tuple(problems),
    )


def _loaded(card: BenchmarkCard, root: Path, problems: list[str]) -> DataSet | None:
    """The whole data set, else what is there of it with the reason among the problems."""
    loader = loader_of(card)
    try:
        return loader(root, split=card.split, allow_missing=False)
    except DataError as error:
        problems.append(str(error))
    try:
        return loader(root, split=card.split, allow_missing=True)
    except DataError:
        return None


def _differences(found: Mapping[str, int], expected: Mapping[str, int]) -> list[str]:
    return [
        f"{found.get(name, 0):,} {name}; the card says {count:,}"
        for name, count in expected.items()
        if found.get(name, 0) != count
    ]


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
