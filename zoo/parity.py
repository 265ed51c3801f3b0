"""Parity with the originals: what the tests under tests/parity measured, kept as data and shown as a table.

`python -m zoo parity` runs those tests; each comparison there of numbers of ours with those of a reference adds to a
row: family, what was compared, reference, how many shapes of models, how many numbers, the largest absolute difference
in float32. parity.json keeps every row; the table has a line for each head of a family, one for its layers, and one for
its tokens.
"""

from __future__ import annotations

import importlib.util
import json
import math
import os
import platform
import subprocess
import sys
import tempfile
from collections.abc import Container, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from zoo import catalog
from zoo.errors import BadData, MissingPackage, Unsupported
from zoo.pages import between_markers

ROOT = Path(__file__).parent.parent
FILE = Path(__file__).with_name("parity.json")
TESTS = "tests/parity"
README = ROOT / "README.md"
BEGIN, END = "<!-- parity: begin -->", "<!-- parity: end -->"
LIMIT = 1e-5  # largest absolute difference that counts as exact in float32
ITSELF = "itself"  # two ways of computing the same with our own code: cached and full, alone and together
FIELDS = ("family", "compared", "reference", "shapes", "numbers", "worst")
LAYERS, TOKENS, OWN = "layers", "token ids and offsets", "its own ways"
HEADS = (
    "lm",
    "masked_lm",
    "next_sentence",
    "classifier",
    "similarity",
    "choice",
    "span",
    "tokens",
    "pooled",
    "features",
)
PARTS = {"token": TOKENS} | {head: head for head in HEADS}  # by the first word of a row; other rows are of the layers

Row = Mapping[str, Any]


@dataclass(frozen=True)
class Line:
    """Several rows in one: `shapes` is the most that one of them tried, `worst` the largest of their differences."""

    family: str
    part: str
    reference: str
    comparisons: int
    shapes: int
    numbers: int
    worst: float

    @property
    def exact(self) -> bool:
        """At or under the limit; NaN is not."""
        return self.worst <= LIMIT


@dataclass(frozen=True)
class Summary:
    """What can be said of a family in one sentence: its worst difference from all references together."""

    worst: float
    references: tuple[str, ...]
    heads: tuple[str, ...]
    shapes: int

    @property
    def exact(self) -> bool:
        """At or under the limit; NaN is not."""
        return self.worst <= LIMIT

    def __str__(self) -> str:
        parts = f"layers, {len(self.heads)} head{'s' * (len(self.heads) != 1)}, {self.shapes} shapes"
        kind = "exact" if self.exact else "not exact"
        return f"{kind}, worst difference {digits(self.worst)} from {' and '.join(self.references)} ({parts})"


def kept() -> dict[str, Any]:
    """Everything `save` kept: date, torch, machine, rows. Empty when nothing was measured yet."""
    return json.loads(FILE.read_text(encoding="utf-8")) if FILE.is_file() else {}


def read() -> list[dict[str, Any]]:
    """The kept rows, each with FIELDS; [] when nothing was measured yet."""
    return list(kept().get("rows", []))


def measure() -> list[dict[str, Any]]:
    """Run the parity tests and return their rows; what pytest says goes to stderr.

    Raises Unsupported without the tests, MissingPackage without what they need, BadData when they fail other than by a
    difference that the rows show.
    """
    if not (ROOT / TESTS).is_dir():
        raise Unsupported(f"There is no {TESTS} beside zoo/. Parity is measured in a clone of the whole repository.")
    missing = [name for name in ("pytest", "transformers") if importlib.util.find_spec(name) is None]
    if missing:
        raise MissingPackage(
            f"Parity is measured against other libraries; {' and '.join(missing)} is not installed. "
            "Run `pip install -r tests/requirements.txt`."
        )
    with tempfile.TemporaryDirectory() as folder:
        target = Path(folder) / "rows.json"
        command = [sys.executable, "-m", "pytest", TESTS, "-p", "no:cacheprovider", "--parity", str(target)]
        code = subprocess.run(command, cwd=ROOT, stdout=2, check=False).returncode
        rows = json.loads(target.read_text(encoding="utf-8")) if target.is_file() else []
    if not rows or (code and not over(rows)):
        raise BadData(f"The tests in {TESTS} did not pass (pytest's exit code is {code}); what failed is said above.")
    return rows


def over(rows: Iterable[Row]) -> list[Row]:
    """The rows whose worst difference is above the limit, or no number."""
    return [row for row in rows if not row["worst"] <= LIMIT]


def save(rows: Sequence[Row]) -> None:
    """Keep the rows, with the date and what they were measured with."""
    import torch

    facts = {
        "date": datetime.now(UTC).date().isoformat(),
        "torch": torch.__version__,
        "python": platform.python_version(),
        "machine": f"{os.cpu_count()}-core {platform.machine()} processor, float32",
        "references": sorted({row["reference"] for row in rows} - {ITSELF}),
        "limit": LIMIT,
        "rows": [{name: row[name] for name in FIELDS} for row in rows],
    }
    FILE.write_text(json.dumps(facts, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def lines(rows: Iterable[Row]) -> list[Line]:
    """The rows by family, part and reference, in the order of the catalog; those of a family with itself as one."""
    order = [family.name for family in catalog.FAMILIES]
    groups: dict[tuple[str, str, str], list[Row]] = {}
    for row in rows:
        part = OWN if row["reference"] == ITSELF else part_of(row["compared"])
        groups.setdefault((row["family"], part, row["reference"]), []).append(row)
    places = (TOKENS, LAYERS, *HEADS, OWN)

    def place(key: tuple[str, str, str]) -> tuple[Any, ...]:
        family, part, reference = key
        known = order.index(family) if family in order else len(order)
        return known, family, places.index(part), reference

    return [
        Line(
            family,
            part,
            reference,
            len(groups[key]),
            max(row["shapes"] for row in groups[key]),
            sum(row["numbers"] for row in groups[key]),
            _worst(groups[key]),
        )
        for key in sorted(groups, key=place)
        for family, part, reference in (key,)
    ]


def part_of(compared: str) -> str:
    """What a row is about: a head, the tokens, or the layers."""
    return PARTS.get(compared.partition(" ")[0], LAYERS)


def summary(family: str, rows: Iterable[Row]) -> Summary | None:
    """One family against all of its references; None when nothing of it was compared with one."""
    mine = [row for row in rows if row["family"] == family and row["reference"] != ITSELF]
    if not mine:
        return None
    heads = {part_of(row["compared"]) for row in mine}
    return Summary(
        _worst(mine),
        tuple(sorted({row["reference"] for row in mine})),
        tuple(head for head in HEADS if head in heads),
        max((row["shapes"] for row in mine if part_of(row["compared"]) != TOKENS), default=0),
    )


def overall(rows: Sequence[Row]) -> str:
    """All families in one sentence."""
    families = len({row["family"] for row in rows})
    return (
        f"{families} families, {len(rows)} comparisons of {count(sum(row['numbers'] for row in rows))} numbers, "
        f"worst difference {digits(_worst(rows))}, allowed {LIMIT:.0e}."
    )


def table(rows: Sequence[Row]) -> str:
    """The lines as Markdown: one for each head of a family and reference, the family named once."""
    titles = {family.name: family.title for family in catalog.FAMILIES}
    cells = [["family", "part", "comparisons", "shapes", "numbers", "worst difference", "reference"]]
    last = ""
    for line in lines(rows):
        name = titles.get(line.family, line.family) if line.family != last else ""
        last = line.family
        figures = str(line.comparisons), str(line.shapes), count(line.numbers), digits(line.worst)
        cells.append([name, line.part, *figures, line.reference])
    return "\n".join([*aligned(cells, right=range(2, 6)), "", overall(rows)])


def aligned(cells: Sequence[Sequence[str]], right: Container[int]) -> list[str]:
    """A Markdown table whose columns are as wide as their longest cell, so that a terminal shows it well, too."""
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    made = [
        [row[i].rjust(width) if i in right else row[i].ljust(width) for i, width in enumerate(widths)] for row in cells
    ]
    rule = ["-" * (width - 1) + (":" if i in right else "-") for i, width in enumerate(widths)]
    return ["| " + " | ".join(row) + " |" for row in (made[0], rule, *made[1:])]


def measured(facts: Mapping[str, Any]) -> str:
    """When and with what the kept rows were measured."""
    return f"Measured {facts['date']} with torch {facts['torch']} on a {facts['machine']}."


def page() -> str:
    """README.md as it should read."""
    text = f"{table(read())} {measured(kept())}"
    return between_markers(README.read_text(encoding="utf-8"), text, BEGIN, END)


def write_page() -> None:
    """Write the kept table into README.md."""
    README.write_text(page(), encoding="utf-8")


def count(value: int) -> str:
    """950, 12 k, 3.4 M."""
    if value >= 1_000_000:
        return f"{value / 1e6:.1f} M"
    return f"{value / 1e3:.0f} k" if value >= 1_000 else str(value)


def digits(difference: float) -> str:
    """4.8e-06, or 0."""
    return f"{difference:.1e}" if difference else "0"


def _worst(rows: Iterable[Row]) -> float:
    """The largest difference; NaN is larger than any."""
    return max((float(row["worst"]) for row in rows), key=lambda worst: math.inf if math.isnan(worst) else worst)
