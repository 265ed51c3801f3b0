"""Parity with the originals: the judge of every comparison, and the table a run ends with."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

os.environ.setdefault("HF_HUB_OFFLINE", "1")  # read when transformers is imported
os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")

import pytest
import torch
import transformers
from torch import Tensor

from zoo.layers import relative

LIMIT = 1e-5
REFERENCE = f"transformers {transformers.__version__}"
ITSELF = "itself"  # two ways of computing the same with our own code
Key = tuple[str, str, str]  # family, what was compared, reference


@dataclass
class Seen:
    """All comparisons of one row of the table."""

    worst: float = 0.0
    numbers: int = 0
    shapes: set[str] = field(default_factory=set)


LEDGER = pytest.StashKey[dict[Key, Seen]]()


class Parity:
    """Compares tensors and remembers the largest absolute difference of each row.

    A name is the family and what is compared, as in "gpt2 lm"; `shape` is the model of the running test.
    """

    def __init__(self, ledger: dict[Key, Seen]) -> None:
        self.ledger = ledger
        self.shape = ""

    def __call__(
        self, name: str, ours: Tensor, theirs: Tensor, limit: float = LIMIT, reference: str = REFERENCE
    ) -> None:
        """Assert that `ours` is `theirs` to `limit`; shapes must agree, NaN never passes."""
        assert ours.shape == theirs.shape, f"{name}: shape {list(ours.shape)}, the reference has {list(theirs.shape)}"
        assert ours.numel(), f"{name}: nothing to compare"
        family, _, what = name.partition(" ")
        seen = self.ledger.setdefault((family, what, reference), Seen())
        difference = float((ours.double() - theirs.double()).abs().max())
        if not difference <= seen.worst:  # NaN, too
            seen.worst = difference
        seen.numbers += ours.numel()
        seen.shapes.add(self.shape)
        assert difference <= limit, f"{name}: largest difference {difference:.1e}, allowed is {limit:.0e}"


@pytest.fixture(scope="session")
def ledger(request: pytest.FixtureRequest) -> dict[Key, Seen]:
    """What the judge saw in the whole run."""
    return request.config.stash.setdefault(LEDGER, {})


@pytest.fixture
def parity(request: pytest.FixtureRequest, ledger: dict[Key, Seen]) -> Parity:
    """The judge. Models of different shapes are told apart by the parameter `shape` of a test, else by its name."""
    judge = Parity(ledger)
    values = getattr(getattr(request.node, "callspec", None), "params", {})
    judge.shape = str(values.get("shape", request.node.originalname))
    return judge


@pytest.fixture(autouse=True)
def no_gradients() -> Iterator[None]:
    """Parity is about answers, not about training."""
    with torch.no_grad():
        yield


def pytest_addoption(parser: pytest.Parser) -> None:
    """`--parity FILE` writes the table as JSON, for `python -m zoo parity`."""
    parser.addoption("--parity", type=Path, metavar="FILE", help="write the parity table to this JSON file")


def rows(ledger: dict[Key, Seen]) -> list[dict[str, object]]:
    """The table: one row for each family, what was compared, and reference."""
    return [
        {
            "family": family,
            "compared": what,
            "reference": reference,
            "shapes": len(seen.shapes),
            "numbers": seen.numbers,
            "worst": seen.worst,
        }
        for (family, what, reference), seen in sorted(ledger.items())
    ]


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """One line for each row; the same as JSON where --parity names a file."""
    table = rows(config.stash.get(LEDGER, {}))
    for row in table:
        terminalreporter.write_line(
            f"parity: {row['family']} {row['compared']} | {row['reference']} | {row['shapes']} shapes | "
            f"{row['worst']:.1e}"
        )
    target = config.getoption("--parity", default=None)
    if target is not None:
        target.write_text(json.dumps(table, indent=2) + "\n", encoding="utf-8")


@pytest.fixture
def small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    """XLNet's tokens ask in blocks, of which a short text has several, too."""
    monkeypatch.setattr(relative, "BLOCK", 5)
