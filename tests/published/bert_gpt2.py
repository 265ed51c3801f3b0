"""Tiny random BERT and GPT-2 repositories in the layouts in which the Hub has them.

`repository` takes a class of the reference library, which names the tensors, and a form of the weights:
`safetensors` (second names of tied tensors left out), `sharded safetensors`, `old bin` (before the zip format of
torch 1.6), `bin`, `sharded bin`. What old repositories show besides is put on top by name:

`old norms` (LayerNorm.gamma and beta), `no prefix` (keys of the bare model), `buffers` (position ids, causal masks),
`fit dense` (TinyBERT's projections for distillation), `no model_type` (configs of 2019), `half` (float16), `words`
(a GPT-2 with BERT's tokenizer, as the Chinese ones have it).
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

import torch
import transformers

from tests import tiny

WIDTH, LAYERS, POSITIONS = 16, 2, 64
FIRST_CONFIG = (  # all that the first config files said
    "hidden_size", "hidden_act", "initializer_range", "vocab_size", "hidden_dropout_prob", "num_attention_heads",
    "type_vocab_size", "max_position_embeddings", "num_hidden_layers", "intermediate_size",
    "attention_probs_dropout_prob",
)  # fmt: skip


def repository(
    folder: Path,
    kind: str,
    labels: Sequence[str] = (),
    form: str = "safetensors",
    vocabulary: Path | None = None,
    marks: Collection[str] = (),
    cased: bool = False,
    tokenizer_json: bool = False,
) -> Path:
    """Write a repository of the class `kind`, such as BertForQuestionAnswering; returns the folder.

    `vocabulary` is a vocab.txt, or for GPT-2 a folder with gpt2_encoder.json and gpt2_vocab.bpe; stand-ins without.
    """
    folder.mkdir(parents=True, exist_ok=True)
    bert = kind.startswith("Bert")
    rows = _write_vocabulary(folder, bert or "words" in marks, vocabulary)
    config: Any
    if bert:
        config = transformers.BertConfig(
            vocab_size=rows,
            hidden_size=WIDTH,
            num_hidden_layers=LAYERS,
            num_attention_heads=2,
            intermediate_size=2 * WIDTH,
            max_position_embeddings=POSITIONS,
        )
    else:
        config = transformers.GPT2Config(
            vocab_size=rows, n_positions=POSITIONS, n_embd=WIDTH, n_layer=LAYERS, n_head=2, bos_token_id=rows - 1,
            eos_token_id=rows - 1,
        )  # fmt: skip
    if labels:
        config.id2label = dict(enumerate(labels))
    made = tiny._random(
        getattr(transformers, kind)(config),
        ("cls.predictions.decoder.weight", "cls.predictions.decoder.bias", "lm_head.weight"),
    )
    raw = {k: v for k, v in made.config.items() if k not in ("dtype", "transformers_version")}
    if "old norms" in marks:
        made = tiny.old_norms(made)
    if "buffers" in marks:
        made = _with_buffers(made, bert)
    if "no prefix" in marks:
        made = tiny.without_prefix(made, "bert." if bert else "transformer.")
        made = made.with_state({k: t for k, t in made.state.items() if k != "lm_head.weight"})
    if "fit dense" in marks:
        for i in range(LAYERS + 1):
            more = {f"fit_denses.{i}.weight": torch.ones(24, WIDTH), f"fit_denses.{i}.bias": torch.ones(24)}
            made = made.with_state(made.state | more)
    if "no model_type" in marks:
        raw = {k: raw[k] for k in FIRST_CONFIG}
    if "half" in marks:
        made = made.with_state({k: t.half() for k, t in made.state.items()})
    _write_weights(folder, made, form)
    (folder / "config.json").write_text(json.dumps(raw, indent=2), encoding="utf-8")
    (folder / "README.md").write_text("A model card, which nobody needs to download.", encoding="utf-8")
    if not bert and "words" in marks:
        options = {"do_lower_case": True, "tokenizer_class": "BertTokenizer", "model_max_length": POSITIONS}
        (folder / "tokenizer_config.json").write_text(json.dumps(options), encoding="utf-8")
    elif bert and cased:
        (folder / "tokenizer_config.json").write_text('{"do_lower_case": false}', encoding="utf-8")
    if tokenizer_json:
        name = "BertTokenizerFast" if bert else "GPT2TokenizerFast"
        getattr(transformers, name).from_pretrained(folder).backend_tokenizer.save(str(folder / "tokenizer.json"))
    return folder


def _write_vocabulary(folder: Path, words: bool, vocabulary: Path | None) -> int:
    """The vocabulary files, real ones where they are given; returns how many rows the embedding needs."""
    if vocabulary is None:
        tiny.write_vocabulary(folder, "bert" if words else "gpt2")
    elif words:
        shutil.copyfile(vocabulary, folder / "vocab.txt")
    else:
        shutil.copyfile(vocabulary / "gpt2_encoder.json", folder / "vocab.json")
        shutil.copyfile(vocabulary / "gpt2_vocab.bpe", folder / "merges.txt")
    if words:
        return len((folder / "vocab.txt").read_text(encoding="utf-8").removesuffix("\n").split("\n"))
    return len(json.loads((folder / "vocab.json").read_text(encoding="utf-8")))


def _with_buffers(made: tiny.Tiny, bert: bool) -> tiny.Tiny:
    if bert:
        return made.with_state(made.state | {"bert.embeddings.position_ids": torch.arange(POSITIONS)[None]})
    mask = torch.ones(POSITIONS, POSITIONS, dtype=torch.uint8).tril()[None, None]
    more = {f"transformer.h.{i}.attn.bias": mask for i in range(LAYERS)}
    more |= {f"transformer.h.{i}.attn.masked_bias": torch.tensor(-1e4) for i in range(LAYERS)}
    return made.with_state(made.state | more)


def _write_weights(folder: Path, made: tiny.Tiny, form: str) -> None:
    from safetensors.torch import save_file

    if form == "safetensors":
        save_file(made.plain(), folder / "model.safetensors", {"format": "pt"})
    elif form.startswith("sharded"):
        suffix = form.removeprefix("sharded ")
        state, stem = (made.plain(), "model") if suffix == "safetensors" else (made.state, "pytorch_model")
        tiny.Tiny._write_shards(folder, state, stem, suffix)
    else:
        torch.save(made.state, folder / "pytorch_model.bin", _use_new_zipfile_serialization=form == "bin")
