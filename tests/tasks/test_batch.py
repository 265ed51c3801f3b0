"""Rows of a user: read or refused in words, answered a chunk at a time, held against what is right, written out."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tasks import batch, intake, scoring
from tasks.__main__ import main
from tasks.batch import Answer, Batch, Chosen
from tasks.results import Result, Score, Span
from tests import minis
from zoo.errors import BadData, BadParameter, InputEmpty, ModelUnavailable, ZooError


def file(folder: Path, name: str, text: str | bytes) -> Path:
    path = folder / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def says(task: str, path: Path, gold: str = "") -> str:
    with pytest.raises(ZooError) as caught:
        intake.read_file(task, path, gold)
    return caught.value.message


# Reading


@pytest.mark.parametrize("begin", [b"", b"\xef\xbb\xbf"])
@pytest.mark.parametrize("separator", [",", ";", "\t"])
def test_a_table_is_read_with_its_columns_found_by_name(tmp_path: Path, begin: bytes, separator: str) -> None:
    text = separator.join(["id", "Text", "LABEL"]) + "\r\n" + separator.join(["7", '"a\n""b"""', "x"]) + "\r\n\r\n"
    sheet = intake.read_file("classify", file(tmp_path, "a.csv", begin + text.encode()))
    assert sheet.columns == ("id", "Text", "LABEL")
    assert (sheet.fields, sheet.gold) == (("Text",), "LABEL")
    assert sheet.rows == ({"id": "7", "Text": 'a\n"b"', "LABEL": "x"},)


def test_json_lines_keep_their_values_and_may_lack_some(tmp_path: Path) -> None:
    lines = '\ufeff{"question": "q", "context": "c", "answers": {"text": ["c"]}}\n\n{"question": "q", "n": 1}\n'
    sheet = intake.read_file("qa", file(tmp_path, "a.jsonl", lines))
    assert sheet.columns == ("question", "context", "answers", "n") and sheet.gold == "answers"
    assert sheet.rows[0]["answers"] == {"text": ["c"]} and sheet.texts(1) == ["q", ""]


def test_a_gold_column_may_be_chosen(tmp_path: Path) -> None:
    path = file(tmp_path, "a.csv", "text,label,stars\na,x,5\n")
    assert intake.read_file("classify", path, "Stars").gold == "stars"
    assert "no column 'star'; it has text, label, stars. Did you mean 'stars'" in says("classify", path, "star")


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("a.csv", "text,label\nfine,x\na, b,x\n", "a.csv, row 2 (line 3) has 3 cells; there are 2 columns: text"),
        ("a.csv", "text,label\n\"two\nlines\",x\nshort\n", "row 2 (line 4) has 1 cell;"),
        ("a.csv", 'text\n"open\n', "row 1 (line 2) cannot be read: unexpected end of data"),
        ("a.csv", 'text\n"a" b\n', "row 1 (line 2) cannot be read"),
        ("a.csv", "text, Text\na,b\n", "2 columns named 'text'"),
        ("a.csv", "", "a.csv has no rows."),
        ("a.csv", "text,label\n", "a.csv has no rows."),
        ("a.csv", "texts,label\na,x\n", "no column text; it has texts, label. Classify reads text and, if it is there"),
        ("a.csv", "text\nstraße\n".encode("latin-1"), "not written in UTF-8: line 2 has the byte 0xdf"),
        ("a.csv", "text\na\n".encode("utf-16"), "is written in UTF-16; only UTF-8 is read"),
        ("a.csv", b"text\na\nb\0c\n", "a NUL byte in line 3"),
        ("a.csv", "text\n" + "a\n" * 5_001, "more than 5,000 rows; that many are answered at once"),
        ("a.csv", b"text\n" + b"x" * (10 * 2**20), "10.0 MB; at most 10 MB are read here"),
        ("a.csv", ",".join(f"c{i}" for i in range(101)) + "\n", "101 columns; at most 100 are read"),
        ("a.jsonl", '{"text": "a"}\n{"text": \n', "a.jsonl, line 2 is not JSON"),
        ("a.jsonl", '{"text": "a"}\n["a"]\n', "a.jsonl, line 2 holds no JSON object"),
        ("a.jsonl", "[" * 200_000, "a.jsonl, line 1 is not JSON"),
        ("a.jsonl", '{"text": ' + "9" * 5_000 + "}", "a.jsonl, line 1 is not JSON"),
        ("a.jsonl", json.dumps({f"c{i}": 1 for i in range(101)}), "more than 100 columns"),
        ("a.xlsx", "", "a.xlsx is none of .csv, .tsv, .jsonl"),
        ("a.csv.gz", b"", "is none of"),
    ],
)  # fmt: skip
def test_what_cannot_be_read_is_refused_with_the_row(tmp_path: Path, name: str, content: Any, said: str) -> None:
    assert said in says("classify", file(tmp_path, name, content))


def test_5000_rows_are_taken_and_any_number_on_request(tmp_path: Path) -> None:
    assert len(intake.read_file("classify", file(tmp_path, "a.csv", "text\n" + "a\n" * 5_000)).rows) == 5_000
    many = file(tmp_path, "b.csv", "text\n" + "a\n" * 5_001)
    assert len(intake.read_file("classify", many, most=None).rows) == 5_001


@pytest.mark.parametrize(
    ("task", "text", "rows", "gold"),
    [
        ("classify", "\nA film, with commas.\n\n {Odd} one \n", [["A film, with commas."], ["{Odd} one"]], None),
        ("classify", "text\nA film, with commas.\n", [["A film, with commas."]], None),
        ("classify", 'text,label\n"A, b",x\n', [["A, b"]], "label"),
        ("classify", "A film\tx\nTwo, films\ty\n", [["A film"], ["Two, films"]], "label"),
        ("classify", '{"text": "a", "label": "x"}\n', [["a"]], "label"),
        ("nli", "a,b\nc,d\n", [["a", "b"], ["c", "d"]], None),
        ("nli", "a, a\tb\tneutral\n", [["a, a", "b"]], "label"),
        ("nli", "hypothesis\tid\tpremise\nb\t1\ta\n", [["a", "b"]], None),
        ("nli", '{"sentence1": "a", "sentence2": "b"}', [["a", "b"]], None),
        ("qa", 'Who?,"Ada, in 1843",Ada\n', [["Who?", "Ada, in 1843"]], "answer"),
        ("summarize", "One text.\nAnother, longer.\n", [["One text."], ["Another, longer."]], None),
    ],
)
def test_pasted_text_needs_no_header(task: str, text: str, rows: list[list[str]], gold: str | None) -> None:
    sheet = intake.read_text(task, text)
    assert [sheet.texts(i) for i in range(len(sheet.rows))] == rows
    assert sheet.gold == gold


def test_pasted_text_that_cannot_be_read_says_what_is_read() -> None:
    with pytest.raises(InputEmpty, match="There are no rows"):
        intake.read_text("nli", " \n")
    with pytest.raises(BadData, match=r"The first line has 1 cell\. Entail reads premise and hypothesis and"):
        intake.read_text("nli", "a b")
    with pytest.raises(BadData, match=r"The pasted text, row 2 \(line 2\) has 3 cells; there are 2 columns"):
        intake.read_text("nli", "a,b\nc,d,e\n")
    with pytest.raises(BadData, match="has a NUL byte in line 2"):
        intake.read_text("classify", "a\nb\0\n")
    with pytest.raises(BadData, match="more than 5,000 rows"):
        intake.read_text("classify", "a\n" * 5_001)


# Answering


class Stub:
    """Stands for an engine; the tasks that are asked are stubs as well."""

    def opening(self, name: str) -> Iterator[int]:
        yield 0
        if name == "absent":
            raise ModelUnavailable("absent is not on this machine.")


def answering(monkeypatch: pytest.MonkeyPatch, task: str, seconds: float = 0.0) -> list[list[Any]]:
    """Label by the first letter of a text, or find its last word; returns the chunks that were asked."""
    asked: list[list[Any]] = []
    now = [0.0]  # a clock that only answers move on

    def many(engine: object, model: str, items: list[Any], head: str | None) -> list[Result]:
        asked.append(items)
        made = []
        for item in items:
            text = item if isinstance(item, str) else item[-1]
            if not text.strip():
                raise InputEmpty("The text is empty.")
            if task == "qa":
                made.append(Result(task, model, "r", text.split()[-1], "", spans=(Span("", 0, 0, 0.5),)))
                continue
            labels = ("A", "B") if head != "other" else ("x", "y")
            best = labels[(text[0] == "b") ^ (model == "contrary" and text.endswith("?"))]
            scores = (Score(best, 0.75), *(Score(one, 0.25) for one in labels if one != best))
            made.append(Result(task, model, "r", best, "", scores=scores))
        now[0] += seconds * len(items)
        return made

    monkeypatch.setattr(batch, "time", SimpleNamespace(perf_counter=lambda: now[0]))
    monkeypatch.setattr(batch, "TASKS", {task: replace(batch.TASKS[task], many=many)})
    return asked


def batch_of(text: str, *models: str, task: str = "classify") -> Batch:
    return Batch(intake.read_text(task, text), tuple(map(Chosen.of, models)))


def test_rows_are_answered_and_a_bad_one_says_why(monkeypatch: pytest.MonkeyPatch) -> None:
    answering(monkeypatch, "classify", seconds=1.0)
    work = batch_of('text,label\na,A\n" ",A\nb,B\na,\n', "m", "absent", "contrary#head")
    last = list(batch.run(Stub(), work))[-1]
    a, b, empty = Answer("A", 0.75), Answer("B", 0.75), Answer(error="The text is empty.")
    assert work.answers["m"] == [a, empty, b, a]
    assert work.failed == {"absent": "absent is not on this machine."}
    assert len(work.answers["contrary#head"]) == 4
    assert (last.done, last.of, last.seconds, last.rate, last.left) == (8, 8, 6.0, 8 / 6, 0.0)


def test_stopping_keeps_the_rows_that_are_done(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = answering(monkeypatch, "classify", seconds=0.01)
    work = batch_of("a text\n" * 2_000, "m", "n")
    steps = batch.run(Stub(), work)
    while next(steps).done < 100:
        pass
    steps.close()
    assert 100 <= work.rows < 1_000 and work.answers["n"] == []
    assert len(list(batch.records(work))) == work.rows == sum(map(len, asked))
    assert [row["m answer"] for row in batch.records(work)] == ["A"] * work.rows


def test_chunks_are_as_large_as_takes_the_time_of_one(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = answering(monkeypatch, "classify", seconds=batch.TARGET / 10)
    list(batch.run(Stub(), batch_of("a text of some length\n" * 60 + "a" * 5_000 + "\na\n", "m")))
    *_, before, long, last = asked
    assert all(8 <= len(chunk) <= 12 for chunk in asked[2:-3]) and len(before) <= 12
    assert [len(long), len(last)] == [1, 1]


def test_summaries_stop_between_tokens_and_have_no_probability(monkeypatch: pytest.MonkeyPatch) -> None:
    def stream(engine: object, model: str, text: str, head: str | None) -> Any:
        for count in range(1, 4):
            yield Result("summarize", model, "r", "word " * count, "done" if count == 3 else "")

    monkeypatch.setattr(batch.summarize, "stream", stream)
    work = batch_of("one\ntwo\n", "m", task="summarize")
    steps = batch.run(Stub(), work)
    assert [next(steps).done for _ in range(7)] == [0, 0, 0, 0, 1, 1, 1]
    steps.close()
    assert work.answers["m"] == [Answer("word word word ")]


@pytest.mark.parametrize("models", [[], ["m", "m"], list("abcde")])
def test_one_to_four_models_are_taken(models: list[str]) -> None:
    with pytest.raises(BadParameter, match="choose 1 to 4, each once"):
        batch_of("a", *models)


# Holding answers against the right ones, and against each other


def test_metrics_of_labels_by_hand(monkeypatch: pytest.MonkeyPatch) -> None:
    answering(monkeypatch, "classify")
    work = batch_of('text,label\na,A\na,b\nb,B\nb,B\nb,a\n" ",A\na,\n', "m", "n#other")
    list(batch.run(Stub(), work))
    made = scoring.measured(work)
    # said A A B B B, right A B B B A: A has precision 1/2, recall 1/2; B has 2/3, 2/3; one row empty, one without label
    assert made["m"].rows == 5
    assert made["m"].metrics == pytest.approx({"accuracy": 60.0, "macro_f1": 100 * (1 / 2 + 2 / 3) / 2})
    assert made["m"].confusion == scoring.Confusion(("A", "B"), ((1, 1), (1, 2)))
    assert "labels that the model does not know: A, B, a, b. It knows x, y." in made["n#other"].error
    assert [scoring.wrong(work, "m", i) for i in range(7)] == [False, True, False, False, True, False, False]
    assert not any(scoring.wrong(work, "n#other", i) for i in range(7))
    assert json.dumps(scoring.summary(work))


def test_metrics_of_answers_and_summaries(monkeypatch: pytest.MonkeyPatch) -> None:
    answering(monkeypatch, "qa")
    rows = [
        {"question": "q", "context": "he went to Rome", "answers": {"text": ["Rome", "to Rome"]}},
        {"question": "q", "context": "he went to Rome", "answers": ["to Rome"]},
        {"question": "q", "context": "he went to Rome", "answers": []},
        {"question": "q", "context": "he went to Rome"},
    ]
    work = batch_of("\n".join(map(json.dumps, rows)), "m", task="qa")
    list(batch.run(Stub(), work))
    made = scoring.measured(work)["m"]
    assert made.rows == 3
    assert made.metrics == pytest.approx({"exact_match": 100 / 3, "f1": 100 * (1 + 2 / 3 + 0) / 3})
    rows = [{"text": "t", "summary": ["x y", "the cat sat"]}, {"text": "t", "summary": None}]
    work = batch_of("\n".join(map(json.dumps, rows)), "m", task="summarize")
    work.answers["m"] = [Answer("the cat"), Answer("anything")]
    made = scoring.measured(work)["m"]
    assert made.rows == 1 and made.metrics["rouge1"] == pytest.approx(80.0)
    assert scoring.compared(work) == []


def test_a_gold_cell_that_is_no_label_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    answering(monkeypatch, "classify")
    work = batch_of('{"text": "a", "label": ["A", "B"]}\n', "m")
    list(batch.run(Stub(), work))
    assert "Row 1 has ['A', 'B'] for a label in 'label'" in scoring.measured(work)["m"].error


def test_disagreements_by_hand(monkeypatch: pytest.MonkeyPatch) -> None:
    answering(monkeypatch, "classify")
    work = batch_of("text\na\na?\nb?\nb\nb\n", "m", "contrary", "n#other")
    list(batch.run(Stub(), work))
    one, other, _ = scoring.compared(work)
    assert (one.first, one.second, one.rows, one.differ) == ("m", "contrary", 5, (1, 2))
    assert one.confusion == scoring.Confusion(("A", "B"), ((1, 1), (1, 2)))
    assert other.unlike == "They have different labels."
    assert scoring.summary(work)["pairs"] == [{"models": ["m", "contrary"], "rows": 5, "differ": 2}]


# Writing

HOSTILE = ["=1+1", "+1", "-1", "@x", "\tx", "\rx", "a=b", "", "'=1", 'a\n2, "b"', "<img src=x onerror=1>", "\u202egpj"]


def written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Batch, Path, Path]:
    answering(monkeypatch, "classify")
    rows: list[dict[str, Any]] = [{"text": f"a{cell}", "=cell": cell} for cell in HOSTILE]
    rows += [{"text": "a", "=cell": value} for value in ({"a": [1]}, -5, 0.25, True, None, "\ud800")]
    work = batch_of("".join(json.dumps(row) + "\n" for row in rows), "m")
    list(batch.run(Stub(), work))
    made = tmp_path / "out.csv", tmp_path / "out.jsonl"
    batch.write_csv(work, made[0])
    batch.write_jsonl(work, made[1])
    return work, *made


def test_no_cell_of_the_csv_is_a_formula(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _, path, _ = written(tmp_path, monkeypatch)
    assert path.read_bytes().startswith(b"\xef\xbb\xbf")
    with path.open(encoding="utf-8-sig", newline="") as opened:
        head, *rows = csv.reader(opened)
    assert head == ["text", "'=cell", "m answer", "m probability"]
    cells = [row[1] for row in rows]
    assert cells[: len(HOSTILE)] == [f"'{cell}" for cell in HOSTILE[:6]] + HOSTILE[6:]
    assert cells[len(HOSTILE) :] == ['{"a": [1]}', "-5", "0.25", "true", "", "?"]
    assert rows[0][2:] == ["A", "0.75"]


def test_jsonl_gives_back_every_value(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    work, _, path = written(tmp_path, monkeypatch)
    said = {"m answer": "A", "m probability": 0.75}
    lines = path.read_text("utf-8").split("\n")[:-1]
    assert list(map(json.loads, lines)) == [row | said for row in work.sheet.rows]
    again = intake.read_file("classify", path)
    assert [dict(row) for row in again.rows] == list(batch.records(work))


def test_columns_of_the_user_keep_their_names(monkeypatch: pytest.MonkeyPatch) -> None:
    answering(monkeypatch, "classify")
    work = batch_of('text,M answer\na,mine\n" ",mine\n', "m")
    list(batch.run(Stub(), work))
    first, second = batch.records(work)
    assert first == {
        "text": "a", "M answer": "mine", "m answer (new)": "A", "m probability": 0.75, "m note": None,
    }  # fmt: skip
    assert (second["m answer (new)"], second["m probability"], second["m note"]) == (None, None, "The text is empty.")


# The command line


def test_the_command_line_writes_both_forms(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model = str(minis.bert_checkpoint(tmp_path / "bert"))
    data = file(tmp_path, "rows.csv", "premise,hypothesis,label\na,b,neutral\na,,neutral\n")
    for ending in (".csv", ".jsonl"):
        out = tmp_path / f"out{ending}"
        assert main(["batch", "nli", "--data", str(data), "--model", f"{model}#nli", "--out", str(out)]) == 0
        seen = capsys.readouterr()
        made = json.loads(seen.out)
        (of,) = made["models"].values()
        assert (made["rows"], of["rows"], of["unanswered"], of["labelled"]) == (2, 2, 1, 1)
        assert set(of["metrics"]) == {"accuracy", "macro_f1"} and "row" in seen.err
        rows = intake.read_file("nli", out).rows
        assert "The hypothesis is empty" in rows[1][f"{model}#nli note"]


@pytest.mark.parametrize(
    ("out", "said"), [("rows.txt", "neither .csv nor .jsonl"), ("nowhere/rows.csv", "There is no folder")]
)
def test_the_command_line_checks_where_to_write_first(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], out: str, said: str
) -> None:
    data = file(tmp_path, "rows.csv", "text\na\n")
    assert main(["batch", "classify", "--data", str(data), "--model", "m", "--out", str(tmp_path / out)]) == 2
    assert said in json.loads(capsys.readouterr().out)["error"]["message"]


def test_control_c_keeps_what_is_done(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def run(engine: object, work: Batch) -> Any:
        work.answers["bert-mini"].append(Answer("World", 0.5))
        work.labels["bert-mini"] = frozenset(("World", "Sports"))
        yield batch.Progress("bert-mini", 1, 1, 2, 1.0)
        raise KeyboardInterrupt

    monkeypatch.setattr(batch, "run", run)
    data, out = file(tmp_path, "rows.csv", "text\na\nb\n"), tmp_path / "out.csv"
    assert main(["batch", "classify", "--data", str(data), "--model", "bert-mini", "--out", str(out)]) == 130
    assert len(intake.read_file("classify", out).rows) == 1
