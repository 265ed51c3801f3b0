"""The recipes by name. Each takes a Run, trains, and writes a checkpoint in Hub layout below the run's folder."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path


@dataclass(frozen=True)
class Run:
    """One call of a recipe. `scale` is the part of the recipe's steps to do; `tiny` asks for a network and a
    vocabulary so small that the whole recipe can be tried in a minute."""

    data: Path
    out: Path
    seed: int = 0
    resume: bool = False
    device: str = "cpu"
    scale: float = 1.0
    start: Path | None = None  # the folder of the checkpoint to go on from
    tiny: bool = False
    source: str = ""  # what that checkpoint was called: a catalog name, a Hub repository, a folder
    dev: Path | None = None  # rows to watch a run by, where the recipe takes a file of the user's
    soft: Path | None = None  # a folder of the recipe soft-labels, to learn from a teacher too
    only: str = ""  # the head to teach, where the recipe teaches one
    command: str = ""  # as it was typed, for the card

    @property
    def checkpoint(self) -> Path:
        """Where the finished checkpoint goes."""
        return self.out / "checkpoint"


@dataclass(frozen=True)
class Recipe:
    """Where a recipe's code is, imported when it is run, and what it does in a line.

    `needs` are folders below --data; empty for a recipe that reads one file. `family` is that of the checkpoints that
    it can go on from, empty for any.
    """

    module: str
    function: str
    about: str
    family: str = ""
    needs: tuple[str, ...] = ()

    def __call__(self, run: Run) -> dict[str, float]:
        """Run it and return its last scores."""
        work: Callable[[Run], dict[str, float]] = getattr(import_module(f"zoo.training.{self.module}"), self.function)
        return work(run)


TEXT = ("lm",)
TASKS = ("nli", "qa", "classification")

RECIPES: dict[str, Recipe] = {
    "classify": Recipe("own_data", "classify", "fine-tune any checkpoint on your own labelled texts"),
    "nli": Recipe("own_data", "nli", "fine-tune any checkpoint on your own pairs of premise and hypothesis"),
    "qa": Recipe("own_data", "qa", "fine-tune any checkpoint on your own questions, passages and answers"),
    "bert-lm": Recipe("bert_lm", "pretrain", "pretrain a BERT: masked words and next sentences", "bert", TEXT),
    "gpt-lm": Recipe("gpt_lm", "pretrain", "pretrain a GPT-2: the next piece, then TL;DR", "gpt2", TEXT),
    "elmo-lm": Recipe(
        "elmo_lm", "pretrain", "pretrain an ELMo: the next word and the one before, from characters", "elmo", TEXT
    ),
    "ulmfit-lm": Recipe("ulmfit_lm", "pretrain", "pretrain an AWD-LSTM: the next word", "ulmfit", TEXT),
    "xlnet-lm": Recipe("xlnet_lm", "pretrain", "pretrain an XLNet: pieces in random order, two streams", "xlnet", TEXT),
    "bert-mini": Recipe("bert_mini", "train", "fine-tune the MiniLM encoder on four tasks", "bert", TASKS),
    "gpt-mini": Recipe(
        "gpt_mini", "train", "fine-tune gpt-lm on four tasks beside its language model", "gpt2", (*TEXT, *TASKS)
    ),
    "elmo-mini": Recipe("elmo_mini", "train", "train four task networks on a frozen elmo-lm", "elmo", TASKS),
    "ulmfit-mini": Recipe(
        "ulmfit_mini", "train", "fine-tune ulmfit-lm in ULMFiT's stages on four tasks", "ulmfit", TASKS
    ),
    "xlnet-mini": Recipe("xlnet_mini", "train", "fine-tune xlnet-lm on four tasks", "xlnet", TASKS),
    "head": Recipe("one_head", "train", "teach one head of a checkpoint anew, nli or qa, and nothing else", "", TASKS),
    "soft-labels": Recipe("distill", "soft_labels", "write what a teacher says of unlabelled texts", "", TASKS),
}
