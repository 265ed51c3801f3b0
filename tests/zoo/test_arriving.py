"""Models that are loaded while somebody listens: how far a download is, what went wrong, and who stops listening."""

from __future__ import annotations

import gc
import threading
import time
import weakref
from pathlib import Path

import pytest
import torch

from tests import minis
from tests.hub_server import HubServer
from tests.zoo.hub_case import NAME, WEIGHTS
from zoo import Engine, Model
from zoo.engine import arriving
from zoo.errors import ModelUnavailable
from zoo.opening import load
from zoo.weights.hub import Progress


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    minis.bert_checkpoint(tmp_path / "bert")
    return tmp_path / "bert"


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(arriving, "PAUSE", 0.01)


def test_bytes_of_all_files_are_told_until_the_model_is_there(folder: Path) -> None:
    go_on = threading.Event()

    def opened(name: str, progress: bool | Progress) -> Model:
        assert callable(progress)
        progress("config.json", 500, 500)
        progress("model.safetensors", 1000, 4000)
        progress("model.safetensors", 3000, 4000)
        assert go_on.wait(30)
        return load(folder)

    engine = Engine(open_model=opened)
    told = engine.opening("a")
    next(told)
    assert max(next(told) for _ in range(5)) == 3500
    assert engine.loaded() == []
    go_on.set()
    assert set(told) <= {3500}
    assert [name for name, _ in engine.loaded()] == ["a"]
    assert list(engine.opening("a")) == [], "nothing is awaited for what is in memory"


def test_a_download_from_the_hub_is_told(repository: HubServer, tmp_path: Path) -> None:
    whole = sum((tmp_path / "bert" / name).stat().st_size for name in ("config.json", "vocab.txt", WEIGHTS))
    told_all = threading.Event()

    def opened(name: str, progress: bool | Progress) -> Model:
        made = load(name, progress)
        assert told_all.wait(30)
        return made

    told = Engine(open_model=opened).opening(NAME)
    until = time.monotonic() + 30
    assert any(here == whole for here in told if here == whole or time.monotonic() > until)
    told_all.set()
    list(told)


def test_what_goes_wrong_is_raised_where_somebody_listens() -> None:
    def opened(name: str, progress: bool | Progress) -> Model:
        raise ModelUnavailable("gone")

    with pytest.raises(ModelUnavailable, match="gone"):
        list(Engine(open_model=opened).opening("a"))


def test_what_went_wrong_leaves_nothing_in_memory() -> None:
    """Half a model is hundreds of megabytes, and Python looks for cycles seldom in a process of a million objects."""
    left: list[weakref.ref[torch.Tensor]] = []

    def opened(name: str, progress: bool | Progress) -> Model:
        half = torch.zeros(9)
        left.append(weakref.ref(half))
        raise ModelUnavailable("gone")

    engine = Engine(open_model=opened)
    gc.collect()
    gc.disable()
    try:
        with pytest.raises(ModelUnavailable) as caught:
            engine.model("a")
        del caught
        with pytest.raises(ModelUnavailable) as caught:
            list(engine.opening("a"))
        del caught
        until = time.monotonic() + 10  # the thread has to end
        while any(one() is not None for one in left) and time.monotonic() < until:
            time.sleep(0.01)
        assert [one() for one in left] == [None, None]
    finally:
        gc.enable()


def test_who_stops_listening_does_not_stop_the_loading(folder: Path) -> None:
    go_on = threading.Event()

    def opened(name: str, progress: bool | Progress) -> Model:
        assert go_on.wait(30)
        return load(folder)

    engine = Engine(open_model=opened)
    told = engine.opening("a")
    next(told)
    told.close()  # type: ignore[attr-defined]
    go_on.set()
    assert engine.model("a") is engine.model("a")
