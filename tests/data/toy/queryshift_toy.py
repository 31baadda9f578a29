"""An outsider's package with methods, benchmarks and a backbone: the command line's test world.

Pictures of random blocks; the caption "i j" is embedded as picture i with noise that depends on j.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from benchmark.cell import BackboneSpec
from benchmark.data.card import BenchmarkCard
from benchmark.data.datasets.base import ImageTextPairs
from benchmark.errors import DataError
from methods.base import Method, MethodCard, QueryEncoder, StepOutput

SIZE, IMAGES, CAPTIONS, DIM = 32, 30, 2, 16


@dataclass(frozen=True)
class Pictures:
    ids: Sequence[str]
    values: np.ndarray

    def __len__(self) -> int:
        return len(self.values)

    def __getitem__(self, index: int, /) -> np.ndarray:
        return self.values[index]


def pictures() -> np.ndarray:
    blocks = np.random.default_rng(7).integers(0, 256, (IMAGES, 4, 4, 3), dtype=np.uint8)
    return blocks.repeat(SIZE // 4, axis=1).repeat(SIZE // 4, axis=2)


def load_data(root: Path | None, *, split: str, allow_missing: bool) -> ImageTextPairs:
    if root is not None and not root.is_dir():
        raise DataError(f"no folder {root}; the toy data need none")
    owner = np.arange(IMAGES).repeat(CAPTIONS)
    return ImageTextPairs(
        name=f"toy {split}",
        images=Pictures([f"image-{i}" for i in range(IMAGES)], pictures()),
        captions=[f"{i} {n % CAPTIONS}" for n, i in enumerate(owner)],
        caption_ids=[f"caption-{n}" for n in range(len(owner))],
        caption_image=owner,
        fingerprint="toy-data",
    )


class Tower(QueryEncoder):
    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(4 * 4 * 3, DIM, bias=False)
        self.norm = nn.LayerNorm(DIM)
        generator = torch.Generator().manual_seed(3)
        nn.init.normal_(self.linear.weight, generator=generator)

    def forward(self, inputs: Tensor) -> Tensor:
        return nn.functional.normalize(self.norm(self.linear(inputs)), dim=-1)


class Backbone:
    name = "toy-net"
    fingerprint = "toy-weights"
    logit_scale = 20.0
    device = "cpu"

    def preprocess(self, modality: str) -> Callable[[Any], Tensor]:
        return self._image if modality == "image" else self._text

    def _image(self, item: np.ndarray) -> Tensor:
        image = torch.from_numpy(np.ascontiguousarray(item)).permute(2, 0, 1).float() / 255
        return nn.functional.adaptive_avg_pool2d(image, 4).flatten()

    def _text(self, item: str) -> Tensor:
        digits = [int(part) if part.isdecimal() else 0 for part in (*item.split(), "0", "0")]
        image, variant = digits[0] % IMAGES, digits[1]
        noise = np.random.default_rng([image, variant]).normal(0, 0.02, 4 * 4 * 3)
        return self._image(pictures()[image]) + torch.from_numpy(noise).float()

    def collate(self, modality: str, inputs: Sequence[Tensor]) -> Tensor:
        return torch.stack(list(inputs))

    def query_encoder(self, modality: str) -> QueryEncoder:
        return Tower().eval()

    @torch.no_grad()
    def encode(self, modality: str, inputs: Tensor) -> Tensor:
        return Tower().eval()(inputs)


def load_backbone(spec: BackboneSpec) -> Backbone:
    return Backbone()


@dataclass(frozen=True, slots=True)
class NudgeOptions:
    """Options of the nudge.

    Attributes:
        size: how far queries are moved.
    """

    size: float = 0.01


class Nudge(Method):
    """Training-free: adds a constant to every embedding."""

    card = MethodCard(
        "toy-nudge", "Nudge", "[bold]nudges[/bold] all queries", paper="none", trains=False
    )
    Options = NudgeOptions

    @torch.no_grad()
    def step(self, queries: Tensor) -> StepOutput:
        moved = nn.functional.normalize(self.embed(queries) + self.options.size, dim=-1)
        return StepOutput(self.score(moved), moved)


class Spoiler(Method):
    """Raises ``Spoiler.error`` on its second batch, if there is one; else does not adapt."""

    card = MethodCard("toy-spoiler", "Spoiler", "fails", paper="none", trains=False)
    error: BaseException | None = RuntimeError("spoiled")

    def step(self, queries: Tensor) -> StepOutput:
        self.batches = getattr(self, "batches", 0) + 1
        if self.error is not None and self.batches > 1:
            raise self.error
        embeddings = self.embed(queries)
        return StepOutput(self.score(embeddings), embeddings)


IMAGE = BenchmarkCard(
    id="toy-image",
    suite="toy",
    task="image_text",
    dataset="queryshift_toy:load_data",
    query="image",
    split="test",
    counts={"images": IMAGES, "captions": IMAGES * CAPTIONS},
    setting="QS",
    shifts=("gaussian_noise", "contrast"),
    severity=5,
    summary="[red]toy[/red] pictures",
    paper="none",
    named_by="our reading",
    licence="Apache-2.0",
    preset="published",
    backbone=BackboneSpec(loader="toy"),
)
TEXT = replace(IMAGE, id="toy-text", query="text", shifts=("char_swap",), severity=7)
NATURAL = replace(IMAGE, id="toy-natural", setting="QGS", shifts=("none",), severity=0)
