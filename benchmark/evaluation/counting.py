"""How often queries pass through the query encoder, counted from outside the method."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from torch import Tensor, nn


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
def counted(encoder: nn.Module) -> Iterator[PassCounter]:
    """Counts the passes through ``encoder`` and through copies that are made of it meanwhile.

    ``torch.func.functional_call`` on the module is counted as well; calling a part of the encoder
    directly is not.
    """
    counter = PassCounter()

    # A plain function: deepcopy keeps functions as they are, so a method's frozen copy of the
    # encoder counts into the same counter. A bound method would be copied together with it.
    def on_forward(_module: nn.Module, _inputs: object, output: Tensor) -> None:
        rows = len(output)
        counter.forward += rows

        def on_backward(_gradient: Tensor) -> None:
            counter.backward += rows

        if output.requires_grad:
            output.register_hook(on_backward)

    handle = encoder.register_forward_hook(on_forward)
    try:
        yield counter
    finally:
        handle.remove()
