"""Tab "Classify": a text in, a label and bars out."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import gradio as gr
from gradio.components import Component

from tasks import classify
from tasks.results import Result
from tasks.tabs import views
from tasks.tabs.asking import TaskTab
from tasks.tabs.menus import chosen

if TYPE_CHECKING:
    from zoo.engine import Engine


def _fields(texts: Sequence[str]) -> list[Component]:
    return [gr.Textbox(texts[0], label="Text", lines=5, max_lines=16, elem_id="classify-text")]


def _body(made: Result, texts: Mapping[str, str]) -> str:
    return views.bars(made.scores)


def _api(engine: Engine) -> Callable[..., dict[str, Any]]:
    def label(text: str, model: str = "bert-mini", head: str = "") -> dict[str, Any]:
        """Label a text by topic or sentiment: label probabilities.

        Args:
            text: What is to be labelled.
            model: A checkpoint of the page's menu for this task.
            head: topic or sentiment, where a model has both; empty for its first.
        """
        name, written = chosen("classify", model)
        return classify.run(engine, name, text, head=head or written).as_json()

    return label


TAB = TaskTab("classify", "What is a text about, or how does it sound?", _fields, _body, _api)
