"""Tab "Entail": premise and hypothesis in, a verdict and three bars out."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import gradio as gr
from gradio.components import Component

from tasks import nli
from tasks.results import Result
from tasks.tabs import views
from tasks.tabs.asking import TaskTab
from tasks.tabs.menus import chosen

if TYPE_CHECKING:
    from zoo.engine import Engine


def _fields(texts: Sequence[str]) -> list[Component]:
    return [
        gr.Textbox(texts[0], label="Premise", info="Take this as true", lines=3, max_lines=9, elem_id="nli-premise"),
        gr.Textbox(texts[1], label="Hypothesis", info="Does it follow?", lines=2, max_lines=9,
                   elem_id="nli-hypothesis"),
    ]  # fmt: skip


def _body(made: Result, texts: Mapping[str, str]) -> str:
    return views.bars(made.scores)


def _api(engine: Engine) -> Callable[..., dict[str, Any]]:
    def entail(premise: str, hypothesis: str, model: str = "bert-mini") -> dict[str, Any]:
        """Judge whether a premise entails a hypothesis, contradicts it, or neither: label probabilities.

        Args:
            premise: A text that is taken as true.
            hypothesis: A sentence of which one asks whether it follows.
            model: A checkpoint of the page's menu for this task.
        """
        name, head = chosen("nli", model)
        return nli.run(engine, name, premise, hypothesis, head=head).as_json()

    return entail


TAB = TaskTab("nli", "Does the second sentence follow from the first?", _fields, _body, _api)
