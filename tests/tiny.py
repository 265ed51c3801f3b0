"""Tiny random checkpoints in the layouts in which they are published, with their vocabularies.

The tensors and their names come from the reference library; what is done to them here is what the repositories of the
Hub show: old names of norms, class prefixes that are there or not, buffers, tied heads under two names, five formats.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from tokenizers import pre_tokenizers
from torch import Tensor

LAYOUTS = ("safetensors", "sharded safetensors", "bin", "old bin", "sharded bin")
WORDS = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *"abcdefghijklmnopqrstuvwxyz", "the", "cat", "##s", ".", "sat")


@dataclass(frozen=True)
class Tiny:
    """What config.json says, and the tensors by their published names."""

    config: dict[str, Any]
    state: dict[str, Tensor]
    tied: tuple[str, ...]  # second names of tensors, which safetensors files leave out

    def but(self, **values: Any) -> Tiny:
        """With other values in config.json; None leaves the field out."""
        return replace(self, config={k: v for k, v in (self.config | values).items() if v is not None})

    def with_state(self, state: dict[str, Tensor]) -> Tiny:
        """With other tensors."""
        return replace(self, state=state)

    def write(self, folder: Path, layout: str = "safetensors") -> Path:
        """The folder as a repository: config.json, vocabulary, weights."""
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "config.json").write_text(json.dumps(self.config), encoding="utf-8")
        (folder / "README.md").write_text("A model card, which nobody needs to download.", encoding="utf-8")
        write_vocabulary(folder, self.config["model_type"])
        if layout == "safetensors":
            save_file(self.plain(), folder / "model.safetensors", {"format": "pt"})
        elif layout == "sharded safetensors":
            self._write_shards(folder, self.plain(), "model", "safetensors")
        elif layout == "sharded bin":
            self._write_shards(folder, self.state, "pytorch_model", "bin")
        else:
            path = folder / "pytorch_model.bin"
            torch.save(self.state, path, _use_new_zipfile_serialization=layout == "bin")
        return folder

    def plain(self) -> dict[str, Tensor]:
        """The tensors without second names, each in memory of its own, as safetensors wants them."""
        return {k: t.clone().contiguous() for k, t in self.state.items() if k not in self.tied}

    @staticmethod
    def _write_shards(folder: Path, state: dict[str, Tensor], stem: str, suffix: str) -> None:
        keys = sorted(state)
        halves = [keys[: len(keys) // 2], keys[len(keys) // 2 :]]
        names = [f"{stem}-0000{i}-of-00002.{suffix}" for i in (1, 2)]
        for name, half in zip(names, halves, strict=True):
            part = {k: state[k] for k in half}
            if suffix == "bin":
                torch.save(part, folder / name)
            else:
                save_file(part, folder / name, {"format": "pt"})
        weight_map = {k: name for name, half in zip(names, halves, strict=True) for k in half}
        index = {"metadata": {"total_size": 1}, "weight_map": weight_map}
        (folder / f"{stem}.{suffix}.index.json").write_text(json.dumps(index), encoding="utf-8")


@cache
def bert(kind: str = "BertForMaskedLM", labels: tuple[str, ...] = ("no", "yes")) -> Tiny:
    """A BERT of two layers and 16 dimensions."""
    import transformers

    config = transformers.BertConfig(
        vocab_size=len(WORDS),
        hidden_size=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=32,
        max_position_embeddings=24,
        id2label=dict(enumerate(labels)),
    )
    tied = ("cls.predictions.decoder.weight", "cls.predictions.decoder.bias")
    return _random(getattr(transformers, kind)(config), tied)


@cache
def gpt2(kind: str = "GPT2LMHeadModel") -> Tiny:
    """A GPT-2 of two layers and 16 dimensions."""
    import transformers

    config = transformers.GPT2Config(
        vocab_size=260, n_positions=24, n_embd=16, n_layer=2, n_head=2, bos_token_id=258, eos_token_id=258
    )
    return _random(getattr(transformers, kind)(config), ("lm_head.weight",))


def _random(model: Any, tied: tuple[str, ...]) -> Tiny:
    chance = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=chance) * 0.2 + 0.1)
    config = json.loads(model.config.to_json_string(use_diff=False))
    config["architectures"] = [type(model).__name__]
    return Tiny(config, {k: t.detach() for k, t in model.state_dict().items()}, tied)


def old_norms(tiny: Tiny) -> Tiny:
    """Norms named as TensorFlow named them, in files from before 2019."""
    names = {"LayerNorm.weight": "LayerNorm.gamma", "LayerNorm.bias": "LayerNorm.beta"}

    def old(key: str) -> str:
        for new, name in names.items():
            key = key.removesuffix(new) + name if key.endswith(new) else key
        return key

    return tiny.with_state({old(key): t for key, t in tiny.state.items()})


def without_prefix(tiny: Tiny, prefix: str) -> Tiny:
    """Keys as the bare model without a head class writes them."""
    return tiny.with_state({key.removeprefix(prefix): t for key, t in tiny.state.items()})


def with_buffers(tiny: Tiny) -> Tiny:
    """The buffers that old files hold beside the parameters."""
    if tiny.config["model_type"] == "bert":
        more = {"bert.embeddings.position_ids": torch.arange(24)[None]}
    else:
        mask = torch.ones(24, 24, dtype=torch.uint8).tril()[None, None]
        more = {f"transformer.h.{i}.attn.bias": mask for i in range(2)}
        more |= {f"transformer.h.{i}.attn.masked_bias": torch.tensor(-1e4) for i in range(2)}
    return tiny.with_state(tiny.state | more)


def write_vocabulary(folder: Path, model_type: str) -> None:
    """vocab.txt, or vocab.json and merges.txt."""
    if model_type != "gpt2":
        (folder / "vocab.txt").write_text("\n".join(WORDS) + "\n", encoding="utf-8")
        return
    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    pieces = [*letters, "th", "the", "<|endoftext|>"]
    (folder / "vocab.json").write_text(json.dumps({p: i for i, p in enumerate(pieces)}), encoding="utf-8")
    (folder / "merges.txt").write_text("#version: 0.2\nt h\nth e\n", encoding="utf-8")
