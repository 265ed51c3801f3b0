"""What the loader refuses: it loads a checkpoint whole or not at all, and says everything that is wrong at once."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from tests import tiny
from zoo.errors import BadCheckpoint, CheckpointMismatch
from zoo.models import bert, gpt2
from zoo.weights.load import load_folder

FAMILIES = (bert.FAMILY, gpt2.FAMILY)
HEAD_MARKS = ("cls.predictions.transform.dense.weight",)  # without it, the rest of the head belongs nowhere
QUERY = "bert.encoder.layer.{}.attention.self.query.weight"


def load(folder: Path, **options: Any) -> Any:
    return load_folder(folder, FAMILIES, **options)


def changed(checkpoint: tiny.Tiny, remove: tuple[str, ...] = (), **add: Tensor) -> tiny.Tiny:
    state = {name: t for name, t in checkpoint.state.items() if name not in remove}
    return checkpoint.with_state(state | add)


def test_the_tiny_checkpoints_load(tmp_path: Path) -> None:
    assert set(load(tiny.bert().write(tmp_path / "bert")).heads) == {"masked_lm"}
    assert set(load(tiny.gpt2().write(tmp_path / "gpt2")).heads) == {"lm"}
    model = load(tiny.bert("BertForSequenceClassification").write(tmp_path / "classes"))
    assert model.heads["classifier"].labels == ("no", "yes")


# --- Tensors and architecture disagree


def test_everything_that_is_wrong_is_listed_at_once(tmp_path: Path) -> None:
    words = "bert.embeddings.word_embeddings.weight"
    checkpoint = changed(
        tiny.bert(),
        remove=(QUERY.format(0), QUERY.format(1), "bert.embeddings.LayerNorm.bias"),
        **{words: torch.zeros(35, 15), "bert.surprise": torch.zeros(1), "bert.encoder.layer.7.more": torch.zeros(2)},
    )
    with pytest.raises(CheckpointMismatch) as refused:
        load(checkpoint.write(tmp_path, "bin"))
    error = refused.value
    assert "body.embeddings.norm.bias" in error.details["missing"]
    assert sum("blocks.0" in name for name in error.details["missing"]) == 1
    assert sum("blocks.1" in name for name in error.details["missing"]) == 1
    assert {"bert.surprise", "bert.encoder.layer.7.more"} <= set(error.details["unexpected"])
    assert any(words in text and "[35, 15]" in text for text in error.details["misshapen"])
    assert error.code == "WEIGHT_MISMATCH"
    for word in ("3 missing", "2 unexpected", "Nothing was loaded"):
        assert word in error.message


@pytest.mark.parametrize("make", [tiny.bert, tiny.gpt2])
def test_no_tensor_may_be_missing(tmp_path: Path, make: Any) -> None:
    checkpoint = make()
    for number, name in enumerate(checkpoint.plain()):
        with pytest.raises(CheckpointMismatch) as refused:
            load(changed(checkpoint, (name, *checkpoint.tied)).write(tmp_path / str(number)))
        lacks, surplus = refused.value.details["missing"], refused.value.details["unexpected"]
        assert lacks or (name in HEAD_MARKS and surplus), name


@pytest.mark.parametrize("make", [tiny.bert, tiny.gpt2])
def test_no_tensor_may_have_another_shape(tmp_path: Path, make: Any) -> None:
    checkpoint = make()
    for number, (name, tensor) in enumerate(checkpoint.plain().items()):
        wider = changed(checkpoint, checkpoint.tied, **{name: torch.cat([tensor, tensor[:1]])})
        with pytest.raises(CheckpointMismatch) as refused:
            load(wider.write(tmp_path / str(number)))
        assert refused.value.details["misshapen"], name


def test_a_config_with_more_layers_than_the_weights(tmp_path: Path) -> None:
    with pytest.raises(CheckpointMismatch) as refused:
        load(tiny.bert().but(num_hidden_layers=3).write(tmp_path))
    assert len(refused.value.details["missing"]) == 12
    assert refused.value.details["unexpected"] == []


def test_a_config_with_fewer_layers_than_the_weights(tmp_path: Path) -> None:
    with pytest.raises(CheckpointMismatch) as refused:
        load(tiny.gpt2().but(n_layer=1).write(tmp_path))
    assert len(refused.value.details["unexpected"]) == 12
    assert refused.value.details["missing"] == []


@pytest.mark.parametrize(
    ("make", "second"), [(tiny.bert, "cls.predictions.decoder.weight"), (tiny.gpt2, "lm_head.weight")]
)
def test_tied_weights_that_differ(tmp_path: Path, make: Any, second: str) -> None:
    checkpoint = make()
    other = checkpoint.state[second].clone()
    other[3, 3] += 1e-3
    with pytest.raises(CheckpointMismatch) as refused:
        load(changed(checkpoint, **{second: other}).write(tmp_path, "bin"))
    assert refused.value.details["misshapen"] == [
        text for text in refused.value.details["misshapen"] if second in text and "other numbers" in text
    ]


def test_tied_weights_under_the_second_name_alone(tmp_path: Path) -> None:
    words = "transformer.wte.weight"
    model = load(changed(tiny.gpt2(), remove=(words,)).write(tmp_path, "bin"))
    assert torch.equal(model.network.body.word.weight, tiny.gpt2().state[words])


def test_a_norm_under_both_names(tmp_path: Path) -> None:
    checkpoint = changed(tiny.bert(), **{"bert.embeddings.LayerNorm.gamma": torch.ones(16)})
    with pytest.raises(CheckpointMismatch) as refused:
        load(checkpoint.write(tmp_path, "bin"))
    assert any("a second time" in text for text in refused.value.details["unexpected"])


def test_a_two_dimensional_bias_is_not_taken_for_the_mask(tmp_path: Path) -> None:
    checkpoint = changed(tiny.gpt2(), **{"transformer.h.0.attn.bias": torch.zeros(24, 24)})
    with pytest.raises(CheckpointMismatch) as refused:
        load(checkpoint.write(tmp_path, "bin"))
    assert refused.value.details["unexpected"] == ["transformer.h.0.attn.bias"]


@pytest.mark.parametrize("dtype", [torch.int8, torch.int64, torch.bool])
def test_weights_that_are_no_real_numbers(tmp_path: Path, dtype: torch.dtype) -> None:
    words = "bert.embeddings.word_embeddings.weight"
    checkpoint = tiny.bert()
    quantised = changed(checkpoint, checkpoint.tied, **{words: checkpoint.state[words].to(dtype)})
    with pytest.raises(BadCheckpoint, match=rf"in a form that is not read here \({dtype}\).*float32"):
        load(quantised.write(tmp_path))


# --- config.json


@pytest.mark.parametrize(
    ("make", "fields"),
    [(tiny.bert, ("hidden_size", "vocab_size", "hidden_act")), (tiny.gpt2, ("n_head", "n_positions"))],
)
def test_missing_fields_are_all_named(tmp_path: Path, make: Any, fields: tuple[str, ...]) -> None:
    with pytest.raises(BadCheckpoint) as refused:
        load(make().but(**dict.fromkeys(fields)).write(tmp_path))
    assert all(field in refused.value.message for field in fields)


@pytest.mark.parametrize(
    ("make", "values", "words"),
    [
        (tiny.bert, {"hidden_act": "swish"}, ("hidden_act = 'swish'", "'gelu'", "'relu'")),
        (tiny.gpt2, {"activation_function": "mish"}, ("activation_function = 'mish'", "'gelu_new'")),
        (tiny.bert, {"is_decoder": True}, ("is_decoder = True", "False")),
        (tiny.bert, {"position_embedding_type": "relative_key"}, ("'relative_key'", "'absolute'")),
        (tiny.gpt2, {"scale_attn_by_inverse_layer_idx": True}, ("scale_attn_by_inverse_layer_idx = True",)),
        (tiny.bert, {"is_decoder": True, "hidden_act": "swish"}, ("is_decoder", "hidden_act")),
        (tiny.bert, {"num_attention_heads": 3}, ("hidden_size 16", "num_attention_heads 3")),
    ],
)
def test_variants_that_are_not_computed(tmp_path: Path, make: Any, values: Any, words: tuple[str, ...]) -> None:
    with pytest.raises(BadCheckpoint) as refused:
        load(make().but(**values).write(tmp_path))
    assert all(word in refused.value.message for word in words)


@pytest.mark.parametrize(("value", "words"), [("llama", "'llama'"), (None, "has no model_type"), (7, "7"), ([], "no")])
def test_unknown_families(tmp_path: Path, value: Any, words: str) -> None:
    folder = tiny.bert().write(tmp_path)
    config = tiny.bert().but(model_type=value).config
    (folder / "config.json").write_text(json.dumps(config))
    with pytest.raises(BadCheckpoint, match=rf"{words}.*The zoo has: bert, gpt2"):
        load(folder)


@pytest.mark.parametrize(
    "values",
    [
        {"hidden_size": "sixteen"},
        {"hidden_size": [16]},
        {"num_attention_heads": 0},
        {"num_hidden_layers": 2.5},
        {"vocab_size": -1},
        {"layer_norm_eps": "small"},
        {"zoo": {}},
        {"zoo": []},
        {"zoo": {"heads": {"nli": "classifier"}}},
        {"zoo": {"heads": {"nli": {"kind": "oracle"}}}},
    ],
)
def test_values_that_make_no_model(tmp_path: Path, values: dict[str, Any]) -> None:
    with pytest.raises((BadCheckpoint, CheckpointMismatch)):
        load(tiny.bert().but(**values).write(tmp_path))


@pytest.mark.parametrize("labels", [{"a": "no", "b": "yes"}, ["no", "yes"], 5])
def test_labels_that_have_no_order(tmp_path: Path, labels: Any) -> None:
    checkpoint = tiny.bert("BertForSequenceClassification")
    with pytest.raises(BadCheckpoint, match=r"config\.json"):
        load(checkpoint.but(id2label=labels).write(tmp_path))


def test_more_labels_than_scores(tmp_path: Path) -> None:
    checkpoint = tiny.bert("BertForSequenceClassification").but(id2label={"0": "no", "1": "yes", "2": "maybe"})
    with pytest.raises(CheckpointMismatch) as refused:
        load(checkpoint.write(tmp_path))
    assert any("classifier.weight is [2, 16]" in text for text in refused.value.details["misshapen"])


def test_labels_of_the_catalog_must_be_as_many(tmp_path: Path) -> None:
    folder = tiny.bert("BertForSequenceClassification").write(tmp_path)
    assert load(folder, labels=("bad", "good")).heads["classifier"].labels == ("bad", "good")
    with pytest.raises(BadCheckpoint, match="has 2 labels, the catalog names 3"):
        load(folder, labels=("a", "b", "c"))


def test_the_order_of_labels_that_a_file_names_itself_counts(tmp_path: Path) -> None:
    folder = tiny.bert("BertForSequenceClassification", ("ENTAILMENT", "Contradiction")).write(tmp_path)
    labels = load(folder, labels=("contradiction", "entailment")).heads["classifier"].labels
    assert labels == ("entailment", "contradiction")


def test_the_catalog_may_name_the_family_of_an_old_config(tmp_path: Path) -> None:
    folder = tiny.bert().write(tmp_path)
    (folder / "config.json").write_text(json.dumps(tiny.bert().but(model_type=None).config))
    model = load(folder, assumed="bert")
    assert any("by the catalog it is BERT" in note for note in model.report.notes)
    with pytest.raises(BadCheckpoint, match="has no model_type"):
        load(folder)
    (folder / "config.json").write_text(json.dumps(tiny.bert().but(model_type="llama").config))
    with pytest.raises(BadCheckpoint, match="'llama'"):
        load(folder, assumed="bert")


@pytest.mark.parametrize("text", ["", "{", "[]", "null", "\xff\xfe"])
def test_a_broken_config(tmp_path: Path, text: str) -> None:
    folder = tiny.bert().write(tmp_path)
    (folder / "config.json").write_bytes(text.encode("latin-1"))
    with pytest.raises(BadCheckpoint, match=r"config\.json"):
        load(folder)


def test_no_config(tmp_path: Path) -> None:
    with pytest.raises(BadCheckpoint, match=r"lacks config\.json"):
        load(tmp_path)


# --- Vocabularies


def test_a_tokenizer_larger_than_the_model(tmp_path: Path) -> None:
    folder = tiny.bert().write(tmp_path)
    (folder / "vocab.txt").write_text("\n".join([*tiny.WORDS, "more"]) + "\n")
    size = len(tiny.WORDS)
    with pytest.raises(BadCheckpoint, match=f"the tokenizer has {size + 1} tokens, the model only {size}"):
        load(folder)


def test_a_tokenizer_smaller_than_the_model_is_fine(tmp_path: Path) -> None:
    folder = tiny.bert().write(tmp_path)
    (folder / "vocab.txt").write_text("\n".join(tiny.WORDS[:-1]) + "\n")
    assert load(folder).tokenizer.vocabulary == len(tiny.WORDS) - 1


@pytest.mark.parametrize("text", ["", "{", "{}", '{"version": "1.0", "model": {"type": "Oracle"}}', "\xff"])
def test_a_broken_tokenizer_json(tmp_path: Path, text: str) -> None:
    folder = tiny.bert().write(tmp_path)
    (folder / "tokenizer.json").write_bytes(text.encode("latin-1"))
    with pytest.raises(BadCheckpoint, match=r"tokenizer\.json is no readable tokenizer"):
        load(folder)


def test_a_vocabulary_without_special_tokens(tmp_path: Path) -> None:
    folder = tiny.bert().write(tmp_path)
    (folder / "vocab.txt").write_text("a\nb\n")
    with pytest.raises(BadCheckpoint, match=r"no \[UNK\]"):
        load(folder)
    (folder / "vocab.txt").write_text("[UNK]\na\nb\n")
    with pytest.raises(BadCheckpoint, match=r"no \[CLS\]"):
        load(folder)


@pytest.mark.parametrize(
    ("make", "file"), [(tiny.bert, "vocab.txt"), (tiny.gpt2, "merges.txt"), (tiny.gpt2, "vocab.json")]
)
def test_no_vocabulary(tmp_path: Path, make: Any, file: str) -> None:
    folder = make().write(tmp_path)
    (folder / file).unlink()
    with pytest.raises(BadCheckpoint, match=file.replace(".", r"\.")):
        load(folder)


@pytest.mark.parametrize(
    ("file", "text"),
    [
        ("merges.txt", "#version: 0.2\nt h e\n"),
        ("merges.txt", "#version: 0.2\nt unknown\n"),
        ("vocab.json", '{"a": "one"}'),
        ("vocab.json", '{"a": -1}'),
        ("vocab.json", "[]"),
    ],
)
def test_a_broken_byte_level_vocabulary(tmp_path: Path, file: str, text: str) -> None:
    folder = tiny.gpt2().write(tmp_path)
    (folder / file).write_text(text)
    with pytest.raises(BadCheckpoint):
        load(folder)


def test_ids_with_holes_that_reach_beyond_the_model(tmp_path: Path) -> None:
    folder = tiny.gpt2().write(tmp_path)
    vocabulary = json.loads((folder / "vocab.json").read_text())
    (folder / "vocab.json").write_text(json.dumps(vocabulary | {"the": 5000}))
    with pytest.raises(BadCheckpoint, match="the tokenizer has 5001 tokens, the model only 260"):
        load(folder)
