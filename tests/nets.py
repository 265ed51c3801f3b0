"""Random networks of the families with every head, over a handful of words, made in memory for tests."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import tokenizers
import torch
from tokenizers import models as pieces
from tokenizers import normalizers, pre_tokenizers

from zoo.contracts import HeadSpec
from zoo.family import Family, Model
from zoo.models import bert, elmo, gpt2, ulmfit, xlnet
from zoo.models.elmo_readers import ReaderConfig
from zoo.tokenizers.chars import CharacterRows, CharacterTokenizer
from zoo.tokenizers.fastai import PAIR, FastaiTokenizer
from zoo.tokenizers.subword import SubwordTokenizer
from zoo.weights.keymap import LoadReport

NLI = ("entailment", "neutral", "contradiction")
HEADS = {
    "nli": HeadSpec("classifier", NLI),
    "topic": HeadSpec("classifier", ("World", "Sports")),
    "qa": HeadSpec("span"),
    "lm": HeadSpec("lm"),
}
WORDS = ("the", "cat", "sat", "on", "a", "mat", "dog", "is", "not", "asleep", "where", ".", "?", "tl", ";", "dr", ":")
MARKS = ("<unk>", "<cls>", "<sep>", "<end>")


def _model(family: Family, config: Any, tokenizer: Any, *heads: str, seed: int = 0) -> Model:
    torch.manual_seed(seed)
    chosen = {name: HEADS[name] for name in heads or HEADS}
    network = family.build(config, chosen).eval()
    for parameter in network.parameters():
        if parameter.dim() > 1:
            torch.nn.init.normal_(parameter, std=0.4)
    return Model("tiny", family, config, network, tokenizer, chosen, "tiny", "local", LoadReport())


def words_alone(single: str, pair: str, question: str = "", prompt: str = "A:0") -> SubwordTokenizer:
    """A tokenizer that knows whole words, with the templates of a family."""
    vocabulary = {word: i for i, word in enumerate((*MARKS, *WORDS))}
    pipeline = tokenizers.Tokenizer(pieces.WordLevel(vocabulary, "<unk>"))
    pipeline.normalizer = normalizers.Lowercase()
    pipeline.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    return SubwordTokenizer(pipeline, single, pair, MARKS.index("<end>"), question, prompt)


def bert_model() -> Model:
    tokenizer = words_alone("<cls>:0 A:0 <sep>:0", "<cls>:0 A:0 <sep>:0 B:1 <sep>:1")
    config = bert.BertConfig(tokenizer.vocabulary, 16, 2, 2, 32, "gelu", 32, 2)
    return _model(bert.FAMILY, config, tokenizer, "nli", "topic", "qa")


def gpt2_model() -> Model:
    tokenizer = words_alone("<cls>:0 A:0 <sep>:0!", "<cls>:0 A:0 <sep>:0 B:0 <end>:0!")
    config = gpt2.Gpt2Config(tokenizer.vocabulary, 64, 16, 2, 2, eos_token_id=3, reader=8, pair_heads=("nli",))
    return _model(gpt2.FAMILY, config, tokenizer, seed=1)  # of 0 the words hardly change what it says of a pair


def xlnet_model(continue_type: str = "bi") -> Model:
    tokenizer = words_alone(
        "A:0 <sep>:0 <cls>:2!", "A:0 <sep>:0 B:1 <sep>:1 <cls>:2!", "B:0 <sep>:0 A:1 <sep>:1 <cls>:2!"
    )
    config = xlnet.XlnetConfig(
        vocab_size=tokenizer.vocabulary, d_model=16, n_layer=2, n_head=2, d_inner=32, continue_type=continue_type
    )
    return _model(xlnet.FAMILY, config, tokenizer)


def ulmfit_model() -> Model:
    marks = ("xxunk", "xxpad", "xxbos", "xxeos", "xxfld", "xxrep", "xxwrep", "xxup", "xxmaj", "1", "2")
    tokenizer = FastaiTokenizer((*marks, *WORDS), "2", PAIR)
    config = ulmfit.UlmfitConfig(
        vocab_size=tokenizer.vocabulary, emb_sz=16, n_hid=24, n_layers=2, pad_token=1, tie_weights=True, out_bias=True,
        lin_ftrs=(8,), lin_bias=True, bptt=70, max_len=None, pair_heads=("nli",), head_size=8,
    )  # fmt: skip
    return _model(ulmfit.FAMILY, config, tokenizer)


def elmo_model() -> Model:
    words = ("<S>", "</S>", "<UNK>", *WORDS)
    readers = {"nli": ReaderConfig("esim", 8, 0.1, own=4, buckets=50), "topic": ReaderConfig("pooled", 8, 0.1),
               "qa": ReaderConfig("spans", 8, 0.1, own=4, buckets=50)}  # fmt: skip
    config = elmo.ElmoConfig(
        n_characters=262, max_characters_per_token=12, char_dim=4, filters=[[1, 4], [2, 8]], activation="relu", dim=16,
        projection_dim=8, use_skip_connections=True, n_layers=2, n_highway=1, cell_clip=3, proj_clip=3,
        vocab_size=len(words), readers=readers,
    )  # fmt: skip
    return _model(elmo.FAMILY, config, CharacterTokenizer(CharacterRows(12), words, generates=True))


FAMILIES: dict[str, Callable[[], Model]] = {
    "bert": bert_model,
    "gpt2": gpt2_model,
    "xlnet": xlnet_model,
    "ulmfit": ulmfit_model,
    "elmo": elmo_model,
}
