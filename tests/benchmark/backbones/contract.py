"""What every dual encoder keeps, as a class of tests; a subclass brings its raw items."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, ClassVar

import pytest
import torch
from torch import Tensor

from benchmark.backbones.base import DualEncoder
from benchmark.errors import ConfigError
from methods.base import QueryEncoder
from methods.parameters import select_parameters


def collated(backbone: DualEncoder, modality: str, items: Iterable[Any]) -> Tensor:
    """Raw items as one batch that the backbone encodes."""
    return backbone.collate(modality, list(map(backbone.preprocess(modality), items)))


def embedded(backbone: DualEncoder, modality: str, items: Sequence[Any]) -> Tensor:
    """(n, D) rows of raw items, a batch at a time."""
    parts = [items[start : start + 128] for start in range(0, len(items), 128)]
    return torch.cat([backbone.encode(modality, collated(backbone, modality, p)) for p in parts])


class BackboneContract:
    """The module has a fixture ``backbone``.

    Attributes:
        scalars: modality -> numbers in the normalisation layers that adapt.
        near: mean cosine that bfloat16 keeps.
        idle: part of the names of layers that adapt but that a pass does not run.
    """

    scalars: ClassVar[Mapping[str, int]]
    near: ClassVar[float] = 0.99
    idle: ClassVar[str] = "none of them"

    def raw(self, modality: str) -> list[Any]:
        """At least two different items."""
        raise NotImplementedError

    def batch(self, backbone: DualEncoder, modality: str) -> Tensor:
        return collated(backbone, modality, self.raw(modality))

    def test_rows_are_of_unit_length_and_do_not_depend_on_their_neighbours(
        self, backbone: DualEncoder
    ) -> None:
        for modality in self.scalars:
            rows = backbone.encode(modality, self.batch(backbone, modality))
            assert rows.dtype == torch.float32
            assert not rows.requires_grad
            torch.testing.assert_close(rows.norm(dim=1), torch.ones(len(rows)))
            assert (rows[0] - rows[1]).abs().max() > 1e-3
            for item, row in zip(self.raw(modality), rows, strict=True):
                alone = backbone.encode(modality, collated(backbone, modality, [item]))
                torch.testing.assert_close(alone[0], row, atol=1e-5, rtol=0)

    def test_padding_that_is_cut_changes_nothing(self, backbone: DualEncoder) -> None:
        for modality in self.scalars:
            full = torch.stack(list(map(backbone.preprocess(modality), self.raw(modality))))
            rows = backbone.encode(modality, self.batch(backbone, modality))
            torch.testing.assert_close(backbone.encode(modality, full), rows, atol=1e-5, rtol=0)

    def test_a_query_encoder_is_a_copy_of_one_tower(self, backbone: DualEncoder) -> None:
        for modality in self.scalars:
            batch = self.batch(backbone, modality)
            before = backbone.encode(modality, batch)
            encoder = backbone.query_encoder(modality)
            assert isinstance(encoder, QueryEncoder)
            assert not encoder.training
            # torch attends by another kernel when gradients are on: equal up to rounding
            torch.testing.assert_close(encoder(batch).detach(), before, atol=1e-5, rtol=0)
            with torch.no_grad():
                for parameter in encoder.parameters():
                    parameter.add_(1.0)
            torch.testing.assert_close(backbone.encode(modality, batch), before, atol=0, rtol=0)
            with torch.no_grad():
                fresh = backbone.query_encoder(modality)(batch)
            torch.testing.assert_close(fresh, before, atol=1e-5, rtol=0)

    def test_gradients_reach_the_norms_and_nothing_else(self, backbone: DualEncoder) -> None:
        for modality, scalars in self.scalars.items():
            encoder = backbone.query_encoder(modality)
            adapted = select_parameters(encoder, "norm")
            assert sum(p.numel() for p in adapted.values()) == scalars
            rows = encoder(self.batch(backbone, modality))
            generator = torch.Generator().manual_seed(0)
            (rows * torch.randn(rows.shape, generator=generator)).sum().backward()
            reached = {
                n for n, p in encoder.named_parameters() if p.grad is not None and p.grad.any()
            }
            assert reached == {name for name in adapted if self.idle not in name}

    def test_mixed_precision_is_close_and_keeps_float32(self, backbone: DualEncoder) -> None:
        for modality in self.scalars:
            encoder, batch = backbone.query_encoder(modality), self.batch(backbone, modality)
            exact = backbone.encode(modality, batch)
            with torch.autocast("cpu", torch.bfloat16):
                rows, mixed = backbone.encode(modality, batch), encoder(batch)
                mixed[:, 0].sum().backward()
            for found in (rows, mixed.detach()):
                assert found.dtype == torch.float32
                assert (found * exact).sum(dim=1).min() > self.near
            assert not torch.equal(mixed, exact)  # that it was on
            grads = {p.grad.dtype for p in encoder.parameters() if p.grad is not None}
            assert grads == {torch.float32} == {p.dtype for p in encoder.parameters()}

    def test_other_modalities_are_refused(self, backbone: DualEncoder) -> None:
        for call in (backbone.preprocess, backbone.query_encoder):
            with pytest.raises(ConfigError, match="not 'smell'"):
                call("smell")
