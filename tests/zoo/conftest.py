"""Fixtures of the tests of the Hub: a repository, time that does not pass, small chunks, no network."""

from __future__ import annotations

import errno
import resource
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from huggingface_hub import constants

from tests import tiny
from tests.hub_server import HubServer
from tests.zoo.hub_case import NAME

SECONDS = 5.0  # no refusal of a hostile file may take longer, on a slow machine, too
MEGABYTES = 300  # nor make the process grow by more


@pytest.fixture
def repository(hub: HubServer, tmp_path: Path) -> HubServer:
    """The Hub with one BERT."""
    hub.publish(NAME, tiny.bert().write(tmp_path / "bert"))
    return hub


@pytest.fixture
def no_waiting(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Pauses between attempts take no time; the list holds how long they would have been."""
    pauses: list[float] = []
    monkeypatch.setattr(time, "sleep", pauses.append)
    return pauses


@pytest.fixture
def small_chunks(monkeypatch: pytest.MonkeyPatch, no_waiting: list[float]) -> None:
    """The client keeps what has arrived in chunks of 10 MB; here the files are smaller than that."""
    monkeypatch.setattr(constants, "DOWNLOAD_CHUNK_SIZE", 1000)


@pytest.fixture
def no_network(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Every attempt to connect fails, and is noted."""
    attempts: list[Any] = []

    def refuse(_: socket.socket, address: Any) -> None:
        attempts.append(address)
        raise OSError(errno.ENETUNREACH, "Network is unreachable")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket.socket, "connect_ex", refuse)
    from huggingface_hub import close_session

    close_session()  # or a connection that is open already would serve
    return attempts


@pytest.fixture
def quick() -> Iterator[None]:
    """The refusal takes neither time nor memory."""
    tiny.bert("BertForSequenceClassification"), tiny.gpt2()  # made once, with the reference library's long import
    started, before = time.perf_counter(), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    yield
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
    assert time.perf_counter() - started < SECONDS
    assert grown < MEGABYTES, f"the process grew by {grown:.0f} MB"
