"""Tab "Summarize": a text in, its summary token by token out, with a Stop button."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import gradio as gr
from gradio.components import Component

from tasks import summarize
from tasks.results import Result
from tasks.tabs import views
from tasks.tabs.asking import Option, TaskTab
from tasks.tabs.menus import chosen

if TYPE_CHECKING:
    from zoo.engine import Engine


def _fields(texts: Sequence[str]) -> list[Component]:
    return [gr.Textbox(texts[0], label="Text", lines=9, max_lines=18, elem_id="summarize-text")]


OPTIONS = (
    Option("max_new_tokens", 60, lambda: gr.Slider(1, 200, value=60, step=1, label="Most new tokens",
           elem_id="summarize-tokens"), 1, 200),
    Option("temperature", 0.0, lambda: gr.Slider(0, 2, value=0, step=0.05, label="Temperature",
           info="0 always takes the most likely token", elem_id="summarize-temperature"), 0, 2),
    Option("top_k", 0, lambda: gr.Slider(0, 200, value=0, step=1, label="Top-k",
           info="Choose among so many tokens; 0 is all"), 0, 200),
    Option("seed", 0, lambda: gr.Number(0, label="Seed", precision=0, minimum=0,
           info="The same seed gives the same text"), 0, 2**53),
    Option("prompt", summarize.PROMPT, lambda: gr.Textbox(summarize.PROMPT, label="Prompt", info="Comes after the text",
           max_lines=2), high=500),
)  # fmt: skip


def _body(made: Result, texts: Mapping[str, str]) -> str:
    return views.written(made)


def _api(engine: Engine) -> Callable[..., dict[str, Any]]:
    def short(
        text: str,
        model: str = "gpt-mini",
        max_new_tokens: int = 60,
        temperature: float = 0.0,
        top_k: int = 0,
        seed: int = 0,
        prompt: str = summarize.PROMPT,
    ) -> dict[str, Any]:
        """Summarize a text by letting a language model go on after the prompt "TL;DR:".

        Args:
            text: What is to be summarized; what does not fit the model is left out, and said so.
            model: A checkpoint of the page's menu for this task.
            max_new_tokens: The longest summary, in tokens of the model.
            temperature: 0 always takes the most likely token; more lets chance in.
            top_k: Choose among so many tokens; 0 is all.
            seed: The same seed gives the same text.
            prompt: What comes after the text.
        """
        name, head = chosen("summarize", model)
        return summarize.run(
            engine, name, text, head=head, max_new_tokens=max_new_tokens, temperature=temperature, top_k=top_k,
            seed=seed, prompt=prompt,
        ).as_json()  # fmt: skip

    return short


TAB = TaskTab(
    "summarize",
    "What does a language model make of “TL;DR:”?",
    _fields,
    _body,
    _api,
    OPTIONS,
)
