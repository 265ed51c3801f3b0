"""Votes that are kept, whoever votes at the same time, and the ranking that they make."""

from __future__ import annotations

import csv
import sqlite3
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tasks.votes import ALIKE, FOLDER, NONE, Vote, Votes, ranking
from zoo.errors import BadParameter


def test_votes_come_back_in_their_order(tmp_path: Path) -> None:
    votes = Votes(tmp_path / "new" / "folder")
    assert votes.all() == [] and not votes.path.parent.exists()
    kept = [
        Vote("nli", ("a", "b"), "a", 5.0),
        Vote("qa", ("a", "b", "c"), ALIKE, 6.0),
        Vote("nli", ("b", "c"), NONE, 7.0),
    ]
    for vote in kept:
        votes.add(vote)
    assert Votes(votes.path.parent).all() == kept
    assert votes.all("nli") == [kept[0], kept[2]]
    with sqlite3.connect(votes.path) as base:
        assert base.execute("PRAGMA journal_mode").fetchone() == ("wal",)


def test_many_vote_at_once(tmp_path: Path) -> None:
    votes = Votes(tmp_path)
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda i: votes.add(Vote("nli", ("a", "b"), "ab"[i % 2])), range(80)))
    assert len(votes.all()) == 80 and all(vote.time > 0 for vote in votes.all())


@pytest.mark.parametrize(
    ("task", "models", "winner"), [("chess", "ab", "a"), ("nli", "ab", "c"), ("nli", "a", "a"), ("nli", "aa", "a")]
)
def test_votes_without_sense_are_refused(tmp_path: Path, task: str, models: str, winner: str) -> None:
    vote = Vote(task, tuple(models), winner)
    with pytest.raises(BadParameter):
        Votes(tmp_path).add(vote)
    assert Votes(tmp_path).all() == []


def test_the_data_folder_can_be_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(FOLDER, str(tmp_path / "elsewhere"))
    assert Votes().path == tmp_path / "elsewhere" / "votes.sqlite"


def test_export(tmp_path: Path) -> None:
    votes = Votes(tmp_path)
    votes.add(Vote("nli", ("a", "b"), "a", 5.0))
    votes.export(tmp_path / "votes.csv")
    with (tmp_path / "votes.csv").open(encoding="utf-8", newline="") as file:
        assert list(csv.reader(file)) == [["time", "task", "models", "winner"], ["5", "nli", "a b", "a"]]


def test_the_ranking_follows_the_votes_and_knows_how_little_it_knows() -> None:
    duels = {("a", "b"): 6, ("b", "a"): 2, ("b", "c"): 3, ("c", "b"): 1}
    few = [Vote("nli", (winner, loser), winner) for (winner, loser), times in duels.items() for _ in range(times)]
    first, second, third = ranking(few)
    assert [first.model, second.model, third.model] == ["a", "b", "c"]
    assert [first.votes, second.votes, third.votes] == [8, 12, 4]
    assert all(one.low < one.mean < one.high for one in (first, second, third))
    many = ranking(few * 20)
    assert many[0].high - many[0].low < (first.high - first.low) / 2


def test_ties_and_refusals() -> None:
    assert ranking([]) == [] == ranking([Vote("nli", ("a", "b"), NONE)])
    one, other = ranking([Vote("nli", ("a", "b"), ALIKE)] * 5)
    assert one.mean == pytest.approx(0, abs=1e-6) and other.mean == pytest.approx(0, abs=1e-6)


def test_the_best_of_three_beats_both() -> None:
    best, *rest = ranking([Vote("nli", ("a", "b", "c"), "c")] * 4)
    assert best.model == "c" and rest[0].mean == pytest.approx(rest[1].mean, abs=1e-3)
