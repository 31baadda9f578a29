"""What a test-time adaptation method is: what it may see, what it returns, what it can be told.

A method gets an encoder of the *query* tower, the frozen gallery and its own options. It never gets
labels, item ids, the shift's name or a later batch: the types below have no field for them.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from typing import Any, ClassVar

import torch
from torch import Tensor, nn


class QueryEncoder(nn.Module):
    """The query tower of a dual encoder: ``forward(inputs)`` gives (B, D) float32 unit rows."""

    @property
    def adaptable(self) -> nn.Module:
        """The part of the tower whose normalisation layers may adapt (default: all of it)."""
        return self

    def map_parts(self, inputs: Tensor, change: Callable[[Tensor], Tensor]) -> Tensor:
        """Applies a change of queries to each part of them: images, tokens, samples.

        An encoder whose input rows hold several parts, or numbers that are none, overrides it.

        Args:
            inputs: a batch, as ``forward`` takes it.
            change: one part of a batch -> the changed part, same shape and type.
        """
        return change(inputs)


@dataclass(frozen=True, slots=True)
class MethodCard:
    """What a method is, as data; the cards that ship leave nothing but ``knob`` empty.

    Attributes:
        name: registry name.
        title: name as printed in tables.
        summary: one line.
        paper: citation, or "none".
        version: raised whenever the numbers it produces change; part of a result's identity.
        trains: whether it updates parameters.
        approximate: what differs from the paper or official code, or "none".
        repository: where the official code is, or "none" where we know of none.
        sees: what the method uses beside its options, where it is more or less than usual.
        passes: what a query costs, in passes through the query tower (f forward, b back).
        alone: what becomes of a single query: a batch of one.
        knob: the option that tuning searches beside learning rate and temperature: a number above
            0, or one with choices; "" for none.
    """

    name: str
    title: str
    summary: str
    paper: str
    version: int = 1
    trains: bool = True
    approximate: str = ""
    repository: str = ""
    sees: str = "the batch's queries, the gallery, its own state"
    passes: str = ""
    alone: str = ""
    knob: str = ""

    def __post_init__(self) -> None:
        """Raises TypeError for a field of another type."""
        for item in fields(self):
            value, kind = getattr(self, item.name), str(item.type).partition("[")[0]
            if type(value).__name__ != kind:
                raise TypeError(f"the card of {self.name!r}: {item.name} is {value!r}, not {kind}")


@dataclass(frozen=True, slots=True)
class NoOptions:
    """Options of a method that has none."""


@dataclass(frozen=True, slots=True)
class Setup:
    """All that a method is given.

    Attributes:
        encoder: the query tower, in eval mode, owned by the method from now on.
        gallery: (N, D) float32 unit rows, frozen; must not be written to.
        logit_scale: the backbone's learnt logit scale (1 / temperature).
        generator: for every random draw the method makes.
    """

    encoder: QueryEncoder
    gallery: Tensor
    logit_scale: float
    generator: torch.Generator = field(default_factory=torch.Generator)


@dataclass(frozen=True, slots=True)
class StepOutput:
    """What a method says about one batch.

    Attributes:
        scores: (B, N) float32, higher is better, detached.
        embeddings: (B, D) float32 query embeddings that the scores come from, detached.
        log: named numbers of this batch (loss terms, selected counts, angle ...).
    """

    scores: Tensor
    embeddings: Tensor
    log: Mapping[str, float] = field(default_factory=dict)


class MethodError(ValueError):
    """Raised when a method is given options or inputs that it cannot work with."""


DIVERGED = "the method diverged; a smaller learning rate (option lr) may help"


class Diverged(MethodError):
    """Raised where adaptation ran away: the scores of sound queries, or weights, are no numbers any
    more or out of all proportion."""


class NotApplicable(MethodError):
    """Raised by a method's constructor where the encoder has nothing that the method works on.

    The harness skips such a cell with this reason instead of calling it failed.
    """


class Method(ABC):
    """A test-time adaptation method.

    Subclasses set ``card`` and ``Options`` (a frozen dataclass with defaults) and write ``step``.
    """

    card: ClassVar[MethodCard]
    Options: ClassVar[type] = NoOptions

    def __init_subclass__(cls, **words: Any) -> None:
        """Raises TypeError for a card that is none."""
        super().__init_subclass__(**words)
        if "card" in vars(cls) and not isinstance(vars(cls)["card"], MethodCard):
            raise TypeError(f"{cls.__name__}.card is no MethodCard, but {vars(cls)['card']!r}")

    def __init__(self, setup: Setup, options: Any = None) -> None:
        self.setup = setup
        self.encoder = setup.encoder
        self.gallery = setup.gallery
        self.options = self.Options() if options is None else options

    @abstractmethod
    def step(self, queries: Tensor) -> StepOutput:
        """Adapts on one batch of preprocessed queries and scores it against the gallery."""

    def reset(self) -> None:
        """Returns to the source state, bit for bit (parameters, buffers, optimiser, memory)."""
        return None

    def use_gallery(self, gallery: Tensor) -> None:
        """The batches to come are to be ranked in this gallery: (N', D) unit rows, frozen.

        Called between batches where a stream holds queries of several galleries. A method that
        keeps something derived from the gallery overrides it.
        """
        self.gallery = gallery

    @property
    def wants_source(self) -> bool:
        """Whether the harness should call ``use_source`` before each step."""
        return False

    def use_source(self, embeddings: Tensor) -> None:
        """Offers the source model's view of the batch that the next ``step`` gets.

        The harness computes it once for all methods, so that a method which compares itself with
        the source model needs no forward pass of its own for that.

        Args:
            embeddings: (B, D) unit rows of exactly that batch under the source weights; must not
                be written to.
        """
        return None

    @property
    def wants_stream(self) -> bool:
        """Whether the harness should call ``use_stream``.

        A method that does sees queries which have not come yet. It is not an online method, and its
        name in tables must say so: those of ``methods.bank`` carry ``[transductive]``.
        """
        return False

    def use_stream(self, embeddings: Tensor) -> None:
        """Offers the source model's view of all queries to the gallery in use that are to come.

        The harness calls it before the first batch of each gallery.

        Args:
            embeddings: (Q, D) unit rows in no stated order; must not be written to.
        """
        return None

    def use_training(self, embeddings: Tensor) -> None:
        """Offers the source model's view of clean training queries.

        The harness calls it where the method's option ``bank`` is "train", as that of
        ``methods.bank`` may be, before the first batch of each gallery: with the queries of the
        training split's section of that name, or with all where it has none.

        Args:
            embeddings: (M, D) unit rows; must not be written to.
        """
        return None

    @torch.no_grad()
    def embed(self, queries: Tensor) -> Tensor:
        """Embeds queries with the model as it now stands, without adapting; (B, D) unit rows.

        The harness calls it after the stream to measure forgetting, with each distinct query once
        and with queries of one length together: each row must come from its own query alone.
        """
        return self.encoder(queries)

    def score(self, embeddings: Tensor) -> Tensor:
        """Cosine similarity to every gallery item; (B, N) float32, detached."""
        return embeddings.detach() @ self.gallery.T
