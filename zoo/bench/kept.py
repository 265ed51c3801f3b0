"""`python -m zoo bench verdicts`: the runs of `bench all` that docs/aims keeps, a file for each machine, side by side,
as README.md shows them.

    python -m zoo bench all --aims docs/aims/AMD-EPYC.csv   # measures, and adds a run
    python -m zoo bench verdicts --save                     # writes the table into README.md
"""

from __future__ import annotations

import re
import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path

from zoo.bench import aims
from zoo.bench.aims import Verdict
from zoo.errors import BadData
from zoo.pages import between_markers

ROOT = Path(__file__).resolve().parents[2]
README, FOLDER = ROOT / "README.md", ROOT / "docs" / "aims"
BEGIN, END = "<!-- verdicts: begin -->", "<!-- verdicts: end -->"

Runs = Sequence[Sequence[Verdict]]  # the oldest first


def machines() -> dict[str, Runs]:
    """What is kept, by the names of the machines: those of the files. Raises BadData."""
    kept = {path.stem.replace("-", " "): list(aims.read(path).values()) for path in sorted(FOLDER.glob("*.csv"))}
    if not any(kept.values()):
        file = FOLDER / "NAME.csv"
        raise BadData(f"{FOLDER} has no runs of bench all. Add one: python -m zoo bench all --aims {file}")
    return {name: runs for name, runs in kept.items() if runs}


def table(kept: Mapping[str, Runs]) -> str:
    """Markdown: of every aim the mean of what each machine's runs have found, from where to where, and the verdict."""
    heads = [f"{name}, {len(runs)} run{'s' * (len(runs) > 1)} | reached" for name, runs in kept.items()]
    lines = [f"| work | peer | aim | {' | '.join(heads)} |", "|---|---|---|" + "---:|---|" * len(kept)]
    off = {name: aims.noise(runs) for name, runs in kept.items()}
    newest = [row for runs in kept.values() for row in runs[-1]]
    for work, peer, aim in dict.fromkeys(row.key for row in newest):
        cells = [work, peer, aim]
        for name, runs in kept.items():
            same = [row for rows in runs for row in rows if row.key == (work, peer, aim)]
            cells += [span([row.found for row in same]), aims.reached(same, off[name])]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def span(found: Sequence[str]) -> str:
    """Of figures as they were printed, what is said beside them left out, the mean, and from where to where they went;
    - where there is none."""
    figures = [(match[1], match[2]) for one in found if (match := re.match(r"(\d+(?:\.\d+)?)(%?)", one))]
    if not figures:
        return aims.NOT_MEASURED
    texts, (unit, *_) = [text for text, _ in figures], [unit for _, unit in figures]
    after = len(texts[0].partition(".")[2])
    if len(texts) == 1:
        return texts[0] + unit
    mean = statistics.fmean(map(float, texts))
    return f"{mean:.{after}f}{unit} ({min(texts, key=float)} to {max(texts, key=float)})"


def page() -> str:
    """README.md as it should read."""
    return between_markers(README.read_text(encoding="utf-8"), table(machines()), BEGIN, END)


def write_page() -> None:
    """Write the table into README.md."""
    README.write_text(page(), encoding="utf-8")
