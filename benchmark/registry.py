"""Names of methods, shifts, benchmarks and backbones, and what they stand for.

Built-ins are names and ``"module:Class"`` targets, everything else is found through entry points,
so that listing imports nothing heavy and an outside package needs no line in here.
"""

from __future__ import annotations

import ast
import importlib.util
import inspect
import logging
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, is_dataclass, replace
from functools import cache
from importlib.machinery import ModuleSpec
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import TYPE_CHECKING, Any

import methods
import shifts
from benchmark.errors import PluginError, UnknownNameError, did_you_mean

if TYPE_CHECKING:
    from benchmark.data.card import BenchmarkCard

logger = logging.getLogger(__name__)

BUILTIN = "built-in"
"""Origin of everything that this package ships."""

Builtins = Mapping[str, str | Mapping[str, Any]]


@dataclass(frozen=True, slots=True)
class Info:
    """What a listing can say about a name without importing what it stands for.

    Attributes:
        name: registry name.
        target: ``"module:attribute"``, or "" where the object is plain data.
        origin: "built-in" or the name of the distribution that brings it.
        summary: one line; "" where the card has to be asked (``Registry.described``).
        aliases: declared short names.
        facts: whatever else is declared (a benchmark's modality ...).
    """

    name: str
    target: str
    origin: str
    summary: str
    aliases: tuple[str, ...] = ()
    facts: Mapping[str, Any] = field(default_factory=dict)


class Registry:
    """One kind of thing by name: built-ins first, then entry points; loaded when asked for.

    Args:
        kind: singular word for messages ("method"); plugins use the entry points
            ``queryshift.<kind>s``.
        builtins: name -> "module:attribute"; or name -> facts, where ``target`` is that,
            ``object`` the thing itself where it is plain data, ``summary`` the line for listings.
            Or a function that gives such a table (called once, when first needed).
        aliases: declared short name -> name.
        derived: gives the facts of a name that no table can hold (own data), or None.
        base: ``"module:Class"`` that what is loaded must subclass or be an instance of; "" where
            any callable does.
    """

    def __init__(
        self,
        kind: str,
        builtins: Builtins | Callable[[], Builtins],
        *,
        aliases: Mapping[str, str] | None = None,
        derived: Callable[[str], Mapping[str, Any] | None] = lambda name: None,
        base: str = "",
    ) -> None:
        self.kind, self.plural, self.group = kind, f"{kind}s", f"queryshift.{kind}s"
        self._builtins, self.aliases = builtins, dict(aliases or {})
        self._derived, self._base = derived, base
        self._entries: dict[str, Info] | None = None
        self._loaded: dict[str, Any] = {}

    def names(self) -> list[str]:
        """All names: built-ins in their declared order, then plugins by name."""
        return list(self._all())

    def resolve(self, name: str) -> str:
        """The name that ``name`` stands for: itself, or what it is a declared alias of.

        Raises:
            UnknownNameError: neither a name nor a declared alias; says the nearest ones.
        """
        if name in self:
            return self.aliases.get(name, name)
        known = [*self._all(), *self.aliases]
        near = did_you_mean(name, known)
        # An abbreviation, which edit distance alone does not find.
        begun = sorted(k for k in known if name and k.startswith(name.lower()))[:3]
        if not near and begun:
            near = f"; did you mean {' or '.join(map(repr, begun))}"
        # Where there are dozens, the nearest say more than all of them.
        names = "" if near and len(known) > 24 else f"; known: {', '.join(sorted(known))}"
        raise UnknownNameError(
            f"unknown {self.kind} {name!r}{near}{names} (queryshift list {self.plural})"
        )

    def __contains__(self, name: str) -> bool:
        meant = self.aliases.get(name, name)
        return meant in self._all() or self._derived(meant) is not None

    def info(self, name: str) -> Info:
        """What is declared about a name; imports nothing of it."""
        name = self.resolve(name)
        return self._all().get(name) or self._declared(name, self._derived(name) or {})

    def described(self, name: str) -> Info:
        """``info`` with summary and modality as the card has them, for listings.

        A card that is written out in its module is read there, and nothing is imported; otherwise
        a built-in is loaded, and a plugin is described by where it comes from.
        """
        info = self.info(name)
        if info.summary:
            return info
        module, _, attribute = info.target.partition(":")
        said = _written_cards(module).get(attribute, {})
        if "summary" not in said:
            if info.origin != BUILTIN:
                return replace(info, summary=f"plugin: {info.target}")
            card = self.get(name).card
            said = {f: getattr(card, f) for f in ("summary", "modality") if hasattr(card, f)}
        modality = {"modality": said["modality"]} if "modality" in said else {}
        return replace(info, summary=said["summary"], facts={**info.facts, **modality})

    def origin(self, name: str) -> str:
        """Who brings a name: "built-in", or a distribution's name."""
        return self.info(name).origin

    def get(self, name: str) -> Any:
        """The object behind a name, imported on first use.

        Raises:
            UnknownNameError: no such name.
            PluginError: it cannot be imported or is not of the right kind.
        """
        info = self.info(name)  # of plain data, this alone puts the object there
        if info.name not in self._loaded:
            try:
                found = EntryPoint(info.name, info.target, self.group).load()
            except (Exception, SystemExit) as error:  # a plugin may raise anything when imported
                if info.origin == BUILTIN and not isinstance(error, ImportError):
                    raise
                raise PluginError(
                    f"{self.kind} {info.name!r} of {info.origin} ({info.target}) cannot be loaded: "
                    f"{type(error).__name__}: {error}"
                ) from error
            self._loaded[info.name] = self._checked(info, found)
        return self._loaded[info.name]

    def usable(self) -> list[str]:
        """The names that can be loaded; loads them. A broken plugin is warned of and left out.

        Raises:
            PluginError: a built-in cannot be loaded.
        """
        good = []
        for name in self.names():
            try:
                self.get(name)
            except PluginError as error:
                if self.origin(name) == BUILTIN:
                    raise
                logger.warning("%s; it is left out", error)
            else:
                good.append(name)
        return good

    def refresh(self) -> None:
        """Forgets what was found, so that packages installed meanwhile are seen."""
        self._entries = None
        self._loaded.clear()

    @contextmanager
    def lent(self, name: str, thing: Any) -> Iterator[None]:
        """The name stands for an object of the caller's within the block, in this process only.

        Raises:
            PluginError: the name is none or taken, or the object is not of the right kind.
        """
        if why := _no_name(name):
            raise PluginError(f"{name!r} is no name for a {self.kind}: {why}; give yours another")
        if name in self:
            raise PluginError(
                f"the {self.kind} name {name!r} is already taken by "
                f"{self.info(name).target or 'another object'} ({self.origin(name)}); give yours "
                "another name"
            )
        info = Info(name, "", "your own code", f"{self.kind} of your own")
        self._loaded[name] = self._checked(info, thing)
        self._all()[name] = info
        try:
            yield
        finally:
            self._all().pop(name, None)
            self._loaded.pop(name, None)

    def _all(self) -> dict[str, Info]:
        """Everything by name; warns once of each entry point that is left out."""
        if self._entries is not None:
            return self._entries
        declared = self._builtins() if callable(self._builtins) else self._builtins
        entries = {name: self._declared(name, facts) for name, facts in declared.items()}
        problems: dict[str, None] = {}  # in order, each once
        points = entry_points(group=self.group)
        for point in sorted(points, key=lambda p: (p.name, _distribution(p), p.value)):
            if why := self._refuse(point, entries):
                who = f"{self.kind} plugin {point.name!r} of {_distribution(point)} ({point.value})"
                problems[f"{who} is left out: {why}"] = None
            else:
                entries[point.name] = Info(point.name, point.value, _distribution(point), "")
        for problem in problems:
            logger.warning(problem)
        self._entries = entries
        return entries

    def _declared(self, name: str, entry: str | Mapping[str, Any]) -> Info:
        facts = {"target": entry} if isinstance(entry, str) else dict(entry)
        if "object" in facts:
            self._loaded[name] = facts.pop("object")
        return Info(
            name,
            facts.pop("target", ""),
            facts.pop("origin", BUILTIN),
            facts.pop("summary", ""),
            tuple(short for short, meant in self.aliases.items() if meant == name),
            facts,
        )

    def _refuse(self, point: EntryPoint, entries: Mapping[str, Info]) -> str:
        """Why an entry point is left out, or ""."""
        if why := _no_name(point.name):
            return why
        if not EntryPoint.pattern.match(point.value) or not point.attr:
            return "its value is not of the form 'module:Class'"
        package = point.module.partition(".")[0]
        if _found(package) is None:
            return f"there is no module {package!r}"
        if point.name in self.aliases:
            return f"{point.name!r} is the short name of {self.aliases[point.name]!r}"
        taken = entries.get(point.name)
        if taken is None or (taken.target, taken.origin) == (point.value, _distribution(point)):
            return ""  # free, or the same thing found twice on sys.path
        who = f"{taken.target or 'a data entry'} ({taken.origin})"
        return f"{self.kind} {point.name!r} is already taken by {who}"

    def _checked(self, info: Info, thing: Any) -> Any:
        base: Any = EntryPoint("base", self._base, self.group).load() if self._base else None
        if base is None:
            fits, wanted = callable(thing), "a callable"
        else:
            fits = issubclass(thing, base) if inspect.isclass(thing) else isinstance(thing, base)
            wanted = f"a {self._base.replace(':', '.')}"
        if fits and inspect.isabstract(thing):
            missing = ", ".join(sorted(thing.__abstractmethods__))
            fits, wanted = False, f"{wanted} that defines {missing}"
        elif fits and not is_dataclass(getattr(thing, "Options", Info)):
            fits, wanted = False, f"{wanted} whose Options is a dataclass"
        elif fits and "card" in getattr(base, "__annotations__", ()) and not hasattr(thing, "card"):
            fits, wanted = False, f"{wanted} with a card"
        elif fits and self is BENCHMARKS and thing.id != info.name:  # cells name it by its id
            fits, wanted = False, f"{wanted} whose id is {info.name!r}"
        if not fits:
            place = f" ({info.target})" if info.target else ""
            raise PluginError(f"{self.kind} {info.name!r} of {info.origin}{place} is not {wanted}")
        return thing


_CARD = re.compile(r"^class (\w+)(?:.*\n(?!class ))+?( {4}card = \w+\(\n(?:.*\n)*? {4}\))$", re.M)


@cache
def _written_cards(module: str) -> dict[str, dict[str, Any]]:
    """Class -> the arguments of its card that stand as plain values in the source; runs nothing."""
    if "." in module and module.partition(".")[0] not in ("methods", "shifts"):
        return {}  # finding a module of somebody's package would import that package
    try:
        found = _found(module)
        text = Path(found.origin or "").read_text(encoding="utf-8") if found else ""
        cards = _CARD.findall(text)  # they alone parse in a fifth of the time
        usual = len(cards) == len(re.findall(r"^\s+card\s*=", text, re.M))
        tree = ast.parse("\n".join(f"class {k}:\n{c}" for k, c in cards) if usual else text)
    except (ImportError, OSError, SyntaxError, ValueError):
        return {}
    return {
        kind.name: {
            word.arg: word.value.value
            for word in line.value.keywords
            if word.arg and isinstance(word.value, ast.Constant)
        }
        for kind in tree.body
        if isinstance(kind, ast.ClassDef)
        for line in kind.body
        if isinstance(line, ast.Assign) and isinstance(line.value, ast.Call)
        if [part.id for part in line.targets if isinstance(part, ast.Name)] == ["card"]
    }


def _found(module: str) -> ModuleSpec | None:
    """Where a module lies; a package is found without importing it."""
    try:
        return importlib.util.find_spec(module)
    except ValueError:  # a script that runs, or what was put into sys.modules by hand
        return None


def _no_name(name: str) -> str:
    """Why a name cannot be asked for on the command line, or ""."""
    if name and name.isprintable() and name == name.strip() and "," not in name and name != "all":
        return ""
    return "a name is one line without commas, has no blank around it and is not 'all'"


def _distribution(point: EntryPoint) -> str:
    return point.dist.name if point.dist is not None else "an unnamed distribution"


def _benchmarks() -> Builtins:
    from benchmark.data.card import benchmark_cards, suite_names

    origins = dict.fromkeys(suite_names(), BUILTIN)  # others are the user's own suite files
    cards = benchmark_cards().items()
    return {name: _benchmark(card, origins.get(card.suite, card.suite)) for name, card in cards}


def _own_benchmark(name: str) -> Mapping[str, Any] | None:
    from benchmark.data.card import own_card

    card = own_card(name)
    return None if card is None else _benchmark(card, "your own data")


def _benchmark(card: BenchmarkCard, origin: str) -> Mapping[str, Any]:
    facts = {"modality": card.query, "suite": card.suite, "origin": origin}
    return {"object": card, "summary": card.summary, **facts}


_MODULES = {
    **{"mini": "mini.pictures.backbone", "mini-clips": "mini.clips.backbone"},
    **{"mini-composed": "mini.composed.backbone", "weighted_sum": "backbones.composed"},
}
"""Where backbones are loaded, if not in backbones/ by their name."""

_MODELS = {
    **{"mini": "base flickr people-cuhk people-icfg", "mini-composed": "cirr fiq"},
    **{"person_search": "irra irra-cuhk irra-icfg", "mini-clips": "", "cav_mae": ""},
}
"""The models of backbones that have their own alone."""

_BACKBONES = {
    name: {
        "target": f"benchmark.{_MODULES.get(name, f'backbones.{name}')}:load",
        "modalities": tuple(sides.split()),
        **({"models": tuple(_MODELS[name].split())} if name in _MODELS else {}),
        "summary": summary,
    }
    for line in """\
mini: image text: the embedded small CLIP, shipped with its weights
mini-clips: video audio: the embedded small video-audio encoder, shipped with its weights
mini-composed: composed image: the embedded small combiner of pictures and texts, shipped
open_clip: image text: any open_clip model by name, with a pretrained tag or a local file
weighted_sum: composed image text: composed queries on any open_clip model, MODEL@WEIGHT
hf: image audio text: any dual encoder of transformers: hf:FOLDER, or hf:NAME of the local cache
blip: image text: BLIP retrieval through transformers, contrastive scores only
person_search: image text: IRRA's CLIP at 384 x 128, from a local checkpoint
cav_mae: video audio: CAV-MAE's video and audio encoders, from a local checkpoint
pe_av: video audio: PE-AV video-audio through transformers
""".splitlines()
    for name, sides, summary in [line.split(": ", 2)]
}
"""Name -> where it is loaded, its modalities and what it is (a line for each above)."""

METHODS = Registry("method", methods.BUILTINS, base="methods.base:Method")
SHIFTS = Registry("shift", shifts.BUILTINS, aliases=shifts.ALIASES, base="shifts.base:Shift")
BENCHMARKS = Registry(
    "benchmark", _benchmarks, derived=_own_benchmark, base="benchmark.data.card:BenchmarkCard"
)
BACKBONES = Registry("backbone", _BACKBONES)

REGISTRIES = {registry.plural: registry for registry in (METHODS, SHIFTS, BENCHMARKS, BACKBONES)}
"""Plural kind -> registry, for ``queryshift list KIND``."""
