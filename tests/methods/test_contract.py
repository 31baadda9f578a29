"""All built-in methods keep the shipped contract, and the contract catches those that do not."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from methods import BUILTINS
from methods.adapt import AdaptedMethod, Forward
from methods.anchored import Anchored, AnchoredOptions
from methods.base import Method, MethodCard, StepOutput
from methods.bn_adapt import BnAdapt, BnAdaptOptions
from methods.come import Come, ComeOptions
from methods.cotta import Cotta, CottaOptions
from methods.deyo import Deyo, DeyoOptions
from methods.eata import Eata, EataOptions
from methods.hat_vtr import HatVtr
from methods.inverted_softmax import InvertedSoftmax
from methods.lame import Lame, LameOptions
from methods.memo import Memo, MemoOptions
from methods.nnn import NNN
from methods.objectives import entropy
from methods.qbnorm import QBNorm
from methods.rdumb import Rdumb, RdumbOptions
from methods.read import Read, ReadOptions
from methods.recentre import Recentre, RecentreOptions
from methods.rest import Rest, RestOptions
from methods.roid import Roid, RoidOptions
from methods.rpl import Rpl, RplOptions
from methods.sar import Sar, SarOptions
from methods.shot import Shot, ShotOptions
from methods.sinkhorn import Sinkhorn
from methods.source import Source
from methods.tcr import Tcr, TcrOptions
from methods.tcr_untrained import TcrUntrained
from methods.tda import Tda
from methods.tent import Tent
from methods.testing import CHECKS, MethodContract, run_contract
from methods.vte import Vte, VteOptions
from methods.whiten import Whiten

BUILTIN_CLASSES: tuple[type[Method], ...] = (
    *(Source, Recentre, Tent, Eata, Sar, Read, Tcr, Rest, Anchored),
    *(Shot, Deyo, Come, Rdumb, Roid, Cotta, Memo, Rpl, Vte, Lame, BnAdapt),
    *(TcrUntrained, HatVtr, InvertedSoftmax, QBNorm, Sinkhorn, NNN, Whiten, Tda),
)


def test_every_builtin_is_covered() -> None:
    found = {c.card.name: f"{c.__module__}:{c.__name__}" for c in BUILTIN_CLASSES}
    assert found == BUILTINS


class TestSource(MethodContract):
    method_class = Source


class TestRecentre(MethodContract):
    method_class = Recentre


class TestRecentreStream(MethodContract):
    method_class = Recentre
    options = RecentreOptions(center="stream")


class TestTent(MethodContract):
    method_class = Tent


class TestEata(MethodContract):
    method_class = Eata


class TestEataFisher(MethodContract):
    method_class = Eata
    options = EataOptions(fisher="stream", temperature=0.1, d_margin=0.9, fisher_batches=2)


class TestSar(MethodContract):
    method_class = Sar


class TestSarWithoutReset(MethodContract):
    method_class = Sar
    options = SarOptions(margin="entropy", temperature="learnt", reset_below=0.0)


class TestRead(MethodContract):
    method_class = Read


class TestReadMean(MethodContract):
    method_class = Read
    options = ReadOptions(balance="mean", optimizer="sgd", score_from="post_update")


class TestTcr(MethodContract):
    method_class = Tcr


class TestTcrPaper(MethodContract):
    method_class = Tcr
    options = TcrOptions(rem_form="paper", temperature="learnt", optimizer="adam", adapt="all")


class TestRest(MethodContract):
    method_class = Rest


class TestRestPcgrad(MethodContract):
    method_class = Rest
    options = RestOptions(decouple="pcgrad", granularity="per_tensor", general_over="gallery")


class TestRestPenalty(MethodContract):
    method_class = Rest
    options = RestOptions(decouple="penalty", refine=False, gap=0.0)


class TestRestEmbeddings(MethodContract):
    method_class = Rest
    options = RestOptions(level="embeddings", general_over="queue", decouple="orthogonal")


class TestRestQuery(MethodContract):
    method_class = Rest
    options = RestOptions(level="query", centre=True)


class TestRestApplied(MethodContract):
    method_class = Rest
    options = RestOptions(level="applied", granularity="per_tensor")


class TestRestPull(MethodContract):
    method_class = Rest
    options = RestOptions(decouple="pull")


class TestRestOff(MethodContract):
    method_class = Rest
    options = RestOptions(decouple="off", uniformity=0.0)


class TestAnchored(MethodContract):
    method_class = Anchored


class TestAnchoredShortWindow(MethodContract):
    method_class = Anchored
    options = AnchoredOptions(window=6, decouple_strength=0.0, temperature=0.1, lr=3e-3)


class TestShot(MethodContract):
    method_class = Shot


class TestShotWithManyLabels(MethodContract):
    method_class = Shot
    options = ShotOptions(confidence=0.2, temperature="learnt", optimizer="sgd")


class TestDeyo(MethodContract):
    method_class = Deyo


class TestDeyoTcr(MethodContract):
    method_class = Deyo
    options = DeyoOptions(form="tcr", plpd_margin=-1.0, perturbation="none", temperature=0.1)


class TestDeyoOcclusion(MethodContract):
    method_class = Deyo
    options = DeyoOptions(perturbation="occlusion", plpd_margin=0.0, temperature=0.1)


class TestCome(MethodContract):
    method_class = Come


class TestComeThousand(MethodContract):
    method_class = Come
    options = ComeOptions(prior=1000.0, temperature=0.1)


class TestRdumb(MethodContract):
    method_class = Rdumb


class TestRdumbOften(MethodContract):
    method_class = Rdumb
    options = RdumbOptions(reset_every=2, temperature=0.1, d_margin=0.9)


class TestRoid(MethodContract):
    method_class = Roid


class TestRoidPlain(MethodContract):
    method_class = Roid
    options = RoidOptions(prior="probabilities", consistency=False, temperature=0.1, adapt="all")


class TestCotta(MethodContract):
    method_class = Cotta


class TestCottaUnsure(MethodContract):
    method_class = Cotta
    options = CottaOptions(view_threshold=2.0, views=3, restore=0.5, temperature=0.1)


class TestMemo(MethodContract):
    method_class = Memo
    options = MemoOptions(views=4)


class TestMemoCertainViews(MethodContract):
    method_class = Memo
    options = MemoOptions(views=5, keep=0.5, steps=2, temperature=0.1)


class TestRpl(MethodContract):
    method_class = Rpl


class TestRplSteep(MethodContract):
    method_class = Rpl
    options = RplOptions(q=0.1, temperature=0.1, score_from="post_update")


class TestVte(MethodContract):
    method_class = Vte
    options = VteOptions(views=6, keep=0.5)


class TestVteAll(MethodContract):
    method_class = Vte
    options = VteOptions(views=3, keep=1.0, temperature="learnt")


class TestLame(MethodContract):
    method_class = Lame


class TestLameKnn(MethodContract):
    method_class = Lame
    options = LameOptions(affinity="knn", neighbours=2, symmetric=True, temperature=0.1)


class TestLameLinear(MethodContract):
    method_class = Lame
    options = LameOptions(affinity="linear", temperature="learnt")


class TestBnAdapt(MethodContract):
    method_class = BnAdapt


class TestBnAdaptBatchAlone(MethodContract):
    method_class = BnAdapt
    options = BnAdaptOptions(prior=0.0)


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
        favour = torch.eye(len(queries), len(self.gallery))
        return StepOutput(output.scores + favour, output.embeddings, output.log)


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
    card = None  # type: ignore[assignment]


@pytest.mark.parametrize(
    ("method", "failing"),
    [
        (KeepsWeights, "reset"),
        (KeepsMemory, "reset"),
        (WritesGallery, "gallery_untouched"),
        (TrainsTheHead, "declared_parameters"),
        (RefusesOne, "batch_sizes"),
        (DrawsGlobally, "random_state"),
        (WrongType, "output"),
        (PeeksAtOrder, "no_labels"),
        (WantsLabels, "no_labels"),
        (LearnsFromNan, "broken_batch"),
        (NoCard, "card"),
    ],
)
def test_contract_catches(method: type[Method], failing: str) -> None:
    results = {name: ok for name, ok, _ in run_contract(method)}
    assert results[failing] is False


def test_run_contract_reports_every_check() -> None:
    results = run_contract(Good)
    assert [name for name, _, _ in results] == list(CHECKS)
    assert all(ok for _, ok, _ in results), results
    assert all(message for _, _, message in results)


def test_contract_class_has_a_test_for_every_check() -> None:
    assert {f"test_{name}" for name in CHECKS} == {
        name for name in vars(MethodContract) if name.startswith("test_")
    }
