"""The similarity gate of the published word and style level: redraw until a caption stays close.

MM_Robustness (Qiu et al., 2024) redraws SR, RI, RS, RD, IP and the four styles up to 100 times
until the cosine of two sentence embeddings, of the caption before and after, reaches 0.9; the last
draw is kept where none does. The character level and back-translation have no gate there and none
here. A gate favours mild edits: without one the shift is harder, so the option is part of a
result's identity.
"""

from __future__ import annotations

import functools
import importlib
from abc import abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from shifts.base import Shift, ShiftError, user_folder
from shifts.digests import folder_fingerprint

NO_GATE = "none"
THRESHOLD = 0.9
"""Least cosine of the two embeddings (MM_Robustness)."""
MOST_DRAWS = 100
"""Draws before the last one is kept as it is (MM_Robustness)."""

Encoder = Callable[[Sequence[str]], np.ndarray]
"""Texts -> (texts, D) embeddings; any length of rows, their cosine is taken."""


@dataclass(frozen=True, slots=True)
class GateOptions:
    """Options of the shifts that are gated in the published benchmarks."""

    gate: str = field(
        default=NO_GATE,
        metadata={
            "help": "none, or 'sentence-transformers:/path/to/model': redraw until that encoder's "
            "cosine with the original caption reaches 0.9"
        },
    )

    def __post_init__(self) -> None:
        if self.gate != NO_GATE:
            _parts(self.gate)


class GatedTextShift(Shift):
    """A text shift with the gate as an option. Subclasses write ``draw``.

    Raises:
        ShiftError: on creation, when the gate's encoder cannot be had.
    """

    Options = GateOptions
    options: GateOptions

    def __init__(self, options: Any = None) -> None:
        super().__init__(options)
        gated = self.options.gate != NO_GATE
        self._encode = load_encoder(self.options.gate) if gated else None

    @property
    def fingerprint(self) -> str:
        """Hash of the gate's model, which can change a result; "" without a gate."""
        if self._encode is None:
            return ""
        return folder_fingerprint(_parts(self.options.gate)[1])

    def corrupt(self, item: str, severity: int, rng: np.random.Generator) -> str:
        """One draw, or as many as the gate asks for, all from the item's own generator."""
        if self._encode is None:
            return self.draw(item, severity, rng)
        return first_similar(item, lambda: self.draw(item, severity, rng), self._encode)

    @abstractmethod
    def draw(self, item: str, severity: int, rng: np.random.Generator) -> str:
        """The operator itself, once."""


def first_similar(item: str, draw: Callable[[], str], encode: Encoder) -> str:
    """The first of up to ``MOST_DRAWS`` draws that is close enough to ``item``, else the last.

    A draw that was judged before is not encoded again.
    """
    original = _embedding(encode, item)
    refused: set[str] = set()
    result = item
    for _ in range(MOST_DRAWS):
        result = draw()
        if result in refused:
            continue
        if result == item or _cosine(original, _embedding(encode, result)) >= THRESHOLD:
            return result
        refused.add(result)
    return result


def load_encoder(gate: str) -> Encoder:
    """The sentence encoder that a gate names.

    Args:
        gate: "kind:path"; kinds are those of ``LOADERS``, the path is a local folder.

    Raises:
        ShiftError: unknown kind, no such folder, a missing package or a model that does not load.
    """
    kind, path = _parts(gate)
    folder = user_folder(path)
    if not folder.is_dir():
        raise ShiftError(
            f"option 'gate': there is no folder {path!r}; download a sentence encoder such as "
            "paraphrase-mpnet-base-v2 and give its local folder, nothing is fetched here"
        )
    return _loaded(kind, str(folder), folder_fingerprint(str(folder)))


@functools.lru_cache(maxsize=2)
def _loaded(kind: str, folder: str, content: str) -> Encoder:
    """An encoder, loaded once per process and content of its folder; two are kept."""
    return LOADERS[kind](folder)


def _sentence_transformers(folder: str) -> Encoder:
    """A SentenceTransformer model on the CPU."""
    try:
        package = importlib.import_module("sentence_transformers")
    except ImportError:
        raise ShiftError(
            "a similarity gate needs sentence-transformers: pip install 'queryshift[gate]', "
            "or leave it out with gate=none"
        ) from None
    try:
        # The CPU on purpose: a draw near the threshold must not depend on the device.
        model = package.SentenceTransformer(
            folder, device="cpu", local_files_only=True, trust_remote_code=False
        )
    except (OSError, ValueError) as error:
        raise ShiftError(
            f"option 'gate': {folder!r} is no model that sentence-transformers can load: {error}"
        ) from error

    def encode(texts: Sequence[str]) -> np.ndarray:
        rows = model.encode(list(texts), convert_to_numpy=True, show_progress_bar=False)
        return np.asarray(rows)

    return encode


LOADERS: dict[str, Callable[[str], Encoder]] = {"sentence-transformers": _sentence_transformers}
"""Kind of gate -> how its model is loaded from a local folder; other packages may add theirs."""


def _parts(gate: str) -> tuple[str, str]:
    kind, _, path = gate.partition(":")
    if kind not in LOADERS or not path:
        known = ", ".join(f"'{name}:/path/to/model'" for name in LOADERS)
        raise ShiftError(f"option 'gate' is {gate!r}; it must be 'none' or {known}")
    return kind, path


def _embedding(encode: Encoder, text: str) -> np.ndarray:
    rows = np.asarray(encode([text]), dtype=np.float64)
    if rows.ndim != 2 or rows.shape[0] != 1 or not np.isfinite(rows).all():
        raise ShiftError(
            f"the gate's encoder must give one finite row per text; it gave shape {rows.shape}"
        )
    return rows[0]


def _cosine(one: np.ndarray, other: np.ndarray) -> float:
    length = float(np.linalg.norm(one) * np.linalg.norm(other))
    return float(one @ other) / length if length else 0.0
