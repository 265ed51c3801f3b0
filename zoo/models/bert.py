"""BERT (Devlin et al. 2019, https://arxiv.org/abs/1810.04805; original code google-research/bert modeling.py).

Differs from the transformer encoder: learned positions, a segment embedding, and pre-training by masked words.
Norm comes after each sum; "gelu" is the exact one. N rows, D width, B texts, K labels, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from zoo import families
from zoo.contracts import Batch, HeadSpec, Hidden, State, Tokenizer, Trace
from zoo.errors import BadCheckpoint
from zoo.family import Family, Network, labels_of, read_fields, require
from zoo.heads import Classifier, MaskedLanguageModel, Pooler, RowScores
from zoo.layers.activations import Activation, gelu_erf, gelu_tanh, relu
from zoo.layers.attention import SelfAttention
from zoo.layers.blocks import FeedForward, PostNormBlock
from zoo.layers.pooling import first_token
from zoo.layers.short_texts import ShortTexts
from zoo.tokenizers.subword import wordpiece
from zoo.weights.keymap import Alias, Drop, Join, KeyTable, LoadReport, Rename, Rule
from zoo.weights.layout import Opened

ACTIVATIONS: dict[str, Activation] = {"gelu": gelu_erf, "gelu_new": gelu_tanh, "relu": relu}


@dataclass(frozen=True)
class BertConfig:
    """Named as in config.json. Defaults are what the reference code takes when a file leaves the field out."""

    vocab_size: int
    hidden_size: int
    num_hidden_layers: int
    num_attention_heads: int
    intermediate_size: int
    hidden_act: str
    max_position_embeddings: int
    type_vocab_size: int
    layer_norm_eps: float = 1e-12
    hidden_dropout_prob: float = 0.1
    attention_probs_dropout_prob: float = 0.1
    tie_word_embeddings: bool = True


def read_config(raw: Mapping[str, Any], report: LoadReport) -> BertConfig:
    """Check and read config.json. Raises BadCheckpoint for missing fields and variants not computed here."""
    require(
        raw,
        "BERT",
        hidden_act=tuple(ACTIVATIONS),
        position_embedding_type=("absolute",),
        is_decoder=(False,),
        add_cross_attention=(False,),
        use_relative_position=(False,),
    )
    config = BertConfig(**read_fields(BertConfig, raw, report, "BERT"))
    if config.hidden_size % config.num_attention_heads:
        raise BadCheckpoint(
            f"config.json: hidden_size {config.hidden_size} is no multiple of num_attention_heads "
            f"{config.num_attention_heads}."
        )
    return config


class Embeddings(nn.Module):
    """Word, position and segment embeddings, summed and normed."""

    def __init__(self, config: BertConfig) -> None:
        super().__init__()
        self.word = nn.Embedding(config.vocab_size, config.hidden_size)
        self.position = nn.Embedding(config.max_position_embeddings, config.hidden_size)
        self.segment = nn.Embedding(config.type_vocab_size, config.hidden_size)
        self.norm = nn.LayerNorm(config.hidden_size, config.layer_norm_eps)
        self.dropout = nn.Dropout(config.hidden_dropout_prob)

    def forward(self, batch: Batch) -> Tensor:
        """-> [N, D]."""
        x = self.word(batch.ids) + self.segment(batch.segments) + self.position(batch.positions)
        return self.dropout(self.norm(x))


class Bert(nn.Module):
    """The encoder."""

    def __init__(self, config: BertConfig) -> None:
        super().__init__()
        width, eps = config.hidden_size, config.layer_norm_eps
        self.embeddings = Embeddings(config)
        self.blocks = nn.ModuleList(
            PostNormBlock(
                SelfAttention(width, config.num_attention_heads, config.attention_probs_dropout_prob),
                FeedForward(width, config.intermediate_size, ACTIVATIONS[config.hidden_act]),
                width,
                eps,
                config.hidden_dropout_prob,
            )
            for _ in range(config.num_hidden_layers)
        )
        self.short_texts: ShortTexts | None = None  # reads them where it is faster, see zoo/engine/precision.py

    @property
    def input_embedding(self) -> nn.Module:
        """What turns ids into a vector for each token."""
        return self.embeddings.word

    def forward(self, batch: Batch, state: State | None = None, trace: Trace | None = None) -> Hidden:
        """-> Hidden with rows [N, D]. BERT reads whole texts and takes no state."""
        assert state is None, "BERT carries no state"
        x = self.embeddings(batch)
        if self.short_texts is not None and trace is None and self.short_texts.takes(batch):
            return Hidden(self.short_texts(x))
        for block in self.blocks:
            if trace is not None:
                trace.layers.append(x)
            x = block(x, batch, None, trace)
        if trace is not None:
            trace.layers.append(x)
        return Hidden(x)


def build(config: BertConfig, heads: Mapping[str, HeadSpec]) -> Network:
    """The body with the named heads."""
    body = Bert(config)
    width, drop = config.hidden_size, config.hidden_dropout_prob

    def head(spec: HeadSpec) -> nn.Module:
        if spec.kind == "classifier":
            return Classifier(Pooler(first_token, width), width, len(spec.labels), dropout=drop)
        if spec.kind == "choice":
            return Classifier(Pooler(first_token, width), width, 1, dropout=drop)
        if spec.kind == "pooled":
            return Pooler(first_token, width)
        if spec.kind == "tokens":
            return RowScores(width, len(spec.labels))
        if spec.kind == "span":
            return RowScores(width, 2)
        assert spec.kind == "masked_lm", f"BERT has no {spec.kind} head"
        tied = config.tie_word_embeddings
        words = body.embeddings.word if tied else nn.Embedding(config.vocab_size, width)
        return MaskedLanguageModel(words, ACTIVATIONS[config.hidden_act], config.layer_norm_eps)

    return Network(body, {name: head(spec) for name, spec in heads.items()})


def heads_in(keys: Collection[str], raw: Mapping[str, Any]) -> dict[str, HeadSpec]:
    """The heads whose tensors a published file holds. Only a file knows: configs often name another class."""
    heads: dict[str, HeadSpec] = {}
    if "cls.predictions.transform.dense.weight" in keys:
        heads["masked_lm"] = HeadSpec("masked_lm")
    if "cls.seq_relationship.weight" in keys:
        heads["next_sentence"] = HeadSpec("classifier", ("is_next", "not_next"))
    if "qa_outputs.weight" in keys:
        heads["span"] = HeadSpec("span")
    if "classifier.weight" in keys:
        classes = raw.get("architectures") or ()  # three classes with the same tensor names
        if "BertForMultipleChoice" in classes:
            heads["classifier"] = HeadSpec("choice")
        else:
            kind = "tokens" if "BertForTokenClassification" in classes else "classifier"
            heads["classifier"] = HeadSpec(kind, labels_of(raw))
    pooled_by = [name for name, spec in heads.items() if spec.kind in ("classifier", "choice")]
    if "pooler.dense.weight" in keys and not pooled_by:
        heads["pooled"] = HeadSpec("pooled")
    return heads


def keys(config: BertConfig, heads: Mapping[str, HeadSpec], names: Collection[str]) -> KeyTable:
    """How published names become ours; the pooler belongs to the one head that reads it."""
    layer = "encoder.layer.{i}."
    attention = layer + "attention."
    joined = tuple(f"{attention}self.{part}.{{p}}" for part in ("query", "key", "value"))
    rules: list[Rule] = [
        Rename("embeddings.word_embeddings.weight", "body.embeddings.word.weight"),
        Rename("embeddings.position_embeddings.weight", "body.embeddings.position.weight"),
        Rename("embeddings.token_type_embeddings.weight", "body.embeddings.segment.weight"),
        Rename("embeddings.LayerNorm.{p}", "body.embeddings.norm.{p}"),
        Drop("embeddings.position_ids", "a buffer that counts 0, 1, 2, ..."),
        Drop("embeddings.token_type_ids", "a buffer of zeros"),
        Join(joined, "body.blocks.{i}.attention.qkv.{p}"),
        Rename(attention + "output.dense.{p}", "body.blocks.{i}.attention.out.{p}"),
        Rename(attention + "output.LayerNorm.{p}", "body.blocks.{i}.attention_norm.{p}"),
        Rename(layer + "intermediate.dense.{p}", "body.blocks.{i}.feed_forward.up.{p}"),
        Rename(layer + "output.dense.{p}", "body.blocks.{i}.feed_forward.down.{p}"),
        Rename(layer + "output.LayerNorm.{p}", "body.blocks.{i}.feed_forward_norm.{p}"),
        Drop("fit_dense.{p}", "a projection used in TinyBERT's distillation only"),
        Drop("fit_denses.{i}.{p}", "a projection used in TinyBERT's distillation only"),
        Rename("cls.predictions.transform.dense.{p}", "heads.masked_lm.dense.{p}"),
        Rename("cls.predictions.transform.LayerNorm.{p}", "heads.masked_lm.norm.{p}"),
        Rename("cls.seq_relationship.{p}", "heads.next_sentence.out.{p}"),
        Rename("qa_outputs.{p}", "heads.span.out.{p}"),
        Rename("classifier.{p}", "heads.classifier.out.{p}"),
    ]
    bias, decoder = "cls.predictions.bias", "cls.predictions.decoder."
    if config.tie_word_embeddings:
        rules += [Rename(bias, "heads.masked_lm.bias"), Alias(decoder + "bias", "heads.masked_lm.bias")]
        rules.append(Alias(decoder + "weight", "body.embeddings.word.weight"))
    else:
        if decoder + "bias" in names:  # it is the one that is added; the other is a leftover, often equal
            rules += [Rename(decoder + "bias", "heads.masked_lm.bias"), Drop(bias, "unused beside the decoder's bias")]
        else:
            rules.append(Rename(bias, "heads.masked_lm.bias"))
        rules.append(Rename(decoder + "weight", "heads.masked_lm.embedding.weight"))
    for name, spec in heads.items():
        if spec.kind == "pooled":
            rules.append(Rename("pooler.dense.{p}", f"heads.{name}.dense.{{p}}"))
        elif spec.kind in ("classifier", "choice"):
            rules.append(Rename("pooler.dense.{p}", f"heads.{name}.pooler.dense.{{p}}"))
            break
    return KeyTable(tuple(rules), prefix="bert.")


def read_tokenizer(files: Opened, config: BertConfig) -> Tokenizer:
    """WordPiece from tokenizer.json, or built from vocab.txt."""
    return wordpiece(files.folder, template="[CLS]:0 A:0 [SEP]:0", pair="[CLS]:0 A:0 [SEP]:0 B:1 [SEP]:1")


FAMILY = Family(
    families.BERT,
    model_types=("bert",),
    read_config=read_config,
    build=build,
    heads_in=heads_in,
    keys=keys,
    read_tokenizer=read_tokenizer,
    tokenizer_files=("tokenizer.json", "vocab.txt", "tokenizer_config.json", "added_tokens.json"),
    longest=lambda config: config.max_position_embeddings,
)
