"""The fold "Share and code" below every answer: a link to it, the calls that give it, and the answer as JSON."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import gradio as gr
from gradio.components import Component

from tasks import TASKS
from tasks.compare import Asked
from tasks.tabs import code, links, views
from tasks.tabs.asking import INFER, TaskTab, guarded
from zoo.errors import ZooError

if TYPE_CHECKING:
    from zoo.engine import Engine

COPY = """element.addEventListener("click", async (event) => {
  const button = event.target.closest("button[data-copy]");
  if (!button) return;
  const text = button.closest(".mz-code").querySelector("pre").innerText;
  try {
    await navigator.clipboard.writeText(text);
    button.textContent = "Copied";
  } catch {
    getSelection().selectAllChildren(button.closest(".mz-code").querySelector("pre"));
    button.textContent = "Press Ctrl + C";
  }
  setTimeout(() => { button.textContent = "Copy"; }, 1500);
});"""


def build(engine: Engine, tab: TaskTab, inputs: list[Component]) -> None:
    """The fold and its event, over the inputs of the tab: model, fields, options."""

    def share(request: gr.Request, value: str | None, *values: Any) -> Iterator[str]:
        yield views.working("Asking once more for the JSON …")
        yield guarded(tab.task, lambda: card(engine, tab, base_of(request), str(value), values))

    ask, shown = fold(tab.task)
    ask.click(share, inputs, shown, api_name=f"{tab.task}_share", api_visibility="private", show_progress="minimal",
              show_progress_on=shown, **INFER)  # fmt: skip


def fold(name: str) -> tuple[gr.Button, gr.HTML]:
    """The fold of a tab, with the button that asks for link and code, and where they stand then."""
    with gr.Accordion("Share and code", open=False, elem_id=f"{name}-share-fold", elem_classes="mz-why-fold"):
        ask = gr.Button("Make link and code", variant="secondary", elem_id=f"{name}-share-run")
        shown = gr.HTML("", js_on_load=COPY, elem_id=f"{name}-share")
    return ask, shown


def base_of(request: gr.Request) -> str:
    """The address of the page, as its visitor calls it."""
    if host := os.environ.get("SPACE_HOST"):
        return f"https://{host}/"
    inner: Any = request.request
    return str(inner.base_url)


def page_of(base: str) -> str:
    """The address that a link begins with: of the Space, where the page runs on one."""
    return f"https://huggingface.co/spaces/{space}" if (space := os.environ.get("SPACE_ID")) else base


def link_to(base: str, query: Callable[[], str]) -> str:
    """The block with the link to the page in the state of `query`, or a note that says why there is none."""
    try:
        return _block("Link to this", f"{page_of(base)}?{query()}")
    except ZooError as mistake:
        return views.note(mistake.message)


def card(engine: Engine, tab: TaskTab, base: str, value: str, values: tuple[Any, ...]) -> str:
    """Link, code and JSON for what the inputs say. Raises ZooError."""
    asked = tab.asked(value, values)
    defaults = {one.name: one.default for one in tab.options}
    *_, result = asked.answers(engine)
    count = len(TASKS[tab.task].fields)
    return _card(
        link_to(base, lambda: links.query(tab, value, values[:count], values[count:])),
        _block("Python", code.python(asked, defaults)),
        _block("curl", code.curl(asked, defaults, base, tab.api(engine))),
        _block("gradio_client", code.client(asked, defaults, base)),
        _block("JSON, as the Hub's task has it", json.dumps(result.as_hub(), ensure_ascii=False, indent=1)),
    )


def card_of_all(engine: Engine, tab: TaskTab, base: str, link: str, asked: Sequence[Asked]) -> str:
    """Link and code for a comparison."""
    defaults = {one.name: one.default for one in tab.options}
    return _card(
        link,
        _block("Python", code.python_of_all(asked, defaults)),
        _block("curl", "\n".join(code.curl(one, defaults, base, tab.api(engine)) for one in asked)),
        _block("gradio_client", code.client_of_all(asked, defaults, base)),
    )


def _card(*parts: str) -> str:
    return f'<section class="mz-result mz-share" role="status">{"".join(parts)}</section>'


def _block(title: str, text: str) -> str:
    return (
        f'<div class="mz-code"><h4 class="mz-why-field">{views.esc(title)}</h4>'
        f'<button type="button" class="mz-toggle" data-copy="yes">Copy</button>'
        f'<pre tabindex="0" aria-label="{views.esc(title)}">{views.esc(text)}</pre></div>'
    )
