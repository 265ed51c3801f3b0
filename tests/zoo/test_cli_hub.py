"""From a name to an answer over a Hub on loopback: the command lines and the tasks, as a user runs them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tasks import nli, summarize
from tests import tiny
from tests.hub_server import HubServer
from zoo import Engine, load
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
