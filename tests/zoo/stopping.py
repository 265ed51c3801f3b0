"""Stopping a recipe in the middle, as a kill would, and comparing what came of two runs."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

import zoo
from zoo.training import loop


class Killed(Exception):
    """What a run is stopped by."""


def kill(patch: pytest.MonkeyPatch, module: object, name: str, calls: int) -> None:
    """Let a function raise in its nth call, as a kill would, with a snapshot after every step."""
    plan, real, done = loop.Plan, getattr(module, name), iter(range(10**6))

    def dying(*given: object, **more: object) -> object:
        if next(done) == calls:
            raise Killed
        return real(*given, **more)

    patch.setattr(module, name, dying)
    patch.setattr(loop, "Plan", lambda *given, **more: plan(*given, **more, snapshot_seconds=0))


def same_weights(one: Path, other: Path) -> None:
    """Assert that two runs ended in the same checkpoint, to the last bit."""
    first, second = (zoo.load(folder / "checkpoint-float32").network.state_dict() for folder in (one, other))
    assert first.keys() == second.keys()
    for name, value in first.items():
        assert torch.equal(value, second[name]), name
