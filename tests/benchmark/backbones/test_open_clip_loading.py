from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

import open_clip
import pytest
import torch
from open_clip.transform import PreprocessCfg
from safetensors.torch import save_file

from benchmark.backbones.checkpoint import usual_preprocessing
from benchmark.backbones.open_clip import build_model, load
from benchmark.backbones.towers import OpenClipBackbone
from benchmark.cell import BackboneSpec
from benchmark.data.card import benchmark_card
from benchmark.data.tasks import load_retrieval_set
from benchmark.errors import UnknownNameError, WeightsError
from tests.benchmark.backbones.contract import collated
from tests.benchmark.backbones.fixtures_open_clip import (
    CONFIG,
    inputs,
    layer_norm_scalars,
    load_local_dir,
    random_model,
    write_folder,
    write_weights,
)
from tests.benchmark.fixtures_karpathy import make_flickr


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


def test_a_file_is_prepared_as_the_tags_of_its_name_say() -> None:
    """SigLIP and MobileCLIP are not normalised as CLIP is; names of CLIP stay as they were."""
    assert usual_preprocessing("ViT-B-16-SigLIP")["mean"] == (0.5, 0.5, 0.5)
    assert usual_preprocessing("MobileCLIP-S1")["std"] == (1.0, 1.0, 1.0)
    assert usual_preprocessing("ViT-B-32").items() <= asdict(PreprocessCfg()).items()
    assert "mean" not in usual_preprocessing("ViT-L-14")  # its tags differ


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


@pytest.mark.parametrize("name", ["openai/vit.safetensors", "vit_b16.openai.safetensors"])
def test_openai_weights_under_a_plain_name_are_refused(
    tmp_path: Path, named_model: str, name: str
) -> None:
    file = tmp_path / name
    file.parent.mkdir(exist_ok=True)
    write_weights(random_model(open_clip.get_model_config(named_model)), file)
    with pytest.raises(WeightsError, match="MODEL=toy-clip-quickgelu"):
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


def test_folder_faults(tmp_path: Path) -> None:
    for place in (tmp_path / "nowhere", tmp_path):
        with pytest.raises(WeightsError, match=r"open_clip_config\.json is missing"):
            load_local_dir(place)
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


@pytest.mark.parametrize("place", ["local-dir:", "hf-hub:"])
def test_weights_that_are_given_count_more_than_the_folder_s(
    folder: Path, tmp_path: Path, place: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("benchmark.backbones.places.fetched", lambda name, files: folder)
    other = {"state_dict_ema": random_model(CONFIG, seed=7).state_dict(), "state_dict": {}}
    torch.save(other, tmp_path / "tuned.pt")

    def loaded(pretrained: str) -> OpenClipBackbone:
        return load(BackboneSpec("open_clip", f"{place}{folder}", pretrained))

    tuned = loaded(f"{tmp_path}/tuned.pt#state_dict_ema")
    assert tuned.taken == "state_dict_ema"
    assert len({loaded("").fingerprint, tuned.fingerprint}) == 2
    assert tuned.fingerprint == load_local_dir(write_folder(tmp_path / "m", CONFIG, 7)).fingerprint
    with pytest.raises(WeightsError, match=r"no file of weights \S+none\.pt"):
        loaded(str(tmp_path / "none.pt"))


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
        raw = [items[i] for i in range(len(items))]
        if modality == "text" and data.clean_text is not None:
            raw = [data.clean_text(text) for text in raw]
        batch = collated(backbone, modality, raw)
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
    rows = model.encode("image", inputs(model, "image")[:2])
    text = inputs(model, "text")
    assert rows.shape == (2, 512)
    assert model.encode("text", text).shape == (4, 512)
    assert text.shape[1] < 77
    assert layer_norm_scalars(model.query_encoder("image").adaptable) == 39_936
    assert model.logit_scale == pytest.approx(1 / 0.07, rel=1e-4)
