"""Local language models for the sentence-level shifts, through the optional package transformers.

Everything is read from folders of the user's: nothing is downloaded, no code of a model's runs
(safetensors, or torch files with ``weights_only``), and a model that lacks weights is refused. The
models run in float32 on the CPU, one caption at a time, so that a result depends neither on a batch
nor on the device.
"""

from __future__ import annotations

import contextlib
import importlib
import threading
from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import Any

import torch

from shifts.base import ShiftError, user_folder

MOST_READ = 512
"""Tokens of a text that are read; longer ones are cut (T5's training length)."""
MOST_WRITTEN = 32
"""Tokens that a style model writes at most, the opening one included (Styleformer)."""
TOP_K, TOP_P = 50, 0.95
"""Sampling of the style models: likeliest tokens, and their summed probability (Styleformer)."""
MOST_TRANSLATED = 300
"""Tokens that a translation model writes at most (nlpaug's BackTranslationAug)."""
MOST_JUDGED = 128
"""Tokens of a caption and its candidate that the adequacy classifier reads (Styleformer)."""
_ENTAILMENT = {2: ([0, 1], 1), 3: ([0, 2], 1)}
"""Labels of the classifier -> (those that the softmax is over, which of them means "same sense").

Styleformer had two classifiers in turn: parrot_adequacy_on_BART knows contradiction, neutral and
entailment, of which neutral is thrown away; of parrot_adequacy_model the second label is taken.
"""

_turn = threading.Lock()


@contextlib.contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Torch's global CPU generator is seeded inside, and afterwards is as it was before.

    ``generate`` of transformers takes no generator of its own and samples from the global one. The
    lock keeps threads that corrupt captions at the same time from drawing each other's numbers.

    Args:
        seed: 0..2**63-1.
    """
    # devices=[]: CUDA's generators are neither used nor moved; torch.manual_seed would move them.
    with _turn, torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        yield


class Rewriter:
    """A sequence-to-sequence model with its tokeniser.

    Args:
        tokenizer: a transformers tokeniser.
        model: a transformers model with ``generate``, on the CPU.
    """

    def __init__(self, tokenizer: Any, model: Any) -> None:
        self._tokenizer = tokenizer
        self._model = model

    def sample(self, text: str, count: int, seed: int) -> list[str]:
        """``count`` sampled rewritings, as Styleformer draws them; the same seed, the same ones."""
        with seeded(seed):
            return self._generate(
                text,
                do_sample=True,
                top_k=TOP_K,
                top_p=TOP_P,
                max_length=MOST_WRITTEN,
                num_return_sequences=count,
            )

    def translate(self, text: str) -> str:
        """The model's best translation, by the beam search that its folder configures."""
        with seeded(0):  # nothing is sampled, but some releases draw numbers all the same
            return self._generate(text, do_sample=False, max_length=MOST_TRANSLATED)[0]

    @torch.inference_mode()
    def _generate(self, text: str, **how: Any) -> list[str]:
        read = self._tokenizer(text, return_tensors="pt", truncation=True, max_length=MOST_READ)
        # Some tokenisers add token types, which no such model takes.
        given = {name: read[name] for name in ("input_ids", "attention_mask")}
        written = self._model.generate(**given, **how)
        texts = self._tokenizer.batch_decode(written, skip_special_tokens=True)
        return [text.strip() for text in texts]


class AdequacyModel:
    """A classifier of sentence pairs: does a candidate still say what the caption says?

    Args:
        tokenizer: a transformers tokeniser.
        model: a transformers sequence classifier with 2 or 3 labels, on the CPU.

    Raises:
        ShiftError: another number of labels.
    """

    def __init__(self, tokenizer: Any, model: Any) -> None:
        self._tokenizer = tokenizer
        self._model = model
        labels = int(model.config.num_labels)
        if labels not in _ENTAILMENT:
            raise ShiftError(
                f"option 'adequacy' names a classifier of {labels} labels; it must have 3 "
                "(contradiction, neutral, entailment) or 2 (not adequate, adequate)"
            )
        self._over, self._which = _ENTAILMENT[labels]

    @torch.inference_mode()
    def scores(self, caption: str, candidates: Sequence[str]) -> list[float]:
        """Probability (0..1) that each candidate is adequate."""
        with seeded(0):  # as in ``Rewriter.translate``
            return [self._score(caption, candidate) for candidate in candidates]

    def _score(self, caption: str, candidate: str) -> float:
        read = self._tokenizer(
            caption, candidate, return_tensors="pt", truncation=True, max_length=MOST_JUDGED
        )
        logits = self._model(**read).logits[0, self._over]
        return float(logits.softmax(dim=0)[self._which])


@lru_cache(maxsize=6)
def load_rewriter(folder: str, content: str = "") -> Rewriter:
    """The sequence-to-sequence model of a local folder, loaded once per process and content.

    ``content`` is the folder's fingerprint. Six are kept: the four styles and a pair of translation
    models.

    Raises:
        ShiftError: transformers is missing, or the folder holds no complete model of this kind.
    """
    return Rewriter(*_load(folder, "AutoModelForSeq2SeqLM", "sequence-to-sequence model"))


@lru_cache(maxsize=2)
def load_adequacy(folder: str, content: str = "") -> AdequacyModel:
    """The adequacy classifier of a local folder, loaded once per process and content; two are kept.

    Raises:
        ShiftError: as ``load_rewriter``, or a classifier of other labels.
    """
    return AdequacyModel(*_load(folder, "AutoModelForSequenceClassification", "classifier"))


def require_transformers(shift: str, stand_in: str) -> None:
    """Raises ShiftError, naming the extra and the offline stand-in, where transformers is missing.

    Args:
        shift: the shift that needs it.
        stand_in: the shift that does without.
    """
    try:
        importlib.import_module("transformers")
    except ImportError:
        raise ShiftError(
            f"shift {shift!r} runs its model with transformers: "
            f"pip install 'queryshift[text-models]', or use {stand_in!r}, which needs none"
        ) from None


def model_folder(shift: str, option: str, path: str) -> str:
    """The local folder that an option names, "~" expanded.

    Raises:
        ShiftError: there is no such folder, or it has no config.json.
    """
    folder = user_folder(path)
    if not folder.is_dir():
        raise ShiftError(
            f"shift {shift!r}, option {option!r}: there is no folder {path!r}; download the model "
            "and give its local folder, nothing is fetched here"
        )
    if not (folder / "config.json").is_file():
        raise ShiftError(
            f"shift {shift!r}, option {option!r}: {path!r} has no config.json; give the folder "
            "that holds the model's own files (config, weights, tokeniser)"
        )
    return str(folder)


def _load(folder: str, kind: str, what: str) -> tuple[Any, Any]:
    """(tokeniser, model in evaluation mode) of a folder; ``kind`` is a class of transformers."""
    package = importlib.import_module("transformers")
    offline = {"local_files_only": True, "trust_remote_code": False}
    try:
        # Seeded, because some releases draw first weights before they read the real ones.
        with seeded(0), _without_progress_bars(package):
            tokenizer = package.AutoTokenizer.from_pretrained(folder, **offline)
            model, report = getattr(package, kind).from_pretrained(
                folder, weights_only=True, output_loading_info=True, **offline
            )
    except Exception as error:  # a foreign loader on a user's files: it may raise anything
        raise ShiftError(
            f"{folder!r} is no {what} that transformers can load "
            f"({type(error).__name__}: {_first_line(error)}); it must hold all files of the "
            "published model, weights as safetensors or pytorch_model.bin, and "
            "pip install 'queryshift[text-models]' brings what tokenisers need"
        ) from error
    missing = sorted(name for name in report["missing_keys"] if not _is_computed(model, name))
    if missing:  # transformers would go on with random numbers in their place
        raise ShiftError(
            f"{folder!r} is no complete {what}: {len(missing)} of its weights are not in the "
            f"file, such as {missing[0]!r}"
        )
    # Checkpoints may be stored in half precision, whose sums differ more between CPUs.
    return tokenizer, model.float().eval()


def _is_computed(model: Any, weight: str) -> bool:
    """Whether a weight is a table of sines, which wmt19 and Marian files may leave out.

    transformers computes these itself when it makes the model.
    """
    owner = model.get_submodule(weight.rpartition(".")[0])
    return "Sinusoidal" in type(owner).__name__


def _first_line(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return lines[0][:200] if lines else "no message"


@contextlib.contextmanager
def _without_progress_bars(package: Any) -> Iterator[None]:
    """Loading stays silent; the setting is put back."""
    bars = package.utils.logging
    shown = bars.is_progress_bar_enabled()
    bars.disable_progress_bar()
    try:
        yield
    finally:
        if shown:
            bars.enable_progress_bar()
