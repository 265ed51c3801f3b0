"""Tab "Tokens": one text through several tokenizers, one below the other."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import gradio as gr

from tasks import tokens
from tasks.tabs import menus, views
from tasks.tabs.asking import INFER, guarded
from tasks.tokens import Cut, Token
from zoo import catalog
from zoo.errors import BadParameter, UnknownModel, did_you_mean

if TYPE_CHECKING:
    from zoo.engine import Engine

MOST = 8  # tokenizers at once
SAMPLE = (
    "In 2018 the zookeeper's unflappable zebras weren't overfitting: they re-read “Alice”, café menus, 斑马 and 🙂."
)


def build(engine: Engine) -> None:
    """The tab and its events. Loads no model."""
    choices = [(f"{catalog.family(row.family).title} · {row.name} · {menus.readiness(row)}", row.name)
               for row in catalog.CHECKPOINTS]  # fmt: skip
    ready = [row.name for row in catalog.CHECKPOINTS if row.embedded and not row.own]

    def run(text: str, models: Sequence[str]) -> Iterator[str]:
        yield views.working("Cutting …")
        yield guarded("tokens", lambda: board(tokens.cut(engine, chosen(models), text), text))

    with gr.Tab("Tokens", id="tokens", elem_id="tokens-tab"):
        gr.HTML('<p class="mz-ask">What does each model see of a text?</p>')
        text = gr.Textbox(SAMPLE, label="Text", lines=3, max_lines=12, elem_id="tokens-text")
        models = gr.Dropdown(choices, value=ready[:MOST], multiselect=True, max_choices=MOST, label="Tokenizers of",
                             info=f"Up to {MOST}; a size is downloaded once", elem_id="tokens-models")  # fmt: skip
        with gr.Row(elem_classes="mz-buttons"):
            go = gr.Button("Cut", variant="primary", elem_classes="mz-run", elem_id="tokens-run")
        output = gr.HTML("", elem_id="tokens-output", elem_classes="mz-output")
    go.click(run, [text, models], output, api_name="tokens_run", api_visibility="private",
             show_progress="minimal", show_progress_on=output, **INFER)  # fmt: skip


def chosen(models: Sequence[str]) -> list[str]:
    """The names, if the page offers them. Raises BadParameter, UnknownModel."""
    if not 1 <= len(models or ()) <= MOST:
        raise BadParameter(f"Choose 1 to {MOST} tokenizers, not {len(models or ())}.")
    offered = catalog.names()
    for name in models:
        if name not in offered:
            raise UnknownModel(f"{name!r} is not in the zoo.{did_you_mean(name, offered)} Choose from the menu.")
    return list(models)


def board(cuts: Sequence[Cut], text: str) -> str:
    """How many pieces each makes, then the pieces of each."""
    able = [one for one in cuts if not one.error]
    least = min(able, key=lambda one: one.count, default=None)
    told = ""
    if least is not None and len(able) > 1:
        most = max(able, key=lambda one: one.count)
        told = (
            f'<p class="mz-verdict" role="status">{views.esc(least.model)} needs {least.count:,} pieces, '
            f"{views.esc(most.model)} {most.count:,}.</p>"
        )
    return told + "".join(_card(one, text) for one in cuts)


def _card(one: Cut, text: str) -> str:
    name = f'<h3 class="mz-column-name">{views.esc(one.model)}</h3>'
    if one.error:
        return (
            f'<article class="mz-result mz-cut">{name}<div class="mz-error" role="alert"><b>That did not work.</b>'
            f"<p>{views.esc(one.error)}</p></div></article>"
        )
    facts = [
        one.family,
        f"{one.count:,} pieces",
        f"{one.unknown:,} unknown",
        f"vocabulary {one.vocabulary:,}" if one.tokens and one.tokens[0].id is not None else "reads letters",
        views.seconds(one.seconds),
    ]
    shared = Counter((token.start, token.end) for token in one.tokens)
    seen: Counter[tuple[int, int]] = Counter()
    pieces = []
    for token in one.tokens:
        place = token.start, token.end
        seen[place] += 1
        pieces.append(_piece(token, text, seen[place], shared[place]))
    more = views.note(f"The first {len(one.tokens):,} of {one.count:,} pieces.") if one.count > len(one.tokens) else ""
    return (
        f'<article class="mz-result mz-cut">{name}<p class="mz-source">{views.esc(" · ".join(facts))}</p>'
        f'<p class="mz-pieces">{"".join(pieces)}</p>{more}{_table(one, text)}</article>'
    )


def _piece(token: Token, text: str, part: int, parts: int) -> str:
    """One piece as it stands in the text; a character that is cut into bytes says which of them it is."""
    said = text[token.start : token.end].replace(" ", "␣").replace("\n", "↵") or token.spelling
    of = f"<sub>{part}/{parts}</sub>" if parts > 1 and token.start < token.end else ""
    kind = ' class="mz-unknown"' if token.unknown else ' class="mz-marker"' if token.start == token.end else ""
    told = token.spelling if token.id is None else f"{token.spelling}, id {token.id}"
    mark = "<sup>?</sup>" if token.unknown else ""
    return f'<span{kind} title="{views.esc(told)}">{views.esc(said)}{of}{mark}</span>'


def _table(one: Cut, text: str) -> str:
    rows = "".join(
        f"<tr><td>{number}</td><td><code>{views.esc(token.spelling)}</code></td>"
        f"<td>{'letters' if token.id is None else token.id}</td>"
        f"<td>{views.esc(text[token.start : token.end])}</td></tr>"
        for number, token in enumerate(one.tokens, 1)
    )
    return (
        '<details class="mz-fold"><summary>As a table</summary><div class="mz-scroll"><table><thead><tr><th>No.</th>'
        "<th>In the vocabulary</th><th>Id</th><th>In the text</th></tr></thead>"
        f'<tbody translate="no">{rows}</tbody></table></div></details>'
    )
