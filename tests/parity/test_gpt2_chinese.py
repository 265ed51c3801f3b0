"""GPT-2 with BERT's tokenizer, as the Chinese models were published: what it reads, how it goes on, where it stops."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from transformers import AutoTokenizer, GPT2Config

from tests.parity.reference import SHARED, Padded, build, load, save, save_pickle, write_bpe
from tests.parity.strings import NASTY
from zoo import Engine
from zoo.contracts import Batch
from zoo.errors import BadCheckpoint
from zoo.family import Model
from zoo.models import gpt2
from zoo.sampling import Sampling
from zoo.training.export import export
from zoo.weights.layout import Opened

WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "gp", "##t", "2", "the", "cat"]
WORDS += list("这是很久之前的事情了我爱北京天安门，。！")
TEXTS = ["这是很久之前的事情了", "我爱北京。GPT2，the Cat！", "天", "a天b安c门"]
SHAPES: dict[str, dict[str, Any]] = {
    "two layers": {"n_embd": 24, "n_head": 3, "n_layer": 2},
    "one layer": {"n_embd": 21, "n_head": 3, "n_layer": 1},
}
# Where the class of the tokenizer is named: both files, one of them, none (the vocabulary file is the only sign).
SIGNS = {
    "tokenizer_config": ({"tokenizer_class": "BertTokenizer", "do_lower_case": True}, {}),
    "config": ({"do_lower_case": True}, {"tokenizer_class": "BertTokenizer"}),
    "fast": ({"tokenizer_class": "BertTokenizerFast"}, {}),
    "vocab.txt alone": ({}, {}),
}


def write_vocabulary(folder: Path, options: dict[str, Any]) -> None:
    """vocab.txt, and tokenizer_config.json when there are options."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "vocab.txt").write_text("\n".join(WORDS) + "\n", encoding="utf-8")
    if options:
        (folder / "tokenizer_config.json").write_text(json.dumps(options), encoding="utf-8")


def make(folder: Path, shape: str = "two layers", signs: str = "tokenizer_config") -> tuple[Any, Model]:
    """The reference, and ours out of its files: an old .bin with both names of the embedding and bytes as masks."""
    options, more = SIGNS[signs]
    config = GPT2Config(vocab_size=len(WORDS), n_positions=40, **SHAPES[shape])  # eos_token_id stays 50256, as there
    model = build(transformers.GPT2LMHeadModel, config)
    save(model, folder, "bin")
    state = dict(model.state_dict())
    for layer in range(config.n_layer):
        state[f"transformer.h.{layer}.attn.bias"] = torch.ones(1, 1, 40, 40).tril().to(torch.uint8)
    save_pickle(state, folder, new=False)
    raw = json.loads((folder / "config.json").read_text(encoding="utf-8")) | more
    (folder / "config.json").write_text(json.dumps(raw), encoding="utf-8")
    write_vocabulary(folder, options)
    return model, load(folder)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("signs", SIGNS)
def test_from_text(signs: str, shape: str, tmp_path: Path, parity: Any) -> None:
    """[CLS] text [SEP], and the reference's scores; its segments, which it would add as words, are left out."""
    theirs, ours = make(tmp_path, shape, signs)
    (tmp_path / "bert").mkdir()
    shutil.copy(tmp_path / "vocab.txt", tmp_path / "bert")
    read = transformers.BertTokenizer.from_pretrained(tmp_path / "bert")
    cut = ours.tokenizer.pieces
    for first, second in [(text, None) for text in TEXTS] + [(TEXTS[0], TEXTS[1])]:
        encoding = ours.tokenizer.assemble(cut(first), cut(second) if second else None)
        assert list(encoding.ids) == read(first, second)["input_ids"]
        padded = Padded([encoding], "right", segments=False)
        parity("gpt2 lm from text", ours.network(Batch.of([encoding]), "lm"), theirs(**padded.inputs).logits[0])


def test_the_reference_reads_the_same(tmp_path: Path) -> None:
    """By the class that tokenizer_config.json names, the reference has BERT's tokenizer for these models, too."""
    _, ours = make(tmp_path)
    theirs = AutoTokenizer.from_pretrained(tmp_path)
    for text in [*TEXTS, *NASTY]:
        assert list(ours.tokenizer.assemble(ours.tokenizer.pieces(text)).ids) == theirs(text)["input_ids"]


def test_a_prompt_stays_open(tmp_path: Path) -> None:
    """[CLS] begins a text; the [SEP] that would end it is not there."""
    _, ours = make(tmp_path)
    pieces = ours.tokenizer.pieces(TEXTS[0])
    assert ours.tokenizer.prompt(pieces).ids == (WORDS.index("[CLS]"), *pieces.ids)
    assert ours.tokenizer.end == WORDS.index("[SEP]")
    assert ours.tokenizer.extras(False) == 2 and ours.tokenizer.extras(True) == 3


def test_generation(tmp_path: Path) -> None:
    """Token by token the reference's greedy continuation; where chance draws [SEP], the text ends."""
    theirs, ours = make(tmp_path)
    prompt = list(ours.tokenizer.prompt(ours.tokenizer.pieces("我爱北京")).ids)
    ids = list(prompt)
    for _ in range(20):
        ids.append(int(theirs(torch.tensor([ids])).logits[0, -1].argmax()))
    made = list(Engine().generate(str(tmp_path), None, "我爱", "北京", 20, Sampling()))
    assert made[-1].text == ours.tokenizer.decode(ids[len(prompt) :])
    lengths = []
    for seed in range(20):
        *_, last = Engine().generate(str(tmp_path), None, "我爱", "北京", 20, Sampling(temperature=5, seed=seed))
        assert last.finished and "[SEP]" not in last.text
        lengths.append(last.tokens)
    assert min(lengths) < 10 and max(lengths) == 20


def test_chinese_is_written_without_spaces(tmp_path: Path) -> None:
    """The reference writes a space between any two tokens; between Chinese characters there is none."""
    _, ours = make(tmp_path)
    theirs = AutoTokenizer.from_pretrained(tmp_path)
    ids = ours.tokenizer.pieces("我爱北京，the cat。gpt 2 cat").ids
    assert ours.tokenizer.decode(ids) == "我爱北京， the cat。 gpt 2 cat"
    assert theirs.decode(ids) == "我 爱 北 京 ， the cat 。 gpt 2 cat"


@pytest.mark.parametrize("signs", SIGNS)
def test_saved_and_read_again(signs: str, tmp_path: Path, parity: Any) -> None:
    """In this project's own layout, where tokenizer.json is the only file of the tokenizer."""
    _, ours = make(tmp_path, signs=signs)
    export(tmp_path / "own", gpt2.FAMILY, ours.config, ours.network, ours.heads, ours.tokenizer, quantized=False)
    assert not (tmp_path / "own" / "vocab.txt").exists()
    again = load(tmp_path / "own")
    for text in [*TEXTS, *NASTY]:
        pieces = ours.tokenizer.pieces(text)
        assert again.tokenizer.pieces(text) == pieces
        assert again.tokenizer.assemble(pieces) == ours.tokenizer.assemble(pieces)
        assert again.tokenizer.prompt(pieces) == ours.tokenizer.prompt(pieces)
        assert again.tokenizer.decode(pieces.ids) == ours.tokenizer.decode(pieces.ids)
    assert again.tokenizer.end == ours.tokenizer.end


@pytest.mark.parametrize("signs", ["class", "files"])
def test_byte_level_where_files_say_so(signs: str, tmp_path: Path) -> None:
    """A vocab.txt beside GPT-2's own files changes nothing, unless the class of the tokenizer is BERT's."""
    write_bpe(tmp_path)
    write_vocabulary(tmp_path, {"tokenizer_class": "GPT2Tokenizer"} if signs == "class" else {})
    config = gpt2.Gpt2Config(300, 40, 8, 1, 1)
    assert gpt2.read_tokenizer(Opened(tmp_path), config).token(3) != "[SEP]"
    write_vocabulary(tmp_path, {"tokenizer_class": "BertTokenizer"})
    assert gpt2.read_tokenizer(Opened(tmp_path), config).token(3) == "[SEP]"


def test_a_vocabulary_without_its_marks_is_refused(tmp_path: Path) -> None:
    """No [SEP], no end of a text."""
    (tmp_path / "vocab.txt").write_text("[UNK]\n[CLS]\na\n", encoding="utf-8")
    with pytest.raises(BadCheckpoint, match="SEP"):
        gpt2.read_tokenizer(Opened(tmp_path), gpt2.Gpt2Config(3, 40, 8, 1, 1))


@pytest.mark.skipif(not SHARED.is_dir(), reason="the folder shared/data is not here")
def test_real_vocabulary(tmp_path: Path) -> None:
    """The 21,128 words of bert-base-chinese, which uer/gpt2-chinese-cluecorpussmall has, too."""
    shutil.copy(SHARED / "vocab/bert_base_chinese_vocab.txt", tmp_path / "vocab.txt")
    ours = gpt2.read_tokenizer(Opened(tmp_path), gpt2.Gpt2Config(21_128, 1024, 8, 1, 1))
    assert (ours.vocabulary, ours.end) == (21_128, 102)
    assert ours.decode(ours.pieces("北京是中国的首都。").ids) == "北京是中国的首都。"
