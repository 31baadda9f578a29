"""Names for the methods and models that a caller gives as objects."""

from __future__ import annotations

import functools
import inspect
import re
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import replace
from typing import Any, ClassVar

from benchmark.errors import ConfigError, PluginError
from benchmark.registry import BACKBONES, METHODS, SHIFTS
from methods.base import Method, MethodCard, MethodError, Setup
from queryshift.models import dual_encoder, is_dual_encoder, one_line
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
            encoder = dual_encoder(**given, device=device)
        if not is_dual_encoder(encoder):
            raise ConfigError(
                f"model={one_line(given)} cannot be used; expected a name, a DualEncoder, or "
                "(image tower, preprocess), (text tower, tokenise)"
            )
        self._lend(BACKBONES, BACKBONE, lambda spec: encoder)
        return f"{BACKBONE}:{encoder.name}", str(encoder.device)

    def _names(self, given: Any, name: Callable[[Any], str]) -> tuple[str, ...]:
        alone = isinstance(given, str | bytes) or not isinstance(given, Sequence)
        many = [given] if alone else given
        found = (name(one) for one in many)
        return tuple(part.strip() for text in found for part in text.split(","))

    def _method(self, given: Any) -> str:
        if isinstance(given, str):
            return given
        if id(given) in self._taken:
            return self._taken[id(given)]
        if isinstance(given, Method):
            return self._made(_anew(given))
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
        card = getattr(given, "card", None)
        if not isinstance(card, MethodCard):
            raise ConfigError(
                f"the class {given.__name__} has no card; expected card = MethodCard(name=..., "
                "title=..., summary=..., paper=...)"
            )
        if card.name in METHODS and METHODS.get(card.name) is given:
            return card.name
        return self._lend(METHODS, card.name, given)

    def _made(self, make: Callable[[Setup], Method]) -> str:
        of = make.func if isinstance(make, functools.partial) else make
        card = getattr(of, "card", None)
        plain = re.sub(r"\W+", "-", getattr(of, "__name__", "")).strip("-")
        name = f"{card.name}-made" if isinstance(card, MethodCard) else plain
        name = "made" if name in ("", "lambda") else name
        count = sum(taken.startswith(name) for taken in self._taken.values())
        name = f"{name}-{count + 1}" if count else name
        if isinstance(card, MethodCard):
            card = replace(card, name=name)
        else:
            card = MethodCard(name, name, "made by a function of your own", "none")
        return self._lend(METHODS, name, _made_class(card, make))

    def _shift(self, given: Any) -> str:
        if isinstance(given, str):
            return given
        if not (inspect.isclass(given) and issubclass(given, Shift)):
            raise ConfigError(
                f"shift={one_line(given)} cannot be used; expected a name, a subclass of "
                "shifts.base.Shift, or a list of these"
            )
        card = getattr(given, "card", None)
        if not isinstance(card, ShiftCard):
            raise ConfigError(
                f"the class {given.__name__} has no card; expected card = ShiftCard(name, "
                "modality, severities, summary, source)"
            )
        name = card.name
        if name in SHIFTS and SHIFTS.get(name) is given:
            return name
        return self._taken.get(id(given)) or self._lend(SHIFTS, name, given)

    def _lend(self, registry: Any, name: str, thing: Any) -> str:
        try:
            self._stack.enter_context(registry.lent(name, thing))
        except PluginError as error:
            raise ConfigError(str(error)) from None
        self.own = True
        self._taken[id(thing)] = name
        return name


def _anew(method: Method) -> Callable[[Setup], Method]:
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
    return functools.partial(kind, options=method.options)


def _made_class(made_card: MethodCard, make: Callable[[Setup], Method]) -> type[Method]:
    """A class whose instances are what a function makes."""

    class Made(Method):
        card: ClassVar[MethodCard] = made_card

        def __new__(cls, setup: Setup, options: Any = None) -> Any:
            method = make(setup)
            if not isinstance(method, Method):
                raise MethodError(
                    f"the function for method {made_card.name!r} gave a {type(method).__name__}; "
                    "expected a Method"
                )
            return method

        def step(self, queries: Any) -> Any:  # never an instance of this class
            raise NotImplementedError

    return Made
