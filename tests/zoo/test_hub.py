"""Fetching from the Hub, against a Hub on loopback: what is asked, what is kept, and what it says meanwhile."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from huggingface_hub import HfApi

from tests import tiny
from tests.hub_server import LARGE, Fault, HubServer
from tests.zoo.hub_case import FAMILIES, NAME, WEIGHTS, files, get
from zoo.errors import BadCheckpoint, DownloadFailed, ModelUnavailable, UnknownModel, ZooError
from zoo.weights import hub as access
from zoo.weights.fetch import fetch, resolve
from zoo.weights.load import load_folder

# --- What is fetched


def test_fetches_what_the_model_needs_of_one_commit(repository: HubServer) -> None:
    fetched = get()
    commit = repository.repositories[NAME].refs["main"]
    assert (fetched.source, fetched.revision) == (NAME, commit)
    assert files(fetched) == {"config.json", "vocab.txt", WEIGHTS}
    load_folder(fetched.folder, FAMILIES, source=fetched.source, revision=fetched.revision)
    after_first = repository.requests[1:]
    assert all(commit in asked.path for asked in after_first), "a file was asked for by a branch, which may move"


def test_main_moving_during_a_download_does_not_mix_commits(
    repository: HubServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = repository.repositories[NAME].refs["main"]
    whole = access.Repository.get

    def publish_first(self: Any, commit: str, file: str) -> Path | None:
        if file == "vocab.txt":
            repository.publish(NAME, tmp_path / "bert")
        return whole(self, commit, file)

    monkeypatch.setattr(access.Repository, "get", publish_first)
    fetched = get()
    assert fetched.revision == first
    assert {path.resolve().parent.parent for path in fetched.folder.iterdir()} == {fetched.folder.parent.parent}


def test_revision_is_a_tag_a_branch_with_slashes_a_commit_or_its_beginning(hub: HubServer, tmp_path: Path) -> None:
    old = hub.publish(NAME, tiny.bert().write(tmp_path / "old"), tag="v1.0")
    new = hub.publish(NAME, tiny.bert("BertForQuestionAnswering").write(tmp_path / "new"), tag="refs/pr/3")
    found = {r: get(f"{NAME}@{r}").revision for r in ("v1.0", "refs/pr/3", old, old[:9], "main")}
    assert found == {"v1.0": old, "refs/pr/3": new, old: old, old[:9]: old, "main": new}
    hub.requests.clear()
    assert get(f"{NAME}@v1.0").revision == old
    assert get(f"{NAME}@{old[:9]}").revision == old
    assert hub.requests == []


@pytest.mark.parametrize("layout", tiny.LAYOUTS)
def test_every_layout_is_fetched_whole(hub: HubServer, tmp_path: Path, layout: str) -> None:
    hub.publish("owner/tiny-gpt2", tiny.gpt2().write(tmp_path / "gpt2", layout))
    fetched = get("owner/tiny-gpt2")
    assert load_folder(fetched.folder, FAMILIES).family.name == "gpt2"
    hub.requests.clear()
    assert get("owner/tiny-gpt2") == fetched
    assert hub.requests == []


def test_safetensors_are_preferred_and_nothing_else_is_downloaded(hub: HubServer, tmp_path: Path) -> None:
    folder = tiny.bert().write(tmp_path / "both")
    tiny.bert().write(folder, "bin")
    hub.publish(NAME, folder)
    assert files(get()) == {"config.json", "vocab.txt", WEIGHTS}
    assert not hub.asked("pytorch_model.bin")
    assert not hub.asked("README.md")


def test_a_model_of_no_family_costs_only_its_config(hub: HubServer, tmp_path: Path) -> None:
    hub.publish(NAME, tiny.bert().but(model_type="llama").write(tmp_path / "llama"))
    with pytest.raises(BadCheckpoint, match=r"'llama'.*The zoo has: bert, gpt2"):
        get()
    assert {asked.path.rsplit("/")[-1] for asked in hub.requests} == {"config.json"}


def test_renamed_repository_is_followed(repository: HubServer) -> None:
    repository.move("old-owner/old-name", NAME)
    fetched = get("old-owner/old-name")
    assert fetched.revision == repository.repositories[NAME].refs["main"]
    assert files(fetched) == {"config.json", "vocab.txt", WEIGHTS}


def test_large_files_come_from_another_host_without_the_token(
    repository: HubServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    repository.cdn = True
    monkeypatch.setenv("HF_TOKEN", repository.token)
    fetched = get()
    sent = [asked for asked in repository.requests if asked.path.startswith("/cdn/")]
    assert sent
    assert {asked.token for asked in sent} == {None}
    assert {asked.token for asked in repository.asked("config.json")} == {repository.token}
    assert (fetched.folder / WEIGHTS).stat().st_size >= LARGE


def test_no_request_tells_about_the_machine(repository: HubServer) -> None:
    get()
    assert all("torch" not in asked.agent and "agent/" not in asked.agent for asked in repository.requests)
    assert all("/resolve/" in asked.path for asked in repository.requests)


# --- The cache


def test_second_call_opens_no_connection(repository: HubServer, no_network_later: Any) -> None:
    first = get()
    attempts = no_network_later()
    assert get() == first
    assert attempts == []


@pytest.fixture
def no_network_later(request: pytest.FixtureRequest) -> Any:
    """Cuts the network when called."""
    return lambda: request.getfixturevalue("no_network")


def test_a_branch_that_moved_is_asked_for_only_on_request(repository: HubServer, tmp_path: Path) -> None:
    first = get()
    commit = repository.publish(NAME, tiny.bert("BertForQuestionAnswering").write(tmp_path / "new"))
    assert get() == first
    fresh = get(refresh=True)
    assert fresh.revision == commit
    repository.requests.clear()
    assert get() == fresh
    assert repository.requests == []


def test_a_refresh_that_breaks_off_leaves_the_old_commit_in_use(
    repository: HubServer, tmp_path: Path, no_waiting: list[float]
) -> None:
    first = get()
    repository.publish(NAME, tiny.bert("BertForQuestionAnswering").write(tmp_path / "new"))
    repository.faults.append(Fault(WEIGHTS, status=503))
    with pytest.raises(DownloadFailed):
        get(refresh=True)
    repository.requests.clear()
    assert get() == first
    assert repository.requests == []


def test_a_half_complete_cache_goes_on_with_what_is_missing(repository: HubServer) -> None:
    fetched = get()
    (fetched.folder / WEIGHTS).resolve().unlink()
    repository.requests.clear()
    assert get() == fetched
    assert {asked.path.rsplit("/")[-1] for asked in repository.requests} == {WEIGHTS}
    load_folder(fetched.folder, FAMILIES)


def test_a_download_that_broke_off_goes_on(repository: HubServer, no_waiting: list[float]) -> None:
    repository.faults.append(Fault(WEIGHTS, cut=0))
    with pytest.raises(DownloadFailed):
        get()
    repository.faults.clear()
    repository.requests.clear()
    get()
    assert not repository.asked("vocab.txt"), "a file that had arrived was asked for again"


def test_cache_follows_the_environment(
    repository: HubServer, hub_home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert get().folder.is_relative_to(hub_home / "hub")
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "elsewhere"))
    assert get().folder.is_relative_to(tmp_path / "elsewhere")


def test_history_rewritten_on_the_hub_is_looked_up_again(repository: HubServer, tmp_path: Path) -> None:
    fetched = get()
    (fetched.folder / WEIGHTS).resolve().unlink()
    repository.clear()
    new = repository.publish(NAME, tmp_path / "bert")
    assert get().revision == new != fetched.revision


# --- Offline


def test_offline_after_a_download(
    repository: HubServer, monkeypatch: pytest.MonkeyPatch, no_network_later: Any
) -> None:
    first = get()
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    attempts = no_network_later()
    assert get() == first
    assert attempts == []


def test_offline_without_a_download(repository: HubServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(ModelUnavailable, match=r"HF_HUB_OFFLINE.*python -m zoo pull owner/tiny-bert"):
        get()
    assert repository.requests == []


def test_offline_with_half_a_download(repository: HubServer, monkeypatch: pytest.MonkeyPatch) -> None:
    (get().folder / WEIGHTS).unlink()
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(ModelUnavailable, match="it lacks the weights"):
        get()


def test_no_connection_but_enough_in_the_cache(repository: HubServer, no_network_later: Any) -> None:
    first = get()
    for mark in (first.folder.parent.parent / ".no_exist").rglob("tokenizer.json"):
        mark.unlink()  # as if another program, which does not care about this file, had filled the cache
    attempts = no_network_later()
    assert get() == first
    assert attempts


def test_a_process_started_offline(repository: HubServer, hub_home: Path) -> None:
    first = get()
    code = (
        "import sys; import zoo.weights.fetch as hub; from zoo.models import bert\n"
        "assert 'huggingface_hub' not in sys.modules, 'a slow import that most runs do not need'\n"
        "print(hub.fetch(sys.argv[1], [bert.FAMILY]).revision)\n"
        "try: hub.fetch('owner/other', [bert.FAMILY])\n"
        "except Exception as error: print(error.code)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, NAME],
        env={**os.environ, "HF_HUB_OFFLINE": "1", "HF_ENDPOINT": "http://127.0.0.1:9"},
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    assert done.stdout.split() == [first.revision, "MODEL_UNAVAILABLE"]


# --- Progress


def test_progress_is_reported(repository: HubServer, small_chunks: None) -> None:
    repository.faults.append(Fault(WEIGHTS, cut=5000, times=1))
    seen: list[tuple[str, int, int | None]] = []
    fetched = fetch(NAME, FAMILIES, progress=lambda *report: seen.append(report))
    assert {file for file, _, _ in seen} == {"config.json", "vocab.txt", WEIGHTS}
    size = (fetched.folder / WEIGHTS).stat().st_size
    assert [done for file, done, _ in seen if file == WEIGHTS] == [*range(1000, size, 1000), size]
    assert seen[-1] == (WEIGHTS, size, size)


def test_a_callback_can_stop_the_download(repository: HubServer) -> None:
    class Stopped(ZooError):
        pass

    def stop(file: str, done: int, total: int | None) -> None:
        if file == WEIGHTS:
            raise Stopped("enough")

    with pytest.raises(Stopped):
        fetch(NAME, FAMILIES, progress=stop)
    assert not list(Path(os.environ["HF_HOME"]).rglob("*.incomplete"))


def test_silence(repository: HubServer, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TQDM_POSITION", "-1")  # the client then shows bars where there is no terminal, too
    fetch(NAME, FAMILIES, progress=False)
    assert capfd.readouterr() == ("", "")
    fetch(NAME, FAMILIES, progress=True, refresh=True)
    repository.publish("owner/other", Path(repository.root / NAME / repository.repositories[NAME].refs["main"]))
    fetch("owner/other", FAMILIES, progress=True)
    shown = capfd.readouterr()
    assert shown.out == ""
    assert WEIGHTS in shown.err


# --- Folders


def test_a_folder_is_used_as_it_is(hub: HubServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tiny.bert().write(tmp_path / "owner" / "tiny-bert")
    monkeypatch.chdir(tmp_path)
    for source in (folder, str(folder), "./owner/tiny-bert", "owner/tiny-bert"):
        assert resolve(source, FAMILIES).revision == "local"
    assert hub.requests == []


@pytest.mark.parametrize(
    "source", ["./none", "../none/here", "/none", "~/none", "~nobody/none", "a/b/c", Path("none"), "/" + "x" * 300]
)
def test_a_folder_that_is_not_there(hub: HubServer, source: str | Path) -> None:
    with pytest.raises(UnknownModel, match="There is no folder"):
        resolve(source, FAMILIES)
    assert hub.requests == []


def test_a_file_instead_of_a_folder(tmp_path: Path) -> None:
    (tmp_path / WEIGHTS).touch()
    with pytest.raises(UnknownModel, match="is a file"):
        resolve(tmp_path / WEIGHTS, FAMILIES)


def test_resolve_asks_the_hub_for_the_rest(repository: HubServer) -> None:
    assert resolve(NAME, FAMILIES, progress=False) == get()


# --- The server itself


def test_the_server_speaks_the_language_of_the_client(repository: HubServer) -> None:
    api = HfApi(endpoint=repository.url)
    commit = repository.repositories[NAME].refs["main"]
    info = api.model_info(NAME)
    assert info.sha == commit
    assert {s.rfilename for s in info.siblings or ()} == {"config.json", "vocab.txt", WEIGHTS, "README.md"}
    assert api.model_info(NAME, revision=commit).sha == commit
    assert set(api.list_repo_files(NAME)) == {"config.json", "vocab.txt", WEIGHTS, "README.md"}
