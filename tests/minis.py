"""Random checkpoints in this project's own layout, made in a moment, for tests that need a model but no sense."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import tokenizers
import torch
from tokenizers import decoders, pre_tokenizers
from tokenizers import models as pieces

from zoo.contracts import HeadSpec
from zoo.models import bert, gpt2
from zoo.tokenizers.subword import SubwordTokenizer
from zoo.training import export
from zoo.weights.layout import Opened

LETTERS = "abcdefghijklmnopqrstuvwxyz0123456789.,?!'-"
WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *LETTERS, *("##" + c for c in LETTERS)]
BERT_HEADS = {
    "nli": HeadSpec("classifier", ("entailment", "neutral", "contradiction")),
    "topic": HeadSpec("classifier", ("World", "Sports")),
    "qa": HeadSpec("span"),
}


def bert_checkpoint(folder: Path, heads: Mapping[str, HeadSpec] = BERT_HEADS, longest: int = 64, seed: int = 0) -> Path:
    """A BERT of two layers whose pieces are single letters."""
    torch.manual_seed(seed)
    config = bert.BertConfig(len(WORDS), 32, 2, 4, 64, "gelu", longest, 2)
    network = bert.build(config, heads).eval()
    for parameter in network.parameters():
        torch.nn.init.normal_(parameter, std=0.2)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "vocab.txt").write_text("\n".join(WORDS) + "\n", encoding="utf-8")
    tokenizer = bert.read_tokenizer(Opened(folder), config)
    export.export(folder, bert.FAMILY, config, network, heads, tokenizer)
    return folder


def gpt2_checkpoint(folder: Path, longest: int = 64, seed: int = 0) -> Path:
    """A GPT-2 of two layers that reads and writes bytes; its last id ends a text."""
    torch.manual_seed(seed)
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocabulary = {letter: i for i, letter in enumerate(alphabet)} | {"<|endoftext|>": len(alphabet)}
    pipeline = tokenizers.Tokenizer(pieces.BPE(vocabulary, []))
    pipeline.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    pipeline.decoder = decoders.ByteLevel()
    pipeline.add_special_tokens(["<|endoftext|>"])
    config = gpt2.Gpt2Config(len(vocabulary), longest, 32, 2, 4, eos_token_id=len(alphabet))
    network = gpt2.build(config, {"lm": HeadSpec("lm")}).eval()
    for parameter in network.parameters():
        torch.nn.init.normal_(parameter, std=0.2)
    tokenizer = SubwordTokenizer(pipeline, "A:0", "A:0 B:0", end=config.eos_token_id)
    export.export(folder, gpt2.FAMILY, config, network, {"lm": HeadSpec("lm")}, tokenizer)
    return folder
