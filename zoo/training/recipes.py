"""The recipes by name. Each takes a Run, trains, and writes a checkpoint in Hub layout below the run's folder."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Run:
    """One call of a recipe. `scale` is the part of the recipe's steps to do."""

    data: Path
    out: Path
    seed: int = 0
    resume: bool = False
    device: str = "cpu"
    scale: float = 1.0

    @property
    def checkpoint(self) -> Path:
        """Where the finished checkpoint goes."""
        return self.out / "checkpoint"


def bert_mini(run: Run) -> dict[str, float]:
    """Fine-tune the MiniLM encoder on four tasks."""
    from zoo.training import bert_mini

    return bert_mini.train(run)


def gpt_mini(run: Run) -> dict[str, float]:
    """Pretrain a small GPT-2 and teach it TL;DR."""
    from zoo.training import gpt_mini

    return gpt_mini.train(run)


RECIPES: dict[str, Callable[[Run], dict[str, float]]] = {"bert-mini": bert_mini, "gpt-mini": gpt_mini}
