from __future__ import annotations

import copy
import gzip
import json
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import open_clip
import pytest
import torch
from open_clip.tokenizer import default_bpe
from PIL import Image
from safetensors.torch import save_file
from torch import nn

from benchmark.backbones.open_clip import OpenClipBackbone, build_model, load, load_local_dir
from benchmark.backbones.towers import image_tower, layer_norm_scalars, text_tower
from benchmark.backbones.transforms import image_transform
from benchmark.cell import BackboneSpec
from benchmark.data.loading import load_retrieval_set
from benchmark.data.suite import benchmark_card
from benchmark.errors import ConfigError, UnknownNameError, WeightsError
from methods.base import QueryEncoder
from tests.benchmark.fixtures_karpathy import make_flickr

MERGES = 300
VOCABULARY = 512 + MERGES + 2
CONFIG: dict[str, Any] = {
    "embed_dim": 16,
    "vision_cfg": {
        "image_size": 32,
        "layers": 2,
        "width": 32,
        "head_width": 16,
        "patch_size": 8,
    },
    "text_cfg": {
        "context_length": 20,
        "vocab_size": VOCABULARY,
        "width": 24,
        "heads": 2,
        "layers": 2,
    },
}
TEXTS = ["a dog", "two dogs, a kite", "", "cup"]


def write_weights(model: nn.Module, path: Path) -> None:
    state = {key: value.contiguous().clone() for key, value in model.state_dict().items()}
    save_file(state, path)


def random_model(config: dict[str, Any], seed: int = 0) -> nn.Module:
    """A model whose weights are all random, norms and biases too, so that nothing is neutral."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = build_model(config, "toy")
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.1 * torch.randn(parameter.shape, generator=generator))
    return model


def write_folder(folder: Path, config: dict[str, Any], seed: int = 0, **extra: Any) -> Path:
    """A local model folder as the package ships one: configuration, weights, small vocabulary."""
    folder.mkdir(parents=True)
    (folder / "open_clip_config.json").write_text(json.dumps({"model_cfg": config, **extra}))
    write_weights(random_model(config, seed), folder / "open_clip_model.safetensors")
    with gzip.open(default_bpe(), "rt", encoding="utf-8") as stream:
        lines = [next(stream).rstrip("\n") for _ in range(MERGES + 1)]
    with gzip.open(folder / "bpe_simple_vocab.txt.gz", "wt", encoding="utf-8") as out:
        out.write("\n".join(lines))
    return folder


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_folder(tmp_path_factory.mktemp("models") / "toy", CONFIG)


@pytest.fixture(scope="module")
def backbone(folder: Path) -> OpenClipBackbone:
    return load_local_dir(folder)


@pytest.fixture
def named_model(tmp_path: Path) -> Iterator[str]:
    """A tiny architecture under a name, as open_clip's own models are."""
    config = copy.deepcopy(CONFIG)
    config["text_cfg"]["vocab_size"] = 49408
    file = tmp_path / "configs" / "toy-clip.json"
    file.parent.mkdir()
    file.write_text(json.dumps(config))
    open_clip.add_model_config(file)
    yield "toy-clip"
    open_clip.factory._MODEL_CONFIG_PATHS.remove(file)
    open_clip.factory._MODEL_CONFIGS.pop("toy-clip")


def images(count: int = 3) -> list[np.ndarray]:
    rng = np.random.default_rng(0)
    return [rng.integers(0, 256, (30 + 7 * i, 50, 3), dtype=np.uint8) for i in range(count)]


def inputs(backbone: OpenClipBackbone, modality: str) -> torch.Tensor:
    raw = images() if modality == "image" else TEXTS
    prepare = backbone.preprocess(modality)
    return backbone.collate(modality, [prepare(item) for item in raw])


# Towers


@pytest.mark.parametrize("modality", ["image", "text"])
def test_embeddings_equal_open_clips_own(
    folder: Path, backbone: OpenClipBackbone, modality: str
) -> None:
    own = random_model(CONFIG).eval()
    batch = inputs(backbone, modality)
    rows = backbone.encode(modality, batch)
    with torch.no_grad():
        if modality == "image":
            expected = own.encode_image(batch, normalize=True)  # type: ignore[operator]
        else:
            padded = nn.functional.pad(batch, (0, 20 - batch.shape[1]))
            expected = own.encode_text(padded, normalize=True)  # type: ignore[operator]
    assert rows.dtype == torch.float32
    assert not rows.requires_grad
    torch.testing.assert_close(rows, expected, atol=1e-6, rtol=0)
    torch.testing.assert_close(rows.norm(dim=1), torch.ones(len(rows)))
    assert backbone.logit_scale == pytest.approx(own.logit_scale.exp().item())  # type: ignore[operator]


def test_query_encoder_is_a_copy_of_one_tower(backbone: OpenClipBackbone) -> None:
    for modality in ("image", "text"):
        batch = inputs(backbone, modality)
        before = backbone.encode(modality, batch)
        encoder = backbone.query_encoder(modality)
        assert isinstance(encoder, QueryEncoder)
        assert not encoder.training
        # torch attends by another kernel when gradients are on: equal up to rounding
        torch.testing.assert_close(encoder(batch).detach(), before, atol=1e-6, rtol=0)
        encoder(batch).sum().backward()
        assert all(p.grad is not None for p in encoder.parameters())
        with torch.no_grad():
            for parameter in encoder.parameters():
                parameter.add_(1.0)
        torch.testing.assert_close(backbone.encode(modality, batch), before, atol=0, rtol=0)
        with torch.no_grad():
            fresh = backbone.query_encoder(modality)(batch)
        torch.testing.assert_close(fresh, before, atol=1e-6, rtol=0)


def test_towers_hold_their_own_parameters_only(backbone: OpenClipBackbone) -> None:
    model = random_model(CONFIG)
    visual = sum(p.numel() for p in model.visual.parameters())  # type: ignore[union-attr]
    everything = sum(p.numel() for p in model.parameters())
    image, text = (backbone.query_encoder(side) for side in ("image", "text"))
    assert sum(p.numel() for p in image.parameters()) == visual
    assert sum(p.numel() for p in text.parameters()) == everything - visual - 1  # logit scale


def test_layer_norm_counts_of_vit_b16_are_those_of_tcr() -> None:
    with torch.device("meta"):
        model = open_clip.CLIP(**open_clip.get_model_config("ViT-B-16-quickgelu"))
    assert layer_norm_scalars(image_tower(model).adaptable) == 39_936
    assert layer_norm_scalars(text_tower(model).adaptable) == 24_576


def test_custom_text_class_gives_the_same_embeddings(tmp_path: Path, folder: Path) -> None:
    config = {**CONFIG, "custom_text": True}
    write_folder(tmp_path / "custom", config)
    plain = (folder / "open_clip_model.safetensors").read_bytes()
    (tmp_path / "custom" / "open_clip_model.safetensors").write_bytes(plain)
    custom, standard = load_local_dir(tmp_path / "custom"), load_local_dir(folder)
    for modality in ("image", "text"):
        batch = inputs(standard, modality)
        torch.testing.assert_close(
            custom.encode(modality, batch), standard.encode(modality, batch), atol=1e-6, rtol=0
        )
    assert custom.query_encoder("text").adaptable is not custom.query_encoder("text")


def test_unknown_modality(backbone: OpenClipBackbone) -> None:
    with pytest.raises(ConfigError, match="not 'audio'"):
        backbone.query_encoder("audio")


# Text


def test_trimming_is_exact_and_real(backbone: OpenClipBackbone) -> None:
    prepare = backbone.preprocess("text")
    full = torch.stack([prepare(text) for text in TEXTS])
    short = backbone.collate("text", list(full))
    assert full.shape[1] == 20
    assert short.shape[1] < 20
    ends = full.argmax(dim=1)
    assert short.shape[1] == int(ends.max()) + 1
    torch.testing.assert_close(
        backbone.encode("text", short), backbone.encode("text", full), atol=1e-6, rtol=0
    )


def test_long_text_is_cut_to_the_context_and_keeps_its_end(backbone: OpenClipBackbone) -> None:
    tokens = backbone.preprocess("text")("kite " * 100)
    assert tokens.shape == (20,)
    assert tokens[-1] == VOCABULARY - 1


@pytest.mark.parametrize("change", [{"no_causal_mask": True}, {"pool_type": "last"}])
def test_no_trimming_where_it_would_change_embeddings(
    tmp_path: Path, change: dict[str, Any]
) -> None:
    config = copy.deepcopy(CONFIG) | {"custom_text": True}
    config["text_cfg"] |= change
    bare = load_local_dir(write_folder(tmp_path / "m", config))
    batch = inputs(bare, "text")
    assert batch.shape[1] == 20
    own = random_model(config).eval()
    with torch.no_grad():
        expected = own.encode_text(batch, normalize=True)  # type: ignore[operator]
    torch.testing.assert_close(bare.encode("text", batch), expected, atol=1e-6, rtol=0)


def test_end_token_pooling_trims_too(tmp_path: Path) -> None:
    config = copy.deepcopy(CONFIG) | {"custom_text": True}
    config["text_cfg"] |= {"pool_type": "eos", "eos_id": VOCABULARY - 1}
    model = load_local_dir(write_folder(tmp_path / "m", config))
    full = torch.stack([model.preprocess("text")(text) for text in TEXTS])
    short = model.collate("text", list(full))
    assert short.shape[1] < 20
    torch.testing.assert_close(
        model.encode("text", short), model.encode("text", full), atol=1e-6, rtol=0
    )


# Images


def test_resize_is_a_plain_bicubic_squeeze() -> None:
    facts = {"size": 32, "mean": (0.5, 0.4, 0.3), "std": (0.2, 0.3, 0.4)}
    image = images(1)[0]
    squeezed = np.asarray(Image.fromarray(image).resize((32, 32), Image.Resampling.BICUBIC))
    expected = (squeezed / 255 - facts["mean"]) / facts["std"]
    result = image_transform("resize", facts)(image)
    np.testing.assert_allclose(result.permute(1, 2, 0).numpy(), expected, atol=1e-5)


def test_clip_keeps_the_aspect_ratio_and_crops_the_middle() -> None:
    wide = np.zeros((32, 96, 3), np.uint8)
    wide[:, 32:64] = 255
    facts = {"size": 32, "mean": (0.0, 0.0, 0.0), "std": (1.0, 1.0, 1.0)}
    assert image_transform("clip", facts)(wide).min() == 1
    assert image_transform("resize", facts)(wide).min() < 0.01


def test_unknown_transform(folder: Path) -> None:
    with pytest.raises(ConfigError, match=r"'rezise'; did you mean 'resize'"):
        load_local_dir(folder, "rezise")


def test_model_brings_its_own_mean_and_std(tmp_path: Path) -> None:
    plain = {"mean": [0.0, 0.0, 0.0], "std": [1.0, 1.0, 1.0]}
    model = load_local_dir(write_folder(tmp_path / "m", CONFIG, preprocess_cfg=plain))
    white = model.preprocess("image")(np.full((9, 9, 3), 255, np.uint8))
    assert white.shape == (3, 32, 32)
    assert (white == 1).all()


# Identity


def test_fingerprint_follows_weights_transform_and_vocabulary(tmp_path: Path, folder: Path) -> None:
    copied = write_folder(tmp_path / "same", CONFIG)
    merges = copied / "bpe_simple_vocab.txt.gz"
    packed_elsewhen = gzip.compress(gzip.decompress(merges.read_bytes()), mtime=1)
    merges.write_bytes(packed_elsewhen)
    same = load_local_dir(copied).fingerprint
    assert same == load_local_dir(folder).fingerprint
    vocabulary = write_folder(tmp_path / "vocabulary", CONFIG)
    with gzip.open(vocabulary / "bpe_simple_vocab.txt.gz", "rt", encoding="utf-8") as stream:
        header, first, *rest = stream.read().split("\n")
    with gzip.open(vocabulary / "bpe_simple_vocab.txt.gz", "wt", encoding="utf-8") as stream:
        stream.write("\n".join([header, *rest, first]))
    others = {
        load_local_dir(folder, "clip").fingerprint,
        load_local_dir(write_folder(tmp_path / "weights", CONFIG, seed=1)).fingerprint,
        load_local_dir(vocabulary).fingerprint,
    }
    assert len(others | {same}) == 4


def test_fingerprint_follows_the_tokenizer_of_hugging_face_beside_the_weights(
    tmp_path: Path,
) -> None:
    tokenizers, transformers = (
        pytest.importorskip(name) for name in ("tokenizers", "transformers")
    )
    config = copy.deepcopy(CONFIG)
    config["text_cfg"]["hf_tokenizer_name"] = "mine"
    config["custom_text"] = True
    folder = tmp_path / "hf"
    folder.mkdir()
    (folder / "open_clip_config.json").write_text(json.dumps({"model_cfg": config}))
    write_weights(random_model(config), folder / "open_clip_model.safetensors")

    def with_words(*words: str, lower: bool = False) -> str:
        entries = {word: number for number, word in enumerate(["[PAD]", "[UNK]", *words])}
        made = tokenizers.Tokenizer(tokenizers.models.WordLevel(entries, unk_token="[UNK]"))
        if lower:
            made.normalizer = tokenizers.normalizers.Lowercase()
        transformers.PreTrainedTokenizerFast(
            tokenizer_object=made, pad_token="[PAD]", unk_token="[UNK]"
        ).save_pretrained(folder)
        return load_local_dir(folder).fingerprint

    prints = [with_words("a", "dog"), with_words("dog", "a"), with_words("a", "dog", lower=True)]
    assert len(set(prints)) == 3
    assert with_words("a", "dog") == prints[0]


def test_loading_leaves_the_global_random_state_alone(folder: Path) -> None:
    before = torch.random.get_rng_state()
    load_local_dir(folder)
    assert torch.equal(before, torch.random.get_rng_state())


# Finding weights


def test_named_model_with_a_local_file(tmp_path: Path, named_model: str) -> None:
    model = random_model(open_clip.get_model_config(named_model))
    write_weights(model, tmp_path / "w.safetensors")
    torch.save(
        {"state_dict": {f"module.{k}": v for k, v in model.state_dict().items()}}, tmp_path / "w.pt"
    )
    spec = BackboneSpec("open_clip", named_model, str(tmp_path / "w.safetensors"))
    one = load(spec)
    two = load(BackboneSpec("open_clip", named_model, str(tmp_path / "w.pt")))
    assert (one.name, one.fingerprint) == ("toy-clip", two.fingerprint)


def test_half_precision_file_is_used_in_float32(tmp_path: Path, folder: Path) -> None:
    write_folder(tmp_path / "half", CONFIG)
    state = random_model(CONFIG).half().state_dict()
    save_file(state, tmp_path / "half" / "open_clip_model.safetensors")
    encoder = load_local_dir(tmp_path / "half").query_encoder("image")
    assert {p.dtype for p in encoder.parameters()} == {torch.float32}


def test_folder_through_the_model_name_or_as_weights(folder: Path) -> None:
    by_name = load(BackboneSpec("open_clip", f"local-dir:{folder}"))
    by_path = load(BackboneSpec("open_clip", "", str(folder)))
    assert by_name.name == by_path.name == "toy"
    assert by_name.fingerprint == by_path.fingerprint


def test_unknown_model_names_the_nearest() -> None:
    with pytest.raises(UnknownNameError, match="'ViT-B-16-quickgelu'"):
        load(BackboneSpec("open_clip", "ViT-B-16-quikgelu", "openai"))


@pytest.mark.parametrize(
    ("pretrained", "expected"),
    [
        ("", "needs weights; expected a file .*openai"),
        ("opnai", "no such file or tag; did you mean 'openai'"),
        ("/nowhere/w.safetensors", "no such file; expected a file of weights"),
    ],
)
def test_missing_weights_say_what_is_expected(pretrained: str, expected: str) -> None:
    with pytest.raises(WeightsError, match=expected):
        load(BackboneSpec("open_clip", "ViT-B-16-quickgelu", pretrained))


def test_failed_download_is_one_error(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise OSError("no route to host")

    monkeypatch.setattr("benchmark.backbones.checkpoint.download_pretrained", fail)
    with pytest.raises(WeightsError, match=r"no route to host.*give a local file"):
        load(BackboneSpec("open_clip", "ViT-B-16-quickgelu", "openai"))


@pytest.mark.parametrize(
    ("name", "pretrained", "advice"),
    [
        ("openai/vit.safetensors", "", "MODEL=toy-clip-quickgelu"),
        ("vit_b16.openai.safetensors", "", "MODEL=toy-clip-quickgelu"),
    ],
)
def test_openai_weights_under_a_plain_name_are_refused(
    tmp_path: Path, named_model: str, name: str, pretrained: str, advice: str
) -> None:
    file = tmp_path / name
    file.parent.mkdir(exist_ok=True)
    write_weights(random_model(open_clip.get_model_config(named_model)), file)
    with pytest.raises(WeightsError, match=advice):
        load(BackboneSpec("open_clip", named_model, str(file)))


def test_openai_tag_under_the_plain_name_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "benchmark.backbones.checkpoint.download_pretrained", lambda _: tmp_path / "w.safetensors"
    )
    with pytest.raises(WeightsError, match="MODEL=ViT-B-16-quickgelu"):
        load(BackboneSpec("open_clip", "ViT-B-16", "openai"))


def test_openai_state_dict_is_known_by_its_extra_entries(tmp_path: Path, named_model: str) -> None:
    state = random_model(open_clip.get_model_config(named_model)).state_dict()
    state |= {"input_resolution": torch.tensor(32), "context_length": torch.tensor(20)}
    torch.save(state, tmp_path / "w.pt")
    with pytest.raises(WeightsError, match="toy-clip-quickgelu"):
        load(BackboneSpec("open_clip", named_model, str(tmp_path / "w.pt")))


def test_weights_of_another_architecture(tmp_path: Path, named_model: str) -> None:
    config = copy.deepcopy(open_clip.get_model_config(named_model))
    config["vision_cfg"] |= {"layers": 3, "image_size": 40}
    write_weights(random_model(config), tmp_path / "w.safetensors")
    with pytest.raises(WeightsError) as caught:
        load(BackboneSpec("open_clip", named_model, str(tmp_path / "w.safetensors")))
    message = str(caught.value)
    assert "does not hold weights of toy-clip" in message
    assert "12 unknown (such as 'visual.transformer.resblocks.2." in message
    assert "'visual.positional_embedding': (26, 32) instead of (17, 32)" in message
    assert "\n" not in message


class NotATensor:
    """Stands for whatever else a pickle may hold."""


@pytest.mark.parametrize("kind", ["text", "object", "numbers", "truncated", "torchscript", "npz"])
def test_unreadable_weights_are_one_error(tmp_path: Path, named_model: str, kind: str) -> None:
    suffix = {"npz": ".npz", "truncated": ".safetensors"}.get(kind, ".pt")
    file = tmp_path / f"w{suffix}"
    model = random_model(open_clip.get_model_config(named_model))
    expected = "cannot be read as weights"
    if kind == "text":
        file.write_text("these are no weights")
    elif kind == "object":
        torch.save({"a": NotATensor()}, file)
        expected = "it holds more than tensors, such as"
    elif kind == "numbers":
        torch.save({"a": 1.0}, file)
    elif kind == "truncated":
        write_weights(model, file)
        file.write_bytes(file.read_bytes()[:1000])
    elif kind == "torchscript":
        with zipfile.ZipFile(file, "w") as archive:
            archive.writestr("clip/constants.pkl", b"")
    else:
        np.savez(file, a=np.zeros(1))
        expected = "big_vision"
    with pytest.raises(WeightsError, match=expected):
        load(BackboneSpec("open_clip", named_model, str(file)))


def test_folder_faults(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match="there is no model folder"):
        load_local_dir(tmp_path / "nowhere")
    with pytest.raises(WeightsError, match=r"open_clip_config\.json is missing"):
        load_local_dir(tmp_path)
    (tmp_path / "open_clip_config.json").write_text("{}")
    with pytest.raises(WeightsError, match="'model_cfg'"):
        load_local_dir(tmp_path)
    (tmp_path / "open_clip_config.json").write_text(json.dumps({"model_cfg": CONFIG}))
    with pytest.raises(WeightsError, match=r"looked for open_clip_model\.safetensors"):
        load_local_dir(tmp_path)
    broken = {"model_cfg": {**CONFIG, "vision_cfg": {"no_such_setting": 1}}}
    (tmp_path / "open_clip_config.json").write_text(json.dumps(broken))
    (tmp_path / "open_clip_model.safetensors").touch()
    with pytest.raises(WeightsError, match="no_such_setting"):
        load_local_dir(tmp_path)


def test_vocabulary_must_fit_the_model(tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "m", CONFIG)
    packed = (folder / "bpe_simple_vocab.txt.gz").read_bytes()
    damaged = packed[:60] + bytes(40) + packed[100:]
    for content in (b"not gzip", packed[:200], damaged):
        (folder / "bpe_simple_vocab.txt.gz").write_bytes(content)
        with pytest.raises(WeightsError, match=r"bpe_simple_vocab\.txt\.gz cannot be read"):
            load_local_dir(folder)
    (folder / "bpe_simple_vocab.txt.gz").unlink()
    with pytest.raises(WeightsError, match="49408 entries, its text tower 814"):
        load_local_dir(folder)


@pytest.mark.parametrize("device", ["gpu0", "cuda"])
def test_unusable_device(folder: Path, device: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(ConfigError, match=device):
        load_local_dir(folder, device=device)


# End to end


@pytest.mark.parametrize("name", ["flickr-c-image", "flickr-c-text"])
def test_real_data_through_a_real_architecture(
    tmp_path: Path, backbone: OpenClipBackbone, name: str
) -> None:
    make_flickr(tmp_path, images=4)
    data = load_retrieval_set(benchmark_card(name), tmp_path, allow_missing=True)
    embedded = {}
    for side, items in (("query", data.queries), ("gallery", data.gallery)):
        modality = data.query_modality if side == "query" else data.gallery_modality
        prepare = backbone.preprocess(modality)
        raw = [items[i] for i in range(len(items))]
        if modality == "text" and data.clean_text is not None:
            raw = [data.clean_text(text) for text in raw]
        batch = backbone.collate(modality, [prepare(item) for item in raw])
        encoder = backbone.query_encoder(modality)
        embedded[side] = encoder(batch) if side == "query" else backbone.encode(modality, batch)
    scores = embedded["query"] @ embedded["gallery"].T
    assert scores.shape == ((4, 20) if name == "flickr-c-image" else (20, 4))
    scores.logsumexp(dim=1).sum().backward()
    assert torch.isfinite(scores).all()


@pytest.mark.slow
def test_vit_b16_quickgelu_with_a_local_file(tmp_path: Path) -> None:
    name = "ViT-B-16-quickgelu"
    write_weights(build_model(open_clip.get_model_config(name), name), tmp_path / "w.safetensors")
    model = load(BackboneSpec("open_clip", name, str(tmp_path / "w.safetensors")))
    rows = model.encode(
        "image",
        model.collate("image", [model.preprocess("image")(image) for image in images(2)]),
    )
    text = inputs(model, "text")
    assert rows.shape == (2, 512)
    assert model.encode("text", text).shape == (4, 512)
    assert text.shape[1] < 77
    assert layer_norm_scalars(model.query_encoder("image").adaptable) == 39_936
    assert model.logit_scale == pytest.approx(1 / 0.07, rel=1e-4)
