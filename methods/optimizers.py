"""torch's optimisers without their decorators for ``torch.compile``, which import torch._dynamo.

That import takes 3.3 s of one core, three times as long as the source model's cell of the embedded
default on two. Steps are never compiled here: only a method's encoder is.
"""

from __future__ import annotations

import inspect
from typing import Any

import torch
from torch.optim import Optimizer


def _plain(kind: type[Optimizer]) -> Any:
    """The same optimiser, under the same name; torch's own functions do all of the work."""
    step = inspect.unwrap(kind.step)
    bare = {"step": torch.no_grad()(step)}  # the decorator that is left out does this as well
    bare |= {
        name: inspect.unwrap(getattr(Optimizer, name)) for name in ("add_param_group", "zero_grad")
    }
    return type(kind.__name__, (kind,), bare)


Adam, AdamW, SGD = map(_plain, (torch.optim.Adam, torch.optim.AdamW, torch.optim.SGD))
