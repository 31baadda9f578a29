"""Training of the combiners of pictures and texts, on families of training scenes.

The base encoder stays frozen, so its picture features are computed once and kept beside the work
folder.
"""

from __future__ import annotations

import logging
import math
import time
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from safetensors.torch import save
from torch import Tensor, nn

from benchmark.backbones.towers import ImageTower, TextTower
from benchmark.config.files import atomic_write
from benchmark.data.tasks import clean
from benchmark.mini.composed.backbone import (
    WEIGHTS_FILE,
    Combiner,
    base_fingerprint,
    base_towers,
    image_states,
    read,
    text_states,
)
from benchmark.mini.composed.families import (
    CATEGORIES,
    Change,
    Family,
    families,
    paths,
    text_of,
)
from benchmark.mini.composed.families import Path as Way
from benchmark.mini.pictures.backbone import tokenizer
from benchmark.mini.pictures.data import render
from training.recipes import PREPROCESS, CombinerRecipe
from training.run import TrainingRun

CHUNK = 100
"""Families drawn, encoded and stored together; those of garments are of one category."""


@dataclass(frozen=True)
class Features:
    """Training families with their pictures' features.

    Attributes:
        kinds: for each family "cirr" or its category.
        families: the families.
        patches: (F, MEMBERS, P, W) float16 patch states.
        pooled: (F, MEMBERS, D) float32 unit rows.
    """

    kinds: list[str]
    families: list[Family]
    patches: Tensor
    pooled: Tensor


def normalised(pictures: np.ndarray) -> Tensor:
    """(B, 64, 64, 3) uint8 pictures as the base takes them, (B, 3, 64, 64) float32."""
    pixels = torch.from_numpy(pictures).permute(0, 3, 1, 2).float() / 255
    mean, std = (torch.tensor(PREPROCESS[key]).view(3, 1, 1) for key in ("mean", "std"))
    return ((pixels - mean) / std).contiguous()


def _kind(name: str, chunk: int) -> str:
    return "cirr" if name == "cirr" else CATEGORIES[chunk % len(CATEGORIES)]


@torch.no_grad()
def _encode(tower: ImageTower, drawn: list[Family], rng: np.random.Generator) -> list[np.ndarray]:
    parts: list[tuple[Tensor, Tensor]] = []
    for family in drawn:
        pictures = np.stack([render(scene, rng) for scene in family.scenes])
        parts.append(image_states(tower, normalised(pictures)))
    patches, pooled = zip(*parts, strict=True)
    return [torch.stack(patches).half().numpy(), torch.stack(pooled).numpy()]


def build(name: str, tower: ImageTower, folder: Path, *, count: int, seed: int) -> Features:
    """Encodes what is missing under ``folder`` and returns all of it, 130 KB a family.

    A chunk depends on its number and the seed alone. Chunks may repeat a scene of another chunk,
    which is harmless in training.
    """
    folder.mkdir(parents=True, exist_ok=True)
    kinds: list[str] = []
    found: list[Family] = []
    patches: list[Tensor] = []
    pooled: list[Tensor] = []
    for chunk in range(-(-count // CHUNK)):
        kind, rng = _kind(name, chunk), np.random.Generator(np.random.PCG64([seed, 11, chunk]))
        size = min(CHUNK, count - chunk * CHUNK)
        drawn = list(families(kind, "train", size, rng))
        file = folder / f"{name}-{seed}-{chunk:04d}-{size}.npz"
        if not file.exists():
            first, second = _encode(tower, drawn, rng)
            save = partial(np.savez, allow_pickle=False, patches=first, pooled=second)
            atomic_write(file, save)
        with np.load(file, allow_pickle=False) as stored:
            patches.append(torch.from_numpy(stored["patches"]))
            pooled.append(torch.from_numpy(stored["pooled"]))
        kinds += [kind] * size
        found += drawn
    return Features(kinds, found, torch.cat(patches), torch.cat(pooled))


log = logging.getLogger(__name__)


class Trainer(TrainingRun):
    """Combiner, averaged weights and optimiser of one training run."""

    def __init__(
        self, recipe: CombinerRecipe, data: Features, texts: TextTower, logit_scale: float
    ) -> None:
        self.recipe, self.data, self.texts = recipe, data, texts
        with torch.random.fork_rng():  # torch's initialisers use the global generator
            torch.manual_seed(recipe.seed)
            self.combiner = Combiner()
        log_scale = nn.Parameter(torch.tensor(math.log(logit_scale)))
        super().__init__(self.combiner, nn.ParameterList([log_scale]), log_scale, recipe)

    def start_from(self, file: Path) -> None:
        """Starts from the combiner of another set."""
        combiner, facts = read(file)
        for own in (self.combiner, self.average):
            own.load_state_dict(combiner.state_dict())
        with torch.no_grad():
            self.log_scale.fill_(math.log(float(facts["logit_scale"])))

    def update(self) -> dict[str, float]:
        """One optimiser step; its draws come from (seed, step), so a resume changes nothing."""
        r, d = self.recipe, self.data
        rng = np.random.Generator(np.random.PCG64([r.seed, 13, self.step]))
        rows = rng.choice(len(d.families), r.batch, replace=False)
        members = d.pooled.shape[1]
        references, targets, texts, masked = [], [], [], []
        for place, row in enumerate(rows):
            kind, family = d.kinds[row], d.families[row]
            ways = training_ways(kind, family)
            for i in rng.choice(len(ways), r.queries, replace=False):
                first, last = ways[i].reference, ways[i].target
                references.append((int(row), first))
                targets.append(place * members + last)
                masked.append(place * members + first if kind == "cirr" else -1)
                texts.append(clean(text_of(kind, family, ways[i], rng)))
        of_row, of_member = (torch.tensor(part) for part in zip(*references, strict=True))
        tokens = self.texts.trimmed(tokenizer()(texts))
        with torch.no_grad():
            states, absent = text_states(self.texts, tokens)
        patches = d.patches[of_row, of_member].float()
        query = self.combiner(patches, d.pooled[of_row, of_member], states, absent)
        scores = query @ d.pooled[torch.from_numpy(rows)].flatten(0, 1).T
        return self._descend(scores, torch.tensor(targets), torch.tensor(masked))

    def _descend(self, scores: Tensor, targets: Tensor, masked: Tensor) -> dict[str, float]:
        """Contrastive loss of queries against the step's gallery; ``masked`` is left out of it."""
        at = torch.arange(len(scores))[masked >= 0]
        hide = torch.zeros_like(scores)
        hide[at, masked[at]] = -torch.inf
        loss = F.cross_entropy(scores * self.log_scale.exp() + hide, targets)
        self.descend(loss)
        hits = ((scores + hide).argmax(1) == targets).float().mean()
        return {"loss": float(loss.detach()), "top1": float(hits)}


def training_ways(kind: str, family: Family) -> list[Way]:
    """The ways of the tests and those back."""
    ways = paths(kind, family)
    return ways + [inverse(way) for way in ways]


def inverse(way: Way) -> Way:
    """The way that leads back."""
    kinds = {"add": "remove", "remove": "add"}
    back = (Change(kinds.get(c.kind, c.kind), c.new, c.old) for c in reversed(way.changes))
    return Way(way.target, way.reference, tuple(back))


def export(name: str, combiner: Combiner, logit_scale: float, folder: Path) -> Path:
    """Writes ``composed-<name>/combiner.safetensors`` in half precision; returns the file."""
    target = folder / f"composed-{name}" / WEIGHTS_FILE
    state = {
        key: value.detach().half().contiguous() for key, value in combiner.state_dict().items()
    }
    _, image, text = base_towers()
    facts = {"logit_scale": f"{logit_scale:.4f}", "base": base_fingerprint(image, text)}
    return atomic_write(target, save(state, metadata=facts))


def train(name: str, recipe: CombinerRecipe, work: Path, weights: Path) -> None:
    """Encodes, trains (from the last checkpoint, if any) and exports the averaged weights."""
    started = time.perf_counter()
    base, image, text = base_towers()
    data = build(name, image, work.parent / "features", count=recipe.families, seed=recipe.seed)
    log.info(
        "%s: %d families ready in %.0f s", name, len(data.families), time.perf_counter() - started
    )
    trainer = Trainer(recipe, data, text, base.logit_scale)
    if recipe.start:
        trainer.start_from(weights / f"composed-{recipe.start}" / WEIGHTS_FILE)

    def write(combiner: Combiner, folder: Path) -> None:
        export(name, combiner, trainer.logit_scale, folder)

    trainer.run(work, write, log, every=100)
    write(trainer.average, weights)
    log.info("wrote %s", weights)
