"""Tiny random models of the reference library, their files as published checkpoints have them, and their inputs."""

from __future__ import annotations

import json
import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer, models, pre_tokenizers, trainers
from torch import Tensor, nn

from zoo.bench.ours import minilm_files
from zoo.contracts import Batch, Encoding, Trace
from zoo.family import Model
from zoo.models.shelf import FAMILIES
from zoo.weights.load import load_folder

SHARED = Path(__file__).resolve().parents[2].parent / "shared" / "data"

MINILM = minilm_files()  # the published files of all-MiniLM-L6-v2, where the package is there

WORDS = ["the", "a", "cat", "sat", "on", "mat", "who", "is", "it", "river", "bank", "of", "an", "old", "town", "19"]
WORDS += ["un", "##aff", "##able", "##s", "##ed", "##ing", "##7"]
SPECIALS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
LETTERS = "abcdefghijklmnopqrstuvwxyz"
VOCABULARY = SPECIALS + WORDS + list(",.?!'-") + list(LETTERS[1:]) + ["##" + letter for letter in LETTERS]
TEXTS = ["The cat sat on the mat.", "Who is it?", "unaffable", "", "A river bank, of an OLD town - 1997!", "x" * 40]


def build(model_class: Any, config: Any, seed: int = 0) -> Any:
    """A reference model with eager attention and random numbers in every parameter, norms and biases included."""
    config._attn_implementation = "eager"
    model = model_class(config).eval().float()
    randomise(model, seed)
    return model


def randomise(model: nn.Module, seed: int) -> None:
    """Fill every parameter so that a missing or swapped one shows: no norm is 1, no bias is 0, no two are alike."""
    chance = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            noise = torch.randn(parameter.shape, generator=chance)
            if parameter.dim() > 1:
                parameter.copy_(noise * 0.2)
            elif name.endswith("bias"):
                parameter.copy_(noise * 0.3)
            else:
                parameter.copy_(1 + noise * 0.4)


def save(model: Any, folder: Path, form: str) -> None:
    """Write config.json and weights: `safetensors`, `shards` of them, `bin`, or `old`, a pickle of before torch 1.6."""
    model.save_pretrained(folder, max_shard_size="30KB" if form == "shards" else "1GB")
    if form in ("bin", "old"):
        (folder / "model.safetensors").unlink()
        save_pickle(model.state_dict(), folder, new=form == "bin")
    assert (folder / "model.safetensors.index.json").is_file() == (form == "shards")


def save_pickle(state: dict[str, Tensor], folder: Path, new: bool = True) -> None:
    """Write pytorch_model.bin; a tensor that has two names is written under both, as published files have it."""
    torch.save(dict(state), folder / "pytorch_model.bin", _use_new_zipfile_serialization=new)


def write_wordpiece(folder: Path, words: Sequence[str] = VOCABULARY, **options: Any) -> None:
    """vocab.txt, and tokenizer_config.json when there are options."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "vocab.txt").write_text("\n".join(words) + "\n", encoding="utf-8")
    if options:
        (folder / "tokenizer_config.json").write_text(json.dumps(options), encoding="utf-8")


def write_bpe(folder: Path, texts: Sequence[str] = TEXTS, size: int = 300) -> None:
    """vocab.json and merges.txt in GPT-2's format, learned from `texts`; <|endoftext|> is the last token."""
    folder.mkdir(parents=True, exist_ok=True)
    learner = Tokenizer(models.BPE())
    learner.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    letters = pre_tokenizers.ByteLevel.alphabet()
    learner.train_from_iterator(
        texts, trainers.BpeTrainer(vocab_size=size - 1, initial_alphabet=letters, show_progress=False)
    )
    learner.model.save(str(folder))
    vocabulary = json.loads((folder / "vocab.json").read_text(encoding="utf-8"))
    vocabulary["<|endoftext|>"] = len(vocabulary)
    (folder / "vocab.json").write_text(json.dumps(vocabulary), encoding="utf-8")


def load(folder: Path) -> Model:
    """The folder through our own loader."""
    return load_folder(folder, FAMILIES)


def encodings(lengths: Sequence[int], vocabulary: int, seed: int = 1, pairs: bool = False) -> list[Encoding]:
    """Random ids below `vocabulary`; with `pairs` the segment turns to 1 somewhere inside each text."""
    chance = random.Random(seed)
    made = []
    for length in lengths:
        turn = chance.randint(0, length) if pairs else length
        ids = tuple(chance.randrange(vocabulary) for _ in range(length))
        segments = tuple(int(t >= turn) for t in range(length))
        made.append(Encoding(ids, segments, ((0, 0),) * length, (0,) * length))
    return made


class Padded:
    """Encodings as the reference reads them: a rectangle with a mask, padded on the right or on the left."""

    def __init__(self, texts: Sequence[Encoding], side: str, pad: int = 0, segments: bool = True) -> None:
        self.lengths = [len(text) for text in texts]
        width = max(self.lengths)
        rows: dict[str, list[list[int]]] = {
            "input_ids": [self._row(t.ids, width, side, pad) for t in texts],
            "attention_mask": [self._row((1,) * len(t), width, side, 0) for t in texts],
            "position_ids": [self._row(tuple(range(len(t))), width, side, 0) for t in texts],
        }
        if segments:
            rows["token_type_ids"] = [self._row(t.segments, width, side, 0) for t in texts]
        self.inputs = {name: torch.tensor(values) for name, values in rows.items()}
        self.spans = [(0, n) if side == "right" else (width - n, width) for n in self.lengths]

    @staticmethod
    def _row(values: tuple[int, ...], width: int, side: str, pad: int) -> list[int]:
        padding = (pad,) * (width - len(values))
        return list(values + padding if side == "right" else padding + values)

    def rows(self, tensor: Tensor) -> Tensor:
        """[B, T, ...] -> [N, ...], the padding left out."""
        return torch.cat([tensor[b, begin:end] for b, (begin, end) in enumerate(self.spans)])

    def maps(self, tensor: Tensor) -> list[Tensor]:
        """[B, H, T, T] -> one [H, T, T] a text, the padding left out."""
        return [tensor[b, :, begin:end, begin:end] for b, (begin, end) in enumerate(self.spans)]


def compare_layers(parity: Any, name: str, model: Model, texts: Sequence[Encoding], body: Any, padded: Padded) -> Any:
    """Hold every hidden layer and every attention map of our body to those of `body`; returns its whole output."""
    theirs = body(**padded.inputs, output_hidden_states=True, output_attentions=True)
    trace = Trace()
    last = model.network.body(Batch.of(texts), trace=trace).last
    assert len(trace.layers) == len(theirs.hidden_states)
    assert len(trace.attention) == len(theirs.attentions)
    for ours, hidden in zip(trace.layers, theirs.hidden_states, strict=True):
        parity(f"{name} hidden", ours, padded.rows(hidden))
    parity(f"{name} hidden", last, padded.rows(theirs.last_hidden_state))
    for layer, maps in zip(trace.attention, theirs.attentions, strict=True):
        for ours, attention in zip(layer, padded.maps(maps), strict=True):
            parity(f"{name} attention", ours, attention)
    return theirs
