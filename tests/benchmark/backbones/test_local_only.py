"""Local model folders that name a hub or bring code: no network is touched, no code is run."""

from __future__ import annotations

import contextlib
import copy
import json
import socket
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from benchmark.errors import WeightsError
from shifts.base import ShiftError
from shifts.text import seq2seq
from tests.benchmark.backbones.contract import collated
from tests.benchmark.backbones.fixtures_open_clip import (
    CONFIG,
    load_local_dir,
    random_model,
    write_weights,
)

transformers = pytest.importorskip("transformers")

WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "a", "dog", "cat"]
BERT = {
    "model_type": "bert",
    "vocab_size": len(WORDS),
    "hidden_size": 16,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "intermediate_size": 16,
    "max_position_embeddings": 20,
}
REMOTE = "somebody/something--evil.Evil"


@pytest.fixture(autouse=True)
def asked(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[str]:
    """What was asked of a network, which is not there; switches of the hub's client are off."""
    calls: list[str] = []

    def refuse(*args: Any, **_: Any) -> Any:
        calls.append(str(args))
        raise OSError("a network was asked")

    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr("builtins.input", refuse)  # "do you wish to run the custom code?"
    return calls


@pytest.fixture
def ran(tmp_path: Path) -> Path:
    """A file that the code in a model folder would make."""
    return tmp_path / "ran"


def write_code(folder: Path, ran: Path) -> None:
    (folder / "evil.py").write_text(f"open({str(ran)!r}, 'w').close()\nclass Evil: pass\n")


def write_vocabulary(folder: Path) -> None:
    (folder / "vocab.txt").write_text("\n".join(WORDS))
    (folder / "tokenizer_config.json").write_text('{"tokenizer_class": "BertTokenizer"}')


def made(folder: Path, change: Callable[[dict[str, Any]], object], weights: Any = CONFIG) -> Path:
    config = copy.deepcopy(CONFIG)
    change(config)
    folder.mkdir()
    (folder / "open_clip_config.json").write_text(json.dumps({"model_cfg": config}))
    write_weights(random_model(weights), folder / "open_clip_model.safetensors")
    return folder


@pytest.mark.parametrize(
    ("part", "key", "value", "remedy"),
    [
        ("text_cfg", "hf_model_name", "somebody/something", '"hf_model_name": "text"'),
        ("text_cfg", "hf_model_name", "hf-hub:somebody/something", '"hf_model_name": "text"'),
        ("vision_cfg", "timm_model_name", "hf-hub:somebody/vit", "plain name"),
        ("text_cfg", "tokenizer_kwargs", {"trust_remote_code": True}, "take it out"),
    ],
)
def test_a_folder_that_names_a_hub_is_one_line(
    part: str, key: str, value: Any, remedy: str, tmp_path: Path, asked: list[str]
) -> None:
    folder = made(tmp_path / "m", lambda config: config[part].update({key: value}))
    with pytest.raises(WeightsError) as raised:
        load_local_dir(folder)
    said = str(raised.value)
    assert f"{folder / 'open_clip_config.json'}: '{part}.{key}'" in said
    assert remedy in said
    assert not asked


def test_a_tokenizer_that_is_not_in_the_folder(tmp_path: Path, asked: list[str]) -> None:
    folder = made(
        tmp_path / "m", lambda config: config["text_cfg"].update(hf_tokenizer_name="roberta-base")
    )
    with pytest.raises(WeightsError, match=r"hf_tokenizer_name.*put its files there"):
        load_local_dir(folder)
    assert not asked


@pytest.mark.parametrize("reference", ["evil.Evil", REMOTE])
def test_the_code_of_a_tokenizer_is_not_run(
    reference: str, tmp_path: Path, asked: list[str], ran: Path
) -> None:
    folder = made(tmp_path / "m", lambda config: config["text_cfg"].update(hf_tokenizer_name="x"))
    write_vocabulary(folder)
    write_code(folder, ran)
    about = {"tokenizer_class": "Evil", "auto_map": {"AutoTokenizer": [reference, reference]}}
    (folder / "tokenizer_config.json").write_text(json.dumps(about))
    with pytest.raises(WeightsError, match="code that comes with a model is never run"):
        load_local_dir(folder)
    assert not asked
    assert not ran.exists()


def hugging_face_text(config: dict[str, Any], name: str) -> None:
    config["text_cfg"] = {
        "hf_model_name": name,
        "hf_tokenizer_name": "bert-base-uncased",
        "hf_pooler_type": "mean_pooler",
        "hf_proj_type": "mlp",
        "context_length": 8,
    }


def test_a_text_tower_is_described_in_the_folder(tmp_path: Path, asked: list[str]) -> None:
    text = tmp_path / "m" / "text"

    def described(config: dict[str, Any]) -> None:
        hugging_face_text(config, "text")

    inner = copy.deepcopy(CONFIG)
    (tmp_path / "described").mkdir()
    (tmp_path / "described" / "config.json").write_text(json.dumps(BERT))
    hugging_face_text(inner, str(tmp_path / "described"))
    folder = made(tmp_path / "m", described, inner)
    text.mkdir()
    (text / "config.json").write_text(json.dumps(BERT))
    write_vocabulary(folder)
    first = load_local_dir(folder)
    tokens = collated(first, "text", ["a dog"])
    assert first.encode("text", tokens).shape == (1, CONFIG["embed_dim"])
    (text / "config.json").write_text(json.dumps(BERT | {"hidden_act": "relu"}))
    assert load_local_dir(folder).fingerprint != first.fingerprint
    (text / "config.json").write_text(json.dumps(BERT | {"auto_map": {"AutoConfig": REMOTE}}))
    with pytest.raises(WeightsError, match=r"config\.json: 'auto_map' names code"):
        load_local_dir(folder)
    assert not asked


def test_blip_folders_stay_local(tmp_path: Path, asked: list[str], ran: Path) -> None:
    from tests.benchmark.backbones import fixtures_blip

    folder = fixtures_blip.write_folder(tmp_path / "blip")
    write_code(folder, ran)
    settings = json.loads((folder / "config.json").read_text())
    settings |= {"_name_or_path": "somebody/something", "auto_map": {"AutoConfig": REMOTE}}
    (folder / "config.json").write_text(json.dumps(settings))
    about = {
        "tokenizer_class": "Evil",
        "name_or_path": "somebody/something",
        "auto_map": {"AutoTokenizer": ["evil.Evil", None]},
    }
    (folder / "tokenizer_config.json").write_text(json.dumps(about))
    assert fixtures_blip.load(folder).encode is not None
    assert not asked
    assert not ran.exists()


def test_pe_av_folders_stay_local(tmp_path: Path, asked: list[str]) -> None:
    from tests.benchmark.backbones import fixtures_pe_av

    folder = tmp_path / "pe-av"
    fixtures_pe_av.random_model().save_pretrained(folder)
    settings = json.loads((folder / "config.json").read_text())
    settings |= {"_name_or_path": "somebody/something", "auto_map": {"AutoConfig": REMOTE}}
    settings["audio_video_config"]["_name_or_path"] = "somebody/something"
    (folder / "config.json").write_text(json.dumps(settings))
    assert fixtures_pe_av.load(folder).encode is not None
    vision = settings["audio_video_config"]["video_config"]["vision_config"]
    vision["architecture"] = "hf-hub:somebody/something"
    (folder / "config.json").write_text(json.dumps(settings))
    with pytest.raises(WeightsError, match=r"config\.json .*vision_config\.architecture"):
        fixtures_pe_av.load(folder)
    assert not asked


@pytest.mark.parametrize("reference", ["evil.Evil", REMOTE])
def test_the_models_of_shifts_stay_local(
    reference: str, tmp_path: Path, asked: list[str], ran: Path
) -> None:
    folder = tmp_path / "judge"
    config = transformers.BertConfig(**{**BERT, "num_labels": 2})
    transformers.BertForSequenceClassification(config).save_pretrained(folder)
    write_vocabulary(folder)
    write_code(folder, ran)
    assert seq2seq._load(str(folder), "AutoModelForSequenceClassification", "classifier")
    (folder / "adapter_config.json").write_text(
        json.dumps({"base_model_name_or_path": "somebody/something"})
    )
    settings = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(settings | {"_name_or_path": "some/thing"}))
    with contextlib.suppress(ShiftError):  # with the package peft the adapter's model is missing
        seq2seq._load(str(folder), "AutoModelForSequenceClassification", "classifier")
    code = {"model_type": "evil", "auto_map": {"AutoConfig": reference}}
    (folder / "config.json").write_text(json.dumps(settings | code))
    with pytest.raises(ShiftError, match=str(folder)):
        seq2seq._load(str(folder), "AutoModelForSequenceClassification", "classifier")
    assert not asked
    assert not ran.exists()
    assert "evil" not in sys.modules
