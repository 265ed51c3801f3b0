"""BERT against the reference library: every head, layer and attention map, and every way its files come."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from torch import Tensor
from transformers import AutoTokenizer, BertConfig

from tests.parity.conftest import ITSELF
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
from zoo import Engine
from zoo.contracts import Batch, HeadSpec
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
    "one layer, heads of seven": {
        "hidden_act": "gelu",
        "hidden_size": 21,
        "num_attention_heads": 3,
        "intermediate_size": 10,
        "num_hidden_layers": 1,
        "type_vocab_size": 3,
    },
    "tiny": {  # the depth and the many narrow heads of TinyBERT, whose inner width is no multiple either
        "hidden_act": "gelu",
        "hidden_size": 36,
        "num_attention_heads": 12,
        "intermediate_size": 139,
        "num_hidden_layers": 4,
    },
    "untied, one layer": {
        "hidden_act": "gelu_new",
        "hidden_size": 5,
        "num_attention_heads": 5,
        "intermediate_size": 7,
        "num_hidden_layers": 1,
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
    "choice": Case(transformers.BertForMultipleChoice, lambda m: m.bert, {}),
}


def make(case: str, shape: str, folder: Path, form: str = "safetensors") -> tuple[Any, Model]:
    """The reference, and ours out of its files."""
    values = {"num_hidden_layers": 3, "max_position_embeddings": LONGEST, "type_vocab_size": 2, **SHAPES[shape]}
    labels = {0: "start", 1: "end"} if case == "span" else LABELS
    config = BertConfig(vocab_size=len(VOCABULARY) + 3, id2label=labels, **values)
    model = build(CASES[case].model, config)
    save(model, folder, form)
    write_wordpiece(folder)
    return model, load(folder)


MIXED = (1, 2, 3, 7, 7, LONGEST, 7, 1, 30)


@pytest.mark.parametrize("form", ["safetensors", "bin"])
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("case", [case for case in CASES if case != "choice"])
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


@pytest.mark.parametrize("shape", SHAPES)
def test_multiple_choice(shape: str, tmp_path: Path, parity: Any) -> None:
    """One score for each pair of a context and an answer; the tensors are named as those of a classifier."""
    theirs, ours = make("choice", shape, tmp_path)
    assert ours.heads == {"classifier": HeadSpec("choice")}
    texts = encodings(MIXED, len(VOCABULARY), pairs=True)
    inputs = {name: tensor[None] for name, tensor in Padded(texts, "right").inputs.items()}
    scores = ours.network(Batch.of(texts), "classifier")
    parity("bert choice", scores[:, 0], theirs(**inputs).logits[0])
    found = Engine().choose(str(tmp_path), None, [("the cat", ["sat", "is on the mat", "who?"])])[0]
    cut = ours.tokenizer.pieces
    texts = [ours.tokenizer.assemble(cut("the cat"), cut(answer)) for answer in ("sat", "is on the mat", "who?")]
    inputs = {name: tensor[None] for name, tensor in Padded(texts, "right").inputs.items()}
    parity("bert choice from text", torch.tensor(found.probabilities), theirs(**inputs).logits[0].softmax(0))


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
        parity("bert alone or together", together[index], ours.network.body(Batch.of([text])).last, reference=ITSELF)
        parity("bert alone or together", pooled[index], ours.network(Batch.of([text]), "pooled")[0], reference=ITSELF)
    turned = Batch.of(texts[::-1])
    parity("bert alone or together", pooled.flip(0), ours.network(turned, "pooled"), reference=ITSELF)


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


@pytest.mark.parametrize("case", ["tokens", "span"])
def test_a_pooler_that_nothing_reads(case: str, tmp_path: Path, parity: Any) -> None:
    """Files of before 2020 hold the pooler beside a head on tokens, the whole-word-masking one for SQuAD among them."""
    theirs, _ = make(case, "gelu", tmp_path, "bin")
    chance = torch.Generator().manual_seed(4)
    more = {"weight": torch.randn(24, 24, generator=chance), "bias": torch.randn(24, generator=chance)}
    save_pickle(dict(theirs.state_dict()) | {f"bert.pooler.dense.{p}": t for p, t in more.items()}, tmp_path, new=False)
    ours = load(tmp_path)
    (head,) = CASES[case].heads
    assert set(ours.heads) == {head, "pooled"}
    texts = encodings(MIXED, len(VOCABULARY), pairs=True)
    padded = Padded(texts, "right")
    out = theirs(**padded.inputs)
    parity(f"bert {head}", ours.network(Batch.of(texts), head), CASES[case].heads[head](out, padded))
    first = padded.rows(theirs.bert(**padded.inputs).last_hidden_state)[Batch.of(texts).first_rows]
    wanted = torch.tanh(first @ more["weight"].T + more["bias"])
    parity("bert pooled", ours.network(Batch.of(texts), "pooled"), wanted)


@pytest.mark.parametrize("cased", [False, True], ids=["uncased", "cased"])
def test_multilingual_and_chinese(cased: bool, tmp_path: Path, parity: Any) -> None:
    """The config of 2018 with the keys that only multilingual and Chinese models have; cased by tokenizer_config."""
    words = [*VOCABULARY, "Die", "Stadt", "é", "é", "北", "京", "##e", "ส"]
    words = list(dict.fromkeys(words))
    theirs, _ = make("masked-lm", "gelu", tmp_path)
    config = BertConfig.from_pretrained(tmp_path)
    config.vocab_size = len(words)
    theirs = build(transformers.BertForMaskedLM, config)
    save(theirs, tmp_path, "bin")
    (tmp_path / "model.safetensors").unlink(missing_ok=True)
    raw = json.loads((tmp_path / "config.json").read_text(encoding="utf-8"))
    raw |= {"directionality": "bidi", "pooler_fc_size": 768, "pooler_num_attention_heads": 12,
            "pooler_num_fc_layers": 3, "pooler_size_per_head": 128, "pooler_type": "first_token_transform"}  # fmt: skip
    (tmp_path / "config.json").write_text(json.dumps(raw), encoding="utf-8")
    write_wordpiece(tmp_path, words, do_lower_case=not cased, model_max_length=512)
    ours, read = load(tmp_path), AutoTokenizer.from_pretrained(tmp_path)
    for text in ("Die Stadt Städte é", "北京 in the OLD town", "สé北", "café"):
        encoding = ours.tokenizer.assemble(ours.tokenizer.pieces(text))
        assert list(encoding.ids) == read(text)["input_ids"]
        logits = theirs(torch.tensor([encoding.ids])).logits[0]
        parity("bert masked_lm from text", ours.network(Batch.of([encoding]), "masked_lm"), logits)
    assert ("Die" in [ours.tokenizer.token(i) for i in ours.tokenizer.pieces("Die").ids]) == cased


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
