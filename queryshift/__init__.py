"""QueryShift from Python: run methods under query shift, look at the results, write a method.

    import queryshift

    result = queryshift.evaluate(method="rest,tcr", shift="gaussian", limit=300)
    print(result.verdict())

Importing this package imports neither torch nor pandas; each name below is imported when used.
"""

from __future__ import annotations

import functools
import importlib
import importlib.util
from importlib.machinery import ModuleSpec
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from benchmark import __version__ as __version__
    from benchmark.errors import QueryShiftError as QueryShiftError
    from benchmark.metrics.streamed import streamed_ranks as streamed_ranks
    from benchmark.metrics.streamed import streamed_top as streamed_top
    from methods import objectives as objectives
    from methods.adapt import AdaptedMethod as AdaptedMethod
    from methods.adapt import AdaptOptions as AdaptOptions
    from methods.adapt import Forward as Forward
    from methods.base import Method as Method
    from methods.base import MethodCard as MethodCard
    from methods.base import MethodError as MethodError
    from methods.base import NoOptions as NoOptions
    from methods.base import QueryEncoder as QueryEncoder
    from methods.base import Setup as Setup
    from methods.base import StepOutput as StepOutput
    from methods.options import option as option
    from queryshift.models import dual_encoder as dual_encoder
    from queryshift.result import Result as Result
    from queryshift.result import load_results as load_results
    from queryshift.run import evaluate as evaluate

_PLACES = {
    name: module
    for module, names in {
        "benchmark": "__version__",
        "benchmark.errors": "QueryShiftError",
        "benchmark.metrics.streamed": "streamed_ranks streamed_top",
        "methods.adapt": "AdaptedMethod AdaptOptions Forward",
        "methods.base": "Method MethodCard MethodError NoOptions QueryEncoder Setup StepOutput",
        "methods.objectives": "objectives",
        "methods.options": "option",
        "queryshift.models": "dual_encoder",
        "queryshift.result": "Result load_results",
        "queryshift.run": "evaluate",
    }.items()
    for name in names.split()
}
"""Name -> the module that has it, or that it is."""

__all__ = [*_PLACES]


def __getattr__(name: str) -> Any:
    if name not in _PLACES:
        raise AttributeError(f"module 'queryshift' has no attribute {name!r}")
    refuse_shadows()
    module = importlib.import_module(_PLACES[name])
    return module if name == "objectives" else getattr(module, name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})


@functools.cache
def refuse_shadows() -> None:
    """Raises QueryShiftError where Python finds another package or module of one of our names."""
    home = Path(__file__).resolve().parents[1]
    for name in ("benchmark", "methods", "shifts"):
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
