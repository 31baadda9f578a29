"""What a caller gives as objects: names for methods, shifts and models; data in memory."""

from __future__ import annotations

import dataclasses
import inspect
import re
from collections.abc import Callable, Mapping, Sequence, Set
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import partial
from typing import Any, ClassVar, get_type_hints

import pandas as pd
from PIL import Image
from torch import Tensor

from benchmark.backbones.base import DualEncoder
from benchmark.data.card import PREFIX, TASKS, own_card
from benchmark.data.media import to_rgb
from benchmark.data.own.load import FORMS, Understood, from_frame
from benchmark.data.own.source import plain_name
from benchmark.data.retrieval import RetrievalSet
from benchmark.data.tasks import build
from benchmark.errors import ConfigError, DataError, PluginError
from benchmark.registry import BACKBONES, METHODS, SHIFTS, Registry
from methods.base import Method, MethodCard, MethodError, NoOptions, Setup
from queryshift.models import dual_encoder, one_line
from shifts.base import Shift, ShiftCard

BACKBONE = "given"
"""What the planner calls a model that is an object."""


class Lender:
    """Gives objects names in the registries while a run lasts.

    Args:
        stack: takes the names back when it is left.

    Attributes:
        own: whether anything was lent: what its code computes, no key of a stored cell tells.
    """

    def __init__(self, stack: ExitStack) -> None:
        self.own = False
        self._stack = stack
        self._taken: dict[int, str] = {}

    def methods(self, given: Any) -> tuple[str, ...]:
        """Names of methods: of names, classes, instances and callables ``(Setup) -> Method``.

        Also of a list of these.

        Raises:
            QueryShiftError: something that is none of these, or a name that is taken.
        """
        return self._names(given, self._method)

    def shifts(self, given: Any) -> tuple[str, ...]:
        """Names of shifts: of names and subclasses of ``shifts.base.Shift``, or a list.

        Raises:
            QueryShiftError: as ``methods``.
        """
        return self._names(given, self._shift)

    def model(self, given: Any, device: str) -> tuple[str, str]:
        """Name and device of a model: a name, a ``DualEncoder``, or towers (``dual_encoder``).

        Raises:
            QueryShiftError: none of these, or towers that do not fit each other.
        """
        if given is None or isinstance(given, str):
            return given or "", device
        encoder = given
        if isinstance(given, tuple | list) and len(given) == 2:
            encoder = dual_encoder(image=given[0], text=given[1], device=device)
        elif isinstance(given, dict):
            encoder = dual_encoder(**{"device": device, **{str(k): v for k, v in given.items()}})
        if not isinstance(encoder, DualEncoder):
            raise ConfigError(
                f"model={one_line(given)} cannot be used; expected a name, a DualEncoder, or "
                "(image tower, preprocess), (text tower, tokenise)"
            )
        self._lend(BACKBONES, BACKBONE, lambda spec: encoder)
        return f"{BACKBONE}:{encoder.name}", str(encoder.device)

    def _names(self, given: Any, name: Callable[[Any], str]) -> tuple[str, ...]:
        alone = isinstance(given, str | bytes) or not isinstance(given, Sequence)
        many = [given] if alone else given
        found = (
            one if isinstance(one, str) else self._taken.get(id(one)) or name(one) for one in many
        )
        return tuple(part.strip() for text in found for part in text.split(","))

    def _method(self, given: Any) -> str:
        if isinstance(given, Method):
            return self._made(partial(_class_of(given), options=getattr(given, "options", None)))
        if not callable(given):
            raise ConfigError(
                f"method={one_line(given)} cannot be used; expected a name, a subclass of Method, "
                "an instance, a function that makes one (lambda setup: Mine(setup)), or a list of "
                "these"
            )
        if not inspect.isclass(given):
            return self._made(given)
        if not issubclass(given, Method):
            raise ConfigError(f"the class {given.__name__} is no subclass of queryshift.Method")
        form = "MethodCard(name=..., title=..., summary=..., paper=...)"
        return self._class(METHODS, given, MethodCard, form)

    def _shift(self, given: Any) -> str:
        if not (inspect.isclass(given) and issubclass(given, Shift)):
            raise ConfigError(
                f"shift={one_line(given)} cannot be used; expected a name, a subclass of "
                "shifts.base.Shift, or a list of these"
            )
        form = "ShiftCard(name, modality, severities, summary, source)"
        return self._class(SHIFTS, given, ShiftCard, form)

    def _class(self, registry: Registry, given: type, kind: type, form: str) -> str:
        card = getattr(given, "card", None)
        if not isinstance(card, kind):
            raise ConfigError(f"the class {given.__name__} has no card; expected card = {form}")
        name: str = getattr(card, "name")  # noqa: B009
        known = name in registry and registry.get(name) is given
        return name if known else self._lend(registry, name, given)

    def _made(self, make: Any) -> str:
        of, options = make, None
        if isinstance(make, partial):
            of = make.func
            given = make.keywords.get("options")
            if len(make.keywords) == 1 and not make.args and dataclasses.is_dataclass(given):
                make, options = of, given
        card = getattr(of, "card", None)
        plain = re.sub(r"\W+", "-", getattr(of, "__name__", "")).strip("-")
        name = f"{card.name}-made" if isinstance(card, MethodCard) else plain
        name = "made" if name in ("", "lambda") else name
        count = sum(taken.startswith(name) for taken in self._taken.values())
        name = f"{name}-{count + 1}" if count else name
        if isinstance(card, MethodCard):
            made_card = dataclasses.replace(card, name=name)
        else:
            made_card = MethodCard(name, name, "made by a function of your own", "none")

        class Made(Method):
            """A class whose instances are what the function makes."""

            card: ClassVar[MethodCard] = made_card
            Options: ClassVar[type] = NoOptions if options is None else _defaulting_to(options)

            def __new__(cls, setup: Setup, chosen: Any = None) -> Any:
                method = make(setup) if options is None else make(setup, options=chosen)
                if not isinstance(method, Method):
                    raise MethodError(
                        f"the function for method {name!r} gave a {type(method).__name__}; "
                        "expected a Method"
                    )
                return method

            def step(self, queries: Any) -> Any:  # never an instance of this class
                raise NotImplementedError

        return self._lend(METHODS, name, Made)

    def _lend(self, registry: Registry, name: str, thing: Any) -> str:
        try:
            self._stack.enter_context(registry.lent(name, thing))
        except PluginError as error:
            raise ConfigError(str(error)) from None
        self.own = True
        self._taken[id(thing)] = name
        return name


def _class_of(method: Method) -> type[Method]:
    """What makes an instance's equal, in its first state, for the encoder of a cell.

    Raises:
        ConfigError: its class is made of more than a setup and options.
    """
    kind = type(method)
    if list(inspect.signature(kind).parameters) != ["setup", "options"]:
        raise ConfigError(
            f"an instance of {kind.__name__} cannot be made anew for each cell's encoder: its "
            "class takes more than setup and options; give a function: "
            f"lambda setup: {kind.__name__}(...)"
        )
    return kind


def _defaulting_to(options: Any) -> type:
    """The class of these options with them as its defaults: cells and tables tell them so."""
    kind = type(options)
    hints = get_type_hints(kind)
    fields = [
        (
            one.name,
            hints[one.name],
            field(default_factory=partial(getattr, options, one.name), metadata=one.metadata),
        )
        for one in dataclasses.fields(kind)
    ]
    return dataclasses.make_dataclass(
        kind.__name__, fields, bases=(kind,), frozen=kind.__dataclass_params__.frozen
    )


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
        data: see ``evaluate``.
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
    if modality := getattr(loaded, "modality", ""):
        task = f"{modality}_text"
    else:
        task = "video_audio" if hasattr(loaded, "videos") else "composed"
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
    for columns in ("to_pydict", "to_dict"):  # of Arrow's tables; of Polars' and Hugging Face's
        if hasattr(data, columns):
            data = getattr(data, columns)()
    if isinstance(data, list) and all(isinstance(row, Mapping) for row in data):
        names = dict.fromkeys(name for row in data for name in row)
        data = {name: [row.get(name) for row in data] for name in names}
    if isinstance(data, tuple) and len(data) == 2:
        data = dict(zip(FORMS["image_text"], data, strict=True))
    if not isinstance(data, Mapping):
        raise ConfigError(
            f"data of type {type(data).__name__} cannot be used; expected a benchmark's name, a "
            "path, a table of pandas, Polars, Arrow or Hugging Face, a list of rows, a mapping of "
            "columns, (images, captions), or a RetrievalSet"
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
