"""`convert`: what is written loads back to the same bits, other programs read it, and nothing half-made is left."""

from __future__ import annotations

import importlib
import json
from pathlib import Path
from typing import Any

import pytest
import torch

from tests import tiny
from tests.hub_server import HubServer
from tests.published import bert_gpt2
from zoo import catalog, load
from zoo.__main__ import main
from zoo.contracts import Batch
from zoo.family import Model
from zoo.weights import convert

OTHER_PROGRAMS = ("elmo", "ulmfit")  # whose published files have no config.json with a model_type
TEXT, SECOND = "the cat sat.", "The cats sat, café!"


def numbers(model: Model) -> dict[str, torch.Tensor]:
    """What every head says of a pair of texts and of one."""
    pieces, more = model.tokenizer.pieces(TEXT), model.tokenizer.pieces(SECOND)
    batch = Batch.of([model.tokenizer.assemble(pieces), model.tokenizer.assemble(pieces, more)])
    with torch.no_grad():
        return {name: model.network(batch, name) for name in model.heads} | {"body": model.network.body(batch).last}


def same(first: Model, second: Model) -> None:
    ours, theirs = numbers(first), numbers(second)
    assert ours.keys() == theirs.keys()
    for name, tensor in ours.items():
        assert tensor.dtype == torch.float32
        assert torch.equal(tensor, theirs[name]), name


def converted(source: Path | str, folder: Path, *options: str) -> Model:
    assert main(["convert", str(source), str(folder), *options]) == 0
    return load(folder)


@pytest.mark.parametrize("form", tiny.LAYOUTS)
@pytest.mark.parametrize(
    ("kind", "marks"),
    [
        ("BertForPreTraining", ("old norms", "buffers")),
        ("BertForSequenceClassification", ()),
        ("BertForQuestionAnswering", ("buffers",)),
        ("GPT2LMHeadModel", ("buffers", "no prefix")),
        ("GPT2LMHeadModel", ("half", "buffers")),
        ("GPT2LMHeadModel", ("words",)),
    ],
)
def test_published_layouts_come_back_bit_by_bit(tmp_path: Path, kind: str, marks: Any, form: str) -> None:
    labels = ("no", "yes") if "Classification" in kind else ()
    source = bert_gpt2.repository(tmp_path / "source", kind, labels, form, marks=marks)
    same(load(source), converted(source, tmp_path / "made"))
    made = {p.name for p in (tmp_path / "made").iterdir()}
    assert {"model.safetensors", "config.json", "tokenizer.json", "README.md"} <= made
    assert not [name for name in made if name.endswith((".bin", ".tmp", ".index.json"))]
    assert sorted(p.name for p in tmp_path.iterdir()) == ["made", "source"], "a draft was left behind"


@pytest.mark.parametrize(
    ("family", "kind", "form"),
    [
        ("gpt", "lm", "old bin"),
        ("gpt", "classifier", "bin"),
        ("gpt", "choice", "safetensors"),
        ("xlnet", "lm", "old"),
        ("xlnet", "classifier", "bin"),
        ("xlnet", "span", "safetensors"),
        ("xlnet", "beams", "old"),
        ("elmo", "hdf5", ""),
        ("elmo", "softmax", ""),
        ("elmo", "nli", ""),
        ("elmo", "qa", ""),
        ("ulmfit", "learner lm", ""),
        ("ulmfit", "learner classifier", ""),
        ("ulmfit", "learner 1 classifier", ""),
        ("ulmfit", "lm 0.7", ""),
        ("ulmfit", "classifier 1", "old"),
    ],
)
def test_every_family_comes_back_bit_by_bit(tmp_path: Path, family: str, kind: str, form: str) -> None:
    builder = importlib.import_module(f"tests.published.{family}")
    source = builder.repository(tmp_path / "source", kind, **({"form": form} if form else {}))
    first, second = load(source), converted(source, tmp_path / "made")
    same(first, second)
    for text in (TEXT, SECOND, "Who is it? (2,000 €) …", ""):
        assert first.tokenizer.pieces(text) == second.tokenizer.pieces(text)
    assert first.heads == second.heads and first.config == second.config
    same(first, converted(tmp_path / "made", tmp_path / "again"))
    card = (tmp_path / "made" / "README.md").read_text()
    native = "zoo" in json.loads((tmp_path / "made" / "config.json").read_text())
    assert native == ("which other programs do not know" in card) == (family in OTHER_PROGRAMS)


@pytest.mark.parametrize(("kind", "marks"), [("BertForPreTraining", ("buffers",)), ("GPT2LMHeadModel", ("buffers",))])
def test_other_programs_read_the_result(tmp_path: Path, kind: str, marks: Any) -> None:
    import transformers

    source = bert_gpt2.repository(tmp_path / "source", kind, (), "old bin", marks=marks)
    model = converted(source, tmp_path / "made")
    reference, info = getattr(transformers, kind).from_pretrained(tmp_path / "made", output_loading_info=True)
    assert not (info["missing_keys"] or info["unexpected_keys"] or info["mismatched_keys"])
    tokens = transformers.AutoTokenizer.from_pretrained(tmp_path / "made")(TEXT)["input_ids"]
    assert tuple(tokens) == model.tokenizer.assemble(model.tokenizer.pieces(TEXT)).ids
    with torch.no_grad():
        theirs = reference.eval()(torch.tensor([tokens]), output_hidden_states=True).hidden_states[-1][0]
        ours = model.network.body(Batch.of([model.tokenizer.assemble(model.tokenizer.pieces(TEXT))])).last
    assert (ours - theirs).abs().max() < 1e-5


@pytest.mark.parametrize(
    ("family", "kind", "name"),
    [("gpt", "lm", "OpenAIGPTLMHeadModel"), ("xlnet", "lm", "XLNetLMHeadModel"),
     ("xlnet", "beams", "XLNetForQuestionAnswering")],
)  # fmt: skip
def test_other_programs_read_further_families(tmp_path: Path, family: str, kind: str, name: str) -> None:
    import transformers

    builder = importlib.import_module(f"tests.published.{family}")
    converted(builder.repository(tmp_path / "source", kind, form="bin"), tmp_path / "made")
    _, info = getattr(transformers, name).from_pretrained(tmp_path / "made", output_loading_info=True)
    assert not (info["missing_keys"] or info["unexpected_keys"] or info["mismatched_keys"])


def test_weights_are_cut_into_shards(tmp_path: Path) -> None:
    source = bert_gpt2.repository(tmp_path / "source", "GPT2LMHeadModel")
    model = converted(source, tmp_path / "made", "--shard", "0.00001")
    files = sorted(p.name for p in (tmp_path / "made").glob("*.safetensors"))
    assert len(files) > 2 and files[0] == f"model-00001-of-{len(files):05d}.safetensors"
    index = json.loads((tmp_path / "made" / "model.safetensors.index.json").read_text())
    assert set(index["weight_map"].values()) == set(files)
    same(load(source), model)


@pytest.mark.parametrize("name", ["bert-mini", "gpt-mini"])
def test_our_own_int8_checkpoints_become_float32(tmp_path: Path, name: str) -> None:
    model = converted(name, tmp_path / "made")
    same(load(name), model)
    config = json.loads((tmp_path / "made" / "config.json").read_text())
    assert set(config["zoo"]["heads"]) == set(model.heads)
    assert model.extra.keys() == load(name).extra.keys()


def test_labels_of_the_catalog_travel_with_the_folder(hub: HubServer, tmp_path: Path) -> None:
    name = "textattack/bert-base-uncased-MNLI"
    labels = ("LABEL_0", "LABEL_1", "LABEL_2")
    hub.publish(name, bert_gpt2.repository(tmp_path / "s", "BertForSequenceClassification", labels, "old bin"))
    model = converted("bert-base-mnli", tmp_path / "made")
    assert model.heads["classifier"].labels == ("contradiction", "entailment", "neutral")
    card = (tmp_path / "made" / "README.md").read_text()
    commit = hub.repositories[name].refs["main"]
    for part in (f"base_model: {name}", f"{name} at {commit}", "Devlin et al.", "**Licence**: not stated"):
        assert part in card, part


def test_an_old_config_learns_its_family(hub: HubServer, tmp_path: Path) -> None:
    hub.publish("prajjwal1/bert-tiny", bert_gpt2.repository(tmp_path / "s", "BertForPreTraining", (), "old bin",
                marks=("no model_type",)))  # fmt: skip
    same(load("bert-tiny"), converted("bert-tiny", tmp_path / "made"))
    assert json.loads((tmp_path / "made" / "config.json").read_text())["model_type"] == "bert"
    assert "Turc et al. 2019" in (tmp_path / "made" / "README.md").read_text()


def test_the_card_says_what_was_left_out_and_why(tmp_path: Path) -> None:
    source = bert_gpt2.repository(tmp_path / "source", "GPT2LMHeadModel", (), "old bin", marks=("buffers",))
    converted(source, tmp_path / "made")
    card = (tmp_path / "made" / "README.md").read_text()
    assert "2 × a buffer: the causal mask, such as `transformer.h.0.attn.bias`" in card
    assert "1 × a second name" in card and "`lm_head.weight`" in card


def test_what_was_written_is_printed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    converted("gpt-mini", tmp_path / "made")
    out = capsys.readouterr().out
    for part in ("model.safetensors 33.8 MB", "README.md 0.", "kB", "tokenizer.json 0.6 MB", "to the last bit"):
        assert part in out, part


def test_nothing_is_overwritten(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "mine.txt").write_text("precious")
    assert main(["convert", "gpt-mini", str(tmp_path / "full")]) == 2
    assert "is not empty" in capsys.readouterr().err
    (tmp_path / "empty").mkdir()
    converted("gpt-mini", tmp_path / "empty")
    assert main(["convert", "gpt-mini", str(tmp_path / "empty")]) == 2
    assert "holds an earlier conversion. Delete it" in capsys.readouterr().err
    assert main(["convert", "gpt-mini", str(tmp_path / "full" / "mine.txt")]) == 2
    assert "is a file" in capsys.readouterr().err
    assert (tmp_path / "full" / "mine.txt").read_text() == "precious"


@pytest.mark.parametrize("shard", ["0", "-1", "nan", "2000"])
def test_shards_of_impossible_size(tmp_path: Path, shard: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["convert", "gpt-mini", str(tmp_path / "made"), "--shard", shard]) == 2
    assert "--shard" in capsys.readouterr().err
    assert not (tmp_path / "made").exists()


def test_a_conversion_that_does_not_come_back_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    whole = convert.write_weights

    def damage(folder: Path, tensors: Any, shard_bytes: int) -> None:
        name = next(n for n in tensors if tensors[n].dim() == 2)
        whole(folder, {**tensors, name: tensors[name] + 1e-6}, shard_bytes)

    monkeypatch.setattr(convert, "write_weights", damage)
    source = bert_gpt2.repository(tmp_path / "source", "BertForPreTraining")
    assert main(["convert", str(source), str(tmp_path / "made")]) == 2
    assert "does not come back as it was" in capsys.readouterr().err
    assert [p.name for p in tmp_path.iterdir()] == ["source"]


def test_a_full_disk_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def full(*_: Any, **__: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(convert, "save_file", full)
    assert main(["convert", "gpt-mini", str(tmp_path / "made")]) == 2
    assert "No space left on device" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_what_cannot_be_loaded_is_not_converted(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = bert_gpt2.repository(tmp_path / "source", "BertForPreTraining")
    (source / "vocab.txt").unlink()
    assert main(["convert", str(source), str(tmp_path / "made")]) == 2
    assert "vocab.txt" in capsys.readouterr().err
    assert not (tmp_path / "made").exists()


def test_every_family_of_the_catalog_is_tried_here() -> None:
    assert {f.name for f in catalog.FAMILIES} <= {"bert", "gpt2", "gpt", "xlnet", "elmo", "ulmfit"}
