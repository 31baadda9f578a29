"""Gradient-based adaptation: one loop that all trained methods share.

A new method subclasses ``AdaptedMethod``, sets ``card`` and writes ``objective``::

    class Sharpen(AdaptedMethod):
        card = MethodCard(name="sharpen", title="Sharpen", summary="...", paper="none")

        def objective(self, forward: Forward) -> Tensor:
            return entropy(forward.similarities / self.temperature).mean()
"""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.func import functional_call

from methods.base import DIVERGED, Diverged, Method, MethodError, Setup, StepOutput
from methods.batch_norm import in_batch_statistics
from methods.centring import centred
from methods.gradients import Gradients, on_present
from methods.options import check_options, option, temperature_of, temperature_option
from methods.parameters import (
    ADAPT_CHOICES,
    SGD,
    Adam,
    AdamW,
    Snapshot,
    all_finite,
    root_mean_square,
    select_parameters,
)

Change = Callable[[Gradients], Gradients]
"""What the optimiser took off each parameter -> what to take off instead."""

RUNAWAY = 100.0
"""A method has diverged where the root mean square of the trained weights is over so many times the
source's (1, where that is less): normalised embeddings would not show it."""

SGD_MOMENTUM = 0.9
"""As the published Tent, EATA and SAR settings for ImageNet use it."""


@dataclass(frozen=True, slots=True)
class AdaptOptions:
    """Options of every trained method; defaults are the TCR repository's retrieval protocol."""

    steps: int = option(3, "forward and update passes per batch", minimum=1)
    lr: float = option(3e-4, "learning rate (TCR uses 3e-5 for BLIP text queries)", minimum=0)
    weight_decay: float = option(1e-4, "weight decay of the optimiser", minimum=0)
    optimizer: str = option("adamw", "optimiser", choices=("adamw", "adam", "sgd"))
    temperature: float | str = temperature_option(0.01)
    adapt: str = option(
        "norm",
        "parameters: 'norm' = affine part of normalisation layers, 'norm+bias' = and all biases, "
        "'last-block' = the last transformer block, 'all'",
        choices=ADAPT_CHOICES,
    )
    score_from: str = option(
        "last_forward",
        "take scores from the last forward pass, or from one more after the last update",
        choices=("last_forward", "post_update"),
    )
    centre: bool = option(
        False,
        "move the batch's mean onto the gallery's mean before candidates, losses and scores; a "
        "batch of one is unchanged",
    )

    bn: str = option(
        "running",
        "BatchNorm statistics: the source's ('running'), or each batch's own; embeddings outside "
        "the stream always use the source's",
        choices=("running", "batch"),
    )

    def __post_init__(self) -> None:
        check_options(self)


@dataclass(frozen=True)
class Forward:
    """One forward pass of a batch, as an objective sees it.

    Attributes:
        queries: the preprocessed batch.
        embeddings: (B, D) unit rows, with gradient; centred where the options say so.
        gallery: (N, D) unit rows, frozen.
        batch: number of this batch since the last reset, from 0.
        step: number of this pass within the batch, from 0.
    """

    queries: Tensor
    embeddings: Tensor
    gallery: Tensor
    batch: int
    step: int

    @cached_property
    def similarities(self) -> Tensor:
        """(B, N) cosine similarities to the whole gallery, with gradient."""
        return self.embeddings @ self.gallery.T

    @cached_property
    def candidates(self) -> Tensor:
        """(B, D): each query's top gallery item, constant."""
        return self.gallery[self.similarities.detach().argmax(dim=1)]


class StepLog:
    """The log of one batch, kept on the device and read once at the end."""

    def __init__(self) -> None:
        self._values: dict[str, list[Tensor | float]] = {}
        self._totals: dict[str, float] = {"skipped_updates": 0.0}
        self._growths: list[Tensor] = []

    def watch(self, growth: Tensor) -> None:
        """Notes by how much the weights have grown with an update."""
        self._growths.append(growth)

    def add(self, name: str, value: Tensor | float) -> None:
        """Notes a scalar; several of one name are averaged, NaN counts as undefined."""
        self._values.setdefault(name, []).append(
            value.detach() if isinstance(value, Tensor) else value
        )

    def count(self, name: str, amount: float = 1.0) -> None:
        """Adds to a total of the batch."""
        self._totals[name] = self._totals.get(name, 0.0) + amount

    def collect(self) -> dict[str, float]:
        """Everything as plain finite numbers; a name whose values are all undefined is left out.

        Raises:
            Diverged: the weights have grown beyond ``RUNAWAY``.
        """
        names = [name for name, values in self._values.items() for _ in values]
        values = [value for values in self._values.values() for value in values]
        tensors = [*self._growths, *(value for value in values if isinstance(value, Tensor))]
        # One transfer for the whole batch, instead of one per number.
        read = iter(torch.stack([t.float() for t in tensors]).tolist() if tensors else ())
        if any([next(read) > RUNAWAY for _ in self._growths]):  # all of them are to be read
            raise Diverged(f"the trained weights have grown {RUNAWAY:g} times and more: {DIVERGED}")
        plain = [next(read) if isinstance(value, Tensor) else value for value in values]
        defined: dict[str, list[float]] = {}
        for name, number in zip(names, plain, strict=True):
            if math.isfinite(number):
                defined.setdefault(name, []).append(number)
        return {n: sum(v) / len(v) for n, v in defined.items()} | self._totals


class AdaptedMethod(Method):
    """A method that trains part of the query tower on each batch.

    Per batch, ``steps`` times: forward, ``objective``, update; the scores are those of the last
    forward (before the last update) unless ``score_from`` says otherwise. An update whose loss or
    gradient is missing, NaN or infinite is left out and counted as ``skipped_updates``.

    Subclasses write ``objective``; those that keep a memory write ``reset_state`` to clear it.
    Finer control: ``gradients`` (what the optimiser gets), ``update`` (one whole update),
    ``rescore`` (what is made of the similarities) and ``place`` (what is made of the embeddings).

    Attributes:
        adapted: the trained parameters by name.
        source: copy of the source model's parameters and buffers.
        temperature: the resolved softmax temperature.
        updated: whether the weights have been updated since the last reset.
        log: the current batch's log; objectives may add to it.
    """

    Options: ClassVar[type] = AdaptOptions

    def __init__(self, setup: Setup, options: Any = None) -> None:
        super().__init__(setup, options)
        self.temperature = temperature_of(self.options.temperature, setup)
        self.adapted = select_parameters(self.encoder, self.options.adapt)
        self.source = Snapshot(self.encoder)
        self._size = root_mean_square(list(self.source_parameters().values())).clamp_min(1)
        if self.options.bn == "batch":
            # Whatever a subclass makes of ``step``: all of it sees the batch's statistics.
            self.step = in_batch_statistics(self.encoder, self.step)  # type: ignore[assignment,method-assign]
        self.log = StepLog()
        self._generator_state = setup.generator.get_state()
        self.reset()

    @abstractmethod
    def objective(self, forward: Forward) -> Tensor | None:
        """The scalar loss of one forward pass, or None where there is nothing to learn."""

    def reset_state(self) -> None:
        """Clears the method's own memory; called by ``reset`` and once by the constructor."""
        return None

    def step(self, queries: Tensor) -> StepOutput:
        """Adapts on one batch and scores it.

        Raises:
            MethodError: an empty batch, an encoder that gives no gradient, or (``Diverged``)
                weights that run away.
        """
        if len(queries) == 0:
            raise MethodError("a batch of no queries was given; expected at least one")
        self.log = StepLog()
        with torch.enable_grad():
            for index in range(self.options.steps):
                forward = self.forward(queries, index)
                self.update(forward)
        self.batch += 1
        if self.options.score_from == "post_update":
            embeddings = self.place(self.embed(queries))
            similarities = self.score(embeddings)
        else:
            embeddings = forward.embeddings.detach()
            similarities = forward.similarities.detach()
        scores = self.rescore(similarities)
        return StepOutput(scores, embeddings, self.log.collect())

    def rescore(self, similarities: Tensor) -> Tensor:
        """The batch's scores from its (B, N) similarities, both detached; called once a batch."""
        return similarities

    def place(self, embeddings: Tensor) -> Tensor:
        """A batch's embeddings as candidates, losses and scores see them; differentiable.

        ``embed`` gives them as they come out of the encoder: it has no batch.
        """
        if not self.options.centre:
            return embeddings
        return centred(embeddings, self.gallery.mean(dim=0))

    def reset(self) -> None:
        """Back to the source state: weights, buffers, optimiser, memory and random draws."""
        self.setup.generator.set_state(self._generator_state)
        self.batch = 0
        self.restore_source()
        self.reset_state()

    def restore_source(self) -> None:
        """Restores parameters and buffers bit for bit and builds a new optimiser."""
        self.source.restore(self.encoder)
        self.optimizer = build_optimizer(list(self.adapted.values()), self.options)
        self.updated = False

    def forward(self, queries: Tensor, step: int) -> Forward:
        """One forward pass with gradient."""
        embeddings = self.place(self.encoder(queries))
        if not embeddings.requires_grad:
            raise MethodError(
                f"the embeddings of {type(self.encoder).__name__} carry no gradient of its "
                f"{len(self.adapted)} adapted parameters; encode without torch.no_grad and keep "
                "them in the graph"
            )
        return Forward(queries, embeddings, self.gallery, self.batch, step)

    def encode_with(self, parameters: Mapping[str, Tensor], queries: Tensor) -> Tensor:
        """A batch's embeddings with some parameters replaced for this one call."""
        embeddings: Tensor = functional_call(self.encoder, dict(parameters), (queries,))
        return self.place(embeddings)

    def source_parameters(self) -> dict[str, Tensor]:
        """The source values of the adapted parameters, by name (for ``encode_with``)."""
        return {name: self.source.parameters[name] for name in self.adapted}

    def update(self, forward: Forward) -> None:
        """One update from one forward pass."""
        self.descend(self.gradients(forward))

    def gradients(self, forward: Forward) -> Gradients | None:
        """What the optimiser is given, one entry per adapted parameter; None for no update."""
        return self.differentiate(self.objective(forward))

    def differentiate(
        self, loss: Tensor | None, *, retain_graph: bool = False, name: str = "loss"
    ) -> Gradients | None:
        """Gradient of a loss for the adapted parameters; None where it is constant.

        A NaN or infinite loss gives NaN gradients, so that ``descend`` refuses them.
        """
        if loss is None:
            return None
        if not isinstance(loss, Tensor) or loss.numel() != 1:
            found = tuple(loss.shape) if isinstance(loss, Tensor) else type(loss).__name__
            raise MethodError(f"the {name} is {found}; expected one number as a tensor, or None")
        self.log.add(name, loss)
        if not loss.requires_grad:
            return None
        return gradients_of(loss, list(self.adapted.values()), retain_graph=retain_graph)

    def through_embeddings(self, forward: Forward, wanted: Tensor) -> Gradients:
        """The adapted parameters' gradients where that of the embeddings is ``wanted``, (B, D)."""
        found: Gradients = torch.autograd.grad(
            forward.embeddings,
            list(self.adapted.values()),
            grad_outputs=wanted,
            allow_unused=True,
        )
        return found

    def descend(self, gradients: Gradients | None, change: Change | None = None) -> bool:
        """One optimiser step, or none where the gradients are missing or not finite.

        Parameters without a gradient are left alone, by weight decay too.

        Args:
            gradients: one entry per adapted parameter, None where it takes no part.
            change: where given, has the last word on what is taken off the parameters.

        Returns:
            Whether the step was made.

        Raises:
            Diverged: a learning rate so large that the step cannot be computed.
        """
        present = [g for g in gradients or () if g is not None]
        # The only wait for the device within a step: an optimiser cannot take a step back.
        if gradients is None or not present or not bool(all_finite(present)):
            self.log.count("skipped_updates")
            return False
        before = [p.detach().clone() for p in self.adapted.values()] if change else []
        for parameter, gradient in zip(self.adapted.values(), gradients, strict=True):
            parameter.grad = gradient
        try:
            self.optimizer.step()
        except RuntimeError as error:
            if "overflow" not in str(error):
                raise
            raise Diverged(
                f"an update at a learning rate of {self.options.lr:g} is larger than the weights' "
                f"type holds: {DIVERGED}"
            ) from None
        self.optimizer.zero_grad(set_to_none=True)
        self.updated = True
        self.log.watch(root_mean_square(list(self.adapted.values())) / self._size)
        if change:
            taken = [
                None if gradient is None else old - parameter.detach()
                for old, parameter, gradient in zip(
                    before, self.adapted.values(), gradients, strict=True
                )
            ]
            with torch.no_grad():
                for old, parameter, step in zip(
                    before, self.adapted.values(), change(taken), strict=True
                ):
                    if step is not None:
                        parameter.copy_(old - step)
        return True

    @torch.no_grad()
    def pull_to_source(self, share: float) -> None:
        """Moves the adapted parameters a share of the way back to their source values."""
        torch._foreach_lerp_(
            list(self.adapted.values()), list(self.source_parameters().values()), share
        )


def gradients_of(
    loss: Tensor, parameters: Sequence[Tensor], *, retain_graph: bool = False
) -> list[Tensor | None]:
    """Gradients of a scalar loss, None where a parameter takes no part in it.

    They are NaN where the loss is NaN or infinite: the mean of an empty selection is NaN, but
    autograd gives it a gradient of zero, with which momentum and weight decay would still act.
    """
    found = torch.autograd.grad(loss, parameters, retain_graph=retain_graph, allow_unused=True)
    sound = loss.detach().reshape(()) * 0 + 1  # exactly 1 for a finite loss, NaN otherwise
    return on_present(found, lambda gradients: torch._foreach_mul(gradients, sound))


def build_optimizer(
    parameters: Sequence[nn.Parameter], options: AdaptOptions
) -> torch.optim.Optimizer:
    """A fresh optimiser with default moments (Adam betas 0.9 and 0.999; SGD momentum 0.9)."""
    lr, decay = options.lr, options.weight_decay
    if options.optimizer == "sgd":
        return SGD(parameters, lr=lr, weight_decay=decay, momentum=SGD_MOMENTUM)
    kind = AdamW if options.optimizer == "adamw" else Adam
    return kind(parameters, lr=lr, weight_decay=decay)
