"""Banks of queries: what the training-free methods learn from, and what that lets them see."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor

from methods.base import Method, MethodError, Setup, StepOutput
from methods.centring import sound_rows
from methods.options import check_options, option
from methods.per_gallery import PerGallery

BLOCK = 1024
"""Queries of a whole stream that enter a bank at once: bounds the similarities held."""


BANKS = ("past_queries", "earlier_queries", "train", "transductive")
BANK_HELP = (
    "queries that the method learns from: all so far with this batch (past_queries) or without it "
    "(earlier_queries), those of the training split, clean (train), or all of the stream in "
    "advance (transductive), an upper bound"
)

BANK_SEES = (
    "the queries of its bank, by default those of the batch and of earlier ones; with bank=train "
    "the training split's clean queries instead, with bank=transductive all queries of the stream "
    "in advance (then 2 f a query); the gallery"
)


@dataclass(frozen=True, slots=True)
class BankOptions:
    """Options of every method with a bank; the bank's name is part of the method's in tables."""

    bank: str = option("past_queries", BANK_HELP, choices=BANKS)

    def __post_init__(self) -> None:
        check_options(self)


class BankMethod(Method):
    """A method that trains nothing and scores a batch by what a bank of queries says.

    The bank is kept as a summary of bounded size, one for each gallery; a query whose embedding is
    not finite never enters it. While the bank is empty the similarities are returned as they are.
    ``observe`` must return a new summary and leave the old one alone.

    Subclasses write ``observe`` and ``rescore`` (or ``answer``, where embeddings move too).

    Attributes:
        speaks_alone: False where a bank of nothing but the query in question would make all items
            tie; the similarities are returned then too.
    """

    speaks_alone: ClassVar[bool] = True

    Options: ClassVar[type] = BankOptions

    def __init__(self, setup: Setup, options: Any = None) -> None:
        super().__init__(setup, options)
        self.reset()

    @abstractmethod
    def observe(self, bank: Any, embeddings: Tensor, similarities: Tensor) -> Any:
        """The bank's summary with more queries in it.

        Args:
            bank: the summary so far, None before the first query.
            embeddings: (M, D) unit rows of the new queries, M >= 1; where some are not finite, it
                is called again without them and the first result is dropped.
            similarities: (M, N) to the gallery.
        """

    def rescore(self, similarities: Tensor, bank: Any) -> Tensor:
        """(B, N) scores of the batch's (B, N) similarities."""
        raise NotImplementedError

    def answer(self, embeddings: Tensor, similarities: Tensor, bank: Any) -> StepOutput:
        """The batch's output where there is a bank."""
        return StepOutput(self.rescore(similarities, bank), embeddings)

    @torch.no_grad()
    def step(self, queries: Tensor) -> StepOutput:
        """Scores one batch by the bank."""
        if len(queries) == 0:
            raise MethodError("a batch of no queries was given; expected at least one")
        embeddings = self.embed(queries)
        similarities = self.score(embeddings)
        bank = self._banks.get(self.gallery)
        if self.options.bank in ("train", "transductive"):
            bank = self._of_given() if bank is None else bank
        elif self.options.bank == "past_queries":
            bank = self._with(bank, embeddings, similarities)
        known = bank
        if self.options.bank == "earlier_queries":
            bank = self._with(bank, embeddings, similarities)
        self._banks.set(self.gallery, bank)
        holds_it = self.options.bank in ("past_queries", "transductive")
        alone = holds_it and self._counts.get(self.gallery) == 1
        if known is None or (alone and not self.speaks_alone):
            return StepOutput(similarities, embeddings)
        return self.answer(embeddings, similarities, known)

    def reset(self) -> None:
        """Empties the banks and forgets what was given."""
        self._banks: PerGallery[Any] = PerGallery()
        self._counts: PerGallery[int] = PerGallery()
        self._given: Tensor | None = None

    @property
    def wants_stream(self) -> bool:
        """Whether the bank is the whole stream."""
        return bool(self.options.bank == "transductive")

    def use_stream(self, embeddings: Tensor) -> None:
        """Takes the whole stream's embeddings as the bank."""
        self._given = embeddings

    def use_training(self, embeddings: Tensor) -> None:
        """Takes the training queries' embeddings as the bank."""
        self._given = embeddings

    def _of_given(self) -> Any:
        if self._given is None:
            whole = self.wants_stream
            what, call = ("stream", "stream") if whole else ("training split", "training")
            raise MethodError(
                f"bank={self.options.bank!r} needs the queries of the whole {what} before the "
                f"first batch; call use_{call}, or take bank='past_queries'"
            )
        bank = None
        for block in filter(len, self._given.split(BLOCK)):
            bank = self._with(bank, block, self.score(block))
        return bank

    def _with(self, bank: Any, embeddings: Tensor, similarities: Tensor) -> Any:
        sound = sound_rows(embeddings)
        # Before the wait, so that a GPU has it in hand; broken queries are rare.
        found = self.observe(bank, embeddings, similarities)
        if not bool(sound.all()):
            embeddings, similarities = embeddings[sound], similarities[sound]
            if len(embeddings) == 0:
                return bank
            found = self.observe(bank, embeddings, similarities)
        self._counts.set(self.gallery, (self._counts.get(self.gallery) or 0) + len(embeddings))
        return found
