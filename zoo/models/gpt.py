"""GPT (Radford et al. 2018, "Improving Language Understanding by Generative Pre-Training"; original code
openai/finetune-transformer-lm train.py).

Differs from the transformer decoder: no second text to attend to, learned positions, and pre-training by guessing the
next piece; for a task the input is put into one row of tokens and the last of them is read. Norm comes after each
sum, without another at the end; "gelu" is the tanh approximation. N rows, D width, B texts, K labels, V vocabulary.
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
from zoo.heads import Classifier, LanguageModel, PlainPool, Similarity
from zoo.layers.activations import Activation, gelu_tanh, relu, silu
from zoo.layers.attention import CausalAttention, KeyValues
from zoo.layers.blocks import FeedForward, PostNormBlock
from zoo.layers.pooling import last_token
from zoo.tokenizers.subword import SubwordTokenizer, word_end_bpe
from zoo.weights.keymap import Alias, Drop, KeyTable, LoadReport, Rename, Rule, transpose
from zoo.weights.layout import Opened

# "gelu" means another function here than in every later family; "swish" is the original code's name of SiLU.
ACTIVATIONS: dict[str, Activation] = {"gelu": gelu_tanh, "relu": relu, "silu": silu, "swish": silu}

# Section 3.3 of the paper: around and between the texts of a task stand tokens that fine-tuning adds.
START, DELIMITER, CLASSIFY = "_start_", "_delimiter_", "_classify_"


@dataclass(frozen=True)
class GptConfig:
    """Named as in config.json. Defaults are what the reference code takes when a file leaves the field out."""

    vocab_size: int
    n_positions: int
    n_embd: int
    n_layer: int
    n_head: int
    afn: str = "gelu"
    layer_norm_epsilon: float = 1e-5
    resid_pdrop: float = 0.1
    embd_pdrop: float = 0.1
    attn_pdrop: float = 0.1
    n_special: int = 0  # files of 2018 and 2019 count the tokens that fine-tuning added apart from vocab_size
    tie_word_embeddings: bool = True
    eos_token_id: int | None = None

    @property
    def rows(self) -> int:
        """V: rows of the embedding."""
        return self.vocab_size + self.n_special


def read_config(raw: Mapping[str, Any], report: LoadReport) -> GptConfig:
    """Check and read config.json. Raises BadCheckpoint for missing fields and variants not computed here."""
    require(raw, "GPT", afn=tuple(ACTIVATIONS), predict_special_tokens=(True,))
    config = GptConfig(**read_fields(GptConfig, raw, report, "GPT"))
    if config.n_embd % config.n_head:
        raise BadCheckpoint(f"config.json: n_embd {config.n_embd} is no multiple of n_head {config.n_head}.")
    return config


class Gpt(nn.Module):
    """The decoder.

    The reference masks softly: a score of the future becomes -10,000 (-1e9 in the original code) and takes part in the
    softmax. In float32 its weight there is exactly 0 unless every score of the past is below -9,890. So the future is
    left out here, which is the same number and lets a state stand for the past.
    """

    def __init__(self, config: GptConfig) -> None:
        super().__init__()
        width = config.n_embd
        self.word = nn.Embedding(config.rows, width)
        self.position = nn.Embedding(config.n_positions, width)
        self.dropout = nn.Dropout(config.embd_pdrop)
        self.blocks = nn.ModuleList(
            PostNormBlock(
                CausalAttention(width, config.n_head, config.attn_pdrop),
                FeedForward(width, 4 * width, ACTIVATIONS[config.afn]),
                width,
                config.layer_norm_epsilon,
                config.resid_pdrop,
            )
            for _ in range(config.n_layer)
        )

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
        if trace is not None:
            trace.layers.append(x)
        return Hidden(x, state.grown(batch.lengths) if state is not None else None)


def build(config: GptConfig, heads: Mapping[str, HeadSpec]) -> Network:
    """The body with the named heads."""
    body = Gpt(config)
    width = config.n_embd

    def head(spec: HeadSpec) -> nn.Module:
        if spec.kind == "lm":
            return LanguageModel(body.word if config.tie_word_embeddings else nn.Embedding(config.rows, width))
        if spec.kind == "classifier":
            return Classifier(PlainPool(last_token), width, len(spec.labels), bias=False)
        if spec.kind == "similarity":
            return Similarity(PlainPool(last_token), width, len(spec.labels))
        assert spec.kind == "choice", f"GPT has no {spec.kind} head"
        return Classifier(PlainPool(last_token), width, 1)

    return Network(body, {name: head(spec) for name, spec in heads.items()})


def heads_in(keys: Collection[str], raw: Mapping[str, Any]) -> dict[str, HeadSpec]:
    """The heads of a published file. The LM head is tied, so files often leave it out: a file without a classifier is
    a language model.

    No published file has a similarity head; checkpoints of this project name it themselves.
    """
    if "score.weight" in keys:
        return {"classifier": HeadSpec("classifier", labels_of(raw))}
    heads = {"lm": HeadSpec("lm")}
    if any(key.startswith("multiple_choice_head.") for key in keys):
        require(
            raw,
            "GPT",
            summary_type=("cls_index", "last"),  # the token given, or the last: the same with the templates below
            summary_use_proj=(True,),
            summary_proj_to_labels=(True,),
            summary_activation=(None,),
        )
        heads["choice"] = HeadSpec("choice")
    return heads


def keys(config: GptConfig, heads: Mapping[str, HeadSpec], names: Collection[str]) -> KeyTable:
    """How published names become ours. The original Conv1D keeps weights as [in, out]."""
    layer, block = "h.{i}.", "body.blocks.{i}."
    rules: list[Rule] = [
        Rename("tokens_embed.weight", "body.word.weight"),
        Rename("positions_embed.weight", "body.position.weight"),
        Drop("position_ids", "a buffer that counts 0, 1, 2, ..."),
        Rename(layer + "attn.c_attn.{p}", block + "attention.qkv.{p}", transpose),
        Rename(layer + "attn.c_proj.{p}", block + "attention.out.{p}", transpose),
        Drop(layer + "attn.bias", "a buffer: the causal mask", rank=4),
        Rename(layer + "ln_1.{p}", block + "attention_norm.{p}"),
        Rename(layer + "mlp.c_fc.{p}", block + "feed_forward.up.{p}", transpose),
        Rename(layer + "mlp.c_proj.{p}", block + "feed_forward.down.{p}", transpose),
        Rename(layer + "ln_2.{p}", block + "feed_forward_norm.{p}"),
        Rename("score.weight", "heads.classifier.out.weight"),
        Rename("multiple_choice_head.summary.{p}", "heads.choice.out.{p}"),
        Rename("multiple_choice_head.linear.{p}", "heads.choice.out.{p}"),  # as it was called before July 2019
    ]
    for output in ("lm_head.weight", "lm_head.decoder.weight"):  # now, and before July 2019
        if config.tie_word_embeddings:
            rules.append(Alias(output, "body.word.weight"))
        else:
            rules.append(Rename(output, "heads.lm.embedding.weight"))
    return KeyTable(tuple(rules), prefix="transformer.")


def read_tokenizer(files: Opened, config: GptConfig) -> Tokenizer:
    """BPE with </w> at the ends of words, lower-cased, and the templates of section 3.3.

    Classification is one text, entailment, similarity and multiple choice are pairs. A vocabulary without the three
    tokens is that of the language model, or of a model fine-tuned in another way: texts stand there as they are.
    """
    pipeline = word_end_bpe(files.folder)
    if any(pipeline.token_to_id(token) is None for token in (START, DELIMITER, CLASSIFY)):
        return SubwordTokenizer(pipeline, single="A:0", pair="A:0 B:0", end=config.eos_token_id)
    return SubwordTokenizer(
        pipeline,
        single=f"{START}:0 A:0 {CLASSIFY}:0!",
        pair=f"{START}:0 A:0 {DELIMITER}:0 B:0 {CLASSIFY}:0!",
        prompt=f"{START}:0 A:0",
        end=config.eos_token_id,
    )


def new_state(config: GptConfig, texts: int, capacity: int, like: Tensor) -> KeyValues:
    """Room for `capacity` tokens of each text."""
    return KeyValues.empty(config.n_layer, texts, config.n_head, capacity, config.n_embd // config.n_head, like)


FAMILY = Family(
    families.GPT,
    model_types=("openai-gpt",),
    read_config=read_config,
    build=build,
    heads_in=heads_in,
    keys=keys,
    read_tokenizer=read_tokenizer,
    tokenizer_files=(
        "tokenizer.json",
        "vocab.json",
        "merges.txt",
        "encoder_bpe_40000.json",
        "vocab_40000.bpe",
        "added_tokens.json",
        "special_tokens.txt",
        "tokenizer_config.json",
    ),
    longest=lambda config: config.n_positions,
    new_state=new_state,
    vocabulary=lambda config: config.rows,
)
