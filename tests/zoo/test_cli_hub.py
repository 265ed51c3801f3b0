"""From a name to an answer over a Hub on loopback: the command lines and the tasks, as a user runs them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tasks import nli, summarize
from tests import tiny
from tests.hub_server import HubServer
from tests.published import bert_gpt2
from zoo import Engine, load, parity
from zoo.__main__ import main

MNLI = "textattack/bert-base-uncased-MNLI"


@pytest.fixture
def served(hub: HubServer, tmp_path: Path) -> HubServer:
    """Two checkpoints of the catalog in their published layouts; the classifier's labels have no names there."""
    classifier = tiny.bert("BertForSequenceClassification", ("LABEL_0", "LABEL_1", "LABEL_2"))
    hub.publish(MNLI, classifier.write(tmp_path / "mnli", "old bin"))
    hub.publish("openai-community/gpt2", tiny.with_buffers(tiny.gpt2()).write(tmp_path / "gpt2", "bin"))
    return hub


@pytest.mark.parametrize("source", ["bert-base-mnli", MNLI, f"{MNLI}@main"])
def test_pull_show_and_check_take_names_and_ids(
    served: HubServer, source: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["pull", source, "--json"]) == 0
    pulled = json.loads(capsys.readouterr().out)
    assert pulled["revision"] == served.repositories[MNLI].refs["main"]
    asked = len(served.requests)
    assert main(["check", source]) == 0
    out = capsys.readouterr().out
    assert "body.blocks.0.attention.qkv.weight" in out and "query.weight + " in out
    assert f"{MNLI}" in out and pulled["revision"] in out and "every tensor found its place" in out
    assert main(["show", source]) == 0
    assert len(served.requests) == asked, "what was pulled is on this machine; nothing is asked again"


def test_check_takes_a_folder(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tiny.old_norms(tiny.bert()).write(tmp_path, "safetensors")
    assert main(["check", str(folder), "--json"]) == 0
    made = json.loads(capsys.readouterr().out)
    assert made["revision"] == "local" and "masked_lm" in made["heads"]


def test_pull_refresh_follows_a_branch_that_moved(
    served: HubServer, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    main(["pull", MNLI, "--json"])
    first = json.loads(capsys.readouterr().out)["revision"]
    other = tiny.bert("BertForSequenceClassification", ("a", "b", "c")).write(tmp_path / "newer")
    served.publish(MNLI, other)
    main(["pull", MNLI, "--json"])
    assert json.loads(capsys.readouterr().out)["revision"] == first
    main(["pull", MNLI, "--refresh", "--json"])
    assert json.loads(capsys.readouterr().out)["revision"] != first


def test_labels_of_the_catalog_replace_those_without_names(served: HubServer) -> None:
    assert load("bert-base-mnli").heads["classifier"].labels == ("contradiction", "entailment", "neutral")
    assert load(MNLI).heads["classifier"].labels == ("contradiction", "entailment", "neutral")


def test_tasks_answer_with_checkpoints_of_the_hub(served: HubServer) -> None:
    engine = Engine()
    result = nli.run(engine, "bert-base-mnli", "a cat sat", "the cat sat")
    assert {score.label for score in result.scores} == {"contradiction", "entailment", "neutral"}
    assert result.revision == served.repositories[MNLI].refs["main"]
    assert summarize.run(engine, "gpt2", "a cat", max_new_tokens=2).model == "gpt2"


@pytest.mark.parametrize("command", ["pull", "check", "show"])
def test_what_is_not_there_is_said_in_a_sentence(
    served: HubServer, command: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([command, "nobody/nothing"]) == 2
    seen = capsys.readouterr()
    assert seen.out == "" and "nobody/nothing" in seen.err and "Traceback" not in seen.err


def test_pull_shows_a_bar_for_each_file_and_prints_size_and_commit(
    served: HubServer, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TQDM_POSITION", "-1")  # bars are shown where there is no terminal, too
    assert main(["pull", MNLI]) == 0
    seen = capfd.readouterr()
    commit = served.repositories[MNLI].refs["main"]
    size = sum(p.stat().st_size for p in (served.root / MNLI / commit).iterdir() if p.name != "README.md")
    assert f"{MNLI} at {commit} is in" in seen.out and "pytorch_model.bin" in seen.out
    assert f"{size / 1e3:,.1f} kB (" in seen.out
    for file in ("config.json", "vocab.txt", "pytorch_model.bin"):
        assert f"{file}: 100%" in seen.err, file
    assert main(["pull", MNLI, "--json"]) == 0
    facts = json.loads(capfd.readouterr().out)
    assert set(facts["files"]) == {"config.json", "vocab.txt", "pytorch_model.bin"} and facts["bytes"] == size


def test_check_says_how_exact_the_family_is(
    served: HubServer, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    about = {"family": "bert", "compared": "classifier", "reference": "transformers 5"}
    rows = [about | {"shapes": 7, "numbers": 9, "worst": 4e-6}]
    monkeypatch.setattr(parity, "FILE", tmp_path / "parity.json")
    main(["check", MNLI])
    assert "parity of BERT: not measured" in capsys.readouterr().out
    (tmp_path / "parity.json").write_text(json.dumps({"rows": rows}))
    main(["check", MNLI])
    assert "parity of BERT: exact, worst difference 4.0e-06 from transformers 5" in capsys.readouterr().out
    main(["check", MNLI, "--json"])
    assert json.loads(capsys.readouterr().out)["parity"].startswith("exact")
    (tmp_path / "parity.json").write_text(json.dumps({"rows": [rows[0] | {"worst": 1.0}]}))
    main(["check", MNLI])
    assert "not exact" in capsys.readouterr().out


def test_check_says_what_was_dropped_and_what_the_catalog_knew(
    hub: HubServer, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    hub.publish("prajjwal1/bert-tiny", bert_gpt2.repository(
        tmp_path / "tiny", "BertForPreTraining", (), "old bin", marks=("no model_type", "buffers")))  # fmt: skip
    assert main(["check", "bert-tiny"]) == 0
    out = capsys.readouterr().out
    assert "<- bert.embeddings.position_ids: a buffer that counts" in out
    assert "note: config.json has no model_type; by the catalog it is BERT" in out
    assert "<- cls.predictions.decoder.weight: a second name of bert.embeddings.word_embeddings.weight" in out
