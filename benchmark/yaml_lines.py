"""YAML documents whose errors name file and line."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from benchmark.errors import ConfigError, did_you_mean

Place = tuple[str | int, ...]
"""Where in a document: keys and positions from the top."""


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

    def mapping(self, place: Place = ()) -> Mapping[str, Any]:
        """The mapping at a place; its keys are texts.

        Raises:
            ConfigError: it is something else.
        """
        found = self.value(place)
        if not isinstance(found, dict) or not all(isinstance(key, str) for key in found):
            raise self.error(place, f"{_name(place)} must be a mapping")
        return found

    def sequence(self, place: Place) -> Sequence[Any]:
        """The list at a place.

        Raises:
            ConfigError: it is something else.
        """
        found = self.value(place)
        if not isinstance(found, list):
            raise self.error(place, f"{_name(place)} must be a list")
        return found

    def text(self, place: Place) -> str:
        """The text at a place.

        Raises:
            ConfigError: it is something else.
        """
        found = self.value(place)
        if not isinstance(found, str):
            raise self.error(place, f"{_name(place)} must be a text, not {found!r}")
        return found

    def check_keys(
        self, place: Place, *, required: Iterable[str] = (), optional: Iterable[str] = ()
    ) -> None:
        """Raises ConfigError for an unknown or a missing key of the mapping at a place."""
        found = self.mapping(place)
        known = tuple(dict.fromkeys((*required, *optional)))
        for key in found:
            if key not in known:
                raise self.unknown_key(place, key, known)
        missing = [key for key in required if key not in found]
        if missing:
            raise self.error(place, f"{_name(place)} lacks {', '.join(missing)}")

    def unknown_key(self, place: Place, key: str, known: Sequence[str]) -> ConfigError:
        """The error for a key that should not be there."""
        near = did_you_mean(key, known)
        return self.error((*place, key), f"unknown key {key!r}{near}; known: {', '.join(known)}")

    def error(self, place: Place, what: str) -> ConfigError:
        """An error that starts with file and line of a place."""
        return ConfigError(f"{self.where(place)}: {what}")

    def where(self, place: Place) -> str:
        """File and line of a place, as in ``grid.yaml:3``."""
        return f"{self.path}:{self._line(place)}"

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


def read_document(path: Path) -> Document:
    """Reads a YAML file.

    Raises:
        ConfigError: unreadable, not UTF-8, not YAML, empty, or with a key given twice (which YAML
            readers otherwise pass over in silence).
    """
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"cannot read {path}: {error}") from None
    try:
        tree = yaml.compose(text, Loader=yaml.SafeLoader)
        data = yaml.safe_load(text)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = f":{mark.line + 1}" if mark else ""
        raise ConfigError(
            f"{path}{line}: not valid YAML: {getattr(error, 'problem', error)}"
        ) from None
    if tree is None:
        raise ConfigError(f"{path} is empty")
    document = Document(path, data, tree)
    _refuse_repeated_keys(document, tree)
    return document


def _refuse_repeated_keys(document: Document, node: yaml.Node) -> None:
    if isinstance(node, yaml.SequenceNode):
        for item in node.value:
            _refuse_repeated_keys(document, item)
    elif isinstance(node, yaml.MappingNode):
        seen: dict[str, int] = {}
        for key, value in node.value:
            line = key.start_mark.line + 1
            if key.value in seen:
                raise ConfigError(
                    f"{document.path}:{line}: key {key.value!r} is already in line "
                    f"{seen[key.value]}"
                )
            seen[str(key.value)] = line
            _refuse_repeated_keys(document, value)


def _name(place: Place) -> str:
    return repr(place[-1]) if place and isinstance(place[-1], str) else "the entry"
