"""The card of one checkpoint: what the catalog, its files and its weights say of it, and what one can do with it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tasks import TASKS
from tasks.results import Score
from tasks.tabs import menus
from tasks.tabs.parity import parity_of
from tasks.tabs.views import bars, esc, link, megabytes
from zoo import catalog, lineage
from zoo.catalog import Checkpoint
from zoo.contracts import LayerMix, Tokenizer
from zoo.family import Model
from zoo.models import shelf
from zoo.weights.keymap import LoadReport
from zoo.weights.layout import Opened
from zoo.weights.load import NATIVE

if TYPE_CHECKING:
    from zoo.engine import Engine

SAMPLES = {"zh": "斑马不会被二零一八年的模型吓倒。"}  # by language; else
SAMPLE = "In 2018 the zookeeper's unflappable zebras weren't overfitting."
SIZES = {  # what a config calls it, in the families of the field
    "layers": ("num_hidden_layers", "n_layer", "n_layers", "num_layers"),
    "width": ("hidden_size", "n_embd", "d_model", "emb_sz", "projection_dim"),
    "heads": ("num_attention_heads", "n_head", "num_heads"),
}


def card(engine: Engine, row: Checkpoint, trouble: str = "") -> str:
    """The card; `trouble` is the HTML of what went wrong when the model was to be loaded."""
    family = catalog.family(row.family)
    held = dict(engine.loaded()).get(row.name)
    model = engine.model(row.name) if held is not None else None
    config = _config(row, model)
    exact = parity_of(family.name)
    facts = [
        ("Answers", esc(menus.tasks_of(row))),
        ("Family", f"{esc(family.title)}, {family.year}"),
        ("Paper", esc(row.paper)),
        ("Paper of the family" if row.paper else "Paper", link(family.url, family.paper)),
        *_changes(row),
        ("Parity", esc(f"{exact[0].upper()}{exact[1:]}" if exact else "")),
        ("Labels, in order", "<br>".join(map(esc, _labels(row, model)))),
        ("Language", esc(menus.languages(row, most=10))),
        ("Network", esc(_network(row, config))),
        ("Tokens", _sample(row, model, config)),
        ("Parameters", f"{row.parameters:,}"),
        ("Weights", f"{row.megabytes:,} MB on disk" + (f", {megabytes(held)} in memory" if held is not None else "")),
        ("Files", "<br>".join(f"{esc(path.name)}, {_size(path)}" for path in files(row))),
        ("Licence", esc(row.licence)),
        ("Source", menus.here(row) if row.embedded else link(_page(row), row.source)),
        ("Revision", esc(_revision(row, model))),
        ("Limits", _limits(row)),
        *_mixes(model),
        *((esc(data), esc(_figures(metrics))) for data, metrics in row.figures.items()),
    ]
    lines = "".join(f"<dt>{name}</dt><dd>{value}</dd>" for name, value in facts if value)
    return (
        f'<section class="mz-result mz-card"><p>{esc(row.about)}</p>{_buttons(row, held is not None)}{trouble}'
        f"<dl>{lines}</dl>{_snippet(row)}</section>"
    )


def _buttons(row: Checkpoint, loaded: bool) -> str:
    """Load or unload, and a way to each task that it answers."""
    busy = "Loading …" if row.embedded else f"Fetching {row.megabytes:,} MB, which can take minutes …"
    name = esc(row.name)
    memory = (
        f'<button type="button" class="mz-button" data-unload="{name}">Unload from memory</button>'
        if loaded
        else f'<button type="button" class="mz-button" data-load="{name}" data-busy="{esc(busy)}">Load</button>'
    )
    tries = "".join(
        f'<button type="button" class="mz-button" data-try="{esc(task)}" data-model="{name}">'
        f"Try in {esc(TASKS[task].title)}</button>"
        for task in row.tasks
    )
    return f'<div class="mz-acts">{tries}{_comparing(row)}{memory}</div>'


def _comparing(row: Checkpoint) -> str:
    """A way to the tab Compare, with a checkpoint of a system that this one's comes from."""
    pair = lineage.beside(row)
    if pair is None:
        return ""
    other, task = pair
    said = f"Compare with {other.name}, {catalog.family(other.family).title}"
    return (
        f'<button type="button" class="mz-button" data-compare="{esc(other.name)}" data-task="{esc(task)}" '
        f'data-model="{esc(row.name)}">{esc(said)}</button>'
    )


def _changes(row: Checkpoint) -> list[tuple[str, str]]:
    """The idea of the system that it is of, and what that changed against its parents."""
    system = lineage.of(row)
    against = "".join(
        f"<li>{esc(lineage.get(parent.key).title)}: {esc(parent.change)}</li>" for parent in system.parents
    )
    changed = f'<ul class="mz-plain">{against}</ul>' if against else ""
    return [("Idea", f"{esc(system.title)}: {esc(system.idea)}"), ("Changed against", changed)]


def _config(row: Checkpoint, model: Model | None) -> Any:
    """The config of a checkpoint whose config.json is here, or which is in memory; else None."""
    if _has_config(row):
        return shelf.family(row.family).read_config(_raw(row), LoadReport())
    return model.config if model is not None else None


def _network(row: Checkpoint, config: Any) -> str:
    """Layers, width, heads, vocabulary, longest input: as many of them as the family has."""
    if config is None:
        return ""
    family = shelf.family(row.family)
    found = {word: next((getattr(config, name) for name in names if hasattr(config, name)), None)
             for word, names in SIZES.items()}  # fmt: skip
    told = [
        f"{found['layers']} layers" if found["layers"] else "",
        f"width {found['width']}" if found["width"] else "",
        f"{found['heads']} heads of attention" if found["heads"] else "",
        f"vocabulary {family.vocabulary(config):,}",
        f"reads {family.longest(config):,} tokens at once",
    ]
    return ", ".join(filter(None, told))


def _sample(row: Checkpoint, model: Model | None, config: Any) -> str:
    """A fixed sentence, cut into the pieces that the model reads."""
    if config is None:
        return ""
    text = SAMPLES.get(row.languages[0], SAMPLE)
    if _has_config(row):
        tokenizer = _tokenizer(row.name, _revision(row, model))
    else:
        assert model is not None  # its config came from there
        tokenizer = model.tokenizer
    offsets = tokenizer.pieces(text).offsets
    pieces = "".join(f"<span>{esc(text[begin:end].strip())}</span>" for begin, end in offsets)
    return f'<span class="mz-pieces">{pieces}</span><small>{len(offsets)} pieces</small>'


@lru_cache(maxsize=8)
def _tokenizer(name: str, revision: str) -> Tokenizer:
    """The tokenizer of a checkpoint whose files are here, without its weights; `revision` only tells old from new."""
    row = catalog.get(name)
    family, raw = shelf.family(row.family), _raw(row)
    return family.read_tokenizer(Opened(_folder(row), raw), family.read_config(raw, LoadReport()))


def _limits(row: Checkpoint) -> str:
    """What its card says under Limits, or where its card is."""
    if not row.embedded:
        return link(_page(row), "see its card on the Hub")
    readme = _folder(row) / "README.md"
    text = readme.read_text(encoding="utf-8") if readme.is_file() else ""
    part = text.partition("\n## Limits\n")[2].partition("\n## ")[0]
    points = " ".join(part.split("\n")).split("- ") if part else []
    items = "".join(f"<li>{esc(' '.join(point.split()))}</li>" for point in points if point.strip())
    return f'<ul class="mz-plain">{items}</ul>' if items else ""


def _snippet(row: Checkpoint) -> str:
    """The lines of Python that load it and ask it, with a button that copies them."""
    return (
        '<div class="mz-snippet"><b>In Python</b><button type="button" class="mz-button" data-copy data-done="Copied" '
        f'data-marked="Marked: Ctrl + C">Copy</button><pre tabindex="0"><code>{esc(snippet(row))}</code></pre></div>'
    )


def snippet(row: Checkpoint) -> str:
    """Loads the model by name, and asks it where it answers a task. A user's own stands for its folder."""
    name = "FOLDER" if row.own else row.name
    lines = ["import zoo", "", f"model = zoo.load({name!r})", "print(model.parameters, model.revision)"]
    for task, heads in list(row.tasks.items())[:1]:
        texts = ", ".join(f"{field!r}" for field in (f"A {field}." for field in TASKS[task].fields))
        head = f", head={heads[0]!r}" if len(heads) > 1 else ""
        lines += ["", f"from tasks import {task}", f"print({task}.run(zoo.Engine(), {name!r}, {texts}{head}).answer)"]
    return "\n".join(lines)


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


def _page(row: Checkpoint) -> str:
    return f"https://huggingface.co/{row.source}"


def _folder(row: Checkpoint) -> Path:
    """Where the files of an embedded checkpoint are; the source of a user's own is a whole path."""
    return catalog.EMBEDDED / row.source


def files(row: Checkpoint) -> list[Path]:
    """The files of a checkpoint that is on this machine."""
    return sorted(path for path in _folder(row).iterdir() if path.is_file()) if row.embedded else []


def _size(path: Path) -> str:
    size = path.stat().st_size
    return f"{size / 1e6:.1f} MB" if size >= 100_000 else f"{size / 1e3:.1f} kB"


def _raw(row: Checkpoint) -> dict[str, Any]:
    """config.json of an embedded checkpoint; empty where there is none, as in a fastai folder of the user's."""
    config = _folder(row) / "config.json"
    if not row.embedded or not config.is_file():
        return {}
    return dict(json.loads(config.read_text(encoding="utf-8")))


def _has_config(row: Checkpoint) -> bool:
    """Whether config.json is here and in the form that families read; AllenNLP's, for one, has no `model_type`."""
    return "model_type" in _raw(row)


def _labels(row: Checkpoint, model: Model | None) -> list[str]:
    """The labels of each head: as the weights in memory have them, else as the catalog or a shipped config says."""
    if model is not None:
        heads = {name: spec.labels for name, spec in model.heads.items()}
    else:
        heads = {name: spec["labels"] for name, spec in _raw(row).get(NATIVE, {}).get("heads", {}).items()}
    if row.labels and model is None:
        return [", ".join(row.labels)]
    several = sum(map(bool, heads.values())) > 1
    return [f"{name}: {', '.join(of)}" if several else ", ".join(of) for name, of in heads.items() if of]


def _revision(row: Checkpoint, model: Model | None) -> str:
    if model is not None:
        return model.revision
    said = _raw(row).get(NATIVE, {}).get("revision", "local")
    return str(said) if row.embedded else "the newest, when it is first used"
