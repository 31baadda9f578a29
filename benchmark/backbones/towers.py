"""Towers of open_clip and of transformers as query encoders, and which norm layers of one adapt."""

from __future__ import annotations

import copy
from collections import Counter
from collections.abc import Callable, Mapping
from math import prod
from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from benchmark.backbones.base import Staged, TwoTowers
from benchmark.errors import WeightsError, reason_of
from methods.base import QueryEncoder
from methods.parameters import NORM_TYPES, is_norm

Tokenizer = Callable[[list[str]], Tensor]

_NEAR = 1e-4  # of unit rows: what rounding moves when padding is cut

Prepare = Staged | Callable[[Any], Mapping[str, Tensor]]
"""Raw item -> a model's inputs; ``Staged`` where there is but one."""

ADAPTS = "adapts"
OUTSIDE = "no: outside the adaptable part"
PLAIN = "no: it has no parameters"


class ImageTower(QueryEncoder):
    """The visual tower; ``forward`` takes (B, 3, S, S) float32 images.

    All of it is adaptable: in a ViT the pre- and post-norm as well as the blocks' norms (39,936
    scalars of LayerNorm in a ViT-B/16), as TCR does.
    """

    def __init__(self, visual: nn.Module) -> None:
        super().__init__()
        self.visual = visual

    def forward(self, images: Tensor) -> Tensor:
        return F.normalize(_pooled(self.visual(images)).float(), dim=-1)


class TextTower(QueryEncoder):
    """A native CLIP text tower; ``forward`` takes (B, L) int64 tokens, L up to the context.

    The parts are held here instead of in open_clip's own class, so that the tower owns nothing of
    the visual side and takes batches shorter than the context, which open_clip's forward does not.
    Only the transformer blocks are adaptable: TCR leaves the final LayerNorm alone (24,576 scalars
    in a ViT-B/16).

    Attributes:
        trims: whether a batch may be cut after its last end token without changing embeddings:
            true for a causal transformer that is read out at the end token.
    """

    def __init__(self, parts: Any, pool_type: str, eos_id: int) -> None:
        super().__init__()
        self.token_embedding: nn.Embedding = parts.token_embedding
        self.positional_embedding: nn.Parameter = parts.positional_embedding
        self.transformer: nn.Module = parts.transformer
        self.ln_final: nn.Module = parts.ln_final
        self.text_projection: nn.Linear | nn.Parameter | None = parts.text_projection
        self.register_buffer("attn_mask", parts.attn_mask, persistent=False)
        self.pool_type = pool_type
        self.eos_id = eos_id
        self.trims = parts.attn_mask is not None and pool_type in ("argmax", "eos")

    @property
    def adaptable(self) -> nn.Module:
        return self.transformer

    def states(self, tokens: Tensor) -> Tensor:
        """(B, L, W) token states after the final norm."""
        length = tokens.shape[1]
        mask = cast("Tensor | None", self.attn_mask)
        x = self.token_embedding(tokens) + self.positional_embedding[:length]
        x = self.transformer(x, attn_mask=None if mask is None else mask[:length, :length])
        states: Tensor = self.ln_final(x)
        return states

    def forward(self, tokens: Tensor) -> Tensor:
        x = self.states(tokens)
        if self.pool_type == "argmax":  # of the shipped models too, which do without open_clip
            x = x[torch.arange(len(x), device=x.device), tokens.argmax(dim=-1)]
        else:
            from open_clip.transformer import text_global_pool

            x = text_global_pool(x, tokens, self.pool_type, eos_token_id=self.eos_id)
        if isinstance(self.text_projection, nn.Linear):
            x = self.text_projection(x)
        elif self.text_projection is not None:
            x = x @ self.text_projection
        return F.normalize(x.float(), dim=-1)

    def trimmed(self, tokens: Tensor) -> Tensor:
        """Cuts (B, L) tokens after the last end token of the batch, where that is exact.

        A causal transformer's output at the end token does not depend on what follows, so the
        padding after it costs time and nothing else.
        """
        if not self.trims or not len(tokens):
            return tokens
        marks = tokens if self.pool_type == "argmax" else (tokens == self.eos_id).int()
        return tokens[:, : int(marks.argmax(dim=-1).max()) + 1]


class ForeignTextTower(QueryEncoder):
    """A text tower of another library (Hugging Face) or one with a class token: used whole."""

    def __init__(self, text: nn.Module) -> None:
        super().__init__()
        self.text = text

    @property
    def adaptable(self) -> nn.Module:
        return cast(nn.Module, getattr(self.text, "transformer", self.text))

    def forward(self, tokens: Tensor) -> Tensor:
        return F.normalize(_pooled(self.text(tokens)).float(), dim=-1)

    def trimmed(self, tokens: Tensor) -> Tensor:
        return tokens


def _pooled(found: Any) -> Tensor:
    """The embedding of a tower that gives its tokens beside it (CoCa)."""
    rows: Tensor = found[0] if isinstance(found, tuple) else found
    return rows


def image_tower(model: nn.Module) -> ImageTower:
    """The visual tower of an open_clip ``CLIP`` or ``CustomTextCLIP``, sharing its parameters."""
    return ImageTower(cast(nn.Module, model.visual))


def text_tower(model: Any) -> TextTower | ForeignTextTower:
    """The text tower of an open_clip ``CLIP`` or ``CustomTextCLIP``, sharing its parameters."""
    text = getattr(model, "text", None)
    if text is None:  # class CLIP keeps the parts of its text tower at the top
        return TextTower(model, model.text_pool_type, model.text_eos_id)
    from open_clip.transformer import TextTransformer

    plain = isinstance(text, TextTransformer) and text.cls_emb is None and not text.use_pad_mask
    return TextTower(text, text.pool_type, text.eos_id) if plain else ForeignTextTower(text)


class OpenClipBackbone(TwoTowers):
    """A ``DualEncoder`` over an open_clip ``CLIP`` or ``CustomTextCLIP``, in float32 and eval mode.

    Args:
        model: the model, weights loaded; frozen and owned from now on.
        tokenizer: list of texts -> (B, context) int64 tokens.
        transform: (H, W, 3) uint8 array -> (3, S, S) float32 tensor.
        facts: name, fingerprint, device and taken of ``TwoTowers``.
    """

    def __init__(
        self,
        model: nn.Module,
        tokenizer: Tokenizer,
        transform: Callable[[Any], Tensor],
        **facts: str,
    ) -> None:
        model = model.float()
        super().__init__(
            {"image": image_tower(model), "text": text_tower(model)},
            {"image": transform, "text": lambda text: tokenizer([text])[0]},
            logit_scale=float(model.logit_scale.detach().exp()),  # type: ignore[operator]
            **facts,
        )


class PackedTower(QueryEncoder):
    """Pictures or sounds through one of a model's functions; all of its part is adaptable.

    ``forward`` takes batches of what ``prepared`` gives: several inputs of an item travel as one
    float32 row.

    Args:
        model: the part that the function needs.
        function: the name of ``get_..._features``.
        example: inputs of a batch of one.
    """

    def __init__(self, model: nn.Module, function: str, example: Mapping[str, Tensor]) -> None:
        super().__init__()
        self.model, self.function = model, function
        self.shapes = {name: (value.shape[1:], value.dtype) for name, value in example.items()}

    def prepared(self, prepare: Prepare) -> Callable[[Any], Tensor]:
        """Raw item -> one tensor: the only input, or all of them in one row."""
        if isinstance(prepare, Staged):
            return prepare

        def packed(item: Any) -> Tensor:
            found = prepare(item)
            if len(self.shapes) == 1:
                return found[next(iter(self.shapes))]
            return torch.cat([found[name].reshape(-1).to(torch.float32) for name in self.shapes])

        return packed

    def forward(self, batch: Tensor) -> Tensor:
        if len(self.shapes) == 1:
            return features(self.model, self.function, {name: batch for name in self.shapes})
        found, start = {}, 0
        for name, (shape, dtype) in self.shapes.items():
            part = batch[:, start : start + prod(shape)].reshape(len(batch), *shape)
            found[name] = part if dtype == torch.float32 else part.round().to(dtype)
            start += prod(shape)
        return features(self.model, self.function, found)


class TextFeatures(QueryEncoder):
    """Texts through ``get_text_features``; ``forward`` takes (B, k, L) int64, k inputs of L tokens.

    A batch is cut after its longest text where that leaves embeddings as they are, which is tried
    out on one text. The norm that follows the last block is not adaptable, as in ``TextTower``.
    """

    def __init__(self, model: nn.Module, example: Mapping[str, Tensor]) -> None:
        super().__init__()
        self.model, self.names = model, tuple(example)
        self.trims = "attention_mask" in self.names and self._may_trim(example)

    @property
    def adaptable(self) -> nn.Module:
        text = getattr(self.model, "text_model", None)
        last = hasattr(text, "final_layer_norm") or hasattr(text, "rms_norm")  # CLIP's form
        return cast(nn.Module, text.encoder if last else self.model)  # type: ignore[union-attr]

    def forward(self, tokens: Tensor) -> Tensor:
        rows = {name: tokens[:, place] for place, name in enumerate(self.names)}
        return features(self.model, "get_text_features", rows)

    def trimmed(self, tokens: Tensor) -> Tensor:
        """Cuts (B, k, L) tokens after the longest text of the batch, where that is exact."""
        if not self.trims or not len(tokens):
            return tokens
        mask = tokens[:, self.names.index("attention_mask")]
        return tokens[:, :, : int(mask.sum(dim=1).max())]

    @torch.no_grad()
    def _may_trim(self, example: Mapping[str, Tensor]) -> bool:
        tokens = torch.stack(list(example.values()), dim=1)
        kept = example["attention_mask"][0] == 1
        moves = (self(tokens) - self(tokens[:, :, kept])).abs().max() >= _NEAR
        left = not kept[0]
        if left and moves:
            raise WeightsError(
                "the tokenizer pads on the left, and there padding changes what the text tower "
                'makes of a text; write "padding_side": "right" into tokenizer_config.json'
            )
        return not (left or moves)


def features(model: Any, function: str, inputs: Mapping[str, Tensor]) -> Tensor:
    """(B, D) float32 unit rows of one of a model's ``get_..._features``.

    Raises:
        WeightsError: it gives something else than one row for each input.
    """
    try:
        found = getattr(model, function)(**inputs)
    except AttributeError as error:  # a tower without the pooler that the function reads
        raise WeightsError(f"{function} of a {type(model).__name__} fails: {error}") from None
    rows = found if isinstance(found, Tensor) else found.pooler_output
    if not isinstance(rows, Tensor) or rows.ndim != 2:
        shape = tuple(rows.shape) if isinstance(rows, Tensor) else type(rows).__name__
        raise WeightsError(
            f"{function} of a {type(model).__name__} gives {shape}; expected one row for each input"
        )
    return F.normalize(rows.float(), dim=-1)


def own_part(model: nn.Module, function: str, example: Mapping[str, Tensor]) -> nn.Module:
    """A copy of a model with nothing but what one of its functions uses.

    What is used is found by running it: modules that are called, parameters that get a gradient.

    Args:
        model: the whole model; left as it is.
        function: the name of ``get_..._features``.
        example: inputs of a batch of one.

    Raises:
        WeightsError: it cannot read them.
    """
    fresh = copy.deepcopy(model).eval()
    called: set[nn.Module] = set()
    handles = [
        module.register_forward_pre_hook(lambda module, _: called.add(module))
        for module in fresh.modules()
    ]
    parameters = dict(fresh.named_parameters())
    for parameter in parameters.values():
        parameter.requires_grad_(True)
    with torch.enable_grad():
        try:
            total = features(fresh, function, example).sum()
        except (ValueError, RuntimeError) as error:  # the model's own, of sizes above all
            raise WeightsError(
                f"{function} of a {type(model).__name__} cannot read what the processor beside it "
                f"makes ({reason_of(error)}); save both from one model"
            ) from None
        found = torch.autograd.grad(total, list(parameters.values()), allow_unused=True)
    for handle in handles:
        handle.remove()
    used = {id(p) for p, g in zip(parameters.values(), found, strict=True) if g is not None}
    for name, parameter in list(fresh.named_parameters(recurse=False)):
        if id(parameter) not in used:  # the logit scale
            setattr(fresh, name, None)
    _prune(fresh, called, used)
    return fresh


def _prune(module: nn.Module, called: set[nn.Module], used: set[int]) -> None:
    for name, child in list(module.named_children()):
        if called.isdisjoint(child.modules()) and not any(
            id(parameter) in used for parameter in child.parameters()
        ):
            if any(True for _ in child.parameters()):
                setattr(module, name, nn.Identity())
        else:
            _prune(child, called, used)


def norm_layers(tower: QueryEncoder) -> list[tuple[str, str, int, int]]:
    """The normalisation layers of a tower under ``adapt=norm``, by class.

    Returns:
        Name of the class, ``ADAPTS`` or why they are left out, layers, numbers in their parameters.
    """
    inside = {id(parameter) for parameter in tower.adaptable.parameters()}
    layers: Counter[tuple[str, str]] = Counter()
    scalars: Counter[tuple[str, str]] = Counter()
    for layer in tower.modules():
        if not is_norm(layer) and not _bare(layer):
            continue
        own = list(layer.parameters(recurse=False))
        fate = PLAIN if not own else ADAPTS if id(own[0]) in inside else OUTSIDE
        key = type(layer).__name__, fate
        layers[key] += 1
        scalars[key] += sum(parameter.numel() for parameter in own)
    return [(*key, count, scalars[key]) for key, count in layers.items()]


def _bare(layer: nn.Module) -> bool:
    """Whether it normalises without parameters (frozen BatchNorm keeps its own as buffers)."""
    named = type(layer).__name__.lower().endswith(("norm", "norm1d", "norm2d"))
    return isinstance(layer, NORM_TYPES) or (named and not any(True for _ in layer.parameters()))
