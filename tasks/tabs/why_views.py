"""HTML for explanations: words that speak for and against an answer, tokens of a summary, attention, what-if."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from tasks.explain import Reduced, WhatIf, Why
from tasks.results import Piece, Result
from tasks.tabs.views import bars, esc, seconds
from zoo.engine.words import Word

if TYPE_CHECKING:
    from zoo.engine.reasons import Attention, Layers

TOP = 10  # words in the table
SIDE = 34  # tokens up to which a map of attention is a table with the words at its sides


def why(made: Why) -> str:
    """The texts with every word shaded by its score, the strongest words as a table, and how far to trust them."""
    most = max((abs(word.score) for of in made.attribution.texts for word in of), default=0.0)
    told = "the token" if made.result.task == "summarize" else "the answer"
    parts = [f'<p class="mz-why-of">What speaks for {told} <b>{esc(made.explained.strip() or "␣")}</b>?</p>']
    if made.result.pieces:
        parts.append(pieces(made.result.pieces, made.token))
    for (field, text), scored in zip(made.texts.items(), made.attribution.texts, strict=True):
        name = "passage" if field == "context" else field
        parts.append(f'<h4 class="mz-why-field">{esc(name)}</h4>{shaded(text, scored, most, field)}')
    parts += [legend(made), ranking(made), trust(made)]
    return f'<section class="mz-result mz-why" role="status">{"".join(parts)}</section>'


def shaded(text: str, scored: Sequence[Word], most: float, field: str) -> str:
    """A text whose words are buttons, shaded by what they say: solid below for, dotted below against."""
    parts: list[str] = []
    at = len(text) - len(text.lstrip())
    for number, word in enumerate(scored):
        share = word.score / most if most else 0.0
        kind = "mz-for" if share > 0.05 else "mz-against" if share < -0.05 else "mz-even"
        parts.append(esc(text[at : word.start]))
        parts.append(
            f'<button type="button" class="mz-word {kind}" style="--share:{min(1.0, abs(share)):.2f}" '
            f'data-field="{esc(field)}" data-number="{number}" data-word="{esc(text[word.start : word.end])}" '
            f'title="{word.score:+.2f}">{esc(text[word.start : word.end])}</button>'
        )
        at = word.end
    parts.append(esc(text[at:]))
    return f'<div class="mz-words">{"".join(parts)}</div>'


def legend(made: Why) -> str:
    """What the shades mean, and what a click does."""
    click = "Choose a word to see the answer without it." if made.result.task != "summarize" else ""
    return (
        '<p class="mz-legend"><span class="mz-word mz-for" style="--share:0.8">for</span> '
        '<span class="mz-word mz-against" style="--share:0.8">against</span> '
        f"{esc(click)}</p>"
    )


def ranking(made: Why) -> str:
    """The strongest words as a table, whatever their sign."""
    strongest = sorted(made.ranked(), key=lambda pair: -abs(pair[1].score))[:TOP]
    rows = "".join(
        f"<tr><td><bdi>{esc(made.texts[field][word.start : word.end])}</bdi></td>"
        f"<td>{esc('passage' if field == 'context' else field)}</td><td>{word.score:+.3f}</td></tr>"
        for field, word in strongest
    )
    return (
        '<details class="mz-fold"><summary>As a table</summary><div class="mz-scroll"><table class="mz-spans"><thead>'
        f"<tr><th>Word</th><th>Of the</th><th>Score</th></tr></thead><tbody>{rows}</tbody></table></div></details>"
    )


def trust(made: Why) -> str:
    """The method, what its scores are, and its error."""
    of = made.attribution
    unit = {"summarize": "the logarithm of the token's probability", "qa": "the logarithm of the answer's probability"}
    scale = unit.get(made.result.task, "the log-odds of the label")
    name = f"{of.method[0].upper()}{of.method[1:]}"
    words = [f"{name}, in {scale}: {of.blank:.2f} without any word, {of.value:.2f} here."]
    if of.error is not None:
        words.append(f"The scores add up to the difference within {of.error:.1%} ({of.steps} steps).")
    if of.together > 1:
        words.append(f"Words were hidden {of.together} at a time, and share their score.")
    return f'<p class="mz-time">{esc(" ".join(words))} {esc(seconds(made.seconds))}</p>'


def pieces(made: Sequence[Piece], chosen: int) -> str:
    """The tokens of a summary as buttons, shaded by how sure the model was of each; their rivals as a table."""
    tokens = "".join(
        f'<button type="button" class="mz-word mz-piece" data-token="{number}" {_current(number == chosen)}'
        f'style="--share:{1 - one.probability:.2f}" title="{one.probability:.0%}">{esc(one.text)}</button>'
        for number, one in enumerate(made)
    )
    rows = "".join(
        f"<tr><td><bdi>{esc(one.text)}</bdi></td><td>{one.probability:.0%}</td><td>{_rivals(one)}</td></tr>"
        for one in made
    )
    return (
        f'<h4 class="mz-why-field">summary, token by token: darker is less sure; choose one to explain it</h4>'
        f'<div class="mz-words">{tokens}</div><details class="mz-fold"><summary>What else was likely</summary>'
        '<div class="mz-scroll"><table><thead><tr><th>Token</th><th>Probability</th><th>In its place</th></tr></thead>'
        f"<tbody>{rows}</tbody></table></div></details>"
    )


def _current(chosen: bool) -> str:
    return 'aria-current="true" ' if chosen else ""


def _rivals(one: Piece) -> str:
    return ", ".join(f"<code>{esc(text)}</code> {chance:.0%}" for text, chance in one.alternatives)


def what_if(made: WhatIf) -> str:
    """The answer before and after a word was changed, side by side, and ways to change it otherwise."""
    same = made.before.answer == made.after.answer
    said = "The answer stays." if same else "The answer changes."
    return (
        f'<section class="mz-result mz-whatif" role="status"><p class="mz-why-of">{said}</p>'
        f'<div class="mz-two">{_side("before", made.before)}{_side("after", made.after)}</div>'
        f'<p class="mz-changed" translate="no">{esc(made.changed)}</p>{_instead(made)}</section>'
    )


def _instead(made: WhatIf) -> str:
    """Ways to change the word otherwise."""
    of = f'type="button" data-field="{esc(made.field)}" data-number="{made.number}" data-word="{esc(made.word)}"'
    return (
        f'<p class="mz-try"><label>Instead of “{esc(made.word)}” <input type="text" maxlength="200"></label> '
        f'<button {of} data-by="typed">Replace</button><button {of} data-by="" data-hide="yes">Hide</button></p>'
    )


def _side(title: str, made: Result) -> str:
    answer = made.answer or "no answer"
    shown = bars(made.scores[:4]) if made.task in ("nli", "classify") else ""
    if made.task == "qa" and made.spans:
        shown = f'<p class="mz-time">{made.spans[0].score:.1%}</p>'
    said = "" if shown.startswith("<ul") else f'<p class="mz-said">{esc(answer)}</p>'
    return f'<div><h4 class="mz-why-field">{title}</h4>{said}{shown}</div>'


def reduced(made: Reduced) -> str:
    """The least words that get the same answer."""
    gone = ", ".join(made.removed) or "none"
    return (
        f'<section class="mz-result" role="status"><p class="mz-why-of">The least that still gets '
        f'<b>{esc(made.answer)}</b>, at {made.probability:.0%}</p><p class="mz-text">{esc(made.after)}</p>'
        f'<p class="mz-time">Taken away, in this order: {esc(gone)}.</p></section>'
    )


def attention(made: Attention, layer: int, head: int, special: bool) -> str:
    """All heads as small pictures, one of them (or the mean of a layer's heads, head 0) large.

    `layer` and `head` count from 1. Without `special` the columns and rows of special tokens are left out.
    """
    kept = [i for i, source in enumerate(made.sources) if special or source >= 0]
    maps = made.maps.numpy()[:, :, kept][:, :, :, kept]  # [layers, H, T, T]
    layers, heads = maps.shape[:2]
    layer, head = min(max(layer, 1), layers), min(max(head, 0), heads)
    one = maps[layer - 1].mean(0) if head == 0 else maps[layer - 1, head - 1]
    tokens = [made.tokens[i] for i in kept]
    name = f"layer {layer}, " + ("the mean of its heads" if head == 0 else f"head {head}")
    large = _table(one, tokens) if len(kept) <= SIDE else _picture(one, f"Attention of {name}", 480)
    shown = "yes" if special else "no"
    grid = "".join(
        f'<button type="button" data-layer="{row + 1}" data-head="{column + 1}" data-special="{shown}" '
        f'{_current((row + 1, column + 1) == (layer, head))}aria-label="layer {row + 1}, head {column + 1}">'
        f"{_picture(maps[row, column], '', 44)}</button>"
        for row in range(layers)
        for column in range(heads)
    )
    toggle = (
        f'<button type="button" class="mz-toggle" data-layer="{layer}" data-head="{head}" '
        f'data-special="{"no" if special else "yes"}">{"Hide" if special else "Show"} special tokens</button>'
    )
    return (
        f'<section class="mz-result mz-why" role="status"><p class="mz-why-of">Attention of {esc(name)}: '
        f"each row is a token, and how it shares its look among the columns.</p>{large}{toggle}{_links(one, tokens)}"
        f'<h4 class="mz-why-field">all heads, a layer a row: choose one</h4>'
        f'<div class="mz-heads" style="--heads:{heads}">{grid}</div></section>'
    )


def layers(made: Layers) -> str:
    """What the head says of each layer, the embeddings first: a line each, shaded by probability."""
    final = made.probabilities[-1].argmax()
    heads = "".join(f'<th scope="col">{esc(label)}</th>' for label in made.labels)
    rows = "".join(
        f'<tr><th scope="row">{"embeddings" if number == 0 else f"layer {number}"}</th>'
        + "".join(
            f'<td class="mz-share{" mz-top" if place == chances.argmax() else ""}" '
            f'style="--share:{float(chance):.2f}">{float(chance):.0%}</td>'
            for place, chance in enumerate(chances)
        )
        + "</tr>"
        for number, chances in zip(made.numbers, made.probabilities, strict=True)
    )
    same = [number for number, one in zip(made.numbers, made.probabilities, strict=True) if one.argmax() == final]
    since = made.numbers[-1]
    while since in same:
        since -= 1
    told = f"From {'the embeddings' if since < 0 else f'layer {since + 1}'} on the answer is that of the end."
    if made.absent:
        told += f" Left out, since the head cannot read their width: layers {', '.join(map(str, made.absent))}."
    return (
        '<section class="mz-result mz-why" role="status"><p class="mz-why-of">'
        f"What the head “{esc(made.head)}” says of each layer, as if the network ended there</p>"
        f'<div class="mz-scroll"><table class="mz-layers"><thead><tr><td></td>{heads}</tr></thead><tbody>{rows}</tbody>'
        f'</table></div><p class="mz-time">{esc(told)} The head learnt to read the end only, so an odd answer of a low '
        "layer does not mean that it knows nothing.</p></section>"
    )


def _table(one: np.ndarray, tokens: Sequence[str]) -> str:
    most = max(float(one.max()), 1e-9)
    heads = "".join(f'<th scope="col"><span>{esc(token)}</span></th>' for token in tokens)
    rows = "".join(
        f'<tr><th scope="row">{esc(token)}</th>'
        + "".join(f'<td style="--share:{value / most:.2f}" title="{value:.0%}"></td>' for value in row)
        + "</tr>"
        for token, row in zip(tokens, one, strict=True)
    )
    return (
        f'<div class="mz-scroll"><table class="mz-map"><thead><tr><td></td>{heads}</tr></thead>'
        f"<tbody>{rows}</tbody></table></div>"
    )


def _picture(one: np.ndarray, alt: str, width: int) -> str:
    """A map as a picture of one dot for each pair, dark where attention is strong."""
    from PIL import Image

    dots = (255 * (1 - one / max(float(one.max()), 1e-9))).astype(np.uint8)
    file = io.BytesIO()
    Image.fromarray(dots).save(file, "PNG")
    data = base64.b64encode(file.getvalue()).decode()
    return f'<img class="mz-dots" width="{width}" height="{width}" alt="{esc(alt)}" src="data:image/png;base64,{data}">'


def _links(one: np.ndarray, tokens: Sequence[str]) -> str:
    """The strongest looks as a table."""
    order = np.argsort(-one, axis=None)[:TOP]
    pairs = [np.unravel_index(place, one.shape) for place in order]
    rows = "".join(
        f"<tr><td><bdi>{esc(tokens[i])}</bdi></td><td><bdi>{esc(tokens[j])}</bdi></td><td>{one[i, j]:.0%}</td></tr>"
        for i, j in pairs
    )
    return (
        '<details class="mz-fold"><summary>The strongest as a table</summary><div class="mz-scroll">'
        '<table class="mz-spans"><thead><tr><th>Token</th><th>Looks at</th><th>Share</th></tr></thead>'
        f"<tbody>{rows}</tbody></table></div></details>"
    )
