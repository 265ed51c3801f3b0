"""The shipped weights answer as a person would expect, and as well as their cards say."""

from __future__ import annotations

from pathlib import Path

import pytest

from tasks import classify, nli, qa, summarize
from zoo import Engine, catalog

PASSAGE = (
    "The Amazon rainforest covers most of the Amazon basin of South America. The majority of the forest is contained "
    "within Brazil, with 60% of the rainforest, followed by Peru with 13% and Colombia with 10%. It was first seen by "
    "a European in 1541, when Francisco de Orellana travelled down the river."
)


@pytest.fixture(scope="module")
def engine() -> Engine:
    return Engine()


@pytest.mark.parametrize(
    ("premise", "hypothesis", "label"),
    [
        ("A man is playing a guitar on stage.", "Someone is making music.", "entailment"),
        ("A man is playing a guitar on stage.", "The man is sleeping at home.", "contradiction"),
        ("A man is playing a guitar on stage.", "The man is a famous musician from Spain.", "neutral"),
        ("Two dogs are running through the snow.", "Animals are outside.", "entailment"),
        ("Two dogs are running through the snow.", "Two cats are running through the snow.", "contradiction"),
        ("A woman in a red coat waits for the bus.", "A woman is waiting.", "entailment"),
    ],
)
def test_nli(engine: Engine, premise: str, hypothesis: str, label: str) -> None:
    assert nli.run(engine, "bert-mini", premise, hypothesis).answer == label


@pytest.mark.parametrize(
    ("question", "answer"),
    [
        ("Which country holds most of the forest?", "Brazil"),
        ("What percentage of the rainforest is in Colombia?", "10%"),
        ("Who travelled down the river?", "Francisco de Orellana"),
        ("When was it first seen by a European?", "1541"),
    ],
)
def test_qa_points_at_the_answer(engine: Engine, question: str, answer: str) -> None:
    result = qa.run(engine, "bert-mini", question, PASSAGE, allow_no_answer=False)
    assert result.answer.strip(".,") == answer
    assert PASSAGE[result.spans[0].start : result.spans[0].end] == result.answer


def test_qa_finds_an_answer_far_behind_the_first_window(engine: Engine) -> None:
    filler = "The weather in the valley was mild and the harvest was good that year. " * 80
    passage = filler + "The bridge was designed by Clara Novak. " + filler
    result = qa.run(engine, "bert-mini", "Who designed the bridge?", passage, allow_no_answer=False)
    assert "Clara Novak" in result.answer and result.windows > 3


@pytest.mark.parametrize(
    ("text", "topic"),
    [
        ("The striker scored twice as the home team won the cup final.", "Sports"),
        ("Shares of the bank fell after it reported a quarterly loss.", "Business"),
        ("Scientists have released new software that finds planets in telescope images.", "Sci/Tech"),
        ("The president met rebel leaders to discuss a ceasefire in the war-torn region.", "World"),
    ],
)
def test_topic(engine: Engine, text: str, topic: str) -> None:
    assert classify.run(engine, "bert-mini", text).answer == topic


@pytest.mark.parametrize(
    ("text", "label"),
    [
        ("A moving, beautifully acted film that stays with you.", "positive"),
        ("Dull, lifeless and far too long.", "negative"),
        ("The plot makes no sense and the jokes are not funny.", "negative"),
        ("One of the best comedies of the year.", "positive"),
    ],
)
def test_sentiment(engine: Engine, text: str, label: str) -> None:
    assert classify.run(engine, "bert-mini", text, head="sentiment").answer == label


def test_a_summary_is_a_sentence_about_something(engine: Engine) -> None:
    result = summarize.run(engine, "gpt-mini", PASSAGE)
    words = result.answer.split()
    assert 3 <= len(words) <= 60
    assert len(set(words)) > len(words) / 3
    assert sum(word.isascii() for word in words) > 0.8 * len(words)


def test_the_catalog_states_the_true_sizes(engine: Engine) -> None:
    for row in catalog.CHECKPOINTS:
        if row.embedded:
            assert engine.model(row.name).parameters == row.parameters
            files = list((catalog.EMBEDDED / row.source).glob("model*.safetensors"))
            assert row.megabytes == round(sum(f.stat().st_size for f in files) / 1e6)


def test_no_file_is_over_ten_megabytes() -> None:
    assert all(f.stat().st_size < 10_000_000 for f in catalog.EMBEDDED.rglob("*") if f.is_file())


DATA = Path(__file__).resolve().parents[2].parent / "shared" / "data"


@pytest.mark.skipif(not DATA.is_dir(), reason="the data sets are not beside the project")
def test_a_figure_of_the_card_is_what_the_command_prints(engine: Engine) -> None:
    from tasks.evaluate import evaluate

    made = evaluate(engine, "classify", "bert-mini", DATA / "classification" / "sst2_dev.jsonl.gz", "sentiment")
    assert made["metrics"]["accuracy"] == catalog.get("bert-mini").figures["SST-2 dev"]["accuracy"]
