"""HTML for results, errors and notes. Pure functions of text: no Gradio, no engine.

Every text that is not a literal of this project goes through `esc`. Numbers and sentences stand beside every bar and
colour, so that nothing depends on seeing them.
"""

from __future__ import annotations

import html
from collections.abc import Mapping, Sequence

from tasks.results import Result, Score, Span, Truncation

TAIL = 1_500  # characters of unread text that are shown
AROUND = 700  # characters of a long passage shown on each side of an answer
_TEMPLATE = str.maketrans({"$": "&#36;", "{": "&#123;", "}": "&#125;", "`": "&#96;", "\\": "&#92;"})


def esc(text: object) -> str:
    """Text made harmless for HTML, and for the template language that gr.HTML runs over what it shows."""
    return html.escape(str(text), quote=True).translate(_TEMPLATE)


def result(
    made: Result, body: str, texts: Mapping[str, str], *, saved: bool = False, look_for: str = "", stopped: bool = False
) -> str:
    """The card of one result: where it comes from, the verdict, `body`, what was cut, the timings."""
    badge = '<span class="mz-badge">saved result</span>' if saved else ""
    head = f" · {esc(made.head)}" if made.head and made.head != made.task and made.task == "classify" else ""
    at = f'<span class="mz-at">@ {esc(made.revision)}</span>'
    parts = [f'<p class="mz-source">{badge}{esc(made.model)}{head} {at}</p>']
    if made.task != "summarize":
        parts.append(verdict(made.verdict, made.answer if made.task == "qa" else ""))
    parts.append(body)
    if stopped:
        parts.append(f'<p class="mz-note">Stopped after {made.tokens} tokens.</p>')
    parts += [note(text) for text in made.warnings if made.truncated is None or text != str(made.truncated)]
    if made.truncated is not None:
        parts.append(truncated(made.truncated, texts.get(made.truncated.field, "")))
    if look_for:
        parts.append(f'<p class="mz-look"><b>What to look for</b> {esc(look_for)}</p>')
    parts.append(f'<p class="mz-time">{esc(timings(made, saved))}</p>')
    return f'<section class="mz-result" role="status">{"".join(parts)}</section>'


def verdict(sentence: str, quoted: str = "") -> str:
    """'Very likely: ...' with its certainty set apart; `quoted` is what of it are words of the visitor's text."""
    sure, colon, rest = sentence.partition(": ")
    if not colon:
        return f'<p class="mz-verdict">{esc(sentence)}</p>'
    said = f"<bdi>{esc(rest)}</bdi>" if rest == quoted else f"<span>{esc(rest)}</span>"
    return f'<p class="mz-verdict"><span class="mz-sure">{esc(sure)}:</span> {said}</p>'


def bars(scores: Sequence[Score], best: bool = True) -> str:
    """One bar for each label, with its name and its percentage as text; the first one stands out, if it is the best."""
    rows = [
        f'<li{" class=mz-best" if best and i == 0 else ""}><span class="mz-label">{esc(one.label)}</span>'
        f'<span class="mz-track" aria-hidden="true"><i style="width:{100 * one.score:.1f}%"></i></span>'
        f'<span class="mz-number">{one.score:.1%}</span></li>'
        for i, one in enumerate(scores)
    ]
    return f'<ul class="mz-bars">{"".join(rows)}</ul>'


def passage(text: str, spans: Sequence[Span], answered: bool) -> str:
    """The passage with the best span marked, and weaker ones that do not overlap it faintly; long ones are cut out."""
    chosen: list[Span] = []
    for span in spans:
        if all(span.end <= other.start or span.start >= other.end for other in chosen):
            chosen.append(span)
    begin, end = 0, len(text)
    if chosen and len(text) > 3 * AROUND:
        begin, end = max(0, chosen[0].start - AROUND), min(len(text), chosen[0].end + AROUND)
    elif len(text) > 3 * AROUND:
        end = 2 * AROUND
    best = chosen[0] if chosen and answered else None
    parts, at = ["… " if begin else ""], begin
    for span in sorted(chosen, key=lambda one: one.start):
        if span.start < at or span.end > end:
            continue
        kind = "" if span is best else ' class="mz-faint"'
        parts += [esc(text[at : span.start]), f"<mark{kind}>{esc(text[span.start : span.end])}</mark>"]
        at = span.end
    parts += [esc(text[at:end]), " …" if end < len(text) else ""]
    return f'<blockquote class="mz-passage">{"".join(parts)}</blockquote>'


def spans_table(spans: Sequence[Span], none: Score | None) -> str:
    """The best spans with their place and probability, and that of no answer."""
    rows = [
        (f"<bdi>{esc(one.text)}</bdi><small>characters {one.start:,} to {one.end:,}</small>", one.score)
        for one in spans
    ]
    if none is not None:
        rows.append(('<i class="mz-none">no answer in the passage</i>', none.score))
    rows.sort(key=lambda row: -row[1])
    cells = "".join(f"<tr><td>{text}</td><td>{score:.1%}</td></tr>" for text, score in rows)
    return (
        '<div class="mz-scroll"><table class="mz-spans"><thead><tr><th>Answer</th>'
        f"<th>Probability</th></tr></thead><tbody>{cells}</tbody></table></div>"
    )


def written(made: Result) -> str:
    """A generated text, with a cursor while it is being written, and the prompt behind a fold once it is done."""
    cursor = "" if made.verdict else '<span class="mz-cursor" aria-hidden="true"></span>'
    text = f'<p class="mz-text">{esc(made.answer)}{cursor}</p>'
    if not made.verdict:
        return text
    return f'{text}<p class="mz-count">{esc(made.verdict)}</p>{sent(made.prompt)}'


def sent(prompt: str) -> str:
    """The prompt a model was given, behind a fold."""
    return (
        f'<details class="mz-fold"><summary>The prompt as the model read it ({len(prompt):,} characters)</summary>'
        f"<pre>{esc(prompt)}</pre></details>"
    )


def truncated(cut: Truncation, text: str) -> str:
    """How much of a text was read, and the part that was not."""
    tail = text[cut.characters :]
    if not tail:
        return note(str(cut))
    more = f" … and {len(tail) - TAIL:,} more characters" if len(tail) > TAIL else ""
    shown = f'<p class="mz-tail">… {esc(tail[:TAIL])}{more}</p>'
    fold = f'<details class="mz-fold"><summary>What was not read</summary>{shown}</details>'
    return f'<div class="mz-note">{esc(cut)}{fold}</div>'


def absent(families: Sequence[tuple[str, str]]) -> str:
    """The families (title, reason) that a menu does not have: their names, and the reasons behind a fold."""
    names = ", ".join(f"<span>{esc(title)}</span>" for title, _ in families)
    told = (reason if reason.startswith(title) else f"{title}: {reason}" for title, reason in families)
    reasons = "".join(f"<li>{esc(reason)}</li>" for reason in told)
    return (
        f'<details class="mz-fold mz-absent"><summary>Not here: {names} <small>why?</small></summary>'
        f"<ul>{reasons}</ul></details>"
    )


def link(url: str, text: str) -> str:
    """A link that opens beside the page."""
    return f'<a href="{esc(url)}" target="_blank" rel="noopener noreferrer">{esc(text)}</a>'


def note(text: str) -> str:
    """A yellow note."""
    return f'<p class="mz-note">{esc(text)}</p>'


def working(text: str) -> str:
    """What stands there until the first result: a model is fetched or read from disk."""
    return f'<section class="mz-result" role="status"><p class="mz-working">{esc(text)}</p></section>'


def error(message: str, code: str = "") -> str:
    """What went wrong, in words, and what to do."""
    kind = f' data-code="{esc(code)}"' if code else ""
    said = f"<b>That did not work.</b><p>{esc(message)}</p>"
    return f'<section class="mz-result mz-error" role="alert"{kind}>{said}</section>'


def timings(made: Result, saved: bool = False) -> str:
    """Seconds by stage in one line, and tokens a second of generated text."""
    if saved:
        return "Kept from an earlier run of this example; press Run to compute it now."
    words = [f"{stage} {seconds(made.timings[stage])}" for stage in ("load", "tokenize", "forward", "decode")
             if made.timings.get(stage, 0.0) >= 0.00005]  # fmt: skip
    if "total" in made.timings:
        words.append(f"total {seconds(made.timings['total'])}")
    if made.cached:
        words.append("known from an earlier request")
    if made.windows > 1:
        words.append(f"read in {made.windows} windows")
    spent = made.timings.get("forward", 0.0)
    if made.tokens and spent and not made.cached:
        words.append(f"{made.tokens} tokens, {made.tokens / spent:.0f} a second")
    return " · ".join(words)


def megabytes(count: int) -> str:
    """1.2 GB, 50 MB; of bytes, by powers of two as memory is counted."""
    return f"{count / 2**30:.1f} GB" if count >= 2**30 else f"{count / 2**20:.0f} MB"


def seconds(value: float) -> str:
    """1.2 s, 34 ms, 0.4 ms."""
    if value >= 1:
        return f"{value:.1f} s"
    return f"{1000 * value:.0f} ms" if value >= 0.01 else f"{1000 * value:.1f} ms"
