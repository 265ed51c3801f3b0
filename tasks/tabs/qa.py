"""Tab "Answer": question and passage in, the span marked in the passage out."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import gradio as gr
from gradio.components import Component

from tasks import qa
from tasks.results import Result
from tasks.tabs import views
from tasks.tabs.asking import Option, TaskTab
from tasks.tabs.menus import chosen

if TYPE_CHECKING:
    from zoo.engine import Engine

NO_ANSWER = (("If the model was trained to", None), ("Yes", True), ("No, always give a span", False))


def _fields(texts: Sequence[str]) -> list[Component]:
    return [
        gr.Textbox(texts[0], label="Question", lines=1, max_lines=1, elem_id="qa-question"),
        gr.Textbox(texts[1], label="Passage", lines=8, max_lines=16, elem_id="qa-context"),
    ]


OPTIONS = (
    Option("top_k", 3, lambda: gr.Slider(1, 10, value=3, step=1, label="Spans to show"), 1, 10),
    Option("max_answer_tokens", 30, lambda: gr.Slider(1, 100, value=30, step=1, label="Longest answer, in tokens"),
           1, 100),
    Option("allow_no_answer", None, lambda: gr.Radio([said for said, _ in NO_ANSWER], value=NO_ANSWER[0][0],
           label="May say that there is no answer"), choices=NO_ANSWER),
)  # fmt: skip


def _body(made: Result, texts: Mapping[str, str]) -> str:
    marked = views.passage(texts.get("passage", ""), made.spans, bool(made.answer))
    return marked + views.spans_table(made.spans, next(iter(made.scores), None))


def _api(engine: Engine) -> Callable[..., dict[str, Any]]:
    def answer(
        question: str,
        context: str,
        model: str = "bert-mini",
        top_k: int = 3,
        max_answer_tokens: int = 30,
        allow_no_answer: bool | None = None,
    ) -> dict[str, Any]:
        """Find the span of a passage that answers a question; `answer` is empty when there is none.

        Args:
            question: What is asked.
            context: The passage, of any length.
            model: A checkpoint of the page's menu for this task.
            top_k: How many spans to give.
            max_answer_tokens: The longest span, in tokens of the model.
            allow_no_answer: Whether there may be none; if left out, whether the model was trained to say so.
        """
        name, head = chosen("qa", model)
        return qa.run(
            engine, name, question, context, head=head, top_k=top_k, max_answer_tokens=max_answer_tokens,
            allow_no_answer=allow_no_answer,
        ).as_json()  # fmt: skip

    return answer


TAB = TaskTab("qa", "Where in the passage is the answer?", _fields, _body, _api, OPTIONS)
