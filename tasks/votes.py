"""Votes of visitors who compared models without knowing their names, and the ranking that comes of them.

One SQLite file in write-ahead mode, so that many visitors may vote at once and a crash loses nothing. No text is kept:
a vote says which models stood side by side, and which was the best.
"""

from __future__ import annotations

import csv
import os
import sqlite3
import time
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from tasks import TASKS
from zoo.errors import BadParameter

FOLDER = "ZOO_DATA"  # the variable that names the data folder; `data` in the working folder without it
FILE = "votes.sqlite"
ALIKE, NONE = "alike", "none"  # instead of a model: all are as good, or none is good
PRIOR = 0.1  # inverse variance of a model's strength before any vote
NORMAL_95 = 1.96
_TABLE = """CREATE TABLE IF NOT EXISTS votes (
    id INTEGER PRIMARY KEY, time REAL NOT NULL, task TEXT NOT NULL, models TEXT NOT NULL, winner TEXT NOT NULL)"""


@dataclass(frozen=True)
class Vote:
    """Which models stood side by side in a task, and the best one, or ALIKE or NONE. `time` is seconds since 1970."""

    task: str
    models: tuple[str, ...]
    winner: str
    time: float = 0.0

    def checked(self) -> Vote:
        """Itself. Raises BadParameter where it makes no sense."""
        if self.task not in TASKS:
            raise BadParameter(f"{self.task!r} is no task; choose from {', '.join(TASKS)}.")
        if len(set(self.models)) < 2 or self.winner not in (*self.models, ALIKE, NONE):
            raise BadParameter(f"{self.winner!r} does not stand among {', '.join(self.models) or 'no models'}.")
        return self


@dataclass(frozen=True)
class Strength:
    """A model's strength on the scale of Bradley and Terry (1952), 0 in the middle, with a 95 % interval."""

    model: str
    mean: float
    low: float
    high: float
    votes: int


class Votes:
    """The file of votes. Safe to use from many threads and processes."""

    def __init__(self, folder: Path | None = None) -> None:
        """`folder` is the data folder, made when the first vote comes."""
        self.path = (folder or Path(os.environ.get(FOLDER, "data"))) / FILE

    def add(self, vote: Vote) -> Vote:
        """Keep a vote, and return it with its time. Raises BadParameter where it makes no sense."""
        vote = replace(vote.checked(), time=vote.time or time.time())
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with self._open() as base:
            row = (vote.time, vote.task, "\n".join(vote.models), vote.winner)
            base.execute("INSERT INTO votes (time, task, models, winner) VALUES (?, ?, ?, ?)", row)
        return vote

    def all(self, task: str | None = None) -> list[Vote]:
        """Every vote in the order in which they came, or those on one task."""
        if not self.path.is_file():
            return []
        with self._open() as base:
            rows = base.execute("SELECT task, models, winner, time FROM votes ORDER BY id").fetchall()
        made = [Vote(kind, tuple(models.split("\n")), winner, when) for kind, models, winner, when in rows]
        return [vote for vote in made if task in (None, vote.task)]

    def export(self, path: Path) -> None:
        """All votes as CSV: time, task, models, winner."""
        with path.open("w", encoding="utf-8", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(("time", "task", "models", "winner"))
            for vote in self.all():
                writer.writerow((f"{vote.time:.0f}", vote.task, " ".join(vote.models), vote.winner))

    @contextmanager
    def _open(self) -> Iterator[sqlite3.Connection]:
        with closing(sqlite3.connect(self.path, timeout=10)) as base, base:
            base.execute("PRAGMA journal_mode = WAL")
            base.execute(_TABLE)
            yield base


def ranking(votes: Sequence[Vote]) -> list[Strength]:
    """Models by their strength, best first, from votes on one task.

    The winner beats each of the others; where all are alike each beats each once, and where none is good nobody wins.
    Strengths and intervals are the posterior of choix's expectation propagation (Maystre; Chu & Ghahramani 2005).
    """
    import choix
    import numpy as np

    counted = [vote for vote in votes if vote.winner != NONE]
    names = sorted({name for vote in counted for name in vote.models})
    if not names:
        return []
    index = {name: i for i, name in enumerate(names)}
    pairs: list[tuple[int, int]] = []
    for vote in counted:
        winners = vote.models if vote.winner == ALIKE else (vote.winner,)
        pairs += [(index[one], index[other]) for one in winners for other in vote.models if one != other]
    mean, covariance = choix.ep_pairwise(len(names), pairs, PRIOR)
    centred = np.eye(len(names)) - 1 / len(names)  # votes say nothing of where the middle is, so it is taken out
    mean = centred @ mean
    spread = NORMAL_95 * np.sqrt(np.diag(centred @ covariance @ centred.T))
    made = [
        Strength(name, float(mean[i]), float(mean[i] - spread[i]), float(mean[i] + spread[i]),
                 sum(name in vote.models for vote in counted))
        for name, i in index.items()
    ]  # fmt: skip
    return sorted(made, key=lambda one: -one.mean)
