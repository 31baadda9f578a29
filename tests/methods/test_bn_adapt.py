"""BN adaptation: the mixture of statistics, and which towers it is for."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor, nn

from methods.base import NotApplicable, QueryEncoder, Setup
from methods.batch_norm import mixed_statistics
from methods.bn_adapt import BnAdapt, BnAdaptOptions
from methods.source import Source
from methods.tent import Tent
from methods.testing import World


class Resnet(QueryEncoder):
    """Two convolutions, each with a BatchNorm layer."""

    def __init__(self) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(0)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            self.body = nn.Sequential(
                nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Conv2d(4, 8, 3)
            )
            self.last = nn.BatchNorm2d(8)
        for layer in (self.body[1], self.last):
            layer.running_mean.normal_(generator=generator)
            layer.running_var.uniform_(0.5, 2.0, generator=generator)
            layer.weight.data.uniform_(0.5, 2.0, generator=generator)
        self.double().eval()

    def forward(self, images: Tensor) -> Tensor:
        rows = self.last(self.body(images)).mean(dim=(2, 3))
        return nn.functional.normalize(rows, dim=-1)


IMAGES = torch.randn(6, 3, 8, 8, generator=torch.Generator().manual_seed(1)).double() * 2 + 1
GALLERY = nn.functional.normalize(
    torch.randn(20, 8, generator=torch.Generator().manual_seed(2)).double(), dim=1
)


def adapted(prior: float, encoder: QueryEncoder | None = None) -> BnAdapt:
    return BnAdapt(Setup(encoder or Resnet(), GALLERY, 1.0), BnAdaptOptions(prior=prior))


def test_all_source_is_the_source() -> None:
    plain = Source(Setup(Resnet(), GALLERY, 1.0)).step(IMAGES).scores
    torch.testing.assert_close(adapted(1e15).step(IMAGES).scores, plain)
    assert float((adapted(0.0).step(IMAGES).scores - plain).abs().max()) > 0.05


@pytest.mark.parametrize("prior", [0.0, 2.0, 16.0])
def test_statistics_are_mixed_by_numbers_of_queries(prior: float) -> None:
    output = adapted(prior).step(IMAGES)
    share = prior / (prior + len(IMAGES))
    assert output.log["source_share"] == pytest.approx(share)
    by_hand = copy.deepcopy(Resnet())

    def mix(layer: nn.BatchNorm2d, inputs: tuple[Tensor, ...]) -> None:
        own = nn.BatchNorm2d(layer.num_features, affine=False, momentum=1.0).double()
        own(inputs[0])  # its running statistics are this batch's now
        layer.running_mean = share * layer.running_mean + (1 - share) * own.running_mean
        layer.running_var = share * layer.running_var + (1 - share) * own.running_var

    for layer in (by_hand.body[1], by_hand.last):
        layer.register_forward_pre_hook(mix)
    with torch.no_grad():
        expected = by_hand(IMAGES) @ GALLERY.T
    torch.testing.assert_close(output.scores, expected, rtol=0, atol=1e-10)


def test_nothing_is_kept() -> None:
    encoder = Resnet()
    before = {n: t.clone() for n, t in encoder.state_dict().items()}
    method = adapted(0.0, encoder)
    first = method.step(IMAGES).scores
    method.step(IMAGES[:2] * 3)
    assert torch.equal(method.step(IMAGES).scores, first)
    assert all(torch.equal(t, before[n]) for n, t in encoder.state_dict().items())
    assert torch.equal(method.embed(IMAGES), encoder(IMAGES))


def test_broken_queries_take_no_part_in_the_statistics() -> None:
    broken = torch.cat([IMAGES, torch.full_like(IMAGES[:1], torch.nan)])
    found = adapted(4.0).step(broken).scores
    torch.testing.assert_close(found[:-1], adapted(4.0).step(IMAGES).scores)
    assert bool(found[-1].isnan().all())
    assert adapted(4.0).step(broken[-1:]).log == {}


def test_a_tower_without_batch_norm_is_declined() -> None:
    world = World()
    world.encoder.stem_norm = nn.Identity()  # type: ignore[assignment]
    with pytest.raises(NotApplicable, match="BatchNorm layers; the query encoder TinyEncoder"):
        BnAdapt(world.setup())


def test_bn_batch_of_a_trained_method() -> None:
    """The batch's statistics within a step, the source's outside it."""
    options = Tent.Options(bn="batch", lr=0.0, steps=1)
    method = Tent(Setup(Resnet(), GALLERY, 1.0), options)
    output = method.step(IMAGES)
    torch.testing.assert_close(output.scores, adapted(0.0).step(IMAGES).scores)
    torch.testing.assert_close(method.embed(IMAGES), Resnet()(IMAGES))
    plain = Tent(Setup(Resnet(), GALLERY, 1.0), Tent.Options(lr=0.0, steps=1)).step(IMAGES)
    torch.testing.assert_close(
        plain.scores, Source(Setup(Resnet(), GALLERY, 1.0)).step(IMAGES).scores
    )


def test_bn_running_keeps_the_statistics_and_trains_the_affine_part() -> None:
    method = Tent(Setup(Resnet(), GALLERY, 1.0), Tent.Options(lr=0.01))
    before = {name: value.clone() for name, value in method.encoder.state_dict().items()}
    assert set(method.adapted) == {
        f"{x}.{y}" for x in ("body.1", "last") for y in ("weight", "bias")
    }
    method.step(IMAGES)
    moved = {n for n, v in method.encoder.state_dict().items() if not torch.equal(v, before[n])}
    assert moved == set(method.adapted)


class Plain(QueryEncoder):
    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(8)


def test_bn_batch_needs_batch_norm() -> None:
    with pytest.raises(NotApplicable, match="bn='batch' is about BatchNorm layers"):
        Tent(Setup(Plain(), GALLERY, 1.0), Tent.Options(bn="batch"))


class ActivatedNorm(nn.BatchNorm2d):
    """Normalisation and activation in one, as timm has it."""

    def __init__(self, width: int) -> None:
        super().__init__(width)
        self.act = nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        return self.act(super().forward(x))


def test_a_layer_that_activates_too_keeps_its_activation() -> None:
    layer = ActivatedNorm(4).eval()
    x = torch.randn(3, 4, 5, 5, generator=torch.Generator().manual_seed(0))
    with mixed_statistics([layer], 0.0):
        assert float(layer(x).detach().min()) == 0.0
