"""``queryshift list``, ``show``, ``check``, ``new``: names, what is behind one, a new one."""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import json
import re
from collections.abc import Callable, Collection, Iterator, Mapping
from pathlib import Path
from string import Template
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from benchmark.cli.main import FAILED, OK, Command, UsageError, say, table
from benchmark.errors import (
    ConfigError,
    PluginError,
    ResultsError,
    UnknownNameError,
    did_you_mean,
    unknown,
)
from benchmark.registry import (
    BACKBONES,
    BENCHMARKS,
    BUILTIN,
    METHODS,
    REGISTRIES,
    SHIFTS,
    Info,
    Registry,
)


class List(Command):
    name = "list"
    summary = "list the installed methods, shifts, benchmarks or backbones"
    examples = (
        "  queryshift list methods --trains no\n"
        "  queryshift list shifts --modality text\n"
        "  queryshift list benchmarks --suite paper\n"
        "  queryshift list shifts --json"
    )

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        parser.add_argument("kind", metavar="KIND", help=", ".join(REGISTRIES))
        parser.add_argument("--modality", metavar="NAME", help="only those for such queries")
        parser.add_argument("--trains", metavar="yes|no", help="only methods that do, or do not")
        parser.add_argument("--suite", metavar="NAME", help="only benchmarks of this suite or file")
        parser.add_argument("--json", action="store_true", help="machine-readable, to stdout")

    def run(self, args: argparse.Namespace, console: Console) -> int:
        singular = {registry.kind: registry for registry in REGISTRIES.values()}
        registry = (REGISTRIES | singular).get(args.kind)
        if registry is None:
            raise unknown("kind", args.kind, REGISTRIES)
        if (args.suite or "").endswith((".yaml", ".yml")):
            from benchmark.planning.compatibility import load_suite

            args.suite = load_suite(args.suite).name  # makes its benchmarks known
        infos = [registry.described(name) for name in registry.names()]
        for flag, (kinds, values) in _FILTERS.items():
            wanted = getattr(args, flag)
            if wanted is not None and registry not in kinds:
                able = " and ".join(kind.plural for kind in kinds)
                raise UsageError(f"--{flag} is for {able}, not for {registry.plural}")
            if wanted is not None:
                infos = _filtered(registry, infos, f"--{flag}", wanted, values)
        if args.json:
            plain = [{**dataclasses.asdict(info), "facts": dict(info.facts)} for info in infos]
            # Not through rich, which would wrap and style it.
            console.file.write(json.dumps(plain, indent=2, default=str) + "\n")
        else:
            console.print(_names(registry, infos, console.width))
        return OK


def _modalities(info: Info) -> Collection[str]:
    found = info.facts.get("modalities", info.facts.get("modality", ""))
    return (found,) if isinstance(found, str) else found


def _trains(info: Info) -> Collection[str]:
    try:
        return (phrase(METHODS.get(info.name).card.trains),)
    except PluginError:  # listed without a filter; what it does cannot be known
        return ()


_FILTERS: dict[str, tuple[tuple[Registry, ...], Callable[[Info], Collection[str]]]] = {
    "modality": ((SHIFTS, BENCHMARKS, BACKBONES), _modalities),
    "trains": ((METHODS,), _trains),
    "suite": ((BENCHMARKS,), lambda info: (info.facts.get("suite", ""),)),
}
"""Flag -> the kinds that it is for, and the values that something has."""


def _filtered(
    registry: Registry,
    infos: list[Info],
    flag: str,
    wanted: str,
    values: Callable[[Info], Collection[str]],
) -> list[Info]:
    """Those that have the value; raises UsageError for one that nothing has."""
    known = dict.fromkeys(value for info in infos for value in values(info) if value)
    if wanted not in known:
        raise UsageError(
            f"{flag}: no {registry.kind} has {wanted!r}{did_you_mean(wanted, known)}; "
            f"known: {', '.join(known)}"
        )
    return [info for info in infos if {wanted, "any"} & set(values(info))]


def _names(registry: Registry, infos: list[Info], width: int) -> Table:
    """A line for each name; the last column is cut at the edge, since ``show`` has all of it."""
    columns = {
        "name": [info.name for info in infos],
        "also": [", ".join(info.aliases) for info in infos],
        "queries": [", ".join(_modalities(info)) for info in infos],
        "from": ["" if info.origin == BUILTIN else info.origin for info in infos],
        "what it is": [info.summary for info in infos],
    }
    shown = {heading: column for heading, column in columns.items() if any(column)}
    made = Table(
        box=box.SIMPLE_HEAD,
        title=Text(f"{len(infos)} {registry.plural}"),
        title_justify="left",
        pad_edge=False,
        collapse_padding=True,
        show_edge=False,
    )
    *before, last = (max(map(len, [heading, *column])) for heading, column in shown.items())
    left = max(10, width - sum(before) - 2 * len(before))
    for heading, most in zip(shown, [*before, min(last, left)], strict=True):
        made.add_column(Text(heading), no_wrap=True, overflow="ellipsis", width=most)
    for row in zip(*shown.values(), strict=True):
        made.add_row(*map(Text, row))
    return made


def find(text: str) -> list[tuple[Registry, str]]:
    """Every (registry, name) that ``NAME`` or ``KIND/NAME`` stands for.

    A row of the tables ("base2coco") stands for its benchmarks, one for each direction.

    Raises:
        UnknownNameError: none does.
    """
    kind, slash, name = text.partition("/")
    among = [r for r in REGISTRIES.values() if slash and kind in (r.kind, r.plural)]
    name, among = (name, among) if among else (text, list(REGISTRIES.values()))
    hits = [(r, r.resolve(name)) for r in among if name in r]
    if not hits and name and BENCHMARKS in among:
        rows = (one for one in BENCHMARKS.usable() if BENCHMARKS.get(one).row == name)
        hits = [(BENCHMARKS, one) for one in rows]
    if not hits and len(among) == 1:
        among[0].resolve(name)  # says what there is
    if not hits:
        from benchmark.planning.compatibility import open_clip_models

        known = [n for r in REGISTRIES.values() for n in (*r.names(), *r.aliases)]
        known += sorted(open_clip_models())
        raise UnknownNameError(
            f"nothing is called {text!r}{did_you_mean(text, known)} "
            f"(queryshift list {'|'.join(REGISTRIES)})"
        )
    return hits


class Show(Command):
    name = "show"
    summary = "show card and options of a method, shift, benchmark or backbone, or a model's layers"
    examples = (
        "  queryshift show rest\n"
        "  queryshift show shift/gaussian\n"
        "  queryshift show hf:/path/to/model"
    )

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        parser.add_argument(
            "name", metavar="NAME", help="a name, a model, or KIND/NAME if two kinds share the name"
        )
        parser.add_argument("--pretrained", metavar="TAG", default="", help="weights of the model")

    def run(self, args: argparse.Namespace, console: Console) -> int:
        if _is_model(args.name) or (args.pretrained and args.name in BACKBONES):
            console.print(_layers_of(args.name, args.pretrained))
            return OK
        if args.pretrained:
            raise UsageError(f"--pretrained is for models, and {args.name!r} is none")
        for registry, name in find(args.name):
            rows = ((Text(key, style="bold"), value) for key, value in _facts(registry, name))
            title = f"{registry.kind} {name}"
            console.print(table(["name", "value"], rows, title=title, show_header=False))
            if registry is BACKBONES and name in ("mini", "mini-clips"):  # models as they stand
                console.print(_layers_of(name, ""))
        return OK


def _is_model(text: str) -> bool:
    """Whether a text names a model (backbone:model, open_clip's name), and not a backbone alone."""
    from benchmark.planning.compatibility import open_clip_models

    loader, colon, _ = text.partition(":")
    return (
        bool(colon and (loader in BACKBONES or loader in ("local-dir", "hf-hub")))
        or text in open_clip_models()
    )


def _layers_of(text: str, pretrained: str) -> Table:
    """The normalisation layers of a model under ``adapt=norm``.

    Of open_clip's own architectures they are known without weights.
    """
    from benchmark.backbones.open_clip import bare_towers
    from benchmark.backbones.towers import norm_layers
    from benchmark.cell import BackboneSpec
    from benchmark.config.run import BenchConfig
    from benchmark.planning.specs import backbone_spec

    config = BenchConfig(model=text, pretrained=pretrained, device="cpu")
    resized = text.partition(":")[0] in ("blip", "person_search")
    spec = backbone_spec(BackboneSpec(transform="resize" if resized else "clip"), config)
    towers: dict[str, Any] = {}
    if spec.loader == "open_clip" and not spec.pretrained and ":" not in spec.model:
        towers = dict(bare_towers(spec.model))
    else:
        backbone = BACKBONES.get(spec.loader)(spec)
        for side in BACKBONES.info(spec.loader).facts.get("modalities", ("image", "text")):
            with contextlib.suppress(ConfigError):  # a model of another pair of modalities
                towers[side] = backbone.query_encoder(side)
    rows = [
        (side, kind, fate, f"{layers:,}", f"{scalars:,}")
        for side, tower in towers.items()
        for kind, fate, layers, scalars in norm_layers(tower)
    ]
    columns = ("side", "layer", "under adapt=norm", "layers", "numbers")
    return table(columns, rows, title=f"model {text}", numbers=("layers", "numbers"))


def _facts(registry: Registry, name: str) -> Iterator[tuple[str, str]]:
    """What the card says, and each option with its default and meaning."""
    info, thing = registry.info(name), registry.get(name)
    facts: dict[str, Any] = {"from": info.origin, "code": info.target}
    facts["also called"] = info.aliases or None
    card = thing if dataclasses.is_dataclass(thing) else getattr(thing, "card", None)
    if dataclasses.is_dataclass(card):
        facts |= {f.name: getattr(card, f.name) for f in dataclasses.fields(card)}
    else:
        facts |= {"summary": registry.described(name).summary, **info.facts}
    for key, value in facts.items():
        if dataclasses.is_dataclass(value) and not isinstance(value, type):
            value = dataclasses.asdict(value)
        if isinstance(value, Mapping):
            value = {name: item for name, item in value.items() if item != ""}
        if value not in ("", None, {}, ()):
            yield key, phrase(value)
    options = getattr(thing, "Options", None)
    if not dataclasses.is_dataclass(options):
        return
    from benchmark.config.presets import attributes  # imports pydantic

    meanings = attributes(options)
    for option in dataclasses.fields(options):
        default: Any = option.default
        if option.default_factory is not dataclasses.MISSING:
            default = option.default_factory()
        shown = "'(required)'" if default is dataclasses.MISSING else repr(default)
        meaning = option.metadata.get("help", meanings.get(option.name, ""))
        bounds = _bounds(option.metadata)
        yield f"--option {option.name}", f"{shown}  {meaning}".rstrip() + bounds


def _bounds(limits: Mapping[str, Any]) -> str:
    """What an option may be, in brackets, as its metadata say; "" where they say nothing."""
    said = []
    if choices := limits.get("choices"):
        said.append(" or ".join(map(repr, choices)))
    if {"minimum", "maximum"} <= limits.keys():
        said.append(f"{limits['minimum']} to {limits['maximum']}")
    else:
        words = {"above": "above", "minimum": "at least", "maximum": "at most"}
        said += [f"{word} {limits[key]}" for key, word in words.items() if key in limits]
    return f" [{', '.join(said)}]" if said else ""


def phrase(value: Any) -> str:
    """A value as a person reads it: "yes" and "no", names separated by commas, key=value."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list | tuple):
        return ", ".join(map(str, value))
    if isinstance(value, Mapping):
        return ", ".join(f"{key}={item}" for key, item in value.items())
    return "" if value is None else str(value)


class Check(Command):
    name = "check"
    summary = "test that a method or shift keeps its contract"
    examples = "  queryshift check rest\n  queryshift check shift/gaussian_noise"

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        parser.add_argument("name", metavar="NAME", help="a method or shift, or KIND/NAME")

    def run(self, args: argparse.Namespace, console: Console) -> int:
        found = find(args.name)
        able = [(registry, name) for registry, name in found if registry in (METHODS, SHIFTS)]
        if not able:
            kind = found[0][0].kind
            raise UsageError(f"{args.name!r} is a {kind}; contracts exist for methods and shifts")
        sound = [_check(registry, name, console) for registry, name in able]
        return OK if all(sound) else FAILED


def _check(registry: Registry, name: str, console: Console) -> bool:
    thing = registry.get(name)
    with console.status(Text(f"checking {registry.kind} {name}")):
        if registry is METHODS:
            from methods.testing import run_contract as run_method_contract

            results = run_method_contract(thing)
        else:
            from shifts.testing import run_contract

            results = [(r.check, r.passed, r.note) for r in run_contract(thing)]
    ends = Text("FAILED", style="red"), Text("ok", style="green")
    rows = [(check, ends[good], note) for check, good, note in results]
    columns = ("check", "", "what it means, or what is wrong")
    console.print(table(columns, rows, title=f"{registry.kind} {name}"))
    return all(good for _, good, _ in results)


_TEMPLATES = Path(__file__).parent / "templates"
_KINDS = tuple(registry.kind for registry in REGISTRIES.values())
_CALL = {
    "method": "queryshift check {0}\n  queryshift tune --method {0}\n"
    "  queryshift bench --method {0} --preset queryshift-preset.yaml",
    "shift": "queryshift check {0}\n  queryshift bench --shift {0}",
    "benchmark": "pytest {1}\n  queryshift bench --benchmark {0} --data FOLDER --model mini",
    "backbone": "pytest {1}\n  queryshift bench --model {0} --pretrained FILE.safetensors",
}


class New(Command):
    name = "new"
    summary = "write a small package for a method, shift, benchmark or backbone of your own"
    examples = "  queryshift new method mine\n  queryshift new shift dust --out packages"

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        parser.add_argument("kind", metavar="KIND", help=", ".join(_KINDS))
        parser.add_argument("name", metavar="NAME", help="as the registry will call it")
        parser.add_argument("--out", default=".", metavar="DIR", help="where its folder is made")

    def run(self, args: argparse.Namespace, console: Console) -> int:
        """Writes pyproject.toml, the module and its test; says what to do next."""
        from benchmark.config.files import atomic_write, user_path

        kind, name = args.kind, args.name
        if kind not in _KINDS:
            raise unknown("kind", kind, _KINDS)
        if not re.fullmatch(r"[a-z][a-z0-9_]*", name) or name in ("all", "none", "true", "false"):
            raise ConfigError(
                f"{name!r} cannot be the name of a {kind}; expected small letters, digits and _, "
                "such as my_idea, and none of all, none, true and false"
            )
        registry = REGISTRIES[f"{kind}s"]
        if name in registry:
            raise ConfigError(
                f"there is a {kind} {name!r} already ({registry.origin(name)}); take another name"
            )
        dashed = name.replace("_", "-")
        folder = user_path(args.out) / f"queryshift-{dashed}"
        if folder.exists():
            raise ConfigError(f"{folder} is there already, and nothing in it was changed")
        camel = "".join(part.capitalize() for part in name.split("_"))
        module = f"queryshift_{name}"
        facts = {"kind": kind, "name": name, "module": module, "camel": camel, "dashed": dashed}
        facts["target"] = {"benchmark": "card", "backbone": "load"}.get(kind, camel)
        files = {"pyproject.toml": "pyproject", f"{module}.py": kind}
        files[f"test_{module}.py"] = f"{kind}_test"
        try:
            folder.mkdir(parents=True)
            for file, template in files.items():
                text = Template((_TEMPLATES / f"{template}.txt").read_text(encoding="utf-8"))
                atomic_write(folder / file, text.substitute(facts).encode())
        except OSError as error:
            raise ResultsError(f"{folder} cannot be written: {error.strerror or error}") from None
        say(console, f"wrote {folder}/ ({', '.join(files)})")
        say(console, f"next:\n  pip install --no-deps -e {folder}")
        say(console, f"  {_CALL[kind].format(name, folder)}")
        return OK
