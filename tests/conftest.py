"""Fixtures that several folders of tests share."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.hub_server import HubServer

if "PYTEST_XDIST_WORKER" in os.environ:  # tests run side by side: one thread each, here and in what they start
    os.environ.setdefault("OMP_NUM_THREADS", "1")

HUB_VARIABLES = (
    "HF_HUB_CACHE",
    "HUGGINGFACE_HUB_CACHE",
    "HF_HUB_OFFLINE",
    "HF_TOKEN",
    "HUGGING_FACE_HUB_TOKEN",
    "TRANSFORMERS_OFFLINE",
)


@pytest.fixture(autouse=True)
def torch_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """As with requirements.txt alone; tests/zoo/test_short_texts.py has the rest."""
    monkeypatch.setattr("zoo.layers.short_texts.installed", lambda: False)


@pytest.fixture(scope="session")
def hub_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[HubServer]:
    """The server of the whole run; tests take `hub`, which empties it first."""
    with HubServer(tmp_path_factory.mktemp("hub")) as server:
        yield server


def set_up_home(patch: pytest.MonkeyPatch, home: Path) -> None:
    """An empty cache of the Hub below `home`, and no setting of the machine's own."""
    from huggingface_hub import close_session, constants

    for name in HUB_VARIABLES:
        patch.delenv(name, raising=False)
    patch.setenv("HF_HOME", str(home))
    patch.setenv("NO_PROXY", "127.0.0.1,localhost")
    patch.setattr(constants, "HF_TOKEN_PATH", str(home / "token"))
    patch.setattr(constants, "HF_HUB_OFFLINE", False)
    close_session()  # a client keeps the proxies of the time at which it was made


@pytest.fixture
def hub_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache of the Hub, and no setting of the machine's own."""
    home = tmp_path / "hf_home"
    set_up_home(monkeypatch, home)
    return home


@pytest.fixture
def hub(hub_server: HubServer, hub_home: Path, monkeypatch: pytest.MonkeyPatch) -> HubServer:
    """An empty Hub on loopback that HF_ENDPOINT names, with an empty cache."""
    hub_server.clear()
    monkeypatch.setenv("HF_ENDPOINT", hub_server.url)
    return hub_server
