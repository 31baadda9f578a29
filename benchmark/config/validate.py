"""The one validator: pydantic checks every value that a user sets, and a fault is one sentence.

    WHERE: 'KEY': expected WHAT, not VALUE; did you mean 'NAME'
    WHERE: unknown key 'KEY'; did you mean 'NAME'; known: NAMES

What may stand somewhere is a type, bounds and all: of a dataclass's fields (``kinds_of``), or as
an annotation has it. Types are strict: no number is a truth value, and no text a number. But what
is typed on a command line is text, so ``from_text`` lets a type take its values as text too.
"""

from __future__ import annotations

import contextlib
import dataclasses
import enum
import functools
import re
import types
import typing
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Annotated, Any, Literal

from annotated_types import Ge, Gt, Le, MinLen
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

from benchmark.errors import ConfigError, QueryShiftError, UnknownNameError, did_you_mean, shown

Place = tuple[str | int, ...]
"""Where in a nest of mappings and lists: keys and positions from the top."""

_STRICT = ConfigDict(strict=True, arbitrary_types_allowed=True)


def check(
    kind: Any, value: Any, where: str | Callable[[Place], str] = "", *, owner: str = ""
) -> Any:
    """A value as its type has it.

    Args:
        where: what an error starts with ("--seed"), or what tells it for a place in the value.
        owner: whose options the keys are, for messages ("method 'tent'").

    Raises:
        UnknownNameError: a key that does not exist.
        ConfigError: a value of the wrong type or range.
    """
    try:
        return _adapter(kind).validate_python(value)
    except ValidationError as error:
        faults = [(_place(one, value), one) for one in error.errors(include_url=False)]
    # A key that is unknown often stands for one that is missing; where one of several types will
    # do, that one is meant whose fault lies deepest.
    at, first = min(faults, key=lambda fault: (_rank(fault[1]), -len(fault[0])))
    start = where(at) if callable(where) else where
    start = f"{start}: " if start else ""
    if _rank(first) == _UNKNOWN:
        what = f"{owner} has no option" if owner else "unknown key"
        key, known = first["ctx"]["key"], first["ctx"]["known"]
        raise UnknownNameError(
            f"{start}{what} {key!r}{did_you_mean(key, known)}; known: {', '.join(known) or 'none'}"
        )
    key = next((step for step in reversed(at) if isinstance(step, str)), "")
    name = f"option {key!r} of {owner}: " if owner and key else f"{key!r}: " if key else ""
    # Those about the same value: that none of its types fits, or all keys that it lacks.
    about = (_rank(first), at, first["input"])
    same = [one for place, one in faults if (_rank(one), place, one["input"]) == about]
    raise ConfigError(f"{start}{name}{_sentence(same)}")


@functools.lru_cache(maxsize=512)
def _adapter(kind: Any) -> TypeAdapter[Any]:
    plain = typing.get_args(kind)[0] if typing.get_origin(kind) is Annotated else kind
    return TypeAdapter(kind, config=None if is_typeddict(plain) else _STRICT)


_UNKNOWN, _WRONG, _MISSING = range(3)


def _rank(error: Any) -> int:
    return {"unknown_key": _UNKNOWN, "missing": _MISSING}.get(error["type"], _WRONG)


def _place(error: Any, value: Any) -> Place:
    """Where in the user's value an error of pydantic's lies, by the keys as the user wrote them."""
    place: list[str | int] = []
    facts = error.get("ctx", {})
    for step in (*error["loc"], *([facts["key"]] if "key" in facts else [])):
        if isinstance(value, dict):
            same = [key for key in value if str(key).replace("-", "_") == step]
            found = [step] if step in value else same
        else:
            inside = isinstance(value, list) and isinstance(step, int) and step < len(value)
            found = [step] if inside else []
        if found:  # a step that names a member of a union leads nowhere
            place.append(found[0])
            value = value[found[0]]
    return tuple(place)


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


def _sentence(faults: Sequence[Any]) -> str:
    """The faults of one value: several where none of several types fits."""
    first = faults[0]
    value, facts = first["input"], first.get("ctx", {})
    if _rank(first) == _MISSING:
        return f"lacks {', '.join(_missing(fault['loc'][-1]) for fault in faults)}"
    if first["type"] in ("value_error", "twice"):
        return str(facts.get("error", first["msg"]))
    nest = "mapping" if isinstance(value, dict) else "list"
    said = (
        _EXPECTED.get(fault["type"], "").format(**{"nest": nest, **fault.get("ctx", {})})
        for fault in faults
    )
    expected = " or ".join(dict.fromkeys(filter(None, said)))
    if not expected:  # only pydantic's own words say it
        return f"{first['msg']}, not {shown(value)}"
    choices = re.findall(r"'([^']+)'", expected)
    near = did_you_mean(value, choices) if isinstance(value, str) else ""
    return f"expected {expected}, not {shown(value)}{near}"


def _missing(key: str | int) -> str:
    return key if isinstance(key, str) else f"value {key + 1}"


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


def several(kind: Any) -> Any:
    """The type of one value, or a list of them: a tuple that is not empty."""
    listed = Annotated[_TUPLE[kind, ...], Strict(False), MinLen(1)]
    return Annotated[listed, BeforeValidator(lambda v: v if isinstance(v, list) else [v])]


# Types that are put together when a program runs mean nothing to a type checker.
_UNION: Any = typing.Union
_TUPLE: Any = tuple

# Types from dataclasses


def kinds_of(
    options: type, names: Iterable[str] | None = None, *, text: bool = True
) -> dict[str, Any]:
    """Name -> type of a dataclass's fields.

    A field's type may be annotated with bounds; its metadata may hold ``choices``, ``above``,
    ``minimum`` and ``maximum``.

    Args:
        names: of the fields; by default all.
        text: whether a value may be given as text, as on a command line.
    """
    hints = typing.get_type_hints(options, include_extras=True)
    found: dict[str, Any] = {}
    for entry in dataclasses.fields(options):
        if entry.init and (names is None or entry.name in names):
            kind = _bounded(hints[entry.name], entry.metadata)
            found[entry.name] = from_text(kind) if text else kind
    return found


def mapping(kinds: Mapping[str, Any]) -> Any:
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
    record = make("mapping", dict(kinds), total=False)
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


def named(known: Callable[[str], object]) -> Callable[[str], str]:
    """A validator of a name: what a function says of one that it does not know is the fault."""

    def validate(name: str) -> str:
        try:
            known(name)
        except QueryShiftError as error:
            raise ValueError(str(error)) from None
        return name

    return validate


# Types that take their values as text too


def from_text(kind: Any) -> Any:
    """A type whose values may be given as text: "1e-3", "off", "a,b".

    Where several types will do, the first one that fits is taken, text last.
    """
    origin, parts = typing.get_origin(kind), typing.get_args(kind)
    if origin is Annotated:
        return Annotated[(from_text(parts[0]), *parts[1:])]
    if origin in (typing.Union, types.UnionType):
        members = sorted(parts, key=lambda p: (p is str, float in (p, getattr(p, "__origin__", p))))
        union = one_of(*(from_text(part) for part in members))
        return Annotated[union, Field(union_mode="left_to_right")]
    if origin is tuple:
        inner = _TUPLE[tuple(part if part is ... else from_text(part) for part in parts)]
        return Annotated[inner, Strict(False), BeforeValidator(at_commas)]
    if isinstance(kind, type) and issubclass(kind, enum.Enum):
        texts = {text: one for one in kind for text in (one.name, str(one.value))}
        member = BeforeValidator(lambda v: v if isinstance(v, kind) else texts.get(str(v), v))
        return Annotated[expecting(" or ".join(repr(one.value) for one in kind), kind), member]
    words: Mapping[str, Any] = _WORDS.get(kind, {})
    if origin is Literal:
        words = {str(choice): choice for choice in parts}

    def read(value: Any) -> Any:
        if isinstance(value, str) and words:
            value = words.get(value, words.get(value.lower(), value))
            numbers = [part for part in parts if type(part) in (int, float)]
            with contextlib.suppress(ValueError):  # 2 is 2.0, and 0.50 is 0.5
                return next((part for part in numbers if part == float(value)), value)
            return value
        with contextlib.suppress(ValueError):
            return kind(value) if isinstance(value, str) else value
        return value

    if words or kind is int:
        return Annotated[kind, BeforeValidator(read)]
    if kind is float:
        return Annotated[kind, AllowInfNan(False), BeforeValidator(read)]
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
