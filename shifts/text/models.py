"""The sentence level as MM_Robustness makes it, by models of the user's: styles, back-translation.

``formal``, ``casual``, ``passive`` and ``active`` are the T5 models of Styleformer (Damodaran,
2021), ``back_trans`` goes to German and back with two translation models, as nlpaug does. Which
model it is, is the user's say: a local folder, whose content is part of a result's identity. The
stand-ins that need no model are ``*_rules``.
"""

from __future__ import annotations

import importlib
from dataclasses import dataclass, field
from types import ModuleType
from typing import Any, ClassVar

import numpy as np

from shifts.base import Shift, ShiftCard, ShiftError
from shifts.digests import folder_fingerprint
from shifts.text.gate import GatedTextShift, GateOptions

CANDIDATES = 5
"""Samples that the adequacy classifier ranks (Styleformer)."""
ADEQUATE = 0.95
"""Least adequacy of a candidate (Styleformer, its ``quality_filter``)."""

_MODEL_HELP = "local folder of the model, such as {}"


@dataclass(frozen=True, slots=True)
class StyleOptions(GateOptions):
    """Options of ``passive`` and ``active``."""

    model: str = field(
        default="",
        metadata={"help": _MODEL_HELP.format("prithivida/active_to_passive_styletransfer")},
    )


@dataclass(frozen=True, slots=True)
class RankedStyleOptions(StyleOptions):
    """Options of ``formal`` and ``casual``."""

    adequacy: str = field(
        default="",
        metadata={
            "help": "local folder of an adequacy classifier such as "
            "prithivida/parrot_adequacy_model: the best of five samples, or the caption "
            "itself if none reaches 0.95; empty: one sample"
        },
    )


@dataclass(frozen=True, slots=True)
class BackTransOptions:
    """Options of ``back_trans``."""

    model: str = field(default="", metadata={"help": _MODEL_HELP.format("facebook/wmt19-en-de")})
    model_back: str = field(
        default="", metadata={"help": _MODEL_HELP.format("facebook/wmt19-de-en") + ", the way back"}
    )


def _card(name: str, summary: str, source: str, *, randomised: bool = True) -> ShiftCard:
    return ShiftCard(name, "text", (1,), summary, source, randomised=randomised)


def _style_card(name: str, summary: str) -> ShiftCard:
    return _card(name, summary, "MM_Robustness (Qiu et al., 2024) with Styleformer's T5 models")


def _seq2seq() -> ModuleType:
    """The module that runs the models, imported when a shift is made: it needs torch."""
    return importlib.import_module("shifts.text.seq2seq")


def _folder(shift: str, stand_in: str, option: str, path: str, published: str) -> str:
    """The folder that an option must name."""
    if not path:
        raise ShiftError(
            f"shift {shift!r} needs a model and was given none: give the local folder of one as "
            f"option {option!r} (the benchmarks took {published}), or use {stand_in!r}, which "
            "needs none"
        )
    found: str = _seq2seq().model_folder(shift, option, path)
    return found


class StyleShift(GatedTextShift):
    """A style model on "prefix caption", sampled; the gate is an option as for the word level.

    A caption without a visible character is not shown to the model, and one that the model answers
    with nothing stays as it is.

    Raises:
        ShiftError: on creation, when no model's folder is named, it is not there or transformers is
            missing; at the first caption, when it holds no such model.
    """

    Options = StyleOptions
    options: StyleOptions
    prefix: ClassVar[str]
    """What the published model was trained to find before the sentence."""
    published: ClassVar[str]
    stand_in: ClassVar[str]

    def __init__(self, options: Any = None) -> None:
        super().__init__(options)
        name = self.card.name
        self._model = _folder(name, self.stand_in, "model", self.options.model, self.published)
        _seq2seq().require_transformers(name, self.stand_in)

    @property
    def fingerprint(self) -> str:
        """Hashes of the model's folder and of the gate's, joined by "+"."""
        return "+".join(filter(None, (folder_fingerprint(self._model), super().fingerprint)))

    def draw(self, item: str, severity: int, rng: np.random.Generator) -> str:
        """One sample of the model, with a seed from the item's own generator."""
        if not item.strip():
            return item
        return self._samples(item, 1, rng)[0] or item

    def _samples(self, item: str, count: int, rng: np.random.Generator) -> list[str]:
        seed = int(rng.integers(2**63))
        model = _seq2seq().load_rewriter(self._model, folder_fingerprint(self._model))
        return model.sample(self.prefix + item, count, seed)


class RankedStyleShift(StyleShift):
    """A style model whose samples an adequacy classifier may rank.

    Styleformer takes the best of five samples if its adequacy reaches 0.95 and otherwise has no
    answer, for which MM_Robustness keeps the caption. Without the option ``adequacy`` one sample
    is taken as it is: a harder shift than the published one.
    """

    Options = RankedStyleOptions
    options: RankedStyleOptions

    def __init__(self, options: Any = None) -> None:
        super().__init__(options)
        judge = self.options.adequacy
        self._judge = _seq2seq().model_folder(self.card.name, "adequacy", judge) if judge else ""

    @property
    def fingerprint(self) -> str:
        """Hashes of the folders of the model, the gate and the classifier, joined by "+"."""
        judge = folder_fingerprint(self._judge) if self._judge else ""
        return "+".join(filter(None, (super().fingerprint, judge)))

    def draw(self, item: str, severity: int, rng: np.random.Generator) -> str:
        """The most adequate sample, the first of equals; the caption where none is adequate."""
        if not self._judge or not item.strip():
            return super().draw(item, severity, rng)
        samples = self._samples(item, CANDIDATES, rng)
        candidates = [text for text in dict.fromkeys(samples) if text]
        judge = _seq2seq().load_adequacy(self._judge, folder_fingerprint(self._judge))
        scores = judge.scores(item, candidates)
        best = max(
            zip(scores, candidates, strict=True), key=lambda pair: pair[0], default=(0.0, "")
        )
        return best[1] if best[0] >= ADEQUATE else item


class Formal(RankedStyleShift):
    """Everyday captions in formal language."""

    card = _style_card("formal", "formal register by a T5 style model")
    prefix = "transfer Casual to Formal: "
    published = "prithivida/informal_to_formal_styletransfer"
    stand_in = "formal_rules"


class Casual(RankedStyleShift):
    """Captions in casual language."""

    card = _style_card("casual", "casual register by a T5 style model")
    prefix = "transfer Formal to Casual: "
    published = "prithivida/formal_to_informal_styletransfer"
    stand_in = "casual_rules"


class Passive(StyleShift):
    """Captions in the passive voice."""

    card = _style_card("passive", "passive voice by a T5 style model")
    prefix = "transfer Active to Passive: "
    published = "prithivida/active_to_passive_styletransfer"
    stand_in = "passive_rules"


class Active(StyleShift):
    """Captions in the active voice."""

    card = _style_card("active", "active voice by a T5 style model")
    prefix = "transfer Passive to Active: "
    published = "prithivida/passive_to_active_styletransfer"
    stand_in = "active_rules"


class BackTrans(Shift):
    """Captions translated and translated back, by each model's own beam search; nothing is drawn.

    The published benchmark has no gate here. A caption without a visible character is not shown to
    the models, and one that either answers with nothing stays as it is.

    Raises:
        ShiftError: as ``StyleShift``, for either folder.
    """

    Options = BackTransOptions
    options: BackTransOptions
    card = _card(
        "back_trans",
        "translated to another language and back, by two models",
        "MM_Robustness (Qiu et al., 2024) with nlpaug and the wmt19 models of Facebook",
        randomised=False,
    )
    stand_in: ClassVar[str] = "paraphrase_rules"

    def __init__(self, options: Any = None) -> None:
        super().__init__(options)
        given, name, rules = self.options, self.card.name, self.stand_in
        self._there = _folder(name, rules, "model", given.model, "facebook/wmt19-en-de")
        self._back = _folder(name, rules, "model_back", given.model_back, "facebook/wmt19-de-en")
        _seq2seq().require_transformers(name, rules)

    @property
    def fingerprint(self) -> str:
        """Hashes of the two folders, there and back, joined by "+"."""
        return "+".join(folder_fingerprint(folder) for folder in (self._there, self._back))

    def corrupt(self, item: str, severity: int, rng: np.random.Generator) -> str:
        """Deterministic: the generator is not used."""
        if not item.strip():
            return item
        there, back = (
            _seq2seq().load_rewriter(folder, folder_fingerprint(folder))
            for folder in (self._there, self._back)
        )
        foreign = there.translate(item)
        return (back.translate(foreign) or item) if foreign else item
