"""Data that a caller gives as objects: DataFrames, arrays, retrieval sets."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Set
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
from PIL import Image
from torch import Tensor

from benchmark.data.card import TASKS
from benchmark.data.media import to_rgb
from benchmark.data.own.load import FORMS, Understood, from_frame
from benchmark.data.own.source import PREFIX, own_card, plain_name
from benchmark.data.retrieval import RetrievalSet
from benchmark.data.tasks import build
from benchmark.errors import ConfigError, DataError


@dataclass(frozen=True)
class Given:
    """Data in memory.

    Attributes:
        sets: benchmark id -> the retrieval problem.
        found: what the planner has to know of them.
    """

    sets: Mapping[str, RetrievalSet]
    found: Understood


def understood(
    data: Any, *, name: str, columns: Mapping[str, str] | None, root: str, split: str
) -> Given:
    """Data that are no name and no path.

    Args:
        data: a DataFrame, a mapping of columns, (images, captions), or a ``RetrievalSet``.
        name: as the results are called.
        columns: our name of a column -> the user's.
        root: the folder that paths start from.
        split: the rows to take, see ``OwnSource``.

    Raises:
        QueryShiftError: none of these, or what is wrong in them.
    """
    if isinstance(data, RetrievalSet):
        return _of_set(data)
    name = plain_name(name)
    loaded = from_frame(_frame(data), name=name, columns=columns, root=root or None, split=split)
    loaded = dataclasses.replace(loaded, info={**loaded.info, **loaded.counts})
    task = _task_of(loaded)
    sets = {}
    for _, short in TASKS[task].values():
        card = own_card(f"{PREFIX}{name}-{short}")
        assert card is not None
        sets[card.id] = build(card, loaded)
    return Given(sets, Understood(task, tuple(sets), "domains" in loaded.info))


def _of_set(data: RetrievalSet) -> Given:
    for task, sides in TASKS.items():
        gallery, short = sides.get(data.query_modality, ("", ""))
        if gallery == data.gallery_modality:
            stem = data.name.removeprefix(PREFIX).removesuffix(f"-{short}")
            name = f"{PREFIX}{stem}-{short}"
            found = Understood(task, (name,), "domain" in data.group_keys)
            return Given({name: dataclasses.replace(data, name=name)}, found)
    raise DataError(
        f"{data.name} has {data.query_modality} queries and {data.gallery_modality} items; there "
        f"is no such task, only {', '.join(TASKS)}"
    )


def _frame(data: Any) -> pd.DataFrame:
    if isinstance(data, pd.DataFrame):
        if not data.columns.is_unique:  # named where tables are checked
            return data
        data = data.copy(deep=False)
        for column in data:
            if data[column].dtype == object:
                data[column] = list(map(_stored, data[column]))
        return data
    if isinstance(data, tuple) and len(data) == 2:
        data = dict(zip(FORMS["image_text"], data, strict=True))
    if not isinstance(data, Mapping):
        raise ConfigError(
            f"data of type {type(data).__name__} cannot be used; expected a benchmark's name, a "
            "path, a DataFrame, a mapping of columns, (images, captions), or a RetrievalSet"
        )
    for column, values in data.items():
        if isinstance(values, str | bytes | Mapping | Set) or not hasattr(values, "__len__"):
            raise DataError(
                f"column {column!r} is a {type(values).__name__}; expected a list or an array"
            )
    lengths = {str(column): len(values) for column, values in data.items()}
    if len(set(lengths.values())) > 1:
        said = ", ".join(f"{count} of {column}" for column, count in lengths.items())
        raise DataError(f"the columns must be of one length, one pair a row; there are {said}")
    index = range(next(iter(lengths.values()), 0))
    # Object columns: pandas would take an array of pictures apart.
    return pd.DataFrame(
        {
            name: pd.Series(list(map(_stored, values)), index=index, dtype=object)
            for name, values in data.items()
        }
    )


def _stored(value: Any) -> Any:
    """A picture of Pillow or a tensor as the array that it stands for; anything else as it is."""
    if isinstance(value, Image.Image):
        return to_rgb(value, f"of mode {value.mode}")
    return value.detach().cpu().numpy() if isinstance(value, Tensor) else value


def _task_of(loaded: Any) -> str:
    """The task of a data set that was read from pairs."""
    modality = getattr(loaded, "modality", "")
    if modality:
        return f"{modality}_text"
    return "video_audio" if hasattr(loaded, "videos") else "composed"


def is_path(text: str) -> bool:
    """Whether a text names something on disk rather than a benchmark."""
    return Path(text).exists() or "/" in text
