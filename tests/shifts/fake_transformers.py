"""A made-up package transformers for the tests of the shifts that run models."""

from __future__ import annotations

import contextlib
import math
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from shifts.base import Shift, item_generator
from shifts.builtin import make_shift
from shifts.text import gate, seq2seq

CAPTION = "a man riding a horse"
STYLES = ("formal", "casual", "passive", "active")
RANKED = ("formal", "casual")
PREFIXES = {
    "formal": "transfer Casual to Formal: ",
    "casual": "transfer Formal to Casual: ",
    "passive": "transfer Active to Passive: ",
    "active": "transfer Passive to Active: ",
}
STAND_INS = {name: f"{name}_rules" for name in STYLES} | {"back_trans": "paraphrase_rules"}


@dataclass
class World:
    """What the made-up models answer, and what they were asked."""

    answers: Callable[[str, str], Sequence[str]] = lambda folder, text: [
        f"{text[-20:]} {n}" for n in range(50)
    ]
    """(folder name, what the model reads) -> texts that it may write."""
    adequacy: dict[str, float] = field(default_factory=dict)
    labels: int = 3
    missing: set[str] = field(default_factory=set)
    fault: Exception | None = None
    bars: bool = True
    loaded: list[tuple[str, str, dict[str, Any]]] = field(default_factory=list)
    asked: list[tuple[str, str, dict[str, Any]]] = field(default_factory=list)
    judged: list[tuple[str, str]] = field(default_factory=list)
    pause: float = 0.0


class Tokenizer:
    """One token per character; a pair becomes one text with a bar in between."""

    def __call__(self, text: str, pair: str | None = None, **how: Any) -> dict[str, torch.Tensor]:
        assert how["return_tensors"] == "pt"
        assert how["truncation"] is True
        joined = text if pair is None else f"{text}|{pair}"
        ids = torch.tensor([[ord(char) for char in joined[: how["max_length"]]]])
        return {"input_ids": ids, "attention_mask": ids * 0 + 1, "token_type_ids": ids * 0}

    def batch_decode(self, rows: torch.Tensor, skip_special_tokens: bool) -> list[str]:
        assert skip_special_tokens
        return ["".join(chr(int(n)) for n in row if n) for row in rows]


def read(ids: torch.Tensor) -> str:
    return "".join(chr(int(n)) for n in ids[0])


class SinusoidalTable:
    """What transformers computes itself, so that a file need not hold it."""


class Model:
    """Draws from torch's global generator, as models of transformers do."""

    def __init__(self, world: World, folder: str) -> None:
        self.world, self.folder = world, folder
        self.steps: list[str] = []
        self.config = SimpleNamespace(num_labels=world.labels)

    def get_submodule(self, name: str) -> Any:
        return SinusoidalTable() if name == "positions" else self

    def float(self) -> Model:
        self.steps.append("float")
        return self

    def eval(self) -> Model:
        self.steps.append("eval")
        return self

    def generate(
        self, input_ids: torch.Tensor, attention_mask: torch.Tensor, **how: Any
    ) -> torch.Tensor:
        assert self.steps == ["float", "eval"]
        assert torch.is_inference_mode_enabled()
        torch.rand(1)  # as some releases do even where nothing is sampled
        text = read(input_ids)
        self.world.asked.append((self.folder, text, how))
        answers = list(self.world.answers(self.folder, text))
        chosen = []
        for _ in range(how.get("num_return_sequences", 1)):
            pick = int(torch.randint(len(answers), ())) if how["do_sample"] else 0
            chosen.append(answers[pick])
            time.sleep(self.world.pause)
        longest = max(map(len, chosen)) + 1
        return torch.tensor([[*map(ord, text), *[0] * (longest - len(text))] for text in chosen])

    def __call__(self, input_ids: torch.Tensor, **rest: Any) -> SimpleNamespace:
        assert "token_type_ids" in rest
        torch.rand(1)
        caption, _, candidate = read(input_ids).partition("|")
        self.world.judged.append((caption, candidate))
        share = self.world.adequacy.get(candidate, 0.0)
        yes, no = (math.log(max(p, 1e-9)) for p in (share, 1 - share))
        # The neutral label, which does not count, is far above the others.
        return SimpleNamespace(
            logits=torch.tensor([[no, yes] if self.world.labels == 2 else [no, 9.0, yes]])
        )


@contextlib.contextmanager
def made_up_transformers(monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    """A package "transformers" whose models do what the world says."""
    made = World()

    def load(kind: str) -> Any:
        def from_pretrained(folder: str, **how: Any) -> Any:
            made.loaded.append((kind, folder, {**how, "bars": made.bars}))
            torch.rand(3)  # some releases draw first weights before they read the real ones
            if made.fault is not None:
                raise made.fault
            if kind == "tokenizer":
                return Tokenizer()
            return Model(made, Path(folder).name), {"missing_keys": made.missing}

        return SimpleNamespace(from_pretrained=from_pretrained)

    bars = SimpleNamespace(
        is_progress_bar_enabled=lambda: made.bars,
        disable_progress_bar=lambda: setattr(made, "bars", False),
        enable_progress_bar=lambda: setattr(made, "bars", True),
    )
    package = SimpleNamespace(
        AutoTokenizer=load("tokenizer"),
        AutoModelForSeq2SeqLM=load("seq2seq"),
        AutoModelForSequenceClassification=load("classifier"),
        utils=SimpleNamespace(logging=bars),
    )
    monkeypatch.setitem(sys.modules, "transformers", package)
    clear()
    yield made
    clear()


def clear() -> None:
    for cache in (seq2seq.load_rewriter, seq2seq.load_adequacy):
        cache.cache_clear()


def folder(root: Path, name: str, content: bytes = b"weights") -> str:
    made = root / name
    made.mkdir(exist_ok=True)
    (made / "config.json").write_text("{}")
    (made / "model.safetensors").write_bytes(content)
    return str(made)


def make(name: str, root: Path, **options: str) -> Shift:
    given = {"model": folder(root, "there")}
    if name == "back_trans":
        given["model_back"] = folder(root, "back")
    return make_shift(name, "text", given | options)


def shifted(shift: Shift, item: str = "0", caption: str = CAPTION) -> str:
    return shift.apply(caption, 1, item_generator(0, shift.card.name, 1, item))


def made_up_gate(root: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A gate of which only texts that end in 7 are similar to ``CAPTION``."""

    def encode(texts: Sequence[str]) -> np.ndarray:
        return np.array([[1.0, 0.0] if t == CAPTION or t[-1] == "7" else [0.0, 1.0] for t in texts])

    monkeypatch.setitem(gate.LOADERS, "fake", lambda path: encode)
    return f"fake:{folder(root, 'gate')}"
