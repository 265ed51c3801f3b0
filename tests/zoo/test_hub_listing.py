"""Checkpoints of other programs on the Hub: which files there are is asked once, when config.json does not say it."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.hub_server import Fault, HubServer
from tests.zoo.hub_case import files
from zoo.errors import BadCheckpoint, DownloadFailed, ModelUnavailable, UnknownModel
from zoo.models import bert, gpt2
from zoo.weights.fetch import Fetched, fetch
from zoo.weights.layout import Layout, Opened

NAME = "owner/of-another-program"


def _claims(names: Collection[str], config: Mapping[str, Any]) -> bool:
    return config.get("model") == "of another program" or sum(name.endswith(".pkl") for name in names) == 1


def _files(names: Collection[str]) -> list[str]:
    return sorted(name for name in names if name.endswith((".pkl", ".th")) or name.startswith("vocabulary/"))


LAYOUT = Layout("another program's", _claims, _files, lambda folder: Opened(folder))
FAMILIES = (bert.FAMILY, replace(gpt2.FAMILY, layouts=(LAYOUT,)))


def get(**options: Any) -> Fetched:
    return fetch(NAME, FAMILIES, progress=False, **options)


def listings(hub: HubServer) -> int:
    return sum(asked.path.startswith("/api/models/") for asked in hub.requests)


@pytest.fixture
def pickle_alone(hub: HubServer, tmp_path: Path) -> HubServer:
    """A repository with one pickle and a page, as fastai's."""
    folder = tmp_path / "alone"
    folder.mkdir()
    (folder / "20211115-model.pkl").write_bytes(b"a learner")
    (folder / "README.md").write_text("a page")
    (folder / "pyproject.toml").write_text("")
    hub.publish(NAME, folder)
    return hub


@pytest.fixture
def archive(hub: HubServer, tmp_path: Path) -> HubServer:
    """A repository with a config.json of another program and a folder, as AllenNLP's."""
    folder = tmp_path / "archive"
    (folder / "vocabulary").mkdir(parents=True)
    (folder / "config.json").write_text('{"model": "of another program"}')
    (folder / "weights.th").write_bytes(b"weights")
    (folder / "vocabulary" / "labels.txt").write_text("entailment\n")
    hub.publish(NAME, folder)
    return hub


def test_a_lone_pickle(pickle_alone: HubServer) -> None:
    fetched = get()
    assert fetched.revision == pickle_alone.repositories[NAME].refs["main"]
    assert files(fetched) == {"20211115-model.pkl"}
    assert listings(pickle_alone) >= 1
    pickle_alone.requests.clear()
    assert get() == fetched
    assert pickle_alone.requests == [], "what is here was asked for again"


def test_a_config_without_a_model_type_and_files_in_a_folder(archive: HubServer) -> None:
    fetched = get()
    assert (fetched.folder / "vocabulary" / "labels.txt").read_text() == "entailment\n"
    assert files(fetched) == {"config.json", "weights.th", "vocabulary"}
    assert listings(archive) == 1
    archive.requests.clear()
    assert get() == fetched
    assert archive.requests == []


@pytest.mark.parametrize("case", ["pickle_alone", "archive"])
def test_offline_afterwards(case: str, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    hub = request.getfixturevalue(case)
    fetched = get()
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    hub.requests.clear()
    assert get() == fetched
    assert hub.requests == []


def test_offline_with_a_cache_that_another_program_filled(
    archive: HubServer, hub_home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from huggingface_hub import snapshot_download

    folder = snapshot_download(NAME, endpoint=archive.url, cache_dir=hub_home / "hub")
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    archive.requests.clear()
    assert str(get().folder) == folder
    assert archive.requests == []


def test_offline_without_a_download(pickle_alone: HubServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(ModelUnavailable, match="HF_HUB_OFFLINE"):
        get()
    assert pickle_alone.requests == []


@pytest.mark.parametrize("name", ["../outside.pkl", "/etc/passwd.pkl", "a/../../b.pkl", "..\\x.pkl", "C:x.pkl", ""])
def test_a_listed_name_that_leads_outside(pickle_alone: HubServer, hub_home: Path, name: str) -> None:
    repository = pickle_alone.repositories[NAME]
    repository.also_listed = (name,)
    with pytest.raises(ModelUnavailable, match="not as a Hub does"):
        get()
    assert not list(hub_home.rglob("*.listing*")) and not list(hub_home.parent.glob("outside*"))
    repository.also_listed = ()
    assert files(get()) == {"20211115-model.pkl"}, "the bad answer was kept"


@pytest.mark.parametrize("kept", ["{", "[1]", '["../x.pkl"]', '{"a": 1}', "[" * 100_000])
def test_a_listing_that_was_damaged_on_this_disk(pickle_alone: HubServer, hub_home: Path, kept: str) -> None:
    fetched = get()
    (note,) = hub_home.rglob(".listing/*.json")
    note.write_text(kept)
    assert get() == fetched
    assert "20211115-model.pkl" in json.loads(note.read_text())


def test_a_listed_file_that_is_not_there(pickle_alone: HubServer) -> None:
    pickle_alone.repositories[NAME].also_listed = ("vocabulary/missing.txt",)
    with pytest.raises(BadCheckpoint, match=r"has no vocabulary/missing\.txt, which it lists"):
        get()


def test_neither_config_nor_files_of_a_known_kind(hub: HubServer, tmp_path: Path) -> None:
    (tmp_path / "page").mkdir()
    (tmp_path / "page" / "README.md").write_text("a page")
    hub.publish(NAME, tmp_path / "page")
    with pytest.raises(BadCheckpoint, match=r"has no config\.json, and no files of another kind"):
        get()


def test_a_config_of_no_program_that_is_known(archive: HubServer, tmp_path: Path) -> None:
    (tmp_path / "archive" / "config.json").write_text('{"model": "of a third program"}')
    archive.publish(NAME, tmp_path / "archive")
    with pytest.raises(BadCheckpoint, match="has no model_type"):
        get()
    assert not archive.asked("weights.th")


def test_a_download_that_breaks_off_goes_on(archive: HubServer, no_waiting: list[float]) -> None:
    archive.faults.append(Fault("weights.th", cut=0))
    with pytest.raises(DownloadFailed):
        get()
    archive.faults.clear()
    assert files(get()) == {"config.json", "weights.th", "vocabulary"}


def test_a_branch_that_moves_is_listed_again(pickle_alone: HubServer, tmp_path: Path) -> None:
    first = get()
    (tmp_path / "alone" / "20211115-model.pkl").rename(tmp_path / "alone" / "model.pkl")
    pickle_alone.publish(NAME, tmp_path / "alone")
    assert get() == first
    assert files(get(refresh=True)) == {"model.pkl"}


def test_no_such_revision_and_no_such_repository(pickle_alone: HubServer) -> None:
    with pytest.raises(UnknownModel, match="has no revision 'v9'"):
        fetch(f"{NAME}@v9", FAMILIES, progress=False)
    with pytest.raises(UnknownModel, match="no model owner/nothing"):
        fetch("owner/nothing", FAMILIES, progress=False)


@pytest.mark.parametrize("status", [401, 403, 429, 500])
def test_a_listing_that_is_refused(pickle_alone: HubServer, status: int, no_waiting: list[float]) -> None:
    commit = pickle_alone.repositories[NAME].refs["main"]
    pickle_alone.faults += [Fault(NAME, status=status), Fault(f"revision/{commit}", status=status),
                            Fault("revision/main", status=status)]  # fmt: skip
    with pytest.raises(ModelUnavailable):
        get()
    pickle_alone.faults.clear()
    assert files(get()) == {"20211115-model.pkl"}


@pytest.mark.parametrize("body", [b"<html>", b"{}", b'{"id": "x", "sha": "../../x", "siblings": []}', b"[]"])
def test_a_listing_that_is_none(
    pickle_alone: HubServer, body: bytes, monkeypatch: pytest.MonkeyPatch, no_waiting: list[float]
) -> None:
    from starlette.responses import Response

    with monkeypatch.context() as patch:
        patch.setattr(type(pickle_alone), "_api", lambda *_: Response(body, media_type="application/json"))
        with pytest.raises((ModelUnavailable, DownloadFailed)):
            get()
    assert files(get()) == {"20211115-model.pkl"}
