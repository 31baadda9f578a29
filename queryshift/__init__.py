"""QueryShift from Python: run methods under query shift, look at the results, write a method.

    import queryshift

    result = queryshift.evaluate(method="rest,tcr", shift="gaussian", limit=300)
    print(result.verdict())

Importing this package imports neither torch nor pandas; each name below is imported when used.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from queryshift.shadow import refuse_shadows

if TYPE_CHECKING:
    from benchmark import __version__
    from benchmark.errors import QueryShiftError
    from benchmark.metrics.streamed import streamed_ranks, streamed_top
    from methods import objectives
    from methods.adapt import AdaptedMethod, AdaptOptions, Forward
    from methods.base import Method, MethodCard, MethodError, NoOptions, QueryEncoder, Setup
    from methods.base import StepOutput as StepOutput
    from methods.options import option
    from queryshift.models import dual_encoder
    from queryshift.result import Result, load_results
    from queryshift.run import evaluate

_PLACES = {
    "__version__": "benchmark",
    "QueryShiftError": "benchmark.errors",
    "evaluate": "queryshift.run",
    "Result": "queryshift.result",
    "load_results": "queryshift.result",
    "dual_encoder": "queryshift.models",
    "streamed_ranks": "benchmark.metrics.streamed",
    "streamed_top": "benchmark.metrics.streamed",
    "AdaptedMethod": "methods.adapt",
    "AdaptOptions": "methods.adapt",
    "Forward": "methods.adapt",
    "Method": "methods.base",
    "MethodCard": "methods.base",
    "MethodError": "methods.base",
    "NoOptions": "methods.base",
    "QueryEncoder": "methods.base",
    "Setup": "methods.base",
    "StepOutput": "methods.base",
    "option": "methods.options",
    "objectives": "methods.objectives",
}
"""Name -> the module that has it, or that it is."""

__all__ = [
    "AdaptOptions",
    "AdaptedMethod",
    "Forward",
    "Method",
    "MethodCard",
    "MethodError",
    "NoOptions",
    "QueryEncoder",
    "QueryShiftError",
    "Result",
    "Setup",
    "StepOutput",
    "__version__",
    "dual_encoder",
    "evaluate",
    "load_results",
    "objectives",
    "option",
    "streamed_ranks",
    "streamed_top",
]


def __getattr__(name: str) -> Any:
    if name not in _PLACES:
        raise AttributeError(f"module 'queryshift' has no attribute {name!r}")
    refuse_shadows()
    module = importlib.import_module(_PLACES[name])
    return module if name == "objectives" else getattr(module, name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
