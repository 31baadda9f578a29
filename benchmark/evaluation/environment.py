"""Facts beside a result: data, weights, versions, machine; time, passes, memory."""

from __future__ import annotations

import ctypes
import math
import os
import platform
import re
import resource
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn

from benchmark.backbones.base import cpu_model
from benchmark.cell import Cell

if TYPE_CHECKING:
    from benchmark.evaluation.resources import Resources

_DISTRIBUTIONS = {
    "queryshift": "queryshift",
    "torchvision": "torchvision",
    "open_clip": "open_clip_torch",
    "numpy": "numpy",
}

LIBRARIES = ("numpy", "pillow", "torchvision", "open_clip_torch", "transformers")
"""Libraries that, beside torch, decide what is computed."""

_ISA_VARIABLES = ("ONEDNN_MAX_CPU_ISA", "MKL_ENABLE_INSTRUCTIONS", "ATEN_CPU_CAPABILITY")
"""Variables that keep torch's libraries from using instructions that the processor has."""

Mark = Any
"""A point in time: seconds, or on a GPU a ``torch.cuda.Event`` in its queue."""

_STATUS = Path("/proc/self/status")
_CLEAR = Path("/proc/self/clear_refs")
_FORGET_PEAK = "5"  # see proc(5): resets the peak of the resident set size


def environment(device: str = "cpu") -> dict[str, Any]:
    """Facts to store beside a result.

    Args:
        device: the torch device string that the cell runs on.

    Returns:
        Versions (None where not installed), CPU model, usable cores, torch threads, device and
        its name, git commit of the checkout (None where there is none), platform, and the time
        now (``started``: UTC, ISO 8601).
    """
    return {
        **_fixed(),
        "threads": torch.get_num_threads(),
        "device": device,
        "device_name": processor(device),
        "started": datetime.now(UTC).isoformat(timespec="seconds"),
    }


def processor(device: str) -> str:
    """Name of the GPU or CPU that cells on a device run on."""
    return torch.cuda.get_device_name(device) if device.startswith("cuda") else cpu_model()


@cache
def _fixed() -> dict[str, Any]:
    """What does not change while the process lives."""
    commit, dirty = _git_state(Path(__file__).resolve().parents[2])
    return {
        "python": platform.python_version(),
        "torch": str(torch.__version__),  # unlike the metadata it names the build
        **{name: version_of(distribution) for name, distribution in _DISTRIBUTIONS.items()},
        "platform": f"{platform.system()}-{platform.machine()}",
        "cpu": cpu_model(),
        "cores": usable_cores(),
        "git_commit": commit,
        "git_dirty": dirty,
    }


def about(cell: Cell, resources: Resources) -> dict[str, Any]:
    """Facts of the cell's data and weights, as far as there are any."""
    data, backbone = resources.data(cell), resources.backbone(cell)
    files = resources.shift_files(cell)
    homes = resources.homes
    home, homeless, training = homes.of(cell), homes.why_missing(cell), homes.training(cell)
    home_print, train_print = homes.fingerprints(cell)
    found = {
        "shift_files": files or None,
        "home": "" if home is None else resources.data(home).name,
        "home_queries": None if home is None else len(resources.queries(home)),
        "home_fingerprint": home_print or None,
        "homeless": homeless or None,
        "train_queries": None if training is None else len(resources.queries(training)),
        "train_fingerprint": train_print or None,
        "ready_made": any(spec.ready_made for spec in cell.domains) or None,
        "unlabelled": not data.labelled or None,
        "data": dict(data.info),
        "data_fingerprint": data.fingerprint,
        "backbone_fingerprint": backbone.fingerprint,
        "backbone_name": backbone.name,
        "weights_taken": getattr(backbone, "taken", "") or None,
        "queries": len(resources.queries(cell)),
        "gallery": len(data.gallery),
        "headline": list(data.headline),
        "query_modality": data.query_modality,
        "task": f"{data.query_modality}-to-{data.gallery_modality}",
    }
    return {name: value for name, value in found.items() if value is not None}


def usable_cores() -> int:
    """Cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def gpus_to_share(device: str) -> tuple[str, ...]:
    """Values of CUDA_VISIBLE_DEVICES, one per GPU that cells on a device may use.

    None for the CPU, and none where the device string names one GPU: then all workers use that.
    """
    if device != "cuda":
        return ()
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if visible is not None:
        names = [name.strip() for name in visible.split(",")]
        # CUDA ignores everything from the first name that is no device on.
        end = next((i for i, name in enumerate(names) if not name or name == "-1"), len(names))
        return tuple(names[:end])
    return tuple(str(index) for index in range(torch.cuda.device_count()))


def available_bytes() -> int | None:
    """Memory that this process and its children may still use; None where it is not known.

    The system's estimate, or what is left under the limit of the control group (containers, batch
    systems; version 2 only), whichever is less.
    """
    found = []
    with suppress(OSError, ValueError):
        text = Path("/proc/meminfo").read_text(encoding="ascii")
        (kilobytes,) = re.findall(r"^MemAvailable:\s*(\d+)", text, re.M)
        found.append(int(kilobytes) * 1024)
    with suppress(OSError, ValueError):  # "max" means that there is no limit
        text = Path("/proc/self/cgroup").read_text(encoding="utf-8")
        (group,) = re.findall(r"^0::/*(.*)", text, re.M)
        files = (Path("/sys/fs/cgroup", group, f"memory.{name}") for name in ("max", "current"))
        limit, used = (int(file.read_text()) for file in files)
        found.append(max(0, limit - used))
    return min(found, default=None)


def version_of(distribution: str) -> str | None:
    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return None


def numerics(device: str) -> dict[str, Any]:
    """What decides the last bits of what torch computes: build, device, threads, precision.

    An entry is only shared where these agree, so that a cached number is the one that would have
    been computed.
    """
    facts: dict[str, Any] = {
        "torch": str(torch.__version__),
        "libraries": _libraries(),
        "machine": platform.machine(),
        "cpu": torch.backends.cpu.get_cpu_capability(),
        "amx": torch.cpu._is_amx_tile_supported(),
        "isa": {name: os.environ.get(name, "") for name in _ISA_VARIABLES},
        "threads": torch.get_num_threads(),
        "matmul": torch.get_float32_matmul_precision(),
    }
    if device.startswith("cuda"):
        facts |= {
            "device": torch.cuda.get_device_name(device),
            "cuda": torch.version.cuda,
            "tf32": (torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32),
            "benchmark": torch.backends.cudnn.benchmark,
        }
    return facts


@cache
def _libraries() -> dict[str, str]:
    return {name: found for name in LIBRARIES if (found := version_of(name))}


def _git_state(root: Path) -> tuple[str | None, bool | None]:
    """Commit of the checkout at ``root`` and whether tracked files differ from it.

    An installed package may lie inside somebody else's repository (a virtual environment in a
    checkout), whose commit would say nothing: only a repository rooted at ``root`` counts.
    """
    if not (root / ".git").exists():
        return None, None
    command = ["git", "-C", str(root), "describe", "--always", "--abbrev=40", "--exclude=*"]
    try:
        done = subprocess.run(
            [*command, "--dirty"], capture_output=True, text=True, timeout=10, check=True
        )
    except (OSError, subprocess.SubprocessError):
        return None, None
    commit, _, changed = done.stdout.strip().partition("-")
    return commit, bool(changed)


class Clock:
    """Adds up time by name.

    On a GPU it does not wait: it puts events into the queue and reads them when the cell has ended.
    What is counted is then time on the GPU's own line, its waiting for the processor included.

    Args:
        device: torch device string of the cell.

    Attributes:
        device: the same where it is a GPU's, else "".
    """

    def __init__(self, device: str) -> None:
        self.device = device if device.startswith("cuda") else ""
        self._spans: dict[str, list[tuple[Mark, Mark]]] = {}

    @contextmanager
    def __call__(self, name: str) -> Iterator[None]:
        """Counts the time in the block under a name; nothing where the block raises."""
        begun = self.mark()
        yield
        self.add(name, begun)

    def mark(self) -> Mark:
        """This point in time, for ``add``."""
        if not self.device:
            return time.perf_counter()
        event = torch.cuda.Event(enable_timing=True)
        event.record(torch.cuda.current_stream(self.device))
        return event

    def add(self, name: str, begun: Mark) -> None:
        """Counts the time from a mark until now under a name."""
        self._spans.setdefault(name, []).append((begun, self.mark()))

    def spans(self, name: str) -> list[float]:
        """Seconds of each span of a name, in order; waits for the GPU."""
        self.wait()
        found = self._spans.get(name, [])
        if self.device:
            return [begun.elapsed_time(ended) / 1000.0 for begun, ended in found]
        return [ended - begun for begun, ended in found]

    def seconds(self) -> dict[str, float]:
        return {name: sum(self.spans(name)) for name in self._spans}

    def wait(self) -> None:
        """Waits for the GPU, where there is one, to do all that it was asked for."""
        if self.device:
            torch.cuda.synchronize(self.device)


@dataclass
class PassCounter:
    """Rows (queries) that went through an encoder.

    Attributes:
        forward: rows of all forward passes.
        backward: rows of all forward passes that a gradient came back to; a pass that is
            differentiated twice counts twice.
    """

    forward: int = 0
    backward: int = 0


@contextmanager
def counted(encoder: nn.Module, clock: Clock | None = None) -> Iterator[PassCounter]:
    """Counts the passes through ``encoder`` and through copies that are made of it meanwhile.

    With a clock it also counts the time of forward passes, as "encode". A call by
    ``torch.func.functional_call`` is a pass as well; calling a part of the encoder directly is not.
    """
    counter = PassCounter()
    begun: list[Mark] = []

    # Plain functions: deepcopy keeps functions as they are, so a method's frozen copy of the
    # encoder counts into the same counter. A bound method would be copied together with it.
    def before(_module: nn.Module, _inputs: object) -> None:
        if clock is not None:
            begun.append(clock.mark())

    def after(_module: nn.Module, _inputs: object, output: Tensor) -> None:
        rows = len(output)
        counter.forward += rows

        def on_backward(_gradient: Tensor) -> None:
            counter.backward += rows

        if output.requires_grad:
            output.register_hook(on_backward)
        if clock is not None:
            clock.add("encode", begun.pop())

    handles = [encoder.register_forward_pre_hook(before), encoder.register_forward_hook(after)]
    try:
        yield counter
    finally:
        for handle in handles:
            handle.remove()


def cost(clock: Clock, passes: PassCounter, batches: Sequence[int]) -> dict[str, float]:
    """What a stream took, by its batches' numbers of queries: times, passes, memory."""
    seconds = clock.seconds()
    # Whatever a step does besides forward passes: losses, backward passes, the optimiser.
    seconds["adapt"] = max(0.0, seconds["step"] - seconds.get("encode", 0.0))
    per_query = [
        1000.0 * spent / size for spent, size in zip(clock.spans("step"), batches, strict=True)
    ]
    found = {
        **{f"seconds_{name}": spent for name, spent in seconds.items()},
        "ms_per_query": float(np.median(per_query)),
        "ms_per_query_p95": float(np.quantile(per_query, 0.95)),
        "forward_per_query": passes.forward / sum(batches),
        "backward_per_query": passes.backward / sum(batches),
        "peak_mb": peak_mb(),
    }
    if clock.device:
        found["peak_device_mb"] = torch.cuda.max_memory_allocated(clock.device) / 2**20
    return found


def start_peak(device: str) -> bool:
    """Forgets the highest use of memory so far, as far as the system allows.

    What earlier cells have freed goes back to the system: it would count as this one's.

    Returns:
        Whether ``peak_mb`` will be of what comes from here on (Linux), or of the process's whole
        life.
    """
    if device.startswith("cuda"):
        torch.cuda.reset_peak_memory_stats(device)
    with suppress(OSError, AttributeError, TypeError):  # glibc's own
        ctypes.CDLL(None).malloc_trim(0)
    try:
        _CLEAR.write_text(_FORGET_PEAK, encoding="ascii")
    except OSError:
        return False
    return _resident_peak() is not None


def peak_mb() -> float:
    """Largest resident size of this process since ``start_peak``, in MiB.

    Where the system cannot forget, since the process began.
    """
    known = _resident_peak()
    if known is not None:
        return known
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    size = peak if sys.platform == "darwin" else peak * 1024  # kilobytes but on macOS
    return size / 2**20 if size else math.nan


def _resident_peak() -> float | None:
    """The kernel's own peak in MiB; None where it is not told."""
    with suppress(OSError):
        text = _STATUS.read_text(encoding="ascii", errors="replace")
        if found := re.search(r"^VmHWM:\s*(\d+)", text, re.MULTILINE):
            return int(found[1]) / 1024
    return None
