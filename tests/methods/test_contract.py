"""All built-in methods keep the shipped contract, and the contract catches those that do not."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
import torch
from torch import Tensor

from methods import BUILTINS
from methods.adapt import AdaptedMethod, Forward
from methods.anchored import Anchored
from methods.base import Method, MethodCard, NoOptions, StepOutput
from methods.bn_adapt import BnAdapt
from methods.come import Come
from methods.cotta import Cotta
from methods.deyo import Deyo
from methods.eata import Eata
from methods.hat_vtr import HatVtr
from methods.inverted_softmax import InvertedSoftmax
from methods.lame import Lame
from methods.memo import Memo
from methods.nnn import NNN
from methods.objectives import entropy
from methods.options import option
from methods.qbnorm import QBNorm
from methods.rdumb import Rdumb
from methods.read import Read
from methods.recentre import Recentre, RecentreOptions
from methods.rest import Rest
from methods.roid import Roid
from methods.rpl import Rpl
from methods.sar import Sar
from methods.shot import Shot
from methods.sinkhorn import Sinkhorn
from methods.source import Source
from methods.tcr import Tcr
from methods.tcr_untrained import TcrUntrained
from methods.tda import Tda
from methods.tent import Tent
from methods.testing import CHECKS, MethodContract, Subject, run_contract
from methods.vte import Vte
from methods.whiten import Whiten

VARIANTS: tuple[tuple[type[Method], dict[str, Any]], ...] = (
    *((c, {}) for c in (Source, Recentre, Tent, Eata, Sar, Read, Tcr, Rest, Anchored, Shot, Deyo)),
    *((c, {}) for c in (Come, Rdumb, Roid, Cotta, Rpl, Lame, BnAdapt, TcrUntrained, HatVtr)),
    *((c, {}) for c in (QBNorm, Sinkhorn, NNN, Whiten, Tda)),
    (Recentre, {"center": "stream"}),
    (Tent, {"centre": True}),
    *((c, {"bn": "batch"}) for c in (Tent, Sar, Memo)),
    (Eata, {"fisher": "stream", "temperature": 0.1, "d_margin": 0.9, "fisher_batches": 2}),
    (Eata, {"centre": True, "fisher": "stream", "d_margin": 0.9, "temperature": 0.1}),
    (Sar, {"margin": "entropy", "temperature": "learnt", "reset_below": 0.0}),
    (Sar, {"centre": True}),
    (Read, {"balance": "mean", "optimizer": "sgd", "score_from": "post_update"}),
    (Read, {"centre": True, "score_from": "post_update"}),
    (Tcr, {"rem_form": "paper", "temperature": "learnt", "optimizer": "adam", "adapt": "all"}),
    (Rest, {"decouple": "pcgrad", "granularity": "per_tensor", "general_over": "gallery"}),
    (Rest, {"decouple": "penalty", "refine": False, "gap": 0.0}),
    (Rest, {"level": "embeddings", "general_over": "queue", "decouple": "orthogonal"}),
    (Rest, {"level": "query", "centre": True}),
    (Rest, {"level": "applied", "granularity": "per_tensor"}),
    (Rest, {"decouple": "pull"}),
    (Rest, {"decouple": "off", "uniformity": 0.0}),
    (Rest, {"centre": True}),
    (Anchored, {"window": 6, "decouple_strength": 0.0, "temperature": 0.1, "lr": 3e-3}),
    (Shot, {"confidence": 0.2, "temperature": "learnt", "optimizer": "sgd"}),
    (Deyo, {"form": "tcr", "plpd_margin": -1.0, "perturbation": "none", "temperature": 0.1}),
    (Deyo, {"perturbation": "occlusion", "plpd_margin": 0.0, "temperature": 0.1}),
    (Come, {"prior": 1000.0, "temperature": 0.1}),
    (Rdumb, {"reset_every": 2, "temperature": 0.1, "d_margin": 0.9}),
    (Roid, {"prior": "probabilities", "consistency": False, "temperature": 0.1, "adapt": "all"}),
    (Cotta, {"view_threshold": 2.0, "views": 3, "restore": 0.5, "temperature": 0.1}),
    (Memo, {"views": 4}),
    (Memo, {"views": 5, "keep": 0.5, "steps": 2, "temperature": 0.1}),
    (Rpl, {"q": 0.1, "temperature": 0.1, "score_from": "post_update"}),
    (Vte, {"views": 6, "keep": 0.5}),
    (Vte, {"views": 3, "keep": 1.0, "temperature": "learnt"}),
    (Lame, {"affinity": "knn", "neighbours": 2, "symmetric": True, "temperature": 0.1}),
    (Lame, {"affinity": "linear", "temperature": "learnt"}),
    (BnAdapt, {"prior": 0.0}),
    (HatVtr, {"centre": True, "queue_size": 3, "score_from": "post_update"}),
    (InvertedSoftmax, {"beta": 40.0}),
    (InvertedSoftmax, {"bank": "earlier_queries"}),
    (QBNorm, {"bank": "past_queries", "k": 3}),
    (NNN, {"k": 2, "bank": "earlier_queries"}),
    (Tda, {"temperature": 0.2, "capacity": 1}),
)
"""Methods with options: each as it is, and in the forms that take another way through its code.

The forms take two updates a batch where nothing else is said.
"""


def test_every_builtin_is_covered() -> None:
    classes = {method for method, _ in VARIANTS}
    assert {c.card.name: f"{c.__module__}:{c.__name__}" for c in classes} == BUILTINS


@pytest.mark.parametrize(
    ("method", "options"),
    VARIANTS,
    ids=lambda given: str(given.__name__ if isinstance(given, type) else given or ""),
)
def test_a_builtin_keeps_the_contract(method: type[Method], options: dict[str, Any]) -> None:
    if options and hasattr(method.Options(), "steps"):
        options = {"steps": 2, **options}
    results = run_contract(method, method.Options(**options))
    assert [name for name, _, _ in results] == list(CHECKS)
    assert {name: told for name, good, told in results if not good} == {}


class TestAsAnOutsiderWouldUseIt(MethodContract):
    method_class = Tent


class TestWithOptions(MethodContract):
    method_class = Recentre
    options = RecentreOptions(center="stream")


CARD = MethodCard(name="bad", title="Bad", summary="breaks one rule", paper="none")


class Good(AdaptedMethod):
    """The shortest complete method; the faulty ones below differ from it in one point."""

    card = CARD

    def objective(self, forward: Forward) -> Tensor:
        return entropy(forward.similarities / self.temperature).mean()


class KeepsWeights(Good):
    def restore_source(self) -> None:
        if not hasattr(self, "optimizer"):
            super().restore_source()


class KeepsMemory(Good):
    seen = 0

    def objective(self, forward: Forward) -> Tensor:
        self.seen += 1
        return super().objective(forward) * (1 if self.seen < 5 else -1)


class WritesGallery(Good):
    def step(self, queries: Tensor) -> StepOutput:
        self.gallery.mul_(1.0)
        return super().step(queries)


class TrainsTheHead(Good):
    def step(self, queries: Tensor) -> StepOutput:
        with torch.no_grad():
            next(iter(self.encoder.parameters())).add_(0.01)
        return super().step(queries)


class RefusesOne(Good):
    def step(self, queries: Tensor) -> StepOutput:
        if len(queries) == 1:
            raise RuntimeError("one is too few")
        return super().step(queries)


class DrawsGlobally(Good):
    def objective(self, forward: Forward) -> Tensor:
        return super().objective(forward) * (1 + torch.rand(()) * 0)


class WrongType(Good):
    def step(self, queries: Tensor) -> StepOutput:
        output = super().step(queries)
        return StepOutput(output.scores.double(), output.embeddings, output.log)


class PeeksAtOrder(Good):
    def step(self, queries: Tensor) -> StepOutput:
        output = super().step(queries)
        favour = (len(queries) == 5) * torch.eye(len(queries), len(self.gallery))
        return StepOutput(output.scores + favour, output.embeddings, output.log)


class KeepsGallery(Good):
    def use_gallery(self, gallery: Tensor) -> None:
        if len(gallery) != len(self.setup.gallery):
            self.gallery = gallery


class SeesAhead(Good):
    wants_stream = True  # type: ignore[assignment]


class WantsLabels(Good):
    def step(self, queries: Tensor, labels: Any) -> StepOutput:  # type: ignore[override]
        return super().step(queries)


class LearnsFromNan(Good):
    def descend(self, gradients: Any) -> None:
        with torch.no_grad():
            for parameter, gradient in zip(self.adapted.values(), gradients, strict=True):
                if gradient is not None:
                    parameter.sub_(1e-3 * gradient)


class NoCard(Good):
    """Loses its card later: a class body without one is refused at once."""


NoCard.card = None  # type: ignore[assignment]


class HoldsOptions(Good):
    Options = dataclasses.make_dataclass(
        "Nest", [("inner", Any, option(NoOptions(), "help"))], frozen=True
    )


@pytest.mark.parametrize(
    ("method", "failing"),
    [
        (HoldsOptions, "card"),
        (KeepsWeights, "reset"),
        (KeepsMemory, "reset"),
        (WritesGallery, "gallery_untouched"),
        (TrainsTheHead, "declared_parameters"),
        (RefusesOne, "batch_sizes"),
        (DrawsGlobally, "random_state"),
        (WrongType, "output"),
        (PeeksAtOrder, "no_labels"),
        (KeepsGallery, "gallery_change"),
        (SeesAhead, "no_labels"),
        (WantsLabels, "no_labels"),
        (LearnsFromNan, "broken_batch"),
        (NoCard, "card"),
    ],
)
def test_contract_catches(method: type[Method], failing: str) -> None:
    with pytest.raises((AssertionError, RuntimeError)):
        CHECKS[failing](Subject(method))


class AsksTheSource(Source):
    """Relies on the source model's view, which the harness offers before each batch."""

    wants_source = True  # type: ignore[assignment]

    def use_source(self, embeddings: Tensor) -> None:
        self.offered = embeddings

    def step(self, queries: Tensor) -> StepOutput:
        return StepOutput(self.score(self.offered), self.offered)


def test_the_contract_offers_the_source() -> None:
    assert [told for _, good, told in run_contract(AsksTheSource) if not good] == []


def test_run_contract_reports_every_check() -> None:
    results = run_contract(Good)
    assert [name for name, _, _ in results] == list(CHECKS)
    assert all(ok for _, ok, _ in results), results
    assert all(message for _, _, message in results)
    failed = {name: message for name, ok, message in run_contract(RefusesOne) if not ok}
    assert failed["batch_sizes"] == "RuntimeError: one is too few"


def test_contract_class_has_a_test_for_every_check() -> None:
    assert {f"test_{name}" for name in CHECKS} == {
        name for name in vars(MethodContract) if name.startswith("test_")
    }
