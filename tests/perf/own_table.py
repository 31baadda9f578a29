"""Time and memory of a large table of captions with a toy encoder, from the files to the result.

``python -m tests.perf.own_table [CAPTIONS]`` writes 500 pictures and a gallery of so many captions
(default: a million), ranks all captions for each picture, and prints time and peak memory.
"""

from __future__ import annotations

import argparse
import csv
import resource
import tempfile
import time
import zlib
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

import queryshift

PICTURES, RELEVANT, WORDS, WIDTH = 500, 5, 4096, 32


def write_tables(folder: Path, captions: int) -> None:
    """``queries.csv`` (pictures, five captions each) and ``gallery.csv``."""
    rng = np.random.default_rng(0)
    with (folder / "gallery.csv").open("w", newline="") as file:
        out = csv.writer(file)
        out.writerow(["id", "caption"])
        for start in range(0, captions, 10_000):
            count = min(10_000, captions - start)
            for place, words in enumerate(rng.integers(0, 3000, (count, 6)).tolist(), start):
                said = " ".join(f"w{word}" for word in words)
                out.writerow([f"c{place}", f"picture {place % PICTURES} number {place} of {said}"])
    with (folder / "queries.csv").open("w", newline="") as file:
        out = csv.writer(file)
        out.writerow(["id", "image", "relevant"])
        for i in range(PICTURES):
            Image.fromarray(rng.integers(0, 256, (32, 32, 3), np.uint8)).save(folder / f"{i}.png")
            answers = " ".join(f"c{i + PICTURES * k}" for k in range(RELEVANT))
            out.writerow([f"q{i}", f"{i}.png", answers])


class Words(nn.Module):
    """The mean of hashed words' vectors, normalised."""

    def __init__(self) -> None:
        super().__init__()
        self.table, self.norm = nn.EmbeddingBag(WORDS, WIDTH), nn.LayerNorm(WIDTH)

    def forward(self, tokens: Tensor) -> Tensor:
        return self.norm(self.table(tokens))


def pixels(picture: Image.Image) -> Tensor:
    small = np.asarray(picture.resize((16, 16)), dtype=np.float32) / 255
    return torch.from_numpy(small).flatten()


def tokens(text: str) -> Tensor:
    numbers = [zlib.crc32(word.encode()) % WORDS for word in text.split()[:16]]
    return torch.tensor(numbers + [0] * (16 - len(numbers)))


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("captions", nargs="?", type=int, default=1_000_000)
    captions = parser.parse_args().captions
    torch.manual_seed(0)
    image = nn.Sequential(nn.Linear(3 * 16 * 16, WIDTH), nn.LayerNorm(WIDTH))
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_tables(folder, captions)
        began = time.perf_counter()
        result = queryshift.evaluate(
            "source",
            ((image, pixels), (Words(), tokens)),
            folder / "queries.csv",
            shift="gaussian",
            gallery=str(folder / "gallery.csv"),
        )
        taken = time.perf_counter() - began
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    assert result.cells[0].done
    print(f"{captions:,} captions: {taken:.0f} s, peak {peak:,.0f} MB")


if __name__ == "__main__":
    main()
