"""The command lines: JSON alone on stdout, exit code 2 and one error object on a user's mistake."""

from __future__ import annotations

import io
import json
import subprocess
import sys
from pathlib import Path

import pytest

from tasks.__main__ import main as tasks_main
from tests import minis
from zoo.__main__ import main as zoo_main

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def bert(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(minis.bert_checkpoint(tmp_path_factory.mktemp("bert")))


@pytest.fixture(scope="module")
def gpt(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(minis.gpt2_checkpoint(tmp_path_factory.mktemp("gpt")))


def test_run_prints_json_alone(bert: str, capsys: pytest.CaptureFixture[str]) -> None:
    code = tasks_main(["run", "nli", "--model", bert, "--head", "nli", "--premise", "a", "--hypothesis", "b", "--json"])
    made = json.loads(capsys.readouterr().out)
    assert code == 0 and made["task"] == "nli" and len(made["scores"]) == 3


def test_run_prints_words_for_people(bert: str, gpt: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert tasks_main(["run", "qa", "--model", bert, "--question", "who?", "--context", "a cat and a dog"]) == 0
    out = capsys.readouterr().out
    assert "%" in out and "[" in out
    assert tasks_main(["run", "summarize", "--model", gpt, "--text", "a cat", "--max-new-tokens", "3"]) == 0


def test_auto_says_which_precision_it_is(
    bert: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("zoo.engine.precision.fastest", lambda: "exact")
    asked = ["run", "nli", "--model", bert, "--head", "nli", "--premise", "a", "--hypothesis", "b", "--json"]
    assert tasks_main([*asked, "--precision", "auto"]) == 0
    said = capsys.readouterr()
    assert "precision: exact, the fastest on this machine" in said.err and json.loads(said.out)["answer"]
    assert tasks_main(asked) == 0
    assert "precision" not in capsys.readouterr().err


def test_text_comes_from_standard_input(
    bert: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    piped = io.TextIOWrapper(io.BytesIO("päper".encode()))
    monkeypatch.setattr(sys, "stdin", piped)
    assert tasks_main(["run", "classify", "--model", bert, "--head", "topic", "--top-k", "1", "--json"]) == 0
    assert len(json.loads(capsys.readouterr().out)["scores"]) == 1


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (["run", "nli", "--model", "bert-mine", "--premise", "a", "--hypothesis", "b", "--json"], "MODEL_UNKNOWN"),
        (["run", "nli", "--model", "bert-mini", "--premise", " ", "--hypothesis", "b", "--json"], "INPUT_EMPTY"),
        (["run", "nli", "--model", "bert-mini", "--premise", "a", "--json"], "BAD_PARAMETER"),
        (["run", "dance", "--json"], "BAD_PARAMETER"),
        (["eval", "nli", "--model", "bert-mini", "--data", "nothing.jsonl"], "BAD_DATA"),
        (["eval", "nli", "--model", "bert-mini", "--data", "a.jsonl", "--label-map", "x"], "BAD_PARAMETER"),
    ],
)
def test_mistakes_give_one_json_error_and_code_2(
    arguments: list[str], code: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert tasks_main(arguments) == 2
    made = json.loads(capsys.readouterr().out)
    assert made["error"]["code"] == code and made["error"]["message"]


def test_mistakes_without_json_are_one_sentence_on_stderr(capsys: pytest.CaptureFixture[str]) -> None:
    assert tasks_main(["run", "classify", "--model", "bert-mini", "--text", ""]) == 2
    seen = capsys.readouterr()
    assert seen.out == "" and "empty" in seen.err


def test_eval_as_a_process_keeps_progress_off_stdout(bert: str, tmp_path: Path) -> None:
    data = tmp_path / "rows.jsonl"
    data.write_text('{"premise": "a", "hypothesis": "b", "label": "neutral"}\n' * 3)
    command = [sys.executable, "-m", "tasks", "eval", "nli", "--model", bert, "--head", "nli", "--data", str(data)]
    command += ["--predictions", str(tmp_path / "said.jsonl")]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True, timeout=120)
    made = json.loads(done.stdout)
    assert set(made) == {"task", "model", "data", "rows", "metrics"} and made["rows"] == 3
    assert set(made["metrics"]) == {"accuracy", "macro_f1"}
    assert "row" in done.stderr
    assert len((tmp_path / "said.jsonl").read_text().splitlines()) == 3


def test_zoo_list_show_check(bert: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert zoo_main(["list"]) == 0
    assert "bert-mini" in capsys.readouterr().out
    assert zoo_main(["list", "--task", "summarize", "--json"]) == 0
    assert all("summarize" in row["tasks"] for row in json.loads(capsys.readouterr().out))
    assert zoo_main(["show", "bert-base-mnli"]) == 0
    assert "textattack/bert-base-uncased-MNLI" in capsys.readouterr().out
    assert zoo_main(["check", bert]) == 0
    assert "every tensor found its place" in capsys.readouterr().out
    assert zoo_main(["check", bert, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["heads"]["qa"] == ["span"]


@pytest.mark.parametrize(
    "arguments",
    [["show", "bert-minny"], ["list", "--task", "dance"], ["train", "nope", "--data", "."], ["check", "./nowhere"], []],
)
def test_zoo_mistakes_give_code_2_and_a_sentence(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert zoo_main(arguments) == 2
    seen = capsys.readouterr()
    assert seen.out == "" and seen.err.strip() and "Traceback" not in seen.err
