"""Votes that outlive the machine: on a Space, whose disk is emptied at every start, they are also kept in a dataset
repository of the Hub, which ZOO_VOTES_REPO names.

Every start of the program writes a file of its own, `votes/<id>.jsonl`, which huggingface_hub's CommitScheduler pushes
every few minutes and once more at the end; at the start the votes of all such files are read back.
"""

from __future__ import annotations

import json
import logging
import os
import threading
import uuid
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

from tasks.votes import Vote, Votes
from zoo.errors import ZooError

LOG = logging.getLogger(__name__)
REPOSITORY = "ZOO_VOTES_REPO"  # the variable that names it; the token is HF_TOKEN, as everywhere
MINUTES = 10.0
PLACE = "votes"  # the folder in the repository


class Keeper:
    """Adds votes to a folder of Votes, and to a repository of the Hub."""

    def __init__(self, votes: Votes, repository: str, minutes: float = MINUTES) -> None:
        """Reads back what the repository holds. Raises OSError and huggingface_hub's errors where there is none to be
        had or made."""
        from huggingface_hub import CommitScheduler, HfApi

        api = HfApi(endpoint=os.environ.get("HF_ENDPOINT"))
        folder = votes.path.parent / PLACE
        self.votes = votes
        self.file = folder / f"{uuid.uuid4().hex}.jsonl"
        self.scheduler = CommitScheduler(
            repo_id=repository,
            repo_type="dataset",
            private=True,  # when it has to be made
            folder_path=folder,
            path_in_repo=PLACE,
            every=minutes,
            allow_patterns=self.file.name,
            hf_api=api,
        )
        fetched = api.snapshot_download(repository, repo_type="dataset", allow_patterns=f"{PLACE}/*.jsonl")
        known = set(votes.all())
        for vote in read(Path(fetched) / PLACE):
            if vote not in known:
                votes.add(vote)

    def add(self, vote: Vote) -> None:
        """Keep a vote here, and soon there."""
        vote = self.votes.add(vote)
        with self.scheduler.lock, self.file.open("a", encoding="utf-8") as file:
            file.write(json.dumps(asdict(vote)) + "\n")


def read(folder: Path) -> Iterator[Vote]:
    """The votes of all files, oldest first; lines that are none are left out, since others may write there, too."""
    found = []
    for path in sorted(folder.glob("*.jsonl")):
        for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
            try:
                row = json.loads(line)
                vote = Vote(row["task"], tuple(row["models"]), row["winner"], float(row["time"]))
                found.append(vote.checked())
            except (ValueError, TypeError, KeyError, ZooError):
                LOG.warning("a line of %s is no vote", path.name)
    yield from sorted(found, key=lambda vote: vote.time)


_keepers: dict[tuple[Path, str], Keeper] = {}
_making = threading.Lock()


def keep(votes: Votes, vote: Vote) -> None:
    """Keep a vote, also on the Hub where a repository is named. A Hub that cannot be had costs no vote: it is asked
    again with the next one."""
    keeper = _keeper(votes)
    if keeper is None:
        votes.add(vote)
    else:
        keeper.add(vote)


def _keeper(votes: Votes) -> Keeper | None:
    repository = os.environ.get(REPOSITORY, "")
    if not repository:
        return None
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError

    with _making:
        key = (votes.path, repository)
        if key not in _keepers:
            try:
                _keepers[key] = Keeper(votes, repository)
            except (OSError, HfHubHTTPError, HFValidationError) as error:
                LOG.warning("votes stay on this machine: %s cannot be had: %s", repository, error)
        return _keepers.get(key)
