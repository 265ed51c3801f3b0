"""GPT-2 (Radford et al. 2019, "Language Models are Unsupervised Multitask Learners"; original code openai/gpt-2).

Differs from GPT: norm before each part and once more at the end, byte-level BPE, a longer context. "gelu_new" is the
tanh approximation. N rows, D width, B texts, H heads, V vocabulary.
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
from zoo.heads import Classifier, LanguageModel, PlainPool, RowScores
from zoo.layers.activations import Activation, gelu_erf, gelu_tanh, relu
from zoo.layers.attention import CausalAttention, KeyValues
from zoo.layers.blocks import FeedForward, PreNormBlock
from zoo.layers.pooling import last_token
from zoo.models.gpt import CLASSIFY, DELIMITER, START
from zoo.models.reading import ReadingPair, ReadingSpan, with_reader
from zoo.tokenizers.subword import byte_level_bpe, has_wordpiece, wordpiece
from zoo.weights.keymap import Alias, Drop, KeyTable, LoadReport, Rename, Rule, transpose
from zoo.weights.layout import Opened

ACTIVATIONS: dict[str, Activation] = {
    "gelu_new": gelu_tanh,
    "gelu_pytorch_tanh": gelu_tanh,
    "gelu": gelu_erf,
    "relu": relu,
}


@dataclass(frozen=True)
class Gpt2Config:
    """Named as in config.json. Defaults are what the reference code takes when a file leaves the field out."""

    vocab_size: int
    n_positions: int
    n_embd: int
    n_layer: int
    n_head: int
    n_inner: int | None = None  # null means four times the width
    activation_function: str = "gelu_new"
    layer_norm_epsilon: float = 1e-5
    resid_pdrop: float = 0.1
    embd_pdrop: float = 0.1
    attn_pdrop: float = 0.1
    tie_word_embeddings: bool = True
    eos_token_id: int | None = None
    reader: int = 0  # of this project's checkpoints: width of the heads that read the rows again; 0 for linear maps
    pair_heads: tuple = ()  # names of the classifiers that compare two texts


def read_config(raw: Mapping[str, Any], report: LoadReport) -> Gpt2Config:
    """Check and read config.json. Raises BadCheckpoint for missing fields and variants not computed here."""
    require(
        raw,
        "GPT-2",
        activation_function=tuple(ACTIVATIONS),
        scale_attn_weights=(True,),
        scale_attn_by_inverse_layer_idx=(False,),
        add_cross_attention=(False,),
    )
    raw = with_reader(raw)
    config = Gpt2Config(**read_fields(Gpt2Config, raw, report, "GPT-2"))
    if config.n_embd % config.n_head:
        raise BadCheckpoint(f"config.json: n_embd {config.n_embd} is no multiple of n_head {config.n_head}.")
    return config


class Gpt2(nn.Module):
    """The decoder."""

    def __init__(self, config: Gpt2Config) -> None:
        super().__init__()
        width, eps = config.n_embd, config.layer_norm_epsilon
        self.word = nn.Embedding(config.vocab_size, width)
        self.position = nn.Embedding(config.n_positions, width)
        self.dropout = nn.Dropout(config.embd_pdrop)
        self.blocks = nn.ModuleList(
            PreNormBlock(
                CausalAttention(width, config.n_head, config.attn_pdrop),
                FeedForward(width, config.n_inner or 4 * width, ACTIVATIONS[config.activation_function]),
                width,
                eps,
                config.resid_pdrop,
            )
            for _ in range(config.n_layer)
        )
        self.norm = nn.LayerNorm(width, eps)

    @property
    def input_embedding(self) -> nn.Module:
        """What turns ids into a vector for each token."""
        return self.word

    def forward(self, batch: Batch, state: State | None = None, trace: Trace | None = None) -> Hidden:
        """-> Hidden with rows [N, D], and with a state the one that counts the new tokens too."""
        assert state is None or isinstance(state, KeyValues)
        x: Tensor = self.dropout(self.word(batch.ids) + self.position(batch.positions))  # [N, D]
        for index, block in enumerate(self.blocks):
            if trace is not None:
                trace.layers.append(x)
            x = block(x, batch, state.layer(index) if state is not None else None, trace)
        x = self.finish(x)
        if trace is not None:
            trace.layers.append(x)
        return Hidden(x, state.grown(batch.lengths) if state is not None else None)

    def finish(self, rows: Tensor) -> Tensor:
        """What is done to the last block's rows before heads read them: [N, D] -> [N, D]."""
        return self.norm(rows)


def build(config: Gpt2Config, heads: Mapping[str, HeadSpec]) -> Network:
    """The body with the named heads."""
    body = Gpt2(config)
    width = config.n_embd

    def head(name: str, spec: HeadSpec) -> nn.Module:
        if spec.kind == "lm":
            tied = config.tie_word_embeddings
            return LanguageModel(body.word if tied else nn.Embedding(config.vocab_size, width))
        if spec.kind == "classifier" and config.reader and name in config.pair_heads:
            return ReadingPair(body.word, config.reader, len(spec.labels))
        if spec.kind == "classifier":
            return Classifier(PlainPool(last_token), width, len(spec.labels), bias=False)
        if spec.kind == "choice":
            return Classifier(PlainPool(last_token), width, 1)
        if spec.kind == "span" and config.reader:
            return ReadingSpan(body.word, config.reader)
        assert spec.kind in ("tokens", "span"), f"GPT-2 has no {spec.kind} head"
        return RowScores(width, len(spec.labels) if spec.kind == "tokens" else 2)

    return Network(body, {name: head(name, spec) for name, spec in heads.items()})


def heads_in(keys: Collection[str], raw: Mapping[str, Any]) -> dict[str, HeadSpec]:
    """The heads of a published file. The LM head is tied, so files often leave it out: a file without a classifier is
    a language model."""
    if "score.weight" in keys:
        return {"classifier": HeadSpec("classifier", labels_of(raw))}
    if "classifier.weight" in keys:
        return {"tokens": HeadSpec("tokens", labels_of(raw))}
    if "qa_outputs.weight" in keys:
        return {"span": HeadSpec("span")}
    heads = {"lm": HeadSpec("lm")}
    if "multiple_choice_head.summary.weight" in keys:
        require(
            raw,
            "GPT-2",
            summary_type=("cls_index", "last"),  # the token given, or the last: the same in the inputs made here
            summary_use_proj=(True,),
            summary_proj_to_labels=(True,),
            summary_activation=(None,),
        )
        heads["choice"] = HeadSpec("choice")
    return heads


def keys(config: Gpt2Config, heads: Mapping[str, HeadSpec], names: Collection[str]) -> KeyTable:
    """How published names become ours. The original Conv1D keeps weights as [in, out]."""
    layer, block = "h.{i}.", "body.blocks.{i}."
    rules: list[Rule] = [
        Rename("wte.weight", "body.word.weight"),
        Rename("wpe.weight", "body.position.weight"),
        Rename(layer + "ln_1.{p}", block + "attention_norm.{p}"),
        Rename(layer + "attn.c_attn.{p}", block + "attention.qkv.{p}", transpose),
        Rename(layer + "attn.c_proj.{p}", block + "attention.out.{p}", transpose),
        Drop(layer + "attn.bias", "a buffer: the causal mask", rank=4),
        Drop(layer + "attn.masked_bias", "a buffer: the number that stands for minus infinity"),
        Rename(layer + "ln_2.{p}", block + "feed_forward_norm.{p}"),
        Rename(layer + "mlp.c_fc.{p}", block + "feed_forward.up.{p}", transpose),
        Rename(layer + "mlp.c_proj.{p}", block + "feed_forward.down.{p}", transpose),
        Rename("ln_f.{p}", "body.norm.{p}"),
        Rename("score.weight", "heads.classifier.out.weight"),
        Rename("classifier.{p}", "heads.tokens.out.{p}"),
        Rename("qa_outputs.{p}", "heads.span.out.{p}"),
        Rename("multiple_choice_head.summary.{p}", "heads.choice.out.{p}"),
    ]
    if config.tie_word_embeddings:
        rules.append(Alias("lm_head.weight", "body.word.weight"))
    else:
        rules.append(Rename("lm_head.weight", "heads.lm.embedding.weight"))
    return KeyTable(tuple(rules), prefix="transformer.")


def read_tokenizer(files: Opened, config: Gpt2Config) -> Tokenizer:
    """Byte-level BPE from tokenizer.json, or built from vocab.json and merges.txt; BERT's WordPiece for Chinese models
    that were published with it.

    A vocabulary that ends in GPT's three tokens is that of a model fine-tuned by GPT's section 3.3: its tasks have the
    inputs described there. A text to be continued stands alone all the same, as in pre-training.
    """
    if not has_wordpiece(files.folder, files.config.get("tokenizer_class")):
        plain = byte_level_bpe(files.folder, end=config.eos_token_id)
        last = range(max(0, plain.vocabulary - 3), plain.vocabulary)
        if [plain.token(index) for index in last] != [START, DELIMITER, CLASSIFY]:
            return plain
        single, pair = f"{START}:0 A:0 {CLASSIFY}:0!", f"{START}:0 A:0 {DELIMITER}:0 B:0 {CLASSIFY}:0!"
        return byte_level_bpe(files.folder, config.eos_token_id, single, pair)
    # [SEP] ends a text whatever eos_token_id says: left out, it means 50256, which is not in such a vocabulary.
    single, pair = "[CLS]:0 A:0 [SEP]:0", "[CLS]:0 A:0 [SEP]:0 B:0 [SEP]:0"
    return wordpiece(files.folder, single, pair, prompt="[CLS]:0 A:0", end="[SEP]")


def new_state(config: Gpt2Config, texts: int, capacity: int, like: Tensor) -> KeyValues:
    """Room for `capacity` tokens of each text."""
    return KeyValues.empty(config.n_layer, texts, config.n_head, capacity, config.n_embd // config.n_head, like)


FAMILY = Family(
    families.GPT2,
    model_types=("gpt2",),
    read_config=read_config,
    build=build,
    heads_in=heads_in,
    keys=keys,
    read_tokenizer=read_tokenizer,
    tokenizer_files=(
        "tokenizer.json",
        "vocab.json",
        "merges.txt",
        "vocab.txt",
        "tokenizer_config.json",
        "added_tokens.json",
    ),
    longest=lambda config: config.n_positions,
    new_state=new_state,
)
