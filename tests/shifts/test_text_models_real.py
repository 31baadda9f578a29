"""Sentence-level shifts on real architectures of transformers, tiny and randomly initialised.

What such models write is noise; that they load offline, sample reproducibly and rank is not.
"""

from __future__ import annotations

import json
import os
import shutil
import socket
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from shifts.base import Shift, ShiftError, item_generator
from shifts.builtin import make_shift
from shifts.text import seq2seq
from tests.shifts.common import problems

_EXTRA = "needs the extra text-models: pip install 'queryshift[text-models]'"
transformers = pytest.importorskip("transformers", reason=_EXTRA)
sentencepiece = pytest.importorskip("sentencepiece", reason=_EXTRA)
pytest.importorskip("google.protobuf", reason=_EXTRA)
pytest.importorskip("sacremoses", reason=_EXTRA)

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of tokenizers, by release

CAPTION = "two dogs run after a red ball"
TEXTS = ["a man riding a wave on top of a board", CAPTION, "transfer Casual to Formal: a plate"] * 3
LETTERS = "abcdefghijklmnopqrstuvwxyz"
_LAYER = {"layers": 1, "ffn_dim": 16, "attention_heads": 2}
TINY = {f"{part}_{what}": n for part in ("encoder", "decoder") for what, n in _LAYER.items()}


def save(model: Any, folder: Path) -> None:
    bars = transformers.utils.logging
    bars.disable_progress_bar()
    model.save_pretrained(folder)
    bars.enable_progress_bar()


def train_pieces(prefix: Path, **ids: int) -> None:
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(TEXTS),
        model_prefix=str(prefix),
        vocab_size=60,
        hard_vocab_limit=False,
        minloglevel=2,
        **ids,
    )


@pytest.fixture(scope="module")
def t5(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A T5 with a vocabulary as the published folders have it: spiece.model, no tokenizer.json."""
    folder = tmp_path_factory.mktemp("t5")
    train_pieces(folder / "spiece", pad_id=0, eos_id=1, unk_id=2, bos_id=-1)
    config = {"tokenizer_class": "T5Tokenizer", "extra_ids": 0}
    (folder / "tokenizer_config.json").write_text(json.dumps(config))
    sizes = {"d_model": 16, "d_kv": 8, "d_ff": 16, "num_layers": 1, "num_heads": 2}
    with seq2seq.seeded(0):
        model = transformers.T5ForConditionalGeneration(
            transformers.T5Config(vocab_size=64, decoder_start_token_id=0, **sizes)
        )
    save(model, folder)
    return folder


def fsmt(folder: Path, seed: int) -> Path:
    """A translation model of the kind of wmt19, with its own beam search."""
    vocab = {"<s>": 0, "<pad>": 1, "</s>": 2, "<unk>": 3}
    for letter in LETTERS:
        vocab |= {letter: len(vocab), f"{letter}</w>": len(vocab) + 1}
    for side in ("src", "tgt"):
        (folder / f"vocab-{side}.json").write_text(json.dumps(vocab))
    (folder / "merges.txt").write_text("#version: 0.2\nt h\nth e</w>\n")
    config = {"langs": ["en", "de"], "tokenizer_class": "FSMTTokenizer", "do_lower_case": True}
    (folder / "tokenizer_config.json").write_text(json.dumps(config))
    with seq2seq.seeded(seed):
        model = transformers.FSMTForConditionalGeneration(
            transformers.FSMTConfig(
                langs=["en", "de"],
                src_vocab_size=len(vocab),
                tgt_vocab_size=len(vocab),
                d_model=16,
                num_beams=3,
                init_std=1.0,
                **TINY,
            )
        )
    save(model, folder)
    return folder


@pytest.fixture(scope="module")
def translators(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    names = ("model", "model_back")
    seeds = (4, 5)  # with these a greedy search writes something else than one with three beams
    return {
        name: str(fsmt(tmp_path_factory.mktemp(name), seed))
        for name, seed in zip(names, seeds, strict=True)
    }


def classifier(folder: Path, bias: float) -> Path:
    """A pair classifier of two labels that finds every pair adequate to about sigmoid(bias)."""
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *LETTERS, *(f"##{c}" for c in LETTERS)]
    (folder / "vocab.txt").write_text("\n".join(words))
    (folder / "tokenizer_config.json").write_text(json.dumps({"tokenizer_class": "BertTokenizer"}))
    with seq2seq.seeded(0):
        model = transformers.BertForSequenceClassification(
            transformers.BertConfig(
                vocab_size=len(words),
                hidden_size=16,
                num_hidden_layers=1,
                num_attention_heads=2,
                intermediate_size=16,
                num_labels=2,
            )
        )
    model.classifier.bias.data = torch.tensor([0.0, bias])
    save(model, folder)
    return folder


@pytest.fixture(autouse=True)
def _offline(monkeypatch: pytest.MonkeyPatch) -> None:
    """Any attempt at a connection fails the test; every test loads for itself."""

    def refuse(*args: Any) -> None:
        raise AssertionError("a connection was tried")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    for cache in (seq2seq.load_rewriter, seq2seq.load_adequacy):
        cache.cache_clear()


def style(name: str, model: Path, **options: str) -> Shift:
    return make_shift(name, "text", {"model": str(model), **options})


def shifted(shift: Shift, item: str = "0", caption: str = CAPTION) -> str:
    return shift.apply(caption, 1, item_generator(0, shift.card.name, 1, item))


@pytest.mark.parametrize("name", ["formal", "passive"])
def test_t5_keeps_the_contract(name: str, t5: Path) -> None:
    assert problems(lambda: style(name, t5)) == {}


def test_translation_keeps_the_contract(
    translators: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(seq2seq, "MOST_TRANSLATED", 16)  # noise never ends by itself
    assert problems(lambda: make_shift("back_trans", "text", translators)) == {}


def test_samples_are_reproduced_after_a_reload_in_any_order(t5: Path) -> None:
    one = [shifted(style("casual", t5), str(i)) for i in range(6)]
    seq2seq.load_rewriter.cache_clear()
    other = [shifted(style("casual", t5), str(i)) for i in reversed(range(6))]
    assert one == other[::-1]
    assert len(set(one)) == 6


def test_sampling_is_what_transformers_does_after_seeding(t5: Path) -> None:
    tokenizer = transformers.AutoTokenizer.from_pretrained(t5, local_files_only=True)
    model = transformers.AutoModelForSeq2SeqLM.from_pretrained(t5, local_files_only=True).eval()
    seed = int(item_generator(0, "active", 1, "0").integers(2**63))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        ids = model.generate(
            **tokenizer(f"transfer Passive to Active: {CAPTION}", return_tensors="pt"),
            do_sample=True,
            top_k=50,
            top_p=0.95,
            max_length=32,
        )
    expected = tokenizer.decode(ids[0], skip_special_tokens=True).strip()
    assert shifted(style("active", t5)) == expected != CAPTION


def test_back_translation_is_two_beam_searches(
    translators: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(seq2seq, "MOST_TRANSLATED", 24)
    expected = CAPTION
    for folder in translators.values():
        tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
        model = transformers.AutoModelForSeq2SeqLM.from_pretrained(folder).eval()
        read = tokenizer(expected, return_tensors="pt")
        best = model.generate(**read, num_beams=3, do_sample=False, max_length=24)
        expected = tokenizer.decode(best[0], skip_special_tokens=True).strip()
    assert shifted(make_shift("back_trans", "text", translators)) == expected != CAPTION


def test_wmt19_files_as_published_load_too(
    translators: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Those hold no table of positions, and keep the beam search in config.json."""
    monkeypatch.setattr(seq2seq, "MOST_TRANSLATED", 24)
    copy = Path(shutil.copytree(translators["model"], tmp_path / "old"))
    weights = load_file(copy / "model.safetensors")
    kept = {name: w for name, w in weights.items() if "embed_positions" not in name}
    assert len(kept) == len(weights) - 2
    torch.save(kept, copy / "pytorch_model.bin")
    for name in ("model.safetensors", "generation_config.json"):
        (copy / name).unlink()
    new, old = (seq2seq.load_rewriter(folder) for folder in (translators["model"], str(copy)))
    assert old.translate(CAPTION) == new.translate(CAPTION) != ""


def test_marian_models_translate(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(seq2seq, "MOST_TRANSLATED", 12)
    for side in ("source", "target"):
        train_pieces(tmp_path / side)
        (tmp_path / f"{side}.model").rename(tmp_path / f"{side}.spm")
    pieces = sentencepiece.SentencePieceProcessor(model_file=str(tmp_path / "source.spm"))
    names = (pieces.id_to_piece(i) for i in range(pieces.get_piece_size()))
    vocab = {name: i for i, name in enumerate(dict.fromkeys(("</s>", "<unk>", *names, "<pad>")))}
    (tmp_path / "vocab.json").write_text(json.dumps(vocab))
    config = {"tokenizer_class": "MarianTokenizer", "source_lang": "en", "target_lang": "de"}
    (tmp_path / "tokenizer_config.json").write_text(json.dumps(config))
    marks = {"pad_token_id": vocab["<pad>"], "decoder_start_token_id": vocab["<pad>"]}
    with seq2seq.seeded(0):
        model = transformers.MarianMTModel(
            transformers.MarianConfig(
                vocab_size=len(vocab),
                d_model=16,
                init_std=1.0,
                eos_token_id=0,
                forced_eos_token_id=0,
                **marks,
                **TINY,
            )
        )
    save(model, tmp_path)
    folders = {"model": str(tmp_path), "model_back": str(tmp_path)}
    after = shifted(make_shift("back_trans", "text", folders))
    assert after not in (CAPTION, "")


@pytest.mark.parametrize(("bias", "adequate"), [(4.0, True), (2.0, False)])
def test_the_classifier_decides(bias: float, adequate: bool, t5: Path, tmp_path: Path) -> None:
    judge = str(classifier(tmp_path, bias))  # sigmoid(4) = .98, sigmoid(2) = .88
    after = [shifted(style("formal", t5, adequacy=judge), str(i)) for i in range(4)]
    assert all((text != CAPTION) == adequate for text in after)


def test_scores_are_the_second_labels_probability(tmp_path: Path) -> None:
    folder = classifier(tmp_path, 1.0)
    model = transformers.BertForSequenceClassification.from_pretrained(folder).eval()
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    read = tokenizer(CAPTION, "a dog", return_tensors="pt")
    with torch.no_grad():
        expected = model(**read).logits.softmax(dim=1)[0, 1].item()
    (score,) = seq2seq.load_adequacy(str(folder)).scores(CAPTION, ["a dog"])
    assert score == pytest.approx(expected, abs=1e-6)


def test_weights_as_torch_file_or_in_half_precision_load_too(t5: Path, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(t5, tmp_path / "bin"))
    weights = transformers.T5ForConditionalGeneration.from_pretrained(copy).state_dict()
    (copy / "model.safetensors").unlink()
    torch.save(weights, copy / "pytorch_model.bin")
    assert shifted(style("formal", copy)) == shifted(style("formal", t5))
    half = transformers.T5ForConditionalGeneration.from_pretrained(t5).half()
    save(half, copy)
    (copy / "pytorch_model.bin").unlink()
    loaded = seq2seq.load_rewriter(str(shutil.copytree(copy, tmp_path / "half")))
    assert {p.dtype for p in loaded._model.parameters()} == {torch.float32}


class _Bomb:
    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple[Any, tuple[str]]:
        return os.mkdir, (str(self.marker),)


def test_code_in_a_weights_file_is_not_run(t5: Path, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(t5, tmp_path / "bomb"))
    (copy / "model.safetensors").unlink()
    torch.save({"shared.weight": _Bomb(tmp_path / "marker")}, copy / "pytorch_model.bin")
    with pytest.raises(ShiftError, match="no sequence-to-sequence model"):
        shifted(style("formal", copy))
    assert not (tmp_path / "marker").exists()


def test_code_beside_a_model_is_not_run(t5: Path, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(t5, tmp_path / "code"))
    marker = tmp_path / "marker"
    (copy / "own.py").write_text(f"import os\nos.mkdir({str(marker)!r})\nclass Own: pass\n")
    config = {"model_type": "own", "auto_map": {"AutoConfig": "own.Own"}}
    (copy / "config.json").write_text(json.dumps(config))
    with pytest.raises(ShiftError, match="no sequence-to-sequence model"):
        shifted(style("formal", copy))
    assert not marker.exists()


def test_a_large_file_pointer_in_place_of_weights_is_one_error(t5: Path, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(t5, tmp_path / "pointer"))
    pointer = "version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n"
    (copy / "model.safetensors").write_text(pointer)
    with pytest.raises(ShiftError, match="no sequence-to-sequence model"):
        shifted(style("formal", copy))


def test_a_classifier_without_its_head_is_refused(t5: Path, tmp_path: Path) -> None:
    folder = classifier(tmp_path, 0.0)
    bert = transformers.BertForSequenceClassification.from_pretrained(folder).bert
    save(bert, folder)
    with pytest.raises(ShiftError, match=r"2 of its weights are not in the file.*classifier"):
        shifted(style("formal", t5, adequacy=str(folder)))


def test_a_model_of_another_kind_is_refused(t5: Path, tmp_path: Path) -> None:
    folder = classifier(tmp_path, 0.0)
    with pytest.raises(ShiftError, match="no sequence-to-sequence model"):
        shifted(style("formal", folder))
