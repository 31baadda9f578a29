"""The REST-style method: its switches, the source's view, decoupling."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch

from methods.adapt import Forward
from methods.base import MethodError
from methods.gradients import cosine
from methods.objectives import entropy
from methods.rest import Rest, RestOptions
from methods.tcr import Tcr, TcrOptions
from methods.testing import World


def run(batches: int = 3, **options: Any) -> tuple[list[torch.Tensor], list[dict[str, float]]]:
    world = World()
    rest = Rest(world.setup(), RestOptions(lr=3e-3, **options))
    outputs = [rest.step(batch) for batch in world.batches[:batches]]
    return [o.scores for o in outputs], [dict(o.log) for o in outputs]


def equal(one: list[torch.Tensor], two: list[torch.Tensor]) -> bool:
    return all(torch.equal(a, b) for a, b in zip(one, two, strict=True))


def test_without_decoupling_it_is_tcr() -> None:
    world = World()
    tcr = Tcr(world.setup(), TcrOptions(lr=3e-3))
    expected = [tcr.step(batch).scores for batch in world.batches[:3]]
    assert equal(run(decouple="off")[0], expected)
    assert equal(run(decouple="prograd", decouple_strength=0.0)[0], expected)
    assert not equal(run()[0], expected)


@pytest.mark.parametrize(
    "options",
    [
        {"refine": False},
        {"uniformity": 0.0},
        {"gap": 0.0},
        {"consistency": 0.0},
        {"decouple": "off"},
        {"decouple": "pcgrad"},
        {"decouple": "penalty"},
        {"granularity": "per_tensor"},
        {"general_over": "gallery"},
        {"general_over": "queue"},
        {"decouple": "orthogonal"},
        {"decouple": "pull"},
        {"level": "embeddings"},
        {"level": "query"},
        {"level": "applied"},
    ],
)
def test_every_switch_changes_something(options: dict[str, Any]) -> None:
    scores, logs = run(**options)
    assert not equal(scores, run()[0])
    assert all(log["skipped_updates"] == 0 for log in logs)


def test_weights_scale_the_terms() -> None:
    log = run(batches=1, steps=1, uniformity=2.0, gap=0.0, consistency=0.5)[1][0]
    expected = 2 * log["loss_uniformity"] + 0.5 * log["loss_consistency"]
    assert log["loss"] == pytest.approx(expected, abs=1e-6)


def test_uniformity_alone_spreads_the_queries() -> None:
    def spread(z: torch.Tensor) -> float:
        return float((z - z.mean(dim=0)).norm(dim=1).mean())

    world = World()
    options = RestOptions(gap=0.0, consistency=0.0, decouple="off", lr=1e-3)
    rest = Rest(world.setup(), options)
    before = spread(rest.embed(world.batches[0]))
    for _ in range(5):
        rest.step(world.batches[0])
    assert spread(rest.embed(world.batches[0])) > before + 1e-3


def test_gap_alone_closes_in_on_the_source_like_gap() -> None:
    world = World()
    options = RestOptions(
        uniformity=0.0, consistency=0.0, decouple="off", lr=1e-3, queue_update_batches=1
    )
    rest = Rest(world.setup(), options)
    losses = [rest.step(world.batches[0]).log["loss_gap"] for _ in range(8)]
    assert losses[-1] < 0.7 * losses[0]


def test_consistency_alone_makes_refined_predictions_sharper() -> None:
    world = World()
    options = RestOptions(
        uniformity=0.0, gap=0.0, decouple="off", lr=1e-3, con_ratio=1.0, queue_update_batches=1
    )
    rest = Rest(world.setup(), options)

    def mean_entropy() -> float:
        return float(entropy(rest.logits(rest.forward(world.batches[0], 0)).detach()).mean())

    before = mean_entropy()
    for _ in range(8):
        rest.step(world.batches[0])
    assert mean_entropy() < 0.9 * before


def test_no_angle_at_the_source() -> None:
    _, logs = run(batches=2, steps=1)
    assert "angle" not in logs[0]
    assert "conflict" not in logs[0]
    assert 0 <= logs[1]["angle"] <= 180


def test_angle_conflict_and_what_is_left() -> None:
    _, logs = run(batches=3, steps=2)
    conflicts = 0
    for log in logs[1:]:
        assert 0 <= log["conflict"] <= 1
        assert log["cosine_after"] >= -1e-5
        conflicts += log["conflict"] > 0
    assert conflicts > 0
    assert all("angle" not in log for log in run(decouple="off")[1])


def test_source_view_costs_one_forward_and_none_before_the_first_update() -> None:
    world = World()
    calls: list[int] = []
    world.encoder.register_forward_hook(lambda *_: calls.append(1))
    rest = Rest(world.setup())
    counts = []
    for batch in world.batches[:2]:
        calls.clear()
        rest.step(batch)
        counts.append(len(calls))
    assert counts == [3, 4]
    calls.clear()
    rest.reset()
    rest.step(world.batches[1])
    assert len(calls) == 3


def offered(options: RestOptions | None = None, batches: int = 4) -> tuple[list[Any], list[int]]:
    """Outputs and forward passes per batch where the source's embeddings are offered."""
    world, source = World(), World().encoder.eval()
    calls: list[int] = []
    world.encoder.register_forward_hook(lambda *_: calls.append(1))
    rest = Rest(world.setup(), options or RestOptions(lr=3e-3))
    outputs, counts = [], []
    for batch in world.batches[:batches]:
        calls.clear()
        with torch.no_grad():
            rest.use_source(source(batch))
        outputs.append(rest.step(batch))
        counts.append(len(calls))
    return outputs, counts


def test_offered_source_embeddings_save_the_forward_and_change_nothing() -> None:
    outputs, counts = offered()
    scores, logs = run(batches=4)
    assert counts == [3, 3, 3, 3]
    assert equal([output.scores for output in outputs], scores)
    assert [dict(output.log) for output in outputs] == logs


def test_offered_source_embeddings_hold_for_one_batch() -> None:
    world = World()
    calls: list[int] = []
    world.encoder.register_forward_hook(lambda *_: calls.append(1))
    rest = Rest(world.setup(), RestOptions(lr=3e-3))
    rest.use_source(torch.zeros(1, 1))  # not looked at: the model is still the source
    rest.step(world.batches[0])
    calls.clear()
    rest.step(world.batches[1])
    assert len(calls) == 4


def test_source_embeddings_of_another_batch_are_refused() -> None:
    world = World()
    rest = Rest(world.setup())
    rest.step(world.batches[0])
    rest.use_source(rest.embed(world.batches[1])[:-1])
    with pytest.raises(MethodError, match=r"source model's embeddings have shape"):
        rest.step(world.batches[1])


def test_who_wants_source_embeddings() -> None:
    world = World()
    assert Rest(world.setup()).wants_source
    assert not Rest(world.setup(), RestOptions(decouple="off")).wants_source
    tcr = Tcr(world.setup())
    assert not tcr.wants_source
    before = tcr.embed(world.batches[0])
    tcr.use_source(torch.full_like(before, torch.nan))
    assert torch.isfinite(tcr.step(world.batches[0]).scores).all()


def test_source_view_is_the_source_models() -> None:
    world, fresh = World(), World()
    rest = Rest(world.setup(), RestOptions(lr=1e-2))
    for batch in world.batches[:2]:
        rest.step(batch)
    assert rest._source_view is not None
    expected = fresh.encoder(world.batches[1]).detach()
    assert torch.allclose(rest._source_view, expected, atol=1e-6)
    assert not torch.allclose(rest.embed(world.batches[1]), expected, atol=1e-3)


def test_general_loss_is_zero_at_the_source_and_grows() -> None:
    world = World()
    rest = Rest(world.setup(), RestOptions(lr=1e-2))
    with torch.enable_grad():
        start = rest.forward(world.batches[0], 0)
        rest.gradients(start)
        assert float(rest.general_loss(start).detach()) == pytest.approx(0.0, abs=1e-6)
    rest.step(world.batches[0])
    later = rest.forward(world.batches[0], 0)
    rest._source_view = None
    assert float(rest.general_loss(later).detach()) > 1e-4


@pytest.mark.parametrize("general_over", ["candidates", "gallery", "queue"])
def test_projected_gradient_does_not_raise_the_general_loss(general_over: str) -> None:
    world = World()
    rest = Rest(world.setup(), RestOptions(lr=3e-3, general_over=general_over))
    rest.step(world.batches[0])
    forward = rest.forward(world.batches[1], 1)
    rest._source_view = None
    general = rest.differentiate(rest.general_loss(forward), retain_graph=True)
    used = rest.gradients(Forward(forward.queries, forward.embeddings, world.gallery, 1, 1))
    assert general is not None
    assert used is not None
    assert float(cosine(used, general)) >= -1e-5


def passes_back(level: str) -> list[int]:
    """Backward passes through the tower in each of two batches."""
    world = World()
    rest = Rest(world.setup(), RestOptions(level=level))
    calls: list[int] = []
    world.encoder.block.second.register_full_backward_hook(lambda *_: calls.append(1))
    counts = []
    for batch in world.batches[:2]:
        calls.clear()
        rest.step(batch)
        counts.append(len(calls))
    return counts


def test_one_pass_back_at_the_embeddings_two_at_the_parameters() -> None:
    # Three updates a batch; the very first has no general gradient.
    assert passes_back("embeddings") == passes_back("query") == [3, 3]
    assert passes_back("parameters") == passes_back("applied") == [5, 6]


@pytest.mark.parametrize("level", ["embeddings", "query"])
def test_projection_at_the_embeddings(level: str) -> None:
    """What goes back through the tower has no component against the general gradient."""
    world = World()
    rest = Rest(world.setup(), RestOptions(lr=3e-3, level=level))
    rest.step(world.batches[0])
    forward = rest.forward(world.batches[1], 1)
    rest._source_view = None
    z = forward.embeddings
    loss, general_loss = rest.objective(forward), rest.general_loss(forward)
    assert loss is not None
    (specific,) = torch.autograd.grad(loss, [z], retain_graph=True)
    (general,) = torch.autograd.grad(general_loss, [z], retain_graph=True)
    rows = [slice(None)] if level == "embeddings" else [slice(i, i + 1) for i in range(len(z))]
    wanted = specific.clone()
    for row in rows:
        against = float((specific[row] * general[row]).sum())
        if against < 0:
            wanted[row] -= against / float(general[row].square().sum()) * general[row]
    assert not torch.allclose(wanted, specific)
    expected = torch.autograd.grad(z, list(rest.adapted.values()), wanted, allow_unused=True)
    found = rest.gradients(rest.forward(world.batches[1], 1))
    assert found is not None
    for one, other in zip(found, expected, strict=True):
        assert (one is None) == (other is None)
        assert one is None or torch.allclose(one, other, atol=1e-6)


def test_the_applied_step_does_not_raise_the_general_loss() -> None:
    def step(level: str) -> float:
        """Change along the general gradient that one update makes: positive raises the loss."""
        world = World()
        rest = Rest(world.setup(), RestOptions(lr=3e-3, level=level, weight_decay=0.0))
        rest.step(world.batches[0])
        forward = rest.forward(world.batches[1], 1)
        rest._source_view = None
        general = rest.differentiate(rest.general_loss(forward), retain_graph=True)
        before = [p.detach().clone() for p in rest.adapted.values()]
        rest.update(rest.forward(world.batches[1], 1))
        assert general is not None
        changes = zip(general, before, rest.adapted.values(), strict=True)
        return sum(float((g * (p.detach() - b)).sum()) for g, b, p in changes if g is not None)

    assert step("parameters") > 1e-6  # AdamW's step is not its gradient
    assert step("applied") <= 1e-7


def test_orthogonal_leaves_nothing_along_the_general_gradient() -> None:
    for level in ("parameters", "embeddings"):
        _, logs = run(batches=3, decouple="orthogonal", level=level)
        assert all(abs(log["cosine_after"]) < 1e-4 for log in logs[1:])


def test_pull_takes_the_weights_part_of_the_way_back() -> None:
    weights = []
    for options in ({"decouple": "off"}, {"decouple": "pull", "pull": 0.25}):
        world = World()
        rest = Rest(world.setup(), RestOptions(lr=1e-2, steps=1, **options))  # type: ignore[arg-type]
        rest.step(world.batches[0])
        weights.append({n: p.detach().clone() for n, p in rest.adapted.items()})
        assert not rest.wants_source
    for name, value in weights[0].items():
        source = rest.source.parameters[name]
        assert torch.allclose(weights[1][name], 0.75 * value + 0.25 * source, atol=1e-7)


def test_a_general_gradient_is_no_step_to_be_projected_mutually() -> None:
    with pytest.raises(MethodError, match="do not go together"):
        RestOptions(level="applied", decouple="pcgrad")


def test_card_says_that_it_is_ours() -> None:
    assert "ours" in Rest.card.title
    assert "our reading" in Rest.card.approximate
    assert "our reading" in Rest.card.summary


def test_first_batch_is_tcrs() -> None:
    # The angle is undefined at the first update; only from the second on does decoupling act.
    one = run(batches=1, steps=2)[0]
    assert equal(one, run(batches=1, steps=2, decouple="off")[0])
    assert math.isfinite(float(one[0].sum()))
