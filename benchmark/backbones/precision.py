"""How a backbone computes: number format, memory layout, compilation. Parameters stay float32.

Autocast runs the encoder's matrix products in a 16-bit format; its parameters, their gradients, the
optimiser, the similarities to the gallery and the losses are float32 throughout.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import torch
import torch._functorch.config
import torch.nn.functional as F
from torch import Tensor, nn
from torch.func import functional_call

from benchmark.backbones.base import DualEncoder, checked_rows, cpu_model
from benchmark.cell import FLOAT32, BackboneSpec
from benchmark.errors import ConfigError
from methods.base import QueryEncoder

PRECISIONS = (FLOAT32, "tf32", "bf16", "fp16")
"""Number formats by name; "tf32" exists on NVIDIA GPUs only."""

AUTOCAST = {"bf16": torch.bfloat16, "fp16": torch.float16}
"""The formats that autocast serves."""

GRADIENT_SCALE = 1024.0
"""What gradients are multiplied with inside a float16 encoder, where small ones would become 0.

A power of two, so that dividing by it afterwards changes no bit. A gradient that becomes infinite
instead is refused like any other that is not finite.
"""

LEAST_COSINE = 0.99
"""Mean cosine to float32 that embeddings need: rounding to 16 bits leaves .999 and more."""

ISA_VARIABLE = "ONEDNN_MAX_CPU_ISA"
WITHOUT_AMX = "AVX512_CORE_BF16"
"""With this value of the variable torch's 16-bit kernels do without AMX."""


def check_precision(precision: str, device: str) -> None:
    """Refuses a precision that does not exist, or not on this device.

    Raises:
        ConfigError: says which there are.
    """
    if precision not in PRECISIONS:
        raise ConfigError(
            f"unknown precision {precision!r}; expected one of {', '.join(PRECISIONS)}"
        )
    if precision == "tf32" and not device.startswith("cuda"):
        raise ConfigError(
            f"precision 'tf32' is a number format of NVIDIA GPUs, and the device is {device!r}; "
            "use float32 or bf16"
        )


def in_precision(backbone: DualEncoder, spec: BackboneSpec) -> DualEncoder:
    """The backbone as its spec wants it computed; the backbone itself for float32 on the CPU.

    Raises:
        ConfigError: a precision that the device does not have.
    """
    check_precision(spec.precision, spec.device)
    if spec.precision == FLOAT32 and not spec.compile and not spec.device.startswith("cuda"):
        return backbone
    return PreciseBackbone(backbone, spec)


@contextmanager
def matmul_precision(spec: BackboneSpec) -> Iterator[None]:
    """Switches TF32 on for "tf32" and off for everything else, on GPUs, until the block is left.

    torch's own default is TF32 for convolutions alone; here "float32" means float32.
    """
    if not spec.device.startswith("cuda"):
        yield
        return
    switches: tuple[Any, ...] = (torch.backends.cuda.matmul, torch.backends.cudnn)
    before = [switch.allow_tf32 for switch in switches]
    try:
        for switch in switches:
            switch.allow_tf32 = spec.precision == "tf32"
        yield
    finally:
        for switch, value in zip(switches, before, strict=True):
            switch.allow_tf32 = value


class PreciseBackbone:
    """A ``DualEncoder`` that computes in another way than its loader made it.

    Name and fingerprint say so where numbers may differ: embeddings of different precisions are
    never mixed, neither in caches nor in tables. Nothing is trusted unseen: the first batch of each
    modality is computed in float32 as well, and refused where it comes out otherwise (see
    ``check_near``).

    Args:
        backbone: what the loader made.
        spec: its precision, compilation and device.
    """

    def __init__(self, backbone: DualEncoder, spec: BackboneSpec) -> None:
        ways = [spec.precision] if spec.precision != FLOAT32 else []
        ways += ["compiled"] if spec.compile else []
        self.name = f"{backbone.name} ({', '.join(ways)})" if ways else backbone.name
        self.fingerprint = "+".join((backbone.fingerprint, *ways))
        self.logit_scale = backbone.logit_scale
        self.taken = getattr(backbone, "taken", "")
        self.device = backbone.device
        self.__module__ = type(backbone).__module__  # caches hash the code that this names
        self._backbone, self._compile = backbone, spec.compile
        self._dtype = AUTOCAST.get(spec.precision)
        self._precision, self._ways = spec.precision, ", ".join(ways)
        self._plain = replace(spec, precision=FLOAT32)
        self._seen: set[tuple[str, str]] = set()  # what has been compared, and of which modality

    def preprocess(self, modality: str) -> Callable[[Any], Tensor]:
        return self._backbone.preprocess(modality)

    def collate(self, modality: str, inputs: Sequence[Tensor]) -> Tensor:
        """See ``DualEncoder``; on a GPU images come channels last."""
        return channels_last(self._backbone.collate(modality, inputs))

    def query_encoder(self, modality: str) -> QueryEncoder:
        """A fresh copy of one tower that computes as the specification says."""
        tower = self._backbone.query_encoder(modality)
        if self.device.startswith("cuda"):
            tower = tower.to(memory_format=torch.channels_last)
        if self._compile:
            # Memory of a graph is not given away: REST goes back through one graph twice.
            torch._functorch.config.donated_buffer = False
            tower.compile()
        if self._dtype is None:
            return tower
        return PreciseEncoder(tower, self._dtype, self.device)

    @torch.no_grad()
    def encode(self, modality: str, inputs: Tensor) -> Tensor:
        """(B, D) float32 unit rows of a collated batch, without gradient; never compiled.

        Raises:
            ConfigError: those of the first batch are not near those of float32.
        """
        with _autocast(self.device, self._dtype):
            rows = self._backbone.encode(modality, inputs)
        if self._dtype is not None:
            rows = F.normalize(rows.float(), dim=-1)
        if self._precision != FLOAT32:
            self._compare("embeddings", modality, inputs, rows, self._precision)
        return rows

    def compare_queries(self, modality: str, inputs: Tensor, rows: Tensor) -> None:
        """Compares what a fresh query encoder gave with float32, once for each modality.

        Args:
            inputs: the collated inputs of a first batch.
            rows: what an encoder of ``query_encoder`` made of them.

        Raises:
            ConfigError: they are not near those of float32.
        """
        if self._ways:
            self._compare("queries", modality, inputs, rows, self._ways)

    def _compare(self, what: str, modality: str, inputs: Tensor, rows: Tensor, ways: str) -> None:
        if (what, modality) in self._seen:
            return
        with torch.no_grad(), matmul_precision(self._plain), _autocast(self.device, None):
            exact = self._backbone.encode(modality, inputs)
        checked_rows(exact, inputs, f"{modality} {what} in float32")
        check_near(rows, exact, ways=ways, what=f"{modality} {what}", device=self.device)
        self._seen.add((what, modality))


class PreciseEncoder(QueryEncoder):
    """A query tower under autocast; gives float32 unit rows and float32 gradients.

    Args:
        tower: the tower, its parameters float32; owned from now on.
        dtype: the format of its matrix products.
    """

    def __init__(self, tower: QueryEncoder, dtype: torch.dtype, device: str) -> None:
        super().__init__()
        self.tower = tower
        self.dtype, self.device = dtype, device

    @property
    def adaptable(self) -> nn.Module:
        return self.tower.adaptable

    def map_parts(self, inputs: Tensor, change: Callable[[Tensor], Tensor]) -> Tensor:
        return self.tower.map_parts(inputs, change)

    def forward(self, inputs: Tensor) -> Tensor:
        scaled = self.dtype == torch.float16 and torch.is_grad_enabled()
        with _autocast(self.device, self.dtype):
            rows: Tensor = self._with_scaled_gradients(inputs) if scaled else self.tower(inputs)
        return F.normalize(rows.float(), dim=-1)

    def _with_scaled_gradients(self, inputs: Tensor) -> Tensor:
        """Gradients are multiplied where they enter the tower and divided where they leave it.

        So nobody outside need know: neither the method nor its optimiser.
        """
        leaves = {
            name: scale_gradient(value, 1.0 / GRADIENT_SCALE)
            for name, value in self.tower.named_parameters()
            if value.requires_grad
        }
        rows: Tensor = functional_call(self.tower, leaves, (inputs,))
        return scale_gradient(rows.float(), GRADIENT_SCALE)


def scale_gradient(value: Tensor, factor: float) -> Tensor:
    """The value itself, with its gradient times a factor."""
    scaled = value.view_as(value)
    if scaled.requires_grad:
        scaled.register_hook(lambda gradient: gradient * factor)
    return scaled


def channels_last(batch: Tensor) -> Tensor:
    """A batch of images on a GPU with the channels innermost, as its convolutions want it."""
    if not batch.is_cuda or batch.ndim != 4:
        return batch
    return batch.contiguous(memory_format=torch.channels_last)


def _autocast(device: str, dtype: torch.dtype | None) -> torch.autocast:
    kind = torch.device(device).type
    return torch.autocast(kind, dtype, enabled=dtype is not None)


def check_near(rows: Tensor, exact: Tensor, *, ways: str, what: str, device: str) -> None:
    """Refuses embeddings that are not those of float32.

    Kernels of other formats and compiled code are wrong on some machines, and their output looks
    like embeddings all the same.

    Args:
        rows: (B, D) as computed in these ways.
        exact: (B, D) unit rows of the same inputs in float32, not compiled.
        ways: for example "bf16" or "bf16, compiled".
        what: whose embeddings, for example "image queries".
        device: torch device string that computed both.

    Raises:
        ConfigError: NaN or infinity, or a mean cosine below ``LEAST_COSINE``; says on what machine
            and what to do.
    """
    rows, exact = rows.detach().double(), exact.detach().double()
    bad = int((~torch.isfinite(rows).all(dim=1)).sum())
    if bad:
        found = f"{bad} of {len(rows)} embeddings hold NaN or infinity"
    else:
        cosine = float(F.cosine_similarity(rows, exact, dim=1).mean())
        if cosine >= LEAST_COSINE:
            return
        found = (
            f"their mean cosine to those of float32 is {cosine:.3f} (at least {LEAST_COSINE} is "
            "expected)"
        )
    gpu = device.startswith("cuda")
    machine = torch.cuda.get_device_name(device) if gpu else f"this CPU ({cpu_model()})"
    raise ConfigError(
        f"{what} computed as {ways!r} on {machine} cannot be trusted: in the first batch {found}; "
        f"{_remedy(ways, gpu)}"
    )


def _remedy(ways: str, gpu: bool) -> str:
    advice = ["use --precision float32"] if ways != "compiled" else []
    advice += ["leave out --compile"] if "compiled" in ways else []
    said = " and ".join(advice)
    amx = not gpu and torch.cpu._is_amx_tile_supported()
    if amx and ways != "compiled" and ISA_VARIABLE not in os.environ:
        said += (
            f", or try {ISA_VARIABLE}={WITHOUT_AMX} in the environment: some of torch's 16-bit "
            "kernels are wrong on CPUs with AMX and right without it"
        )
    return said
