"""Training of the encoders of pictures and captions: rendered scenes, re-renders, one-edit twins.

Every training scene is drawn twice (an image-to-image pair) and once more with one attribute edited
(a hard negative), so that the small encoder must look at shape and texture, not at the layout.
The auxiliary attribute heads exist during training only.
"""

from __future__ import annotations

import gzip
import json
import logging
import math
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from importlib import resources
from pathlib import Path
from typing import IO, Any

import numpy as np
import torch
import torch.nn.functional as F
from open_clip.model import CLIP
from safetensors.torch import load_file, save
from torch import Tensor, nn

from benchmark.backbones.towers import text_tower
from benchmark.config.files import atomic_write
from benchmark.data.tasks import clean
from benchmark.mini.pictures import data, scenes
from benchmark.mini.pictures.backbone import (
    BPE_FILE,
    WEIGHTS,
    tokenizer,
    weights_folder,
)
from benchmark.mini.pictures.scenes import BACKGROUNDS, COLOURS, SHAPES, TEXTURES, Scene
from benchmark.mini.worlds import people, poster
from benchmark.mini.worlds.drawn import SIDE, Describe, World
from training.edits import edit_person, edit_scene
from training.recipes import ARCHITECTURE, PREPROCESS, PictureRecipe
from training.run import TrainingRun, drawn

CAPTIONS = 5
PATCHES = SIDE // 8
"""A side, of 8 x 8 pixels each."""
TYPO_SHARE = 0.08
"""Share of training captions with one letter dropped or doubled, as in captions people type."""
_CHUNK = 500


@dataclass(frozen=True)
class TrainingData:
    """Arrays of S scene triples (scene, the same re-drawn, its edit).

    Attributes:
        images: (S, 3, 64, 64, 3) uint8.
        owners: (S, 3, 64) int8, the thing that covers each patch or -1.
        things: (S, 2, 3, 3) int8, shape, colour, texture index of up to three things of the scene
            and of its edit, -1 where there is none.
        backgrounds: (S, 2) int8.
        tokens: (S, 2, 5, context) uint16.
    """

    images: np.ndarray
    owners: np.ndarray
    things: np.ndarray
    backgrounds: np.ndarray
    tokens: np.ndarray


@dataclass(frozen=True)
class Source:
    """Where training triples come from.

    Attributes:
        scenes: split, count, seed -> different scenes.
        edit: the scene with one look changed, in the same split.
        draw: scene -> picture and ``owners_of`` its patches.
        captions: scene -> five texts.
        labels: scene -> looks of its things, (3, 3) int8, -1 where there is none, and its
            background's number. A source without labels goes with head weights of zero.
    """

    scenes: Callable[[str, int, int], Iterable[Any]]
    edit: Callable[[Any, np.random.Generator], Any]
    draw: Callable[[Any, np.random.Generator], tuple[np.ndarray, np.ndarray]]
    captions: Callable[[Any, np.random.Generator], list[str]]
    labels: Callable[[Any], tuple[np.ndarray, int]]


def _typo(text: str, rng: np.random.Generator) -> str:
    at = int(rng.integers(len(text)))
    return text[:at] + (text[at] * 2 if rng.random() < 0.5 else "") + text[at + 1 :]


def owners_of(masks: list[np.ndarray]) -> np.ndarray:
    """Which thing covers most of each patch, (8, 8) int8; -1 below a quarter."""
    shares = [mask.reshape(PATCHES, 8, PATCHES, 8).mean(axis=(1, 3)) for mask in masks]
    coverage = np.stack(shares)
    return np.where(coverage.max(0) >= 0.25, coverage.argmax(0), -1).astype(np.int8)


def _with_owners(
    scene: Scene, rng: np.random.Generator, draw: Callable[..., np.ndarray]
) -> tuple[np.ndarray, np.ndarray]:
    masks: list[np.ndarray] = []
    return draw(scene, rng, masks=masks), owners_of(masks)


def _labels(scene: Scene) -> tuple[np.ndarray, int]:
    shapes, colours, textures = tuple(SHAPES), tuple(COLOURS), tuple(TEXTURES)
    things = np.full((3, 3), -1, dtype=np.int8)
    for i, thing in enumerate(scene.things):
        things[i] = (
            shapes.index(thing.shape),
            colours.index(thing.colour),
            textures.index(thing.texture),
        )
    return things, tuple(BACKGROUNDS).index(scene.background)


def _no_labels(_scene: Any) -> tuple[np.ndarray, int]:
    return np.full((3, 3), -1, dtype=np.int8), 0


def _sighting(
    person: people.Person, rng: np.random.Generator, cameras: tuple[people.Camera, ...]
) -> tuple[np.ndarray, np.ndarray]:
    """A sighting by any of the cameras, and owners of its patches: none, people have no labels."""
    camera = cameras[int(rng.integers(len(cameras)))]
    return people.draw(person, camera, rng), np.full((PATCHES, PATCHES), -1, dtype=np.int8)


def _captions(person: people.Person, rng: np.random.Generator, describe: Describe) -> list[str]:
    texts: list[str] = []
    while len(texts) < 5:
        texts += describe(person, rng)
    return texts[:5]


def _people(world: World) -> Source:
    return Source(
        world.scenes,
        edit_person,
        partial(_sighting, cameras=world.views),
        partial(_captions, describe=world.describe),
        _no_labels,
    )


SOURCES: dict[str, Source] = {
    "base": Source(
        data.WORLD.scenes,
        edit_scene,
        partial(_with_owners, draw=data.render),
        scenes.captions,
        _labels,
    ),
    "flickr": Source(
        poster.WORLD.scenes,
        edit_scene,
        partial(_with_owners, draw=poster.render),
        poster.captions,
        _labels,
    ),
    "people-cuhk": _people(people.CUHK),
    "people-icfg": _people(people.ICFG),
}


def draw_chunk(start: int, count: int, seed: int, world: str = "base") -> dict[str, np.ndarray]:
    """The arrays of ``TrainingData`` for ``count`` triples, from a generator of their own."""
    rng = np.random.Generator(np.random.PCG64([seed, start]))
    source = SOURCES[world]
    tokenize = tokenizer()
    rows: dict[str, list] = {
        name: [] for name in ("images", "owners", "things", "backgrounds", "texts")
    }
    # A chunk's scenes come from its own seed; a few scenes may recur over chunks, which is harmless
    # in training.
    for scene in source.scenes("train", count, seed * 1_000_003 + start):
        twin = source.edit(scene, rng)
        views = [source.draw(s, rng) for s in (scene, scene, twin)]
        rows["images"].append([picture for picture, _ in views])
        rows["owners"].append([owners.reshape(PATCHES * PATCHES) for _, owners in views])
        labels = [source.labels(scene), source.labels(twin)]
        rows["things"].append([things for things, _ in labels])
        rows["backgrounds"].append([background for _, background in labels])
        for s in (scene, twin):
            for text in source.captions(s, rng):
                text = clean(text)
                rows["texts"].append(_typo(text, rng) if rng.random() < TYPO_SHARE else text)
    tokens = tokenize(rows.pop("texts")).numpy().astype(np.uint16)
    return {
        "images": np.asarray(rows["images"], dtype=np.uint8),
        "owners": np.asarray(rows["owners"], dtype=np.int8),
        "things": np.asarray(rows["things"], dtype=np.int8),
        "backgrounds": np.asarray(rows["backgrounds"], dtype=np.int8),
        "tokens": tokens.reshape(count, 2, CAPTIONS, -1),
    }


def build(
    folder: Path, *, triples: int, seed: int, workers: int, world: str = "base"
) -> TrainingData:
    """Renders what is missing under ``folder`` and returns all of it, about 37 KB a triple.

    Raises:
        DataError: the folder holds triples of another world or seed.
    """
    facts = {"world": world, "seed": seed}
    draw = partial(draw_chunk, seed=seed, world=world)
    return TrainingData(**drawn(folder, draw, facts, count=triples, chunk=_CHUNK, workers=workers))


WEIGHTS_FILE = "open_clip_model.safetensors"
log = logging.getLogger(__name__)
_SHAPES, _COLOURS, _TEXTURES = len(SHAPES), len(COLOURS), len(TEXTURES)


class Heads(nn.Module):
    """Attribute heads on the picture tower: one look per patch, and looks of the whole picture."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.patch = nn.Linear(width, _SHAPES + _COLOURS + _TEXTURES + 3)
        self.pooled = nn.Linear(width, _SHAPES * _COLOURS + _SHAPES * _TEXTURES + len(BACKGROUNDS))
        nn.init.constant_(self.pooled.bias, -4.0)  # most looks are absent from most pictures

    def losses(
        self, tokens: Tensor, pooled: Tensor, labels: dict[str, Tensor]
    ) -> tuple[Tensor, Tensor]:
        """Cross-entropies per patch (class 0 = background) and of the whole picture.

        Args:
            tokens: (B, 64, W) patch tokens.
            pooled: (B, W) pooled picture features.
            labels: ``owners`` (B, 64), ``things`` (B, 3, 3), ``backgrounds`` (B,), int64.
        """
        sizes = (_SHAPES + 1, _COLOURS + 1, _TEXTURES + 1)
        owners, things = labels["owners"], labels["things"]
        dense = torch.zeros(())
        for kind, logits in enumerate(self.patch(self.norm(tokens)).split(sizes, dim=-1)):
            look = things[:, :, kind].gather(1, owners.clamp(min=0)) + 1
            target = torch.where(owners >= 0, look, 0)
            dense = dense + F.cross_entropy(logits.flatten(0, 1), target.flatten())
        shape, colour, texture = things.unbind(-1)
        present = shape >= 0
        pairs = torch.zeros(len(things), _SHAPES * (_COLOURS + _TEXTURES) + 1)
        spare = pairs.shape[1] - 1  # absent things write here
        first = torch.where(present, shape * _COLOURS + colour, spare)
        second = torch.where(present, _SHAPES * _COLOURS + shape * _TEXTURES + texture, spare)
        pairs.scatter_(1, torch.cat([first, second], 1), 1.0)
        both, background = self.pooled(pooled).split([spare, len(BACKGROUNDS)], dim=-1)
        # The sum over classes is on the scale of a cross-entropy; a mean would vanish.
        whole = (
            0.1
            * F.binary_cross_entropy_with_logits(both, pairs[:, :spare], reduction="none")
            .sum(1)
            .mean()
        )
        return dense, whole + F.cross_entropy(background, labels["backgrounds"])


class Trainer(TrainingRun):
    """Model, heads, averaged weights and optimiser of one training run."""

    def __init__(self, recipe: PictureRecipe, data: TrainingData) -> None:
        self.recipe, self.data = recipe, data
        with torch.random.fork_rng():  # open_clip's initialisers use the global generator
            torch.manual_seed(recipe.seed)
            self.model = CLIP(**ARCHITECTURE)
            self.heads = Heads(ARCHITECTURE["vision_cfg"]["width"])
        if recipe.start:
            shipped = load_file(weights_folder(recipe.start) / WEIGHTS_FILE)
            kept = {
                name: value.float()
                for name, value in shipped.items()
                if not (recipe.fresh_pictures and name.startswith("visual."))
            }
            self.model.load_state_dict(self.model.state_dict() | kept)
        self.texts = text_tower(self.model)
        super().__init__(self.model, self.heads, self.model.logit_scale, recipe)
        self._features: dict[str, Tensor] = {}
        visual = self.model.visual
        visual.transformer.register_forward_hook(self._keep("tokens"))
        visual.ln_post.register_forward_hook(self._keep("pooled"))

    def _keep(self, name: str) -> Any:
        def hook(_module: nn.Module, _inputs: Any, output: Tensor) -> None:
            self._features[name] = output

        return hook

    def rate(self) -> float:
        """Linear warm-up, then a cosine that a linear cool-down cuts short."""
        r = self.recipe
        if self.step < r.warmup:
            return r.lr * (self.step + 1) / r.warmup
        last_full = min(self.step, r.steps - r.cooldown)
        cosine = math.cos(math.pi * (last_full - r.warmup) / (r.horizon - r.warmup))
        return r.lr * 0.5 * (1 + cosine) * min(1.0, (r.steps - self.step) / r.cooldown)

    def _augment(self, images: np.ndarray, generator: torch.Generator) -> Tensor:
        """Mild jitter of contrast, brightness and noise; (B, 3, 64, 64) normalised."""
        x = torch.from_numpy(images).permute(0, 3, 1, 2).float() / 255

        def draw(spread: float) -> Tensor:
            uniform = torch.rand(len(x), 1, 1, 1, generator=generator) * 2 - 1
            return uniform * spread

        mean = x.mean(dim=(1, 2, 3), keepdim=True)
        x = (x - mean) * (1 + draw(0.15)) + mean + draw(0.06)
        level = 0.02 * torch.rand(len(x), 1, 1, 1, generator=generator)
        x = x + torch.randn(x.shape, generator=generator) * level
        return ((x.clamp(0, 1) - 0.5) / 0.25).contiguous(memory_format=torch.channels_last)

    def update(self) -> dict[str, float]:
        """One optimiser step; its draws come from (seed, step), so a resume changes nothing."""
        r, d = self.recipe, self.data
        rng = np.random.Generator(np.random.PCG64([r.seed, 7, self.step]))
        generator = torch.Generator().manual_seed(r.seed * 1_000_003 + self.step)
        rows = rng.choice(len(d.images), r.batch, replace=False)
        twins = [0, 0, 1]  # of a triple, the first two pictures show the scene, the third its edit

        def stack(array: np.ndarray, columns: list[int]) -> np.ndarray:
            return np.concatenate([array[rows, c] for c in columns])

        # Different captions for the two pictures of one scene.
        order = rng.permuted(np.tile(np.arange(d.tokens.shape[2]), (r.batch, 1)), axis=1)
        texts = np.concatenate([d.tokens[rows, t, order[:, i]] for i, t in enumerate(twins)])
        tokens = self.texts.trimmed(torch.from_numpy(texts.astype(np.int64)))
        labels = {
            "owners": torch.from_numpy(stack(d.owners, [0, 1, 2]).astype(np.int64)),
            "things": torch.from_numpy(stack(d.things, twins).astype(np.int64)),
            "backgrounds": torch.from_numpy(stack(d.backgrounds, twins).astype(np.int64)),
        }
        images = self._augment(stack(d.images, [0, 1, 2]), generator)
        picture = self.model.encode_image(images, normalize=True)
        text = self.texts(tokens)
        scene = torch.arange(r.batch)
        scene = torch.cat([scene, scene, scene + r.batch])
        scale = self.model.logit_scale.exp()
        pairs = contrastive(scale * picture @ text.T, (scene[:, None] == scene).float())
        views = contrastive(
            scale.detach() * picture[: r.batch] @ picture[r.batch :].T,
            (scene[: r.batch, None] == scene[r.batch :]).float(),
        )
        dense, pooled = self.heads.losses(
            self._features["tokens"][:, 1:], self._features["pooled"], labels
        )
        loss = pairs + r.image_weight * views + r.dense_weight * dense + r.pooled_weight * pooled
        self.descend(loss)
        named = {"pairs": pairs, "views": views, "dense": dense, "pooled": pooled}
        return {name: float(value.detach()) for name, value in named.items()}


def contrastive(logits: Tensor, positives: Tensor) -> Tensor:
    """Symmetric cross-entropy of a similarity matrix whose rows may have several positives.

    A column without a positive is only a negative for the rows.
    """
    rows = -(positives / positives.sum(1, keepdim=True) * logits.log_softmax(1)).sum(1).mean()
    share = positives / positives.sum(0).clamp(min=1)
    columns = -(share * logits.log_softmax(0)).sum() / (positives.sum(0) > 0).sum()
    return (rows + columns) / 2


MERGES = 2000


def write_merges(target: Path) -> None:
    """Writes the shortened merge list, cut from the list that open_clip ships."""
    source = resources.files("open_clip") / "bpe_simple_vocab_16e6.txt.gz"
    with source.open("rb") as stream, gzip.open(stream, "rt", encoding="utf-8") as text:
        lines = [next(text) for _ in range(MERGES + 1)]  # the first line is a header

    def write(file: IO[bytes]) -> None:
        with gzip.GzipFile("", "wb", 9, file, mtime=0) as packed:
            packed.write("".join(lines).encode("utf-8").rstrip(b"\n"))

    atomic_write(target, write)


def export(model: CLIP, folder: Path) -> None:
    """Writes a folder for open_clip's ``local-dir:`` schema: config, fp16 weights, merges."""
    state = {name: value.detach().half().contiguous() for name, value in model.state_dict().items()}
    atomic_write(folder / WEIGHTS_FILE, save(state, metadata={"format": "pt"}))
    config = {"model_cfg": ARCHITECTURE, "preprocess_cfg": PREPROCESS}
    text = json.dumps(config, indent=2) + "\n"
    atomic_write(folder / "open_clip_config.json", text.encode())
    write_merges(folder / BPE_FILE)


def train(name: str, recipe: PictureRecipe, work: Path, weights: Path) -> None:
    """Renders, trains (from the last checkpoint, if any) and exports the averaged weights."""
    if not (WEIGHTS / BPE_FILE).exists():
        write_merges(WEIGHTS / BPE_FILE)
    started = time.perf_counter()
    data = build(
        work / "data",
        triples=recipe.triples,
        seed=recipe.seed,
        workers=torch.get_num_threads(),
        world=recipe.world,
    )
    log.info("%d triples rendered or read in %.0f s", recipe.triples, time.perf_counter() - started)
    trainer = Trainer(recipe, data)
    trainer.run(work, export, log, every=50)
    export(trainer.average, weights if name == "base" else weights / name)
    log.info("%s: wrote %s", name, weights)
