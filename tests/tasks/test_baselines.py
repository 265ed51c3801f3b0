"""The simple methods answer as they should, and learn from the rows that the models learn from."""

from __future__ import annotations

from pathlib import Path

import pytest

from tasks import baselines
from tasks.baselines import sliding_window
from tests import tiny_data
from zoo.training import lessons

PASSAGE = (
    "The bridge was opened in 1892. It was designed by Clara Novak, who had studied in Vienna. "
    "Today it carries trams and a footpath."
)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_data.write(tmp_path_factory.mktemp("data"))


@pytest.mark.parametrize(
    ("question", "answer"),
    [
        ("When was the bridge opened?", "1892"),
        ("Who designed it?", "Clara Novak"),
        ("What does it carry today, trams or a footpath?", "carries"),  # it knows no forms of words
    ],
)
def test_sliding_window_takes_new_words_near_those_of_the_question(question: str, answer: str) -> None:
    assert sliding_window(question, PASSAGE) == answer


@pytest.mark.parametrize("passage", ["", " ", "?!", "the of", "one"])
def test_sliding_window_answers_whatever_the_passage(passage: str) -> None:
    assert sliding_window("Who is the one?", passage) in passage


@pytest.mark.parametrize("head", ["topic", "sentiment", "nli"])
def test_regression_learns_what_a_word_decides(data: Path, head: str) -> None:
    run = "nli" if head == "nli" else "classify"
    majority, regression = baselines.of(run, head, data)
    rows = [row for row in baselines.training_rows(head, data) if row["label"]]
    held = {
        "topic": "classification/ag_news_test.jsonl.gz",
        "sentiment": "classification/sst2_dev.jsonl.gz",
        "nli": "nli/snli_dev.jsonl.gz",
    }[head]
    test = lessons.rows_of(data, held)
    said = regression.answers(test)
    assert sum(a == row["label"] for a, row in zip(said, test, strict=True)) > 0.9 * len(test)
    assert regression.parameters > 0 and majority.parameters == 0
    (always,) = set(majority.answers(test))
    assert sum(row["label"] == always for row in rows) >= len(rows) / len({row["label"] for row in rows})


def test_training_rows_are_those_of_the_lessons_and_none_of_the_figures(data: Path) -> None:
    held = {row["premise"] for row in lessons.rows_of(data, "nli/snli_dev.jsonl.gz", "nli/snli_test.jsonl.gz")}
    snli, altered, conjunctions = lessons.nli_rows(data)
    rows = baselines.training_rows("nli", data)
    assert len(rows) == len(snli) + len(altered) + len(conjunctions)
    assert not held & {row["premise"] for row in snli + altered}
    assert {row["text"] for row in baselines.training_rows("sentiment", data)} == {
        row["text"] for row in lessons.sentiment_rows(data)
    }


def test_first_sentence_is_the_summary() -> None:
    (lead,) = baselines.of("summarize", None, Path())
    assert lead.answers([{"document": "The cat sat. And left."}]) == ["The cat sat."]


def test_compressors_charge_bytes_and_less_for_what_repeats() -> None:
    texts = ["the cat sat on the mat. " * 40, "ö" * 5]
    for pack in baselines.of_language().values():
        charged = pack(texts)
        assert [one.bytes for one in charged] == [960, 10]
        assert 0 < charged[0].bits < 8 * 960 / 4
