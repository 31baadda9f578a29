"""Files: YAML whose errors name file and line; files that appear whole; paths; harmless CSV texts.

Values are read as YAML 1.2 reads them: ``off``, ``no``, ``2026-02-28`` and ``1:30`` are texts (YAML
1.1 makes false, a date and 90 of them), ``1e-3`` is a number, and ``010`` is no octal one.
"""

from __future__ import annotations

import codecs
import contextlib
import os
import re
import secrets
import stat
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import yaml

from benchmark.config.validate import Place, check
from benchmark.errors import ConfigError, shown

if TYPE_CHECKING:
    import pandas as pd


def atomic_write(path: Path, content: bytes | Callable[[IO[bytes]], object]) -> Path:
    """Writes under a temporary name in the same folder, syncs and renames.

    A process that is killed, or a disk that is full, leaves what was there before; of a kill a
    hidden ``.tmp`` file may stay.

    Args:
        path: of the file; missing folders are made.
        content: its bytes, or what writes them into an open file.

    Returns:
        ``path``.

    Raises:
        OSError: it cannot be written.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}-{secrets.token_hex(4)}.tmp")
    try:
        with temporary.open("xb") as file:
            if isinstance(content, bytes):
                file.write(content)
            else:
                content(file)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
    return path


def regular(path: Path) -> Path:
    """The path, of what is a file; ValueError where it is none: a pipe would be waited for."""
    if not stat.S_ISREG(path.stat().st_mode):
        raise ValueError(f"{path.name} is no file")
    return path


def expanded(text: str) -> str:
    """A path with ``~`` or ``~name`` in front replaced by that home folder.

    Raises:
        ValueError: that home folder is not known (a container without one, no such user), or the
            text cannot be a path.
    """
    if "\0" in text:
        raise ValueError(f"a path cannot hold a zero byte: {text!r}")
    if not text.startswith("~") or os.path.lexists(text):
        return text
    first = text.partition(os.sep)[0]
    whole = os.path.expanduser(text)
    # With HOME set to nothing, "~/x" would become "/x".
    if whole == text or (first == "~" and os.environ.get("HOME") == ""):
        raise ValueError(f"{text!r}: no home folder {first!r} is known here; write the whole path")
    return whole


def user_path(text: str | Path) -> Path:
    """As ``expanded``, for places that are not read by a reader of settings.

    Raises:
        ConfigError: as ``expanded`` raises ValueError.
    """
    try:
        return Path(expanded(str(text)))
    except ValueError as error:
        raise ConfigError(str(error)) from None


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

    def check(self, kind: Any, place: Place = (), owner: str = "") -> Any:
        """The value at a place as its type has it (``validate.check``).

        Raises:
            UnknownNameError: a key that does not exist; says file and line.
            ConfigError: a value of the wrong type or range; says file and line.
        """
        return check(kind, self.value(place), partial(self.where, at=place), owner=owner)

    def error(self, place: Place, what: str) -> ConfigError:
        """An error that starts with file and line of a place."""
        return ConfigError(f"{self.where(place)}: {what}")

    def where(self, place: Place, *, at: Place = ()) -> str:
        """File and line of a place within the one that ``at`` names, as in ``grid.yaml:3``."""
        node, line = self.tree, self.tree.start_mark.line
        for step in (*at, *place):
            if isinstance(node, yaml.MappingNode):
                pairs = [(k, v) for k, v in node.value if k.value == step]
                if not pairs:
                    break
                line, node = pairs[0][0].start_mark.line, pairs[0][1]
            elif isinstance(node, yaml.SequenceNode) and isinstance(step, int):
                node = node.value[step]
                line = node.start_mark.line
        return f"{self.path}:{line + 1}"


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
            "(iconv -f WINDOWS-1252 -t UTF-8)"
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

    def fault(node: yaml.Node, what: str) -> ConfigError:
        return ConfigError(f"{path}:{node.start_mark.line + 1}: {what}")

    def size_of(node: yaml.Node) -> int:
        if sizes.get(id(node)) == 0:
            raise fault(node, "an alias (*) here stands within what it names")
        if id(node) not in sizes:
            sizes[id(node)] = 0  # not known yet
            parts = node.value if isinstance(node, yaml.CollectionNode) else []
            if isinstance(node, yaml.MappingNode):
                check_keys(node)
                parts = [part for pair in parts for part in pair]
            sizes[id(node)] = 1 + sum(map(size_of, parts))
            if sizes[id(node)] > MAX_NODES:
                what = f"more than {MAX_NODES:,} values here, aliases (*) counted each time"
                raise fault(node, f"{what}; write fewer")
        return sizes[id(node)]

    def check_keys(node: yaml.MappingNode) -> None:
        seen: dict[tuple[str, str], int] = {}
        for key, _ in node.value:
            if not isinstance(key, yaml.ScalarNode):
                raise fault(key, "a key must be a text, not a list or a mapping")
            if key.tag not in _KEY_TAGS:
                raise fault(key, f"the key {key.value} must be a text: put it in quotes")
            if (key.tag, key.value) in seen:
                line = seen[key.tag, key.value]
                raise fault(key, f"key {shown(key.value)} is already in line {line}")
            seen[key.tag, key.value] = key.start_mark.line + 1

    size_of(tree)


_FORMULA = ("=", "+", "-", "@", "\t", "\r")


def no_formula(value: Any) -> Any:
    """A text that a spreadsheet would run, with an apostrophe in front; all else as it is.

    >>> no_formula("=1+1"), no_formula("-6.3"), no_formula(-6.3), no_formula("tent")
    ("'=1+1", '-6.3', -6.3, 'tent')
    """
    if not isinstance(value, str) or not value.startswith(_FORMULA):
        return value
    with contextlib.suppress(ValueError):
        float(value)
        return value
    return f"'{value}".replace("\r", " ")


def no_formulas(frame: pd.DataFrame) -> pd.DataFrame:
    """The frame with harmless texts, in headings as well; numbers stay numbers."""
    texts = [i for i, kind in enumerate(frame.dtypes) if kind.kind not in "biufc"]
    safe = frame.copy(deep=False)
    for i in texts:
        safe.isetitem(i, list(frame.iloc[:, i].map(no_formula)))
    safe.columns = [no_formula(name) for name in frame.columns]
    return safe
