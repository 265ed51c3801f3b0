"""Tab "Answer": question and passage in, the span marked in the passage out."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import gradio as gr
from gradio.components import Component

from tasks import qa
from tasks.results import Result
from tasks.tabs import views
from tasks.tabs.asking import TaskTab
from tasks.tabs.menus import chosen
from zoo.engine import Engine

NO_ANSWER = {"If the model was trained to": None, "Yes": True, "No, always give a span": False}


def _fields(texts: Sequence[str]) -> list[Component]:
    return [
        gr.Textbox(texts[0], label="Question", lines=1, max_lines=1, elem_id="qa-question"),
        gr.Textbox(texts[1], label="Passage", lines=8, max_lines=16, elem_id="qa-context"),
    ]


def _options() -> list[Component]:
    return [
        gr.Slider(1, 10, value=3, step=1, label="Spans to show"),
        gr.Slider(1, 100, value=30, step=1, label="Longest answer, in tokens"),
        gr.Radio(list(NO_ANSWER), value=next(iter(NO_ANSWER)), label="May say that there is no answer"),
    ]


def _named(values: Sequence[Any]) -> dict[str, Any]:
    top_k, longest, none = values
    return {"top_k": top_k, "max_answer_tokens": longest, "allow_no_answer": NO_ANSWER[none]}


def _body(made: Result, texts: Mapping[str, str]) -> str:
    marked = views.passage(texts.get("passage", ""), made.spans, bool(made.answer))
    return marked + views.spans_table(made.spans, next(iter(made.scores), None))


def _api(engine: Engine) -> Callable[..., dict[str, Any]]:
    def answer(
        question: str, context: str, model: str = "bert-mini", top_k: int = 3, max_answer_tokens: int = 30
    ) -> dict[str, Any]:
        """Find the span of the context that answers the question; `answer` is empty when there is none."""
        name, head = chosen("qa", model)
        return qa.run(
            engine, name, question, context, head=head, top_k=top_k, max_answer_tokens=max_answer_tokens
        ).as_json()

    return answer


TAB = TaskTab("qa", "Where in the passage is the answer?", _fields, _body, _api, _options, _named)
