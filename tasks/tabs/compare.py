"""Tab "Compare": one input, two to four models side by side, and in words where they agree."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import gradio as gr
from gradio.components import Component

from tasks import TASKS, compare
from tasks.compare import MOST, Asked, Column, Pace
from tasks.results import Result
from tasks.tabs import ballot, chips, links, menus, share, views
from tasks.tabs.asking import INFER, LIGHT, Option, TaskTab, failures, guarded
from tasks.tabs.examples import ALICE, APOLLO, VOLCANO
from zoo import catalog
from zoo.errors import BadParameter

if TYPE_CHECKING:
    from zoo.engine import Engine

REDRAW = 0.12  # seconds between two drawings of columns that grow
LABELS = {
    "summarize": ("Text", ""),
    "nli": ("Premise", "Hypothesis"),
    "qa": ("Question", "Passage"),
    "classify": ("Text", ""),
}


@dataclass(frozen=True)
class Preset:
    """An input worth comparing on, and what it shows."""

    name: str
    hint: str
    task: str
    texts: tuple[str, ...]
    look_for: str
    head: str = ""  # that every model answers with, where it has several


PRESETS = (
    Preset("Negation", "who sees the “not”?", "nli",
           ("Two dogs are running through a field.", "The dogs are not sitting."),
           "Two words oppose the premise, and together they agree with it. A model that counts words says "
           "contradiction."),
    Preset("Without it", "the same, without “not”", "nli",
           ("Two dogs are running through a field.", "The dogs are sitting."),
           "One word less than in the case before, and the opposite verdict. Whose verdict turned?"),
    Preset("Overlap trap", "all words are there", "nli",
           ("The doctor was paid by the actor.", "The doctor paid the actor."),
           "Every word of the hypothesis stands in the premise, but the roles are swapped: it does not follow."),
    Preset("ELMo to BERT", "what changed", "qa",
           ("Who stayed in orbit?", APOLLO),
           "ELMo reads from left to right and from right to left and joins the two; BERT looks at both sides in every "
           "layer. Compare how sure they are, and where the runners-up lie."),
    Preset("Sarcasm", "positive words, negative meaning", "classify",
           ("Oh great, another sequel. Just what the world was waiting for.",),
           "The words are kind, the meaning is not. Who hears it, and how sure are those who do not?", "sentiment"),
    Preset("TL;DR", "same text, same seed", "summarize", (VOLCANO,),
           "None of these was trained to summarize: see who stays with the text and who makes things up."),
    Preset("A long story", "how much is read", "summarize", (ALICE,),
           "Models read different lengths: the note in a column says how much of the text it saw."),
)  # fmt: skip


OPTIONS = (
    Option("max_new_tokens", 40, lambda: gr.Slider(1, 120, value=40, step=1, label="Most new tokens of a summary"),
           1, 120),
    Option("temperature", 0.0, lambda: gr.Slider(0, 2, value=0, step=0.05, label="Temperature",
           info="0 always takes the most likely token"), 0, 2),
    Option("seed", 0, lambda: gr.Number(0, label="Seed", precision=0, minimum=0), 0, 2**53),
)  # fmt: skip


@dataclass(frozen=True)
class Built:
    """What other parts of the page set here: task, two texts, models and options; and where the answers stand."""

    inputs: list[Component]
    output: gr.HTML


def build(engine: Engine, tasks: Sequence[TaskTab]) -> Built:
    """The tab and its events, over the tabs of the tasks. Loads no model."""
    by_task = {tab.task: tab for tab in tasks}
    first = PRESETS[0]
    with gr.Tab("Compare", id="compare", elem_id="compare-tab"):
        gr.HTML('<p class="mz-ask">The same question to several models at once.</p>')
        presets = chips.row(PRESETS, "compare-chips")
        task = gr.Radio([(TASKS[name].title, name) for name in by_task], value=first.task, label="Task",
                        elem_id="compare-task")  # fmt: skip
        with gr.Row(elem_classes="mz-columns"):
            one = gr.Textbox(first.texts[0], label=LABELS[first.task][0], lines=3, max_lines=12,
                             elem_id="compare-first", min_width=280)  # fmt: skip
            other = gr.Textbox(first.texts[1], label=LABELS[first.task][1], lines=3, max_lines=12,
                               elem_id="compare-second", min_width=280)  # fmt: skip
        models = gr.Dropdown(menus.menu(first.task), value=proposed(first.task), multiselect=True, max_choices=MOST,
                             label="Models", info=f"2 to {MOST}", elem_id="compare-models")  # fmt: skip
        blind = gr.Checkbox(False, label="Blind: hide the names until I have voted", elem_id="compare-blind",
                            info="A vote keeps which models stood there and which was best, no text")  # fmt: skip
        with gr.Accordion("Advanced: the same for all columns", open=False):
            options = [one.make() for one in OPTIONS]
        with gr.Row(elem_classes="mz-buttons"):
            run = gr.Button("Compare", variant="primary", elem_classes="mz-run", elem_id="compare-run")
            stop = gr.Button("Stop", variant="secondary", interactive=False, elem_id="compare-stop")
        output = gr.HTML("", js_on_load=ballot.VOTE, elem_id="compare-output", elem_classes="mz-output")
        told = gr.HTML("", elem_id="compare-told")
        share_run, shared = share.fold("compare")
        seen = gr.State(None)  # what a vote would be about: the task, and the models in the order of the columns

    filled: list[Component] = [task, one, other, models, *options]
    inputs: list[Component] = [task, one, other, models, blind, *options]
    answer, end = _handlers(engine, by_task)
    event = {"fn": answer, "inputs": inputs, "outputs": [output, stop, told, seen], "show_progress": "minimal",
             "show_progress_on": output, "api_visibility": "private", **INFER}  # fmt: skip
    output.select(ballot.vote, seen, [told, seen], api_name="compare_vote", **LIGHT)
    run.click(api_name="compare_run", **event)
    stop.click(end, None, stop, api_name="compare_stop", **LIGHT)
    share_run.click(_sharing(engine, by_task), filled, shared, api_name="compare_share", **LIGHT)
    task.input(_of_task, task, [one, other, models], api_name="compare_task", **LIGHT)
    filling = presets.select(_filled, None, [task, one, other, models], api_name="compare_preset", **LIGHT)
    filling.then(api_name="compare_preset_run", **event)
    return Built(filled, output)


def as_asked(task: str, first: str, second: str, models: Sequence[str], *options: Any) -> list[Any]:
    """The inputs of Built for a task, its texts, and values of its menu; fewer models than two get others beside
    them."""
    labels = LABELS[task]
    beside = [value for value in proposed(task) if value not in models]
    return [
        task,
        gr.Textbox(first, label=labels[0]),
        gr.Textbox(second, label=labels[1], visible=bool(labels[1])),
        gr.Dropdown(menus.menu(task), value=[*models, *beside[: max(0, 2 - len(models))]]),
        *options,
    ]


def with_models(task: str, models: Sequence[str]) -> list[Any]:
    """The inputs of Built for some models, with the first preset of their task."""
    first, second = (*next(one.texts for one in PRESETS if one.task == task), "")[:2]
    return as_asked(task, first, second, models, *(one.default for one in OPTIONS))


def _sharing(engine: Engine, tabs: Mapping[str, TaskTab]) -> Callable[..., str]:
    """What makes the link to this comparison and its code, or says why there is none."""

    def share_it(request: gr.Request, task: str, one: str, other: str, models: Sequence[str], *options: Any) -> str:
        def made() -> str:
            asked = compare.checked(asked_of(tabs, task, (one, other), models, options))
            link = share.link_to(
                share.base_of(request), lambda: links.comparison(task, models, asked[0].texts, OPTIONS, options)
            )
            return share.card_of_all(engine, tabs[task], share.base_of(request), link, asked)

        return guarded("compare", made)

    return share_it


def proposed(task: str, head: str = "") -> list[str]:
    """Values of the menu to begin with: the ready models, one head each (`head`, where they have it), and to make two
    the next model of the menu."""
    ready: dict[str, str] = {}
    for row in menus.rows(task):
        if row.embedded and len(ready) < MOST:
            heads = row.tasks[task]
            ready.setdefault(row.name, menus.choice(row, task, head if head in heads else heads[0]))
    values = list(ready.values())
    more = (value for _, value in menus.menu(task) if menus.chosen(task, value)[0] not in ready)
    return values if len(values) > 1 else [*values, *([value] if (value := next(more, None)) else [])]


def _of_task(task: str) -> tuple[Any, Any, Any]:
    """The inputs as a task needs them. What was written stays."""
    labels = LABELS[task]
    return (
        gr.Textbox(label=labels[0]),
        gr.Textbox(label=labels[1], visible=bool(labels[1])),
        gr.Dropdown(menus.menu(task), value=proposed(task)),
    )


def _filled(event: gr.EventData) -> tuple[Any, ...]:
    """The inputs with the chosen preset in them."""
    preset: Preset = chips.chosen(event, PRESETS)
    first, second = (*preset.texts, "")[:2]
    return tuple(as_asked(preset.task, first, second, proposed(preset.task, preset.head)))


def _handlers(
    engine: Engine, tabs: Mapping[str, TaskTab]
) -> tuple[Callable[..., Iterator[tuple[Any, ...]]], Callable[..., Any]]:
    """Compare and Stop, which leaves word for the run of the same session."""
    asked_to_stop: set[str] = set()

    def run(
        request: gr.Request, task: str, one: str, other: str, models: Sequence[str], blind: bool, *options: Any
    ) -> Iterator[tuple[Any, ...]]:
        session = str(request.session_hash)
        asked_to_stop.discard(session)
        shown, pace, seen = "", Pace(REDRAW), None
        with failures("compare") as cards:
            asked = asked_of(tabs, task, (one, other), models, options)
            if blind:
                random.shuffle(asked)
            with closing(compare.compare(engine, asked)) as steps:
                for columns in steps:
                    stopped = session in asked_to_stop
                    shown = board(tabs[task], columns, stopped, blind)
                    if stopped:
                        break
                    if pace.due():
                        yield shown, gr.update(interactive=True), "", None
            if blind and sum(column.done and column.error is None for column in columns) > 1:
                seen = (task, tuple(one.model for one in asked))
                shown += ballot.ballot(len(asked))
        yield (cards[0] if cards else shown), gr.update(interactive=False), "", seen

    def stop(request: gr.Request) -> Any:
        asked_to_stop.add(str(request.session_hash))
        return gr.update(interactive=False)

    return run, stop


def asked_of(
    tabs: Mapping[str, TaskTab], task: str, texts: Sequence[str], models: Sequence[str], options: Sequence[Any]
) -> list[Asked]:
    """What each column asks. Raises BadParameter and UnknownModel."""
    if task not in tabs:
        raise BadParameter(f"{task!r} is no task; choose from {', '.join(tabs)}.")
    most, temperature, seed = options
    named = {"max_new_tokens": most, "temperature": temperature, "seed": seed or 0} if tabs[task].streams else {}
    count = len(TASKS[task].fields)
    return [Asked(task, *menus.chosen(task, value), tuple(texts[:count]), named) for value in models or ()]


def board(tab: TaskTab, columns: Sequence[Column], stopped: bool = False, blind: bool = False) -> str:
    """All columns, and above them where they agree. Blind, models are called by letters, and nobody is told apart by
    size, speed or mistakes."""
    said = "" if blind else compare.agreement(columns)
    known = [one for one in PRESETS if one.task == tab.task and one.texts == columns[0].asked.texts]
    look_for = known[0].look_for if known else ""
    over = all(column.done for column in columns)
    tell = f'<p class="mz-look"><b>What to look for</b> {views.esc(look_for)}</p>' if over and look_for else ""
    agreed = f'<p class="mz-verdict mz-agreed" role="status">{views.esc(said)}</p>' if said else ""
    letters = ballot.LETTERS if blind else ""
    shown = "".join(
        _column(tab, column, columns, stopped, letters[index : index + 1]) for index, column in enumerate(columns)
    )
    return f'{agreed}{tell}<div class="mz-board" style="--columns:{len(columns)}">{shown}</div>'


def _column(tab: TaskTab, column: Column, all_columns: Sequence[Column], stopped: bool, letter: str = "") -> str:
    """One model: its name and size, or its letter, then what it said, or what went wrong."""
    asked, made = column.asked, column.result
    row = catalog.get(asked.model)
    name = views.esc(asked.model + (f" · {asked.head}" if asked.head else ""))
    facts = f"{catalog.family(row.family).title}, {row.parameters / 1e6:,.0f} M parameters, {row.megabytes:,} MB"
    parts = [f'<h3 class="mz-column-name">{name}</h3><p class="mz-source">{views.esc(facts)}</p>']
    if letter:
        parts = [f'<h3 class="mz-column-name">Model {letter}</h3>']
    if made is not None:
        parts.append(_said(tab, made, column, all_columns, bool(letter)))
    elif column.error is None:
        parts.append(_awaited(column, bool(letter)) if not stopped else "")
    if column.error is not None:
        message = "This model cannot answer now." if letter else views.esc(column.error.message)
        parts.append(f'<div class="mz-error" role="alert"><b>That did not work.</b><p>{message}</p></div>')
    elif stopped and not column.done:
        parts.append('<p class="mz-note">Stopped.</p>')
    known = letter or views.esc(asked.model)
    return f'<article class="mz-result mz-column" data-model="{known}">{"".join(parts)}</article>'


def _awaited(column: Column, blind: bool) -> str:
    """What stands in a column that has no answer yet. A download's size would say which model it is."""
    if column.loading is None:
        return '<p class="mz-working">Waiting for its turn …</p>'
    asked = column.asked
    told = "Loading …" if blind else menus.waiting(asked.task, asked.model, column.loading.fetched)
    return f'<p class="mz-working">{views.esc(told)}</p>'


def _said(tab: TaskTab, made: Result, column: Column, all_columns: Sequence[Column], blind: bool) -> str:
    texts = tab.by_name(column.asked.texts)
    if made.task == "summarize":
        others = [one.result.answer for one in all_columns if one is not column and one.done and one.result is not None]
        body = _marked(made.answer, others) if column.done else views.written(made)
    else:
        body = views.verdict(made.verdict, made.answer if made.task == "qa" else "") + tab.body(made, texts)
    if blind:
        return body
    notes = "".join(views.note(text) for text in made.warnings)
    return f'{body}{notes}<p class="mz-time">{views.esc(views.timings(made))}</p>'


def _marked(text: str, others: Sequence[str]) -> str:
    """A summary; words that no other one has are marked."""
    parts = (
        f'<mark class="mz-faint">{views.esc(part)}</mark>' if own else views.esc(part)
        for part, own in compare.own_words(text, others)
    )
    told = '<p class="mz-count">Marked: words that no other column has.</p>' if others else ""
    return f'<p class="mz-text">{"".join(parts)}</p>{told}'
