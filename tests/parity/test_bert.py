"""BERT against the reference library: every head, layer and attention map, and every way its files come."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from torch import Tensor
from transformers import AutoTokenizer, BertConfig

from tests.parity.reference import (
    TEXTS,
    VOCABULARY,
    Padded,
    build,
    compare_layers,
    encodings,
    load,
    save,
    save_pickle,
    write_wordpiece,
)
from zoo.contracts import Batch
from zoo.errors import CheckpointMismatch
from zoo.family import Model

LONGEST = 53
LABELS = {index: f"label-{chr(ord('z') - index)}" for index in range(12)}  # twelve, so that "10" is not put before "2"

SHAPES: dict[str, dict[str, Any]] = {
    "gelu": {"hidden_act": "gelu", "hidden_size": 24, "num_attention_heads": 3, "intermediate_size": 37},
    "gelu_new": {
        "hidden_act": "gelu_new",
        "hidden_size": 20,
        "num_attention_heads": 5,
        "intermediate_size": 11,
        "layer_norm_eps": 1e-2,
    },
    "relu": {"hidden_act": "relu", "hidden_size": 14, "num_attention_heads": 1, "intermediate_size": 61},
    "untied": {
        "hidden_act": "gelu",
        "hidden_size": 18,
        "num_attention_heads": 2,
        "intermediate_size": 19,
        "tie_word_embeddings": False,
    },
}


@dataclass(frozen=True)
class Case:
    """A class of the reference, its body, and what it calls the scores of our heads."""

    model: Any
    body: Callable[[Any], Any]
    heads: dict[str, Callable[[Any, Padded], Tensor]]


def span(out: Any, padded: Padded) -> Tensor:
    """Start and end scores as two columns, [N, 2]."""
    return torch.stack([padded.rows(out.start_logits), padded.rows(out.end_logits)], dim=1)


CASES = {
    "model": Case(transformers.BertModel, lambda m: m, {"pooled": lambda out, padded: out.pooler_output}),
    "masked-lm": Case(
        transformers.BertForMaskedLM, lambda m: m.bert, {"masked_lm": lambda out, padded: padded.rows(out.logits)}
    ),
    "pre-training": Case(
        transformers.BertForPreTraining,
        lambda m: m.bert,
        {
            "masked_lm": lambda out, padded: padded.rows(out.prediction_logits),
            "next_sentence": lambda out, padded: out.seq_relationship_logits,
        },
    ),
    "next-sentence": Case(
        transformers.BertForNextSentencePrediction, lambda m: m.bert, {"next_sentence": lambda out, padded: out.logits}
    ),
    "texts": Case(
        transformers.BertForSequenceClassification, lambda m: m.bert, {"classifier": lambda out, padded: out.logits}
    ),
    "tokens": Case(
        transformers.BertForTokenClassification,
        lambda m: m.bert,
        {"classifier": lambda out, padded: padded.rows(out.logits)},
    ),
    "span": Case(transformers.BertForQuestionAnswering, lambda m: m.bert, {"span": span}),
}


def make(case: str, shape: str, folder: Path, form: str = "safetensors") -> tuple[Any, Model]:
    """The reference, and ours out of its files."""
    config = BertConfig(
        vocab_size=len(VOCABULARY) + 3,
        num_hidden_layers=3,
        max_position_embeddings=LONGEST,
        type_vocab_size=2,
        id2label={0: "start", 1: "end"} if case == "span" else LABELS,
        **SHAPES[shape],
    )
    model = build(CASES[case].model, config)
    save(model, folder, form)
    write_wordpiece(folder)
    return model, load(folder)


MIXED = (1, 2, 3, 7, 7, LONGEST, 7, 1, 30)


@pytest.mark.parametrize("form", ["safetensors", "bin"])
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("case", CASES)
def test_heads(case: str, shape: str, form: str, tmp_path: Path, parity: Any) -> None:
    """Every head, on pairs of mixed lengths, where the reference pads on either side."""
    theirs, ours = make(case, shape, tmp_path, form)
    heads = CASES[case].heads
    assert set(ours.heads) == set(heads)
    texts = encodings(MIXED, len(VOCABULARY), pairs=True)
    for side in ("right", "left"):
        padded = Padded(texts, side, pad=5)
        out = theirs(**padded.inputs)
        for head, read in heads.items():
            if side == "left" and ours.heads[head].kind in ("pooled", "classifier"):
                continue  # the reference pools the first column, which is padding then
            parity(f"bert {head}", ours.network(Batch.of(texts), head), read(out, padded))


@pytest.mark.parametrize("side", ["right", "left"])
@pytest.mark.parametrize("shape", SHAPES)
def test_layers(shape: str, side: str, tmp_path: Path, parity: Any) -> None:
    """Every hidden layer and attention map."""
    theirs, ours = make("model", shape, tmp_path)
    texts = encodings(MIXED, len(VOCABULARY), seed=2, pairs=True)
    compare_layers(parity, "bert", ours, texts, theirs, Padded(texts, side))


@pytest.mark.parametrize("case", ["texts", "span"])
def test_from_text(case: str, tmp_path: Path, parity: Any) -> None:
    """From the same words to the same scores: tokenizer, template, segments and network together."""
    theirs, ours = make(case, "gelu", tmp_path)
    read = AutoTokenizer.from_pretrained(tmp_path)
    (head,) = ours.heads
    cut = ours.tokenizer.pieces
    for second in (None, "is it on the mat?"):
        pairs = [(text, second) for text in TEXTS]
        texts = [ours.tokenizer.assemble(cut(a), None if b is None else cut(b)) for a, b in pairs]
        inputs = read(*zip(*pairs, strict=True)) if second else read(TEXTS)
        assert [list(t.ids) for t in texts] == inputs["input_ids"]
        assert [list(t.segments) for t in texts] == inputs["token_type_ids"]
        padded = Padded(texts, "right")
        out = theirs(**read.pad(inputs, return_tensors="pt"))
        parity(f"bert {head} from text", ours.network(Batch.of(texts), head), CASES[case].heads[head](out, padded))


def test_labels_keep_the_order_of_the_file(tmp_path: Path) -> None:
    """Label names belong to columns by number: label 2 stands before label 10."""
    _, ours = make("texts", "gelu", tmp_path)
    assert ours.heads["classifier"].labels == tuple(LABELS.values())
    assert ours.heads["classifier"].kind == "classifier"


def test_token_labels(tmp_path: Path) -> None:
    """A token classifier has the same tensor names as a text classifier and is told apart by its class."""
    _, ours = make("tokens", "gelu", tmp_path)
    assert ours.heads["classifier"].kind == "tokens"


@pytest.mark.parametrize("shape", SHAPES)
def test_neighbours_change_nothing(shape: str, tmp_path: Path, parity: Any) -> None:
    """A text's rows and scores do not depend on the other texts of the batch, nor on its place."""
    _, ours = make("model", shape, tmp_path)
    texts = encodings(MIXED, len(VOCABULARY), seed=3, pairs=True)
    together = list(Batch.of(texts).split(ours.network.body(Batch.of(texts)).last))
    pooled = ours.network(Batch.of(texts), "pooled")
    for index, text in enumerate(texts):
        parity("bert alone or together", together[index], ours.network.body(Batch.of([text])).last)
        parity("bert alone or together", pooled[index], ours.network(Batch.of([text]), "pooled")[0])
    turned = Batch.of(texts[::-1])
    parity("bert alone or together", pooled.flip(0), ours.network(turned, "pooled"))


@pytest.mark.parametrize("form", ["shards", "old"])
def test_other_file_formats(form: str, tmp_path: Path, parity: Any) -> None:
    """Sharded safetensors, and pickles of before torch 1.6."""
    theirs, ours = make("pre-training", "gelu", tmp_path, form)
    texts = encodings(MIXED, len(VOCABULARY))
    padded = Padded(texts, "right")
    parity("bert masked_lm", ours.network(Batch.of(texts), "masked_lm"), padded.rows(theirs(**padded.inputs)[0]))


def test_names_of_2018(tmp_path: Path, parity: Any) -> None:
    """Files of the first years: gamma and beta for the norms, no second name of the vocabulary's bias, and among the
    weights what is none: a buffer, and TinyBERT's projections."""
    theirs, _ = make("pre-training", "gelu", tmp_path)
    (tmp_path / "model.safetensors").unlink()
    state = {}
    for key, tensor in theirs.state_dict().items():
        if key.endswith("LayerNorm.weight"):
            key = key.replace("LayerNorm.weight", "LayerNorm.gamma")
        state[key.replace("LayerNorm.bias", "LayerNorm.beta")] = tensor
    del state["cls.predictions.decoder.bias"]
    none = {"bert.embeddings.position_ids": torch.arange(LONGEST)[None]}
    none |= {f"{name}.{p}": torch.ones(3) for name in ("fit_dense", "fit_denses.2") for p in ("weight", "bias")}
    save_pickle(state | none, tmp_path)
    ours = load(tmp_path)
    assert set(ours.report.dropped) == {*none, "cls.predictions.decoder.weight"}
    texts = encodings(MIXED, len(VOCABULARY))
    padded = Padded(texts, "right")
    out = theirs(**padded.inputs)
    parity("bert masked_lm", ours.network(Batch.of(texts), "masked_lm"), padded.rows(out.prediction_logits))
    parity("bert next_sentence", ours.network(Batch.of(texts), "next_sentence"), out.seq_relationship_logits)


@pytest.mark.parametrize("left", ["cls.predictions.bias", "cls.predictions.decoder.bias"])
def test_untied_with_one_bias(left: str, tmp_path: Path, parity: Any) -> None:
    """An output of its own whose bias is in the file once, under the first or the second name."""
    theirs, _ = make("masked-lm", "untied", tmp_path, "bin")
    state = dict(theirs.state_dict())
    state[left] = state["cls.predictions.decoder.bias"]  # the one that the reference adds
    del state[({"cls.predictions.bias", "cls.predictions.decoder.bias"} - {left}).pop()]
    save_pickle(state, tmp_path)
    texts = encodings(MIXED, len(VOCABULARY))
    padded = Padded(texts, "right")
    ours = load(tmp_path).network(Batch.of(texts), "masked_lm")
    parity("bert masked_lm", ours, padded.rows(theirs(**padded.inputs).logits))


def test_half_precision_file(tmp_path: Path, parity: Any) -> None:
    """Weights published in half precision are computed in float32."""
    theirs, _ = make("model", "gelu", tmp_path)
    save(theirs.half(), tmp_path, "safetensors")
    ours = load(tmp_path)
    texts = encodings(MIXED, len(VOCABULARY))
    padded = Padded(texts, "right")
    parity("bert pooled", ours.network(Batch.of(texts), "pooled"), theirs.float()(**padded.inputs).pooler_output)


@pytest.mark.parametrize("key", ["bert.encoder.layer.1.output.LayerNorm.bias", "bert.pooler.dense.weight"])
def test_no_partial_load(key: str, tmp_path: Path) -> None:
    """One tensor too few and nothing is loaded."""
    theirs, _ = make("texts", "gelu", tmp_path, "bin")
    state = theirs.state_dict()
    del state[key]
    save_pickle(state, tmp_path)
    with pytest.raises(CheckpointMismatch) as error:
        load(tmp_path)
    assert len(error.value.details["missing"]) == 1
