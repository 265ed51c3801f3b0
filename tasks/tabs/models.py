"""Tab "Models": the checkpoints with a card for each, the family graph, and the leaderboard."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import gradio as gr
from gradio.components import Component

from tasks.tabs import compare, filters, leaderboard, lineage, menus
from tasks.tabs.asking import INFER, LIGHT, failures
from tasks.tabs.parity import parity_of, parity_table
from tasks.tabs.views import esc, link, megabytes
from zoo import catalog
from zoo.catalog import Checkpoint

if TYPE_CHECKING:
    from zoo.engine import Engine

Drawn = tuple[str, tuple[str, str], list[tuple[str, int]]]  # the open card, its trouble, models in memory
COLUMNS = ("Name", "Answers", "Language", "Parameters", "Size", "Licence", "State")
WIDE = frozenset({"Language", "Parameters", "Size", "Licence"})  # not on a phone; the card has them
SCRIPT = Path(__file__).with_name("models.js")
PICK = """element.addEventListener("click", (event) => {
  const places = "[data-unload], [data-load], [data-try], [data-compare], tr[data-name]";
  const pressed = event.target.closest(places)?.dataset;
  if (pressed?.unload) trigger("delete", {value: pressed.unload});
  else if (pressed?.load) trigger("apply", {value: pressed.load});
  else if (pressed?.try) trigger("option_select", {value: pressed.model, task: pressed.try});
  else if (pressed?.compare)
    trigger("option_select", {value: pressed.model, task: pressed.task, beside: pressed.compare});
  else if (pressed?.name) trigger("select", {value: pressed.name});
});
// Gradio changes what differs and leaves the rest: a state may change by its text alone
const changes = {childList: true, characterData: true, subtree: true};
new MutationObserver(() => window.mzModels?.()).observe(element, changes);
// A Gradio event on the way costs more than the tab itself: asked for once it is on the screen
let due;
new IntersectionObserver((seen) => { // who only passes by asks for nothing: the answer would delay the next tab
  clearTimeout(due);
  if (seen.at(-1).isIntersecting) due = setTimeout(() => trigger("focus"), 400);
}).observe(element);"""
BUSY = """watch("value", () => {
  const pressed = document.querySelector("#models-table button[data-load]:disabled");
  const told = element.textContent.trim();
  if (pressed && told) pressed.textContent = told;
});"""
OPEN = """element.addEventListener("click", (event) => {
  const name = event.target.closest("[data-open]")?.dataset.open;
  if (name) trigger("select", {value: name});
});"""


def build(engine: Engine, tabs: gr.Tabs, task_menus: Mapping[str, gr.Dropdown], comparing: Sequence[Component]) -> None:
    """The tab and its events; `tabs` and the menus are those of the tasks, for "Try in", `comparing` the inputs of the
    tab Compare, for "Compare with". Loads no model.

    Nothing is drawn before the tab, or the view in it, is opened.
    """

    def draw(current: str, trouble: tuple[str, str] = ("", "")) -> tuple[str, Drawn]:
        return table(engine, current, trouble), (current, trouble, engine.loaded())

    def show(current: str, trouble: tuple[str, str], drawn: Drawn | None) -> tuple[Any, Any, Any]:
        if drawn == (current, trouble, engine.loaded()):  # as it was left: a page of rows takes time to take in
            return gr.skip(), gr.skip(), gr.skip()
        return *draw(current, trouble), parity_table() if drawn is None else gr.skip()

    def pick(event: gr.EventData, current: str) -> tuple[str, tuple[str, str], str, Drawn]:
        name = _named(event)
        opened = "" if name == current else name
        return opened, ("", ""), *draw(opened)

    def open_from_graph(event: gr.EventData) -> tuple[Any, str, tuple[str, str], str, Drawn]:
        name = _named(event)
        return gr.Tabs(selected="models-list"), name, ("", ""), *draw(name)

    def unload(event: gr.EventData, current: str) -> tuple[str, Drawn]:
        engine.unload(_named(event))
        return draw(current)

    def load(event: gr.EventData) -> Iterator[tuple[Any, str]]:
        name = _named(event)
        with failures("models") as cards:
            for fetched in engine.opening(name) if name else ():
                told = menus.coming(catalog.get(name), fetched)
                yield gr.skip(), f'<p class="mz-unseen" role="status">{esc(told)}</p>'
        yield (name, cards[0] if cards else ""), ""

    def try_in(event: gr.EventData) -> list[Any]:
        row, task = catalog.find(_named(event)), str(getattr(event, "task", ""))
        other = catalog.find(str(getattr(event, "beside", "")))
        here, there = [gr.skip()] * len(task_menus), [gr.skip()] * len(comparing)
        if row is None or task not in row.tasks:
            return [gr.skip(), *here, *there]
        if other is not None and task in other.tasks:
            values = [menus.choice(one, task, one.tasks[task][0]) for one in (row, other)]
            return [gr.Tabs(selected="compare"), *here, *compare.with_models(task, values)]
        value = menus.choice(row, task, row.tasks[task][0])
        here = [gr.Dropdown(value=value) if name == task else gr.skip() for name in task_menus]
        return [gr.Tabs(selected=task), *here, *there]

    with gr.Tab("Models", id="models", elem_id="models-tab"):
        current, trouble, drawn = gr.State(""), gr.State(("", "")), gr.State(None)
        with gr.Tabs(elem_id="models-views", overflow_behavior="wrap") as inner:
            with gr.Tab("Checkpoints", id="models-list", elem_id="models-list-tab"):
                gr.HTML('<p class="mz-ask">Every checkpoint of the zoo. Choose one to read its card.</p>')
                gr.HTML(filters.bar(), js_on_load=SCRIPT.read_text(encoding="utf-8"), elem_id="models-filter")
                coming = gr.HTML("", js_on_load=BUSY, elem_id="models-coming")
                listed = gr.HTML(js_on_load=PICK, elem_id="models-table")
                parity = gr.HTML(elem_id="models-parity")
            with gr.Tab("Family graph", id="models-lines", elem_id="models-lines-tab") as lines:
                graph = gr.HTML(js_on_load=OPEN, elem_id="models-graph")
            with gr.Tab("Leaderboard", id="models-figures", elem_id="models-figures-tab") as figures:
                board = gr.HTML(js_on_load=None, elem_id="models-board")
        listed.select(pick, current, [current, trouble, listed, drawn], api_name="models_pick", **LIGHT)
        listed.delete(unload, current, [listed, drawn], api_name="models_unload", **LIGHT)
        loading = listed.apply(load, None, [trouble, coming], api_name="models_load", api_visibility="private",
                               show_progress="hidden", **INFER)  # fmt: skip
        loading.then(draw, [current, trouble], [listed, drawn], api_name="models_loaded", **LIGHT)
        listed.option_select(try_in, None, [tabs, *task_menus.values(), *comparing], api_name="models_try", **LIGHT)
        graph.select(open_from_graph, None, [inner, current, trouble, listed, drawn], api_name="models_open", **LIGHT)
        listed.focus(show, [current, trouble, drawn], [listed, drawn, parity], api_name="models_show", **LIGHT)
        _once(lines, graph, lineage.graph, "models_graph")
        _once(figures, board, leaderboard.board, "models_board")


def _once(tab: gr.Tab, view: gr.HTML, draw: Any, name: str) -> None:
    """Draw a view when its tab is opened first, and leave it as the visitor left it from then on."""
    drawn = gr.State(False)
    tab.select(lambda done: (gr.skip(), True) if done else (draw(), True), drawn, [view, drawn], api_name=name, **LIGHT)


def _named(event: gr.EventData) -> str:
    """The checkpoint that a click was on, if there is one of that name."""
    row = catalog.find(str(getattr(event, "value", "")))
    return row.name if row else ""


def table(engine: Engine, opened: str, trouble: tuple[str, str] = ("", "")) -> str:
    """All checkpoints, those that ship with the project first, then family by family, and the memory in use.

    A line each, with the card of `opened` under its line; `trouble` is a name and what went wrong when it was loaded.
    models.js keeps open what a visitor opened.
    """
    from tasks.tabs.model_card import card  # needs torch, as the engine does

    memory = f"Models in memory take {megabytes(engine.used_bytes)} of {megabytes(engine.memory_bytes)}."
    shown = catalog.find(opened)
    told = card(engine, shown, trouble[1] if trouble[0] == opened else "") if shown is not None else ""
    ready = [row for row in catalog.CHECKPOINTS if row.embedded]
    about = "Small models that ship with the project, and yours."
    groups = [_group(engine, "ready", "Ready", "", about, "", ready, opened, told)]
    for family in catalog.FAMILIES:
        rows = [row for row in catalog.CHECKPOINTS if row.family == family.name and not row.embedded]
        exact = parity_of(family.name)
        paper = f"{link(family.url, family.paper)}." + (f" Here: {esc(exact)}." if exact else "")
        about, year = family.about, str(family.year)
        groups.append(_group(engine, family.name, family.title, year, about, paper, rows, opened, told))
    none = '<p class="mz-nothing" hidden>No checkpoint has all of this. Take a word or a filter away.</p>'
    return f'<p class="mz-memory" role="status">{esc(memory)}</p>{"".join(groups)}{none}'


def _group(
    engine: Engine, key: str, title: str, year: str, about: str, paper: str, rows: Sequence[Checkpoint], opened: str,
    told: str,
) -> str:  # fmt: skip
    """One fold with its checkpoints; the one that is ready, and the one with the open card `told`, are open."""
    loaded = dict(engine.loaded())
    lines = "".join(
        _line(row, row.name in loaded, row.name == opened)
        + (f'<tr class="mz-open"><td colspan="{len(COLUMNS)}">{told}</td></tr>' if row.name == opened else "")
        for row in rows
    )
    heads = "".join(f'<th scope="col"{_wide(name)}>{name}</th>' for name in COLUMNS)
    unfolded = " open" if key == "ready" or opened in {row.name for row in rows} else ""
    count = f"{len(rows)} checkpoint{'s' * (len(rows) != 1)}"
    facts = "".join(f"<span>{esc(fact)}</span>" for fact in (year, count) if fact)
    return (
        f'<details class="mz-family" data-family="{esc(key)}"{unfolded}><summary><h3>{esc(title)}</h3>{facts}'
        f"<p>{esc(about)}</p></summary>{f'<p class=mz-paper>{paper}</p>' if paper else ''}"
        f'<div class="mz-scroll"><table class="mz-models"><thead><tr>{heads}</tr></thead>'
        f"<tbody>{lines}</tbody></table></div></details>"
    )


def _line(row: Checkpoint, loaded: bool, opened: bool) -> str:
    state = "in memory" if loaded else "ready" if row.embedded else "to download"
    kind = "on" if loaded else "ready" if row.embedded else "off"
    family = catalog.family(row.family).title
    source = f"{family}, {menus.here(row)}" if row.embedded else row.source
    words = " ".join(
        [row.name, source, family, menus.tasks_of(row), menus.languages(row), state, row.about, *row.labels]
    )
    cells = (
        f'<button type="button" aria-expanded="{str(opened).lower()}">{esc(row.name)}</button>'
        f'<span class="mz-source-id mz-wide">{esc(source)}</span>',
        esc(menus.tasks_of(row)),
        esc(menus.languages(row)),
        _parameters(row.parameters),
        f"{row.megabytes:,} MB",
        esc(filters.licence(row)),
        f'<span class="mz-state mz-{kind}">{state}</span>',
    )
    columns = "".join(f"<td{_wide(name)}>{cell}</td>" for name, cell in zip(COLUMNS, cells, strict=True))
    chosen = ' class="mz-current"' if opened else ""
    found_by = f'data-words="{esc(words.lower())}" {filters.values(row, loaded)}'
    return f'<tr data-name="{esc(row.name)}" {found_by}{chosen}>{columns}</tr>'


def _wide(name: str) -> str:
    return ' class="mz-wide"' if name in WIDE else ""


def _parameters(count: int) -> str:
    return f"{count / 1e6:,.0f} M" if count >= 10_000_000 else f"{count / 1e6:.1f} M"
