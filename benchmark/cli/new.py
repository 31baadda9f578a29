"""``queryshift new KIND NAME``: a package with a method, shift, benchmark or backbone."""

from __future__ import annotations

import argparse
import keyword
import re
from pathlib import Path
from string import Template

from rich.console import Console

from benchmark.cli.command import OK, Command, say
from benchmark.config.files import atomic_write, user_path
from benchmark.errors import ConfigError, ResultsError, did_you_mean
from benchmark.registry import REGISTRIES

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
    """Writes a package whose test passes as it stands."""

    name = "new"
    summary = "write a small package for a method, shift, benchmark or backbone of your own"
    examples = "  queryshift new method mine\n  queryshift new shift dust --out packages"

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        parser.add_argument("kind", metavar="KIND", help=", ".join(_KINDS))
        parser.add_argument("name", metavar="NAME", help="as the registry will call it")
        parser.add_argument("--out", default=".", metavar="DIR", help="where its folder is made")

    def run(self, args: argparse.Namespace, console: Console) -> int:
        """Writes pyproject.toml, the module and its test; says what to do next."""
        kind, name = args.kind, args.name
        if kind not in _KINDS:
            raise ConfigError(
                f"there is no kind {kind!r}{did_you_mean(kind, _KINDS)}; expected one of "
                f"{', '.join(_KINDS)}"
            )
        if not re.fullmatch(r"[a-z][a-z0-9_]*", name) or keyword.iskeyword(name.capitalize()):
            raise ConfigError(
                f"{name!r} cannot be the name of a {kind}; expected small letters, digits and _, "
                "such as my_idea, and no constant of Python"
            )
        registry = REGISTRIES[f"{kind}s"]
        if name in registry:
            raise ConfigError(
                f"there is a {kind} {name!r} already ({registry.origin(name)}); take another name"
            )
        folder = user_path(args.out) / f"queryshift-{name.replace('_', '-')}"
        if folder.exists():
            raise ConfigError(f"{folder} is there already, and nothing in it was changed")
        written = write_package(kind, name, folder)
        say(console, f"wrote {folder}/ ({', '.join(path.name for path in written)})")
        say(console, f"next:\n  pip install --no-deps -e {folder}")
        say(console, f"  {_CALL[kind].format(name, folder)}")
        return OK


def write_package(kind: str, name: str, folder: Path) -> list[Path]:
    """Writes the files of a package.

    Args:
        kind: "method", "shift", "benchmark" or "backbone".
        name: registry name.
        folder: where the files go; made here.

    Raises:
        ResultsError: they cannot be written.
    """
    camel = "".join(part.capitalize() for part in name.split("_"))
    module = f"queryshift_{name}"
    facts = {
        "kind": kind,
        "name": name,
        "dashed": name.replace("_", "-"),
        "module": module,
        "camel": camel,
        "target": {"benchmark": "card", "backbone": "load"}.get(kind, camel),
    }
    files = {
        "pyproject.toml": "pyproject",
        f"{module}.py": kind,
        f"test_{module}.py": f"{kind}_test",
    }
    written = []
    try:
        folder.mkdir(parents=True)
        for file, template in files.items():
            text = (_TEMPLATES / f"{template}.txt").read_text(encoding="utf-8")
            written.append(atomic_write(folder / file, Template(text).substitute(facts).encode()))
    except OSError as error:
        raise ResultsError(f"{folder} cannot be written: {error.strerror or error}") from None
    return written
