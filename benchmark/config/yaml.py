"""YAML documents whose errors name file and line.

Values are read as YAML 1.2 reads them: ``off``, ``no``, ``2026-02-28`` and ``1:30`` are texts (YAML
1.1 makes false, a date and 90 of them), ``1e-3`` is a number, and ``010`` is no octal one.
"""

from __future__ import annotations

import codecs
import re
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import yaml

from benchmark.config.validate import Place, check
from benchmark.errors import ConfigError, shown


@dataclass(frozen=True)
class Document:
    """A parsed file: plain values, and the syntax tree that knows the lines."""

    path: Path
    data: Any
    tree: yaml.Node

    def value(self, place: Place = ()) -> Any:
        """The value at a place, which must exist."""
        found = self.data
        for step in place:
            found = found[step]
        return found

    def check(self, kind: Any, place: Place = ()) -> Any:
        """The value at a place as its type has it (``validate.check``).

        Raises:
            UnknownNameError: a key that does not exist; says file and line.
            ConfigError: a value of the wrong type or range; says file and line.
        """
        return check(kind, self.value(place), partial(self.where, at=place))

    def error(self, place: Place, what: str) -> ConfigError:
        """An error that starts with file and line of a place."""
        return ConfigError(f"{self.where(place)}: {what}")

    def where(self, place: Place, *, at: Place = ()) -> str:
        """File and line of a place within the one that ``at`` names, as in ``grid.yaml:3``."""
        return f"{self.path}:{self._line((*at, *place))}"

    def _line(self, place: Place) -> int:
        node, line = self.tree, self.tree.start_mark.line
        for step in place:
            if isinstance(node, yaml.MappingNode):
                pairs = [(k, v) for k, v in node.value if k.value == step]
                if not pairs:
                    break
                line, node = pairs[0][0].start_mark.line, pairs[0][1]
            elif isinstance(node, yaml.SequenceNode) and isinstance(step, int):
                node = node.value[step]
                line = node.start_mark.line
        return int(line) + 1


MAX_BYTES = 10_000_000
MAX_NODES = 200_000
"""Values that a file may hold, those that aliases repeat counted each time."""


class _Loader(yaml.SafeLoader):
    """Plain values only, read by the rules of YAML 1.2's core schema."""

    def construct_object(self, node: yaml.Node, deep: bool = False) -> Any:
        """As the safe loader; a value that is not what its tag says is an error with its line."""
        try:
            return super().construct_object(node, deep)
        except (ValueError, KeyError, OverflowError):
            kind = node.tag.rpartition(":")[2]
            problem = f"{shown(node.value)} cannot be read as {kind}"
            raise yaml.constructor.ConstructorError(None, None, problem, node.start_mark) from None


_Loader.yaml_implicit_resolvers = {}  # its own, without those of YAML 1.1
for _kind, _pattern, _first in (
    ("bool", "true|True|TRUE|false|False|FALSE", "tTfF"),
    ("int", "[-+]?[1-9][0-9]*|[-+]?0", "-+0123456789"),
    ("float", r"[-+]?(\.[0-9]+|(0|[1-9][0-9]*)\.[0-9]*)([eE][-+]?[0-9]+)?", "-+.0123456789"),
    ("float", "[-+]?(0|[1-9][0-9]*)[eE][-+]?[0-9]+", "-+0123456789"),
    ("float", r"[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)", "-+."),
    ("null", "~|null|Null|NULL|", ["~", "n", "N", ""]),
    ("merge", "<<", "<"),
):
    _Loader.add_implicit_resolver(
        f"tag:yaml.org,2002:{_kind}", re.compile(f"(?:{_pattern})$"), list(_first)
    )


def read_document(path: Path) -> Document:
    """Reads a YAML file.

    Raises:
        ConfigError: unreadable, not UTF-8 (or UTF-16 with its mark), not YAML, empty, nested too
            deeply, grown beyond ``MAX_NODES`` by its aliases, or with a key given twice (which
            YAML readers otherwise pass over in silence).
    """
    text = _text(path)
    try:
        loader = _Loader(text)
        tree = loader.get_single_node()
        if tree is None:
            raise ConfigError(f"{path} is empty; expected settings (KEY: VALUE)")
        _check_tree(path, tree)
        data = loader.construct_document(tree)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = f":{mark.line + 1}" if mark else ""
        if isinstance(error, yaml.reader.ReaderError):
            line = f":{text.count(chr(10), 0, error.position) + 1}"
        problem = getattr(error, "problem", None) or getattr(error, "reason", None) or error
        raise ConfigError(f"{path}{line}: not valid YAML: {problem}") from None
    except RecursionError:
        raise ConfigError(f"{path} is nested too deeply for a file of settings") from None
    return Document(path, data, tree)


def _text(path: Path) -> str:
    try:
        with path.open("rb") as file:
            raw = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise ConfigError(f"cannot read {path}: {error.strerror or error}") from None
    if len(raw) > MAX_BYTES:
        raise ConfigError(f"{path} has more than {MAX_BYTES:,} bytes, too many for settings")
    marks = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
    encoding = "utf-16" if raw.startswith(marks) else "utf-8-sig"
    try:
        text = raw.decode(encoding)
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        raise ConfigError(
            f"{path}:{line}: not UTF-8 (byte 0x{raw[error.start]:02x}); save it as UTF-8 "
            "(iconv -f latin1 -t utf8)"
        ) from None
    if "\0" in text:
        raise ConfigError(
            f"{path} holds zero bytes: no text, or UTF-16 without its mark; save it as UTF-8"
        )
    return text


_KEY_TAGS = ("tag:yaml.org,2002:str", "tag:yaml.org,2002:merge")


def _check_tree(path: Path, tree: yaml.Node) -> None:
    """Refuses repeated keys, aliases within themselves, and aliases that repeat too much."""
    sizes: dict[int, int] = {}
    open_nodes: set[int] = set()

    def size_of(node: yaml.Node) -> int:
        line = node.start_mark.line + 1
        if id(node) in open_nodes:
            raise ConfigError(f"{path}:{line}: an alias (*) here stands within what it names")
        if id(node) not in sizes:
            open_nodes.add(id(node))
            sizes[id(node)] = 1 + sum(map(size_of, _children(path, node)))
            open_nodes.remove(id(node))
            if sizes[id(node)] > MAX_NODES:
                raise ConfigError(
                    f"{path}:{line}: more than {MAX_NODES:,} values here, aliases (*) counted each "
                    "time; write fewer"
                )
        return sizes[id(node)]

    size_of(tree)


def _children(path: Path, node: yaml.Node) -> list[yaml.Node]:
    if isinstance(node, yaml.SequenceNode):
        return list(node.value)
    if not isinstance(node, yaml.MappingNode):
        return []
    seen: dict[tuple[str, str], int] = {}
    for key, _ in node.value:
        line = key.start_mark.line + 1
        if not isinstance(key, yaml.ScalarNode):
            raise ConfigError(f"{path}:{line}: a key must be a text, not a list or a mapping")
        if key.tag not in _KEY_TAGS:
            raise ConfigError(
                f"{path}:{line}: the key {key.value} must be a text: put it in quotes"
            )
        if (key.tag, key.value) in seen:
            raise ConfigError(
                f"{path}:{line}: key {shown(key.value)} is already in line "
                f"{seen[key.tag, key.value]}"
            )
        seen[key.tag, key.value] = line
    return [part for pair in node.value for part in pair]
