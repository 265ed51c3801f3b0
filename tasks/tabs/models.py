"""Tab "Models": what is in the zoo, what is in memory, and a card for each checkpoint."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import gradio as gr

from tasks import TASKS
from tasks.tabs.common import LIGHT
from tasks.tabs.views import esc
from zoo import catalog
from zoo.catalog import Checkpoint
from zoo.engine import Engine

LANGUAGES = {"en": "English", "zh": "Chinese"}
COLUMNS = ("Name", "Family", "Answers", "Language", "Parameters", "Size", "Licence", "State")
WIDE = frozenset({"Family", "Language", "Parameters", "Size", "Licence"})  # not on a phone; the card has them
PICK = """element.addEventListener("click", (event) => {
  const unload = event.target.closest("[data-unload]");
  const row = event.target.closest("[data-name]");
  if (unload) trigger("delete", {value: unload.dataset.unload});
  else if (row) trigger("select", {value: row.dataset.name});
});"""


def build(engine: Engine) -> None:
    """The tab and its events. Loads no model."""

    def pick(event: gr.EventData, current: str) -> tuple[str, str]:
        name = _named(event)
        opened = "" if name == current else name
        return opened, table(engine, opened)

    def unload(event: gr.EventData, current: str) -> str:
        engine.unload(_named(event))
        return table(engine, current)

    first = catalog.CHECKPOINTS[0].name
    with gr.Tab("Models", id="models", elem_id="models-tab") as tab:
        gr.HTML('<p class="mz-ask">Every checkpoint of the zoo. Choose one to read its card.</p>')
        listed = gr.HTML(table(engine, first), js_on_load=PICK, elem_id="models-table")
        current = gr.State(first)
        listed.select(pick, current, [current, listed], api_name="models_pick", **LIGHT)
        listed.delete(unload, current, listed, api_name="models_unload", **LIGHT)
        tab.select(lambda name: table(engine, name), current, listed, api_name="models_show", **LIGHT)


def _named(event: gr.EventData) -> str:
    """The checkpoint that a click was on, if there is one of that name."""
    row = catalog.find(str(getattr(event, "value", "")))
    return row.name if row else ""


def table(engine: Engine, opened: str) -> str:
    """All checkpoints, one line each with the card of `opened` under its line, and the memory in use."""
    loaded = dict(engine.loaded())
    rows = "".join(
        _line(row, row.name in loaded, row.name == opened) + (_card(engine, row) if row.name == opened else "")
        for row in catalog.CHECKPOINTS
    )
    heads = "".join(f"<th{_wide(name)}>{name}</th>" for name in COLUMNS)
    memory = f"Models in memory take {_megabytes(engine.used_bytes)} of {_megabytes(engine.memory_bytes)}."
    return (
        f'<p class="mz-memory">{esc(memory)}</p><div class="mz-scroll"><table class="mz-models">'
        f"<thead><tr>{heads}</tr></thead><tbody>{rows}</tbody></table></div>"
    )


def _line(row: Checkpoint, loaded: bool, opened: bool) -> str:
    state = "in memory" if loaded else "ready" if row.embedded else "to download"
    kind = "on" if loaded else "ready" if row.embedded else "off"
    source = "ships with the project" if row.embedded else row.source
    cells = (
        f'<button type="button" aria-expanded="{str(opened).lower()}">{esc(row.name)}</button>'
        f'<span class="mz-source-id mz-wide">{esc(source)}</span>',
        esc(catalog.family(row.family).title),
        esc(_tasks(row)),
        esc(_languages(row.languages)),
        f"{row.parameters / 1e6:,.0f} M",
        f"{row.megabytes:,} MB",
        esc(row.licence.partition(" (")[0]),
        f'<span class="mz-state mz-{kind}">{state}</span>',
    )
    columns = "".join(f"<td{_wide(name)}>{cell}</td>" for name, cell in zip(COLUMNS, cells, strict=True))
    chosen = ' class="mz-current"' if opened else ""
    return f'<tr data-name="{esc(row.name)}"{chosen}>{columns}</tr>'


def _card(engine: Engine, row: Checkpoint) -> str:
    """Everything the catalog says of one checkpoint, in a line of its own."""
    family = catalog.family(row.family)
    where = "ships with the project" if row.embedded else _link(f"https://huggingface.co/{row.source}", row.source)
    held = dict(engine.loaded()).get(row.name)
    facts = [
        ("Answers", esc(_tasks(row))),
        ("Family", f"{esc(family.title)}, {family.year}"),
        ("Paper", _link(family.url, family.paper)),
        ("Labels", "<br>".join(map(esc, _labels(row)))),
        ("Language", esc(_languages(row.languages))),
        ("Parameters", f"{row.parameters:,}"),
        ("Weights", f"{row.megabytes:,} MB on disk" + (f", {_megabytes(held)} in memory" if held is not None else "")),
        ("Licence", esc(row.licence)),
        ("Source", where),
        ("Revision", esc(_revision(engine, row, held is not None))),
        *((esc(data), esc(_figures(metrics))) for data, metrics in row.figures.items()),
    ]
    lines = "".join(f"<dt>{name}</dt><dd>{value}</dd>" for name, value in facts if value)
    button = (
        f'<button type="button" class="mz-unload" data-unload="{esc(row.name)}">Unload from memory</button>'
        if held is not None
        else ""
    )
    about = f'<section class="mz-result mz-card"><p>{esc(row.about)}</p><dl>{lines}</dl>{button}</section>'
    return f'<tr class="mz-open"><td colspan="{len(COLUMNS)}">{about}</td></tr>'


def _figures(metrics: Mapping[str, float]) -> str:
    return ", ".join(f"{name.replace('_', ' ')} {value:.1f}" for name, value in metrics.items())


def _wide(name: str) -> str:
    return ' class="mz-wide"' if name in WIDE else ""


def _tasks(row: Checkpoint) -> str:
    return ", ".join(TASKS[task].title for task in row.tasks) or "no task by itself"


def _languages(codes: Sequence[str]) -> str:
    return ", ".join(LANGUAGES.get(code, code) for code in codes)


def _megabytes(count: int) -> str:
    return f"{count / 2**30:.1f} GB" if count >= 2**30 else f"{count / 2**20:.0f} MB"


def _link(url: str, text: str) -> str:
    return f'<a href="{esc(url)}" target="_blank" rel="noopener noreferrer">{esc(text)}</a>'


def _embedded(row: Checkpoint) -> dict[str, Any]:
    """What the config of an embedded checkpoint says of itself."""
    config = catalog.EMBEDDED / row.source / "config.json"
    if not row.embedded or not config.is_file():
        return {}
    return dict(json.loads(config.read_text(encoding="utf-8")).get("zoo", {}))


def _labels(row: Checkpoint) -> list[str]:
    if row.labels:
        return [", ".join(row.labels)]
    heads = _embedded(row).get("heads", {})
    return [f"{name}: {', '.join(spec['labels'])}" for name, spec in heads.items() if spec["labels"]]


def _revision(engine: Engine, row: Checkpoint, held: bool) -> str:
    if held:
        return engine.model(row.name).revision
    return str(_embedded(row).get("revision", "local")) if row.embedded else "the newest, when it is first used"
