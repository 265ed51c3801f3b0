"""HTML of the tab "Batch": how far a run is, what came of it, and its rows. Pure functions, as in `views`."""

from __future__ import annotations

from collections.abc import Sequence

from tasks.batch import Batch, Progress
from tasks.intake import Sheet
from tasks.scoring import Compared, Confusion, Measured, compared, measured, wrong
from tasks.tabs import views
from tasks.tabs.views import esc

MOST_SHOWN = 200  # rows on the page; the files have all
MOST_COLUMNS = 12  # of the visitor's columns on the page
CELL = 160  # characters of a cell on the page
METRICS = {
    "accuracy": "Accuracy",
    "macro_f1": "Macro F1",
    "exact_match": "Exact match",
    "f1": "F1",
    "rouge1": "ROUGE-1",
    "rouge2": "ROUGE-2",
    "rougeL": "ROUGE-L",
}
_UNSEEN = {code: f"[U+{code:04X}]" for code in (0x200E, 0x200F, *range(0x202A, 0x202F), *range(0x2066, 0x206A))}


def plain(value: object, most: int = CELL) -> str:
    """A visitor's text, cut, with the characters that turn the direction of reading named. Not escaped."""
    whole = "" if value is None else str(value)
    short = whole if len(whole) <= most else f"{whole[:most]} …"
    return short.encode("utf-8", "replace").decode("utf-8").translate(_UNSEEN)


def text(value: object, most: int = CELL) -> str:
    """The same, escaped for HTML."""
    return esc(plain(value, most))


def looked(sheet: Sheet) -> str:
    """What was found in the rows, before they are run."""
    gold = f"right answers in <bdi>{text(sheet.gold)}</bdi>" if sheet.gold else "no right answers"
    read = ", ".join(f"<bdi>{text(name)}</bdi>" for name in sheet.fields)
    name = f"<bdi>{text(sheet.name)}</bdi>"
    return f'<p class="mz-found" role="status">{name}: {_rows(len(sheet.rows))}, reads {read}, {gold}.</p>'


def unreadable(message: str) -> str:
    """Why the rows cannot be read, before they are run."""
    return f'<p class="mz-found mz-bad" role="status">{text(message, 2_000)}</p>'


def error(message: str, code: str = "") -> str:
    """A mistake of a visitor, whose names of files and columns stand in the message."""
    kind = f' data-code="{esc(code)}"' if code else ""
    said = f"<b>That did not work.</b><p>{text(message, 2_000)}</p>"
    return f'<section class="mz-result mz-error" role="alert"{kind}>{said}</section>'


def progress(step: Progress, rows: int) -> str:
    """Rows done of all, how fast, and how long it will take."""
    words = [f"{step.rows:,} of {_rows(rows)}", f"{_number(step.rate)} rows a second"]
    if step.left is not None:
        words.append(f"{duration(step.left)} left")
    share = 100 * step.done / max(1, step.of)
    return (
        f'<section class="mz-result mz-progress"><p class="mz-source">{text(step.model)}</p>'
        f'<p class="mz-working">{" · ".join(words)}</p>'
        f'<span class="mz-track" role="progressbar" aria-valuenow="{share:.0f}" aria-valuemin="0" aria-valuemax="100" '
        f'aria-label="Progress"><i style="width:{share:.1f}%"></i></span></section>'
    )


def report(batch: Batch, seconds: float, stopped: bool) -> str:
    """What came of a run: how many rows, how good each model is, where models differ."""
    rows, count = _rows(len(batch.sheet.rows)), len(batch.models) - len(batch.failed)
    said = f"{count} model{'s' * (count != 1)} answered {rows}."
    if stopped or batch.rows < len(batch.sheet.rows):
        said = f"{'Stopped: ' if stopped else ''}{batch.rows:,} of {rows} are answered."
    parts = [f'<p class="mz-source"><bdi>{text(batch.sheet.name)}</bdi></p>', f'<p class="mz-verdict">{said}</p>']
    parts += [_note(f"{name}: {why}") for name, why in batch.failed.items()]
    for one in batch.models:
        if bad := sum(bool(answer.error) for answer in batch.answers[one.name]):
            parts.append(_note(f"{one.name} could not answer {_rows(bad)}; each says why."))
    parts.append(_measures(batch, measured(batch)))
    parts += [_pair(one) for one in compared(batch)]
    parts.append(f'<p class="mz-time">{duration(seconds)} of answering</p>')
    return f'<section class="mz-result" role="status">{"".join(parts)}</section>'


def _measures(batch: Batch, made: dict[str, Measured]) -> str:
    """A line for each model that was held against the right answers, then a confusion table behind a fold."""
    made = {name: one for name, one in made.items() if name not in batch.failed}
    known = {name: one for name, one in made.items() if not one.error}
    parts = [_note(f"{name}: {one.error}") for name, one in made.items() if one.error]
    if known:
        metrics = next(iter(known.values())).metrics
        heads = "".join(f'<th scope="col">{METRICS[name]}</th>' for name in metrics)
        lines = "".join(
            f'<tr><th scope="row">{text(name)}</th><td>{one.rows:,}</td>'
            + "".join(f"<td>{value:.1f}</td>" for value in one.metrics.values())
            + "</tr>"
            for name, one in known.items()
        )
        parts.append(
            '<div class="mz-scroll"><table class="mz-measures"><thead><tr><th scope="col">Percent, against '
            f'<bdi>{text(batch.sheet.gold)}</bdi></th><th scope="col">Rows</th>{heads}</tr></thead>'
            f"<tbody>{lines}</tbody></table></div>"
        )
    for name, one in known.items():
        if one.confusion is not None:
            parts.append(_confusion(f"Confusion of {name}", "right", name, one.confusion))
    return "".join(parts)


def _pair(one: Compared) -> str:
    """How often two models differ, and on what."""
    both = f"{text(one.first)} and {text(one.second)}"
    if one.unlike:
        return f'<p class="mz-pair">{both} are not compared: they have different labels.</p>'
    if not one.rows:
        return f'<p class="mz-pair">{both} have no answered row in common.</p>'
    share = f"{len(one.differ):,} of {_rows(one.rows)} ({len(one.differ) / one.rows:.1%})"
    said = f'<p class="mz-pair"><b>{both}</b> differ on {share}.</p>'
    if one.confusion is None:
        return said
    return said + _confusion(f"{one.first} against {one.second}", one.first, one.second, one.confusion)


def _confusion(title: str, there: str, here: str, table: Confusion) -> str:
    """Counts of label by label behind a fold; those on the diagonal are where both agree."""
    heads = "".join(f'<th scope="col">{text(label)}</th>' for label in table.labels)
    lines = "".join(
        f'<tr><th scope="row">{text(label)}</th>'
        + "".join(f"<td{' class=mz-agree' if i == j else ''}>{count:,}</td>" for j, count in enumerate(row))
        + "</tr>"
        for i, (label, row) in enumerate(zip(table.labels, table.counts, strict=True))
    )
    return (
        f'<details class="mz-fold"><summary>{text(title)}</summary><div class="mz-scroll"><table class="mz-confusion">'
        f"<thead><tr><th>{text(there)} ↓ {text(here)} →</th>{heads}</tr></thead><tbody>{lines}</tbody></table></div>"
        "</details>"
    )


def table(batch: Batch) -> str:
    """The rows with their answers: first those on which models differ, then those without an answer or with a wrong
    one, at most MOST_SHOWN."""
    if not batch.rows:
        return ""
    differ = {index for one in compared(batch) for index in one.differ}
    names = [one.name for one in batch.models if batch.answers[one.name]]

    def place(index: int) -> tuple[bool, bool, bool]:
        said = [batch.answer(name, index) for name in names]
        bad = any(answer is not None and answer.error for answer in said)
        return index not in differ, not bad, not any(wrong(batch, name, index) for name in names)

    order = sorted(range(batch.rows), key=place)[:MOST_SHOWN]
    columns = batch.sheet.columns[:MOST_COLUMNS]
    told = []
    if len(order) < batch.rows:
        told.append(f"{len(order)} of {_rows(batch.rows)} are shown; the files have all.")
    if order != sorted(order):
        told.append("First come rows on which models differ, then those without an answer, then wrong ones.")
    if len(columns) < len(batch.sheet.columns):
        told.append(f"{len(batch.sheet.columns) - len(columns)} more columns are in the files.")
    heads = "".join(f'<th scope="col"><bdi>{text(name, 60)}</bdi></th>' for name in (*columns, *names))
    lines = "".join(_line(batch, columns, names, index, index in differ) for index in order)
    said = f'<p class="mz-count">{" ".join(told)}</p>' if told else ""
    return (
        f'{said}<div class="mz-scroll mz-rows" tabindex="0" role="region" aria-label="Rows and answers">'
        f'<table class="mz-batch"><thead><tr><th scope="col">Row</th>{heads}</tr></thead>'
        f"<tbody>{lines}</tbody></table></div>"
    )


def _line(batch: Batch, columns: Sequence[str], names: Sequence[str], index: int, differs: bool) -> str:
    row = batch.sheet.rows[index]
    given = "".join(f'<td><bdi dir="auto">{text(row.get(name))}</bdi></td>' for name in columns)
    said = "".join(_cell(batch, name, index) for name in names)
    mark = "<small>differ</small>" if differs else ""
    return f'<tr{" class=mz-differ" if differs else ""}><th scope="row">{index + 1:,}{mark}</th>{given}{said}</tr>'


def _cell(batch: Batch, name: str, index: int) -> str:
    """An answer with its probability, whether it is wrong, and what was not read."""
    said = batch.answer(name, index)
    if said is None:
        return '<td><i class="mz-none">not asked</i></td>'
    if said.error:
        return f'<td class="mz-failed">{text(said.error)}</td>'
    answer = f'<bdi dir="auto">{text(said.text)}</bdi>' if said.text else '<i class="mz-none">no answer</i>'
    sure = f" <span>{said.probability:.1%}</span>" if said.probability is not None else ""
    false = wrong(batch, name, index)
    more = ("<small>wrong</small>" if false else "") + (f"<small>{text(said.note)}</small>" if said.note else "")
    return f"<td{' class=mz-wrong' if false else ''}>{answer}{sure}{more}</td>"


def duration(seconds: float) -> str:
    """12 s, 3 min 5 s, 2 h 10 min."""
    whole = round(seconds)
    if whole < 60:
        return f"{seconds:.1f} s" if seconds < 10 else f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"


def _note(said: str) -> str:
    return views.note(plain(said, 2_000))


def _rows(count: int) -> str:
    return f"{count:,} row{'s' * (count != 1)}"


def _number(value: float) -> str:
    return f"{value:.0f}" if value >= 10 else f"{value:.1f}"
