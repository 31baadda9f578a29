"""Trains encoders of the embedded default anew: ``python -m training``.

Seeded and resumable: the work folder keeps what was drawn and the last checkpoint. Sized for two
cores.
"""

from __future__ import annotations

import argparse
import logging
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import torch

from benchmark.mini.pictures.backbone import WEIGHTS
from training import clips, composed, pictures
from training.recipes import CLIPS, COMBINERS, PICTURES

ENCODERS: dict[str, tuple[Callable[[Any, Path, Path], None], Any]] = {
    **{name: (partial(pictures.train, name), recipe) for name, recipe in PICTURES.items()},
    "clips": (clips.train, CLIPS),
    **{f"composed-{n}": (partial(composed.train, n), recipe) for n, recipe in COMBINERS.items()},
}
"""Shipped encoder -> (recipe, work folder, folder of all weights) -> trained; and its recipe."""


def main(argv: list[str] | None = None) -> int:
    """Command line of ``make mini-weights``."""
    parser = argparse.ArgumentParser(prog="python -m training", description=__doc__)
    parser.add_argument("encoders", nargs="*", metavar="ENCODER", help=f"of {', '.join(ENCODERS)}")
    parser.add_argument("--work", type=Path, default=Path("build/mini"), help="resumable state")
    parser.add_argument("--weights", type=Path, default=WEIGHTS, help="where the results go")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--steps", type=int, help="optimiser steps (default: the recipe's)")
    args = parser.parse_args(argv)
    unknown = sorted(set(args.encoders) - set(ENCODERS))
    if unknown:
        parser.error(f"no encoder {', '.join(unknown)}; there are {', '.join(ENCODERS)}")
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    torch.set_num_threads(args.threads)
    for name in args.encoders or ENCODERS:
        train, recipe = ENCODERS[name]
        recipe = replace(recipe, steps=args.steps or recipe.steps)
        train(recipe, args.work / name, args.weights)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
