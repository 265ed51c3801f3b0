"""The leaderboard: every figure of results.csv beside its baselines, with its interval, its time and its size.

A section for each data set and metric; models.js shows the one that is chosen above them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache
from itertools import groupby

from tasks import figures
from tasks.figures import BASELINE, Figure
from tasks.tabs.plot import Point, scatter
from tasks.tabs.views import esc
from zoo import catalog

TASKS = {
    "topic": "Topic",
    "sentiment": "Sentiment",
    "nli": "Inference",
    "qa": "Question answering",
    "summary": "Summaries",
    "language": "Language modelling",
}
LOSSES = frozenset({"bits_per_byte"})  # less is better
ASK = "How good, how fast, how large: on rows that no model was trained on, beside the simplest methods."
NOTE = (
    "In brackets 95 % intervals over the rows. Milliseconds are the median of single texts, measured on the machine "
    "that is named; a dash means that there is nothing to measure. Circles are models, squares are baselines, and "
    "their numbers are places in the table."
)


@cache
def board() -> str:
    """The whole view out of results.csv; a sentence when nothing was measured."""
    return show(figures.read())


def show(rows: Sequence[Figure]) -> str:
    """The choice, and a section for each data set and metric in the order of the rows."""
    if not rows:
        return '<p class="mz-ask">Nothing was measured yet: run <code>python -m tasks eval --all</code>.</p>'
    cells: dict[tuple[str, str, str], list[Figure]] = {}
    for row in rows:
        cells.setdefault((row.task, row.data, row.metric), []).append(row)
    order = {task: place for place, task in enumerate(TASKS)}
    keys = sorted(cells, key=lambda key: order.get(key[0], len(order)))  # stable: data stay in the order of the file
    groups = "".join(
        f'<optgroup label="{esc(TASKS.get(task, task))}">'
        + "".join(f'<option value="{esc("|".join(key))}">{esc(_data(cells[key][0]))}</option>' for key in of)
        + "</optgroup>"
        for task, of in groupby(keys, key=lambda key: key[0])
    )
    sections = "".join(_section("|".join(key), cells[key], hidden=key != keys[0]) for key in keys)
    return (
        f'<p class="mz-ask">{ASK}</p><div class="mz-filter"><label>Data and measure'
        f'<select data-board>{groups}<option value="">all of them</option></select></label></div>'
        f'{sections}<p class="mz-source">{NOTE}</p>'
    )


def _data(row: Figure) -> str:
    return f"{row.data}, {row.name}"


def _section(key: str, rows: Sequence[Figure], hidden: bool) -> str:
    """One table, best first, with its plots and where the figures come from."""
    falling = rows[0].metric in LOSSES
    ranked = sorted(rows, key=lambda row: row.value if falling else -row.value)
    heads = (
        '<th scope="col">#</th><th scope="col">Model</th>'
        f'<th scope="col">{esc(rows[0].name)}</th><th scope="col">ms a text</th><th scope="col">MB</th>'
    )
    body = "".join(_row(i, row) for i, row in enumerate(ranked, 1))
    count = f"{rows[0].rows:,} rows" + (", less is better" if falling else "")
    off = " hidden" if hidden else ""
    return (
        f'<section class="mz-board" data-cell="{esc(key)}"{off}><h3>{esc(TASKS.get(rows[0].task, rows[0].task))}: '
        f"{esc(_data(rows[0]))} <small>{count}</small></h3>{_plots(ranked, falling)}"
        f'<div class="mz-scroll"><table><thead><tr>{heads}</tr></thead><tbody>{body}</tbody></table></div>'
        f"<p>{esc(_above(ranked))}</p>{_origin(ranked)}</section>"
    )


def _row(place: int, row: Figure) -> str:
    digits = 4 if row.metric in LOSSES else 2
    between = f" <small>({row.low:.{digits}f} to {row.high:.{digits}f})</small>" if row.low != row.high else ""
    name = f'<th scope="row">{esc(_bare(row))}<small>{esc(_kind(row))}</small></th>'
    return (
        f"<tr><td>{place}</td>{name}<td data-value><b>{row.value:.{digits}f}</b>{between}</td>"
        f"<td data-time>{_or_dash(row.milliseconds, 'ms')}</td><td data-size>{_or_dash(row.megabytes, 'MB')}</td></tr>"
    )


def _or_dash(value: float, unit: str) -> str:
    """0 stands for what was not measured, or takes no room."""
    return f"{value:g}" if value else f'<span aria-label="no {unit}">–</span>'


def _bare(row: Figure) -> str:
    return row.model.removeprefix(BASELINE)


def _kind(row: Figure) -> str:
    known = next((family.title for family in catalog.FAMILIES if family.name == row.family), row.family)
    return "baseline" if row.baseline else known


def _above(ranked: Sequence[Figure]) -> str:
    """Which models beat the best baseline outside of both intervals."""
    best = next((row for row in ranked if row.baseline), None)
    if best is None:
        return "No baseline was measured on these rows."
    above = [row.model for row in ranked if not row.baseline and row.better_than(best)]
    if not above:
        return f"No model is better than the best baseline ({_bare(best)}) beyond chance."
    return f"Better than the best baseline ({_bare(best)}) beyond chance: {', '.join(above)}."


def _plots(ranked: Sequence[Figure], falling: bool) -> str:
    """Quality against time and against size, where at least two rows have them."""
    costs: tuple[tuple[str, Callable[[Figure], float]], ...] = (
        ("milliseconds a text", lambda row: row.milliseconds),
        ("millions of parameters", lambda row: row.parameters / 1e6),
    )
    shown = []
    for label, cost in costs:
        points = [
            Point(place, _bare(row), cost(row), row.value, row.low, row.high, row.baseline)
            for place, row in enumerate(ranked, 1)
            if cost(row)
        ]
        if len(points) > 1:
            shown.append(scatter(points, label, ranked[0].name, falling))
    return f'<div class="mz-plots">{"".join(shown)}</div>' if shown else ""


def _origin(ranked: Sequence[Figure]) -> str:
    """The command, date, machine and revision behind each row."""
    lines: dict[tuple[str, str, str], list[str]] = {}
    for row in ranked:
        lines.setdefault((row.command, row.date, row.machine), []).append(_bare(row))
    told = "".join(
        f"<li>{esc('; '.join(names))}: {esc(date)}, {esc(machine)}, <code>{esc(command)}</code></li>"
        for (command, date, machine), names in lines.items()
    )
    return f'<ul class="mz-origin" aria-label="Where the figures come from">{told}</ul>'
