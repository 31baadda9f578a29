"""``evaluate``: methods under query shift, called from Python."""

from __future__ import annotations

import importlib
import logging
import os
import sys
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from html import escape
from pathlib import Path
from typing import Any

import torch
from rich.console import Console

from benchmark.cell import Cell, Record, Status, unfinished
from benchmark.cli.progress import Bars, Lines, label
from benchmark.config.files import user_path
from benchmark.config.run import KINDS, BenchConfig, Traced, defaults
from benchmark.config.validate import check
from benchmark.data.own.source import is_own, read_columns
from benchmark.errors import (
    ConfigError,
    QueryShiftError,
    UnknownNameError,
    did_you_mean,
    reason_of,
)
from benchmark.evaluation.builders import default_resources
from benchmark.evaluation.callbacks import Callback, CallbackList, opened
from benchmark.evaluation.isolation import settings_kept
from benchmark.evaluation.resources import Resources
from benchmark.evaluation.runner import run_cell
from benchmark.executors import SerialExecutor, identify, run_cells
from benchmark.planning.own_data import completed
from benchmark.planning.plan import Plan, plan_flags
from benchmark.planning.specs import untuned
from benchmark.registry import METHODS
from benchmark.report.problems import problems
from benchmark.report.results import CellResult
from benchmark.report.writing import load_results, result_of, write_all
from benchmark.store.run_store import RunStore
from methods.base import MethodError
from queryshift.given import Given, Lender, understood
from queryshift.models import one_line
from queryshift.result import Result
from shifts.base import ShiftError

logger = logging.getLogger("benchmark")

_COMMAND_ONLY = (
    *("workers", "threads", "executor", "slurm", "address", "time_limit", "shard", "data"),
    *("benchmark", "columns"),
)
"""Settings that are the command's: how several processes share a run, and what has other names."""

ORIGIN = "evaluate"


def evaluate(
    method: Any = "rest",
    model: Any = None,
    data: Any = None,
    shift: Any = None,
    *,
    out: str = "",
    name: str = "data",
    columns: Mapping[str, str] | None = None,
    root: str = "",
    progress: bool = True,
    **settings: Any,
) -> Result:
    """Runs methods under query shift in this process, beside the unadapted source model.

    Args:
        method: names ("rest,tcr"), subclasses of ``Method``, instances (made anew, with their
            options, for each cell), functions ``(Setup) -> Method``, or a list of these.
        model: a name as for ``--model`` ("mini", "hf:FOLDER", an open_clip model); a
            ``DualEncoder``; or ``(image module, preprocess), (text module, tokenise)``, see
            ``dual_encoder``. Default: the benchmark's own.
        data: a benchmark's name (default: the embedded pictures); the path of a table of your own;
            a table of pandas, Polars, Arrow or Hugging Face, a list of rows or a mapping with the
            columns ``image, caption`` (and the like, see docs/own-data.md); (images, captions); or
            a ``RetrievalSet``. Pictures are paths below ``root`` or (H, W, 3) uint8 arrays.
        shift: names ("gaussian,keyboard"), subclasses of ``Shift``, or a list of these.
        out: folder of the run, which a second call goes on from; "" writes nothing. Cells of
            methods, shifts and models given as objects are run again all the same, unless
            ``if_exists="missing"``.
        name: what results on data in memory are called (``own:NAME-i2t``).
        columns: our name of a column -> yours.
        root: the folder that paths of a DataFrame start from, or that of published data sets.
        progress: whether to show bars.
        settings: any other setting of ``queryshift bench``, with underscores: ``severity``,
            ``seed``, ``limit``, ``batch_size``, ``option={"lr": 1e-4}``, ``preset``, ``stream`` ...

    Raises:
        QueryShiftError: what is wrong in the arguments, or why nothing at all could be run.
    """
    with ExitStack() as stack:
        stack.enter_context(warnings.catch_warnings())
        warnings.filterwarnings("ignore", message="IProgress not found")  # tqdm's, in a notebook
        stack.enter_context(_usual_settings())
        try:
            lender = Lender(stack)
            run = _prepare(lender, method, model, shift, settings)
            given = _place(run, data, name=name, columns=columns, root=root)
            plan = _plan(run, given, out)
            _say_untuned(plan)
        except (MethodError, ShiftError) as error:
            raise ConfigError(str(error)) from None
        again = plan.config.if_exists == "always" or (lender.own and "if_exists" not in run)
        results = _results(plan, given, bool(lender.own), again=again, progress=progress)
    left = [unfinished(p.cell, "", Status.SKIPPED, p.reason) for p in plan.cells if p.reason]
    results += [CellResult(record) for record in left]
    _complain(results)
    if not plan.config.out:  # what is stored has been looked at when its tables were written
        scored = [r for r in results if r.record.status is Status.DONE and not r.unlabelled]
        for line in problems(scored):
            logger.warning("%s", line)
    return Result(results)


@contextmanager
def _usual_settings() -> Iterator[None]:
    """What a notebook may have set for itself is not how a run is to compute."""
    with settings_kept(), torch.inference_mode(False):
        torch.set_default_dtype(torch.float32)
        torch.set_default_device(None)
        for device in ("cpu", "cuda"):
            torch.set_autocast_enabled(device, False)
        yield


_Run = dict[str, Traced]
"""The settings so far by name, as text or plain values."""


def _set(run: _Run, name: str, value: Any) -> None:
    run[name] = Traced(check(KINDS[name], _plain(value), f"{name}="), ORIGIN)


def _plain(value: Any) -> Any:
    """Arrays and their numbers, ranges, paths and devices as what a command line would say."""
    if hasattr(value, "tolist") and not isinstance(value, type):
        return value.tolist()
    if isinstance(value, range):
        return list(value)
    return str(value) if isinstance(value, os.PathLike | torch.device) else value


def _prepare(
    lender: Lender, method: Any, model: Any, shift: Any, settings: Mapping[str, Any]
) -> _Run:
    run: _Run = {}
    known = [name for name in KINDS if name not in _COMMAND_ONLY]
    for name, value in settings.items():
        if name in _COMMAND_ONLY:
            raise ConfigError(
                f"evaluate() takes no {name}: it runs in this process, on data=; several processes "
                "are for the command (queryshift bench --workers 4)"
            )
        if name not in known:
            raise UnknownNameError(
                f"evaluate() takes no {name!r}{did_you_mean(name, known)}; known beside its own: "
                f"{', '.join(known)}"
            )
        if value is not None:
            _set(run, name, value)
    _set(run, "method", lender.methods(method))
    if shift is not None:
        _set(run, "shift", lender.shifts(shift))
    named, device = lender.model(model, settings.get("device") or "auto")
    if named:
        _set(run, "model", named)
    if lender.own and model is not None and not isinstance(model, str):
        _set(run, "device", device)
        run.setdefault("transform", Traced("clip", ORIGIN))  # the model's own
    return run


def _place(
    run: _Run, data: Any, *, name: str, columns: Mapping[str, str] | None, root: str
) -> Given | None:
    """Notes where the data are; gives those that are in memory."""
    for what, value in (("name", name), ("root", root)):
        if not isinstance(value, str | os.PathLike):
            raise ConfigError(
                f"{what}={one_line(value)} is a {type(value).__name__}; expected a text"
            )
    name, root = str(name), str(user_path(str(root))) if str(root) else ""
    if columns is not None and not isinstance(columns, Mapping):
        raise ConfigError(
            f"columns={one_line(columns)} cannot be used; expected our name of each column "
            'and yours, such as {"image": "path", "caption": "title"}'
        )
    if columns:
        columns = dict(read_columns(f"{ours}={theirs}" for ours, theirs in columns.items()))
    text = str(data) if isinstance(data, str) or hasattr(data, "__fspath__") else None
    split = run["split"].value if "split" in run else ""
    if data is not None and text is None:
        run.pop("split", None)
        for setting in ("gallery", "qrels", "clean", "unlabelled"):
            if setting in run and run[setting].value:
                raise ConfigError(
                    f"{setting}= goes with tables on disk (data='log.csv'); data in memory with a "
                    "gallery of their own are a RetrievalSet"
                )
        return understood(data, name=name, columns=columns, root=root, split=split)
    if text and (is_own(text) or Path(text).exists() or "/" in text):
        _set(run, "data", text)
        if columns:
            _set(run, "columns", [f"{ours}={theirs}" for ours, theirs in columns.items()])
        return None
    if columns:
        raise ConfigError("columns= says which column of your own data is which; give data= too")
    if text:
        _set(run, "benchmark", text)
    if root:
        _set(run, "data", root)
    return None


def _plan(run: _Run, given: Given | None, out: str) -> Plan:
    if out is not None:
        _set(run, "out", out)
    traced = {**defaults(), **run}
    if given is not None:
        config = BenchConfig(**{name: one.value for name, one in traced.items()})
        filled = completed(config, set(run), given.found)
        for name in ("benchmark", "shift", "stream", "stream_option", "model"):
            traced[name] = Traced(getattr(filled, name), ORIGIN)
    return plan_flags(traced)


def _say_untuned(plan: Plan) -> None:
    """Warns of methods that nobody has tuned, beside built-in ones that are."""
    # What a function makes has the options that the caller chose.
    names = [name for name in untuned(plan.possible) if METHODS.get(name).__name__ != "Made"]
    if names:
        logger.warning(
            "untuned on the embedded default, unlike the built-in methods: %s; set options, or "
            "make a plugin and use queryshift tune",
            ", ".join(names),
        )


def _results(
    plan: Plan, given: Given | None, own: bool, *, again: bool, progress: bool
) -> list[CellResult]:
    """Runs the cells of a plan; ``own``: some of what they name was given as objects."""
    config, cells, fewest = plan.config, plan.possible, plan.config.loader_workers
    used = replace(
        config,
        cache=config.cache or ("" if config.out and not own else "off"),
        loader_workers=0 if own and fewest is None else fewest,
    )
    resources = default_resources(used, given.sets if given else None)
    with opened(config.log) as logs, _shown(len(cells), quiet=config.quiet or not progress) as bars:
        logs.add(bars)
        if not config.out:
            return _in_memory(cells, resources, logs)
        # What the folder does not have is run; tables and figures stand beside the cells.
        store = RunStore(config.out)
        found = identify(cells, store, resources, again=again)
        records = run_cells(found, SerialExecutor(resources), progress=logs)
        stored = load_results(store)
        write_all(store, stored, figures=not config.no_figures)
        by_key = {result.record.key: result for result in stored}
        return [by_key[record.key] for record in records]


def _in_memory(cells: Sequence[Cell], resources: Resources, tell: Callback) -> list[CellResult]:
    """Runs cells and writes nothing."""
    results = []
    problem: QueryShiftError | None = None
    for cell in cells:
        try:
            resources.key(cell)
        except QueryShiftError as error:
            problem = error
            results.append(CellResult(unfinished(cell, "", Status.FAILED, reason_of(error))))
            continue
        record, arrays = run_cell(cell, resources, progress=tell)
        tell.cell_done(record)
        results.append(result_of(record, arrays))
    if problem is not None and not any(r.record.status is Status.DONE for r in results):
        raise problem
    return results


def _complain(results: Sequence[CellResult]) -> None:
    """Warns of cells without a result; raises where nothing else came of the run."""
    lost = [r.record for r in results if r.record.status is not Status.DONE]
    asked = [r for r in results if r.record.cell["method"]["name"] != "source"] or list(results)
    if lost and not any(result.record.status is Status.DONE for result in asked):
        raise ConfigError(f"nothing could be run: {_why(lost[-1])}")
    for line in dict.fromkeys(map(_why, lost)):
        logger.warning("%s", line)


def _why(record: Record) -> str:
    place = f" ({where})" if (where := record.info.get("where")) else ""
    return f"{record.cell['method']['name']} {record.status.value}: {record.reason}{place}"


@contextmanager
def _shown(total: int, *, quiet: bool) -> Iterator[Callback]:
    """Gives the callback that shows the progress of so many cells within the block."""
    console = Console(stderr=True)
    shell = getattr(sys.modules.get("IPython"), "get_ipython", lambda: None)()
    if quiet:
        yield CallbackList()
    elif type(shell).__name__ == "ZMQInteractiveShell":  # a notebook
        bar = _NotebookBar(total, importlib.import_module("IPython.display"))
        yield bar
        bar.close()
    elif console.is_interactive:
        with Bars(console, total) as bars:
            yield bars
    else:
        yield Lines(console, total)


class _NotebookBar:
    """A bar of plain HTML, which needs no extension of the notebook.

    Args:
        total: cells.
        display: the module ``IPython.display``.
    """

    def __init__(self, total: int, display: Any) -> None:
        self._html = display.HTML
        self._total, self._done = total, 0
        self._handle = display.display(self._html(""), display_id=True)

    def cell_started(self, cell: Cell, batches: int, queries: int) -> None:
        self._show(label(cell))

    def batch_done(self, cell: Cell, batch_log: Mapping[str, float]) -> None:
        """Bars are for cells here."""

    def cell_done(self, record: Record) -> None:
        self._done += 1
        self._show("")

    def close(self) -> None:
        """Takes the bar away."""
        self._handle.update(self._html(""))

    def _show(self, text: str) -> None:
        bar = f'<progress value="{self._done}" max="{self._total}"></progress>'
        self._handle.update(self._html(f"{bar} {self._done}/{self._total} {escape(text)}"))
