"""No method makes a GPU wait within a step, but where its rule says so.

Counted on the CPU: every operation whose result the host has to have before it can go on. The
optimiser's own are left out: its step counters lie on the host.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.optim.optimizer import (
    register_optimizer_step_post_hook,
    register_optimizer_step_pre_hook,
)
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode

from methods.anchored import Anchored, AnchoredOptions
from methods.base import Method, QueryEncoder, Setup
from methods.bn_adapt import BnAdapt
from methods.come import Come
from methods.cotta import Cotta
from methods.deyo import Deyo, DeyoOptions
from methods.eata import Eata, EataOptions
from methods.hat_vtr import HatVtr
from methods.inverted_softmax import InvertedSoftmax
from methods.memo import Memo, MemoOptions
from methods.nnn import NNN
from methods.perturb import augmented, perturbed
from methods.qbnorm import QBNorm
from methods.rdumb import Rdumb
from methods.read import Read
from methods.recentre import Recentre, RecentreOptions
from methods.rest import Rest, RestOptions
from methods.roid import Roid
from methods.sar import Sar, SarOptions
from methods.shot import Shot
from methods.sinkhorn import Sinkhorn
from methods.source import Source
from methods.tcr import Tcr
from methods.tcr_untrained import TcrUntrained
from methods.tda import Tda
from methods.tent import Tent
from methods.whiten import Whiten

STEPS, BATCH, ITEMS, WIDTH = 3, 16, 40, 8
ONE_LOG = 1  # the batch's log is read once, when the step is over
FINITE = STEPS  # an update that is not finite must not be made
QUEUE = 1  # how many of the batch enter TCR's queue decides its size
ANCHORED = 1  # whether predictions collapsed
BANK = 1  # whether all queries are sound

aten = torch.ops.aten
READS = {
    aten._local_scalar_dense.default,  # item(), bool(), float(), int(), if tensor:
    aten.nonzero.default,
    aten.masked_select.default,
    aten.equal.default,
    aten.unique_dim.default,
    aten._unique2.default,
}
WHOLE = {Tensor.tolist, Tensor.numpy, Tensor.cpu, Tensor.new_tensor, torch.tensor}
"""These reach the dispatcher in no way of their own where the tensor is on the CPU already."""
DRAWS = {torch.rand, torch.randn}
"""Their numbers come from a generator on the host; a plain copy waits for all that the GPU does."""


class _Operations(TorchDispatchMode):
    def __init__(self, reads: list[str]) -> None:
        super().__init__()
        self.reads, self.paused = reads, False

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        by_mask = func is aten.index.Tensor and any(
            index is not None and index.dtype in (torch.bool, torch.uint8) for index in args[1]
        )
        if (func in READS or by_mask) and not self.paused:
            self.reads.append(str(func))
        return func(*args, **(kwargs or {}))


class _Calls(TorchFunctionMode):
    def __init__(self, operations: _Operations) -> None:
        super().__init__()
        self.operations = operations
        self.drawn: list[Tensor] = []

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        sent = func is Tensor.to and any(args[0] is drawn for drawn in self.drawn)
        waits = func in WHOLE or (sent and not kwargs.get("non_blocking"))
        if waits and not self.operations.paused:
            self.operations.reads.append(func.__name__)
        result = func(*args, **kwargs)
        self.drawn += [result] if func in DRAWS else []
        return result


@contextmanager
def counted_reads() -> Iterator[list[str]]:
    """The names of the operations that the host waits for, in order."""
    reads: list[str] = []
    operations = _Operations(reads)

    def pause(*_: Any) -> None:
        operations.paused = True

    def go_on(*_: Any) -> None:
        operations.paused = False

    hooks = register_optimizer_step_pre_hook(pause), register_optimizer_step_post_hook(go_on)
    try:
        with _Calls(operations), operations:
            yield reads
    finally:
        for hook in hooks:
            hook.remove()


class Tower(QueryEncoder):
    def __init__(self) -> None:
        super().__init__()
        self.linear, self.norm = nn.Linear(6, WIDTH), nn.LayerNorm(WIDTH)
        self.batch_norm = nn.BatchNorm1d(WIDTH)

    def forward(self, inputs: Tensor) -> Tensor:
        return nn.functional.normalize(self.norm(self.batch_norm(self.linear(inputs))), dim=-1)


def made(kind: type[Method], options: Any) -> Method:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        encoder = Tower().eval()
    generator = torch.Generator().manual_seed(1)
    gallery = nn.functional.normalize(torch.randn(ITEMS, WIDTH, generator=generator), dim=-1)
    return kind(Setup(encoder, gallery, logit_scale=100.0), options)


CASES = [
    (Source, None, 0),
    (Recentre, None, 1),  # the gap that it logs
    (Recentre, RecentreOptions(center="stream"), 2),  # and how many queries were sound
    (Tent, None, FINITE + ONE_LOG),
    (Eata, None, FINITE + ONE_LOG),
    (Eata, EataOptions(fisher="stream"), FINITE + ONE_LOG + 1),  # and whether Fisher's are finite
    (Sar, SarOptions(reset_below=0.0), FINITE + ONE_LOG),
    (Sar, SarOptions(reset_below=0.2), FINITE + ONE_LOG + STEPS),  # its reset rule
    (Read, None, FINITE + ONE_LOG),
    (Tcr, None, FINITE + ONE_LOG + QUEUE),
    (Shot, None, FINITE + ONE_LOG),
    (Deyo, None, FINITE + ONE_LOG),
    (Deyo, DeyoOptions(form="tcr"), FINITE + ONE_LOG),
    (Come, None, FINITE + ONE_LOG),
    (Rdumb, None, FINITE + ONE_LOG),
    (Roid, None, FINITE + ONE_LOG),
    (Cotta, None, FINITE + ONE_LOG + 1),  # whether views are made at all
    (Memo, MemoOptions(views=4), BATCH + ONE_LOG),  # one update for each query
    (BnAdapt, None, 2),  # how many queries are sound, and which
    (Rest, None, FINITE + ONE_LOG + QUEUE),
    (Rest, RestOptions(decouple="off"), FINITE + ONE_LOG + QUEUE),
    (Rest, RestOptions(decouple="pcgrad"), FINITE + ONE_LOG + QUEUE),
    (Anchored, AnchoredOptions(window=BATCH, steps=STEPS), FINITE + ONE_LOG + QUEUE + ANCHORED),
    (HatVtr, None, FINITE + ONE_LOG + QUEUE),
    (TcrUntrained, None, ONE_LOG + QUEUE),
    (InvertedSoftmax, None, BANK),
    (QBNorm, None, BANK),
    (Sinkhorn, None, BANK),
    (NNN, None, BANK),
    (Whiten, None, BANK),
    (Tda, None, BANK + 1),  # how many queries each cache keeps
    (Rest, RestOptions(level="query", centre=True), FINITE + ONE_LOG + QUEUE),
    (Rest, RestOptions(level="applied", general_over="queue"), FINITE + ONE_LOG + QUEUE),
]


@pytest.mark.parametrize(
    ("kind", "options", "allowed"),
    CASES,
    ids=[f"{k.__name__}-{n}" for n, (k, *_) in enumerate(CASES)],
)
def test_a_step_reads_no_more_than_its_rule_demands(
    kind: type[Method], options: Any, allowed: int
) -> None:
    method = made(kind, options)
    generator = torch.Generator().manual_seed(2)
    for _ in range(2):  # the second batch finds queues, averages and an optimiser in use
        queries = torch.randn(BATCH, 6, generator=generator)
        with counted_reads() as reads:
            method.step(queries)
        assert len(reads) == allowed, reads


@pytest.mark.parametrize("part", [torch.ones(3, 6), torch.ones(3, 2, 8, 8), torch.ones(3, 6).int()])
def test_views_are_made_without_a_read(part: Tensor) -> None:
    encoder, generator = QueryEncoder(), torch.Generator()
    with counted_reads() as reads:
        augmented(encoder, part, generator)
        perturbed(encoder, part, generator)
    assert not reads


def test_the_count_sees_each_kind_of_read() -> None:
    numbers = torch.arange(4.0)
    with counted_reads() as reads:
        numbers.sum().item()
        bool(numbers[0] > 1)
        float(numbers[1])
        numbers.tolist()
        numbers.cpu()
        numbers.numpy()
        numbers[numbers > 1]
        numbers.nonzero()
        torch.where(numbers > 1, numbers, 0.0).cumsum(0)  # none
        torch.rand(2).to(numbers)
        torch.rand(2).to(numbers, non_blocking=True)  # none
        numbers.new_tensor(1.0)
    assert len(reads) == 10, reads
