"""The family graph: rails of descent as an SVG, a link for each system beside them, and all of it as a list.

Time goes down, a row for each system. From a system that others build on a rail goes down to the youngest of them;
where a child stands, a curve leads from the rail to it. The links are HTML over the drawing, at the same height, so
that names are never scaled down; the panel is a copy of the list's entry, which models.js makes.
"""

from __future__ import annotations

from functools import cache

from tasks.tabs.views import esc, link
from zoo import lineage
from zoo.lineage import SYSTEMS, System

ROW = 28  # height of a row in pixels; also in models.css
RAIL = 11  # from one rail to the next
BEND = 9  # radius of a curve
FIRST = 6  # checkpoints that are shown before the fold
MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
ASK = "Who descends from whom, and by which idea?"
LEGEND = (
    '<p class="mz-legend"><span><svg viewBox="0 0 16 16" aria-hidden="true"><rect class="mz-here" x="2" y="2" '
    'width="12" height="12" rx="3"/></svg> a filled square: built in this zoo</span><span><svg viewBox="0 0 16 16" '
    'aria-hidden="true"><circle class="mz-there" cx="8" cy="8" r="5"/></svg> an empty circle: not built here</span>'
    "<span>time goes down</span></p>"
)
HINT = (
    '<p class="mz-hint">Choose a system: its paper, its idea, what it changed against each parent, its checkpoints and '
    "descendants appear here.</p>"
)


@cache
def places() -> dict[str, int]:
    """The rail of each system, counted from the left.

    A system keeps its rail until its youngest child. It takes over its parent's where that ends with it, else the
    free one that is nearest.
    """
    row = {system.key: i for i, system in enumerate(SYSTEMS)}
    last = {key: max((row[child.key] for child in lineage.children(key)), default=i) for key, i in row.items()}
    rails: dict[str, int] = {}
    for system in SYSTEMS:
        now = row[system.key]
        parents = [parent.key for parent in system.parents]
        ended = [rails[key] for key in parents if last[key] == now]
        taken = {rails[key] for key in rails if last[key] >= now}
        near = rails[parents[0]] if parents else 0
        free = [rail for rail in range(len(taken) + 1) if rail not in taken]
        rails[system.key] = ended[0] if ended else min(free, key=lambda rail: (abs(rail - near), -rail))
    return rails


def width() -> int:
    """Pixels that the rails take."""
    return (max(places().values()) + 1) * RAIL + 8


def drawing() -> str:
    """The rails and marks as an SVG of fixed size; the links beside it say what it shows."""
    rails = places()
    at = {system.key: (RAIL * rails[system.key] + 10, ROW * i + ROW // 2) for i, system in enumerate(SYSTEMS)}
    edges = [
        f'<path data-from="{parent.key}" data-to="{system.key}" d="{_edge(*at[parent.key], *at[system.key])}"/>'
        for system in SYSTEMS
        for parent in system.parents
    ]
    marks = [_mark(system, *at[system.key]) for system in SYSTEMS]
    size = f'width="{width()}" height="{ROW * len(SYSTEMS)}" viewBox="0 0 {width()} {ROW * len(SYSTEMS)}"'
    return f'<svg class="mz-rails" {size} aria-hidden="true" focusable="false">{"".join(edges)}{"".join(marks)}</svg>'


def _edge(x: int, y: int, to_x: int, to_y: int) -> str:
    """Down the parent's rail, and round the corner to the child."""
    if x == to_x:
        return f"M{x} {y}V{to_y}"
    bend = BEND if to_x > x else -BEND
    return f"M{x} {y}V{to_y - BEND}Q{x} {to_y} {x + bend} {to_y}H{to_x}"


def _mark(system: System, x: int, y: int) -> str:
    key = f'data-mark="{esc(system.key)}"'
    if system.built:
        return f'<rect {key} class="mz-here" x="{x - 6}" y="{y - 6}" width="12" height="12" rx="3"/>'
    return f'<circle {key} class="mz-there" cx="{x}" cy="{y}" r="5"/>'


def graph() -> str:
    """The whole view: drawing with links, the empty panel, and the list."""
    links, before = [], ""
    for system in SYSTEMS:
        year, month = system.month[:4], system.month
        shown = f"<b>{year}</b> {_month(month)}" if year != before[:4] else _month(month) if month != before else ""
        here = '<span class="mz-built">in the zoo</span>' if system.built else ""
        new = ' class="mz-year"' if year != before[:4] else ""
        links.append(
            f'<li{new}><span class="mz-month" aria-hidden="true">{shown}</span><a href="#lineage-{esc(system.key)}" '
            f'data-system="{esc(system.key)}" aria-label="{esc(_name(system))}"><span>{esc(system.title)}</span>{here}'
            f'<span class="mz-gist">{esc(system.idea)}</span></a></li>'
        )
        before = month
    entries = "".join(f"<li>{_entry(system)}</li>" for system in SYSTEMS)
    return (
        f'<p class="mz-ask">{ASK}</p>{LEGEND}<div class="mz-lineage" style="--mz-rails:{width()}px">'
        f'<div class="mz-graph">{drawing()}<ol>{"".join(links)}</ol></div>'
        f'<section class="mz-panel" aria-label="The chosen system" data-close="Close">{HINT}</section></div>'
        f'<details class="mz-fold mz-as-list"><summary>The graph as a list</summary><ol>{entries}</ol></details>'
    )


def _name(system: System) -> str:
    """What a screen reader says of a node."""
    built = ", in the zoo" if system.built else ""
    return f"{system.title}, {_date(system)}{built}"


def _entry(system: System) -> str:
    """All that is known of a system; the panel shows the same."""
    badge = '<span class="mz-badge">in the zoo</span>' if system.built else ""
    parents = "".join(
        f"<dt>{_goto(lineage.get(parent.key))}</dt><dd>{esc(parent.change)}</dd>" for parent in system.parents
    )
    changed = f'<h4>What it changed</h4><dl class="mz-changes">{parents}</dl>' if parents else ""
    young = ", ".join(_goto(child) for child in lineage.children(system.key))
    descendants = f'<h4>Descendants</h4><p class="mz-young">{young}</p>' if young else ""
    return (
        f'<article id="lineage-{esc(system.key)}" data-entry="{esc(system.key)}">'
        f'<h3 tabindex="-1">{esc(system.title)}{badge}</h3>'
        f'<p class="mz-cite">{esc(system.authors)}, {_date(system)}: {link(system.url, system.paper)}</p>'
        f"<p>{esc(system.idea)}</p>{changed}{_checkpoints(system)}{descendants}</article>"
    )


def _checkpoints(system: System) -> str:
    """A button for each checkpoint, which opens its card; many of them are folded away."""
    rows = sorted(lineage.checkpoints(system), key=lambda row: not row.embedded)
    if not rows:
        return '<p class="mz-no">No checkpoint in the zoo.</p>'
    buttons = [f'<button type="button" data-open="{esc(row.name)}">{esc(row.name)}</button>' for row in rows]
    more = buttons[FIRST:]
    fold = f"<details><summary>{len(more)} more</summary>{''.join(more)}</details>" if more else ""
    return f'<h4>Checkpoints in the zoo</h4><div class="mz-names">{"".join(buttons[:FIRST])}{fold}</div>'


def _goto(system: System) -> str:
    return f'<a href="#lineage-{esc(system.key)}" data-system="{esc(system.key)}">{esc(system.title)}</a>'


def _month(month: str) -> str:
    return MONTHS[int(month[5:]) - 1]


def _date(system: System) -> str:
    return f"{_month(system.month)} {system.month[:4]}"
