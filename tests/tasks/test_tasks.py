"""The four tasks on tiny random models: results, checks of input, truncation that is told, streams that stop."""

from __future__ import annotations

import dataclasses
import itertools
import json

import pytest
import torch

from tasks import TASKS, classify, nli, qa, summarize
from tasks.results import Score, Span, Truncation, certainty
from tests import minis
from zoo import Engine, catalog
from zoo.engine import Spanned, SpanWindow
from zoo.engine.answers import Read
from zoo.errors import BadParameter, InputEmpty, InputTooLong, UnknownModel, Unsupported

NASTY = [
    "🙂" * 50,
    "مرحبا بالعالم",
    "e\u0301\u0301",
    "\x00\x07 a",
    "<b>${x}</b> {{y}}",
    "你好，世界",
    "a\ud800b",
    "\u200d" * 9,
    "\x07\x07",  # no token at all for BERT
    "\u00ad",
]


@pytest.fixture(scope="module")
def engine() -> Engine:
    return Engine()


@pytest.fixture(scope="module")
def bert(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(minis.bert_checkpoint(tmp_path_factory.mktemp("bert")))


@pytest.fixture(scope="module")
def gpt(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(minis.gpt2_checkpoint(tmp_path_factory.mktemp("gpt")))


def test_nli_gives_named_probabilities_and_a_verdict(engine: Engine, bert: str) -> None:
    result = nli.run(engine, bert, "a cat", "an animal", head="nli")
    assert {s.label for s in result.scores} == {"entailment", "neutral", "contradiction"}
    assert sum(s.score for s in result.scores) == pytest.approx(1)
    assert result.answer == result.scores[0].label == max(result.scores, key=lambda s: s.score).label
    assert nli.WORDS[result.answer] in result.verdict and result.verdict.startswith(certainty(result.scores[0].score))
    assert set(result.timings) == {"load", "tokenize", "forward", "decode", "total"}


def test_nli_refuses_a_head_with_other_labels(engine: Engine, bert: str) -> None:
    with pytest.raises(Unsupported, match="World, Sports"):
        nli.run(engine, bert, "a", "b", head="topic")


def test_classify_top_k(engine: Engine, bert: str) -> None:
    assert len(classify.run(engine, bert, "a", head="topic").scores) == 2
    assert len(classify.run(engine, bert, "a", head="topic", top_k=1).scores) == 1
    with pytest.raises(BadParameter, match="top_k"):
        classify.run(engine, bert, "a", head="topic", top_k=0)


@pytest.mark.parametrize("text", NASTY, ids=range(len(NASTY)))
def test_any_text_gets_an_answer(engine: Engine, bert: str, gpt: str, text: str) -> None:
    nli.run(engine, bert, text, text, head="nli")
    classify.run(engine, bert, text, head="topic")
    found = qa.run(engine, bert, text, f"{text} and {text}")
    for span in found.spans:
        assert f"{text} and {text}"[span.start : span.end].replace("\ud800", "\ufffd") == span.text
    summarize.run(engine, gpt, text, max_new_tokens=3)


@pytest.mark.parametrize("text", ["", " ", "\n\t \u3000"])
def test_empty_text_is_refused_by_every_task(engine: Engine, text: str) -> None:
    calls = {
        "summarize": lambda: summarize.run(engine, "nowhere", text),
        "nli": lambda: nli.run(engine, "nowhere", "a", text),
        "qa": lambda: qa.run(engine, "nowhere", text, "a"),
        "classify": lambda: classify.run(engine, "nowhere", text),
    }
    assert set(calls) == set(TASKS)
    for call in calls.values():
        with pytest.raises(InputEmpty, match="empty"):
            call()


def test_length_limit_is_named_with_both_numbers(engine: Engine, bert: str) -> None:
    with pytest.raises(InputTooLong, match="100,001 characters; at most 100,000"):
        classify.run(engine, bert, "x" * 100_001, head="topic")
    assert classify.run(engine, bert, "x " * 50_000, head="topic").truncated is not None
    with pytest.raises(BadParameter, match="must be text, not int"):
        classify.run(engine, bert, 5, head="topic")  # type: ignore[arg-type]


def test_unknown_model_and_unfit_model_say_what_to_do(engine: Engine) -> None:
    with pytest.raises(UnknownModel, match="Did you mean 'bert-mini'"):
        nli.run(engine, "bert-mine", "a", "b")
    with pytest.raises(Unsupported, match=r"gpt2 does not answer nli.*bert-mini"):
        nli.run(engine, "gpt2", "a", "b")
    with pytest.raises(Unsupported, match="choose from topic, sentiment"):
        classify.run(engine, "bert-mini", "a", head="nli")


def test_truncation_names_the_text_and_what_was_read(engine: Engine, bert: str) -> None:
    result = nli.run(engine, bert, "ab " * 200, "cd", head="nli")
    assert result.truncated is not None
    assert result.truncated.field == "premise" and result.truncated.of == 400
    assert result.as_json()["truncated"]["read"] == result.truncated.read < 64
    assert str(result.truncated) in result.warnings


def test_qa_reads_long_passages_in_windows_and_points_into_them(engine: Engine, bert: str) -> None:
    passage = " ".join(f"word{i}" for i in range(100))
    result = qa.run(engine, bert, "who?", passage, top_k=5, stride=8)
    assert result.windows > 5 and result.truncated is None
    assert len(result.spans) == 5
    for span in result.spans:
        assert passage[span.start : span.end] == span.text
    scores = [span.score for span in result.spans]
    assert scores == sorted(scores, reverse=True)


def test_json_has_the_stable_keys(engine: Engine, bert: str, gpt: str) -> None:
    keys = ["task", "model", "revision", "answer", "scores", "timings", "cached", "truncated", "warnings"]
    assert list(nli.run(engine, bert, "a", "b", head="nli").as_json()) == keys
    assert list(classify.run(engine, bert, "a", head="topic").as_json()) == keys
    made = qa.run(engine, bert, "who?", "a cat and a dog", allow_no_answer=True).as_json()
    assert list(made) == [*keys[:5], "spans", *keys[5:]]
    assert set(made["spans"][0]) == {"text", "start", "end", "score"}
    assert list(summarize.run(engine, gpt, "a", max_new_tokens=2).as_json()) == [k for k in keys if k != "scores"]
    json.dumps(made)


def spanned(
    starts: list[list[float]], ends: list[list[float]], none: list[float], offsets: list[list[tuple[int, int]]]
) -> Spanned:
    made = [
        SpanWindow(torch.tensor(s), torch.tensor(e), tuple(o), n)
        for s, e, n, o in zip(starts, ends, none, offsets, strict=True)
    ]
    return Spanned(tuple(made), Read(1, 1, 1))


def test_best_span_is_over_all_windows_and_never_backwards() -> None:
    passage = "aa bb cc dd"
    first, second = [(0, 2), (3, 5), (6, 8)], [(3, 5), (6, 8), (9, 11)]
    found = spanned([[0, 9, 0], [1, 0, 8]], [[9, 0, 1], [0, 0, 9]], [2.0, 1.0], [first, second])
    spans, none = qa.best_spans(found, passage, qa.Options(allow_no_answer=True))
    assert (spans[0].text, spans[0].start, spans[0].end) == ("dd", 9, 11)  # 8 + 9; (9, 9) of the first is backwards
    assert none is not None and none < spans[0].score
    assert sum(s.score for s in spans) + none == pytest.approx(1)
    spans, none = qa.best_spans(found, passage, qa.Options(allow_no_answer=False))
    assert none is None and sum(s.score for s in spans) == pytest.approx(1)


def test_no_answer_wins_only_when_every_window_says_so() -> None:
    passage = "aa bb"
    places = [[(0, 2)], [(3, 5)]]
    silent = spanned([[0], [0]], [[0], [0]], [5.0, 6.0], places)
    spans, none = qa.best_spans(silent, passage, qa.Options(allow_no_answer=True))
    assert none is not None and none > spans[0].score
    spans, none = qa.best_spans(
        spanned([[0], [0]], [[0], [0]], [-5.0, 6.0], places), passage, qa.Options(allow_no_answer=True)
    )
    assert none is not None and none < spans[0].score


def test_answers_are_at_most_as_long_as_asked() -> None:
    passage = "a b c d e"
    found = spanned([[9, 0, 0, 0, 0]], [[0, 1, 0, 0, 9]], [0.0], [[(i, i + 1) for i in range(0, 9, 2)]])
    assert (
        qa.best_spans(found, passage, qa.Options(max_answer_tokens=5, allow_no_answer=False))[0][0].text == "a b c d e"
    )
    assert qa.best_spans(found, passage, qa.Options(max_answer_tokens=2, allow_no_answer=False))[0][0].text == "a b"


def test_a_stream_grows_and_equals_the_run(engine: Engine, gpt: str) -> None:
    steps = list(summarize.stream(engine, gpt, "hello", max_new_tokens=12))
    answers = [step.answer for step in steps]
    assert all(new.startswith(old.rstrip("\ufffd")) for old, new in itertools.pairwise(answers))
    assert answers[-1] == summarize.run(engine, gpt, "hello", max_new_tokens=12).answer
    assert steps[-1].verdict and not steps[0].verdict
    assert steps[-1].prompt.endswith("hello\nTL;DR:")


def test_summarize_options(engine: Engine, gpt: str) -> None:
    def say(**options: object) -> str:
        return summarize.run(engine, gpt, "hello world", **({"max_new_tokens": 20} | options)).answer

    assert say(temperature=1.0, seed=1) == say(temperature=1.0, seed=1)
    assert len({say(temperature=2.0, seed=seed) for seed in range(5)}) > 1
    assert say(temperature=1.0, top_k=1, no_repeat=0) == say(no_repeat=0)
    for wrong in ({"temperature": "hot"}, {"top_k": -1}, {"max_new_tokens": 0}, {"prompt": " "}, {"seed": 1.5}):
        with pytest.raises(BadParameter):
            say(**wrong)


@pytest.mark.parametrize(
    ("text", "paragraph"),
    [(" A cat.", ("A cat.", False)), ("\n\n A cat.\nMore", ("A cat.", True)), ("", ("", False)), ("\n", ("", False))],
)
def test_a_summary_is_the_first_line_that_says_something(text: str, paragraph: tuple[str, bool]) -> None:
    assert summarize.first_paragraph(text) == paragraph


def test_results_are_values() -> None:
    assert dataclasses.astuple(Span("a", 0, 1, 0.5)) == ("a", 0, 1, 0.5)
    assert Score("a", 1.0) == Score("a", 1.0)
    assert str(Truncation("text", 512, 903, 2000)) == "Only the first 512 of 903 tokens of the text were read."


def test_every_row_of_the_catalog_names_tasks_and_families_that_exist() -> None:
    families = {f.name for f in catalog.FAMILIES}
    for row in catalog.CHECKPOINTS:
        assert row.family in families and set(row.tasks) <= set(TASKS)
        assert row.embedded or row.source.count("/") == 1
    assert len(set(catalog.names())) == len(catalog.CHECKPOINTS)
    assert all(catalog.by_task(task)[0].embedded for task in TASKS)
