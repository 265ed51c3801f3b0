"""Several models on one input: turns, mistakes that stay alone, agreement in words."""

from __future__ import annotations

from typing import Any

import pytest

from tasks import compare
from tasks.compare import Asked, Column, agreement, normal, own_words
from tasks.results import Result
from tests.app.fake import FakeEngine
from zoo.errors import BadParameter, ModelUnavailable


def result(task: str, model: str, answer: str) -> Result:
    return Result(task, model, "r", answer, "done")


def columns(task: str, answers: dict[str, str | None]) -> list[Column]:
    made = []
    for model, answer in answers.items():
        asked = Asked(task, model, None, ("x",))
        one = Column(asked, error=ModelUnavailable("gone"), done=True)
        made.append(one if answer is None else Column(asked, result(task, model, answer), done=True))
    return made


@pytest.mark.parametrize(
    ("task", "answers", "said"),
    [
        ("nli", {"a": "neutral", "b": "neutral"}, "Both say neutral."),
        ("nli", {"a": "neutral", "b": "neutral", "c": "neutral"}, "All three say neutral."),
        ("nli", {"a": "neutral", "b": "entailment", "c": "entailment", "d": "entailment"},
         "Three say entailment, a says neutral."),
        ("nli", {"bert": "neutral", "gpt": "entailment"}, "bert says neutral, gpt says entailment."),
        ("qa", {"a": "the Eiffel Tower.", "b": "Eiffel tower", "c": ""},
         "Two say “the Eiffel Tower.”, c says that there is no answer."),
        ("qa", {"a": "", "b": ""}, "Both say that there is no answer."),
        ("nli", {"a": "neutral", "b": None}, ""),
        ("nli", {"a": "neutral", "b": None, "c": "neutral"}, "Both say neutral."),
        ("summarize", {"a": "The cat sat.", "b": "A cat slept."},
         "They share 1 of the 5 different words that they use."),
        ("summarize", {"a": "", "b": "."}, "None of them said anything."),
    ],
)  # fmt: skip
def test_agreement_in_words(task: str, answers: dict[str, str | None], said: str) -> None:
    assert agreement(columns(task, answers)) == said


def test_answers_are_compared_as_squad_does() -> None:
    assert normal("The  Eiffel-Tower, a landmark!") == "eiffeltower landmark"


def test_own_words_are_those_that_no_other_text_has_in_this_order() -> None:
    text = "The old cat sat on İstanbul's mat."
    parts = own_words(text, ["the cat sat on a mat", "an old dog"])
    assert "".join(part for part, _ in parts) == text
    assert [part.strip() for part, own in parts if own] == ["İstanbul's", "."]
    assert own_words("alone", []) == [("alone", False)]


class Speaking:
    """Writes `count` words a model, or fails at one; notes whose turn it was."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.turns: list[str] = []
        self.closed: list[str] = []
        monkeypatch.setattr(Asked, "answers", lambda asked, engine: self.say(asked))

    def say(self, asked: Asked) -> Any:
        try:
            for count in range(1, asked.options["words"] + 1):
                self.turns.append(asked.model)
                if count == asked.options.get("fails"):
                    raise ModelUnavailable(f"{asked.model} is gone")
                last = count == asked.options["words"]
                yield Result("summarize", asked.model, "r", "w " * count, "done" if last else "")
        finally:
            self.closed.append(asked.model)


def asked(model: str, **options: int) -> Asked:
    return Asked("summarize", model, None, ("text",), options)


def test_models_take_turns_and_a_mistake_stays_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    speaking = Speaking(monkeypatch)
    steps = list(
        compare.compare(
            FakeEngine(), [asked("mini-a", words=2), asked("mini-b", words=9, fails=2), asked("mini-c", words=3)]
        )
    )  # type: ignore[arg-type]
    assert speaking.turns == [f"mini-{one}" for one in "abcabcc"]
    assert all(column.result is None and not column.done for column in steps[0])
    first, second, third = steps[-1]
    assert first.result is not None and first.result.answer == "w w " and first.error is None
    assert second.error is not None and second.result is not None and second.result.answer == "w "
    assert third.result is not None and third.result.answer == "w w w " and third.done


def test_closing_ends_every_column(monkeypatch: pytest.MonkeyPatch) -> None:
    speaking = Speaking(monkeypatch)
    steps = compare.compare(FakeEngine(), [asked("mini-a", words=5), asked("mini-b", words=5)])  # type: ignore[arg-type]
    for _ in range(5):  # the models come into memory first
        next(steps)
    steps.close()  # type: ignore[attr-defined]
    assert sorted(speaking.closed) == speaking.turns == ["mini-a", "mini-b"]


def test_how_many_and_which(monkeypatch: pytest.MonkeyPatch) -> None:
    Speaking(monkeypatch)
    for models, message in (("a", "models to compare, not 1"), ("abcde", "not 5"), ("aa", "chosen twice")):
        with pytest.raises(BadParameter, match=message):
            next(compare.compare(FakeEngine(), [asked(model, words=1) for model in models]))  # type: ignore[arg-type]


def test_a_column_tells_how_far_its_model_is_and_counts_that_as_loading() -> None:
    engine: Any = FakeEngine()
    engine.fetching = {"bert-mini": [0, 20_000_000]}
    asked = [Asked("nli", model, None, ("It rains.", "It is not dry.")) for model in ("bert-mini", "gpt-mini")]
    steps = list(compare.compare(engine, asked))
    fetched = [[one.loading and one.loading.fetched for one in step] for step in steps]
    assert fetched == [[None, None], [0, None], [20_000_000, None], [None, None], [None, 0], [None, None]]
    assert all(column.done and column.result is not None for column in steps[-1])
    assert steps[-1][0].result is not None and steps[-1][0].result.timings["load"] > 0.5
