"""Weights wrapped in checkpoints, several sets in one file, and TorchScript archives."""

from __future__ import annotations

import argparse
import os
import pickle
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import open_clip
import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from benchmark.backbones import open_clip as loader
from benchmark.backbones.composed import weighted
from benchmark.backbones.open_clip import build_model, load
from benchmark.backbones.places import parted, weight_files
from benchmark.backbones.weight_file import read_weights
from benchmark.cell import BackboneSpec
from benchmark.errors import WeightsError
from tests.benchmark.backbones.fixtures_open_clip import load_local_dir

STATE = {"visual.proj": torch.arange(4.0), "logit_scale": torch.tensor(2.0)}
OTHER = {name: value + 1 for name, value in STATE.items()}


def saved(tmp_path: Path, content: Any) -> Path:
    torch.save(content, tmp_path / "w.pt")
    return tmp_path / "w.pt"


@pytest.mark.parametrize(
    ("content", "taken"),
    [
        (STATE, ""),
        ({"state_dict": STATE, "epoch": 3}, "state_dict"),
        ({"state_dict_ema": STATE, "epoch": 3}, "state_dict_ema"),
        ({"model": STATE, "optimizer": {"lr": 1}}, "model"),
        ({"model": {"state_dict": STATE}}, "model.state_dict"),
        ({"model_state_dict": STATE, "loss": 0.1}, "model_state_dict"),
        ({"model_ema": STATE, "step": 1}, "model_ema"),
        ({"CLIP": STATE, "step": 1}, "CLIP"),
        ({"state_dict": {"model": {"CLIP": STATE}}}, "state_dict.model.CLIP"),
        ({"state_dict": {f"model.{name}": t for name, t in STATE.items()}}, "state_dict.model"),
        ({f"module.CLIP.{name}": t for name, t in STATE.items()}, "CLIP"),
        ({f"module._orig_mod.{name}": t for name, t in STATE.items()}, ""),
    ],
)
def test_wrapped_weights(tmp_path: Path, content: Any, taken: str) -> None:
    state, said = read_weights(saved(tmp_path, content))
    assert said == taken
    assert state.keys() == STATE.keys()


def test_several_sets_need_the_users_word(tmp_path: Path) -> None:
    file = saved(tmp_path, {"state_dict": STATE, "state_dict_ema": OTHER})
    with pytest.raises(WeightsError, match=r"2 sets of weights, .*PRETRAINED=.*w.pt#state_dict"):
        read_weights(file)
    state, taken = read_weights(file, "state_dict_ema")
    assert taken == "state_dict_ema"
    assert torch.equal(state["visual.proj"], OTHER["visual.proj"])
    with pytest.raises(WeightsError, match=r"no entry 'ema'.*; it has state_dict, state_dict_ema"):
        read_weights(file, "ema")
    with pytest.raises(WeightsError, match="nothing called 'x' below state_dict"):
        read_weights(file, "state_dict.x")
    assert parted(f"{file}#state_dict_ema") == (file, "state_dict_ema")
    assert parted(str(file)) == (file, "")


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ({"model": {"state_dict": STATE, "state_dict_ema": OTHER}}, "#model.state_dict$"),
        ({"state_dict": STATE, "ema": OTHER}, "2 sets of weights, state_dict and ema;"),
        ({"model": STATE, "model_ema": OTHER}, "2 sets of weights, model and model_ema;"),
    ],
)
def test_sets_within_an_entry_or_of_an_unknown_name(
    tmp_path: Path, content: Any, said: str
) -> None:
    file = saved(tmp_path, content)
    with pytest.raises(WeightsError, match=said) as error:
        read_weights(file)
    chosen = parted(str(error.value).rpartition("=")[2])
    assert torch.equal(read_weights(*chosen)[0]["visual.proj"], STATE["visual.proj"])


def test_sets_that_a_flat_file_holds_under_prefixes(tmp_path: Path) -> None:
    sets = {"state_dict": STATE, "state_dict_ema": OTHER}
    flat = {f"{word}.{name}": t for word, state in sets.items() for name, t in state.items()}
    save_file(flat, tmp_path / "w.pt")  # known by its content
    with pytest.raises(WeightsError, match="2 sets of weights"):
        read_weights(tmp_path / "w.pt")
    state, taken = read_weights(tmp_path / "w.pt", "state_dict_ema")
    assert taken == "state_dict_ema"
    assert torch.equal(state["visual.proj"], OTHER["visual.proj"])


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ({**STATE, "epoch": 3}, "its entry 'epoch' is no tensor but a int; save it without"),
        ({"model": {**STATE, "x": None}}, "its entry 'x' below model is no tensor but a NoneType"),
        ({"state_dict": {}}, r"holds no weights below state_dict \(nothing\)"),
        ([STATE], r"holds no weights \(list\)"),
    ],
)
def test_the_entry_that_is_no_tensor_is_named(tmp_path: Path, content: Any, said: str) -> None:
    with pytest.raises(WeightsError, match=said):
        read_weights(saved(tmp_path, content))


@pytest.mark.parametrize("name", ["w.pt", "w.safetensors"])
@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "is empty: fetch it again"),
        (
            b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n",
            "of Git LFS .*git lfs pull",
        ),
        (b"<!doctype html><html>Not found</html>", "is a text and no weights .*<!doctype"),
    ],
)
def test_what_failed_downloads_leave(tmp_path: Path, name: str, content: bytes, said: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(WeightsError, match=said):
        read_weights(tmp_path / name)


def test_what_cannot_be_read_names_it_and_the_remedy(tmp_path: Path) -> None:
    file = saved(tmp_path, {"state_dict": STATE, "args": argparse.Namespace(lr=1)})
    with pytest.raises(WeightsError, match=r"a argparse.Namespace, and is refused.*torch.save"):
        read_weights(file)
    with pytest.raises(WeightsError, match=r"expected a state dict, or one within state_dict"):
        read_weights(saved(tmp_path, {"weights": STATE, "epoch": 1}))
    assert read_weights(saved(tmp_path, {"weights": STATE, "epoch": 1}), "weights")[1] == "weights"


class Small(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Linear(3, 2), nn.BatchNorm1d(2))
        self.low = nn.Parameter(torch.arange(6.0).view(2, 3).t().half())
        self.input_resolution = 32

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.body(x)


@pytest.mark.filterwarnings("ignore")  # torch wants other ways of exporting
def test_a_torchscript_archive_by_its_state_dict(tmp_path: Path) -> None:
    model = Small().eval()
    torch.jit.script(model).save(str(tmp_path / "w.pt"))
    state, taken = read_weights(tmp_path / "w.pt")
    assert (taken, int(state.pop("input_resolution"))) == ("", 32)
    wanted = model.state_dict()
    assert state.keys() == wanted.keys()
    for name, value in state.items():
        assert value.dtype == wanted[name].dtype
        assert torch.equal(value, wanted[name])


class Attack:
    def __reduce__(self) -> Any:
        return os.mkdir, ("was-run",)


@pytest.mark.parametrize("kind", ["text", "numbers", "truncated", "torchscript", "npz"])
def test_unreadable_weights_are_one_error(tmp_path: Path, kind: str) -> None:
    file = tmp_path / {"npz": "w.npz", "truncated": "w.safetensors"}.get(kind, "w.pt")
    if kind == "text":
        file.write_text("these are no weights")
    elif kind == "numbers":
        torch.save({"a": 1.0}, file)
    elif kind == "truncated":
        save_file(STATE, file)
        file.write_bytes(file.read_bytes()[:-10])
    elif kind == "torchscript":
        with zipfile.ZipFile(file, "w") as archive:
            archive.writestr("clip/constants.pkl", b"")
    else:
        np.savez(file, a=np.zeros(1))
    said = "big_vision" if kind == "npz" else "cannot be read as weights"
    with pytest.raises(WeightsError, match=said):
        read_weights(file)


def test_code_in_a_file_is_not_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(WeightsError, match="it holds more than tensors, such as a"):
        read_weights(saved(tmp_path, {"module.norm.weight": Attack()}))
    with zipfile.ZipFile("w.pt", "w") as archive:
        archive.writestr("clip/constants.pkl", b"")
        archive.writestr("clip/data.pkl", pickle.dumps(Attack(), protocol=2))
    with pytest.raises(WeightsError, match=r"it names \w+.mkdir, which is refused"):
        read_weights(Path("w.pt"))
    assert not Path("was-run").exists()


TEXT = {"context_length": 12, "vocab_size": 49408, "width": 16, "heads": 2, "layers": 1}
VISION = {"image_size": 32, "layers": 1, "width": 64, "head_width": 32, "patch_size": 16}
COCA = {
    "embed_dim": 8,
    "vision_cfg": {
        **VISION,
        "attentional_pool": True,
        "attn_pooler_heads": 2,
        "output_tokens": True,
    },
    "text_cfg": {**TEXT, "embed_cls": True, "output_tokens": True},
    "multimodal_cfg": {**TEXT, "dim_head": 8, "n_queries": 4, "attn_pooler_heads": 2},
}


def coca_folder(folder: Path) -> Path:
    import json

    folder.mkdir()
    (folder / "open_clip_config.json").write_text(json.dumps({"model_cfg": COCA}))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = build_model(COCA, "coca")
    torch.save(model.state_dict(), folder / "open_clip_pytorch_model.bin")
    return folder


def test_the_towers_of_coca(tmp_path: Path) -> None:
    model = load_local_dir(coca_folder(tmp_path / "coca"))
    whole = build_model(COCA, "coca").eval()
    whole.load_state_dict(torch.load(tmp_path / "coca/open_clip_pytorch_model.bin"))
    image = torch.rand(2, 3, 32, 32)
    tokens = open_clip.get_tokenizer("ViT-B-32", context_length=12)(["a wall", "a red wall"])
    with torch.no_grad():
        torch.testing.assert_close(model.encode("image", image), whole.encode_image(image))
        torch.testing.assert_close(model.encode("text", tokens), whole.encode_text(tokens))


def test_a_model_of_the_hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import huggingface_hub

    folder = coca_folder(tmp_path / "coca")
    asked: list[str] = []

    def snapshot(name: str, **_: Any) -> str:
        asked.append(name)
        if name != "me/coca":
            raise OSError("offline")
        return str(folder)

    monkeypatch.setattr(huggingface_hub, "snapshot_download", snapshot)
    assert load(BackboneSpec("open_clip", f"{loader.HUB}me/coca")).name == "coca"
    assert asked == ["me/coca"]
    with pytest.raises(WeightsError, match=r"'me/none' is not in the local .*hf download me/"):
        load(BackboneSpec("open_clip", f"{loader.HUB}me/none"))


def test_the_entry_of_a_folders_file(tmp_path: Path) -> None:
    file = coca_folder(tmp_path / "coca") / "open_clip_pytorch_model.bin"
    state = torch.load(file)
    other = {name: t + 1 if t.is_floating_point() else t for name, t in state.items()}
    torch.save({"state_dict": state, "state_dict_ema": other}, file)
    with pytest.raises(WeightsError, match=r"2 sets of weights.* or folder's name: .*#state_dict$"):
        load_local_dir(tmp_path / "coca")
    for spec in (
        BackboneSpec("open_clip", f"local-dir:{tmp_path / 'coca'}#state_dict_ema"),
        BackboneSpec("open_clip", "coca", f"{tmp_path / 'coca'}#state_dict_ema"),
    ):
        backbone = load(spec)
        assert backbone.taken == weighted(backbone).taken == "state_dict_ema"
        assert weight_files(spec) == weight_files(BackboneSpec("x", f"local-dir:{tmp_path}/coca"))


def test_which_weights_were_taken_is_kept(tmp_path: Path) -> None:
    config = open_clip.get_model_config("RN50")
    with torch.device("meta"):
        shapes = build_model(config, "RN50").state_dict()
    state = {name: torch.zeros(value.shape, dtype=value.dtype) for name, value in shapes.items()}
    file = saved(tmp_path, {"state_dict": state, "state_dict_ema": state})
    spec = BackboneSpec("open_clip", "RN50", f"{file}#state_dict_ema", transform="clip")
    assert load(spec).taken == "state_dict_ema"
