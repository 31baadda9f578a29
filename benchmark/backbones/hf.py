"""Any dual encoder of transformers: a saved folder, or a name in the local cache of the hub.

A model serves if it has ``get_text_features`` beside ``get_image_features`` (CLIP, SigLIP, AltCLIP,
MetaCLIP, ChineseCLIP, ALIGN ...) or ``get_audio_features`` (CLAP). Nothing is fetched, and no code
that comes with a model is run.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

from benchmark.backbones import checkpoint
from benchmark.backbones.audio import at_rate, checked_audio
from benchmark.backbones.base import TwoTowers, image_transform
from benchmark.backbones.places import HF_ID, fetched, refuse_code, refuse_pointers, stable
from benchmark.backbones.towers import PackedTower, Prepare, TextFeatures, own_part
from benchmark.backbones.weight_file import read_folder
from benchmark.cell import BackboneSpec
from benchmark.config.files import user_path
from benchmark.errors import ConfigError, WeightsError, amount, import_extra, reason_of, shown
from shifts.base import Audio

CONFIG_FILE = "config.json"
ADAPTER_FILE = "adapter_config.json"
WEIGHT_FILES = ("model.safetensors", "pytorch_model.bin")
_IN_A_LAYER = re.compile(r"^(text|vision|audio)_model\..*\.\d+\..*(weight|bias)|\.lora_\w+\.")
"""Names of weights that are part of a tower's numbered layers, or of an adapter anywhere."""
LONGEST_TEXT = 256
"""Tokens of a text at most, where a model would take more."""

_SIDES = {"image": "get_image_features", "audio": "get_audio_features"}
_UNMASKED = ("siglip", "siglip2")
"""Trained on padded texts without a mask, and read out at the last place."""

_OFFSET_POSITIONS = ("roberta", "xlm-roberta", "altclip_text_model", "clap_text_model", "camembert")
"""Text models whose positions begin after the padding token's number."""

_MAY_NAME_CODE = (
    *(CONFIG_FILE, "tokenizer_config.json"),
    *("preprocessor_config.json", "processor_config.json"),
)

_TOKENIZER_FILES = ("tokenizer.json", "vocab.*", "*.model", "spiece.*", "tekken.json")


def load(spec: BackboneSpec) -> TwoTowers:
    """Loads what a specification names.

    ``model`` is a folder written by ``save_pretrained``, processor included, or a name on the hub
    whose files are in the local cache; ``pretrained`` may be the folder instead.

    Raises:
        WeightsError: transformers or files are missing, it is no dual encoder, or weights that do
            not fill it.
        ConfigError: nothing named, or an unknown transform.
    """
    folder = _folder(spec.pretrained or spec.model)
    refuse_pointers(folder)
    for name in _MAY_NAME_CODE:
        refuse_code(folder / name)
    what = "models of the form hf: need transformers"
    library = import_extra("transformers", "hf", what, WeightsError)
    library.utils.logging.disable_progress_bar()
    library.utils.logging.set_verbosity_error()  # its tables of missing keys: said in one line here
    model, config = _read(library, folder)
    media = next(name for name, way in _SIDES.items() if hasattr(model, way))
    item, prepare, own = (
        _image_inputs(library, folder, model, spec.transform)
        if media == "image"
        else _audio_inputs(library, folder, spec.transform)
    )
    tokenizer, names, length, text = _text_inputs(library, folder, model, config)
    example = dict(zip(names, text("a plain grey wall")[:, None], strict=True))
    item = {name: value[None] for name, value in item.items()}
    half = own_part(model, _SIDES[media], item)
    packed = PackedTower(half, _SIDES[media], item)
    words = TextFeatures(own_part(model, "get_text_features", example), example)
    towers = {media: packed, "text": words}
    scale = _logit_scale(model)
    facts = {
        "loader": "hf",
        "config": stable(config.to_dict()),
        media: own,
        "context": length,
        "transform": spec.transform,
        "logit_scale": f"{scale:.6g}",  # in neither tower, and methods compute with it
    }
    if words.adaptable is not words.model:
        facts["adaptable"] = "the text's blocks"
    return TwoTowers(
        towers,
        {media: packed.prepared(prepare), "text": text},
        name=Path(spec.model or folder).name,
        fingerprint=checkpoint.fingerprint(
            facts, nn.ModuleDict(towers), [checkpoint.tokenizer_content(tokenizer)]
        ),
        logit_scale=scale,
        device=spec.device,
    )


def _read(library: Any, folder: Path) -> tuple[Any, Any]:
    known = {"local_files_only": True, "trust_remote_code": False}
    try:
        config = library.AutoConfig.from_pretrained(str(folder), **known)
    except Exception as error:  # transformers' own, of every kind
        raise WeightsError(
            f"{folder / CONFIG_FILE} is no configuration of a model that transformers knows "
            f"({reason_of(error)}); code that comes with a model is never run"
        ) from None
    kind = library.MODEL_MAPPING.get(type(config), type(None))
    if not hasattr(kind, "get_text_features") or not any(hasattr(kind, s) for s in _SIDES.values()):
        raise WeightsError(
            f"{folder} holds a {getattr(kind, '__name__', config.model_type)}, which is no dual "
            "encoder: it has no get_text_features beside get_image_features or get_audio_features"
        )
    state = read_folder(folder, WEIGHT_FILES)
    fractions = checkpoint.FRACTIONS
    whole = [key for key in state if key.endswith("weight") and state[key].dtype not in fractions]
    if whole or getattr(config, "quantization_config", None):
        such = f"such as {whole[0]!r}" if whole else f"'quantization_config' in {CONFIG_FILE}"
        raise WeightsError(
            f"the weights in {folder} are quantised ({such}), and by what they were divided is not "
            "read; give the model as it was before"
        )
    with torch.random.fork_rng(devices=[]):
        try:
            model, found = kind.from_pretrained(
                None,
                config=config,
                state_dict=state,
                dtype=torch.float32,
                output_loading_info=True,
                ignore_mismatched_sizes=True,  # which it lists, and which are refused below
            )
        except Exception as error:  # transformers' own, of every kind
            raise WeightsError(
                f"the weights in {folder} cannot be loaded ({reason_of(error)}); expected them as "
                "save_pretrained writes them"
            ) from None
    for fault in list(found["mismatched_keys"]):  # a scalar in some releases, one element in others
        value = state.get(fault[0], torch.empty(0))  # transformers renames some
        if value.numel() == 1 == model.get_parameter(fault[0]).numel():
            nn.init.constant_(model.get_parameter(fault[0]), float(value))
            found["mismatched_keys"].remove(fault)
    lacking = sorted(found["missing_keys"]) + [str(k[0]) for k in found["mismatched_keys"]]
    unknown = sorted(found["unexpected_keys"])
    if lacking:
        has = f"; the file has {unknown[0]!r}" if unknown else ""
        raise WeightsError(
            f"the weights in {folder} do not fill its {type(model).__name__}: "
            f"{amount(len(lacking), 'entry')} missing or of another shape (such as "
            f"{lacking[0]!r}{has}), and nothing is left at random; save the whole model again"
        )
    # Heads of other tasks, poolers and buffers may be left out; within a layer it changes the rows.
    inside = [key for key in unknown if _IN_A_LAYER.search(key)]
    if inside:
        raise WeightsError(
            f"the weights in {folder} hold {amount(len(inside), 'entry')} that its "
            f"{type(model).__name__} has no place for (such as {inside[0]!r}): adapters that "
            f"are not merged, or a {CONFIG_FILE} of another size; save the whole model again"
        )
    return model.eval(), config


def _folder(source: str) -> Path:
    if not source:
        raise ConfigError(
            "hf needs a model: --model hf:/path/to/folder, or hf:NAME of a model that is in the "
            "local cache (hf:openai/clip-vit-base-patch32)"
        )
    folder = user_path(source)
    if folder.is_file():
        raise WeightsError(
            f"{folder} is a file; expected the folder that it lies in: --model hf:{folder.parent}"
        )
    if folder.is_dir():
        if (folder / ADAPTER_FILE).is_file():
            raise WeightsError(
                f"{folder} holds an adapter ({ADAPTER_FILE}), which is not applied here; merge it: "
                "model.merge_and_unload().save_pretrained(folder)"
            )
        if not (folder / CONFIG_FILE).is_file():
            raise WeightsError(
                f"{folder} has no {CONFIG_FILE}; expected a folder of save_pretrained"
            )
        return folder
    if not HF_ID.fullmatch(source):
        raise WeightsError(f"there is no model folder {source!r}; expected one with {CONFIG_FILE}")
    return fetched(source, local=True, setting="--model hf:")


def _image_inputs(
    library: Any, folder: Path, model: Any, transform: str
) -> tuple[dict[str, Tensor], Prepare, dict[str, Any]]:
    """Inputs of a picture, how one becomes such, and the fingerprint's facts of it."""
    processor = _loaded(library.AutoImageProcessor, folder, "preprocessor_config.json")
    accepted = inspect.signature(model.get_image_features).parameters

    def own(item: Any) -> dict[str, Tensor]:
        found = processor(images=Image.fromarray(item), return_tensors="pt")
        return {name: value[0] for name, value in found.items() if name in accepted}

    facts = {"processor": stable(processor.to_dict()), "kind": type(processor).__name__}
    plain = np.full((64, 96, 3), (90, 127, 180), np.uint8)
    example = own(plain)
    if transform == "clip":
        return example, own, facts
    lone = ConfigError(
        f"the model in {folder} has one image transform, its own ('clip'), not {transform!r}"
    )
    if set(example) != {"pixel_values"}:
        raise lone
    size = tuple(example["pixel_values"].shape[-2:])
    mean, std = processor.image_mean or (0.0,), processor.image_std or (1.0,)
    staged = image_transform(transform, {"size": size, "mean": tuple(mean), "std": tuple(std)})
    # Of one colour the transform must make what the processor does, which may scale otherwise.
    if not torch.allclose(staged(plain), example["pixel_values"], atol=1e-3):
        raise lone
    return example, staged, facts


def _audio_inputs(
    library: Any, folder: Path, transform: str
) -> tuple[dict[str, Tensor], Prepare, dict[str, Any]]:
    """As ``_image_inputs``: sounds are resampled and cut, so that the extractor draws nothing."""
    extractor = _loaded(library.AutoFeatureExtractor, folder, "preprocessor_config.json")
    rate = int(extractor.sampling_rate)
    longest = int(getattr(extractor, "nb_max_samples", rate * 10))
    if transform not in ("clip", "resize"):
        raise ConfigError(f"the model in {folder} takes sounds; it has no transform {transform!r}")

    def own(item: Any) -> dict[str, Tensor]:
        samples = at_rate(checked_audio(item), rate)[:longest].numpy()
        found = extractor(samples, sampling_rate=rate, return_tensors="pt")
        return {name: value[0].float() for name, value in found.items()}

    silence = Audio(np.zeros(rate, np.float32), rate)
    return own(silence), own, {"extractor": stable(extractor.to_dict())}


def _text_inputs(
    library: Any, folder: Path, model: Any, whole: Any
) -> tuple[Any, list[str], int | str, Callable[[str], Tensor]]:
    """The tokenizer; the model's inputs of texts; tokens; text -> (k, L) int64, a row for each."""
    tokenizer = _tokenizer(library, folder)
    accepted = inspect.signature(model.get_text_features).parameters
    names = [name for name in tokenizer.model_input_names if name in accepted]
    if whole.model_type in _UNMASKED:
        names = ["input_ids"]
    config = getattr(whole, "text_config", whole)
    room = int(getattr(config, "max_position_embeddings", LONGEST_TEXT))
    if config.model_type in _OFFSET_POSITIONS:
        room -= int(config.pad_token_id or 0) + 1
    length = min(room, int(tokenizer.model_max_length), LONGEST_TEXT)
    entries, known = len(tokenizer), int(config.vocab_size)
    if entries > known:
        raise WeightsError(
            f"the tokenizer of {folder} has {entries} entries, its text tower {known}; it must be "
            "the one that belongs to the model"
        )
    if tokenizer.pad_token_id is None:
        raise WeightsError(f"the tokenizer of {folder} has no padding token; texts need one")

    def prepare(text: str) -> Tensor:
        try:
            found = tokenizer(text, padding="max_length", truncation=True, max_length=length)
        except Exception as error:  # the library's own are plain ones
            raise WeightsError(
                f"the tokenizer of {folder} cannot read {shown(text)} ({reason_of(error)}); save "
                "it again, with its tokenizer_config.json: processor.save_pretrained(folder)"
            ) from None
        return torch.tensor([found[name] for name in names], dtype=torch.int64)

    # SigLIP 2 is SigLIP with Gemma's tokenizer, which keeps capitals; it was trained without them.
    if whole.model_type == "siglip" and "Gemma" in type(tokenizer).__name__:
        return tokenizer, names, f"{length}, lower case", lambda text: prepare(text.lower())
    return tokenizer, names, length, prepare


def _tokenizer(library: Any, folder: Path) -> Any:
    """Its files must be there: without them transformers makes one that knows no word."""
    if not any(next(folder.glob(pattern), None) for pattern in _TOKENIZER_FILES):
        raise WeightsError(
            f"{folder} has no tokenizer; expected tokenizer.json (or a vocabulary) beside the "
            "weights: processor.save_pretrained(folder)"
        )
    return _loaded(library.AutoTokenizer, folder, "tokenizer.json")


def _loaded(kind: Any, folder: Path, file: str) -> Any:
    """A processor's part.

    Raises:
        WeightsError: it is not there; names what is missing.
    """
    try:
        return kind.from_pretrained(str(folder), local_files_only=True, trust_remote_code=False)
    except Exception as error:  # transformers' own, of every kind
        there = (folder / file).is_file() or not isinstance(error, OSError)
        reason = f"; {reason_of(error)}" if there else ""
        raise WeightsError(
            f"{folder} lacks its {kind.__name__.removeprefix('Auto')} ({file} or processor_config."
            f"json{reason}); save it beside the model: processor.save_pretrained(folder)"
        ) from None


def _logit_scale(model: Any) -> float:
    """What cosine similarities are multiplied with: learnt, or of the model's configuration."""
    for name in ("logit_scale", "logit_scale_t", "temperature"):
        if isinstance(value := getattr(model, name, None), Tensor):
            value = value.detach()
            return 1.0 / float(value) if name == "temperature" else float(value.exp())
    given = getattr(model.config, "logit_scale_init_value", None)
    if given is None:
        raise WeightsError(f"a {type(model).__name__} has no logit scale and no temperature")
    return float(torch.tensor(float(given)).exp())
