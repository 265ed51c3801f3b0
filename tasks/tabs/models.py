"""Tab "Models": what is in the zoo, what is in memory, a card for each checkpoint, and how exact each family is."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import gradio as gr

from tasks import TASKS
from tasks.results import Score
from tasks.tabs import menus
from tasks.tabs.common import LIGHT
from tasks.tabs.parity import parity_of, parity_table
from tasks.tabs.views import bars, esc
from zoo import catalog
from zoo.catalog import Checkpoint
from zoo.contracts import LayerMix
from zoo.engine import Engine
from zoo.family import Model

COLUMNS = ("Name", "Answers", "Language", "Parameters", "Size", "Licence", "State")
WIDE = frozenset({"Language", "Parameters", "Size", "Licence"})  # not on a phone; the card has them
PICK = """element.addEventListener("click", (event) => {
  const unload = event.target.closest("[data-unload]");
  const row = event.target.closest("[data-name]");
  if (unload) trigger("delete", {value: unload.dataset.unload});
  else if (row) trigger("select", {value: row.dataset.name});
});
new MutationObserver(() => window.mzModels?.()).observe(element, {childList: true, subtree: true});"""


def build(engine: Engine) -> None:
    """The tab and its events. Loads no model."""

    def pick(event: gr.EventData, current: str) -> tuple[str, str]:
        name = _named(event)
        opened = "" if name == current else name
        return opened, table(engine, opened)

    def unload(event: gr.EventData, current: str) -> str:
        engine.unload(_named(event))
        return table(engine, current)

    with gr.Tab("Models", id="models", elem_id="models-tab") as tab:
        gr.HTML('<p class="mz-ask">Every checkpoint of the zoo. Choose one to read its card.</p>')
        gr.Textbox(label="Find", placeholder="a name, a family, a task, a language …", elem_id="models-find",
                   elem_classes="mz-find", max_lines=1)  # fmt: skip
        listed = gr.HTML(table(engine, ""), js_on_load=PICK, elem_id="models-table")
        gr.HTML(parity_table(), elem_id="models-parity")
        current = gr.State("")
        listed.select(pick, current, [current, listed], api_name="models_pick", **LIGHT)
        listed.delete(unload, current, listed, api_name="models_unload", **LIGHT)
        tab.select(lambda name: table(engine, name), current, listed, api_name="models_show", **LIGHT)


def _named(event: gr.EventData) -> str:
    """The checkpoint that a click was on, if there is one of that name."""
    row = catalog.find(str(getattr(event, "value", "")))
    return row.name if row else ""


def table(engine: Engine, opened: str) -> str:
    """All checkpoints, those that ship with the project first, then family by family, and the memory in use.

    A line each, with the card of `opened` under its line. page.js keeps open what a visitor opened.
    """
    memory = f"Models in memory take {_megabytes(engine.used_bytes)} of {_megabytes(engine.memory_bytes)}."
    ready = [row for row in catalog.CHECKPOINTS if row.embedded]
    groups = [
        _group(engine, "ready", "Ready", "", "Small models that ship with the project, and yours.", "", ready, opened)
    ]
    for family in catalog.FAMILIES:
        rows = [row for row in catalog.CHECKPOINTS if row.family == family.name and not row.embedded]
        exact = parity_of(family.name)
        paper = f"{_link(family.url, family.paper)}." + (f" Here: {esc(exact)}." if exact else "")
        groups.append(_group(engine, family.name, family.title, str(family.year), family.about, paper, rows, opened))
    none = '<p class="mz-nothing" hidden>No checkpoint has all of these words.</p>'
    return f'<p class="mz-memory" role="status">{esc(memory)}</p>{"".join(groups)}{none}'


def _group(
    engine: Engine, key: str, title: str, year: str, about: str, paper: str, rows: Sequence[Checkpoint], opened: str
) -> str:
    """One fold with its checkpoints; the one that is ready, and the one with the open card, are open."""
    loaded = dict(engine.loaded())
    lines = "".join(
        _line(row, row.name in loaded, row.name == opened) + (_card(engine, row) if row.name == opened else "")
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
    source = f"{family}, {_here(row)}" if row.embedded else row.source
    words = " ".join([row.name, source, family, _tasks(row), menus.languages(row), state, row.about, *row.labels])
    cells = (
        f'<button type="button" aria-expanded="{str(opened).lower()}">{esc(row.name)}</button>'
        f'<span class="mz-source-id mz-wide">{esc(source)}</span>',
        esc(_tasks(row)),
        esc(menus.languages(row)),
        _parameters(row.parameters),
        f"{row.megabytes:,} MB",
        esc(row.licence.partition(" (")[0]),
        f'<span class="mz-state mz-{kind}">{state}</span>',
    )
    columns = "".join(f"<td{_wide(name)}>{cell}</td>" for name, cell in zip(COLUMNS, cells, strict=True))
    chosen = ' class="mz-current"' if opened else ""
    return f'<tr data-name="{esc(row.name)}" data-words="{esc(words.lower())}"{chosen}>{columns}</tr>'


def _card(engine: Engine, row: Checkpoint) -> str:
    """Everything the catalog says of one checkpoint, and what its weights say when they are in memory."""
    family = catalog.family(row.family)
    where = _here(row) if row.embedded else _link(f"https://huggingface.co/{row.source}", row.source)
    held = dict(engine.loaded()).get(row.name)
    model = engine.model(row.name) if held is not None else None
    exact = parity_of(family.name)
    facts = [
        ("Answers", esc(_tasks(row))),
        ("Family", f"{esc(family.title)}, {family.year}"),
        ("Paper", esc(row.paper)),
        ("Paper of the family" if row.paper else "Paper", _link(family.url, family.paper)),
        ("Parity", esc(f"{exact[0].upper()}{exact[1:]}" if exact else "")),
        ("Labels, in order", "<br>".join(map(esc, _labels(row, model)))),
        ("Language", esc(menus.languages(row, most=10))),
        ("Parameters", f"{row.parameters:,}"),
        ("Weights", f"{row.megabytes:,} MB on disk" + (f", {_megabytes(held)} in memory" if held is not None else "")),
        ("Licence", esc(row.licence)),
        ("Source", where),
        ("Revision", esc(_revision(row, model))),
        *_mixes(model),
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


def _mixes(model: Model | None) -> list[tuple[str, str]]:
    """What the heads of a model in memory learned to take from each layer, where they mix the layers."""
    return [(f"Layers read by {esc(head)}", _mix(mix)) for head, mix in model.mixes] if model is not None else []


def _mix(mix: LayerMix) -> str:
    """A bar for each layer, and the factor."""
    names = ["layer 0 (lowest)", *(f"layer {i}" for i in range(1, len(mix.weights)))]
    scores = [Score(name, weight) for name, weight in zip(names, mix.weights, strict=True)]
    return f"{bars(scores, best=False)}<p>their sum times {mix.gamma:.3f}</p>"


def _figures(metrics: Mapping[str, float]) -> str:
    """Percents with one decimal; bits per byte lie between 1 and 2, and have two."""
    return ", ".join(
        f"{name.replace('_', ' ')} {value:.{2 if 'bits' in name else 1}f}" for name, value in metrics.items()
    )


def _wide(name: str) -> str:
    return ' class="mz-wide"' if name in WIDE else ""


def _tasks(row: Checkpoint) -> str:
    return ", ".join(TASKS[task].title for task in row.tasks) or "no task by itself"


def _parameters(count: int) -> str:
    return f"{count / 1e6:,.0f} M" if count >= 10_000_000 else f"{count / 1e6:.1f} M"


def _megabytes(count: int) -> str:
    return f"{count / 2**30:.1f} GB" if count >= 2**30 else f"{count / 2**20:.0f} MB"


def _link(url: str, text: str) -> str:
    return f'<a href="{esc(url)}" target="_blank" rel="noopener noreferrer">{esc(text)}</a>'


def _here(row: Checkpoint) -> str:
    """Where a checkpoint comes from that need not be fetched. A visitor learns no path of the machine."""
    return "a folder of your own" if row.own else "ships with the project"


def _embedded(row: Checkpoint) -> dict[str, Any]:
    """What the config of an embedded checkpoint says of itself."""
    config = catalog.EMBEDDED / row.source / "config.json"
    if not row.embedded or not config.is_file():
        return {}
    return dict(json.loads(config.read_text(encoding="utf-8")).get("zoo", {}))


def _labels(row: Checkpoint, model: Model | None) -> list[str]:
    """The labels of each head: as the weights in memory have them, else as the catalog or a shipped config says."""
    if model is not None:
        heads = {name: spec.labels for name, spec in model.heads.items()}
    else:
        heads = {name: spec["labels"] for name, spec in _embedded(row).get("heads", {}).items()}
    if row.labels and model is None:
        return [", ".join(row.labels)]
    several = sum(map(bool, heads.values())) > 1
    return [f"{name}: {', '.join(of)}" if several else ", ".join(of) for name, of in heads.items() if of]


def _revision(row: Checkpoint, model: Model | None) -> str:
    if model is not None:
        return model.revision
    return str(_embedded(row).get("revision", "local")) if row.embedded else "the newest, when it is first used"
