"""When the Hub refuses, fails or is not there: one clear sentence, nothing hangs, nothing is half kept."""

from __future__ import annotations

import json
import os
import socket
import threading
import time
from pathlib import Path

import pytest
from huggingface_hub import constants

from tests import tiny
from tests.hub_server import Fault, HubServer
from tests.zoo.hub_case import FAMILIES, NAME, WEIGHTS, files, get
from zoo.errors import BadCheckpoint, BadParameter, DownloadFailed, ModelUnavailable, UnknownModel, ZooError
from zoo.weights import hub as access
from zoo.weights.address import parse
from zoo.weights.load import load_folder

# --- Refusals


def test_no_such_repository(hub: HubServer) -> None:
    with pytest.raises(UnknownModel, match=r"no model owner/nothing at 127\.0\.0\.1"):
        get("owner/nothing")
    assert len(hub.requests) == 1


def test_private_repository_needs_the_token(hub: HubServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    hub.publish(NAME, tiny.bert().write(tmp_path / "bert"), private=True)
    with pytest.raises(UnknownModel, match="private and HF_TOKEN does not open it"):
        get()
    monkeypatch.setenv("HF_TOKEN", hub.token)
    assert get().source == NAME


def test_a_wrong_token_is_refused_without_being_shown(
    repository: HubServer, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_expired")
    with caplog.at_level("DEBUG"), pytest.raises(ModelUnavailable, match=r"\(401\).*HF_TOKEN") as refused:
        get()
    assert "hf_expired" not in str(refused.value) + repr(refused.value.details) + caplog.text


@pytest.mark.parametrize("account", ["", "stranger"])
def test_gated_repository(hub: HubServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, account: str) -> None:
    hub.publish(NAME, tiny.bert().write(tmp_path / "bert"), gated=True)
    if account:
        monkeypatch.setenv("HF_TOKEN", hub.stranger)
    with pytest.raises(ModelUnavailable, match=rf"gated.*Open {hub.url}/{NAME}, accept.*HF_TOKEN"):
        get()
    monkeypatch.setenv("HF_TOKEN", hub.token)
    assert get().source == NAME


@pytest.mark.parametrize("revision", ["v9", "0" * 40])
def test_no_such_revision(repository: HubServer, revision: str) -> None:
    with pytest.raises(UnknownModel, match=rf"has no revision '{revision}'"):
        get(f"{NAME}@{revision}")


@pytest.mark.parametrize("file", ["config.json", WEIGHTS])
def test_no_such_file(hub: HubServer, tmp_path: Path, file: str) -> None:
    folder = tiny.bert().write(tmp_path / "bert")
    (folder / file).unlink()
    hub.publish(NAME, folder)
    with pytest.raises(BadCheckpoint, match=file):
        get()


def test_a_missing_shard(hub: HubServer, tmp_path: Path) -> None:
    folder = tiny.bert().write(tmp_path / "bert", "sharded safetensors")
    (folder / "model-00002-of-00002.safetensors").unlink()
    hub.publish(NAME, folder)
    with pytest.raises(BadCheckpoint, match=r"has no model-00002-of-00002\.safetensors, which its model\.safetensors"):
        get()


@pytest.mark.parametrize("shard", ["../../../../stolen", "/etc/hostname", "..", "", "a/b.safetensors", "a\x00b"])
def test_an_index_that_points_outside_downloads_nothing(hub: HubServer, tmp_path: Path, shard: str) -> None:
    folder = tiny.bert().write(tmp_path / "bert", "sharded safetensors")
    (folder / "model.safetensors.index.json").write_text(f'{{"weight_map": {{"a": {json.dumps(shard)}}}}}')
    hub.publish(NAME, folder)
    with pytest.raises(BadCheckpoint, match="outside its folder"):
        get()
    assert not [asked for asked in hub.requests if "stolen" in asked.path]


@pytest.mark.parametrize(
    ("source", "error"),
    [
        ("", BadParameter),
        ("@main", BadParameter),
        ("bert-mini", UnknownModel),
        ("a/b/c", UnknownModel),
        ("owner/..", UnknownModel),
        ("../owner", UnknownModel),
        ("owner/na me", UnknownModel),
        ("owner/name.git", UnknownModel),
        ("owner/a--b", UnknownModel),
        ("öwner/name", UnknownModel),
        (f"owner/{'a' * 97}", UnknownModel),
        ("owner/name@", BadParameter),
        ("owner/name@../../x", BadParameter),
        ("owner/name@a b", BadParameter),
        ("owner/name@main/../../x", BadParameter),
        ("owner/name@main/", BadParameter),
        ("owner/name@/main", BadParameter),
    ],
)
def test_impossible_names_are_refused_without_asking(
    hub: HubServer, hub_home: Path, source: str, error: type[ZooError]
) -> None:
    with pytest.raises(error):
        get(source)
    assert hub.requests == []
    assert not hub_home.exists()


def test_a_near_name_is_suggested() -> None:
    with pytest.raises(UnknownModel, match="Did you mean 'bert-mini'"):
        parse("bert-mni", known=["bert-mini", "gpt-mini"])


def test_good_names() -> None:
    assert str(parse("google-bert/bert_base.v2")) == "google-bert/bert_base.v2"
    assert parse(" o/n@refs/pr/1 ") == access.Address("o/n", "refs/pr/1")


@pytest.mark.parametrize("endpoint", ["localhost:80", "ftp://host", "https://", "http://[::1", "http://host:port"])
def test_impossible_endpoint(hub_home: Path, monkeypatch: pytest.MonkeyPatch, endpoint: str) -> None:
    monkeypatch.setenv("HF_ENDPOINT", endpoint)
    with pytest.raises(BadParameter, match="HF_ENDPOINT"):
        get()


# --- Failures


def test_nobody_listens(hub_home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        monkeypatch.setenv("HF_ENDPOINT", f"http://user:secret@127.0.0.1:{free.getsockname()[1]}")
        begin = time.monotonic()
        with pytest.raises(ModelUnavailable, match=r"There is no connection to 127\.0\.0\.1:\d+, and") as refused:
            get()
    assert time.monotonic() - begin < 3
    assert "secret" not in str(refused.value)


def test_the_hub_does_not_answer(repository: HubServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(constants, "HF_HUB_ETAG_TIMEOUT", 0.2)
    repository.faults.append(Fault(method="HEAD", delay=1.0))
    with pytest.raises(ModelUnavailable, match="does not answer"):
        get()
    assert len(repository.requests) == 1


def test_a_download_ends_with_its_process(repository: HubServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(access, "_leaving", threading.Event())
    access.leave()
    with pytest.raises(DownloadFailed, match=r"process ends before config\.json of"):
        get()


def test_the_hub_has_an_error_of_its_own(repository: HubServer, no_waiting: list[float]) -> None:
    repository.faults.append(Fault("config.json", method="HEAD", status=500))
    with pytest.raises(ModelUnavailable, match=r"error of its own \(500\)"):
        get()
    assert len(repository.requests) == 3
    assert no_waiting == list(access.PAUSES)


def test_an_error_that_passes_is_no_error(repository: HubServer, no_waiting: list[float]) -> None:
    repository.faults += [Fault("config.json", method="HEAD", status=502, times=1)]
    assert get().source == NAME


def test_too_many_requests(repository: HubServer) -> None:
    repository.faults.append(Fault(method="HEAD", status=429, headers={"Retry-After": "17"}))
    with pytest.raises(ModelUnavailable, match="in 17 seconds"):
        get()


@pytest.mark.parametrize("fault", [Fault(method="HEAD", plain=True), Fault(method="HEAD", commit="../../x")])
def test_not_a_hub(repository: HubServer, fault: Fault) -> None:
    repository.faults.append(fault)
    with pytest.raises(ModelUnavailable, match="not as a Hub does"):
        get()


def test_a_cut_transfer_is_taken_up_where_it_broke(repository: HubServer, small_chunks: None) -> None:
    repository.faults.append(Fault(WEIGHTS, cut=5000, times=1))
    fetched = get()
    assert [asked.range for asked in repository.asked(WEIGHTS, "GET")] == [None, "bytes=5000-"]
    load_folder(fetched.folder, FAMILIES)


def test_a_server_that_cannot_go_on_in_the_middle(repository: HubServer, small_chunks: None) -> None:
    repository.faults.append(Fault(WEIGHTS, cut=5000, times=1))
    repository.faults.append(Fault(WEIGHTS, whole=True))
    load_folder(get().folder, FAMILIES)


def test_a_transfer_that_is_always_cut_ends(repository: HubServer, small_chunks: None) -> None:
    repository.faults.append(Fault(WEIGHTS, cut=5000, whole=True))
    with pytest.raises(DownloadFailed, match=rf"{WEIGHTS} of {NAME} broke off 4 times"):
        get()
    assert len(repository.asked(WEIGHTS, "GET")) == access.RESTARTS + 2


@pytest.mark.parametrize("fault", [Fault(WEIGHTS, cut=0), Fault(WEIGHTS, status=500), Fault(WEIGHTS, status=404)])
def test_a_transfer_that_fails(repository: HubServer, no_waiting: list[float], fault: Fault) -> None:
    repository.faults.append(fault)
    with pytest.raises(DownloadFailed, match=rf"{WEIGHTS} of {NAME} did not arrive whole"):
        get()
    left = [path for path in Path(os.environ["HF_HOME"]).rglob("*") if path.name.endswith(".incomplete")]
    assert left == []


def test_a_silent_transfer_ends(
    repository: HubServer, monkeypatch: pytest.MonkeyPatch, no_waiting: list[float]
) -> None:
    monkeypatch.setattr(constants, "HF_HUB_DOWNLOAD_TIMEOUT", 0.1)
    repository.faults.append(Fault(WEIGHTS, delay=0.5))
    with pytest.raises(DownloadFailed, match="ReadTimeout"):
        get()


def test_no_room_on_the_disk(repository: HubServer, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = type("Usage", (), {"free": 10_000})
    monkeypatch.setattr(access.shutil, "disk_usage", lambda _: usage)
    with pytest.raises(DownloadFailed, match=rf"{WEIGHTS}.*Make room, or set HF_HOME"):
        get()
    assert not repository.asked(WEIGHTS, "GET")


def test_a_cache_that_cannot_be_written(repository: HubServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "file" / "cache"))
    with pytest.raises(DownloadFailed, match="cannot be written to"):
        get()


def test_a_mirror_that_is_a_plain_file_server(repository: HubServer) -> None:
    repository.faults += [
        Fault(name, method="HEAD", plain=True) for name in ("tokenizer.json", "tokenizer_config.json")
    ]
    assert files(get()) == {"config.json", "vocab.txt", WEIGHTS}
