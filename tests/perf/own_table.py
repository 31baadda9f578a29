"""Time and memory of a large table of captions with a toy encoder, from the files to the result.

``python -m tests.perf.own_table [CAPTIONS]`` writes 500 pictures and a gallery of so many captions
(default: a million), ranks all captions for each picture, and prints time and peak memory. With
``--queries`` the captions ask, each under the shift ``keyboard``, and the pictures are the gallery.
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
    """``captions.csv`` and ``pictures.csv``, each with what answers it in the other one."""
    rng = np.random.default_rng(0)
    with (folder / "captions.csv").open("w", newline="") as file:
        out = csv.writer(file)
        out.writerow(["id", "caption", "relevant"])
        for start in range(0, captions, 10_000):
            count = min(10_000, captions - start)
            for place, words in enumerate(rng.integers(0, 3000, (count, 6)).tolist(), start):
                own = place % PICTURES
                said = " ".join(f"w{word}" for word in words)
                out.writerow([f"c{place}", f"picture {own} number {place} of {said}", f"q{own}"])
    with (folder / "pictures.csv").open("w", newline="") as file:
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
    parser.add_argument("--queries", action="store_true", help="the captions ask")
    args = parser.parse_args()
    query, gallery, shift = ("pictures", "captions", "gaussian")
    if args.queries:
        query, gallery, shift = ("captions", "pictures", "keyboard")
    torch.manual_seed(0)
    image = nn.Sequential(nn.Linear(3 * 16 * 16, WIDTH), nn.LayerNorm(WIDTH))
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_tables(folder, args.captions)
        began = time.perf_counter()
        result = queryshift.evaluate(
            "source",
            ((image, pixels), (Words(), tokens)),
            folder / f"{query}.csv",
            shift=shift,
            gallery=str(folder / f"{gallery}.csv"),
        )
        taken = time.perf_counter() - began
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    assert result.cells[0].done
    print(
        f"{args.captions:,} captions as {'queries' if args.queries else 'gallery'}: "
        f"{taken:.0f} s, peak {peak:,.0f} MB"
    )


if __name__ == "__main__":
    main()
