"""Stand-ins of published checkpoints at their full size: the same file and tensor names, config and vocabulary sizes,
with random numbers and invented pieces. Nothing is downloaded.

`tiny=True` keeps the names and shrinks the numbers, for tests.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import islice, product
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from tokenizers import pre_tokenizers

from zoo.tokenizers.subword import SubwordTokenizer, byte_level_bpe, wordpiece

LETTERS = "abcdefghijklmnopqrstuvwxyz"
Shapes = dict[str, tuple[int, ...]]


@dataclass(frozen=True)
class FullSize:
    """One kind: its config.json, what a test changes in it, its tensors by published name, its vocabulary."""

    title: str
    config: dict[str, Any]
    tiny: dict[str, Any]
    shapes: Callable[[dict[str, Any]], Shapes]
    write_vocabulary: Callable[[Path, int], None]

    def write(self, folder: Path, tiny: bool = False) -> None:
        """config.json, model.safetensors and the vocabulary files."""
        config = self.config | (self.tiny if tiny else {})
        chance = torch.Generator().manual_seed(0)
        tensors = {
            name: torch.empty(shape).normal_(0, 0.02, generator=chance) for name, shape in self.shapes(config).items()
        }
        save_file(tensors, folder / "model.safetensors", {"format": "pt"})
        (folder / "config.json").write_text(json.dumps(config), encoding="utf-8")
        self.write_vocabulary(folder, config["vocab_size"])


def _merges() -> Iterator[tuple[str, str]]:
    """Pairs of pieces that make ever longer pieces, every one of them new: ab, abc, abcd."""
    twos = ["".join(pair) for pair in product(LETTERS, repeat=2)]
    yield from product(LETTERS, LETTERS)
    yield from product(twos, LETTERS)
    yield from product(twos, twos)


def _save(tokenizer: SubwordTokenizer, folder: Path) -> None:
    """tokenizer.json as published: without line breaks, and a merge as one text."""
    tokenizer.save(folder)
    path = folder / "tokenizer.json"
    said = json.loads(path.read_text(encoding="utf-8"))
    if "merges" in said["model"]:
        said["model"]["merges"] = [" ".join(pair) for pair in said["model"]["merges"]]
    path.write_text(json.dumps(said, ensure_ascii=False, separators=(",", ":")), encoding="utf-8")


# --- BERT-base, uncased


def _bert_shapes(c: dict[str, Any]) -> Shapes:
    width, inner = c["hidden_size"], c["intermediate_size"]
    shapes: Shapes = {
        "bert.embeddings.word_embeddings.weight": (c["vocab_size"], width),
        "bert.embeddings.position_embeddings.weight": (c["max_position_embeddings"], width),
        "bert.embeddings.token_type_embeddings.weight": (c["type_vocab_size"], width),
        "cls.predictions.bias": (c["vocab_size"],),
    }
    linear = {
        "bert.pooler.dense": (width, width),
        "cls.predictions.transform.dense": (width, width),
        "cls.seq_relationship": (2, width),
    }
    norms = ["bert.embeddings.LayerNorm", "cls.predictions.transform.LayerNorm"]
    for layer in (f"bert.encoder.layer.{i}." for i in range(c["num_hidden_layers"])):
        attention = ("self.query", "self.key", "self.value", "output.dense")
        linear |= {f"{layer}attention.{part}": (width, width) for part in attention}
        linear |= {layer + "intermediate.dense": (inner, width), layer + "output.dense": (width, inner)}
        norms += [layer + "attention.output.LayerNorm", layer + "output.LayerNorm"]
    for name, (outs, ins) in linear.items():
        shapes |= {name + ".weight": (outs, ins), name + ".bias": (outs,)}
    return shapes | {f"{name}.{part}": (width,) for name in norms for part in ("gamma", "beta")}  # names of 2018


def _bert_vocabulary(folder: Path, size: int) -> None:
    """vocab.txt and tokenizer.json; every third piece begins a word."""
    specials = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    words = [("" if i % 3 == 0 else "##") + a + b for i, (a, b) in enumerate(islice(_merges(), size))]
    pieces = [*specials, *LETTERS, *("##" + letter for letter in LETTERS), *words][:size]
    (folder / "vocab.txt").write_text("\n".join(pieces) + "\n", encoding="utf-8")
    _save(wordpiece(folder, "[CLS]:0 A:0 [SEP]:0", "[CLS]:0 A:0 [SEP]:0 B:1 [SEP]:1"), folder)


# --- GPT-2, the smallest


def _gpt2_shapes(c: dict[str, Any]) -> Shapes:
    width, length = c["n_embd"], c["n_positions"]
    shapes: Shapes = {"wte.weight": (c["vocab_size"], width), "wpe.weight": (length, width)}
    for layer in (f"h.{i}." for i in range(c["n_layer"])):
        conv = {"attn.c_attn": (width, 3 * width), "attn.c_proj": (width, width)}
        conv |= {"mlp.c_fc": (width, 4 * width), "mlp.c_proj": (4 * width, width)}
        for name, (ins, outs) in conv.items():
            shapes |= {f"{layer}{name}.weight": (ins, outs), f"{layer}{name}.bias": (outs,)}
        shapes |= {f"{layer}{norm}.{part}": (width,) for norm in ("ln_1", "ln_2") for part in ("weight", "bias")}
        shapes[layer + "attn.bias"] = (1, 1, length, length)  # the causal mask, a buffer that old files hold
    return shapes | {"ln_f.weight": (width,), "ln_f.bias": (width,)}


def _gpt2_vocabulary(folder: Path, size: int) -> None:
    """vocab.json, merges.txt and tokenizer.json."""
    merges = list(islice(_merges(), size - 257))
    pieces = [*sorted(pre_tokenizers.ByteLevel.alphabet()), *(a + b for a, b in merges), "<|endoftext|>"]
    (folder / "vocab.json").write_text(json.dumps({p: i for i, p in enumerate(pieces)}), encoding="utf-8")
    lines = ["#version: 0.2", *(f"{a} {b}" for a, b in merges)]
    (folder / "merges.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")
    _save(byte_level_bpe(folder, end=None), folder)


# --- XLNet-base, cased


def _xlnet_shapes(c: dict[str, Any]) -> Shapes:
    width, heads, size, inner = c["d_model"], c["n_head"], c["d_head"], c["d_inner"]
    shapes: Shapes = {
        "transformer.mask_emb": (1, 1, width),
        "transformer.word_embedding.weight": (c["vocab_size"], width),
        "lm_loss.bias": (c["vocab_size"],),
    }
    for layer in (f"transformer.layer.{i}." for i in range(c["n_layer"])):
        shapes |= {f"{layer}rel_attn.{part}": (width, heads, size) for part in "qkvor"}
        shapes |= {f"{layer}rel_attn.r_{part}_bias": (heads, size) for part in "rsw"}
        shapes[layer + "rel_attn.seg_embed"] = (2, heads, size)
        shapes |= {layer + "ff.layer_1.weight": (inner, width), layer + "ff.layer_1.bias": (inner,)}
        shapes |= {layer + "ff.layer_2.weight": (width, inner), layer + "ff.layer_2.bias": (width,)}
        norms = (layer + "rel_attn.layer_norm.", layer + "ff.layer_norm.")
        shapes |= {norm + part: (width,) for norm in norms for part in ("weight", "bias")}
    return shapes


def _xlnet_vocabulary(folder: Path, size: int) -> None:
    """spiece.model, a SentencePiece unigram model (protobuf, written by hand).

    Its table of characters is as large as the published one, but no character is found in it.
    """
    control, ours, normal = 3, 4, 1
    kinds = [("<unk>", 2), ("<s>", control), ("</s>", control)]
    kinds += [(f"<{name}>", control if name in ("cls", "sep") else ours) for name in
              ("cls", "sep", "pad", "mask", "eod", "eop")]  # fmt: skip
    kinds += [(piece, normal) for piece in ("▁", *LETTERS, *("▁" + a + b for a, b in islice(_merges(), size)))]
    model = b""
    for index, (piece, kind) in enumerate(kinds[:size]):
        text = piece.encode()
        score = struct.pack("<f", -float(index) / 1000 if kind == normal else 0.0)
        said = b"" if kind == normal else b"\x18" + bytes([kind])  # normal is what a piece is that has no type
        model += _field(1, _field(1, text) + b"\x15" + score + said)
    trainer = b"\x18\x01"  # model_type 1: unigram
    units, texts = [0] + [1 << 31] * 50_000, bytes(37_000)  # a root, and units that are nobody's children
    table = struct.pack(f"<{1 + len(units)}I", 4 * len(units), *units) + texts
    normalizer = _field(1, b"nmt_nfkc") + _field(2, table) + b"\x18\x01\x20\x01\x28\x01"  # spaces: add, join, show
    (folder / "spiece.model").write_bytes(model + _field(2, trainer) + _field(3, normalizer))


def _field(number: int, content: bytes) -> bytes:
    """A protobuf field of bytes."""
    length, size = len(content), b""
    while length >= 0x80:
        size, length = size + bytes([length & 0x7F | 0x80]), length >> 7
    return bytes([number << 3 | 2]) + size + bytes([length]) + content


MODELS: dict[str, FullSize] = {
    "bert-base": FullSize(
        "BERT-base",
        {
            "model_type": "bert",
            "architectures": ["BertForMaskedLM"],
            "vocab_size": 30522,
            "hidden_size": 768,
            "num_hidden_layers": 12,
            "num_attention_heads": 12,
            "intermediate_size": 3072,
            "hidden_act": "gelu",
            "layer_norm_eps": 1e-12,
            "max_position_embeddings": 512,
            "type_vocab_size": 2,
            "hidden_dropout_prob": 0.1,
            "attention_probs_dropout_prob": 0.1,
            "pad_token_id": 0,
        },
        {"vocab_size": 100, "hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2,
         "intermediate_size": 32},
        _bert_shapes,
        _bert_vocabulary,
    ),
    "gpt2": FullSize(
        "GPT-2",
        {
            "model_type": "gpt2",
            "architectures": ["GPT2LMHeadModel"],
            "vocab_size": 50257,
            "n_positions": 1024,
            "n_ctx": 1024,
            "n_embd": 768,
            "n_layer": 12,
            "n_head": 12,
            "activation_function": "gelu_new",
            "layer_norm_epsilon": 1e-5,
            "resid_pdrop": 0.1,
            "embd_pdrop": 0.1,
            "attn_pdrop": 0.1,
            "bos_token_id": 50256,
            "eos_token_id": 50256,
        },
        {"vocab_size": 300, "n_positions": 64, "n_embd": 16, "n_layer": 2, "n_head": 2, "bos_token_id": 299,
         "eos_token_id": 299},
        _gpt2_shapes,
        _gpt2_vocabulary,
    ),
    "xlnet-base": FullSize(
        "XLNet-base",
        {
            "model_type": "xlnet",
            "architectures": ["XLNetLMHeadModel"],
            "vocab_size": 32000,
            "d_model": 768,
            "n_layer": 12,
            "n_head": 12,
            "d_head": 64,
            "d_inner": 3072,
            "ff_activation": "gelu",
            "untie_r": True,
            "attn_type": "bi",
            "initializer_range": 0.02,
            "layer_norm_eps": 1e-12,
            "dropout": 0.1,
            "mem_len": None,
            "reuse_len": None,
            "bi_data": False,
            "clamp_len": -1,
            "same_length": False,
            "summary_type": "last",
            "summary_use_proj": True,
            "summary_activation": "tanh",
            "summary_last_dropout": 0.1,
            "start_n_top": 5,
            "end_n_top": 5,
            "bos_token_id": 1,
            "pad_token_id": 5,
            "eos_token_id": 2,
        },
        {"vocab_size": 100, "d_model": 16, "n_layer": 2, "n_head": 2, "d_head": 8, "d_inner": 32},
        _xlnet_shapes,
        _xlnet_vocabulary,
    ),
}  # fmt: skip
