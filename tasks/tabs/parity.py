"""How exact the families are, out of zoo/parity.json: a sentence for each, and the whole table behind a fold."""

from __future__ import annotations

from functools import cache

from tasks.tabs.views import esc
from zoo import catalog, parity


@cache
def parity_of(family: str) -> str:
    """'exact, worst difference 4.8e-06 from transformers 5.23.0 (...)'; empty when nothing was measured."""
    found = parity.summary(family, parity.read())
    return str(found) if found is not None else ""


def parity_table() -> str:
    """The table of `python -m zoo parity`, closed, with its last line as the summary."""
    rows = parity.read()
    if not rows:
        return ""
    titles = {family.name: family.title for family in catalog.FAMILIES}
    body, last = [], ""
    for line in parity.lines(rows):
        if line.family != last:
            title = esc(titles.get(line.family, line.family))
            body.append(f'<tr><th scope="rowgroup" colspan="6">{title}</th></tr>')
        last = line.family
        part = esc(line.part.replace("_", " "))
        body.append(
            f'<tr><td>{part}</td><td class="mz-wide">{line.comparisons}</td>'
            f'<td class="mz-wide">{line.shapes}</td><td class="mz-wide">{parity.count(line.numbers)}</td>'
            f"<td>{parity.digits(line.worst)}</td><td>{esc(line.reference)}</td></tr>"
        )
    heads = "".join(
        f'<th scope="col"{kind}>{name}</th>'
        for name, kind in (
            ("Part", ""),
            ("Comparisons", ' class="mz-wide"'),
            ("Shapes", ' class="mz-wide"'),
            ("Numbers", ' class="mz-wide"'),
            ("Worst difference", ""),
            ("Reference", ""),
        )
    )
    return (
        f'<details class="mz-fold mz-parity"><summary><b>Parity with the originals.</b> {esc(parity.overall(rows))}'
        f'</summary><div class="mz-scroll"><table><thead><tr>{heads}</tr></thead><tbody>{"".join(body)}</tbody></table>'
        f"</div><p>{esc(parity.measured(parity.kept()))} The same with <code>python -m zoo parity</code>; every "
        "comparison is in <code>zoo/parity.json</code>.</p></details>"
    )
