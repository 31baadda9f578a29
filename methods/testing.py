"""The contract that every method keeps, for built-ins and for methods from outside.

With pytest, subclass ``MethodContract`` and set one attribute::

    class TestMine(MethodContract):
        method_class = Mine

Without pytest, ``run_contract(Mine)`` runs the same checks. They use a tiny layer-normed encoder
and gallery of their own, on the CPU, in well under a second each.
"""

from __future__ import annotations

import contextlib
import dataclasses
import inspect
import json
import math
import random
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from methods.base import Method, MethodCard, MethodError, Setup, StepOutput
from methods.tiny import BATCH_SIZE, EMBED_WIDTH, GALLERY_SIZE, TinyEncoder, World

__all__ = ["CHECKS", "MethodContract", "Subject", "TinyEncoder", "World", "run_contract"]

SETUP_FIELDS = {"encoder", "gallery", "logit_scale", "generator"}
REORDERED_TOLERANCE = 1e-3
"""Allowed change of scores when the gallery is reordered: summation order, a few updates."""
_ORDER = torch.randperm(GALLERY_SIZE, generator=torch.Generator().manual_seed(3))
DIVERGING = 1e30


@dataclass(frozen=True)
class Subject:
    """The method under test: its class, and options or None for its defaults."""

    method_class: type[Method]
    options: Any = None

    def build(self, world: World | None = None) -> Method:
        """A new method on a new (or given) world."""
        world = world or World()
        return world.offering(self.method_class(world.setup(), self.options))


def _state(encoder: nn.Module) -> dict[str, Tensor]:
    tensors = dict(encoder.named_parameters()) | dict(encoder.named_buffers())
    return {name: tensor.detach().clone() for name, tensor in tensors.items()}


def _changed(before: dict[str, Tensor], after: dict[str, Tensor]) -> list[str]:
    """Names that only one has, or whose values differ."""
    both = before.keys() & after.keys()
    changed = {name for name in both if not _same(before[name], after[name])}
    return sorted(changed | (before.keys() ^ after.keys()))


def _same(one: Tensor, two: Tensor) -> bool:
    """Equal byte by byte; unlike for ``torch.equal``, NaN equals NaN and 0 differs from -0."""
    if one.shape != two.shape or one.dtype != two.dtype:
        return False
    raw = [tensor.contiguous().reshape(-1).view(torch.uint8) for tensor in (one, two)]
    return torch.equal(*raw)


def _stream(method: Method, world: World) -> list[Tensor]:
    return [method.step(batch).scores.clone() for batch in world.batches]


def check_card(subject: Subject) -> None:
    """The class says what it is: a card, and options as a frozen dataclass with help texts."""
    card = getattr(subject.method_class, "card", None)
    assert isinstance(card, MethodCard), "set the class attribute 'card' to a MethodCard"
    assert all((card.name, card.title, card.summary)), "card needs a name, a title and a summary"
    assert card.version >= 1, f"card.version is {card.version}; expected 1 or more"
    kind = subject.method_class.Options
    assert dataclasses.is_dataclass(kind), "Options must be a dataclass"
    assert kind.__dataclass_params__.frozen, "Options must be frozen"  # type: ignore[attr-defined]
    bare = [f.name for f in dataclasses.fields(kind) if not f.metadata.get("help")]
    assert not bare, f"options without a help text in their metadata: {', '.join(bare)}"
    try:
        json.dumps(dataclasses.asdict(kind()), allow_nan=False)
    except (TypeError, ValueError) as error:
        raise AssertionError(f"options must be plain values that JSON can hold: {error}") from None
    nested = [f.name for f in dataclasses.fields(kind) if dataclasses.is_dataclass(f.default)]
    assert not nested, f"options that hold options of their own: {', '.join(nested)}"


def check_reset(subject: Subject) -> None:
    """``reset`` restores parameters, buffers and optimiser bit for bit, and clears all memory."""
    world = World()
    before = _state(world.encoder)
    method = subject.build(world)
    first = _stream(method, world)
    method.reset()
    changed = _changed(before, _state(world.encoder))
    assert not changed, f"reset left these changed: {', '.join(changed)}"
    for name, value in vars(method).items():
        if isinstance(value, torch.optim.Optimizer):
            assert not value.state, f"reset kept the moments of {name}; build a new optimiser"
    for index, (old, new) in enumerate(zip(first, _stream(method, world), strict=True)):
        assert torch.equal(old, new), (
            f"after reset, batch {index} scores differently from the first time: some memory, "
            "counter or random state survived"
        )


def check_same_seed(subject: Subject) -> None:
    """The same seed gives the same scores, bit for bit."""
    runs = []
    for _ in range(2):
        world = World()
        runs.append(_stream(subject.build(world), world))
    for index, (one, two) in enumerate(zip(*runs, strict=True)):
        assert torch.equal(one, two), f"two runs with one seed differ in batch {index}"


def check_gallery_untouched(subject: Subject) -> None:
    """The gallery tensor is never written to."""
    world = World()
    copy, version = world.gallery.clone(), world.gallery._version
    method = subject.build(world)
    _stream(method, world)
    method.reset()
    assert torch.equal(copy, world.gallery), "the gallery has other values than before"
    assert world.gallery._version == version, "the gallery was written to in place"
    assert not world.gallery.requires_grad, "the gallery was made to require gradients"


def check_declared_parameters(subject: Subject) -> None:
    """Only declared parameters move: ``adapted`` if there is one, else ``encoder.adaptable``'s."""
    world = World()
    before, method = _state(world.encoder), subject.build(world)
    inside = {id(p) for p in world.encoder.adaptable.parameters()}
    allowed = {n for n, p in world.encoder.named_parameters() if id(p) in inside}
    if hasattr(method, "adapted"):
        allowed &= set(method.adapted)
    if not method.card.trains:
        allowed = set()
    for batch in world.batches:
        method.step(batch)
        moved = set(_changed(before, _state(world.encoder))) - allowed
        assert not moved, f"moved without being declared: {', '.join(sorted(moved))}"


def check_batch_sizes(subject: Subject) -> None:
    """A batch of one and a short last batch work, also as the first batch of a stream."""
    for order in ((BATCH_SIZE, 5, 1), (1, BATCH_SIZE), (3, 2, 1, 1)):
        world = World()
        method = subject.build(world)
        for size in order:
            output = method.step(world.batches[0][:size])
            _check_output(output, size)


def check_output(subject: Subject) -> None:
    """Scores are finite float32 (B, N), embeddings (B, D) unit rows, the log plain numbers."""
    world = World()
    method = subject.build(world)
    for batch in world.batches:
        _check_output(method.step(batch), len(batch))


def _check_output(output: StepOutput, size: int, items: int = GALLERY_SIZE) -> None:
    for name, tensor, width in (
        ("scores", output.scores, items),
        ("embeddings", output.embeddings, EMBED_WIDTH),
    ):
        shape = tuple(tensor.shape)
        assert shape == (size, width), f"{name} have shape {shape}; expected {(size, width)}"
        assert tensor.dtype == torch.float32, f"{name} are {tensor.dtype}; expected float32"
        assert not tensor.requires_grad, f"{name} still carry a gradient; detach them"
        assert bool(torch.isfinite(tensor).all()), f"{name} hold NaN or infinity"
    lengths = output.embeddings.norm(dim=1)
    assert torch.allclose(lengths, torch.ones(size), atol=1e-4), "embeddings are not unit rows"
    for name, value in output.log.items():
        assert type(value) in (int, float), f"log[{name!r}] is a {type(value).__name__}, no number"
        assert math.isfinite(value), f"log[{name!r}] is {value}; leave undefined numbers out"


def check_embed(subject: Subject) -> None:
    """``embed`` works after adapting, gives unit rows and changes nothing."""
    world = World()
    method = subject.build(world)
    for batch in world.batches:
        method.step(batch)
    before = _state(world.encoder)
    one, two = method.embed(world.batches[0]), method.embed(world.batches[0])
    assert one.shape == (BATCH_SIZE, EMBED_WIDTH), f"embed gave shape {tuple(one.shape)}"
    assert not one.requires_grad, "what embed gives still carries a gradient"
    assert torch.equal(one, two), "embed gives other values the second time"
    assert torch.allclose(one.norm(dim=1), torch.ones(BATCH_SIZE), atol=1e-4), "no unit rows"
    assert not _changed(before, _state(world.encoder)), "embed changed the model"


def check_broken_batch(subject: Subject) -> None:
    """NaN queries leave the weights finite, their batch mates and later batches scored as usual."""
    world = World()
    method = subject.build(world)
    method.step(world.batches[0])
    broken = world.batches[1].clone()
    for rows in (slice(2, 3), slice(None)):
        broken[rows] = torch.nan
        scores = method.step(broken).scores
        mates = torch.isfinite(broken).all(dim=1)
        spoilt = int((~torch.isfinite(scores[mates]).all(dim=1)).sum())
        assert not spoilt, f"one query of NaN spoils the scores of {spoilt} others"
        _check_finite(world, "NaN queries")
    _check_output(method.step(world.batches[1]), BATCH_SIZE)


def _check_finite(world: World, after: str) -> None:
    broken = [n for n, t in _state(world.encoder).items() if not bool(torch.isfinite(t).all())]
    assert not broken, f"not finite after {after}: {', '.join(broken)}"


def check_identical_queries(subject: Subject) -> None:
    """Batches of equal queries give finite scores and weights."""
    world = World()
    method = subject.build(world)
    for _ in range(2):
        _check_output(method.step(world.batches[0][:1].expand(BATCH_SIZE, -1)), BATCH_SIZE)
    _check_finite(world, "equal queries")


def check_gallery_of_one(subject: Subject) -> None:
    """A gallery of one item, where every gradient may be zero, works or is refused clearly."""
    world = World()
    world.gallery = world.gallery[:1].clone()
    with contextlib.suppress(MethodError):
        method = subject.build(world)
        for batch in world.batches:
            _check_output(method.step(batch), len(batch), items=1)


def check_gallery_change(subject: Subject) -> None:
    """``use_gallery`` between batches: each is scored in the gallery that it was called with."""
    last = []
    for order in (torch.arange(GALLERY_SIZE), _ORDER):
        world = World()
        method = subject.build(world)
        galleries = [world.gallery, world.gallery[5:30].clone(), world.gallery[order]]
        for batch, gallery in zip(world.batches, galleries, strict=False):
            method.use_gallery(gallery)
            output = method.step(batch)
            _check_output(output, len(batch), items=len(gallery))
        last.append(output.scores)
    distance = _moved(*last)
    assert distance <= REORDERED_TOLERANCE, (
        f"scores of the third gallery are off by {distance:.3g}: something of the first one is kept"
    )


def _moved(one: Tensor, two: Tensor) -> float:
    return float((one[:, _ORDER] - two).abs().max() / one.abs().max().clamp(min=1))


def check_divergence(subject: Subject) -> None:
    """After a learning rate that makes it diverge, ``reset`` brings everything back.

    Scores that are not finite are allowed here: by them the harness sees it, and the cell fails.
    """
    options = subject.options or subject.method_class.Options()
    if hasattr(options, "lr"):
        options = dataclasses.replace(options, lr=DIVERGING)
    world = World()
    method = Subject(subject.method_class, options).build(world)
    before = _state(world.encoder)
    with contextlib.suppress(MethodError):
        _stream(method, world)
    method.reset()
    changed = _changed(before, _state(world.encoder))
    assert not changed, f"after divergence reset left these changed: {', '.join(changed)}"
    fresh = Subject(subject.method_class, options).build()
    one, two = (_scores_or_error(each, world.batches[0]) for each in (method, fresh))
    same = _same(one, two) if isinstance(one, Tensor) and isinstance(two, Tensor) else one == two
    assert same, "divergence outlives a reset"


def _scores_or_error(method: Method, queries: Tensor) -> Tensor | str:
    try:
        return method.step(queries).scores
    except MethodError as error:
        return str(error)


def check_random_state(subject: Subject) -> None:
    """No global random generator is touched; random draws come from ``setup.generator``."""
    numpy = sys.modules.get("numpy")

    def states() -> dict[str, str]:
        found = {"torch": repr(torch.get_rng_state().tolist()), "random": repr(random.getstate())}
        if numpy is not None:
            kind, keys, *rest = numpy.random.get_state()
            found["numpy"] = repr((kind, keys.tolist(), rest))
        return found

    world = World()
    before = states()
    method = subject.build(world)
    _stream(method, world)
    method.reset()
    after = states()
    touched = [name for name in before if before[name] != after[name]]
    assert not touched, f"the global generator of {', '.join(touched)} was used"


def check_no_labels(subject: Subject) -> None:
    """No labels or ids are reachable: not by a field, not by the order of the gallery."""
    fields = {entry.name for entry in dataclasses.fields(Setup)}
    assert fields == SETUP_FIELDS, f"Setup has other fields than {sorted(SETUP_FIELDS)}"
    parameters = list(inspect.signature(subject.method_class.step).parameters.values())[2:]
    collecting = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    needed = [p.name for p in parameters if p.default is p.empty and p.kind not in collecting]
    assert not needed, f"step asks for more than the queries: {', '.join(needed)}"
    plain, mixed = World(), World()
    assert not subject.build(plain).wants_stream, "wants_stream: online methods see nothing ahead"
    mixed.gallery = plain.gallery[_ORDER].clone()
    runs = [_stream(subject.build(world), world) for world in (plain, mixed)]
    distance = max(_moved(*pair) for pair in zip(*runs, strict=True))
    assert distance <= REORDERED_TOLERANCE, (
        f"reordering the gallery changes scores by {distance:.3g}: the order of the items is used"
    )


CHECKS: dict[str, Callable[[Subject], None]] = {
    "card": check_card,
    "reset": check_reset,
    "same_seed": check_same_seed,
    "gallery_untouched": check_gallery_untouched,
    "declared_parameters": check_declared_parameters,
    "batch_sizes": check_batch_sizes,
    "output": check_output,
    "embed": check_embed,
    "broken_batch": check_broken_batch,
    "identical_queries": check_identical_queries,
    "gallery_of_one": check_gallery_of_one,
    "gallery_change": check_gallery_change,
    "divergence": check_divergence,
    "random_state": check_random_state,
    "no_labels": check_no_labels,
}
"""Every check by name, in the order in which they are reported."""


def run_contract(method_class: type[Method], options: Any = None) -> list[tuple[str, bool, str]]:
    """Runs all checks without pytest.

    Args:
        method_class: the method to check.
        options: an instance of its ``Options``, or None for the defaults.

    Returns:
        (name of the check, whether it holds, what is wrong or what it means) for each check. An
        exception inside the method is a failed check with its type and message.
    """
    subject = Subject(method_class, options)
    results = []
    for name, check in CHECKS.items():
        try:
            check(subject)
        except AssertionError as error:
            results.append((name, False, str(error)))
        except Exception as error:  # a plugin may raise anything; that is a finding, not a crash
            results.append((name, False, f"{type(error).__name__}: {error}"))
        else:
            results.append((name, True, (check.__doc__ or name).splitlines()[0]))
    return results


class MethodContract:
    """Subclass it in a test module as ``class TestMine(MethodContract)`` and set ``method_class``.

    Each test runs the check of its name, see ``CHECKS``.

    Attributes:
        method_class: the method to check.
        options: an instance of its ``Options``, or None for the defaults.
    """

    method_class: ClassVar[type[Method]]
    options: ClassVar[Any] = None


def _as_test(name: str) -> Callable[[MethodContract], None]:
    def test(self: MethodContract) -> None:
        CHECKS[name](Subject(self.method_class, self.options))

    return test


for _name in CHECKS:
    setattr(MethodContract, f"test_{_name}", _as_test(_name))
