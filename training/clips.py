"""Training of the video-audio encoder on drawn clips of both styles with their attributes.

The attribute heads exist during training only.
"""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import cast

import numpy as np
import torch
import torch.nn.functional as F
from safetensors.torch import save
from torch import Tensor, nn

from benchmark.config.files import atomic_write
from benchmark.mini.clips.backbone import (
    ARCHITECTURE,
    WEIGHTS_FILE,
    ClipEncoder,
    log_mel,
    normalised,
)
from benchmark.mini.clips.data import draw_frames, draw_samples
from benchmark.mini.clips.events import (
    BACKGROUNDS,
    RHYTHMS,
    SHAPES,
    SIDE,
    SIZES,
    STYLES,
    TEXTURES,
    Clip,
    clips,
)
from shifts.audio.item import FULL_SCALE
from training.recipes import ClipRecipe
from training.run import TrainingRun, drawn

LOOKS = (len(RHYTHMS), len(SIZES), len(TEXTURES))
"""Each is told together with the shape that it belongs to."""
LABELS = len(SHAPES) * sum(LOOKS)
_CHUNK = 1000


@dataclass(frozen=True)
class TrainingData:
    """Arrays of N clips.

    Attributes:
        frames: (N, 8, 32, 32, 3) uint8.
        samples: (N, 12800) int16 steps of PCM.
        present: (N, LABELS) bool, which pairs of shape and rhythm, size or texture occur.
        backgrounds: (N,) int64.
        events: (N, 2, 4) int64, shape, size, texture and rhythm of up to two events, else -1.
        owners: (N, 64) int64, the event at each place (of 4 x 4 pixels) of the video, else -1.
    """

    frames: np.ndarray
    samples: np.ndarray
    present: np.ndarray
    backgrounds: np.ndarray
    events: np.ndarray
    owners: np.ndarray


def looks(clip: Clip) -> np.ndarray:
    """(2, 4) int64: shape, size, texture and rhythm of each event by number; -1 for no event."""
    marks = np.full((2, 4), -1)
    for i, event in enumerate(clip.events):
        marks[i] = (
            SHAPES.index(event.shape),
            SIZES.index(event.size),
            TEXTURES.index(event.texture),
            RHYTHMS.index((event.period, event.phase)),
        )
    return marks


def owners(clip: Clip) -> np.ndarray:
    """(64,) int64: which event lies at each place of 4 x 4 pixels, row by row; -1 for none."""
    middles = np.arange(2.0, SIDE, 4)
    found = np.full((len(middles),) * 2, -1)
    for i, event in enumerate(clip.events):
        radius = STYLES[clip.style].radius[SIZES.index(event.size)]
        across, down = middles[None] - event.x, middles[:, None] - event.y
        found[across**2 + down**2 < radius**2] = i
    return found.ravel()


def present(clip: Clip) -> np.ndarray:
    """(LABELS,) bool: the pairs of shape and rhythm, then size, then texture of its events."""
    marks = [np.zeros((len(SHAPES), count), dtype=bool) for count in LOOKS]
    for shape, size, texture, rhythm in looks(clip)[: len(clip.events)]:
        for mark, look in zip(marks, (rhythm, size, texture), strict=True):
            mark[shape, look] = True
    return np.concatenate([mark.ravel() for mark in marks])


def draw_chunk(start: int, count: int, seed: int) -> dict[str, np.ndarray]:
    """The arrays of ``TrainingData`` for ``count`` clips, the styles in turn."""
    rng = np.random.Generator(np.random.PCG64([seed, start]))
    styles = tuple(STYLES)
    # A chunk's clips come from its own seed; a few recur over chunks, which does no harm.
    sources = [clips(s, "train", count, seed * 1_000_003 + start) for s in styles]
    scripts = [next(sources[i % len(styles)]) for i in range(count)]
    steps = [np.rint(draw_samples(clip, rng) * FULL_SCALE).astype(np.int16) for clip in scripts]
    return {
        "frames": np.stack([draw_frames(clip, rng) for clip in scripts]),
        "samples": np.stack(steps),
        "present": np.stack([present(clip) for clip in scripts]),
        "backgrounds": np.array([BACKGROUNDS.index(clip.background) for clip in scripts]),
        "events": np.stack([looks(clip) for clip in scripts]),
        "owners": np.stack([owners(clip) for clip in scripts]),
    }


def build(folder: Path, *, count: int, seed: int, workers: int) -> TrainingData:
    """Draws what is missing under ``folder`` and returns all of it, about 51 KB a clip.

    Raises:
        DataError: the folder holds clips drawn with another seed.
    """
    draw = partial(draw_chunk, seed=seed)
    facts = {"seed": seed}
    return TrainingData(**drawn(folder, draw, facts, count=count, chunk=_CHUNK, workers=workers))


log = logging.getLogger(__name__)
_KINDS = [len(SHAPES), len(SIZES), len(TEXTURES), len(RHYTHMS)]


class Head(nn.Module):
    """Attributes of a clip from one tower; of the video, also those at each place."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.whole = nn.Linear(width, LABELS + len(BACKGROUNDS))
        nn.init.constant_(self.whole.bias, -4.0)  # most looks are absent from most clips
        self.norm = nn.LayerNorm(width)
        self.place = nn.Linear(width, sum(_KINDS))

    def whole_loss(self, pooled: Tensor, present: Tensor, backgrounds: Tensor) -> Tensor:
        """Binary cross-entropies of the looks, cross-entropy of the background.

        Args:
            pooled: (B, W).
            present: (B, LABELS) float.
            backgrounds: (B,) int64.
        """
        looks, ground = self.whole(pooled).split([LABELS, len(BACKGROUNDS)], dim=1)
        # The sum over classes is on the scale of a cross-entropy; a mean would vanish.
        both = F.binary_cross_entropy_with_logits(looks, present, reduction="none").sum(1).mean()
        return 0.1 * both + 0.3 * F.cross_entropy(ground, backgrounds)

    def place_loss(self, tokens: Tensor, events: Tensor, owners: Tensor) -> Tensor:
        """Cross-entropies of shape, size, texture and rhythm at the places that show an event.

        Args:
            tokens: (B, L, W).
            events: (B, 2, 4) int64.
            owners: (B, L) int64.
        """
        rows, places = (owners >= 0).nonzero(as_tuple=True)
        wanted = events[rows, owners[rows, places]]
        logits = self.place(self.norm(tokens[rows, places])).split(_KINDS, dim=1)
        return torch.stack(
            [F.cross_entropy(x, wanted[:, kind]) for kind, x in enumerate(logits)]
        ).sum()


class Trainer(TrainingRun):
    """Model, heads, averaged weights and optimiser of one training run."""

    def __init__(self, recipe: ClipRecipe, data: TrainingData) -> None:
        self.recipe, self.data = recipe, data
        with torch.random.fork_rng(devices=[]):  # torch's initialisers use the global generator
            torch.manual_seed(recipe.seed)
            self.model = ClipEncoder()
            self.heads = nn.ModuleList(Head(ARCHITECTURE["width"]) for _ in range(2))
        super().__init__(self.model, self.heads, self.model.logit_scale, recipe)

    def _video(self, rows: np.ndarray, generator: torch.Generator) -> Tensor:
        """(B, 8, 3, 32, 32) frames with jittered contrast, brightness and sensor noise."""
        x = torch.from_numpy(self.data.frames[rows]).permute(0, 1, 4, 2, 3).float() / 255

        def draw() -> Tensor:
            return torch.rand(len(x), 1, 1, 1, 1, generator=generator)

        mean = x.mean(dim=(1, 2, 3, 4), keepdim=True)
        x = (x - mean) * (0.85 + 0.3 * draw()) + mean + 0.12 * (draw() - 0.5)
        level = self.recipe.sensor_noise * draw()
        x += torch.randn(x.shape, generator=generator) * level
        return normalised(x.clamp(0, 1))

    def _audio(self, rows: np.ndarray, generator: torch.Generator) -> Tensor:
        """(B, 40, 100) spectrograms of sounds with jittered gain and recording noise."""
        r = self.recipe
        x = torch.from_numpy(self.data.samples[rows].astype(np.float32) / FULL_SCALE)

        def draw() -> Tensor:
            return torch.rand(len(x), 1, generator=generator)

        x = x * 10 ** (0.4 * (draw() - 0.5))
        decibels = r.loudest + (r.quietest - r.loudest) * draw()
        level = x.square().mean(1, keepdim=True).sqrt() * 10 ** (-decibels / 20)
        return log_mel(x + torch.randn(x.shape, generator=generator) * level)

    def update(self) -> dict[str, float]:
        """One optimiser step; its draws come from (seed, step), so a resume changes nothing."""
        r, d = self.recipe, self.data
        rng = np.random.Generator(np.random.PCG64([r.seed, 7, self.step]))
        generator = torch.Generator().manual_seed(r.seed * 1_000_003 + self.step)
        rows = rng.choice(len(d.frames), r.batch, replace=False)
        present = torch.from_numpy(d.present[rows]).float()
        backgrounds = torch.from_numpy(d.backgrounds[rows])
        video_head, audio_head = (cast(Head, head) for head in self.heads)
        video, audio = self.model.video, self.model.audio
        tokens = video.mixed(self._video(rows, generator))
        seen, heard = video.norm(tokens.mean(1)), audio.pooled(self._audio(rows, generator))
        losses = {
            "video": video_head.whole_loss(seen, present, backgrounds),
            "audio": audio_head.whole_loss(heard, present, backgrounds),
            "places": video_head.place_loss(
                tokens, torch.from_numpy(d.events[rows]), torch.from_numpy(d.owners[rows])
            ),
        }
        queries = F.normalize(video.project(seen), dim=-1)
        logits = (
            self.model.logit_scale.exp() * queries @ F.normalize(audio.project(heard), dim=-1).T
        )
        own = torch.arange(r.batch)
        pairs = (F.cross_entropy(logits, own) + F.cross_entropy(logits.T, own)) / 2
        loss = pairs + r.attribute_weight * (losses["video"] + losses["audio"])
        loss = loss + r.place_weight * losses["places"]
        self.descend(loss)
        return {name: float(value.detach()) for name, value in ({"pairs": pairs} | losses).items()}


def export(model: ClipEncoder, folder: Path) -> None:
    """Writes the weights as fp16 safetensors, in one piece."""
    state = {name: value.detach().half().contiguous() for name, value in model.state_dict().items()}
    atomic_write(folder / WEIGHTS_FILE, save(state, metadata={"format": "pt"}))


def train(recipe: ClipRecipe, work: Path, weights: Path) -> None:
    """Draws, trains (from the last checkpoint, if any) and exports the averaged weights."""
    started = time.perf_counter()
    workers = torch.get_num_threads()
    data = build(work / "data", count=recipe.clips, seed=recipe.seed, workers=workers)
    log.info("%d clips drawn or read in %.0f s", recipe.clips, time.perf_counter() - started)
    trainer = Trainer(recipe, data)
    trainer.run(work, export, log, every=200)
    export(trainer.average, weights / "clips")
    log.info("clips: wrote %s", weights / "clips")
