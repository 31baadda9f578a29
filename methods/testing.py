"""The contract that every method keeps, for built-ins and for methods from outside.

With pytest, subclass ``MethodContract`` and set one attribute::

    class TestMine(MethodContract):
        method_class = Mine

Without pytest, ``run_contract(Mine)`` runs the same checks. They use a tiny layer-normed encoder
and gallery of their own, on the CPU, in well under a second each.
"""

from __future__ import annotations

import dataclasses
import inspect
import math
import random
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional

from methods.base import Method, MethodCard, QueryEncoder, Setup, StepOutput

INPUT_WIDTH, EMBED_WIDTH, GALLERY_SIZE, BATCH_SIZE = 12, 16, 40, 8
SETUP_FIELDS = {"encoder", "gallery", "logit_scale", "generator"}
REORDERED_TOLERANCE = 1e-3
"""Allowed change of a similarity when the gallery is reordered: summation order, a few updates."""


class _Block(nn.Module):
    """The adaptable part: layer norms, one of them never used, as in a text-only BLIP pass."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.LayerNorm(EMBED_WIDTH)
        self.hidden = nn.Linear(EMBED_WIDTH, EMBED_WIDTH)
        self.second = nn.LayerNorm(EMBED_WIDTH)
        self.unused = nn.LayerNorm(EMBED_WIDTH)

    def forward(self, inputs: Tensor) -> Tensor:
        hidden = functional.gelu(self.hidden(self.first(inputs)))
        return self.second(inputs + hidden)


class TinyEncoder(QueryEncoder):
    """A small query tower with a buffer and with a norm layer outside the adaptable part."""

    offset: Tensor

    def __init__(self, seed: int = 0) -> None:
        super().__init__()
        with torch.random.fork_rng(devices=[]):  # torch's own initialisation draws globally
            self.stem = nn.Linear(INPUT_WIDTH, EMBED_WIDTH)
            self.block = _Block()
            self.head_norm = nn.LayerNorm(EMBED_WIDTH)
            self.head = nn.Linear(EMBED_WIDTH, EMBED_WIDTH, bias=False)
        self.register_buffer("offset", torch.zeros(EMBED_WIDTH))
        generator = torch.Generator().manual_seed(seed)
        with torch.no_grad():
            for layer in (self.stem, self.block.hidden, self.head):
                drawn = torch.randn(layer.weight.shape, generator=generator)
                layer.weight.copy_(drawn * layer.in_features**-0.5)
                if layer.bias is not None:
                    layer.bias.copy_(0.1 * torch.randn(layer.bias.shape, generator=generator))
        self.eval()

    @property
    def adaptable(self) -> nn.Module:
        """The block; the last norm layer stays frozen, as CLIP's final text norm does."""
        return self.block

    def forward(self, inputs: Tensor) -> Tensor:
        """(B, 12) float32 -> (B, 16) unit rows."""
        hidden = self.head(self.head_norm(self.block(self.stem(inputs)))) + self.offset
        return functional.normalize(hidden, dim=1)


class World:
    """A tiny set-up, the same for the same seed: encoder, gallery and a stream of batches."""

    def __init__(self, seed: int = 0) -> None:
        generator = torch.Generator().manual_seed(seed + 1)
        gallery = torch.randn(GALLERY_SIZE, EMBED_WIDTH, generator=generator)
        self.gallery = functional.normalize(gallery, dim=1)
        self.batches = [
            torch.randn(size, INPUT_WIDTH, generator=generator) + 0.5
            for size in (BATCH_SIZE, BATCH_SIZE, BATCH_SIZE, 5, 1)
        ]
        self.encoder = TinyEncoder(seed)

    def setup(self) -> Setup:
        """All that a method may see; the generator is seeded."""
        generator = torch.Generator().manual_seed(7)
        return Setup(self.encoder, self.gallery, logit_scale=50.0, generator=generator)


@dataclass(frozen=True)
class Subject:
    """The method under test: its class, and options or None for its defaults."""

    method_class: type[Method]
    options: Any = None

    def build(self, world: World | None = None) -> Method:
        """A new method on a new (or given) world."""
        return self.method_class((world or World()).setup(), self.options)


def _state(encoder: nn.Module) -> dict[str, Tensor]:
    tensors = dict(encoder.named_parameters()) | dict(encoder.named_buffers())
    return {name: tensor.detach().clone() for name, tensor in tensors.items()}


def _changed(before: dict[str, Tensor], after: dict[str, Tensor]) -> list[str]:
    """Names whose bytes differ; unlike ``torch.equal``, NaN equals NaN and 0 differs from -0."""
    names = [n for n in before if n not in after or before[n].shape != after[n].shape]
    same = [n for n in before if n not in names]
    raw = {
        n: [t[n].contiguous().reshape(-1).view(torch.uint8) for t in (before, after)] for n in same
    }
    return (
        names
        + [n for n, (a, b) in raw.items() if not torch.equal(a, b)]
        + [n for n in after if n not in before]
    )


def _stream(method: Method, world: World) -> list[Tensor]:
    return [method.step(batch).scores.clone() for batch in world.batches]


def check_card(subject: Subject) -> None:
    """The class says what it is: a card, and options as a frozen dataclass with help texts."""
    card = getattr(subject.method_class, "card", None)
    assert isinstance(card, MethodCard), "set the class attribute 'card' to a MethodCard"
    said = all((card.name, card.title, card.summary))
    assert said, "card needs a name, a title and a summary"
    assert card.version >= 1, f"card.version is {card.version}; expected 1 or more"
    kind = subject.method_class.Options
    assert dataclasses.is_dataclass(kind), "Options must be a dataclass"
    assert kind.__dataclass_params__.frozen, "Options must be frozen"  # type: ignore[attr-defined]
    bare = [f.name for f in dataclasses.fields(kind) if not f.metadata.get("help")]
    assert not bare, f"options without a help text in their metadata: {', '.join(bare)}"
    kind()


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
    before = _state(world.encoder)
    method = subject.build(world)
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


def _check_output(output: StepOutput, size: int) -> None:
    for name, tensor, width in (
        ("scores", output.scores, GALLERY_SIZE),
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
    """A batch of NaN leaves the weights finite, and the next good batch is scored as usual."""
    world = World()
    method = subject.build(world)
    method.step(world.batches[0])
    method.step(torch.full((BATCH_SIZE, INPUT_WIDTH), torch.nan))
    for name, tensor in _state(world.encoder).items():
        assert bool(torch.isfinite(tensor).all()), f"{name} is not finite after a batch of NaN"
    _check_output(method.step(world.batches[1]), BATCH_SIZE)


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
    order = torch.randperm(GALLERY_SIZE, generator=torch.Generator().manual_seed(3))
    mixed.gallery = plain.gallery[order].clone()
    one = subject.build(plain).step(plain.batches[0]).scores[:, order]
    two = subject.build(mixed).step(mixed.batches[0]).scores
    distance = float((one - two).abs().max())
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

    def _check(self, name: str) -> None:
        CHECKS[name](Subject(self.method_class, self.options))

    def test_card(self) -> None:
        self._check("card")

    def test_reset(self) -> None:
        self._check("reset")

    def test_same_seed(self) -> None:
        self._check("same_seed")

    def test_gallery_untouched(self) -> None:
        self._check("gallery_untouched")

    def test_declared_parameters(self) -> None:
        self._check("declared_parameters")

    def test_batch_sizes(self) -> None:
        self._check("batch_sizes")

    def test_output(self) -> None:
        self._check("output")

    def test_embed(self) -> None:
        self._check("embed")

    def test_broken_batch(self) -> None:
        self._check("broken_batch")

    def test_random_state(self) -> None:
        self._check("random_state")

    def test_no_labels(self) -> None:
        self._check("no_labels")
