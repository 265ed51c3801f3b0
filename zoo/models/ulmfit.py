"""ULMFiT (Howard & Ruder 2018, https://arxiv.org/abs/1801.06146) on the AWD-LSTM (Merity et al. 2017,
https://arxiv.org/abs/1708.02182; original code fastai/fastai, text/models/awdlstm.py and text/models/core.py).

Differs from the transformers: it reads word by word, from left to right, and carries one vector of fixed size from
word to word, so a text may be of any length. Dropout of weights, words and states is for training only; what is left
is an embedding, a stack of LSTMs, and an output tied to the embedding. A text is classified by the last, the largest
and the mean state of each dimension. N rows, D width, B texts, T tokens, V vocabulary, K labels.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence

from zoo import families
from zoo.contracts import Batch, HeadSpec, Hidden, State, Tokenizer, Trace
from zoo.errors import BadCheckpoint
from zoo.family import Family, Network, labels_of, read_fields
from zoo.heads import LanguageModel
from zoo.models.reading import ReadingPair, ReadingSpan
from zoo.models.ulmfit_heads import PoolingClassifier
from zoo.tokenizers.fastai import fastai_tokenizer
from zoo.weights.fastai import LAYOUTS, layers_of, stem_of
from zoo.weights.keymap import Alias, Drop, KeyTable, LoadReport, Rename, Rule
from zoo.weights.layout import Opened

LONGEST = 4096  # no limit of the model: words follow one another, and this many take seconds on a processor


@dataclass(frozen=True)
class UlmfitConfig:
    """Named as fastai's configuration and arguments are; what its files do not say is told from their tensors."""

    vocab_size: int
    emb_sz: int
    n_hid: int  # width between the LSTM layers; the last one gives emb_sz again
    n_layers: int
    pad_token: int
    tie_weights: bool
    out_bias: bool  # whether the language model adds a bias to each word's score; not in 2018
    lin_ftrs: tuple  # widths of the classifier's inner layers
    lin_bias: bool  # whether its linear layers have a bias; not in fastai 2, where a norm comes next
    bptt: int  # tokens of the chunks in which fastai reads a text that it classifies
    max_len: int | None  # a chunk is pooled if it begins at most so many tokens before the end; null pools all
    pair_heads: tuple  # names of the classifiers that compare two texts; fastai has none
    head_size: int  # width of the layers in which those and span heads compare words; 0 in fastai, which has none


NOT_IN_FASTAI: Mapping[str, Any] = {"pair_heads": (), "head_size": 0}


def read_config(raw: Mapping[str, Any], report: LoadReport) -> UlmfitConfig:
    """Check and read the config. Raises BadCheckpoint for missing fields and impossible sizes."""
    if raw.get("no_config"):
        report.notes.append("fastai writes no config.json: sizes were told from the tensors")
        raw = {**raw, **NOT_IN_FASTAI}
    raw = {**raw, **{n: tuple(raw[n]) for n in ("lin_ftrs", "pair_heads") if isinstance(raw.get(n), list)}}  # of JSON
    config = UlmfitConfig(**read_fields(UlmfitConfig, raw, report, "ULMFiT"))
    sizes = (config.vocab_size, config.emb_sz, config.n_hid, config.n_layers, config.bptt, *config.lin_ftrs)
    if not all(type(size) is int and size > 0 for size in sizes) or min(config.max_len or 0, config.head_size) < 0:
        raise BadCheckpoint(f"The config holds a size that is no positive number: {sizes}.")
    return config


@dataclass(frozen=True)
class LstmState:
    """Output and cell of every layer after the last token read. A value: going on makes a new one."""

    prompt_part: ClassVar[int] = 64  # it cannot go back

    layers: tuple[tuple[Tensor, Tensor], ...]  # each [1, B, width of the layer], as torch keeps them
    lengths: tuple[int, ...]  # B

    def parts(self) -> tuple[LstmState, ...]:
        """Each text's own."""
        return tuple(
            LstmState(tuple((h[:, i : i + 1], c[:, i : i + 1]) for h, c in self.layers), (length,))
            for i, length in enumerate(self.lengths)
        )

    @staticmethod
    def joined(parts: Sequence[LstmState]) -> LstmState:
        """The texts of all."""
        layers = zip(*(part.layers for part in parts), strict=True)  # layer -> state -> (output, cell)
        return LstmState(
            tuple((torch.cat([h for h, _ in layer], 1), torch.cat([c for _, c in layer], 1)) for layer in layers),
            tuple(length for part in parts for length in part.lengths),
        )

    def resumed(self, length: int, capacity: int) -> LstmState | None:
        """The same at its end; what was before is not known any more."""
        return self if (length,) == self.lengths else None


class AwdLstm(nn.Module):
    """The embedding and the LSTM layers (Merity et al. 2017, sections 2 and 4)."""

    def __init__(self, config: UlmfitConfig) -> None:
        super().__init__()
        widths = [config.emb_sz] + [config.n_hid] * (config.n_layers - 1) + [config.emb_sz]
        self.word = nn.Embedding(config.vocab_size, config.emb_sz)
        self.rnns = nn.ModuleList(nn.LSTM(before, after, batch_first=True) for before, after in pairwise(widths))

    @property
    def input_embedding(self) -> nn.Module:
        """What turns ids into a vector for each token."""
        return self.word

    def forward(self, batch: Batch, state: State | None = None, trace: Trace | None = None) -> Hidden:
        """-> Hidden with rows [N, D], and with a state the one after the new tokens."""
        assert state is None or isinstance(state, LstmState)
        x: Tensor = self.word(batch.ids)  # [N, D]
        grown: list[tuple[Tensor, Tensor]] = []
        for index, rnn in enumerate(self.rnns):
            if trace is not None:
                trace.layers.append(x)
            if state is None:
                x = read_whole(rnn, x, batch)  # [N, width of the layer]
            else:
                x, after = read_on(rnn, x, batch, state.layers[index])
                grown.append(after)
        if trace is not None:
            trace.layers.append(x)
        if state is None:
            return Hidden(x)
        lengths = tuple(past + new for past, new in zip(state.lengths, batch.lengths, strict=True))
        return Hidden(x, LstmState(tuple(grown), lengths))


def read_whole(rnn: nn.Module, x: Tensor, batch: Batch) -> Tensor:
    """One LSTM layer from zeros: [N, D] -> [N, width]. All texts at once: what fills up short ones comes after them
    and changes nothing, because the layer reads forward only."""
    if len(batch.groups) == 1:
        return rnn(x.view(len(batch.lengths), -1, x.shape[1]))[0].flatten(0, 1)
    padded = pad_sequence(list(batch.split(x)), batch_first=True)  # [B, T, D]
    lengths = torch.tensor(batch.lengths, device=x.device)
    real = torch.arange(padded.shape[1], device=x.device) < lengths[:, None]  # [B, T]
    return rnn(padded)[0][real]  # [N, width]


def read_on(
    rnn: nn.Module, x: Tensor, batch: Batch, past: tuple[Tensor, Tensor]
) -> tuple[Tensor, tuple[Tensor, Tensor]]:
    """One LSTM layer on top of its past: [N, D] -> [N, width], and what it carries on. Texts of one length together,
    because torch gives the cell after the last step only."""
    rows, outputs, cells = [], [], []
    for first, texts, start, length in batch.groups:
        part = x[start : start + texts * length].view(texts, length, -1)
        before = tuple(kept[:, first : first + texts].contiguous() for kept in past)
        out, (output, cell) = rnn(part, before)
        rows.append(out.flatten(0, 1))
        outputs.append(output)
        cells.append(cell)
    return torch.cat(rows), (torch.cat(outputs, 1), torch.cat(cells, 1))


class Features(nn.Module):
    """The rows themselves, of an encoder without any head."""

    def forward(self, rows: Tensor, batch: Batch) -> Tensor:
        """[N, D] -> [N, D]."""
        return rows


def build(config: UlmfitConfig, heads: Mapping[str, HeadSpec]) -> Network:
    """The body with the named heads."""
    body = AwdLstm(config)
    width, size, inner, bias = config.emb_sz, config.head_size, config.lin_ftrs, config.lin_bias

    def head(name: str, spec: HeadSpec) -> nn.Module:
        if spec.kind == "lm":
            word = body.word if config.tie_weights else nn.Embedding(config.vocab_size, width)
            return LanguageModel(word, config.out_bias)  # a bias except in 2018
        if spec.kind == "classifier" and name in config.pair_heads:
            return ReadingPair(body.word, size, len(spec.labels))
        if spec.kind == "classifier":
            widths = (3 * width, *inner, len(spec.labels))
            return PoolingClassifier(widths, bias, config.pad_token, config.bptt, config.max_len)
        if spec.kind == "span":
            return ReadingSpan(body.word, size, none="first")
        assert spec.kind == "features", f"ULMFiT has no {spec.kind} head"
        return Features()

    return Network(body, {name: head(name, spec) for name, spec in heads.items()})


def heads_in(keys: Collection[str], raw: Mapping[str, Any]) -> dict[str, HeadSpec]:
    """The head of a published file: it holds a language model, a classifier, or the encoder of either."""
    if "1.decoder.weight" in keys:
        return {"lm": HeadSpec("lm")}
    if layers_of(keys):
        return {"classifier": HeadSpec("classifier", labels_of(raw))}
    return {"features": HeadSpec("features")}


def keys(config: UlmfitConfig, heads: Mapping[str, HeadSpec], names: Collection[str]) -> KeyTable:
    """How the names of fastai 0.7, 1 and 2 become ours.

    All keep the recurrent weights as `_raw` beside the copy that dropout thins out, and some wrote that copy, too.
    """
    stem = stem_of(names)
    source, target = stem + "rnns.{i}.", "body.rnns.{i}."
    rules: list[Rule] = [
        Rename(f"{stem}encoder.weight", "body.word.weight"),
        Alias(f"{stem}encoder_dp.emb.weight", "body.word.weight"),
        Alias(f"{stem}encoder_with_dropout.embed.weight", "body.word.weight"),
        Rename(f"{source}weight_hh_l0_raw", f"{target}weight_hh_l0"),
        Rename(f"{source}module.weight_hh_l0_raw", f"{target}weight_hh_l0"),
        Drop(f"{source}module.weight_hh_l0", "the recurrent weights as dropout left them at the last training step"),
    ]
    for name in ("weight_ih_l0", "bias_ih_l0", "bias_hh_l0"):
        rules += [Rename(f"{source}{module}{name}", f"{target}{name}") for module in ("module.", "")]
    rules.append(Rename(f"{source}weight_hh_l0", f"{target}weight_hh_l0"))  # a layer that had no dropout of weights
    decoder = "body.word.weight" if config.tie_weights else "heads.lm.embedding.weight"
    rules.append((Alias if config.tie_weights else Rename)("1.decoder.weight", decoder))
    rules.append(Rename("1.decoder.bias", "heads.lm.bias"))
    for index, (norm, linear) in enumerate(layers_of(names)):
        ours = f"heads.classifier.layers.{index}."
        rules += [
            Rename(f"{norm}.{{p}}", f"{ours}norm.{{p}}"),
            Rename(f"{norm}.running_mean", f"{ours}norm.running_mean"),
            Rename(f"{norm}.running_var", f"{ours}norm.running_var"),
            Drop(f"{norm}.num_batches_tracked", "a counter of training steps"),
            Rename(f"{linear}.{{p}}", f"{ours}out.{{p}}"),
        ]
    return KeyTable(tuple(rules))


def read_tokenizer(files: Opened, config: UlmfitConfig) -> Tokenizer:
    """fastai's rules with the vocabulary of the checkpoint, which must name every row of the embedding."""
    tokenizer = fastai_tokenizer(files.folder, files.vocabulary, files.config.get("text_rules"))
    if tokenizer.vocabulary != config.vocab_size:
        raise BadCheckpoint(
            f"{files.folder}: the vocabulary has {tokenizer.vocabulary} words, the embedding {config.vocab_size} rows. "
            "They belong to different checkpoints."
        )
    return tokenizer


def new_state(config: UlmfitConfig, texts: int, capacity: int, like: Tensor) -> LstmState:
    """Zeros for every layer; the state has one size however long a text grows, so `capacity` does not matter."""
    widths: Sequence[int] = [config.n_hid] * (config.n_layers - 1) + [config.emb_sz]
    layers = tuple((like.new_zeros(1, texts, width), like.new_zeros(1, texts, width)) for width in widths)
    return LstmState(layers, (0,) * texts)


FAMILY = Family(
    families.ULMFIT,
    model_types=("ulmfit",),
    read_config=read_config,
    build=build,
    heads_in=heads_in,
    keys=keys,
    read_tokenizer=read_tokenizer,
    tokenizer_files=("tokenizer.json",),
    longest=lambda config: LONGEST,
    new_state=new_state,
    layouts=LAYOUTS,
)
