"""The frame that all task tabs share: fields, example chips, model menu, Run, the card, the API endpoint.

A tab is a `TaskTab`: what to ask, which fields, how to show the answer. `build` does the rest.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from functools import wraps
from typing import TYPE_CHECKING, Any

import gradio as gr
from gradio.components import Component

from tasks.results import Result
from tasks.tabs import chips, saved, share, views, why
from tasks.tabs.asking import INFER, LIGHT, TaskTab, failures
from tasks.tabs.examples import EXAMPLES, Example
from tasks.tabs.menus import LONG, absent, menu, waiting, with_head
from zoo.errors import ZooError

if TYPE_CHECKING:
    from zoo.engine import Engine

COUNT = itertools.count()  # makes two equal answers differ, so that the page draws the second one too


def respond(
    engine: Engine, tab: TaskTab, value: str | None, values: Sequence[Any]
) -> Generator[tuple[str, Result | None]]:
    """The card after each step of an answer, with its result if there is one. Never raises: errors become cards."""
    texts = values[: len(tab.words)]
    with failures(tab.task) as cards:
        asked, shown = tab.asked(value, values), ""
        for step in asked.steps(engine):
            if isinstance(step, Result):
                yield card(tab, step, texts), step
            elif shown != (shown := views.working(waiting(tab.task, asked.model, step.fetched))):
                yield shown, None
    for wrong in cards:
        yield wrong, None


def card(tab: TaskTab, made: Result, texts: Sequence[Any], **how: Any) -> str:
    """A result as HTML, with what to look for when the texts are those of an example."""
    known = [one for one in EXAMPLES[tab.task] if one.texts == tuple(texts)]
    look_for = known[0].look_for if known and made.verdict else ""
    named = tab.by_name(texts)
    return views.result(made, tab.body(made, named), named, look_for=look_for, **how)


def first_card(tab: TaskTab) -> str:
    """The saved result of the first example, or an invitation when there is none."""
    example = EXAMPLES[tab.task][0]
    made = saved.read().get(tab.task, {}).get(example.name)
    if made is None:
        return views.working("Press Run to see the answer.")
    return card(tab, made, example.texts, saved=True)


@dataclass(frozen=True)
class Built:
    """What other parts of the page set in a tab: its inputs (model, fields, options) and where its answer stands."""

    inputs: list[Component]
    output: gr.HTML

    @property
    def model(self) -> gr.Dropdown:
        """The menu of models."""
        menu = self.inputs[0]
        assert isinstance(menu, gr.Dropdown)
        return menu


def build(engine: Engine, tab: TaskTab) -> Built:
    """One tab with all its events. Loads no model."""
    examples, choices = EXAMPLES[tab.task], menu(tab.task)
    first = choices[0][1]
    with gr.Tab(tab.title, id=tab.task, elem_id=f"{tab.task}-tab"):
        gr.HTML(f'<p class="mz-ask">{views.esc(tab.ask)} <small class="mz-keys">Ctrl + Enter runs</small></p>')
        chosen_chip = chips.row(examples, f"{tab.task}-chips")
        with gr.Row(elem_classes="mz-columns"):
            with gr.Column(min_width=300):
                fields = tab.fields(examples[0].texts)
                model = gr.Dropdown(choices, value=first, label="Model", filterable=len(choices) > LONG,
                                    info="A size is downloaded once, on first use", elem_id=f"{tab.task}-model",
                                    elem_classes="mz-menu")  # fmt: skip
                if without := absent(tab.task):
                    gr.HTML(views.absent([(family.title, why) for family, why in without]))
                options: list[Component] = []
                if tab.options:
                    with gr.Accordion("Advanced", open=False):
                        options = [one.make() for one in tab.options]
                with gr.Row(elem_classes="mz-buttons"):
                    run = gr.Button("Run", variant="primary", elem_classes="mz-run", elem_id=f"{tab.task}-run")
                    stop = None
                    if tab.streams:
                        stop = gr.Button("Stop", variant="secondary", interactive=False, elem_id=f"{tab.task}-stop")
            with gr.Column(min_width=300):
                output = gr.HTML(first_card(tab), elem_id=f"{tab.task}-output", elem_classes="mz-output")
                inputs: list[Component] = [model, *fields, *options]
                why.build(engine, tab, inputs)
                share.build(engine, tab, inputs)
        outputs: list[Component] = [output] if stop is None else [output, stop]
        answer, end = _handlers(engine, tab)
        event = {"fn": answer, "inputs": inputs, "outputs": outputs, "show_progress": "full",
                 "show_progress_on": output, "api_visibility": "private", **INFER}  # fmt: skip
        lines = [field for field in fields if isinstance(field, gr.Textbox) and field.lines == 1]
        gr.on([run.click, *(line.submit for line in lines)], api_name=f"{tab.task}_run", **event)
        filling = chosen_chip.select(_filled(tab), None, [model, *fields], api_name=f"{tab.task}_example", **LIGHT)
        filling.then(api_name=f"{tab.task}_example_run", **event)
        model.input(None, None, None, js=f"() => window.mzStale({json.dumps(tab.task)})", **LIGHT)
        if stop is not None:
            stop.click(end, None, stop, api_name=f"{tab.task}_stop", **LIGHT)
        gr.api(_public(tab.api(engine), tab.task), api_name=tab.task, **INFER)
    return Built(inputs, output)


def _filled(tab: TaskTab) -> Callable[[gr.EventData], list[Any]]:
    """The menu and the fields with the chosen example in them."""

    def fill(event: gr.EventData) -> list[Any]:
        example: Example = chips.chosen(event, EXAMPLES[tab.task])
        return [with_head(tab.task, example.head) if example.head else gr.skip(), *example.texts]

    return fill


def _handlers(engine: Engine, tab: TaskTab) -> tuple[Callable[..., Iterator[Any]], Callable[..., Any]]:
    """Run and Stop.

    Stop only leaves word for the run of the same session, which then ends before the next token and draws its own
    last card: with a second writer, a late token could overwrite it.
    """
    asked: set[str] = set()

    def run(request: gr.Request, value: str | None, *values: Any) -> Iterator[Any]:
        session, number = str(request.session_hash), next(COUNT)
        asked.discard(session)
        steps, shown = respond(engine, tab, value, values), ""
        with closing(steps):
            for shown, made in steps:
                shown = f"{shown}<!-- {number} -->"
                if made is not None and not made.verdict and session in asked:
                    kept = replace(made, verdict="The text so far is kept.")
                    shown = card(tab, kept, values[: len(tab.words)], stopped=True)
                    break
                yield (shown, gr.update(interactive=True)) if tab.streams else shown
        if tab.streams:
            yield shown, gr.update(interactive=False)

    def stop(request: gr.Request) -> Any:
        asked.add(str(request.session_hash))
        return gr.update(interactive=False)

    return run, stop


def _public(function: Callable[..., dict[str, Any]], name: str) -> Callable[..., dict[str, Any]]:
    """The same function with the user's mistakes as Gradio errors, whose words reach an API client; agents that speak
    MCP know it by its name."""

    @wraps(function)
    def guarded(*args: Any, **named: Any) -> dict[str, Any]:
        try:
            return function(*args, **named)
        except ZooError as mistake:
            raise gr.Error(f"{mistake.code}: {mistake.message}", print_exception=False) from mistake

    guarded.__name__ = name
    return guarded
