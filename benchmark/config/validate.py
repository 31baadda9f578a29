"""The one validator: pydantic checks every value that a user sets, and a fault is one sentence.

    WHERE: 'KEY': expected WHAT, not VALUE; did you mean 'NAME'
    WHERE: unknown key 'KEY'; did you mean 'NAME'; known: NAMES

What may stand somewhere is a type, bounds and all: of a dataclass's fields (``mapping_of``), or as
an annotation has it. Types are strict: no number is a truth value, and no text a number. But what
is typed on a command line is text, so ``from_text`` lets a type take its values as text too.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import json
import re
import types
import typing
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Annotated, Any, Literal, Required

from annotated_types import Ge, Gt, Le
from pydantic import (
    AllowInfNan,
    BeforeValidator,
    ConfigDict,
    Field,
    Strict,
    TypeAdapter,
    ValidationError,
)
from pydantic_core import PydanticCustomError
from typing_extensions import TypedDict, is_typeddict

from benchmark.errors import ConfigError, UnknownNameError, did_you_mean, reason_of, shown

Place = tuple[str | int, ...]
"""Where in a nest of mappings and lists: keys and positions from the top."""

_STRICT = ConfigDict(strict=True, arbitrary_types_allowed=True)


def check(
    kind: Any, value: Any, where: str | Callable[[Place], str] = "", *, owner: str = ""
) -> Any:
    """A value as its type has it.

    Args:
        kind: the type.
        value: plain data.
        where: what an error starts with ("--seed"), or what tells it for a place in the value.
        owner: whose options the keys are, for messages ("method 'tent'").

    Raises:
        UnknownNameError: a key that does not exist.
        ConfigError: a value of the wrong type or range.
    """
    try:
        return _adapter(kind).validate_python(value)
    except ValidationError as error:
        faults = [_Fault(one, value) for one in error.errors(include_url=False)]
    # A key that is unknown often stands for one that is missing; where one of several types will
    # do, that one is meant whose fault lies deepest.
    first = min(faults, key=lambda fault: (fault.rank, -len(fault.place)))
    start = where(first.place) if callable(where) else where
    start = f"{start}: " if start else ""
    if first.rank == _UNKNOWN:
        what = f"{owner} has no option" if owner else "unknown key"
        key, known = first.facts["key"], first.facts["known"]
        raise UnknownNameError(
            f"{start}{what} {key!r}{did_you_mean(key, known)}; known: {', '.join(known) or 'none'}"
        )
    key = next((step for step in reversed(first.place) if isinstance(step, str)), "")
    name = f"option {key!r} of {owner}: " if owner and key else f"{key!r}: " if key else ""
    same = [fault for fault in faults if fault.same_place(first)]
    raise ConfigError(f"{start}{name}{_sentence(same)}")


@functools.lru_cache(maxsize=512)
def _adapter(kind: Any) -> TypeAdapter[Any]:
    plain = typing.get_args(kind)[0] if typing.get_origin(kind) is Annotated else kind
    return TypeAdapter(kind, config=None if is_typeddict(plain) else _STRICT)


_UNKNOWN, _WRONG, _MISSING = range(3)
_RANKS = {"unknown_key": _UNKNOWN, "missing": _MISSING}


class _Fault:
    """One error of pydantic's, and the place in the user's value where it lies."""

    def __init__(self, error: Any, value: Any) -> None:
        self.kind: str = error["type"]
        self.input: Any = error["input"]
        self.facts: Mapping[str, Any] = error.get("ctx", {})
        self.message: str = error["msg"]
        self.rank = _RANKS.get(self.kind, _WRONG)
        self.missing = str(error["loc"][-1]) if error["loc"] else ""
        place: list[str | int] = []
        key = [self.facts["key"]] if "key" in self.facts else []
        for step in (*error["loc"], *key):  # one that names a member of a union leads nowhere
            found = _step(value, step)
            if found is not None:
                place.append(found)
                value = value[found]
        self.place = tuple(place)

    def same_place(self, other: _Fault) -> bool:
        """Whether both are about one value: that none of its types fits, or all keys it lacks."""
        return (self.rank, self.place, self.input) == (other.rank, other.place, other.input)

    def expected(self) -> str:
        """What should have stood there; "" where only pydantic's own words say it."""
        nest = "mapping" if isinstance(self.input, dict) else "list"
        return _EXPECTED.get(self.kind, "").format(**{"nest": nest, **self.facts})


def _step(value: Any, step: str | int) -> str | int | None:
    """The key or position as the user wrote it."""
    if isinstance(value, dict):
        same = (key for key in value if str(key).replace("-", "_") == step)
        return step if step in value else next(same, None)
    inside = isinstance(value, list) and isinstance(step, int) and step < len(value)
    return step if inside else None


_EXPECTED = {
    "bool_type": "true or false",
    "dict_type": "a mapping (KEY: VALUE)",
    "expected": "{what}",
    "finite_number": "a finite number",
    "float_type": "a finite number",
    "greater_than": "a number above {gt}",
    "greater_than_equal": "a number of at least {ge}",
    "int_type": "a whole number",
    "less_than_equal": "a number of at most {le}",
    "list_type": "a list",
    "literal_error": "{expected}",
    "none_required": "none",
    "string_too_short": "a text that is not empty",
    "string_type": "a text",
    "too_long": "a list of {max_length}",
    "too_short": "a {nest} that is not empty",
    "tuple_type": "a list",
}
"""Kind of pydantic's error -> what was expected."""


def _sentence(faults: Sequence[_Fault]) -> str:
    """The faults of one value: several where none of several types fits."""
    first = faults[0]
    if first.rank == _MISSING:
        return f"lacks {', '.join(fault.missing for fault in faults)}"
    if first.kind in ("value_error", "twice"):
        return str(first.facts.get("error", first.message))
    expected = " or ".join(dict.fromkeys(filter(None, (fault.expected() for fault in faults))))
    if not expected:
        return f"{first.message}, not {shown(first.input)}"
    choices = re.findall(r"'([^']+)'", expected)
    near = did_you_mean(first.input, choices) if isinstance(first.input, str) else ""
    return f"expected {expected}, not {shown(first.input)}{near}"


def expecting(what: str, kind: Any) -> Any:
    """A type of which every fault is said as "expected WHAT"."""

    def validate(value: Any) -> Any:
        try:
            return _adapter(kind).validate_python(value)
        except ValidationError:
            raise PydanticCustomError("expected", "{what}", {"what": what}) from None

    return Annotated[Any, BeforeValidator(validate)]


def one_of(*kinds: Any) -> Any:
    """The type of what is of one of several types."""
    return _UNION[kinds]


# Types that are put together when a program runs mean nothing to a type checker.
_UNION: Any = typing.Union
_TUPLE: Any = tuple

# Types from dataclasses


def mapping_of(
    options: type,
    names: Iterable[str] | None = None,
    *,
    text: bool = True,
    required: bool = False,
    kinds: Mapping[str, Any] | None = None,
) -> Any:
    """The mappings that give some of a dataclass's fields: no other key, values of their types.

    A field's type may be annotated with bounds; its metadata may hold ``choices``, ``above``,
    ``minimum`` and ``maximum``.

    Args:
        options: the dataclass.
        names: of the fields that may be given; by default all.
        text: whether a value may be given as text, as on a command line.
        required: whether fields without a default must be given.
        kinds: types of fields, instead of the dataclass's; and of further keys.
    """
    hints = typing.get_type_hints(options, include_extras=True)
    found: dict[str, Any] = {}
    for entry in dataclasses.fields(options):
        if entry.init and (names is None or entry.name in names):
            kind = _bounded(hints[entry.name], entry.metadata)
            found[entry.name] = from_text(kind) if text else kind
            if required and entry.default is entry.default_factory is dataclasses.MISSING:
                found[entry.name] = Required[found[entry.name]]
    return mapping({**found, **(kinds or {})}, options.__name__)


def mapping(kinds: Mapping[str, Any], name: str = "mapping") -> Any:
    """The mappings with these keys and no other; none must be there unless it is ``Required``."""
    known = list(kinds)

    def keys(value: Any) -> Any:
        if not isinstance(value, Mapping):
            return value
        plain: dict[str, Any] = {}
        for key, content in value.items():
            name = str(key).replace("-", "_") if key not in known else key
            if name not in known:
                facts = {"key": key, "known": known}
                raise PydanticCustomError("unknown_key", "unknown key", facts)
            if name in plain:
                raise PydanticCustomError("twice", "given twice", {"key": key})
            plain[name] = content
        return plain

    make: Any = TypedDict  # its fields are known at run time only
    record = make(name, dict(kinds), total=False)
    record.__pydantic_config__ = _STRICT
    return Annotated[record, BeforeValidator(keys)]


def _bounded(hint: Any, limits: Mapping[str, Any]) -> Any:
    """A field's type with the bounds that its metadata say."""
    if limits.get("choices"):
        return Literal[tuple(limits["choices"])]
    if typing.get_origin(hint) is tuple:
        return Annotated[hint, Strict(False)]  # YAML has lists
    if typing.get_origin(hint) in (typing.Union, types.UnionType):
        return one_of(*(_bounded(one, limits) for one in typing.get_args(hint)))
    if hint not in (int, float):
        return hint
    bounds = {"above": Gt, "minimum": Ge, "maximum": Le}
    marks = [bound(limits[word]) for word, bound in bounds.items() if word in limits]
    return Annotated[(hint, *marks)] if marks else hint


# Types that take their values as text too


def from_text(kind: Any) -> Any:
    """A type whose values may be given as text: "1e-3", "off", "a,b".

    Where several types will do, the first one that fits is taken, text last.
    """
    origin, parts = typing.get_origin(kind), typing.get_args(kind)
    if origin is Annotated:
        return Annotated[(from_text(parts[0]), *parts[1:])]
    if origin in (typing.Union, types.UnionType):
        members = sorted(parts, key=lambda part: (part is str, _is(part, float)))
        union = one_of(*(from_text(part) for part in members))
        return Annotated[union, Field(union_mode="left_to_right")]
    if origin is tuple:
        inner = _TUPLE[tuple(part if part is ... else from_text(part) for part in parts)]
        return Annotated[inner, Strict(False), BeforeValidator(at_commas)]
    words: Mapping[str, Any] = _WORDS.get(kind, {})
    if origin is Literal:
        words = {str(choice): choice for choice in parts}
    if words:
        return Annotated[kind, BeforeValidator(lambda value: _looked_up(words, value))]
    if kind in (int, float):
        return Annotated[
            kind, AllowInfNan(False), BeforeValidator(functools.partial(_number, kind))
        ]
    return kind


_WORDS: dict[Any, dict[str, Any]] = {
    bool: {
        **dict.fromkeys(("true", "yes", "on", "1"), True),
        **dict.fromkeys(("false", "no", "off", "0"), False),
    },
    type(None): dict.fromkeys(("none", "null"), None),
}


def at_commas(value: Any) -> Any:
    """The parts of a text; anything else as it is."""
    return [part.strip() for part in value.split(",")] if isinstance(value, str) else value


def _is(kind: Any, plain: type) -> bool:
    return kind is plain or (typing.get_origin(kind) is Annotated and kind.__origin__ is plain)


def _looked_up(words: Mapping[str, Any], value: Any) -> Any:
    if not isinstance(value, str):
        return value
    return words.get(value, words.get(value.lower(), value))


def _number(kind: type, value: Any) -> Any:
    if isinstance(value, str):
        with contextlib.suppress(ValueError):
            return kind(value)
    return value


# Options of methods and shifts: a frozen dataclass with defaults, whose fields say what may stand
# there. All else is derived from that.


def option_names(options: type) -> tuple[str, ...]:
    """Names of the options that a dataclass declares, in order."""
    return tuple(field.name for field in dataclasses.fields(options) if field.init)


def applicable(options: type, values: Mapping[str, Any]) -> dict[str, Any]:
    """Those of the values that the dataclass has a field for."""
    return {name: value for name, value in values.items() if name in option_names(options)}


def parse(
    options: type,
    values: Mapping[str, Any],
    owner: str,
    where: str | Callable[[Place], str] = "",
) -> dict[str, Any]:
    """Converts the given values to their fields' types.

    Args:
        options: the options dataclass.
        values: option name -> text (``"1e-3"``, ``"true"``) or an already typed value.
        owner: what they are options of, for messages ("method 'tent'").
        where: file and line, as ``validate.check`` takes it.

    Raises:
        UnknownNameError: no such option; says the nearest ones.
        ConfigError: a value of the wrong type or range.
    """
    parsed: dict[str, Any] = check(_kind(options), dict(values), where, owner=owner)
    return parsed


def complete(options: type, values: Mapping[str, Any], owner: str) -> dict[str, Any]:
    """All options as a plain dict: the given ones (see ``parse``), defaults for the rest.

    The dataclass is built once, so that its own checks speak.

    Raises:
        UnknownNameError: as ``parse``.
        ConfigError: as ``parse``, a value that the dataclass itself refuses or that cannot be
            stored, or an option that neither has a default nor is given.
    """
    parsed = parse(options, values, owner)
    for field in dataclasses.fields(options):
        bare = field.default is field.default_factory is dataclasses.MISSING
        if bare and field.init and field.name not in parsed:
            raise ConfigError(f"{owner}: option {field.name!r} has no default; give it a value")
    try:
        made = dataclasses.asdict(options(**parsed))
    except Exception as error:  # MethodError, ShiftError, and whatever a plugin's own check raises
        known = isinstance(error, TypeError | ValueError)
        raise ConfigError(f"{owner}: {error if known else reason_of(error)}") from None
    try:
        json.dumps(made, allow_nan=False)  # they are stored, and part of a result's identity
    except (TypeError, ValueError) as error:
        raise ConfigError(
            f"{owner}: its options cannot be stored as JSON ({error}); expected finite numbers, "
            "texts, truth values, lists and mappings"
        ) from None
    return made


@functools.lru_cache(maxsize=256)
def _kind(options: type) -> Any:
    try:
        return mapping_of(options)
    except Exception as error:  # a plugin's annotation may name anything
        name = f"{options.__module__}.{options.__qualname__}"
        raise ConfigError(f"the types of the options {name} cannot be read: {error}") from None
