"""Parity with the reference library: the judge of every comparison, and the lines a run ends with."""

from __future__ import annotations

import os
from collections.abc import Iterator

os.environ.setdefault("HF_HUB_OFFLINE", "1")  # read when transformers is imported
os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")

import pytest
import torch
from torch import Tensor

LIMIT = 1e-5
LARGEST = pytest.StashKey[dict[str, float]]()


class Parity:
    """Compares tensors and remembers the largest absolute difference under each name."""

    def __init__(self, largest: dict[str, float]) -> None:
        self.largest = largest

    def __call__(self, name: str, ours: Tensor, theirs: Tensor, limit: float = LIMIT) -> None:
        """Assert that `ours` is `theirs` to `limit`; shapes must agree, NaN never passes."""
        assert ours.shape == theirs.shape, f"{name}: shape {list(ours.shape)}, the reference has {list(theirs.shape)}"
        assert ours.numel(), f"{name}: nothing to compare"
        difference = float((ours.double() - theirs.double()).abs().max())
        if not difference <= self.largest.get(name, 0.0):
            self.largest[name] = difference
        assert difference <= limit, f"{name}: largest difference {difference:.1e}, allowed is {limit:.0e}"


@pytest.fixture(scope="session")
def parity(request: pytest.FixtureRequest) -> Parity:
    """The judge; what it saw is printed when the run ends."""
    return Parity(request.config.stash.setdefault(LARGEST, {}))


@pytest.fixture(autouse=True)
def no_gradients() -> Iterator[None]:
    """Parity is about answers, not about training."""
    with torch.no_grad():
        yield


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """One line for each family and head: the largest difference seen."""
    for name, difference in sorted(config.stash.get(LARGEST, {}).items()):
        terminalreporter.write_line(f"parity: {name} {difference:.1e}")
