"""A tiny world for tests of the harness: images of random blocks, their names as gallery.

Importable by worker processes, hence a module and not fixtures.
"""

from __future__ import annotations

import copy
import os
import signal
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from benchmark import executors
from benchmark.cell import BackboneSpec, Cell, MethodSpec, Record, ShiftSpec, StreamSpec
from benchmark.config.run import SETTINGS, BenchConfig, Traced, flag_of
from benchmark.data.retrieval import Relevance, RetrievalSet, Texts
from benchmark.errors import DataError
from benchmark.evaluation.callbacks import Callback
from benchmark.evaluation.resources import Resources
from benchmark.executors import Executor, Identified, identify
from benchmark.planning.plan import plan_flags
from benchmark.store.records import StoredCell, read_cell
from benchmark.store.run_store import RunStore
from methods.base import Method, MethodCard, MethodError, QueryEncoder, Setup, StepOutput
from shifts.base import Shift, ShiftCard

SIZE = 4
DIM = 8


@dataclass(frozen=True)
class Pictures:
    ids: Sequence[str]
    values: np.ndarray
    broken: int = -1

    def __len__(self) -> int:
        return len(self.values)

    def __getitem__(self, index: int, /) -> np.ndarray:
        if index == self.broken:
            raise DataError(f"image {self.ids[index]} cannot be read; replace the file")
        return self.values[index]


def pictures(count: int) -> np.ndarray:
    generator = np.random.default_rng(7)
    return generator.integers(0, 256, (count, SIZE, SIZE, 3), dtype=np.uint8)


def world(name: str = "fake", count: int = 30, captions: int = 2, **kwargs: Any) -> RetrievalSet:
    """``count`` image queries, each answered by ``captions`` neighbouring gallery texts."""
    ids = [f"image-{i}" for i in range(count)]
    texts = [f"{i // captions} {i % captions}" for i in range(count * captions)]
    return RetrievalSet(
        name=name,
        query_modality="image",
        gallery_modality="text",
        queries=Pictures(ids, pictures(count), **kwargs),
        gallery=Texts([f"text-{i}" for i in range(len(texts))], texts),
        relevance=Relevance.from_lists(
            [list(range(captions * i, captions * (i + 1))) for i in range(count)]
        ),
        groups=np.arange(count) // 3,
        fingerprint=f"data-{name}-{count}-{captions}",
        info={"missing": 0},
    )


class FakeEncoder(QueryEncoder):
    """Flattened input -> linear -> layer norm -> unit row."""

    def __init__(self) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(3)
        self.linear = nn.Linear(SIZE * SIZE * 3, DIM)
        self.norm = nn.LayerNorm(DIM)
        with torch.no_grad():
            self.linear.weight.copy_(torch.randn(self.linear.weight.shape, generator=generator))
            self.linear.bias.zero_()

    def forward(self, inputs: Tensor) -> Tensor:
        return nn.functional.normalize(self.norm(self.linear(inputs)), dim=-1)


class FakeBackbone:
    """A text "i j" is embedded as image i with a little noise that depends on j."""

    name = "fake-net"
    fingerprint = "weights-1"
    logit_scale = 20.0
    device = "cpu"

    def __init__(self) -> None:
        self.encoder = FakeEncoder().eval().requires_grad_(False)
        self.encoded: list[str] = []
        self.preprocessed = 0
        self._pictures = pictures(1000)

    def preprocess(self, modality: str) -> Callable[[Any], Tensor]:
        return self._image if modality == "image" else self._text

    def _image(self, item: np.ndarray) -> Tensor:
        self.preprocessed += 1
        return torch.from_numpy(item).flatten().float() / 255.0

    def _text(self, item: str) -> Tensor:
        index, variant = map(int, item.split())
        noise = np.random.default_rng([index, variant]).normal(0.0, 0.1, SIZE * SIZE * 3)
        image = torch.from_numpy(self._pictures[index]).flatten().float() / 255.0
        return image + torch.from_numpy(noise).float()

    def collate(self, modality: str, inputs: Sequence[Tensor]) -> Tensor:
        return torch.stack(list(inputs))

    def query_encoder(self, modality: str) -> QueryEncoder:
        return copy.deepcopy(self.encoder).requires_grad_(True)

    @torch.no_grad()
    def encode(self, modality: str, inputs: Tensor) -> Tensor:
        self.encoded.append(modality)
        return self.encoder(inputs)


class Noise(Shift):
    card = ShiftCard("noise", "image", (1, 5), "adds noise", "none")

    def corrupt(self, item: np.ndarray, severity: int, rng: np.random.Generator) -> np.ndarray:
        noisy = item + rng.normal(0.0, 12.0 * severity, item.shape)
        return np.clip(noisy, 0, 255).astype(np.uint8)


class Typos(Shift):
    card = ShiftCard("typos", "text", (1,), "reverses the text", "none")

    def corrupt(self, item: str, severity: int, rng: np.random.Generator) -> str:
        return item[::-1]


class Source(Method):
    card = MethodCard("source", "Source", "frozen", "none", trains=False)

    def step(self, queries: Tensor) -> StepOutput:
        embeddings = self.embed(queries)
        return StepOutput(self.score(embeddings), embeddings, {"seen": float(len(queries))})


class Trained(Method):
    """Three steps that pull the norm's weights; logs an angle. Keeps no options."""

    card = MethodCard("trained", "Trained", "trains", "none")
    steps = 3

    def __init__(self, setup: Setup, options: Any = None) -> None:
        self.encoder, self.gallery = setup.encoder, setup.gallery

    def step(self, queries: Tensor) -> StepOutput:
        affine = [self.encoder.norm.weight, self.encoder.norm.bias]
        for _ in range(self.steps):
            embeddings = self.encoder(queries)
            scores = embeddings @ self.gallery.T
            loss = -(scores * 20).softmax(-1).square().sum(-1).mean()
            for value, gradient in zip(affine, torch.autograd.grad(loss, affine), strict=True):
                value.data -= 2.0 * gradient
        angle = 120.0 if len(queries) == 8 else 60.0
        return StepOutput(scores.detach(), embeddings.detach(), {"angle": angle})


class Random(Method):
    """Scores from the generator that it is given."""

    card = MethodCard("random", "Random", "noise", "none", trains=False)

    def step(self, queries: Tensor) -> StepOutput:
        scores = torch.rand(len(queries), len(self.gallery), generator=self.setup.generator)
        return StepOutput(scores, self.embed(queries))


class Bad(Source):
    """Misbehaves in the second batch, in the way that its option says."""

    card = MethodCard("bad", "Bad", "misbehaves", "none", trains=False)

    def __init__(self, setup: Setup, how: str) -> None:
        super().__init__(setup)
        self.how, self.batches = how, 0

    def step(self, queries: Tensor) -> StepOutput:
        good = super().step(queries)
        self.batches += 1
        if self.batches < 2:
            return good
        return getattr(self, f"_{self.how}")(good)

    def _raises(self, good: StepOutput) -> StepOutput:
        raise RuntimeError("the norm\nexploded")

    def _refuses(self, good: StepOutput) -> StepOutput:
        raise MethodError("no batch of that size")

    def _nan(self, good: StepOutput) -> StepOutput:
        good.scores[0, 1] = torch.nan
        return good

    def _narrow(self, good: StepOutput) -> StepOutput:
        return StepOutput(good.scores[:, 1:], good.embeddings)

    def _integers(self, good: StepOutput) -> StepOutput:
        return StepOutput(good.scores.long(), good.embeddings)

    def _tuple(self, good: StepOutput) -> Any:
        return good.scores, good.embeddings

    def _flat(self, good: StepOutput) -> StepOutput:
        return StepOutput(good.scores, good.embeddings[:, :2])

    def _words(self, good: StepOutput) -> StepOutput:
        return StepOutput(good.scores, good.embeddings, {"loss": "high"})  # type: ignore[dict-item]

    def _scribbles(self, good: StepOutput) -> StepOutput:
        self.gallery.mul_(-1.0)
        return good

    def _dies(self, good: StepOutput) -> StepOutput:
        os._exit(3)

    def _interrupts(self, good: StepOutput) -> StepOutput:
        signal.raise_signal(signal.SIGINT)
        return good


METHODS = {"source": Source, "trained": Trained, "random": Random}
SHIFTS = {"noise": Noise, "typos": Typos}


def make_method(spec: MethodSpec, setup: Setup) -> Method:
    if spec.name == "bad":
        return Bad(setup, spec.options["how"])
    return METHODS[spec.name](setup)


def make_shift(spec: ShiftSpec) -> Shift:
    return SHIFTS[spec.name]()


def load_data(cell: Cell) -> RetrievalSet:
    if cell.benchmark == "missing":
        raise DataError("no data in /nowhere; put the images there")
    if cell.benchmark == "small":
        return world("small", count=9, captions=1)
    if cell.benchmark == "broken":
        return world("broken", broken=4)
    return world()


def load_backbone(spec: BackboneSpec) -> FakeBackbone:
    return FakeBackbone()


def resources(**kwargs: Any) -> Resources:
    loaders: dict[str, Any] = {
        "load_data": load_data,
        "load_backbone": load_backbone,
        "make_method": make_method,
        "make_shift": make_shift,
    }
    return Resources(**{**loaders, **kwargs})


def cell(method: str = "source", **changes: Any) -> Cell:
    """A cell of the fake world; ``how`` chooses the misbehaviour of the method "bad"."""
    how = changes.pop("how", None)
    values: dict[str, Any] = {
        "suite": "test",
        "benchmark": "fake",
        "backbone": BackboneSpec("fake"),
        "method": MethodSpec(method, "published", {"how": how} if how else {}),
        "shift": ShiftSpec("noise", 5),
        "stream": StreamSpec(batch_size=8),
    }
    return Cell(**{**values, **changes})


class Outcome(NamedTuple):
    records: list[Record]
    reused: int


def run_cells(
    cells: Sequence[Cell],
    store: RunStore,
    executor: Executor,
    *,
    resources: Resources,
    progress: Callback | None = None,
    found: Identified | None = None,
) -> Outcome:
    """Runs what the store does not have yet, as the command does."""
    known = found or identify(cells, store, resources)
    return Outcome(executors.run_cells(known, executor, progress=progress), known.reused)


def stored(store: RunStore, key: str) -> StoredCell:
    """The stored cell of a key; an error where it does not agree with itself."""
    (path,) = store.cells.glob(f"*_{key}.json")
    return read_cell(path)


class Log:
    """Progress that remembers what it was told."""

    def __init__(self) -> None:
        self.events: list[tuple[Any, ...]] = []

    def cell_started(self, cell: Cell, batches: int, queries: int) -> None:
        self.events.append(("started", cell.method.name, (batches, queries)))

    def batch_done(self, cell: Cell, batch_log: Any) -> None:
        self.events.append(("batch", cell.method.name, batch_log["queries"]))

    def cell_done(self, record: Any) -> None:
        self.events.append(("done", record.cell["method"]["name"], record.status.value))


def plan(config: BenchConfig) -> list[Cell]:
    """The cells that can be run of what flags with these values ask for; ``source`` is first."""
    flags = {name: Traced(getattr(config, name), flag_of(name)) for name in SETTINGS}
    return plan_flags(flags).possible
