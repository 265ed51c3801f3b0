"""Metrics over files: right numbers on rows whose answers are known, and rows that are wrong are named."""

from __future__ import annotations

import gzip
import json
import lzma
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tasks import evaluate as evaluation
from tasks.evaluate import evaluate, score, worst
from tasks.results import Result, Score, Span
from tests import minis
from zoo import Engine
from zoo.errors import BadData, BadParameter
from zoo.rows import read_rows


def write(path: Path, rows: list[dict[str, Any]]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def answering(task: str, answers: list[str], labels: tuple[str, ...] = ()) -> Callable[..., list[Result]]:
    """A stand-in for run_many that gives these answers in order."""
    left = iter(answers)

    def run_many(engine: object, model: str, items: list[Any], *rest: object) -> list[Result]:
        made = []
        for _ in items:
            answer = next(left)
            scores = tuple(Score(label, float(label == answer)) for label in labels)
            made.append(Result(task, model, "r", answer, "", scores=scores))
        return made

    return run_many


def test_accuracy_and_macro_f1(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = [{"text": str(i), "label": gold} for i, gold in enumerate("AABB")]
    monkeypatch.setattr(evaluation.classify, "run_many", answering("classify", list("AAAB"), ("A", "B")))
    made = evaluate(Engine(), "classify", "m", write(tmp_path / "rows.jsonl", rows))
    assert made["metrics"] == {"accuracy": 75.0, "macro_f1": round((80 + 200 / 3) / 2, 2)}
    assert {k: made[k] for k in ("task", "model", "data", "rows")} == {
        "task": "classify", "model": "m", "data": "rows.jsonl", "rows": 4,
    }  # fmt: skip


def test_squad_scores_forgive_articles_and_take_the_best_reference(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def row(*texts: str) -> dict[str, Any]:
        return {"question": "q", "context": "c", "answers": {"text": list(texts), "answer_start": [0] * len(texts)}}

    rows = [row("the cat"), row("a red dog", "dog"), row("green bird"), row()]
    monkeypatch.setattr(evaluation.qa, "run_many", answering("qa", ["Cat!", "dog", "bird", ""]))
    made = evaluate(Engine(), "qa", "m", write(tmp_path / "rows.jsonl", rows))
    assert made["metrics"]["exact_match"] == 75.0
    assert made["metrics"]["f1"] == pytest.approx((1 + 1 + 2 / 3 + 1) / 4 * 100, abs=0.01)


def test_no_answer_is_allowed_when_the_file_has_unanswerable_questions(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = []

    def run_many(engine: object, model: str, items: list[Any], head: object, options: Any) -> list[Result]:
        seen.append(options.allow_no_answer)
        return [Result("qa", model, "r", "x", "") for _ in items]

    monkeypatch.setattr(evaluation.qa, "run_many", run_many)
    answered = {"question": "q", "context": "c", "answers": {"text": ["x"], "answer_start": [0]}}
    empty = {"question": "q", "context": "c", "answers": {"text": [], "answer_start": []}}
    evaluate(Engine(), "qa", "m", write(tmp_path / "1.jsonl", [answered]))
    evaluate(Engine(), "qa", "m", write(tmp_path / "2.jsonl", [answered, empty]))
    assert seen == [False, True]


def test_rouge_of_equal_and_different_summaries(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    said = iter(["the cat sat", "nothing like it"])

    def run(engine: object, model: str, text: str, head: object, **options: object) -> Result:
        return Result("summarize", model, "r", next(said), "")

    monkeypatch.setattr(evaluation.summarize, "run", run)
    rows = [{"document": "d", "summary": "the cat sat"}, {"document": "d", "summary": ["a dog ran", "birds fly"]}]
    made = evaluate(Engine(), "summarize", "m", write(tmp_path / "rows.jsonl", rows))
    assert made["metrics"] == {"rouge1": 50.0, "rouge2": 50.0, "rougeL": 50.0}


def test_rows_have_points_of_their_own_whose_mean_is_the_metric(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = [{"text": str(i), "label": gold} for i, gold in enumerate("AABB")]
    monkeypatch.setattr(evaluation.classify, "run_many", answering("classify", list("AAAB"), ("A", "B")))
    scored = score(Engine(), "classify", "m", write(tmp_path / "rows.jsonl", rows))
    assert scored.points["accuracy"].tolist() == [100, 100, 0, 100] and scored.rows == 4
    assert scored.metrics["accuracy"] == scored.points["accuracy"].mean()
    scored = evaluation.squad(["x y", "z"], [["x"], ["z", "w"]])
    assert scored.points["f1"].tolist() == pytest.approx([200 / 3, 100], abs=0.01)
    assert scored.points["exact_match"].tolist() == [0, 100]


def test_the_worst_rows_are_the_surest_mistakes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def run_many(engine: object, model: str, items: list[Any], *rest: object) -> list[Result]:
        spans = [(0.4, "x"), (0.9, "x"), (0.8, "right"), (0.7, "x")]
        made = []
        for item, (sure, said) in zip(items, spans, strict=True):
            made.append(Result("qa", model, "r", said, item[0], spans=(Span(said, 0, 1, sure), Span("z", 0, 1, 0.05))))
        return made

    monkeypatch.setattr(evaluation.qa, "run_many", run_many)
    answers = {"text": ["right"], "answer_start": [0]}
    rows = [{"question": f"q{i}", "context": "c" * 1000, "answers": answers} for i in range(4)]
    said: list[dict[str, Any]] = []
    evaluate(Engine(), "qa", "m", write(tmp_path / "rows.jsonl", rows), predictions=said.append)
    shown = worst(said, 2)
    assert [row["question"] for row in shown] == ["q1", "q3"]
    assert len(shown[0]["context"]) < 260 and shown[0]["answers"] == ["right"] and shown[0]["points"] == 0
    assert len(worst(said, 10)) == 3, "right answers are not among them"


def test_label_maps_rename_and_strange_labels_are_named(tmp_path: Path) -> None:
    engine, model = Engine(), str(minis.bert_checkpoint(tmp_path / "m"))
    data = write(tmp_path / "rows.jsonl", [{"text": "a", "label": "sport"}, {"text": "b", "label": "World"}])
    with pytest.raises(BadParameter, match=r"sport.*The model has: Sports, World.*--label-map"):
        evaluate(engine, "classify", model, data, head="topic")
    made = evaluate(engine, "classify", model, data, head="topic", label_map={"sport": "Sports"})
    assert made["rows"] == 2


def test_progress_limit_and_predictions(tmp_path: Path) -> None:
    model = str(minis.bert_checkpoint(tmp_path / "m"))
    data = write(tmp_path / "rows.jsonl", [{"text": f"a{i}", "title": "t", "label": "World"} for i in range(9)])
    done: list[int] = []
    rows: list[dict[str, Any]] = []
    made = evaluate(
        Engine(), "classify", model, data, head="topic", limit=5, progress=done.append, predictions=rows.append
    )
    assert made["rows"] == sum(done) == len(rows) == 5
    assert rows[0]["text"] == "t a0" and rows[0]["answer"] in ("World", "Sports") and len(rows[0]["scores"]) == 2


@pytest.mark.parametrize("suffix", ["", ".gz", ".xz"])
def test_rows_are_read_plain_and_packed(tmp_path: Path, suffix: str) -> None:
    text = '{"text": "ä", "label": "A"}\n\n{"text": "b", "label": "B"}\n'
    path = tmp_path / f"rows.jsonl{suffix}"
    path.write_bytes({"": bytes, ".gz": gzip.compress, ".xz": lzma.compress}[suffix](text.encode()))
    assert [row["text"] for row in read_rows(path)] == ["ä", "b"]


def test_squad_json_gives_a_row_a_question(tmp_path: Path) -> None:
    qa = {"id": "1", "question": "q", "answers": [{"text": "x", "answer_start": 0}, {"text": "y", "answer_start": 1}]}
    path = tmp_path / "squad.json"
    path.write_text(json.dumps({"data": [{"title": "T", "paragraphs": [{"context": "xy", "qas": [qa]}]}]}))
    (row,) = read_rows(path)
    assert row["title"] == "T" and row["answers"] == {"text": ["x", "y"], "answer_start": [0, 1]}


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.jsonl", b'{"text": "a"}\nnot json\n', "line 2 is not JSON"),
        ("a.jsonl", b"[1]\n", "line 1 holds no JSON object"),
        ("a.jsonl.gz", gzip.compress(b'{"text": "a"}\n' * 100, mtime=0)[:30], "cannot be read"),
        ("a.jsonl", b"\xff\xfe", "cannot be read"),
        ("a.csv", b"a,b", "neither .jsonl nor .json"),
        ("a.json", b'{"rows": []}', "SQuAD"),
        ("a.jsonl", b"", "no rows"),
        ("a.jsonl", b'{"txt": "a", "label": "World"}\n', "Row 1 has no text in 'text'"),
        ("a.jsonl", b'{"text": "a"}\n', "Row 1 has no text in 'label'"),
    ],
)
def test_broken_files_are_named(tmp_path: Path, name: str, content: bytes, message: str) -> None:
    (tmp_path / name).write_bytes(content)
    model = str(minis.bert_checkpoint(tmp_path / "m"))
    with pytest.raises(BadData, match=message):
        evaluate(Engine(), "classify", model, tmp_path / name, head="topic")


def test_an_absent_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(BadData, match="no file"):
        list(read_rows(tmp_path / "nothing.jsonl"))
