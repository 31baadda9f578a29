"""Whether a faster way of computing gives what float32 gives, seen on a cell's own inputs."""

from __future__ import annotations

import os

import torch
import torch.nn.functional as F
from torch import Tensor

from benchmark.backbones.device import cpu_model
from benchmark.errors import ConfigError

LEAST_COSINE = 0.99
"""Mean cosine to float32 that embeddings need: rounding to 16 bits leaves .999 and more."""

ISA_VARIABLE = "ONEDNN_MAX_CPU_ISA"
WITHOUT_AMX = "AVX512_CORE_BF16"
"""With this value of the variable torch's 16-bit kernels do without AMX."""


def check_near(rows: Tensor, exact: Tensor, *, ways: str, what: str, device: str) -> None:
    """Refuses embeddings that are not those of float32.

    Kernels of other formats and compiled code are wrong on some machines, and their output looks
    like embeddings all the same.

    Args:
        rows: (B, D) as computed in these ways.
        exact: (B, D) of the same inputs in float32, not compiled. Where it is not finite itself the
            ways are not to blame, and nothing is refused here.
        ways: for example "bf16" or "bf16, compiled".
        what: whose embeddings, for example "image queries".
        device: torch device string that computed both.

    Raises:
        ConfigError: NaN or infinity, or a mean cosine below ``LEAST_COSINE``; says on what machine
            and what to do.
    """
    rows, exact = rows.detach().double(), exact.detach().double()
    if not torch.isfinite(exact).all():
        return
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
    raise ConfigError(
        f"{what} computed as {ways!r} on {_machine(device)} cannot be trusted: in the first batch "
        f"{found}; {_remedy(ways, device)}"
    )


def _machine(device: str) -> str:
    if device.startswith("cuda"):
        return torch.cuda.get_device_name(device)
    return f"this CPU ({cpu_model()})"


def _remedy(ways: str, device: str) -> str:
    advice = []
    if ways != "compiled":
        advice.append("use --precision float32")
    if "compiled" in ways:
        advice.append("leave out --compile")
    said = " and ".join(advice)
    amx = not device.startswith("cuda") and torch.cpu._is_amx_tile_supported()
    if amx and ways != "compiled" and ISA_VARIABLE not in os.environ:
        said += (
            f", or try {ISA_VARIABLE}={WITHOUT_AMX} in the environment: some of torch's 16-bit "
            "kernels are wrong on CPUs with AMX and right without it"
        )
    return said
