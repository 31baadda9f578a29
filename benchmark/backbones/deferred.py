"""Libraries that open_clip imports with itself and few of its models need: left for later.

timm and transformers, where they are installed, take longer to import than all else that open_clip
needs. Only towers of these libraries use them. So while open_clip is imported their names stand for
something that imports them when it is first used.
"""

from __future__ import annotations

import importlib
import importlib.util
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any

USER = "open_clip"
DEFERRED = ("timm", "timm.layers", "transformers", "transformers.modeling_outputs")
"""The modules that it takes names from."""


class Name:
    """A function or class of a module that is imported with the first call, attribute or check."""

    def __init__(self, module: str, name: str) -> None:
        self._place = module, name

    def _itself(self) -> Any:
        module, name = self._place
        return getattr(importlib.import_module(module), name)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self._itself()(*args, **kwargs)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._itself(), name)

    def __instancecheck__(self, instance: object) -> bool:
        return isinstance(instance, self._itself())


class _Module(ModuleType):
    """Stands in for a module as long as ``USER`` is imported."""

    def __getattr__(self, name: str) -> Name:
        if name.startswith("__"):
            raise AttributeError(name)
        return Name(self.__name__, name)


@contextmanager
def deferred() -> Iterator[None]:
    """Within, imports of ``DEFERRED`` give names for later; not of what is missing or loaded."""
    given = [
        name
        for name in DEFERRED
        if name not in sys.modules and importlib.util.find_spec(name.partition(".")[0])
    ]
    sys.modules.update({name: _Module(name) for name in given})
    try:
        yield
    finally:
        for name in given:
            del sys.modules[name]


class _Finder(MetaPathFinder):
    """Finds ``USER`` as the other finders do, and has it imported within ``deferred``."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if fullname != USER:
            return None
        others = (finder for finder in sys.meta_path if finder is not self)
        found = (finder.find_spec(fullname, path, target) for finder in others)
        spec = next(filter(None, found), None)
        if spec is not None and spec.loader is not None:
            run = spec.loader.exec_module

            def exec_module(module: ModuleType) -> None:
                with deferred():
                    run(module)

            spec.loader.exec_module = exec_module  # type: ignore[method-assign]
        return spec


def install() -> None:
    """Has open_clip imported without these libraries, whoever imports it first."""
    if not any(isinstance(finder, _Finder) for finder in sys.meta_path):
        sys.meta_path.insert(0, _Finder())
