"""A small run that kills itself, as hard as a process can be killed: python kill_case.py OUT MOMENT."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from zoo.training import loop

STEPS, KILLED_AT = 24, 17
MOMENTS = ("in a step", "while a snapshot is written", "before it takes its place", "after it took its place")


def train(out: Path, resume: bool = False) -> nn.Module:
    """A run with all that a snapshot has to hold: dropout, momentum, buffers, early stopping, the best weights."""
    torch.set_num_threads(1)  # the same in the process that is killed and in the one that goes on
    torch.manual_seed(5)
    network = nn.Sequential(nn.Linear(8, 16), nn.BatchNorm1d(16), nn.Dropout(0.3), nn.Linear(16, 1))
    optimizers = loop.optimizers_for(network, 1e-2, 0.01)

    def loss_of(step: int) -> tuple[Tensor, str, int]:
        if step == KILLED_AT and os.environ.get("KILL") == MOMENTS[0]:
            die()
        x = torch.randn(4, 8, generator=torch.Generator().manual_seed(step))
        return (network(x) - x.sum(1, keepdim=True)).square().mean(), "loss", 4

    def evaluate() -> dict[str, float]:
        return {"closeness to step 12": -abs(float(network[1].num_batches_tracked) - 12)}

    plan = loop.Plan(loop.Schedule(STEPS), out, evaluate_every=3, snapshot_seconds=0, patience=100, keep="best")
    loop.run(network, loss_of, optimizers, plan, evaluate, resume)
    return network


def die() -> None:
    """Leave at once, without any cleaning up."""
    os.kill(os.getpid(), signal.SIGKILL)


def at(moment: str) -> None:
    """Make the process die at that moment of the snapshot after step KILLED_AT."""
    whole, replaced = torch.save, Path.replace

    def save(state: dict[str, Any], path: Path) -> None:
        whole(state, path)
        if moment == MOMENTS[1] and state["progress"]["step"] == KILLED_AT:
            path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
            die()

    def replace(self: Path, target: Path) -> Path:
        mine = target.name == "snapshot.pt" and torch.load(self, weights_only=True)["progress"]["step"] == KILLED_AT
        if mine and moment == MOMENTS[2]:
            die()
        made = replaced(self, target)
        if mine and moment == MOMENTS[3]:
            die()
        return made

    torch.save, Path.replace = save, replace  # type: ignore[assignment, method-assign]


if __name__ == "__main__":
    os.environ["KILL"] = sys.argv[2]
    at(sys.argv[2])
    train(Path(sys.argv[1]))
