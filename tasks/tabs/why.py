"""The fold "Why this answer?" below every answer: computed when asked for, from what the inputs say then."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import gradio as gr
from gradio.components import Component

from tasks import explain
from tasks.checks import head_of
from tasks.tabs import views, why_views
from tasks.tabs.asking import INFER, Asked, TaskTab, guarded
from zoo.engine.words import METHODS
from zoo.errors import BadParameter

if TYPE_CHECKING:
    from zoo.engine import Engine

ATTENTION = "attention"
LAYERS = "layers"
LEAST = "least words"
MOST_TYPED = 200  # characters in the place of a word
CHOICES = {
    "Gradients": METHODS[0],
    "Hide words": METHODS[1],
    "Attention": ATTENTION,
    "Layers": LAYERS,
    "Least words": LEAST,
}
ABOUT = {
    METHODS[0]: "Integrated gradients: how the answer grows as the words fade in.",
    METHODS[1]: "Occlusion: how the answer changes when a word is hidden.",
    ATTENTION: "Where each token looks, in each layer and head.",
    LAYERS: "What the head would say if the network ended at a layer.",
    LEAST: "Words are taken away as long as the answer stays.",
}
# A click on a word, on a token of a summary, or on a head; its handler learns which from the event's value.
PICK = """element.addEventListener("click", (event) => {
  const picked = event.target.closest("[data-number], [data-token], [data-head]");
  if (picked) trigger("select", {value: {...picked.dataset}});
});"""
# What to put in the place of the word: what was typed, nothing, or (no text) the sign for a hidden word.
INSTEAD = """const ask = (button) => {
  const typed = element.querySelector("input").value;
  trigger("select", {value: {...button.dataset, by: button.dataset.by === "typed" ? typed : ""}});
};
element.addEventListener("click", (event) => {
  const button = event.target.closest("button[data-by]");
  if (button) ask(button);
});
element.addEventListener("keydown", (event) => {
  if (event.key === "Enter" && event.target.matches("input")) ask(element.querySelector('button[data-by="typed"]'));
});"""


def build(engine: Engine, tab: TaskTab, inputs: list[Component]) -> None:
    """The fold and its events, over the inputs of the tab: model, fields, options."""
    of_labels = tab.task in ("nli", "classify")
    kinds = [name for name, kind in CHOICES.items() if of_labels or kind in METHODS]
    with gr.Accordion("Why this answer?", open=False, elem_id=f"{tab.task}-why-fold", elem_classes="mz-why-fold"):
        with gr.Row(elem_classes="mz-buttons"):
            kind = gr.Radio(kinds, value=kinds[0], show_label=False, label="Method", container=False,
                            elem_id=f"{tab.task}-why-kind")  # fmt: skip
            ask = gr.Button("Explain", variant="secondary", elem_id=f"{tab.task}-why-run")
        shown = gr.HTML("", js_on_load=PICK, elem_id=f"{tab.task}-why")
        changed = gr.HTML("", js_on_load=INSTEAD, elem_id=f"{tab.task}-whatif")
    event = {"show_progress": "minimal", "show_progress_on": shown, "api_visibility": "private", **INFER}
    first, picked, instead = _handlers(engine, tab)
    ask.click(first, [kind, *inputs], [shown, changed], api_name=f"{tab.task}_why", **event)
    shown.select(picked, [kind, *inputs], [shown, changed], api_name=f"{tab.task}_why_pick", **event)
    changed.select(instead, inputs, changed, api_name=f"{tab.task}_whatif", **event | {"show_progress_on": changed})


def _handlers(engine: Engine, tab: TaskTab) -> tuple[Callable[..., Any], ...]:
    """Explain; what a click in an explanation does; another word in the place of one."""

    def first(kind: str, value: str | None, *values: Any) -> Iterator[Any]:
        yield views.working("Working it out …"), ""
        yield guarded(tab.task, lambda: explanation(engine, tab, CHOICES[kind], tab.asked(value, values))), ""

    def picked(event: gr.EventData, kind: str, value: str | None, *values: Any) -> Any:
        chosen = _chosen(getattr(event, "value", None))
        if "word" in chosen:
            return gr.skip(), guarded(tab.task, lambda: without(engine, tab.asked(value, values), **chosen))
        made = guarded(tab.task, lambda: explanation(engine, tab, CHOICES[kind], tab.asked(value, values), **chosen))
        return made, ""

    def instead(event: gr.EventData, value: str | None, *values: Any) -> str:
        chosen = _chosen(getattr(event, "value", None))
        return guarded(tab.task, lambda: without(engine, tab.asked(value, values), **chosen))

    return first, picked, instead


def _chosen(value: Any) -> dict[str, Any]:
    """What was clicked on: a word (field, number, word, and what to put in its place), a token, or a head.

    Strangers may send anything, so numbers are made whole here, and names are checked where they are used.
    """
    raw = value if isinstance(value, dict) else {}
    try:
        if "number" in raw:
            by = None if raw.get("hide") else str(raw.get("by", ""))[:MOST_TYPED]
            return {"field": str(raw["field"]), "number": int(raw["number"]), "word": str(raw["word"]), "by": by}
        if "token" in raw:
            return {"token": int(raw["token"])}
        return {"layer": int(raw["layer"]), "head": int(raw["head"]), "special": raw.get("special") != "no"}
    except (KeyError, TypeError, ValueError):
        return {}


def explanation(
    engine: Engine,
    tab: TaskTab,
    kind: str,
    asked: Asked,
    token: int = 0,
    layer: int = 1,
    head: int = 0,
    special: bool = True,
) -> str:
    """The card of one kind of explanation. Raises ZooError."""
    from zoo.engine import reasons  # needs torch

    first, second = asked.texts[0], asked.texts[1] if len(asked.texts) > 1 else None
    if kind == ATTENTION:
        return why_views.attention(reasons.attention(engine, asked.model, (first, second)), layer, head, special)
    if kind == LAYERS:
        named = head_of(asked.model, tab.task, asked.head)
        return why_views.layers(reasons.layers(engine, asked.model, named, (first, second)))
    if kind == LEAST:
        field = tab.last_field
        return why_views.reduced(explain.reduce_input(engine, tab.task, asked.model, asked.texts, field, asked.head))
    made = explain.why(
        engine, tab.task, asked.model, asked.texts, asked.head, kind, **({"token": token} if token else {}),
        **asked.options,
    )  # fmt: skip
    return why_views.why(made)


def without(engine: Engine, asked: Asked, field: str = "", number: int = 0, word: str = "", by: str | None = "") -> str:
    """The card of the answer with another word, or none, in the place of one. Raises ZooError."""
    made = explain.what_if(engine, asked.task, asked.model, asked.texts, field, number, by, asked.head, **asked.options)
    if made.word != word:
        raise BadParameter(f"The text has changed: “{word}” is not there any more. Explain it again.")
    return why_views.what_if(made)
