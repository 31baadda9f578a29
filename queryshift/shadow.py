"""Packages of ours that a folder of the user's own hides, said in one sentence."""

from __future__ import annotations

import functools
import importlib.util
from importlib.machinery import ModuleSpec
from pathlib import Path

PACKAGES = ("benchmark", "methods", "shifts")
"""What this package is made of; the names are so common that a user may have such folders."""


@functools.cache
def refuse_shadows() -> None:
    """Raises QueryShiftError where Python finds another package or module of one of our names."""
    home = Path(__file__).resolve().parents[1]
    for name in PACKAGES:
        spec = importlib.util.find_spec(name)
        found = _place(spec)
        if found != home / name:
            raise _error(home)(
                f"{found or f'a package {name!r}'} hides QueryShift's own package {name!r} "
                f"({home / name}), because Python looks there first; rename it, or run Python "
                "from another folder"
            )


def _place(spec: ModuleSpec | None) -> Path | None:
    """The folder of a package, or the file of a module."""
    if spec is None or spec.origin is None:
        return None
    path = Path(spec.origin).resolve()
    return path.parent if path.name == "__init__.py" else path


def _error(home: Path) -> type[Exception]:
    """``QueryShiftError``, read from its file: the package that holds it may be the hidden one."""
    spec = importlib.util.spec_from_file_location(
        "queryshift.errors", home / "benchmark" / "errors.py"
    )
    if spec is None or spec.loader is None:
        return ImportError
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    kind: type[Exception] = module.QueryShiftError
    return kind
