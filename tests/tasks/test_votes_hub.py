"""Votes that are pushed to a Hub on loopback by the Hub's own library, and read back after the disk was emptied."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tasks import votes_hub
from tasks.votes import Vote, Votes
from tasks.votes_hub import REPOSITORY, Keeper, keep
from tests.hub_server import HubServer

NAME = "owner/votes"
FIRST = Vote("nli", ("a", "b"), "a", 5.0)
SECOND = Vote("qa", ("b", "c"), "c", 6.0)


@pytest.fixture
def hub_of_votes(hub: HubServer, monkeypatch: pytest.MonkeyPatch) -> Iterator[HubServer]:
    monkeypatch.setenv("HF_TOKEN", hub.token)
    monkeypatch.setenv(REPOSITORY, NAME)
    monkeypatch.setattr(votes_hub, "_keepers", {})
    yield hub
    for keeper in votes_hub._keepers.values():
        keeper.scheduler.stop()


def test_votes_come_back_on_an_empty_disk(hub_of_votes: HubServer, tmp_path: Path) -> None:
    keeper = Keeper(Votes(tmp_path / "one"), NAME)
    keeper.add(FIRST)
    keeper.add(SECOND)
    keeper.scheduler.trigger().result()
    keeper.scheduler.stop()
    assert hub_of_votes.repositories[NAME].private

    later = Keeper(Votes(tmp_path / "two"), NAME)
    assert later.votes.all() == [FIRST, SECOND]
    third = Vote("nli", ("a", "b"), "b", 7.0)
    later.add(third)
    later.scheduler.trigger().result()
    later.scheduler.stop()

    last = Keeper(Votes(tmp_path / "two"), NAME)  # the disk is as it was: nothing is counted twice
    last.scheduler.stop()
    assert last.votes.all() == [FIRST, SECOND, third]


def test_a_hub_that_cannot_be_had_costs_no_vote(
    hub_of_votes: HubServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    votes = Votes(tmp_path)
    monkeypatch.setenv("HF_TOKEN", hub_of_votes.stranger)
    keep(votes, FIRST)
    assert votes.all() == [FIRST] and NAME not in hub_of_votes.repositories
    monkeypatch.setenv("HF_TOKEN", hub_of_votes.token)
    keep(votes, SECOND)
    assert votes.all() == [FIRST, SECOND] and NAME in hub_of_votes.repositories


def test_without_a_repository_nothing_is_asked(
    hub_of_votes: HubServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(REPOSITORY)
    keep(Votes(tmp_path), FIRST)
    assert Votes(tmp_path).all() == [FIRST] and not hub_of_votes.requests


def test_lines_that_are_no_votes_are_left_out(tmp_path: Path) -> None:
    good = {"task": "nli", "models": ["a", "b"], "winner": "a", "time": 5}
    bad = ["", "{", "[]", "3", json.dumps(good | {"winner": "z"}), json.dumps(good | {"time": "noon"}),
           json.dumps({"task": "nli"}), json.dumps(good | {"models": 7})]  # fmt: skip
    (tmp_path / "x.jsonl").write_text("\n".join([*bad, json.dumps(good)]), encoding="utf-8")
    assert list(votes_hub.read(tmp_path)) == [FIRST]
