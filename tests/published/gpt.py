"""Tiny random GPT repositories in the layouts in which they are published; tensors and config written by hand.

Kinds: `lm` (openai-community/openai-gpt: a bare body without prefix and head, with the buffers of its masks, the config
keys of the Hub, tokenizer.json beside vocab.json and merges.txt); `classifier` (a fine-tuned score head); `choice`
(two heads, the three tokens of the paper in added_tokens.json); `choice of 2019` (the same as pytorch-pretrained-BERT
left it: other names of the heads, n_special, special_tokens.txt, no model_type).
Forms: `safetensors`; `bin`; `old bin`, a pickle of before torch 1.6.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers
from torch import Tensor

WIDTH, LAYERS, HEADS, POSITIONS = 16, 2, 2, 64
KINDS = ("lm", "classifier", "choice", "choice of 2019")
ADDED = ("_start_", "_delimiter_", "_classify_")
LETTERS = "abcdefghijklmnopqrstuvwxyz0123456789.,?!'-:;"
MERGES = ("t h", "th e</w>", "a t</w>", "c at</w>", "s at</w>", "o n</w>", "i n", "in g</w>", "i s</w>", "m at</w>")
MERGES_OF = {"openai_gpt_encoder_bpe_40000.json": "openai_gpt_vocab_40000.bpe"}


def repository(
    folder: Path, kind: str, labels: Sequence[str] = (), form: str = "safetensors", vocabulary: Path | None = None
) -> Path:
    """Write a repository of one kind; `vocabulary` is OpenAI's encoder file with its merges beside it."""
    assert kind in KINDS, kind
    folder.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(5)
    old, pairs = kind == "choice of 2019", kind.startswith("choice")
    size = write_vocabulary(folder, vocabulary, tokenizer_json=kind == "lm")
    if old:
        (folder / "special_tokens.txt").write_text("\n".join(ADDED) + "\n", encoding="utf-8")
    elif pairs:
        added = {token: size + index for index, token in enumerate(ADDED)}
        (folder / "added_tokens.json").write_text(json.dumps(added), encoding="utf-8")
    state = body(size + len(ADDED) * pairs)
    config = config_of(size + len(ADDED) * pairs)
    if kind == "classifier":
        config |= {"architectures": ["OpenAIGPTForSequenceClassification"], "pad_token_id": 0}
        if labels:
            config["id2label"] = {str(index): label for index, label in enumerate(labels)}
        state = prefixed(state) | {"score.weight": random(len(labels) or 2, WIDTH)}
    elif pairs:
        config |= {"architectures": ["OpenAIGPTDoubleHeadsModel"]}
        output, head = ("lm_head.decoder.weight", "linear") if old else ("lm_head.weight", "summary")
        if form != "safetensors":  # which leaves out second names
            state[output] = state["tokens_embed.weight"]
        state = prefixed(state)
        state[f"multiple_choice_head.{head}.weight"] = random(1, WIDTH)
        state[f"multiple_choice_head.{head}.bias"] = random(1)
    if old:
        first = ("afn", "attn_pdrop", "embd_pdrop", "initializer_range", "layer_norm_epsilon", "n_ctx", "n_embd",
                 "n_head", "n_layer", "n_positions", "predict_special_tokens", "resid_pdrop")  # fmt: skip
        config = {name: config[name] for name in first} | {"vocab_size": size, "n_special": len(ADDED)}
    (folder / "config.json").write_text(json.dumps(config, indent=2), encoding="utf-8")
    if form == "safetensors":
        save_file({k: t.clone().contiguous() for k, t in state.items()}, folder / "model.safetensors", {"format": "pt"})
    else:
        torch.save(state, folder / "pytorch_model.bin", _use_new_zipfile_serialization=form == "bin")
    return folder


def config_of(size: int) -> dict[str, Any]:
    """config.json as the Hub has it, smaller."""
    return {
        "afn": "gelu",
        "architectures": ["OpenAIGPTLMHeadModel"],
        "attn_pdrop": 0.1,
        "embd_pdrop": 0.1,
        "initializer_range": 0.02,
        "layer_norm_epsilon": 1e-05,
        "model_type": "openai-gpt",
        "n_ctx": POSITIONS,
        "n_embd": WIDTH,
        "n_head": HEADS,
        "n_layer": LAYERS,
        "n_positions": POSITIONS,
        "n_special": 0,
        "predict_special_tokens": True,
        "resid_pdrop": 0.1,
        "summary_activation": None,
        "summary_first_dropout": 0.1,
        "summary_proj_to_labels": True,
        "summary_type": "cls_index",
        "summary_use_proj": True,
        "task_specific_params": {"text-generation": {"do_sample": True, "max_length": 50}},
        "vocab_size": size,
    }


def body(rows: int) -> dict[str, Tensor]:
    """The tensors of the bare model, its buffers among them; weights of its maps are [in, out]."""
    state = {"tokens_embed.weight": random(rows, WIDTH), "positions_embed.weight": random(POSITIONS, WIDTH)}
    for index in range(LAYERS):
        layer = f"h.{index}."
        state[layer + "attn.bias"] = torch.ones(POSITIONS, POSITIONS).tril()[None, None]
        for name, into, out in (
            ("attn.c_attn", WIDTH, 3 * WIDTH),
            ("attn.c_proj", WIDTH, WIDTH),
            ("mlp.c_fc", WIDTH, 4 * WIDTH),
            ("mlp.c_proj", 4 * WIDTH, WIDTH),
        ):
            state |= {f"{layer}{name}.weight": random(into, out), f"{layer}{name}.bias": random(out)}
        for name in ("ln_1", "ln_2"):
            state |= {f"{layer}{name}.weight": 1 + random(WIDTH), f"{layer}{name}.bias": random(WIDTH)}
    return state


def prefixed(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """As the classes with a head name the tensors of the body."""
    return {k if k.startswith("lm_head.") else f"transformer.{k}": t for k, t in state.items()}


def random(*shape: int) -> Tensor:
    """Small numbers."""
    return torch.randn(shape) * 0.2


def write_vocabulary(folder: Path, vocabulary: Path | None = None, tokenizer_json: bool = False) -> int:
    """vocab.json and merges.txt, and tokenizer.json if asked; returns the number of tokens."""
    folder.mkdir(parents=True, exist_ok=True)
    if vocabulary is not None:
        shutil.copyfile(vocabulary, folder / "vocab.json")
        shutil.copyfile(vocabulary.with_name(MERGES_OF[vocabulary.name]), folder / "merges.txt")
    else:
        pieces = ["<unk>", *LETTERS, *(letter + "</w>" for letter in LETTERS), *(m.replace(" ", "") for m in MERGES)]
        (folder / "vocab.json").write_text(json.dumps({p: i for i, p in enumerate(pieces)}), encoding="utf-8")
        (folder / "merges.txt").write_text("\n".join(["#version: 0.2", *MERGES]) + "\n", encoding="utf-8")
    if tokenizer_json:
        pipeline = Tokenizer(
            models.BPE.from_file(
                str(folder / "vocab.json"), str(folder / "merges.txt"), unk_token="<unk>", end_of_word_suffix="</w>"
            )
        )
        pipeline.normalizer = normalizers.BertNormalizer(lowercase=True)
        pipeline.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
        pipeline.decoder = decoders.BPEDecoder(suffix="</w>")
        pipeline.add_special_tokens(["<unk>"])
        pipeline.save(str(folder / "tokenizer.json"))
    return len(json.loads((folder / "vocab.json").read_text(encoding="utf-8")))
