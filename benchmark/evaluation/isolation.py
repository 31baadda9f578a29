"""What a cell may do to its process and the next cell must not see: taken before, put back after.

Three kinds are told apart. *Surroundings* (working folder, environment, warnings ...) are put back.
*Settings of computation* (default dtype, gradient mode ...) are put back, and what was kept for
later cells meanwhile is dropped, since it may have been computed under them. *Foundations*
(functions of torch and of this package, hooks on all modules) are put back as well, and the cell
has failed: its own numbers were measured with other functions than those of its neighbours.
"""

from __future__ import annotations

import builtins
import gc
import importlib
import inspect
import logging
import math
import operator
import os
import pkgutil
import random
import signal
import sys
import threading
import types
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.modules.module as module_hooks
import torch.optim.optimizer as optimizer_hooks
from torch import Tensor, nn

import methods

Setting = tuple[Callable[[], Any], Callable[[Any], object]]
"""How to read it and how to set it."""

_PLAIN = (torch, nn.functional, nn.init, torch.linalg, torch.special, math, random, np, np.linalg)
_OURS = ("benchmark", "methods", "shifts")
_WATCHED = (*_OURS, "torch.nn.modules", "torch.optim")
_TORCH = Path(torch.__file__).parent


def _autocast(device: str) -> tuple[Setting, Setting]:
    return (
        (partial(torch.is_autocast_enabled, device), partial(torch.set_autocast_enabled, device)),
        (partial(torch.get_autocast_dtype, device), partial(torch.set_autocast_dtype, device)),
    )


def _put_default_device(device: torch.device) -> None:
    torch.set_default_device(None)
    if device != torch.get_default_device():
        torch.set_default_device(device)


def _flag(owner: Any, name: str) -> Setting:
    return lambda: getattr(owner, name), lambda value: setattr(owner, name, value)


_COMPUTATION: tuple[Setting, ...] = (
    (torch.get_default_dtype, torch.set_default_dtype),
    (torch.get_default_device, _put_default_device),
    (torch.get_num_threads, torch.set_num_threads),
    (torch.is_grad_enabled, torch.set_grad_enabled),
    *_autocast("cpu"),
    *_autocast("cuda"),
    (
        lambda: (
            torch.are_deterministic_algorithms_enabled(),
            torch.is_deterministic_algorithms_warn_only_enabled(),
        ),
        lambda value: torch.use_deterministic_algorithms(value[0], warn_only=value[1]),
    ),
    (
        lambda: (torch.is_anomaly_enabled(), torch.is_anomaly_check_nan_enabled()),
        lambda value: torch.autograd.set_detect_anomaly(*value),
    ),
    (torch.get_float32_matmul_precision, torch.set_float32_matmul_precision),
    (  # whether the smallest numbers become 0
        lambda: not bool(torch.tensor([1e-42], dtype=torch.float32, device="cpu").mul(1.0).item()),
        torch.set_flush_denormal,
    ),
    (torch._C._get_mkldnn_enabled, torch._C._set_mkldnn_enabled),
    _flag(torch.backends.cudnn, "enabled"),
    _flag(torch.backends.cudnn, "benchmark"),
    _flag(torch.backends.cudnn, "deterministic"),
    (torch.backends.cuda.flash_sdp_enabled, torch.backends.cuda.enable_flash_sdp),
    (np.geterr, lambda value: np.seterr(**value)),
)


def _put_environment(value: Mapping[str, str]) -> None:
    os.environ.clear()
    os.environ.update(value)


def _put_filters(value: list[Any]) -> None:
    warnings.resetwarnings()
    warnings.filters.extend(value)  # type: ignore[attr-defined]


def _handlers() -> dict[int, Any]:
    """Only the main thread may set signal handlers; elsewhere there is nothing to put back."""
    if threading.current_thread() is not threading.main_thread():
        return {}
    return {number: signal.getsignal(number) for number in signal.valid_signals()}


def _put_handlers(value: Mapping[int, Any]) -> None:
    for number, handler in value.items():
        if handler is not None and signal.getsignal(number) is not handler:
            signal.signal(number, handler)


def _folder() -> str:
    try:
        return os.getcwd()
    except OSError:  # it was removed
        return ""


def _put_folder(folder: str) -> None:
    if folder:
        os.chdir(folder)


_GENERATORS: tuple[Setting, ...] = (
    (random.getstate, random.setstate),
    (np.random.get_state, np.random.set_state),
    (torch.get_rng_state, torch.set_rng_state),
)

_SURROUNDINGS: tuple[Setting, ...] = (
    (_folder, _put_folder),
    (lambda: dict(os.environ), _put_environment),
    (lambda: list(warnings.filters), _put_filters),
    (lambda: logging.root.level, logging.root.setLevel),
    (lambda: logging.root.manager.disable, logging.disable),
    (lambda: list(sys.path), lambda value: operator.setitem(sys.path, slice(None), value)),
    (sys.getrecursionlimit, sys.setrecursionlimit),
    (gc.isenabled, lambda value: gc.enable() if value else gc.disable()),
    (_handlers, _put_handlers),
    *(_flag(sys, name) for name in ("stdin", "stdout", "stderr", "excepthook")),
)


def _closed(name: str) -> bool:
    return getattr(getattr(sys, name), "closed", False)


def _reopen(name: str) -> None:
    """A new stream over the descriptor of a standard one, which closing it leaves open."""
    old, number = getattr(sys, name), {"stdout": 1, "stderr": 2}[name]
    if old is not getattr(sys, f"__{name}__"):
        return  # somebody else's object
    try:
        new = open(  # noqa: SIM115
            number, "w", encoding=old.encoding, errors=old.errors, buffering=1, closefd=False
        )
    except OSError:  # the descriptor is closed as well
        return
    setattr(sys, name, new)
    setattr(sys, f"__{name}__", new)


class Isolation:
    """The state of this process before a cell.

    Args:
        foreign: code of others takes part in the cell. All methods are loaded before it then, while
            they are as they should be: nothing would tell what it does to one that is not.
    """

    def __init__(self, *, foreign: bool = True) -> None:
        if foreign:
            _load_methods()
        self._process = os.getpid()
        self._random = [(put, get()) for get, put in _GENERATORS]
        if torch.cuda.is_initialized():
            self._random.append((torch.cuda.set_rng_state_all, torch.cuda.get_rng_state_all()))
        self._settings = [(*pair, pair[0]()) for pair in (*_COMPUTATION, *_SURROUNDINGS)]
        self._open = [n for n in ("stdout", "stderr") if not _closed(n)]
        self._inference = torch.is_inference_mode_enabled()
        self._modes = torch._C._len_torch_function_stack(), torch._C._len_torch_dispatch_stack()
        self._hooks = [
            (hooks, dict(hooks))
            for name, hooks in (*vars(module_hooks).items(), *vars(optimizer_hooks).items())
            if name.startswith("_global_") and isinstance(hooks, dict)
        ]
        self._names = [(owner, dict(vars(owner))) for owner in _owners()]

    def restore(self) -> tuple[list[str], bool]:
        """Puts everything back.

        Returns:
            Which foundations were changed, and whether anything that results depend on was.
        """
        if os.getpid() != self._process:
            os._exit(0)  # a method has forked: one process goes on
        broken = self._restore_names()
        changed = False
        for number, (get, put, value) in enumerate(self._settings):
            if get() != value:
                put(value)
                changed |= number < len(_COMPUTATION)
        for name in self._open:
            if _closed(name):
                _reopen(name)
        broken += self._restore_modes()
        for hooks, before in self._hooks:
            if dict(hooks) != before:
                hooks.clear()
                hooks.update(before)
                broken.append("hooks on all modules or optimisers")
        for put, value in self._random:
            put(value)
        return sorted(set(broken)), changed or bool(broken)

    def _restore_modes(self) -> list[str]:
        broken = []
        while torch._C._len_torch_function_stack() > self._modes[0]:
            torch._C._pop_torch_function_stack()
            broken.append("a function mode of torch")
        while torch._C._len_torch_dispatch_stack() > self._modes[1]:
            torch._C._pop_torch_dispatch_stack()
            broken.append("a dispatch mode of torch")
        if torch.is_inference_mode_enabled() != self._inference:
            gc.collect()  # it ends with the object that began it
            broken.append("inference mode")
        return broken

    def _restore_names(self) -> list[str]:
        broken = []
        for owner, before in self._names:
            now = vars(owner)
            if len(now) == len(before) and all(map(operator.is_, now.values(), before.values())):
                continue
            for name in list(_replaced(owner, before, dict(now))):
                if name in before:
                    setattr(owner, name, before[name])
                else:
                    delattr(owner, name)
                broken.append(f"{_name_of(owner)}.{name}")
        return broken


@contextmanager
def settings_kept() -> Iterator[None]:
    """Puts back the settings of computation that a plugin changes when it is imported or loads."""
    before = [(get, put, get()) for get, put in _COMPUTATION]
    try:
        yield
    finally:
        for get, put, value in before:
            if get() != value:
                put(value)


def seed_globals(seed: int) -> None:
    """Starts the global random generators, which methods should not use but dropout does.

    A cell's numbers must not depend on which cells its process has run before. Called when all is
    loaded: building modules draws from torch's generator.
    """
    random.seed(seed)
    np.random.seed(seed % 2**32)  # noqa: NPY002
    torch.manual_seed(seed)


def _replaced(owner: Any, before: Mapping[str, Any], now: Mapping[str, Any]) -> Iterator[str]:
    """Names that stand for something else than before, as far as that is nobody's right."""
    known, ours = isinstance(owner, type), _name_of(owner).startswith(_OURS)
    for name, value in before.items():
        if (
            now.get(name) is not value
            and (known or callable(value))
            and not _torch_did(before, now, name)
        ):
            yield name
    if known or ours:
        for name in now.keys() - before.keys():
            if callable(now[name]) and not _torch_did(before, now, name):
                yield name


def _torch_did(before: Mapping[str, Any], now: Mapping[str, Any], name: str) -> bool:
    """torch wraps an optimiser's ``step`` at first use, and functions when its compiler loads.

    Its compiler also puts what it makes into the module of the code that it compiled, and functions
    of its own, or around torch's, in the place of torch's.
    """
    if name.startswith(("__compiled_fn_", "__resume_at_")):
        return True
    value: Any = now.get(name)
    wraps = hasattr(value, "hooked") or getattr(value, "__wrapped__", 0) is before.get(name, 1)
    by_torch = _lies_in(_TORCH, value)
    if _lies_in(_TORCH / "_dynamo", value) and _lies_in(_TORCH, inspect.unwrap(value)):
        return True
    # torch.Storage follows the default dtype, which is put back by itself.
    lazily = ("__annotations__", "__annotations_cache__", "Storage")
    return (wraps and by_torch) or name in lazily


def _lies_in(folder: Path, function: Any) -> bool:
    code = getattr(function, "__code__", None)
    return code is not None and Path(code.co_filename).is_relative_to(folder)


def _name_of(owner: Any) -> str:
    if isinstance(owner, type):
        return f"{owner.__module__}.{owner.__qualname__}"
    return str(owner.__name__)


@cache
def _load_methods() -> None:
    """Imports all methods."""
    for found in pkgutil.iter_modules(methods.__path__):
        if found.name != "testing":
            importlib.import_module(f"methods.{found.name}")


def _owners() -> list[Any]:
    """Modules and classes whose functions all cells share."""
    owners: dict[int, Any] = {id(o): o for o in (*_PLAIN, builtins, Tensor, nn.Parameter)}
    for name, module in list(sys.modules.items()):
        watched = f"{name}.".startswith(tuple(f"{one}." for one in _WATCHED))
        if not watched or not isinstance(module, types.ModuleType):
            continue
        owners[id(module)] = module
        for value in list(vars(module).values()):
            if isinstance(value, type) and value.__module__.startswith(_WATCHED):
                owners[id(value)] = value
    return list(owners.values())


@contextmanager
def noticed() -> Iterator[Callable[[], bool]]:
    """Gives a function that says whether the user has pressed Ctrl-C within the block.

    Only the main thread gets signals; elsewhere, and where they are ignored, it says no.
    """
    pressed = False
    before = signal.getsignal(signal.SIGINT)

    def note(number: int, frame: types.FrameType | None) -> None:
        nonlocal pressed
        pressed = True
        if callable(before):
            before(number, frame)

    main = threading.current_thread() is threading.main_thread()
    if not main or not callable(before):
        yield lambda: pressed
        return
    signal.signal(signal.SIGINT, note)
    try:
        yield lambda: pressed
    finally:
        signal.signal(signal.SIGINT, before)
