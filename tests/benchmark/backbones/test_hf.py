"""Dual encoders of transformers: every family from a saved folder, and what is refused."""

from __future__ import annotations

import json
import shutil
from contextlib import nullcontext
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image
from safetensors.torch import load_file, save_file

from benchmark.backbones.base import TwoTowers
from benchmark.backbones.hf import load
from benchmark.backbones.towers import ADAPTS, norm_layers
from benchmark.cell import BackboneSpec
from benchmark.errors import ConfigError, DataError, WeightsError
from methods.parameters import select_parameters
from shifts.base import Audio
from tests.benchmark.backbones.contract import collated, embedded
from tests.benchmark.backbones.fixtures_hf import FAMILIES, SIZE, build, save, save_clap

pytestmark = pytest.mark.filterwarnings("ignore")  # transformers' own, on tiny configurations

IMAGE = np.random.default_rng(0).integers(0, 256, (40, 50, 3), dtype=np.uint8)

ADAPTED = {
    "clip": (12, 8),
    "siglip": (12, 8),
    "siglip2": (12, 8),
    "metaclip-2": (12, 8),
    "altclip": (12, 12),
    "chinese-clip": (12, 10),
    "clipseg": (12, 8),
    "blip": (10, 10),
    "owlvit": (12, 8),
    "owlv2": (12, 8),
    "aimv2": (6, 4),
    "groupvit": (44, 8),
    "align": (42, 10),
}
"""Family -> tensors of normalisation layers that adapt, of images and of texts."""


def loaded(folder: Path, **facts) -> TwoTowers:
    known = {"loader": "hf", "transform": "clip", "model": str(folder)}
    return load(BackboneSpec(**known | facts))


def rows(model: TwoTowers, modality: str, *items) -> torch.Tensor:
    return embedded(model, modality, items)


@pytest.mark.parametrize("family", list(FAMILIES))
def test_every_family(tmp_path: Path, family: str) -> None:
    model = loaded(save(tmp_path, family))
    images, texts = rows(model, "image", IMAGE), rows(model, "text", "a red wall", "the wall")
    assert images.shape[1] == texts.shape[1]
    torch.testing.assert_close(texts.norm(dim=1), torch.ones(2))
    for modality, wanted in zip(("image", "text"), ADAPTED[family], strict=True):
        tower = model.query_encoder(modality)
        adapted = select_parameters(tower, "norm")
        assert len(adapted) == wanted
        scalars = sum(p.numel() for p in adapted.values())
        assert scalars == sum(
            numbers for _, fate, _, numbers in norm_layers(tower) if fate == ADAPTS
        )
    from transformers import AutoTokenizer

    # The halves are the whole model's: nothing is lost where what is not used was taken out.
    whole = build(family).eval()
    own = AutoTokenizer.from_pretrained(tmp_path)
    pieces = own("a red wall", return_tensors="pt", padding="max_length", max_length=12)
    known = {"input_ids": pieces["input_ids"]}
    if family not in ("siglip", "siglip2"):
        known["attention_mask"] = pieces["attention_mask"]
    with torch.no_grad():
        wanted_rows = F.normalize(whole.get_text_features(**known).pooler_output, dim=-1)
    torch.testing.assert_close(rows(model, "text", "a red wall"), wanted_rows, atol=1e-4, rtol=0)
    held = sum(p.numel() for p in model.query_encoder("text").parameters())
    assert held < 0.8 * sum(p.numel() for p in whole.parameters())


def test_the_processor_is_the_models_own(tmp_path: Path) -> None:
    from transformers import CLIPImageProcessor

    folder = save(tmp_path, "clip")
    own = CLIPImageProcessor.from_pretrained(folder)
    wanted = own(images=Image.fromarray(IMAGE), return_tensors="pt")["pixel_values"][0]
    torch.testing.assert_close(loaded(folder).preprocess("image")(IMAGE), wanted)
    squeezed = loaded(folder, transform="resize")
    assert squeezed.preprocess("image")(IMAGE).shape == (3, SIZE, SIZE)
    assert squeezed.fingerprint != loaded(folder).fingerprint
    with pytest.raises(ConfigError, match="one image transform, its own"):
        loaded(save(tmp_path / "s", "siglip2"), transform="resize")


def test_a_text_does_not_depend_on_its_neighbours(tmp_path: Path) -> None:
    model = loaded(save(tmp_path, "clip"))
    assert collated(model, "text", ["a wall"]).shape[-1] == 4
    both = rows(model, "text", "a wall", "the plain grey wall a red wall")
    torch.testing.assert_close(both[:1], rows(model, "text", "a wall"), atol=1e-5, rtol=0)


def test_siglip_2_reads_texts_in_lower_case(tmp_path: Path) -> None:
    from transformers import GemmaTokenizer

    first = loaded(save(tmp_path, "siglip")).fingerprint
    words = ("<pad>", "<eos>", "<bos>", "<unk>", "<mask>", *"aArRwW")
    GemmaTokenizer({word: i for i, word in enumerate(words)}, []).save_pretrained(tmp_path)
    model = loaded(tmp_path)
    assert torch.equal(rows(model, "text", "A RaW"), rows(model, "text", "a raw"))
    assert model.fingerprint != first


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_loaded_as_float32(tmp_path: Path, dtype: torch.dtype) -> None:
    model = loaded(save(tmp_path, "clip", dtype=dtype))
    parameters = list(model.query_encoder("image").parameters())
    assert {p.dtype for p in parameters} == {torch.float32}
    assert rows(model, "image", IMAGE).dtype == torch.float32


def test_the_fingerprint_knows_weights_and_tokenizer(tmp_path: Path) -> None:
    folder = save(tmp_path / "a", "clip")
    first = loaded(folder).fingerprint
    shutil.copytree(folder, tmp_path / "b")
    assert loaded(tmp_path / "b").fingerprint == first
    text = (folder / "tokenizer.json").read_text().replace('"red"', '"rot"')
    (folder / "tokenizer.json").write_text(text)
    assert loaded(folder).fingerprint != first


def test_sounds_and_texts_of_clap(tmp_path: Path) -> None:
    model = loaded(save_clap(tmp_path))
    sound = Audio(np.random.default_rng(0).standard_normal(8000).astype(np.float32) * 0.1, 16000)
    found = rows(model, "audio", sound)
    assert found.shape[1] == rows(model, "text", "a wall").shape[1]
    assert torch.equal(found, rows(model, "audio", sound))  # nothing is drawn
    assert select_parameters(model.query_encoder("audio"), "norm")
    with pytest.raises(ConfigError, match="encodes 'audio' and 'text', not 'image'"):
        model.preprocess("image")
    with pytest.raises(DataError):
        model.preprocess("audio")("a wall")


def test_no_dual_encoder(tmp_path: Path) -> None:
    from transformers import BertConfig, BertModel

    config = BertConfig(vocab_size=8, hidden_size=8, num_hidden_layers=1, num_attention_heads=1)
    BertModel(config).save_pretrained(tmp_path)
    for _ in range(2):
        with pytest.raises(WeightsError, match="holds a BertModel, which is no dual encoder"):
            loaded(tmp_path)
        (tmp_path / "model.safetensors").unlink(missing_ok=True)  # the second time without weights


def test_a_processor_that_is_missing(tmp_path: Path) -> None:
    folder = save(tmp_path, "clip", processor=False)
    with pytest.raises(WeightsError, match=r"lacks its ImageProcessor .*processor.save_pretrained"):
        loaded(folder)
    save(tmp_path / "b", "clip")
    (tmp_path / "b/tokenizer.json").unlink()
    (tmp_path / "b/tokenizer_config.json").unlink()
    with pytest.raises(WeightsError, match="has no tokenizer"):
        loaded(tmp_path / "b")


def test_weights_that_do_not_fill_the_model(tmp_path: Path) -> None:
    folder = save(tmp_path, "clip")
    file = folder / "model.safetensors"
    state = load_file(file)
    whole = state.pop("text_projection.weight")
    for other in ({}, {"text_projection.weight": whole[:-1].clone()}):
        save_file(state | other, file, metadata={"format": "pt"})
        said = r"not fill its CLIPModel: 1 entry .*text_projection"
        with pytest.raises(WeightsError, match=said):
            loaded(folder)
    for kind in (torch.int8, torch.float8_e4m3fn):
        save_file(state | {"text_projection.weight": whole.to(kind)}, file, {"format": "pt"})
        with pytest.raises(WeightsError, match=r"quantised \(such as 'text_projection.weight'"):
            loaded(folder)
    key = "vision_model.encoder.layers.0.self_attn.k_proj.bias"
    save_file(state | {"text_projection.weight": whole, key: torch.full((16,), torch.nan)}, file)
    with pytest.raises(WeightsError, match=f"for image hold NaN .*{key}"):
        loaded(folder)


@pytest.mark.parametrize(
    "name", ["model.safetensors", "tokenizer.json", "vocab.txt", "spiece.model"]
)
def test_a_pointer_of_git_lfs(tmp_path: Path, name: str) -> None:
    (save(tmp_path, "clip") / name).write_bytes(b"version https://git-lfs.github.com/spec/v1\n")
    with pytest.raises(WeightsError, match=f"{name} is a pointer of Git LFS .* git lfs pull"):
        loaded(tmp_path)


def test_a_scale_of_one_element(tmp_path: Path) -> None:
    folder = save(tmp_path, "clip")
    file = folder / "model.safetensors"
    before, state = loaded(folder), load_file(file)
    for scale, same in ((state["logit_scale"].reshape(1), True), (torch.ones(1), False)):
        save_file(state | {"logit_scale": scale}, file, {"format": "pt"})
        assert (loaded(folder).fingerprint == before.fingerprint) == same


def test_adapters_that_would_be_left_out(tmp_path: Path) -> None:
    folder = save(tmp_path, "clip")
    weights = load_file(folder / "model.safetensors")
    layer = "vision_model.encoder.layers.0.self_attn.q_proj"
    for name, refused in (
        ("classifier.weight", False),
        ("vision_model.embeddings.position_ids", False),
        (f"{layer}.lora_A.weight", True),
        ("visual_projection.lora_A.default.weight", True),
        ("text_model.encoder.layers.9.mlp.fc1.bias", True),
    ):
        save_file(weights | {name: torch.ones(1)}, folder / "model.safetensors", {"format": "pt"})
        with pytest.raises(WeightsError, match="has no place for") if refused else nullcontext():
            loaded(folder)
    (folder / "adapter_config.json").write_text("{}")
    with pytest.raises(WeightsError, match="merge_and_unload"):
        loaded(folder)


def test_a_transform_that_scales_otherwise_than_the_processor(tmp_path: Path) -> None:
    folder = save(tmp_path, "clip")
    file = folder / "preprocessor_config.json"
    for facts, refused in (({"rescale_factor": 1 / 127.5}, True), ({"do_normalize": True}, False)):
        file.write_text(json.dumps(json.loads(file.read_text()) | facts))
        with pytest.raises(ConfigError, match="its own") if refused else nullcontext():
            loaded(folder, transform="resize")
        file.write_text(json.dumps(json.loads(file.read_text()) | {"rescale_factor": 1 / 255}))


@pytest.mark.parametrize(
    ("name", "facts", "said"),
    [
        (
            "preprocessor_config.json",
            {"do_center_crop": False},
            r"cannot read .*32.* save both",
        ),
        ("tokenizer_config.json", {"padding_side": "left"}, "pads on the left"),
    ],
)
def test_a_processor_of_another_model(tmp_path: Path, name: str, facts: dict, said: str) -> None:
    file = save(tmp_path, "clip") / name
    file.write_text(json.dumps(json.loads(file.read_text()) | facts))
    with pytest.raises(WeightsError, match=said):
        loaded(tmp_path)


def test_places_that_hold_no_model(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match=r"has no config.json"):
        loaded(tmp_path)
    with pytest.raises(WeightsError, match="there is no model folder"):
        loaded(tmp_path / "none")
    with pytest.raises(WeightsError, match="hf download nobody/nothing"):
        load(BackboneSpec("hf", "nobody/nothing"))
    with pytest.raises(ConfigError, match="hf needs a model"):
        load(BackboneSpec("hf"))
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "mine"}))
    with pytest.raises(WeightsError, match="no configuration of a model that transformers knows"):
        loaded(tmp_path)
    with pytest.raises(WeightsError, match=r"config.json is a file; expected the folder .* hf:/"):
        loaded(tmp_path / "config.json")


def test_weights_in_shards(tmp_path: Path) -> None:
    whole = loaded(save(tmp_path / "whole", "clip")).fingerprint
    folder = save(tmp_path / "shards", "clip")
    (folder / "model.safetensors").unlink()
    build("clip").save_pretrained(folder, max_shard_size="20KB")
    shards = sorted(folder.glob("model-*.safetensors"))
    assert len(shards) == 3
    assert loaded(folder).fingerprint == whole
    shards[1].unlink()
    with pytest.raises(WeightsError, match=f"{shards[1].name} cannot be read"):
        loaded(folder)


@pytest.mark.parametrize(
    "file", ["config.json", "tokenizer_config.json", "preprocessor_config.json"]
)
@pytest.mark.parametrize("known", [True, False])
def test_code_that_comes_with_a_model_is_not_run(tmp_path: Path, file: str, known: bool) -> None:
    folder = save(tmp_path / "m", "clip")
    (folder / "mine.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w').close()\n")
    said = json.loads((folder / file).read_text()) | {"auto_map": {"AutoModel": "mine.Mine"}}
    if not known:
        said |= {"model_type": "mine", "tokenizer_class": "T", "image_processor_type": "P"}
    (folder / file).write_text(json.dumps(said))
    with pytest.raises(WeightsError, match=r"names code of the model's own .*AutoModel.*never run"):
        loaded(folder)
    assert not (tmp_path / "ran").exists()


def test_pickled_code_in_place_of_weights(tmp_path: Path) -> None:
    class Evil:
        def __reduce__(self):
            return (Path.touch, (tmp_path / "ran",))

    folder = save(tmp_path / "m", "clip")
    (folder / "model.safetensors").unlink()
    torch.save(build("clip").state_dict(), folder / "pytorch_model.bin")
    assert rows(loaded(folder), "image", IMAGE).dtype == torch.float32
    torch.save({"a": Evil()}, folder / "pytorch_model.bin")
    with pytest.raises(WeightsError, match=r"pytorch_model.bin .* holds more than tensors"):
        loaded(folder)
    assert not (tmp_path / "ran").exists()


def test_tokenizers_without_their_fast_file(tmp_path: Path) -> None:
    folder = save(tmp_path, "clip")
    (folder / "tokenizer.json").unlink()
    (folder / "vocab.txt").write_text("\n".join(("[PAD]", "[UNK]", "[CLS]", "[SEP]", "red")))
    about = {"tokenizer_class": "BertTokenizer", "model_max_length": 12}
    (folder / "tokenizer_config.json").write_text(json.dumps(about))
    red, wall = rows(loaded(folder), "text", "red", "wall")
    assert not torch.equal(red, wall)


def test_files_of_a_processor_that_do_not_fit(tmp_path: Path) -> None:
    folder = save(tmp_path, "clip")
    (folder / "preprocessor_config.json").write_text("{")
    with pytest.raises(WeightsError, match=r"lacks its ImageProcessor .*not a valid JSON"):
        loaded(folder)
    save(tmp_path, "clip")
    (folder / "tokenizer_config.json").unlink()
    with pytest.raises(WeightsError, match=r"the tokenizer of .* cannot read 'a plain grey wall'"):
        loaded(folder)
